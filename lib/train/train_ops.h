/*
 * train_ops.h - the small operations of a layer and their derivatives, on all
 * threads of a pool: RMS norm, rotation, gated hidden units, sums.
 *
 * The products are train_gemm.h's, attention is train_attn.h's.  A function
 * *_back takes the gradient of its result and adds to the gradients of its
 * arguments, unless its comment says otherwise.  Equal arguments give equal
 * bits for any number of threads.
 */
#ifndef TLPI_TRAIN_OPS_H
#define TLPI_TRAIN_OPS_H

#include "backend/cpu_vec.h"
#include "base/pool.h"
#include "train/train_vec.h"

/* What the operations run on; all of it is borrowed. */
typedef struct tlpi_train_ops {
    tlpi_pool *pool;
    const tlpi_cpu_vec *row;
    const tlpi_train_vec *vec;
} tlpi_train_ops;

/* `isa` is a TLP_ISA_*; an instruction set that the machine lacks gives
 * TLP_ENOTSUP. */
tlp_status tlpi_train_ops_init(tlpi_train_ops *ops, tlpi_pool *pool, int isa);

/* The slopes of a soft cap, by n numbers that it has capped. */
static inline void tlpi_train_cap_slopes(const float *x, float cap,
                                         float *slope, size_t n)
{
    for (size_t i = 0; i < n; i++)
        slope[i] = 1 - x[i] / cap * (x[i] / cap);
}

/* Rows of which norms have parts: n numbers each. */
typedef struct tlpi_train_row {
    int n;
    const float *square; /* [rows] sums of the squares of a row's numbers */
    const float *dot;    /* [rows] sums of gy w x; NULL: of zeros */
} tlpi_train_row;

/* n rows of d numbers, ld floats apart: y = x / rms(x) * w; y may be x. */
typedef struct tlpi_train_norm {
    int n, d;
    size_t ld;
    const float *x, *w; /* w [d] */
    float eps;
    const tlpi_train_row *row; /* x has parts of these rows, whose RMS counts;
                                  NULL: x has whole rows */
} tlpi_train_norm;

void tlpi_train_norm_run(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                         float *y);

/* gx += the gradient by x, or = if `set`; gw [d] += that by w, or NULL.  Rows
 * of gy and gx are ld floats apart; gx may be gy if `set`. */
void tlpi_train_norm_back(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                          const float *gy, float *gx, bool set, float *gw);

/* square [n] += the squares of each row of x; dot [n] += gy w x. */
void tlpi_train_norm_square(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                            float *square);
void tlpi_train_norm_dot(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                         const float *gy, float *dot);

/* Rotate n_head heads of h numbers each of n tokens from position 0, in place,
 * by the angles of token t: cos and sin [n][half].  Negative sines rotate back,
 * which is the derivative.  Then the heads of token t are multiplied by
 * gain[t].
 */
typedef struct tlpi_train_rope {
    int n, n_head, h, half;
    bool neox;
    const float *cos, *sin;
    const float *gain; /* [n] or NULL */
} tlpi_train_rope;

void tlpi_train_rope_run(const tlpi_train_ops *ops, const tlpi_train_rope *o,
                         float *x);

/* y = fn(gate) * up */
void tlpi_train_gate(const tlpi_train_ops *ops, tlpi_gate fn, const float *gate,
                     const float *up, float *y, size_t n);
/* gy becomes the gradient by up; gate becomes the gradient by gate. */
void tlpi_train_gate_back(const tlpi_train_ops *ops, tlpi_gate fn, float *gate,
                          const float *up, float *gy, size_t n);

/* y = x */
void tlpi_train_copy(const tlpi_train_ops *ops, const float *x, float *y,
                     size_t n);
/* y = x + s z */
void tlpi_train_sum(const tlpi_train_ops *ops, const float *x, float s,
                    const float *z, float *y, size_t n);
/* y += s x */
void tlpi_train_add(const tlpi_train_ops *ops, float s, const float *x,
                    float *y, size_t n);
/* y [n][d] += s b [d] */
void tlpi_train_add_bias(const tlpi_train_ops *ops, const float *b, float s,
                         float *y, int n, int d);

#endif
