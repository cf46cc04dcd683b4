/*
 * linear.h - linear algebra of fits: row-major matrices of doubles, products,
 * Cholesky decomposition.
 *
 * There is no BLAS here, because a BLAS starts threads when it is loaded.  All
 * functions use one operation, dot products of rows with rows.  Their bits do
 * not depend on the number of threads.
 */
#ifndef TLPI_LINEAR_H
#define TLPI_LINEAR_H

#include "base/pool.h"

/* c [m][n] += scale * a [m][k] b [n][k]', on one thread.  lda, ldb and ldc are
 * the distances between rows. */
void tlpi_dots(int m, int n, int k, const double *a, size_t lda,
               const double *b, size_t ldb, double scale, double *c,
               size_t ldc);
void tlpi_dots_f32(int m, int n, int k, const float *a, size_t lda,
                   const float *b, size_t ldb, double scale, double *c,
                   size_t ldc);

/* c [m][n] += a [m][k] b [n][k]', on all threads; all matrices are packed. */
typedef struct tlpi_dgemm {
    int m, n, k;
    const double *a, *b;  /* doubles, or */
    const float *af, *bf; /* floats */
    bool lower;           /* leave c above the diagonal unset */
    double *c;
} tlpi_dgemm;

void tlpi_dgemm_run(tlpi_pool *pool, const tlpi_dgemm *p);

/* y += scale * x; x . y; copy the lower half of a [n][n] to the upper half. */
void tlpi_axpy(int n, double scale, const double *x, double *y);
double tlpi_dot(int n, const double *x, const double *y);
void tlpi_mirror(int n, double *a);

/* Sum of the squares of n floats, one after another. */
double tlpi_squares(const float *x, size_t n);

/* a = L L': the lower half of a [n][n] becomes L, the upper half L'.  False if
 * a is not positive definite. */
bool tlpi_cholesky(tlpi_pool *pool, int n, double *a);

/* y [m][n] becomes y L'^-1 (first), y L^-1 (second).  l: of tlpi_cholesky. */
void tlpi_solve_first(tlpi_pool *pool, int m, int n, const double *l,
                      double *y);
void tlpi_solve_second(tlpi_pool *pool, int m, int n, const double *l,
                       double *y);

#endif
