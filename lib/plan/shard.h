/*
 * shard.h - cut each stage of a plan over R ranks.
 *
 * A stage is a list of (member, query heads) for attention and (member, ff
 * columns) for the feed-forward part.  The list is laid out member after
 * member, and cut into R consecutive parts of nearly equal bytes, at positions
 * where quantised rows can be cut (whole blocks of attn_output and ffn_down
 * columns).  R is at least 1; a rank may get no part of a stage. A cut inside
 * the query heads that share a kv head leaves that kv head, its rows and its
 * cache, on both sides: 9 heads over 3 kv heads split 5 + 4 on two ranks, which
 * costs one kv head more and waits less than 6 + 3.
 *
 *   serial, lp  attention and FFN are cut evenly, each on its own; so a pair
 *               on two ranks is cut between its members.
 *   par, asym   a rank's FFN part of a member needs that member's attention
 *               sum, so both are cut at the same member boundaries: whole
 *               members if there is one for every rank; an equal number of
 *               ranks for each member if R is a multiple; else by bytes, so
 *               that a rank may have the end of one member and the beginning
 *               of the next.  The ranks that share a member are neighbours,
 *               the `span` of the member; each of them holds a part of it.
 *   merge       cut as a serial layer.
 *   lp-code     as lp, with the FFN slices also cut where the norm changes.
 *   tracks      a layer beside an exchange that the plan leaves out is cut into
 *               the plan's T tracks, which are its members.  Of n units track t
 *               begins at unit n t / T, rounded up to a legal position; the cut
 *               is a part of what the plan computes and does not depend on R.
 *               Each of R / T neighbouring ranks holds a part of its track; one
 *               rank holds all tracks; no other R is possible.
 */
#ifndef TLPI_SHARD_H
#define TLPI_SHARD_H

#include "plan/plan.h"

typedef struct tlpi_attn_part {
    int member;   /* index in the stage; 0 for merge; the track */
    int kv0, kv1; /* kv heads [kv0, kv1) */
    int q0, q1;   /* query heads: all heads of these kv heads, or some heads of
                     one kv head */
} tlpi_attn_part;

typedef struct tlpi_ffn_part {
    int member;
    int norm;     /* member whose ffn_norm the input goes through */
    int ff0, ff1; /* rows of ffn_gate/up, columns of ffn_down */
} tlpi_ffn_part;

/* The units of each axis that a part has, for tlpi_row_slice. */
tlpi_part tlpi_attn_units(const tlpi_attn_part *p);
tlpi_part tlpi_ffn_units(const tlpi_ffn_part *p);

typedef struct tlpi_span {
    int first, count; /* ranks that hold parts of a member */
} tlpi_span;

static inline bool tlpi_span_has(tlpi_span s, int rank)
{
    return rank >= s.first && rank < s.first + s.count;
}

/* One rank's parts of one stage, ordered by member. */
typedef struct tlpi_stage_shard {
    tlpi_attn_part *attn;
    int n_attn;
    tlpi_ffn_part *ffn;
    int n_ffn;
} tlpi_stage_shard;

typedef struct tlpi_shards {
    const tlpi_env *env;
    int n_rank, n_stage;
    tlpi_stage_shard *part; /* [n_stage][n_rank] */
    tlpi_span **span;       /* [n_stage][n_member]; par, asym and tracks, else
                               NULL */
    int *vocab;             /* [n_rank+1] row borders of the output head,
                               multiples of 16, except the last */
    uint64_t *rank_bytes;   /* [n_rank] weight bytes read per token */
} tlpi_shards;

tlp_status tlpi_shards_create(tlpi_shards **out, const tlp_plan *plan,
                              int n_rank);
void tlpi_shards_free(tlpi_shards *s); /* NULL is fine */

static inline const tlpi_stage_shard *tlpi_shard_at(const tlpi_shards *s,
                                                    int stage, int rank)
{
    return &s->part[(size_t)stage * (size_t)s->n_rank + (size_t)rank];
}

#endif
