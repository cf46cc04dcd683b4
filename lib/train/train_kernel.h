/*
 * train_kernel.h - what products for training have for each instruction set.
 *
 * A kernel multiplies packed operands: panels of mr rows of A, [k][mr], with
 * panels of nr columns of B, [k][nr].  train_gemm_scalar.c is the plain form;
 * train_gemm_avx2.c and train_gemm_avx512.c are two sizes of one source
 * (train_kernel_shape.h).
 */
#ifndef TLPI_TRAIN_KERNEL_H
#define TLPI_TRAIN_KERNEL_H

#include "tensor/tensor.h"

enum {
    TLPI_GEMM_MAX_MR = 12,
    TLPI_GEMM_MAX_NR = 32,
    TLPI_GEMM_MAX_KC = 384, /* most of k in a piece, a multiple of 32 */
    TLPI_GEMM_UNIT = 32     /* elements of a quantised row that are expanded
                               together; blocks of 256 have eight units */
};

/* c [m][n] = beta c + alpha a b, for one panel of A and one of B.  With beta 0
 * c is not read. */
typedef struct tlpi_gemm_tile {
    const float *a, *b;
    int k;
    float alpha, beta;
    float *c;
    size_t ldc;
} tlpi_gemm_tile;

typedef struct tlpi_gemm_kernel {
    int mr, nr;
    int kc; /* most of k in a piece, at most TLPI_GEMM_MAX_KC */

    /* 1 <= m <= mr and 1 <= n <= nr.  An element's bits do not depend on m
     * and n. */
    void (*tile)(const tlpi_gemm_tile *t, int m, int n);

    /*
     * One panel from n rows of k floats, n <= width <= step:
     *   dst[j * step + i] = x[i * ld + j].
     * Elements with n <= i < width are undefined.  width is mr, nr or 16.
     */
    void (*pack_rows)(const float *x, size_t ld, int n, int k, int width,
                      size_t step, float *dst);
    /*
     * Panels from k rows of n floats, `step` floats from a panel to the next:
     *   dst[i / width * step + j * width + i % width] = x[j * ld + i].
     * The rest of the last panel is undefined.  width is mr or nr.
     */
    void (*pack_cols)(const float *x, size_t ld, int n, int k, int width,
                      size_t step, float *dst);

    /* Columns [col, col + n) of a row of any type as floats, with the bits of
     * tlpi_dequantize.  col and n are multiples of TLPI_GEMM_UNIT if the type
     * has blocks. */
    void (*expand)(tlpi_dtype type, const void *row, int64_t col, int n,
                   float *dst);
} tlpi_gemm_kernel;

extern const tlpi_gemm_kernel tlpi_gemm_scalar;
extern const tlpi_gemm_kernel tlpi_gemm_avx2;   /* with FMA and F16C */
extern const tlpi_gemm_kernel tlpi_gemm_avx512; /* F, BW, DQ, VL */

/* For both vector tables; widths of panels are 6, 12, 16 and 32. */
void tlpi_gemm_pack_rows_avx2(const float *x, size_t ld, int n, int k,
                              int width, size_t step, float *dst);
void tlpi_gemm_pack_cols_avx2(const float *x, size_t ld, int n, int k,
                              int width, size_t step, float *dst);
void tlpi_gemm_expand_avx2(tlpi_dtype type, const void *row, int64_t col, int n,
                           float *dst);

/* The kernels of a TLP_ISA_*, which is not TLP_ISA_AUTO. */
const tlpi_gemm_kernel *tlpi_gemm_kernel_of(int isa);
/* The instruction set for a TLP_ISA_*, which may be TLP_ISA_AUTO. */
tlp_status tlpi_train_isa(int asked, int *isa);

#endif
