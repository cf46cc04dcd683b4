/*
 * pass.h - a forward pass: what the equations of forward.c and the corrections
 * of tap.c work on while a step of tokens goes through the stages.
 */
#ifndef TLPI_PASS_H
#define TLPI_PASS_H

#include "rank/exchange.h"
#include "rank/scratch.h"
#include "rank/stage.h"
#include "rank/tap.h"

typedef struct tlpi_pass {
    int rank;
    const tlpi_hparams *hp;
    tlpi_backend *b;
    tlpi_exchange *exchange;
    tlpi_scratch *buf;
    const tlpi_probe *probe; /* or NULL */
    const tlpi_step *step;
    int n_tok; /* of the step */
    size_t n;  /* floats of the residual stream: n_tok * n_embd */
} tlpi_pass;

/* Slot i of acc or norm.  Slots are packed for this step. */
static inline float *tlpi_slot(const tlpi_pass *p, float *base, int i)
{
    return base + (size_t)i * p->n;
}

/* Input of a member: normalised, if the model has norms of inputs. */
static inline float *tlpi_input(const tlpi_pass *p, int member)
{
    return tlpi_slot(p, p->buf->norm, member);
}

/* Buffer of a member's attention output in par and asym, and of a track's last
 * half: `delta` for the member that this rank adds to the stage's sum (saves
 * one pass over memory), a slot of acc for every other member. */
static inline float *tlpi_attn_sum(const tlpi_pass *p, const tlpi_rank_stage *s,
                                   int member)
{
    return member == s->carried ? p->buf->delta
                                : tlpi_slot(p, p->buf->acc, member);
}

/* Sums of the squares of row `row` of the stage, of its queries and behind them
 * of its keys: [2][T]. */
static inline float *tlpi_row_squares(const tlpi_pass *p, int row)
{
    return p->buf->squares + 2 * (size_t)row * (size_t)p->n_tok;
}

/* Hidden units of a feed-forward part. */
static inline float *tlpi_hidden(const tlpi_pass *p, const tlpi_rank_ffn *f)
{
    return p->buf->hidden + (size_t)p->n_tok * f->at;
}

/* Scores of the router of feed-forward part i, [T][n_expert]. */
static inline float *tlpi_scores(const tlpi_pass *p, int i)
{
    return p->buf->scores +
           (size_t)i * (size_t)p->n_tok * (size_t)p->hp->n_expert;
}

/* ==== tap.c ============================================================== */

/* At a place of a stage: correct the values there, then show them. */
tlp_status tlpi_tap(const tlpi_pass *p, const tlpi_rank_stage *s,
                    tlpi_probe_at at);

/* Is the output of the stage corrected? */
static inline bool tlpi_corrects_output(const tlpi_rank_stage *s)
{
    return s->adjust && s->adjust->out_rank > 0;
}

/*
 * This rank's share of delta = up (sum_m down_m (S_m + F_m)) + sum_m F_m, where
 * S_m is the attention sum that counts as the delta of member m.  S_m stands in
 * acc, or in delta for stages without spans.  The hidden units of the parts are
 * there.
 */
void tlpi_correct_output(const tlpi_pass *p, const tlpi_rank_stage *s);

#endif
