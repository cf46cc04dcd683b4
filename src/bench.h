/*
 * bench.h - what tlp bench measures, and in which parts: cmd_bench.c sets up,
 * bench_run.c runs, bench_report.c prints.
 */
#ifndef BENCH_H
#define BENCH_H

#include "engine.h"

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

typedef struct bench {
    engine e;
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

#endif
