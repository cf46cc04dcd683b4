/*
 * train_attn.h - causal attention of one window of tokens, forward and
 * backward, in f32 on the threads of a pool.
 *
 *   S = scale Q K',  with a cap c: S = c tanh(scale Q K' / c),
 *   P = softmax of S's rows over the visible positions,  O = P V
 *
 * The window is a sequence from position 0 on.  Position t sees the positions
 * max(0, t - window + 1) to t.  Queries and keys are rotated already.  The
 * forward pass keeps the log-sum-exp of each row of S, and the backward pass
 * computes P from it again.
 *
 * Equal calls give equal bits on any number of threads.
 *
 * Shapes: T = n_tok, h = head_dim.
 */
#ifndef TLPI_TRAIN_ATTN_H
#define TLPI_TRAIN_ATTN_H

#include "base/pool.h"

/* The kernels and the working memory of attention on one pool. */
typedef struct tlpi_train_attn tlpi_train_attn;

/*
 * Query heads and kv heads of a part of a layer.  Query head i of the part is
 * head first + i of the layer, and reads kv head
 * (first + i) / group - first / group of the part.  A whole layer has first 0
 * and group n_head / n_head_kv.
 */
typedef struct tlpi_train_heads {
    int n_head, n_head_kv, head_dim;
    int group; /* query heads of the layer that share a kv head */
    int first;
    float scale;
    int window; /* 0: all earlier positions are seen */
    float cap;  /* 0: none */
} tlpi_train_heads;

/* Row t, head i of a matrix is at x[t * ld + i * head_dim]. */
typedef struct tlpi_train_rows {
    float *x;
    size_t ld;
} tlpi_train_rows;

/* What the forward pass reads and writes, and the backward pass reads. */
typedef struct tlpi_train_qkv {
    int n_tok;
    tlpi_train_rows q, o; /* [n_tok][n_head * h] */
    tlpi_train_rows k, v; /* [n_tok][n_head_kv * h] */
    float *lse;           /* [n_head][n_tok], natural logarithms */
} tlpi_train_qkv;

/* Gradients: dO is read, and dQ, dK, dV are written.  They share no memory with
 * each other or with tlpi_train_qkv. */
typedef struct tlpi_train_dqkv {
    tlpi_train_rows o, q, k, v; /* as in tlpi_train_qkv */
} tlpi_train_dqkv;

/* The most that calls will ask for. */
typedef struct tlpi_train_attn_sizes {
    int n_tok, n_head, n_head_kv, head_dim;
} tlpi_train_attn_sizes;

/*
 * `isa` is a TLP_ISA_*; an instruction set that the machine lacks gives
 * TLP_ENOTSUP.  All memory is allocated here: (6 n_head_kv + 24) T h floats,
 * and 48 (4 h + 3 T) for each thread of the pool.  The pool is borrowed.
 */
tlp_status tlpi_train_attn_create(tlpi_train_attn **out, const tlpi_env *env,
                                  tlpi_pool *pool, int isa,
                                  const tlpi_train_attn_sizes *most);
void tlpi_train_attn_free(tlpi_train_attn *a); /* NULL is allowed */
size_t tlpi_train_attn_bytes(const tlpi_train_attn *a);

/* Write O and the log-sum-exp of every row. */
void tlpi_train_attn_forward(tlpi_train_attn *a, const tlpi_train_heads *heads,
                             const tlpi_train_qkv *x);

/* Write dQ, dK and dV. */
void tlpi_train_attn_backward(tlpi_train_attn *a, const tlpi_train_heads *heads,
                              const tlpi_train_qkv *x,
                              const tlpi_train_dqkv *d);

#endif
