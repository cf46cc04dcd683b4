/*
 * cpu_attn.h - block sizes of attention, and its scratch memory.
 */
#ifndef TLPI_CPU_ATTN_H
#define TLPI_CPU_ATTN_H

#include "backend/cpu.h"

/* Positions whose scores are computed together: a page.  A change changes
 * results. */
#define TLPI_ATTN_CHUNK TLPI_PAGE
/* Query rows that use a chunk together, while it is in the L2 cache. */
#define TLPI_ATTN_ROWS 96
/* Rows among TLPI_ATTN_ROWS whose scores are in the L1 cache at once. */
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
    float *q; /* [ROWS][h] */
    float *s; /* [GROUP][CHUNK] scores, then weights */
    float *t; /* [GROUP][CHUNK] scores or weights of one Q8_0 block */
    struct tlpi_attn_sums all, one; /* over all chunks so far; over one chunk */
};

struct tlpi_attn_scratch {
    struct tlpi_attn_block *blocks; /* [max_tok] */
    size_t max_cols;
    float *work; /* [n_thread] shares */
    size_t work_cap, work_each;
    float *part; /* sums over chunks, written and read by different threads */
    size_t part_cap;
};

/* Make the scratch large enough for contexts of n_chunk chunks and heads of
 * head_dim.  Called for every cache before its first use. */
tlp_status tlpi_attn_scratch_fit(tlpi_cpu *c, int n_chunk, int head_dim);

/* Make it large enough for n_thread threads. */
tlp_status tlpi_attn_scratch_share(tlpi_cpu *c, int n_thread);

struct tlpi_attn_work tlpi_attn_work_of(const struct tlpi_attn_scratch *s,
                                        int ith, size_t hp);

/* Number of floats in the sums of n_row rows. */
static inline size_t tlpi_attn_part_size(size_t n_row, size_t hp)
{
    return n_row * (hp + 2);
}

#endif
