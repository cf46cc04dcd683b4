/*
 * eval_drill.c - greedy completions with one right answer: share of exact
 * matches for each kind.
 */
#include <stdlib.h>

#include "eval.h"
#include "tlp_eval.h"

#define N_CTX 512

typedef struct score {
    char name[sizeof((tlp_drill *)0)->name];
    estimate exact, reference, gap;
} score;

/* value: n scores of the plan, n of the reference, n differences */
static tlp_status run_kind(const eval *v, int kind, size_t n, double *value,
                           tlp_drill *d, cli_progress *bar)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; st == TLP_OK && i < n; i++) {
        int32_t exact = 0, reference = 0;

        st = tlp_drill_get(d, kind, v->seed, i);
        if (st == TLP_OK)
            st = tlp_drill_run(&exact, d, v->e.model, v->e.session);
        if (st == TLP_OK && v->reference)
            st = tlp_drill_run(&reference, d, eval_reference_model(v),
                               v->reference);
        value[i] = exact;
        value[n + i] = reference;
        value[2 * n + i] = exact - reference;
        cli_progress_step(
            ((double)kind + (double)(i + 1) / (double)n) / TLP_N_DRILL, bar);
    }
    return st;
}

static int measure_kind(const eval *v, int kind, double *value, score *s,
                        cli_progress *bar)
{
    size_t n = (size_t)v->n_drill;
    tlp_drill d = { .struct_size = sizeof d };
    tlp_status st = run_kind(v, kind, n, value, &d, bar);
    int rc = st == TLP_OK ? CLI_OK : engine_fail(st);

    snprintf(s->name, sizeof s->name, "%s", d.name);
    if (rc == CLI_OK)
        rc = eval_estimate(v, value, NULL, n, &s->exact);
    if (rc == CLI_OK)
        rc = eval_estimate(v, value + n, NULL, n, &s->reference);
    if (rc == CLI_OK)
        rc = eval_estimate(v, value + 2 * n, NULL, n, &s->gap);
    return rc;
}

static void print_table(const eval *v, const score *s, double seconds)
{
    printf("%d prompts of each kind, exact matches, %.2f s\n", v->n_drill,
           seconds);
    for (int i = 0; i < TLP_N_DRILL; i++)
        eval_print_share(s[i].name, &s[i].exact);
    if (v->reference)
        eval_print_against(v);
    for (int i = 0; v->reference && i < TLP_N_DRILL; i++) {
        char label[sizeof s->name + 8];

        snprintf(label, sizeof label, "  its %s", s[i].name);
        eval_print_share(label, &s[i].reference);
    }
    eval_print_unit(&s[0].exact, "prompts");
}

static void print_json(const eval *v, const score *s, double seconds)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    json_int(&j, "items", v->n_drill);
    if (v->reference)
        eval_json_against(&j, v);
    json_open(&j, "kinds", '[');
    for (int i = 0; i < TLP_N_DRILL; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "kind", s[i].name);
        eval_json(&j, "exact_match", &s[i].exact);
        if (v->reference) {
            eval_json(&j, "reference_exact_match", &s[i].reference);
            eval_json(&j, "difference", &s[i].gap);
        }
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_number(&j, "seconds", seconds);
    json_close(&j, '}');
    putchar('\n');
}

int eval_drills(eval *v)
{
    cli_progress bar;
    score s[TLP_N_DRILL] = { 0 };
    double *value = calloc((size_t)v->n_drill, 3 * sizeof *value);
    int rc = value ? eval_open_sessions(v, v->text.ctx ? v->text.ctx : N_CTX)
                   : cli_fail("out of memory");
    double start = cli_now();

    cli_progress_start(&bar, "completing");
    for (int i = 0; rc == CLI_OK && i < TLP_N_DRILL; i++)
        rc = measure_kind(v, i, value, &s[i], &bar);
    cli_progress_end(&bar);
    if (rc == CLI_OK)
        (v->as_json ? print_json : print_table)(v, s, cli_now() - start);
    free(value);
    return rc;
}
