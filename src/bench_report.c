/*
 * bench_report.c - print measurements: medians over the repeats.  A ratio is a
 * plan's median over the first plan's median.
 */
#include <stdlib.h>

#include "bench.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void bench_summarise(series *s, int n)
{
    qsort(s->value, (size_t)n, sizeof *s->value, compare);
    s->min = s->value[0];
    s->max = s->value[n - 1];
    s->median = (s->value[(n - 1) / 2] + s->value[n / 2]) / 2;
}

static const char *comm_name(const bench *b)
{
    return b->e.comm == TLP_COMM_MPI ? "mpi" : "threads";
}

static const char *wire_name(const bench *b)
{
    return b->e.wire == TLP_WIRE_Q8     ? "q8"
           : b->e.wire == TLP_WIRE_BF16 ? "bf16"
                                        : "f32";
}

static void print_plans(const bench *b)
{
    const contender *first = &b->contender[0];

    printf("%d rank%s, ", b->e.n_rank, b->e.n_rank == 1 ? "" : "s");
    if (b->e.backend != TLP_BACKEND_CPU)
        printf("%s, ", b->e.device);
    if (b->e.comm == TLP_COMM_MPI)
        printf("%s, wire %s, ", comm_name(b), wire_name(b));
    printf("prompt %d, gen %d, median of %d\n", b->n_prompt, b->n_gen,
           b->n_repeat);
    if (b->e.n_rank > 1) {
        link_print(stdout, &b->between);
        putchar('\n');
    }
    printf("%5s %11s %9s %7s %9s %7s %9s  %s\n", "depth", "exchanges",
           "prefill/s", "ratio", "decode/s", "ratio", "comm s", "plan");
    for (size_t i = 0; i < b->n; i++) {
        const contender *c = &b->contender[i];

        printf("%5d %11d %9.1f %7.3f %9.1f %7.3f %9.4f  ",
               c->cost.effective_depth, c->cost.exchanges, c->prefill.median,
               c->prefill.median / first->prefill.median, c->decode.median,
               c->decode.median / first->decode.median, c->comm.median);
        cli_print_clean(stdout, c->text);
        putchar('\n');
    }
}

static void print_table(const bench *b)
{
    if (b->n > 0)
        print_plans(b);
    bench_bandwidth_print(b);
    bench_link_print(b);
}

void bench_json_series(json *j, const char *key, const series *s)
{
    json_open(j, key, '{');
    json_number(j, "median", s->median);
    json_number(j, "min", s->min);
    json_number(j, "max", s->max);
    json_close(j, '}');
}

static void json_plans(const bench *b, json *j)
{
    const contender *first = &b->contender[0];

    json_text(j, "device", b->e.device ? b->e.device : "cpu");
    json_text(j, "comm", comm_name(b));
    json_text(j, "wire", wire_name(b));
    json_int(j, "n_rank", b->e.n_rank);
    link_json(&b->between, j);
    json_open(j, "plans", '[');
    for (size_t i = 0; i < b->n; i++) {
        const contender *c = &b->contender[i];

        json_open(j, NULL, '{');
        json_text(j, "plan", c->text);
        json_int(j, "effective_depth", c->cost.effective_depth);
        json_int(j, "allreduces_per_token", engine_allreduces(&c->cost));
        json_int(j, "exchanges_per_token", c->cost.exchanges);
        bench_json_series(j, "prefill", &c->prefill);
        bench_json_series(j, "decode", &c->decode);
        json_number(j, "comm_seconds", c->comm.median);
        json_number(j, "decode_ratio", c->decode.median / first->decode.median);
        json_number(j, "prefill_ratio",
                    c->prefill.median / first->prefill.median);
        bench_bandwidth_json_plan(b, c, j);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_json(const bench *b)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    if (b->n > 0)
        json_plans(b, &j);
    bench_bandwidth_json(b, &j);
    bench_link_json(b, &j);
    json_close(&j, '}');
    putchar('\n');
}

/* Where one rank would be faster than the fastest plan. */
static void warn_of_link(const bench *b)
{
    const contender *best = NULL;

    for (size_t i = 0; i < b->n; i++)
        if (!best || b->contender[i].decode.median > best->decode.median)
            best = &b->contender[i];
    if (best)
        link_warn(&b->between, b->e.n_rank, 1 / best->decode.median,
                  best->comm.median / b->n_gen);
}

int bench_report(bench *b, bool as_json)
{
    for (size_t i = 0; i < b->n; i++) {
        bench_summarise(&b->contender[i].prefill, b->n_repeat);
        bench_summarise(&b->contender[i].decode, b->n_repeat);
        bench_summarise(&b->contender[i].comm, b->n_repeat);
    }
    bench_bandwidth_summarise(b);

    int rc = bench_link_predict(b);

    if (rc != CLI_OK)
        return rc;
    warn_of_link(b);
    if (as_json)
        print_json(b);
    else
        print_table(b);
    return cli_close_stdout();
}
