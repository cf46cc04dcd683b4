/*
 * bench.h - what tlp bench measures, and in which parts: cmd_bench.c sets up,
 * bench_run.c runs, bench_report.c prints; bench_link.c measures the link and
 * predicts, bench_link_report.c prints that.
 */
#ifndef BENCH_H
#define BENCH_H

#include "engine.h"
#include "json.h"

typedef struct series {
    double *value; /* [repeat] */
    double median, min, max;
} series;

typedef struct contender {
    const char *text;
    tlp_plan *plan;
    tlp_session *session; /* NULL between runs that make their own */
    tlp_plan_cost cost;
    series prefill, decode; /* tokens/s */
    series comm;            /* seconds in communication while decoding */
} contender;

/* A plan whose costs are predicted for a number of ranks. */
typedef struct forecast {
    const char *text;
    const tlp_plan *plan;
    int n_rank;
    const contender *measured; /* NULL: not run */
    tlp_prediction token;      /* in the middle of a run */
    double decode, prefill;    /* tokens/s */
    double ratio;              /* decode, to serial on as many ranks */
} forecast;

/* --measure-link */
typedef struct bench_link {
    bool wanted;
    cli_list texts;   /* plans to predict and not to run */
    int n_rank;       /* predict for so many too; 0 = none */
    contender serial; /* whose session is measured, once in every repeat */
    tlp_plan *pairs;  /* every layer in a pair, par */
    tlp_plan **plan;  /* [texts.n] */
    tlp_link *link;   /* [n_link] */
    int n_link;
    double *stage; /* [n_layer] seconds; of the last repeat */
    forecast *row; /* [n_row] */
    size_t n_row;
    forecast base, best_pairs; /* serial and pairs, on the ranks there are */
    char verdict[512];
} bench_link;

typedef struct bench {
    engine e;
    bench_link link;
    int n_prompt, n_gen, n_repeat;
    int32_t *prompt; /* [n_prompt] */
    tlp_sampler *greedy;
    contender *contender; /* [n] */
    size_t n;
} bench;

/* The session of a contender, until it is closed. */
int bench_open_session(bench *b, contender *c);
void bench_close_session(contender *c);

/*
 * A peer process serves one session at a time, so that plans cannot have
 * sessions side by side: every run makes its own.
 */
static inline bool bench_one_at_a_time(const bench *b)
{
    return b->e.comm == TLP_COMM_MPI;
}

int bench_run(bench *b);
int bench_report(bench *b, bool as_json);

/* ==== the link; nothing happens unless it is wanted ====================== */

int bench_link_open(bench *b);
int bench_link_measure(bench *b);
/* After the medians of what was run are known. */
int bench_link_predict(bench *b);
void bench_link_print(const bench *b);
void bench_link_json(const bench *b, json *j);
void bench_link_close(bench *b);

#endif
