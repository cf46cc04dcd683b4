/*
 * rig.h - a model, a plan and a session of one file in one call, and common
 * steps of session tests.  Any failure ends the test.
 */
#ifndef RIG_H
#define RIG_H

#include <stdbool.h>

#include "check.h"

typedef struct rig {
    tlp_model *model;
    tlp_plan *plan;
    tlp_session *session;
    size_t n_vocab;
} rig;

/* Options with f32 activations and cache, and 64 positions; change fields as
 * needed. */
tlp_session_options rig_f32(int n_rank, int n_thread);

rig rig_open(const char *path, const char *plan,
             const tlp_session_options *opts);
/* With options of the model, or NULL. */
rig rig_open_with(const char *path, const tlp_model_options *model_opts,
                  const char *plan, const tlp_session_options *opts);
void rig_close(rig *r);

tlp_model *rig_open_model(const char *path);

/* Expect a value of a key of the model's file, as text. */
void rig_expect_meta(const tlp_model *m, const char *key, const char *want);

/* A model whose weights can be changed in place. */
tlp_model *rig_open_changeable(const char *path);

/* n token ids; equal for equal seeds. */
void rig_tokens(int32_t *ids, int n, size_t n_vocab, uint64_t seed);

/* A copy of all rows of logits of the last evaluation; the caller frees it. */
float *rig_logits(rig *r, size_t *n_row);

/* Evaluate n tokens of one sequence at once; returns a copy of their logits
 * [n][n_vocab], which the caller frees. */
float *rig_eval(rig *r, int32_t seq, const int32_t *ids, int n);

/* Logits of n tokens under a plan in a session of its own; the caller frees
 * them. */
float *rig_run(const char *path, const char *plan,
               const tlp_session_options *opts, const int32_t *ids, int n);

/* max |a - b|; NaN counts as infinite. */
double rig_diff(const float *a, const double *b, size_t n);
double rig_diff_f(const float *a, const float *b, size_t n);

/* max |x| */
double rig_scale(const double *x, size_t n);

/* Whether this machine can run a TLP_ISA_*. */
bool rig_has_isa(int isa);
const char *rig_isa_name(int isa);

#endif
