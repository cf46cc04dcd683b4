/*
 * bench_link_report.c - print the link, the parts of a token's time, and
 * predictions beside measurements.
 */
#include <stdlib.h>

#include "bench.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median over at most 64 repeats of the double at byte `offset` of a link. */
static double median_at(const bench_link *l, size_t offset)
{
    double value[64];
    int n = l->n_link < 64 ? l->n_link : 64;

    for (int i = 0; i < n; i++)
        value[i] =
            *(const double *)(const void *)((const char *)&l->link[i] + offset);
    qsort(value, (size_t)n, sizeof *value, compare);
    return (value[(n - 1) / 2] + value[n / 2]) / 2;
}

#define MEDIAN(l, field) median_at(l, offsetof(tlp_link, field))

static size_t place(size_t table, int i)
{
    return table + (size_t)i * sizeof(double);
}

static void print_stages(const double *s, int n)
{
    double lo = s[0], hi = s[0], sum = 0;

    for (int i = 0; i < n; i++) {
        lo = s[i] < lo ? s[i] : lo;
        hi = s[i] > hi ? s[i] : hi;
        sum += s[i];
    }
    printf("work of a serial stage: %.1f us (%.1f to %.1f) without context\n",
           1e6 * sum / n, 1e6 * lo, 1e6 * hi);
}

/* ==== text =============================================================== */

static void print_link(const bench *b)
{
    const bench_link *l = &b->link;

    if (l->link[0].n_size > 0)
        printf("\n%8s %14s %14s %9s\n", "floats", "all-reduce us",
               "last comer us", "send us");
    for (int i = 0; i < l->link[0].n_size; i++)
        printf("%8lld %14.1f %14.1f %9.1f\n", (long long)l->link[0].size[i],
               1e6 * median_at(l, place(offsetof(tlp_link, allreduce), i)),
               1e6 * median_at(l, place(offsetof(tlp_link, late), i)),
               1e6 * median_at(l, place(offsetof(tlp_link, send), i)));
    putchar('\n');
    print_stages(l->stage, b->e.info.n_layer);
    printf("command %.1f us a way; stall %.1f us an all-reduce\n",
           1e6 * MEDIAN(l, command), 1e6 * MEDIAN(l, decode.stall));
}

static void print_token(const tlp_prediction *t)
{
    double whole = t->seconds / 100;

    printf("a serial token: %.3f ms, of that work %.0f%%, all-reduces %.0f%%, "
           "command %.0f%%\n\n",
           1e3 * t->seconds, t->compute_seconds / whole,
           t->allreduce_seconds / whole, t->command_seconds / whole);
}

static double error_of(double predicted, double measured)
{
    return 100 * (predicted / measured - 1);
}

static void print_speed(double predicted, const series *measured)
{
    printf(" %9.1f", predicted);
    if (measured)
        printf(" %9.1f %+6.1f%%", measured->median,
               error_of(predicted, measured->median));
    else
        printf(" %9s %7s", "-", "-");
}

static void print_forecast(const forecast *f)
{
    const contender *m = f->measured;

    printf("%5d", f->n_rank);
    print_speed(f->decode, m ? &m->decode : NULL);
    printf(" %7.3f", f->ratio);
    print_speed(f->prefill, m ? &m->prefill : NULL);
    printf("  ");
    cli_print_clean(stdout, f->text);
    putchar('\n');
}

void bench_link_print(const bench *b)
{
    const bench_link *l = &b->link;

    if (!l->wanted)
        return;
    print_link(b);
    print_token(&l->base.token);
    printf("%5s %9s %9s %7s %7s %9s %9s %7s  %s\n", "ranks", "decode/s",
           "measured", "error", "ratio", "prefill/s", "measured", "error",
           "plan, predicted");
    for (size_t i = 0; i < l->n_row; i++)
        print_forecast(&l->row[i]);
    putchar('\n');
    cli_print_clean(stdout, l->verdict);
    putchar('\n');
}

/* ==== JSON =============================================================== */

static void json_rates(json *j, const char *key, const bench_link *l,
                       size_t base)
{
    json_open(j, key, '{');
    json_number(j, "half", median_at(l, base + offsetof(tlp_link_rates, half)));
    json_number(j, "byte", median_at(l, base + offsetof(tlp_link_rates, byte)));
    json_number(j, "attend",
                median_at(l, base + offsetof(tlp_link_rates, attend)));
    json_number(j, "stall",
                median_at(l, base + offsetof(tlp_link_rates, stall)));
    json_close(j, '}');
}

static void json_sizes(json *j, const bench_link *l)
{
    json_open(j, "sizes", '[');
    for (int i = 0; i < l->link[0].n_size; i++) {
        json_open(j, NULL, '{');
        json_int(j, "floats", l->link[0].size[i]);
        json_number(j, "allreduce",
                    median_at(l, place(offsetof(tlp_link, allreduce), i)));
        json_number(j, "late",
                    median_at(l, place(offsetof(tlp_link, late), i)));
        json_number(j, "send",
                    median_at(l, place(offsetof(tlp_link, send), i)));
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_forecast(json *j, const forecast *f)
{
    const contender *m = f->measured;

    json_open(j, NULL, '{');
    json_text(j, "plan", f->text);
    json_int(j, "n_rank", f->n_rank);
    json_number(j, "decode", f->decode);
    json_number(j, "decode_ratio", f->ratio);
    json_number(j, "prefill", f->prefill);
    if (m) {
        json_number(j, "decode_error_percent",
                    error_of(f->decode, m->decode.median));
        json_number(j, "prefill_error_percent",
                    error_of(f->prefill, m->prefill.median));
    }
    json_number(j, "seconds", f->token.seconds);
    json_number(j, "compute_seconds", f->token.compute_seconds);
    json_number(j, "command_seconds", f->token.command_seconds);
    json_number(j, "send_seconds", f->token.send_seconds);
    json_number(j, "allreduce_seconds", f->token.allreduce_seconds);
    json_close(j, '}');
}

/* All times are in seconds. */
void bench_link_json(const bench *b, json *j)
{
    const bench_link *l = &b->link;
    const tlp_prediction *t = &l->base.token;

    if (!l->wanted)
        return;
    json_open(j, "link", '{');
    json_number(j, "command", MEDIAN(l, command));
    json_number(j, "head_byte", MEDIAN(l, head_byte));
    json_rates(j, "decode", l, offsetof(tlp_link, decode));
    json_rates(j, "prefill", l, offsetof(tlp_link, prefill));
    json_open(j, "stage", '[');
    for (int i = 0; i < b->e.info.n_layer; i++)
        json_number(j, NULL, l->stage[i]);
    json_close(j, ']');
    json_sizes(j, l);
    json_close(j, '}');
    json_open(j, "predictions", '[');
    for (size_t i = 0; i < l->n_row; i++)
        json_forecast(j, &l->row[i]);
    json_close(j, ']');
    json_number(j, "allreduce_share", t->allreduce_seconds / t->seconds);
    json_text(j, "verdict", l->verdict);
}
