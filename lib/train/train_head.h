/*
 * train_head.h - the loss of a window: KL divergence from the serial model's
 * predictions, and -log p of the text, with the gradient by the residual stream
 * behind the last stage.
 *
 * The serial model's prediction is kept as its k likeliest tokens with their
 * probabilities p_i; all other tokens are one event, of the probability r that
 * is left.  The loss of a token, with q the plan's prediction and s the sum of
 * q over those other tokens:
 *
 *   KL = sum_i p_i log(p_i / q_i) + r log(r / s)
 */
#ifndef TLPI_TRAIN_HEAD_H
#define TLPI_TRAIN_HEAD_H

#include "train/train_pass.h"

/* The most tokens that are kept of a prediction. */
enum { TLPI_TRAIN_TOP = 64 };

/* Predictions of one window. */
typedef struct tlpi_train_target {
    int k;
    const int32_t *id;   /* [n][k] */
    const float *p;      /* [n][k] */
    const int32_t *next; /* [n] the text's tokens */
} tlpi_train_target;

typedef struct tlpi_train_loss {
    double kl, nll; /* sums over the predictions */
    int64_t top1;   /* predictions with the serial model's likeliest token */
    int64_t n;
} tlpi_train_loss;

static inline void tlpi_train_loss_add(tlpi_train_loss *sum,
                                       const tlpi_train_loss *x)
{
    sum->kl += x->kl;
    sum->nll += x->nll;
    sum->top1 += x->top1;
    sum->n += x->n;
}

typedef struct tlpi_train_head {
    tlpi_train_pass *pass; /* borrowed */
    int max_tok;
    float *norm;   /* [max_tok][d] */
    float *logits; /* [max_tok][n_vocab] */
    float *slopes; /* [threads][n_vocab] of a soft cap of logits, or NULL */
} tlpi_train_head;

tlp_status tlpi_train_head_create(tlpi_train_head *h, tlpi_train_pass *pass);
void tlpi_train_head_free(tlpi_train_head *h); /* zeroes are fine */

/* Logits of the first n tokens of the window, from border n_stage: in
 * h->logits. */
void tlpi_train_logits(tlpi_train_head *h, int n);

/* The k likeliest tokens of each of n rows of logits, [n][n_vocab], which are
 * overwritten: ids and probabilities, likeliest first. */
void tlpi_train_take_top(const tlpi_train_ops *ops, float *logits, int n,
                         int n_vocab, int k, int32_t *id, float *p);

/*
 * Loss of the first n tokens of the window, after the forward pass, added to
 * *loss.  slope: make the gradient of kl_share * KL + nll_share * nll by the
 * stream, summed over the tokens, in the pass's slope; the window's other
 * tokens get 0.
 */
tlp_status tlpi_train_head_loss(tlpi_train_head *h,
                                const tlpi_train_target *target, int n,
                                double kl_share, bool slope,
                                tlpi_train_loss *loss);

#endif
