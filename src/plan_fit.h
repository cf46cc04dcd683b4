/*
 * plan_fit.h - what plan adjust and plan bake share: both fit something on a
 * text, hold windows out, and report the quality on these before and after.
 */
#ifndef PLAN_FIT_H
#define PLAN_FIT_H

#include "corpus.h"
#include "json.h"

/* Rows of an option table: v has text, held_out and seed. */
/* clang-format off */
#define FIT_WINDOW_OPTIONS(v)                                                  \
    { CLI_FLOAT, 0, "held-out", &(v).held_out, "SHARE",                        \
      "windows kept for validation (0.25)", 0, 0.9 },                          \
    CORPUS_CTX_OPTION((v).text),                                               \
    { CLI_SEED, 0, "seed", &(v).seed, "N",                                     \
      "seed of the choice of held-out windows (0)", 0, 0 }
/* clang-format on */

/* A text, a plan and an output file must be named. */
int fit_check_options(const corpus *text, const char *plan, const char *out);

/* The part of a report that both have; [0] before, [1] after. */
typedef struct fit_quality {
    int n_window, n_held_out;
    double kl[2], ppl[2], top1[2];
} fit_quality;

/* r: a pointer to either report. */
#define FIT_QUALITY(r)                                                         \
    ((fit_quality){ (r)->n_window,                                             \
                    (r)->n_held_out,                                           \
                    { (r)->kl_before, (r)->kl_after },                         \
                    { (r)->ppl_before, (r)->ppl_after },                       \
                    { (r)->top1_before, (r)->top1_after } })

/* The first keys of an object, or the first lines of a table. */
void fit_json(const fit_quality *q, json *j);
void fit_print(const fit_quality *q);

#endif
