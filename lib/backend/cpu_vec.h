/*
 * cpu_vec.h - row operations and kernels of attention, for each instruction
 * set.
 *
 * There is a table of functions for each set.  cpu_vec_scalar.c is the plain
 * form that tests compare the other tables with; cpu_vec_avx2.c and
 * cpu_vec_avx512.c are two vector widths of one source (cpu_vec_shape.h).
 * Within a table every result depends on its own row alone.  All guarantees of
 * bit-identical results rest on this.
 */
#ifndef TLPI_CPU_VEC_H
#define TLPI_CPU_VEC_H

#include <math.h>

#include "base/base.h"

/* Width of a panel: the columns that run fastest in the second operand of mul.
 * Its rows are padded to this width. */
#define TLPI_PANEL 16

static inline size_t tlpi_padded(int n)
{
    return ((size_t)n + TLPI_PANEL - 1) / TLPI_PANEL * TLPI_PANEL;
}

/* 1 / RMS of a row with this mean of squares.  A mean that overflowed gives
 * NaN, because 0 would hide the fault. */
static inline float tlpi_norm_scale(float mean, float eps)
{
    return mean < INFINITY ? 1.0f / sqrtf(mean + eps) : NAN;
}

#define TLPI_N_KV_TYPE 5 /* TLP_KV_* index arrays of this size */

/* Bytes of an element. */
static inline size_t tlpi_kv_size(int type)
{
    return type == TLP_KV_F32 ? 4 : type == TLP_KV_Q8_0 ? 1 : 2;
}

/*
 * C = A B for A [m][k] and B [k][16 * n_panel]; all f32 except B.  Element (i,
 * 16 * p + j) of B is at b[i * ldk + p * ldp + j], so that B may be a cache of
 * keys (panels of positions) or of values (rows).  Each element of C is one
 * chain of multiply-adds over rising k; with `add` the chain starts from the
 * old value of C.
 */
typedef struct tlpi_panel_product {
    int m, k, n_panel;
    const float *a;
    size_t lda;
    const void *b; /* TLP_KV_* elements; for Q8_0 the integers without scales */
    size_t ldk, ldp;
    float *c;
    size_t ldc;
    bool add;
} tlpi_panel_product;

typedef void (*tlpi_panel_product_fn)(const tlpi_panel_product *x);
typedef void (*tlpi_narrow_fn)(void *dst, const float *src, size_t n);

typedef struct tlpi_cpu_vec {
    /* z = x + y; z may be x */
    void (*add)(float *z, const float *x, const float *y, size_t n);
    float (*sum_sq)(const float *x, size_t n);
    /* y = s * x * w (w NULL: s * x); y may be x */
    void (*scale)(float *y, const float *x, const float *w, float s, size_t n);

    /* Rotate half pairs in place: (2i, 2i+1), or (i, i+half) with neox. */
    void (*rope)(float *x, const float *cos, const float *sin, int half,
                 bool neox);

    /* Convert f32 to the types of a cache; finite values beyond f16
     * saturate, infinity and NaN stay.  NULL for Q8_0, which uses tlpi_cpu_mm's
     * quantize. */
    tlpi_narrow_fn narrow[TLPI_N_KV_TYPE];

    tlpi_panel_product_fn mul[TLPI_N_KV_TYPE]; /* by the type of B */

    /*
     * Softmax of m rows of s, ld floats apart.  Of the first limit[i] (>= 1)
     * scores, max[i] is the largest, and 2^(score - max) replaces each; sum[i]
     * is their sum.  The remaining scores up to n (a multiple of 16) become 0.
     */
    void (*softmax)(float *s, size_t ld, const int *limit, int m, int n,
                    float *max, float *sum);

    /*
     * One row of a softmax and of its gradient, from the log-sum-exp of the
     * row in base 2: for j in [from, to) s[j] = 2^(s[j] - lse), at most about
     * 1, and then d[j] = f * s[j] * (d[j] - mean).  The remaining elements of
     * both rows up to n (a multiple of 16) become 0.
     */
    void (*softmax_grad)(float *s, float *d, int from, int to, int n, float lse,
                         float mean, float f);

    /*
     * Merge softmax-weighted sums over two sets of positions.  x [m][n] with
     * (max, sum) from softmax receives y with (y_max, y_sum).
     */
    void (*merge)(float *x, float *max, float *sum, const float *y,
                  const float *y_max, const float *y_sum, int m, int n);

    /* x = cap tanh(x / cap) over n floats; all tables give equal bits */
    void (*soft_cap)(float *x, size_t n, float cap);
} tlpi_cpu_vec;

extern const tlpi_cpu_vec tlpi_cpu_vec_scalar;
extern const tlpi_cpu_vec tlpi_cpu_vec_avx2;   /* with FMA and F16C */
extern const tlpi_cpu_vec tlpi_cpu_vec_avx512; /* F, BW, DQ, VL */

#endif
