/*
 * stage_half.h - the halves of a stage: what the equations of forward.c are
 * made of.
 *
 * Each function works on the parts of the stage that this rank holds.
 */
#ifndef TLPI_STAGE_HALF_H
#define TLPI_STAGE_HALF_H

#include "rank/pass.h"

/* x += delta, after the sum over the ranks if that is `owed`; norm[i] =
 * rms_norm(x) * weight[i] for members that have one. */
tlp_status tlpi_enter(const tlpi_pass *p, float *const *weight, int n_member,
                      bool owed);

/* norm[member] = rms_norm(x + sum) * weight[member], if the member has a
 * weight; x stays. */
void tlpi_enter_own(const tlpi_pass *p, float *const *weight, int member,
                    const float *sum);

/* Queries, keys and values of all parts from norm[member], in one call for the
 * whole group; then attention proper, in one call. */
void tlpi_attend(const tlpi_pass *p, const tlpi_rank_stage *s);

/* y = sum over the parts of their output projections. */
void tlpi_project_sum(const tlpi_pass *p, const tlpi_rank_stage *s, float *y);

/* tlpi_attn_sum(member) = this rank's share of that member's output
 * projection. */
void tlpi_project_each(const tlpi_pass *p, const tlpi_rank_stage *s);

/* tlpi_attn_sum(member) = 0 for members that this rank holds no attention
 * of. */
void tlpi_zero_missing(const tlpi_pass *p, const tlpi_rank_stage *s);

/* hidden = silu(gate x) * (up x) of all parts, x = norm[part.norm] */
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
 * this rank. */
void tlpi_contract_each(const tlpi_pass *p, const tlpi_rank_stage *s);

/* Is this the first of a member's feed-forward parts?  The parts of a member
 * are neighbours. */
static inline bool tlpi_begins_member(const tlpi_rank_stage *s, int part)
{
    return part == 0 || s->ffn[part - 1].member != s->ffn[part].member;
}

#endif
