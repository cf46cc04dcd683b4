/*
 * train_rig.h - what tests of whole trainings share: a tiny model, its text,
 * and options.
 */
#ifndef TRAIN_RIG_H
#define TRAIN_RIG_H

#include "support/check.h"
#include "support/plan_rig.h"
#include "tensor/tensor.h"
#include "tlp_tune.h"

enum { TRAIN_CTX = 32, TRAIN_TOKENS = 20 * TRAIN_CTX };

extern int32_t train_ids[TRAIN_TOKENS];
extern const text_windows train_text;     /* all of train_ids */
extern tlp_session_options train_session; /* of train_options */

/* A tiny llama, or another architecture; train_ids are set too. */
tlp_model *train_model(tlpi_dtype type);
tlp_model *train_model_of(const char *arch, tlpi_dtype type);

/* Three times through the text; the caller says what is trained. */
tlp_plan_train_options train_options(void);

tlp_plan *train_plan(tlp_model *m, const char *text);

/* The trained plan, in its file, has less KL divergence from the old serial
 * model, by sessions that know nothing of training: at most `share` of that of
 * the plan. */
void train_expect_gain(const char *arch, tlpi_dtype type, const char *text,
                       const tlp_plan_train_options *o, double share);

#endif
