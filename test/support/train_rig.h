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

/* A tiny llama; train_ids are set too. */
tlp_model *train_model(tlpi_dtype type);

/* Three times through the text; the caller says what is trained. */
tlp_plan_train_options train_options(void);

tlp_plan *train_plan(tlp_model *m, const char *text);

#endif
