/*
 * scratch.h - working memory of a rank, which keeps nothing between calls:
 * activations of a step, argument lists for calls of the backend, and what
 * commands carry.
 *
 * Shapes: T tokens of a step (<= n_batch), d = n_embd.
 */
#ifndef TLPI_SCRATCH_H
#define TLPI_SCRATCH_H

#include "rank/exchange.h"
#include "rank/rank_config.h"

/* Rows of the output head that are computed at once.  Logits that are not kept
 * are made in pieces of TLPI_LOGIT_CHUNK rows. */
#define TLPI_LOGIT_CHUNK 32

/* The arrays of a step, [n_batch] each. */
typedef struct tlpi_step_arrays {
    int32_t *id, *seq, *pos; /* as in tlpi_step */
    int32_t *row;            /* tokens whose logits are wanted, in row order */
    int32_t *target; /* scoring: the token each of these rows is asked for */
} tlpi_step_arrays;

/* Log sum exp of a rank's logits of a row, and the logit of the target if the
 * rank has it (else -inf).  bad: -1, or the first token whose logit is NaN or
 * +inf; that logit is then `target`, and lse is NaN. */
typedef struct tlpi_row_score {
    float lse, target;
    int32_t bad;
} tlpi_row_score;

/* Sizes that the widest stage of a rank needs. */
typedef struct tlpi_needs {
    int parts; /* attention or feed-forward parts */
    int members;
    int terms; /* matrices that one call multiplies by, without LoRA */
    int cols;  /* longest input row of any matmul */
    /* Floats of each of its buffers, SIZE_MAX beyond all memory. */
    size_t x, acc, track, norm, qkv, squares, scores, hidden, rows, logits;
} tlpi_needs;

typedef struct tlpi_scratch {
    const tlpi_env *env;
    tlpi_backend *b;
    int n_batch, n_embd;
    int logit_cols; /* columns of the rank's part of the output head */
    size_t n_bytes; /* of the activations */

    /* Activations, in memory of the backend. */
    float *x;       /* [T][d] residual stream */
    float *delta;   /* [T][d] what a stage adds to it */
    float *acc;     /* [n_member+1][T][d] attention outputs of par and asym,
                       halves of tracks; the last slot receives a running sum */
    float *track;   /* [n_track][T][d] what a track has added to the stream
                       since the last exchange; NULL without tracks */
    float *norm;    /* [n_member][T][d] normalised inputs */
    float *qkv;     /* queries, keys, values and outputs of all parts */
    float *squares; /* [n_row][2][T] of rows of queries and keys that are
                       normalised as a whole; NULL: the model has none */
    float *scores;  /* [part][T][n_expert] of routers; NULL: the model has none
                     */
    float *hidden;  /* feed-forward hidden units of all parts, [T][n_ff] each;
                       of experts [T * n_used][n_ff] */
    float *low;     /* [T][low_cols] down x of low-rank corrections, a x of
                       LoRA */
    float *rows;    /* [3][logit_chunk][d] rows of x, delta; normalised */
    float *logits;  /* [logit_cap][logit_cols] */
    int low_cols;
    size_t logit_cap;

    /* Argument lists for one call, long enough for the widest stage. */
    tlpi_term *term;
    tlpi_matmul *mm;
    tlpi_term *low_term; /* a x of LoRA, before a call with the lists above */
    tlpi_matmul *low_mm;
    tlpi_gate_up *gate_up;
    tlpi_attn *attn;
    tlpi_square *square;
    tlpi_norm *norms;
    tlpi_route *route; /* [n_route] whose routes are the scratch's */
    int n_route;       /* parts of the widest stage; 0: the model has no experts
                        */

    /* Host memory. */
    float *seen;           /* [n_batch][d] what a probe is shown, or NULL */
    float *host;           /* [n_vocab] a row of logits */
    tlpi_step_arrays step; /* five arrays in one block, .id */
    int32_t *wire;         /* [5 * n_batch] the step's arrays in transit */
    size_t *gather_bytes;  /* [n_rank] argument of gather */
    tlpi_row_score *score; /* [n_batch] this rank's */
} tlpi_scratch;

typedef struct tlpi_scratch_setup {
    const tlpi_env *env;
    tlpi_exchange *exchange;
    const tlpi_needs *needs;
    const tlpi_route_rule *rule; /* of the model's routers, or NULL */
    int n_batch, n_embd, n_vocab;
    int logit_cols;
} tlpi_scratch_setup;

/* All ranks call.  s is zero before the call.  After a failure the caller frees
 * s, which may be half-made. */
tlp_status tlpi_scratch_create(tlpi_scratch *s,
                               const tlpi_scratch_setup *setup);
void tlpi_scratch_free(tlpi_scratch *s); /* zeroes are fine */

/* Room for exactly `rows` rows of logits, or for a chunk if that is more.  The
 * rows that were there are lost; on failure they stay. */
tlp_status tlpi_scratch_fit_logits(tlpi_scratch *s, size_t rows);
/* Room for at least `cols` columns of low, for a probe. */
tlp_status tlpi_scratch_reserve_low(tlpi_scratch *s, int cols);
tlp_status tlpi_scratch_reserve_seen(tlpi_scratch *s);

#endif
