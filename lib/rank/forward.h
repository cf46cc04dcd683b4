/*
 * forward.h - a step of tokens through the stages of a rank.
 */
#ifndef TLPI_FORWARD_H
#define TLPI_FORWARD_H

#include "rank/rank.h"
#include "rank/stage_half.h"

/* forward.c: one stage, behind the stage `before`; NULL: nothing is owed but
 * delta. */
tlp_status tlpi_forward_stage(const tlpi_pass *p, const tlpi_rank_stage *s,
                              const tlpi_rank_stage *before);
/* What a stage leaves owed. */
tlpi_owed tlpi_forward_owed(const tlpi_rank_stage *s);

/*
 * Run all stages of one of the rank's programs over a step; afterwards x +
 * delta is the residual stream. TLP_ECANCELED, on every rank, when rank 0's
 * abort flag was seen.
 */
tlp_status tlpi_forward(tlpi_rank *r, const tlpi_program *program,
                        const tlpi_step *step);

/* Run all stages, and make the logits of the rows that are wanted; these stand
 * in scratch.logits from row `at` on.  A device replays such a step when it
 * knows its shape. */
tlp_status tlpi_forward_logits(tlpi_rank *r, const tlpi_program *program,
                               const tlpi_step *step, const int32_t *row,
                               int n_row, int at);

/*
 * A step in pieces, for callers that know the residual stream before some
 * stage: begin with that stream (host [T][d]; NULL: with the embeddings), run
 * stages [first, end) of a program, read the stream after them.  Bits do not
 * depend on where the pieces begin.
 */
void tlpi_forward_begin(tlpi_rank *r, const tlpi_step *step, const float *x);
tlp_status tlpi_forward_stages(tlpi_rank *r, const tlpi_program *program,
                               const tlpi_step *step, int first, int end);
void tlpi_forward_stream(tlpi_rank *r, const tlpi_step *step, float *host);

/* Where the exchange is left out, on the only rank: begin with, and read, the
 * stream x [T][d] of the last exchange and what each track has added since,
 * track[t] [T][d]. */
void tlpi_forward_begin_tracks(tlpi_rank *r, const tlpi_step *step, int n_track,
                               const float *x, const float *const *track);
void tlpi_forward_stream_tracks(tlpi_rank *r, const tlpi_step *step,
                                int n_track, float *x, float *const *track);

/* States of n rows (token indices of the last step), which are the stream
 * behind the output norm: [n][d] in memory of the backend, until the next call;
 * n <= TLPI_LOGIT_CHUNK. */
const float *tlpi_forward_states(tlpi_rank *r, const int32_t *rows, int n);

/* Logits of n rows (token indices of the last step) into y [n][vocab shard];
 * n <= TLPI_LOGIT_CHUNK. */
void tlpi_forward_head(tlpi_rank *r, const int32_t *rows, int n, float *y);

#endif
