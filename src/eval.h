/*
 * eval.h - tlp eval, in parts: cmd_eval.c reads options and dispatches;
 * eval_session.c opens sessions; eval_text.c, eval_task.c and eval_drill.c
 * measure; eval_report.c prints estimates.
 */
#ifndef EVAL_H
#define EVAL_H

#include "corpus.h"
#include "engine.h"
#include "json.h"

typedef struct eval {
    engine e; /* the plan's session */
    /* options */
    /* its ctx is also used for tasks and drills; 0 = their default */
    corpus text;
    const char *task_path;
    int n_drill;               /* number of drills of each kind; 0 = none */
    const char *against;       /* the reference's plan; NULL = none */
    const char *against_model; /* the reference's file; NULL = the plan's */
    const char *delimiter;
    bool as_json;
    uint64_t seed;
    /* the reference, in this process, on one rank */
    engine other; /* of against_model, if there is one */
    tlp_plan *reference_plan;
    tlp_session *reference; /* NULL = none */
} eval;

/* The model of the reference's session. */
static inline tlp_model *eval_reference_model(const eval *v)
{
    return v->against_model ? v->other.model : v->e.model;
}

/* Open the file of --against-model; v->e has its model. */
int eval_open_other(eval *v);

/* Open sessions of the plan and, with --against, of the reference; SIGINT
 * stops both. */
int eval_open_sessions(eval *v, int64_t n_ctx);
void eval_close(eval *v);

/* Each function measures, and prints the result. */
int eval_text(eval *v);
int eval_task(eval *v);
int eval_drills(eval *v);

/* ==== reports ============================================================ */

/* A mean and its 95% bootstrap interval, which needs at least two units. */
typedef struct estimate {
    double mean, lo, hi;
    bool has_interval;
} estimate;

/* Estimate sum of sum[] / sum of weight[]; weight NULL = all 1. */
int eval_estimate(const eval *v, const double *sum, const double *weight,
                  size_t n, estimate *out);
estimate eval_exp(const estimate *x); /* e^x */

/* Print "24.3249 [22.1023, 27.0431]" with a unit after the mean; print_share
 * prints "72.31% [70.02, 74.61]" as a line. */
void eval_print(const char *label, const estimate *x, const char *unit);
void eval_print_share(const char *label, const estimate *x);
void eval_print_against(const eval *v);
void eval_json_against(json *j, const eval *v);
/* Explain the brackets, if there were any. */
void eval_print_unit(const estimate *x, const char *units);
/* Write "KEY": mean, "KEY_ci": [lo, hi] or null; json_interval: only the
 * interval. */
void eval_json(json *j, const char *key, const estimate *x);
void eval_json_interval(json *j, const char *key, const estimate *x);

#endif
