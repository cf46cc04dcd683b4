/*
 * linear.h - the linear algebra of fitting: matrices in double, row-major,
 * products of rows, Cholesky's decomposition.
 *
 * It is the library's own since a BLAS starts threads of its own when it is
 * loaded.  All of it is made of one operation, dot products of rows with rows,
 * and gives the same bits for any number of threads.
 */
#ifndef TLPI_LINEAR_H
#define TLPI_LINEAR_H

#include "base/pool.h"

/* c [m][n] += scale * a [m][k] b [n][k]', on one thread; ld: from row to row.
 * Floats are multiplied as such and summed as doubles. */
void tlpi_dots(int m, int n, int k, const double *a, size_t lda,
               const double *b, size_t ldb, double scale, double *c,
               size_t ldc);
void tlpi_dots_f32(int m, int n, int k, const float *a, size_t lda,
                   const float *b, size_t ldb, double scale, double *c,
                   size_t ldc);

/* The same on all threads, c being packed: [m][n]. */
typedef struct tlpi_gemm {
    int m, n, k;
    const double *a, *b;  /* packed, or */
    const float *af, *bf; /* these */
    bool lower;           /* only what is not above the diagonal */
    double *c;
} tlpi_gemm;

void tlpi_gemm_run(tlpi_pool *pool, const tlpi_gemm *p);

/* y += scale * x; x . y; what is above the diagonal of [n][n] from below. */
void tlpi_axpy(int n, double scale, const double *x, double *y);
double tlpi_dot(int n, const double *x, const double *y);
void tlpi_mirror(int n, double *a);

/* The lower half of a [n][n] becomes L with L L' = a, the upper half its
 * mirror image, L'.  False where a is not positive definite. */
bool tlpi_cholesky(tlpi_pool *pool, int n, double *a);

/* Rows of y [m][n] become those of y L'^-1, and of y L^-1; l from above. */
void tlpi_solve_first(tlpi_pool *pool, int m, int n, const double *l,
                      double *y);
void tlpi_solve_second(tlpi_pool *pool, int m, int n, const double *l,
                       double *y);

#endif
