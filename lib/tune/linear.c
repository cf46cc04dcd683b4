/*
 * linear.c - dot products of rows, on one thread and on all threads.
 */
#include "tune/linear.h"

#include <string.h>

/* TILE: rows of a and b whose sums stay in registers.  PIECE: rows and columns
 * that stay in the nearest cache.  Floats are summed as floats inside a piece,
 * and as doubles over pieces. */
enum { TILE_M = 4, TILE_N = 2, PIECE_M = 16, PIECE_K = 192 };

#define DOTS_REAL double
#define DOTS(name) f64_##name
#include "tune/dots_inline.h"
#undef DOTS_REAL
#undef DOTS

#define DOTS_REAL float
#define DOTS(name) f32_##name
#include "tune/dots_inline.h"

void tlpi_dots(int m, int n, int k, const double *a, size_t lda,
               const double *b, size_t ldb, double scale, double *c, size_t ldc)
{
    f64_all(m, n, k, a, lda, b, ldb, scale, c, ldc);
}

void tlpi_dots_f32(int m, int n, int k, const float *a, size_t lda,
                   const float *b, size_t ldb, double scale, double *c,
                   size_t ldc)
{
    f32_all(m, n, k, a, lda, b, ldb, scale, c, ldc);
}

/* Tasks take blocks of rows in turn, which divides a triangle evenly. */
static void multiply_some(void *arg, int ith, int nth)
{
    const tlpi_dgemm *p = arg;
    size_t n = (size_t)p->n, k = (size_t)p->k;

    for (int i = ith * PIECE_M; i < p->m; i += nth * PIECE_M) {
        int rows = TLPI_MIN(PIECE_M, p->m - i);
        int cols = p->lower ? TLPI_MIN(p->n, i + rows) : p->n;
        double *c = p->c + (size_t)i * n;

        if (p->a)
            f64_all(rows, cols, p->k, p->a + (size_t)i * k, k, p->b, k, 1, c,
                    n);
        else
            f32_all(rows, cols, p->k, p->af + (size_t)i * k, k, p->bf, k, 1, c,
                    n);
    }
}

void tlpi_dgemm_run(tlpi_pool *pool, const tlpi_dgemm *p)
{
    tlpi_dgemm copy = *p;

    tlpi_pool_map(pool, tlpi_pool_size(pool), multiply_some, &copy);
}

void tlpi_axpy(int n, double scale, const double *x, double *y)
{
    f64_vector by = { scale, scale };
    int i = 0;

    for (; i + f64_lanes <= n; i += f64_lanes) {
        f64_vector v = f64_load(y + i) + by * f64_load(x + i);
        memcpy(y + i, &v, sizeof v);
    }
    for (; i < n; i++)
        y[i] += scale * x[i];
}

double tlpi_dot(int n, const double *x, const double *y)
{
    double sum = 0;

    f64_all(1, 1, n, x, 0, y, 0, 1, &sum, 1);
    return sum;
}

double tlpi_squares(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

void tlpi_mirror(int n, double *a)
{
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t j = 0; j < i; j++)
            a[j * (size_t)n + i] = a[i * (size_t)n + j];
}
