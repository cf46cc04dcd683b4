/*
 * expert_rig.h - what tests of models whose layers have experts share: plans of
 * three layers, and logits against the equations.
 */
#ifndef EXPERT_RIG_H
#define EXPERT_RIG_H

#include "ref.h"
#include "rig.h"
#include "tiny.h"

enum {
    EXPERT_TOKENS = 13,
    EXPERT_PLANS = 5,
    EXPERT_MODES = 4 /* plans whose logits do not depend on where blocks can be
                        cut */
};

#define EXPERT_TOLERANCE 3e-5 /* as in test_parity.c */

/* A model with its reference and n tokens. */
typedef struct expert_subject {
    const char *path;
    ref_model *ref;
    int32_t ids[600];
    int n;
} expert_subject;

expert_subject expert_open(const char *path, int n);
void expert_close(expert_subject *s);

/* How far the logits of all tokens are off; `plan` is one of EXPERT_PLANS. */
double expert_off_by(const expert_subject *s, int plan,
                     const tlp_session_options *o);
void expert_expect_close(const expert_subject *s, int plan,
                         const tlp_session_options *o, double tolerance,
                         const char *what);

/* All plans on as many ranks as they take. */
void expert_expect_plans(const tiny_spec *spec, int n_rank, const char *what);

#endif
