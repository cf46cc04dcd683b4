/*
 * train_target.h - the serial model's predictions on the windows of a text,
 * which are the targets of training.
 *
 * A window's predictions are computed when they are first asked for, and kept:
 * 8 TLPI_TRAIN_TOP bytes for each token.
 */
#ifndef TLPI_TRAIN_TARGET_H
#define TLPI_TRAIN_TARGET_H

#include "stats/stats.h"
#include "train/train_head.h"
#include "tune/plan_runner.h"
#include "tune/windows.h"

typedef struct tlpi_train_targets {
    const tlpi_env *env;
    const tlpi_windows *text;  /* borrowed */
    const tlpi_train_ops *ops; /* borrowed */
    tlpi_runner serial;
    int k;        /* tokens of a prediction */
    int32_t **id; /* [text->n] of [n][k], or NULL: not computed */
    float **p;
    float *rows; /* [2][TLPI_LOGIT_CHUNK][n_vocab] */
} tlpi_train_targets;

/* cfg: of one rank, borrowed. */
tlp_status tlpi_train_targets_create(tlpi_train_targets *t, tlp_model *model,
                                     const tlpi_session_config *cfg,
                                     const tlpi_windows *text,
                                     const tlpi_train_ops *ops);
void tlpi_train_targets_free(tlpi_train_targets *t); /* zeroes are fine */

/* Predictions of the first n - 1 tokens of a window. */
tlp_status tlpi_train_targets_get(tlpi_train_targets *t, int window,
                                  tlpi_train_target *out);

/* Compare the student's logits of a window, [n - 1][n_vocab], with the serial
 * model's, all tokens of the vocabulary; the sums are added to *loss. */
tlp_status tlpi_train_targets_compare(tlpi_train_targets *t, int window,
                                      const float *logits,
                                      tlpi_train_loss *loss);

#endif
