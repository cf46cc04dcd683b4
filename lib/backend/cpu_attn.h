/*
 * cpu_attn.h - the sizes that attention works in, and its scratch memory.
 */
#ifndef TLPI_CPU_ATTN_H
#define TLPI_CPU_ATTN_H

#include "backend/cpu.h"

/* Positions whose scores are computed together.  Part of the results' bits. */
#define TLPI_ATTN_CHUNK 256
/* Query rows that go through a chunk together, while it is in the L2 cache. */
#define TLPI_ATTN_ROWS 96
/* Of them, those whose scores are alive at once, in the L1 cache. */
#define TLPI_ATTN_GROUP 48

/* Tokens [tok, tok + n_tok) of one sequence, consecutive positions. */
struct tlpi_attn_block {
    int tok, n_tok;
};

/* Softmax-weighted sums of rows over some positions. */
struct tlpi_attn_sums {
    float *x;         /* [rows][hp] */
    float *max, *sum; /* [rows] */
};

/* One thread's share of scratch. */
struct tlpi_attn_work {
    float *q;                       /* [ROWS][h] */
    float *s;                       /* [GROUP][CHUNK] scores, then weights */
    float *t;                       /* likewise, of one block of Q8_0 */
    struct tlpi_attn_sums all, one; /* over all chunks so far, over one */
};

struct tlpi_attn_scratch {
    struct tlpi_attn_block *blocks; /* [max_tok] */
    size_t max_cols;
    float *work; /* [n_thread] shares */
    size_t work_cap;
    float *part; /* sums over chunks, on their way between threads */
    size_t part_cap;
};

/* Enough for contexts of n_ctx positions and heads of head_dim; called for
 * every cache, before it is used. */
tlp_status tlpi_attn_scratch_fit(tlpi_cpu *c, int n_ctx, int head_dim);

struct tlpi_attn_work tlpi_attn_work_of(const struct tlpi_attn_scratch *s,
                                        int ith, size_t hp);

/* Floats that the sums of n_row rows take. */
static inline size_t tlpi_attn_part_size(size_t n_row, size_t hp)
{
    return n_row * (hp + 2);
}

#endif
