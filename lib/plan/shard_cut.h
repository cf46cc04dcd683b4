/*
 * shard_cut.h - cut the list of a stage's members.
 *
 * Positions count through the whole list: member i's query heads are [i*n_head,
 * (i+1)*n_head), its ff columns [i*n_ff, (i+1)*n_ff).  Rank r holds the
 * positions between the borders r and r+1.
 */
#ifndef TLPI_SHARD_CUT_H
#define TLPI_SHARD_CUT_H

#include "base/base.h"

typedef struct tlpi_member {
    uint64_t attn_bytes, ffn_bytes; /* of the matrices that a token reads */
    uint64_t head_bytes, kv_bytes;  /* rows and columns of a query head; rows of
                                       a  kv head */
    int head_step, ff_step; /* cuts are at multiples of these, and at the end */
} tlpi_member;

typedef struct tlpi_cut {
    const tlpi_member *member; /* [n_member] */
    int n_member, n_rank;      /* n_rank: parts that the list is cut into */
    int n_head, n_ff;          /* of one member */
    int64_t *head;             /* [n_rank+1] borders */
    int64_t *ff;               /* [n_rank+1] borders */
    double *want;              /* [n_rank] scratch: bytes a rank should hold */
} tlpi_cut;

/* Cut all members as one wide layer. */
void tlpi_cut_wide(tlpi_cut *c);

/* Cut member by member.  The ranks that share a member are neighbours. */
void tlpi_cut_members(tlpi_cut *c);

/* Cut the only member into tracks, and each track into n_rank / n_track parts
 * of nearly equal bytes. */
void tlpi_cut_tracks(tlpi_cut *c, int n_track);

/* The legal position in the n units of a member that is nearest to n *
 * share. */
int64_t tlpi_cut_snap(int64_t n, int64_t step, double share);

#endif
