/*
 * bench.h - tlp bench, in parts: cmd_bench.c sets up, bench_run.c runs,
 * bench_report.c prints; bench_link.c measures the link and predicts,
 * bench_link_report.c prints both; bench_bandwidth.c measures memory.
 */
#ifndef BENCH_H
#define BENCH_H

#include "bandwidth.h"
#include "engine.h"
#include "json.h"
#include "link.h"
#include "tlp_tune.h"

typedef struct series {
    double *value; /* [repeat] */
    double median, min, max;
} series;

typedef struct contender {
    const char *text;
    tlp_plan *plan;
    tlp_session *session; /* NULL between runs that create their own */
    tlp_plan_cost cost;
    series prefill, decode; /* tokens/s */
    series comm;            /* seconds in communication while decoding */
    double kv_bytes; /* cache bytes read for a token in the middle of a run */
} contender;

/* A plan whose costs are predicted for a number of ranks. */
typedef struct forecast {
    const char *text;
    const tlp_plan *plan;
    int n_rank;
    const contender *measured; /* NULL: not run */
    tlp_prediction token;      /* for a token in the middle of a run */
    double decode, prefill;    /* tokens/s */
    double ratio; /* decode, over decode of the serial plan on this number of
                     ranks */
} forecast;

/* Options and results of --measure-link. */
typedef struct bench_link {
    bool wanted;
    cli_list texts;   /* plans to predict without running them */
    int n_rank;       /* also predict for this number of ranks; 0 = none */
    contender serial; /* its session is measured once in every repeat */
    tlp_plan *pairs;  /* all layers in pairs, mode par */
    tlp_plan **plan;  /* [texts.n] */
    tlp_link *link;   /* [n_link] */
    int n_link;
    double *stage; /* [n_layer] seconds, from the last repeat */
    forecast *row; /* [n_row] */
    size_t n_row;
    /* serial and pairs, on the present number of ranks */
    forecast base, best_pairs;
    char verdict[512];
} bench_link;

/* Options and results of --bandwidth. */
typedef struct bench_bandwidth {
    bool wanted;
    bandwidth memory;
    int n_count;
    /* 1, 2, 4, ..., and last the number of threads of decode */
    int n_thread[16];
    series rate[16]; /* bytes per second */
} bench_bandwidth;

typedef struct bench {
    engine e;
    bench_link link;
    bench_bandwidth bandwidth;
    int n_prompt, n_gen, n_repeat;
    int32_t *prompt; /* [n_prompt] */
    tlp_sampler *greedy;
    contender *contender; /* [n] */
    size_t n;
    link_time between; /* the ranks; path "" until it is measured */
} bench;

/* Open or close the session of a contender. */
int bench_open_session(bench *b, contender *c);
void bench_close_session(contender *c);

/*
 * A peer process serves one session at a time, so plans cannot have sessions
 * at once: every run creates its own session.
 */
static inline bool bench_one_at_a_time(const bench *b)
{
    return b->e.comm == TLP_COMM_MPI;
}

int bench_run(bench *b);
int bench_report(bench *b, bool as_json);

int bench_open_series(series *s, int n);
/* Sort n values; store median, minimum and maximum. */
void bench_summarise(series *s, int n);
void bench_json_series(json *j, const char *key, const series *s);

/* ==== the link; nothing happens unless it is wanted ====================== */

int bench_link_open(bench *b);
int bench_link_measure(bench *b);
/* Call after the medians of the runs are known. */
int bench_link_predict(bench *b);
void bench_link_print(const bench *b);
void bench_link_json(const bench *b, json *j);
void bench_link_close(bench *b);

/* ==== memory; nothing happens unless it is wanted ======================== */

/* Call after the contenders are open; without a model, the options suffice. */
int bench_bandwidth_open(bench *b);
int bench_bandwidth_measure(bench *b, int repeat);
void bench_bandwidth_summarise(bench *b);
void bench_bandwidth_print(const bench *b);
void bench_bandwidth_json(const bench *b, json *j);
/* Keys of a plan: the share of the memory rate that decode reaches. */
void bench_bandwidth_json_plan(const bench *b, const contender *c, json *j);
void bench_bandwidth_close(bench *b);

#endif
