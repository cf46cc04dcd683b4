/*
 * stage_half.h - the halves of a stage: what the equations of forward.c are
 * made of.
 *
 * Each function works on the parts of the stage that this rank holds.
 */
#ifndef TLPI_STAGE_HALF_H
#define TLPI_STAGE_HALF_H

#include "rank/pass.h"

/* What the stream x is owed: delta, which may still be shares of the ranks.  An
 * output with a norm, P_i, needs the sum of all shares before that, so that the
 * members' outputs stand apart, in the slots of acc. */
typedef struct tlpi_owed {
    bool shares; /* delta, or each slot, is to be summed over the ranks */
    int n;       /* slots; 0: delta holds the sum over the members */
    float *const *post; /* [n] weights of P_i */
} tlpi_owed;

/* delta = what is owed, summed and normalised. */
tlp_status tlpi_settle(const tlpi_pass *p, tlpi_owed owed);

/* x += what is owed; norm[i] = rms_norm(x) * input[i].w, or x without w, for
 * inputs that are used. */
tlp_status tlpi_enter(const tlpi_pass *p, const tlpi_rank_input *input,
                      int n_member, tlpi_owed owed);

/* v = P(v); weight NULL: v stays. */
void tlpi_post(const tlpi_pass *p, const float *weight, float *v);

/* norm[member] = rms_norm(x + sum) * input[member].w, or x + sum without w, if
 * that input is used; x stays. */
void tlpi_enter_own(const tlpi_pass *p, const tlpi_rank_input *input,
                    int member, const float *sum);

/* Queries, keys and values of all parts from norm[member], in one call for the
 * whole group; then attention proper, in one call.  Between them the ranks sum
 * the squares of rows that are normalised as a whole. */
tlp_status tlpi_attend(const tlpi_pass *p, const tlpi_rank_stage *s);

/* y = sum over the parts of their output projections. */
void tlpi_project_sum(const tlpi_pass *p, const tlpi_rank_stage *s, float *y);

/* tlpi_attn_sum(member) = this rank's share of that member's output
 * projection. */
void tlpi_project_each(const tlpi_pass *p, const tlpi_rank_stage *s);

/* tlpi_attn_sum(member) = 0 for members that this rank holds no attention
 * of. */
void tlpi_zero_missing(const tlpi_pass *p, const tlpi_rank_stage *s);

/* hidden = fn(gate x) * (up x) of all parts, x = norm[part.norm] */
void tlpi_expand(const tlpi_pass *p, const tlpi_rank_stage *s);

/* delta (+)= sum over the parts of their feed-forward, from norm.  A correction
 * of the stage's output also puts what it reads of the attention into delta. */
tlp_status tlpi_feed_forward(const tlpi_pass *p, const tlpi_rank_stage *s,
                             bool add);

/* Slot m - first of `base` = this rank's share of F_m, from the hidden units,
 * for members with a part. */
void tlpi_project_ffns(const tlpi_pass *p, const tlpi_rank_stage *s,
                       float *base, int first);

/* tlpi_attn_sum(m) = this rank's share of F_m, for the members whose span has
 * this rank, or for all members of a stage without spans. */
void tlpi_contract_each(const tlpi_pass *p, const tlpi_rank_stage *s);

/* Is this the first of a member's feed-forward parts?  The parts of a member
 * are neighbours. */
static inline bool tlpi_begins_member(const tlpi_rank_stage *s, int part)
{
    return part == 0 || s->ffn[part - 1].member != s->ffn[part].member;
}

#endif
