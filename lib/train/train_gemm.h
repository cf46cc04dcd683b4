/*
 * train_gemm.h - matrix products for training, in f32 on the threads of a pool.
 *
 *   C [m][n] = beta C + alpha A B,   A [m][k], B [k][n]
 *
 * A and C are floats.  B is a source: floats, or a weight of any tensor type,
 * or a range of its rows and columns.  A product converts a source block by
 * block while it packs the block, so a weight is never expanded as a whole.
 *
 * Every element of C is one sum over rising k, cut into pieces of a length that
 * k alone decides.  Equal calls therefore give equal bits on any number of
 * threads.  Instruction sets may differ in the last bits.
 */
#ifndef TLPI_TRAIN_GEMM_H
#define TLPI_TRAIN_GEMM_H

#include "base/pool.h"
#include "tensor/tensor.h"

/* The kernels and the packing memory of products that run one at a time on one
 * pool. */
typedef struct tlpi_gemm tlpi_gemm;

/*
 * Matrix that a product reads, stored in rows.  The product reads a range that
 * begins at (row, col); the sizes of the product say where it ends.  With
 * `trans` the product reads the transpose of the range.  A range may begin and
 * end inside a block of the type.
 */
typedef struct tlpi_gemm_source {
    tlpi_dtype type;
    const void *data; /* row 0, column 0 of the matrix */
    size_t stride;    /* bytes from a row to the next */
    int64_t row, col;
    bool trans;
    const float *panels; /* the whole B of the product by tlpi_gemm_pack, or
                            NULL; gives equal bits in less time */
} tlpi_gemm_source;

/* Rows of floats, ld floats apart. */
static inline tlpi_gemm_source tlpi_gemm_floats(const float *x, size_t ld)
{
    return (tlpi_gemm_source){ .type = TLPI_F32,
                               .data = x,
                               .stride = ld * sizeof *x };
}

/* A weight from (row, col) on; `t` has two dimensions. */
static inline tlpi_gemm_source tlpi_gemm_weight(const tlpi_tensor *t,
                                                int64_t row, int64_t col)
{
    return (tlpi_gemm_source){ .type = t->type,
                               .data = t->data,
                               .stride = tlpi_row_bytes(t->type, t->ne[0]),
                               .row = row,
                               .col = col };
}

/* C shares no memory with A and B.  With beta 0 old values of C are not read,
 * with alpha 0 or k 0 neither A nor B is. */
typedef struct tlpi_gemm_args {
    int64_t m, n, k;
    float alpha, beta;
    const float *a; /* [m][k], or [k][m] with a_trans; rows lda floats apart */
    size_t lda;
    bool a_trans;
    tlpi_gemm_source b; /* [k][n], or [n][k] with b.trans */
    float *c;
    size_t ldc;
} tlpi_gemm_args;

/*
 * `isa` is a TLP_ISA_*; an instruction set that the machine lacks gives
 * TLP_ENOTSUP.  The memory (tlpi_gemm_bytes) is allocated here, and a product
 * allocates none.  The pool is borrowed.
 */
tlp_status tlpi_gemm_create(tlpi_gemm **out, const tlpi_env *env,
                            tlpi_pool *pool, int isa);
void tlpi_gemm_free(tlpi_gemm *g); /* NULL is allowed */
/* 4 MiB, and less than 0.25 MiB for each thread of the pool. */
size_t tlpi_gemm_bytes(const tlpi_gemm *g);

void tlpi_gemm_run(tlpi_gemm *g, const tlpi_gemm_args *args);

/* A promise for the next product: if its A is where the last product's A was,
 * A has not changed.  It need not be packed again. */
void tlpi_gemm_again(tlpi_gemm *g);

/* Convert a B [k][n] once for many products: floats of the memory, and its
 * contents. */
size_t tlpi_gemm_panel_floats(const tlpi_gemm *g, int64_t k, int64_t n);
void tlpi_gemm_pack(tlpi_gemm *g, const tlpi_gemm_source *b, int64_t k,
                    int64_t n, float *panels);

/* ==== the products of a layer ============================================ */
/* W is [out][in] as in a model file, and w.trans is not set. */

/* Y [t][out] = beta Y + X [t][in] W' */
void tlpi_gemm_forward(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                       const float *x, size_t ldx, tlpi_gemm_source w,
                       float beta, float *y, size_t ldy);

/* dX [t][in] = beta dX + dY [t][out] W */
void tlpi_gemm_input_grad(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                          const float *dy, size_t lddy, tlpi_gemm_source w,
                          float beta, float *dx, size_t lddx);

/* dW [out][in] = beta dW + dY [t][out]' X [t][in] */
void tlpi_gemm_weight_grad(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                           const float *dy, size_t lddy, const float *x,
                           size_t ldx, float beta, float *dw, size_t lddw);

#endif
