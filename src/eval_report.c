/*
 * eval_report.c - estimates with their intervals.
 */
#include <math.h>
#include <string.h>

#include "eval.h"
#include "tlp_eval.h"

#define LEVEL 0.95

int eval_estimate(const eval *v, const double *sum, const double *weight,
                  size_t n, estimate *out)
{
    double total = 0, total_weight = 0;

    for (size_t i = 0; i < n; i++) {
        total += sum[i];
        total_weight += weight ? weight[i] : 1;
    }
    *out = (estimate){ .mean = total / total_weight };
    if (n < 2 || isnan(total))
        return CLI_OK;
    out->has_interval = true;

    tlp_status st =
        tlp_bootstrap_mean(&out->lo, &out->hi, sum, weight, n, LEVEL, v->seed);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

estimate eval_exp(const estimate *x)
{
    return (estimate){ exp(x->mean), exp(x->lo), exp(x->hi), x->has_interval };
}

static void print_scaled(const char *label, const estimate *x, double scale,
                         int digits, const char *unit)
{
    printf("%-22s %9.*f%s", label, digits, scale * x->mean, unit);
    if (x->has_interval)
        printf(" [%.*f, %.*f]", digits, scale * x->lo, digits, scale * x->hi);
}

void eval_print(const char *label, const estimate *x, const char *unit)
{
    print_scaled(label, x, 1, 4, unit);
}

void eval_print_share(const char *label, const estimate *x)
{
    print_scaled(label, x, 100, 2, "%");
    putchar('\n');
}

void eval_print_against(const eval *v)
{
    fputs("against ", stdout);
    cli_print_clean(stdout, v->against);
    if (v->against_model) {
        fputs(" of ", stdout);
        cli_print_clean(stdout, v->against_model);
    }
    putchar('\n');
}

void eval_json_against(json *j, const eval *v)
{
    json_text(j, "against", v->against);
    if (v->against_model)
        json_text(j, "against_model", v->against_model);
}

void eval_print_unit(const estimate *x, const char *units)
{
    if (x->has_interval)
        printf("In brackets: 95%% bootstrap intervals over the %s.\n", units);
}

void eval_json_interval(json *j, const char *key, const estimate *x)
{
    if (!x->has_interval) {
        json_number(j, key, NAN);
        return;
    }
    json_open(j, key, '[');
    json_number(j, NULL, x->lo);
    json_number(j, NULL, x->hi);
    json_close(j, ']');
}

void eval_json(json *j, const char *key, const estimate *x)
{
    char name[64];

    snprintf(name, sizeof name, "%s_ci", key);
    json_number(j, key, x->mean);
    eval_json_interval(j, name, x);
}
