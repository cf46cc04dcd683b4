/*
 * bench_bandwidth.c - the memory rate of this machine by number of threads,
 * and the share of it that decode reaches.
 *
 * A decoded token reads every weight once, and all earlier keys and values.
 * Bytes per token times tokens per second is the rate of decode.  Its share is
 * this rate over the rate of as many threads that only read, measured once in
 * every repeat.  Weights count with their size in the file, so that a larger
 * layout in memory gains nothing.
 */
#include <stdlib.h>

#include "bench.h"

/* Number of threads of all ranks together. */
static int count_threads(const bench *b, int *n)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };

    if (b->n == 0) {
        int n_rank = b->e.n_rank > 0 ? b->e.n_rank : 1;

        *n = b->e.n_thread > 0 ? n_rank * b->e.n_thread : tlp_default_threads();
        return CLI_OK;
    }

    tlp_status st = tlp_session_get_stats(&stats, b->contender[0].session);

    *n = stats.n_rank * stats.n_thread;
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

int bench_bandwidth_open(bench *b)
{
    bench_bandwidth *w = &b->bandwidth;
    int n = 0;

    if (!w->wanted)
        return CLI_OK;

    int rc = count_threads(b, &n);

    for (int i = 1; i < n; i *= 2)
        w->n_thread[w->n_count++] = i;
    w->n_thread[w->n_count++] = n;
    for (int i = 0; rc == CLI_OK && i < w->n_count; i++)
        rc = bench_open_series(&w->rate[i], b->n_repeat);
    return rc == CLI_OK
               ? bandwidth_open(&w->memory, n, b->e.isa == TLP_ISA_SCALAR)
               : rc;
}

void bench_bandwidth_close(bench *b)
{
    bench_bandwidth *w = &b->bandwidth;

    bandwidth_close(&w->memory);
    for (int i = 0; i < w->n_count; i++)
        free(w->rate[i].value);
}

int bench_bandwidth_measure(bench *b, int repeat)
{
    bench_bandwidth *w = &b->bandwidth;
    int rc = CLI_OK;

    for (int i = 0; w->wanted && rc == CLI_OK && i < w->n_count; i++) {
        rc = bandwidth_measure(&w->memory, w->n_thread[i],
                               &w->rate[i].value[repeat]);
        if (cli_interrupted())
            rc = CLI_INTERRUPTED;
    }
    return rc;
}

void bench_bandwidth_summarise(bench *b)
{
    bench_bandwidth *w = &b->bandwidth;

    for (int i = 0; w->wanted && i < w->n_count; i++)
        bench_summarise(&w->rate[i], b->n_repeat);
}

static double bytes_of_a_token(const contender *c)
{
    return (double)c->cost.sum_rank_bytes + c->kv_bytes;
}

static double share(const bench_bandwidth *w, const contender *c)
{
    return bytes_of_a_token(c) * c->decode.median /
           w->rate[w->n_count - 1].median;
}

void bench_bandwidth_print(const bench *b)
{
    const bench_bandwidth *w = &b->bandwidth;

    if (!w->wanted)
        return;
    printf("%sreading %zu MB of memory, %s loads, median of %d\n",
           b->n > 0 ? "\n" : "", w->memory.n_bytes / 1000000, w->memory.loads,
           b->n_repeat);
    printf("%7s %9s %9s\n", "threads", "GB/s", "best");
    for (int i = 0; i < w->n_count; i++)
        printf("%7d %9.2f %9.2f\n", w->n_thread[i], w->rate[i].median / 1e9,
               w->rate[i].max / 1e9);
    if (b->n > 0)
        printf("\n%9s %9s %9s %7s  %s\n", "weight MB", "cache MB", "GB/s",
               "share", "plan, decoding a token");
    for (size_t i = 0; i < b->n; i++) {
        const contender *c = &b->contender[i];

        printf("%9.1f %9.1f %9.2f %6.1f%%  ",
               (double)c->cost.sum_rank_bytes / 1e6, c->kv_bytes / 1e6,
               bytes_of_a_token(c) * c->decode.median / 1e9, 100 * share(w, c));
        cli_print_clean(stdout, c->text);
        putchar('\n');
    }
}

/* All rates are in bytes per second. */
void bench_bandwidth_json(const bench *b, json *j)
{
    const bench_bandwidth *w = &b->bandwidth;

    if (!w->wanted)
        return;
    json_open(j, "bandwidth", '{');
    json_int(j, "buffer_bytes", (int64_t)w->memory.n_bytes);
    json_text(j, "loads", w->memory.loads);
    json_open(j, "reads", '[');
    for (int i = 0; i < w->n_count; i++) {
        json_open(j, NULL, '{');
        json_int(j, "n_thread", w->n_thread[i]);
        bench_json_series(j, "rate", &w->rate[i]);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

void bench_bandwidth_json_plan(const bench *b, const contender *c, json *j)
{
    if (!b->bandwidth.wanted)
        return;
    json_int(j, "weight_bytes", (int64_t)c->cost.sum_rank_bytes);
    json_number(j, "kv_bytes", c->kv_bytes);
    json_number(j, "bandwidth_share", share(&b->bandwidth, c));
}
