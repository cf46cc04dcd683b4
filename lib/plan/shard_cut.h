/*
 * shard_cut.h - where the list of a stage's members is cut.
 *
 * Positions count through the whole list: member i's query heads are
 * [i*n_head, (i+1)*n_head), its ff columns [i*n_ff, (i+1)*n_ff).  Rank r holds
 * what lies between the borders r and r+1.
 */
#ifndef TLPI_SHARD_CUT_H
#define TLPI_SHARD_CUT_H

#include "base/base.h"

typedef struct tlpi_member {
    uint64_t attn_bytes, ffn_bytes; /* of the matrices */
    uint64_t head_bytes, kv_bytes;  /* of a query head's rows and columns, of a
                                       kv head's rows */
    int head_step, ff_step; /* cuts at multiples of these, and at the end */
} tlpi_member;

typedef struct tlpi_cut {
    const tlpi_member *member; /* [n_member] */
    int n_member, n_rank;
    int n_head, n_ff; /* of one member */
    int64_t *head;    /* [n_rank+1] borders */
    int64_t *ff;      /* [n_rank+1] borders */
    double *want;     /* [n_rank] scratch: bytes a rank should hold */
} tlpi_cut;

/* All members as one wide layer. */
void tlpi_cut_wide(tlpi_cut *c);

/* Member by member: a rank with any part of a member is in one run of ranks
 * that share it. */
void tlpi_cut_members(tlpi_cut *c);

/* The legal position in a member's n units that is nearest to a share of it. */
int64_t tlpi_cut_snap(int64_t n, int64_t step, double share);

#endif
