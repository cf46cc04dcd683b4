/*
 * train_attn_work.h - working memory of attention for training, which its two
 * passes share.
 *
 * Shapes: T = n_tok, h = head_dim, hp and Tp = h and T rounded up to 16, R =
 * TLPI_TRAIN_ROWS.  Rounded columns hold zeros or numbers that meet zeros.
 */
#ifndef TLPI_TRAIN_ATTN_WORK_H
#define TLPI_TRAIN_ATTN_WORK_H

#include "backend/cpu_vec.h"
#include "train/train_attn.h"
#include "train/train_kernel.h"

enum {
    TLPI_TRAIN_ROWS = 48, /* query rows that are computed at once */
    TLPI_TRAIN_HALF = 24, /* of them that share the end of the seen positions */
    TLPI_TRAIN_TASKS = 12 /* least tasks of a backward pass */
};

struct tlpi_train_attn {
    const tlpi_env *env;
    tlpi_pool *pool;
    const tlpi_cpu_vec *vec;
    const tlpi_gemm_kernel *kernel;
    tlpi_train_attn_sizes most;
    size_t n_bytes;

    /* of all kv heads, [n_head_kv][Tp * hp] each: rows, and panels of 16
     * positions [Tp / 16][h][16] */
    float *k, *v, *k_panel, *v_panel;
    float *work; /* [n_thread][work_floats] */
    size_t work_floats;
    float *part; /* [tasks][2][Tp * hp]: what a task adds to dK and dV */
};

/* Rows [t0, t1) of a task of a backward pass, and the first position that they
 * see. */
typedef struct tlpi_train_share {
    int t0, t1, lo;
} tlpi_train_share;

/* A call. */
typedef struct tlpi_train_call {
    tlpi_train_attn *a;
    const tlpi_train_heads *heads;
    const tlpi_train_qkv *x;
    const tlpi_train_dqkv *d; /* NULL in a forward pass */
    size_t hp, tp;
    int n_part; /* of the rows in a backward pass */
    tlpi_train_share part[TLPI_TRAIN_TASKS];
} tlpi_train_call;

/* Some query rows of one head, and the positions that they see together. */
typedef struct tlpi_train_block {
    int head, kv;
    int t0, n;  /* rows */
    int lo, hi; /* positions, lo is a multiple of 16 */
} tlpi_train_block;

/* Memory of a thread; the head of this file has the shapes. */
typedef struct tlpi_train_work {
    float *q, *q_scaled, *o, *d_o; /* [R][hp] */
    float *s, *ds;                 /* [R][Tp] */
    float *turned;                 /* [Tp][R] */
} tlpi_train_work;

static inline int tlpi_train_kv_of(const tlpi_train_heads *h, int head)
{
    return (h->first + head) / h->group - h->first / h->group;
}

/* First position that token t sees. */
static inline int tlpi_train_from(const tlpi_train_heads *h, int t)
{
    return h->window > 0 && t >= h->window ? t - h->window + 1 : 0;
}

size_t tlpi_train_parts(int n_head_kv);
tlpi_train_call tlpi_train_begin(tlpi_train_attn *a,
                                 const tlpi_train_heads *heads,
                                 const tlpi_train_qkv *x,
                                 const tlpi_train_dqkv *d);
tlpi_train_work tlpi_train_work_of(const tlpi_train_call *p, int slot);
tlpi_train_block tlpi_train_block_of(const tlpi_train_call *p, int head,
                                     int t0);

/* The head's columns of the block's rows of x, as [n][hp]. */
void tlpi_train_take(const tlpi_train_call *p, const tlpi_train_block *b,
                     const tlpi_train_rows *x, float *dst);

/* The block's rows of s = q B for panels [h][16] of positions. */
void tlpi_train_scores(const tlpi_train_call *p, const tlpi_train_block *b,
                       const float *q, const float *panel, float *s);
/* The block's rows of y = s B for rows of positions. */
void tlpi_train_mix(const tlpi_train_call *p, const tlpi_train_block *b,
                    const float *s, const float *rows, float *y);

#endif
