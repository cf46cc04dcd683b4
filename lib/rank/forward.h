/*
 * forward.h - between forward.c, the equations, and forward_adjust.c, what a
 * plan's adjustments change in them and a probe sees of them.
 */
#ifndef TLPI_FORWARD_H
#define TLPI_FORWARD_H

#include "rank/rank.h"

static inline size_t tlpi_n_stream(const tlpi_rank *r, const tlpi_step *step)
{
    return (size_t)step->n_tok * (size_t)r->model->hp.n_embd;
}

/* Slot i of acc or norm; packed for this step, so that slots are neighbours. */
static inline float *tlpi_slot(const tlpi_rank *r, const tlpi_step *step,
                               float *base, int i)
{
    return base + (size_t)i * tlpi_n_stream(r, step);
}

/* Where a member's attention sum is formed in par and asym: in delta itself
 * for the one that this rank hands on, which saves a pass, else in acc. */
static inline float *tlpi_attn_sum(const tlpi_rank *r, const tlpi_step *step,
                                   const tlpi_rank_stage *s, int member)
{
    return member == s->carried ? r->buf.delta
                                : tlpi_slot(r, step, r->buf.acc, member);
}

/* A feed-forward part's hidden units. */
static inline float *tlpi_hidden(const tlpi_rank *r, const tlpi_step *step,
                                 const tlpi_rank_ffn *f)
{
    return r->buf.hidden + (size_t)step->n_tok * f->at;
}

static inline bool tlpi_has_out(const tlpi_rank_stage *s)
{
    return s->adjust && s->adjust->out_rank > 0;
}

/* norm[m] += up_m (down_m norm[m]), for all members. */
void tlpi_forward_correct(tlpi_rank *r, const tlpi_step *step,
                          const tlpi_rank_lowrank *low, int n_member);

/*
 * This rank's share of delta = up (sum_m down_m (S_m + F_m)) + sum_m F_m, where
 * S_m is the attention sum that counts as the member's; that is in acc, or for
 * lp and the like in delta.  The parts' hidden units are there.
 */
void tlpi_forward_out(tlpi_rank *r, const tlpi_step *step,
                      const tlpi_rank_stage *s);

/* replay.c: around a step that makes its calls, and after one that does not. */
tlp_status tlpi_replay_create(tlpi_rank *r);
void tlpi_replay_before(tlpi_rank *r);
void tlpi_replay_after(tlpi_rank *r, int n_tok);
void tlpi_replay_count(tlpi_rank *r, int n_tok);

/* Show r->probe what there is of all members. */
tlp_status tlpi_probe_inputs(tlpi_rank *r, const tlpi_step *step,
                             const tlpi_rank_stage *s, tlpi_probe_at at);
tlp_status tlpi_probe_sums(tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_stage *s);
tlp_status tlpi_probe_ffns(tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_stage *s);

#endif
