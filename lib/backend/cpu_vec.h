/*
 * cpu_vec.h - row operations and the kernels of attention, for each
 * instruction set.
 *
 * One table of functions for each set: cpu_vec_scalar.c is the plain form that
 * the others are tested against; cpu_vec_avx2.c and cpu_vec_avx512.c are two
 * vector widths of one shape (cpu_vec_shape.h).  Within a table every result
 * is a function of its own row alone, whatever is computed beside it: all that
 * is said about bit-identical results rests on that.
 */
#ifndef TLPI_CPU_VEC_H
#define TLPI_CPU_VEC_H

#include "base/base.h"

/* Columns that run fastest in the second operand of mul; rows there are
 * padded to it. */
#define TLPI_PANEL 16

static inline size_t tlpi_padded(int n)
{
    return ((size_t)n + TLPI_PANEL - 1) / TLPI_PANEL * TLPI_PANEL;
}

#define TLPI_N_KV_TYPE 5 /* TLP_KV_* index the arrays below */

/* Bytes of an element. */
static inline size_t tlpi_kv_size(int type)
{
    return type == TLP_KV_F32 ? 4 : type == TLP_KV_Q8_0 ? 1 : 2;
}

/*
 * C = A B for A [m][k] and B [k][16 * n_panel], f32 but for B.  Element
 * (i, 16 * p + j) of B stands at b[i * ldk + p * ldp + j], so that both a
 * cache of keys (panels of positions) and one of values (rows) can be B.
 * Each element of C is one chain of multiply-adds over rising k, which goes on
 * from what C holds if add is set.
 */
typedef struct tlpi_panel_product {
    int m, k, n_panel;
    const float *a;
    size_t lda;
    const void *b; /* TLP_KV_* elements; of Q8_0 the integers alone */
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

    /* f32 to the types of a cache; what f16 cannot hold saturates.  NULL for
     * Q8_0, which tlpi_cpu_mm's quantize makes. */
    tlpi_narrow_fn narrow[TLPI_N_KV_TYPE];

    tlpi_panel_product_fn mul[TLPI_N_KV_TYPE]; /* by the type of B */

    /*
     * For each of m rows of s, ld floats apart: of the first limit[i] (>= 1)
     * scores max[i] is the largest and sum[i] the sum of 2^(s - max), which
     * replaces the score; the rest up to n (a multiple of 16) becomes 0.
     */
    void (*softmax)(float *s, size_t ld, const int *limit, int m, int n,
                    float *max, float *sum);

    /*
     * Join softmax-weighted sums over two sets of positions: x [m][n] with
     * (max, sum), as softmax left them, takes in y with (y_max, y_sum).
     */
    void (*merge)(float *x, float *max, float *sum, const float *y,
                  const float *y_max, const float *y_sum, int m, int n);
} tlpi_cpu_vec;

extern const tlpi_cpu_vec tlpi_cpu_vec_scalar;
extern const tlpi_cpu_vec tlpi_cpu_vec_avx2;   /* with FMA and F16C */
extern const tlpi_cpu_vec tlpi_cpu_vec_avx512; /* F, BW, DQ, VL */

#endif
