/*
 * cholesky.c - Cholesky decomposition by blocks of columns, and the solution of
 * triangular systems.
 */
#include "tune/linear.h"

#include <math.h>

enum { BLOCK = 32 };

typedef struct triangle {
    int m, n;    /* rows to solve for, their length */
    int at, end; /* columns of the block */
    const double *l;
    double *y; /* [m][n] */
} triangle;

/* Solve columns [at, end) of rows.  The columns before them are solved, and
 * their products are subtracted:
 * y_j = (y_j - sum_{at <= p < j} y_p l_jp) / l_jj. */
static void solve_block(const triangle *t, int rows, double *y)
{
    size_t n = (size_t)t->n;

    for (int i = 0; i < rows; i++, y += n)
        for (int j = t->at; j < t->end; j++) {
            const double *l = t->l + (size_t)j * n;
            double sum = y[j];

            for (int p = t->at; p < j; p++)
                sum -= y[p] * l[p];
            y[j] = sum / l[j];
        }
}

static void solve_block_some(void *arg, int ith, int nth)
{
    const triangle *t = arg;

    for (int i = ith * BLOCK; i < t->m; i += nth * BLOCK)
        solve_block(t, TLPI_MIN(BLOCK, t->m - i),
                    t->y + (size_t)i * (size_t)t->n);
}

/* a -= L_before L_before' in the columns of the block, at and below it. */
static void update_some(void *arg, int ith, int nth)
{
    const triangle *t = arg;
    size_t n = (size_t)t->n;
    const double *block = t->l + (size_t)t->at * n;

    for (int i = t->at + ith * BLOCK; i < t->n; i += nth * BLOCK) {
        double *row = t->y + (size_t)i * n;

        tlpi_dots(TLPI_MIN(BLOCK, t->n - i), t->end - t->at, t->at, row, n,
                  block, n, -1, row + t->at, n);
    }
}

static bool factor_block(const triangle *t)
{
    size_t n = (size_t)t->n;

    for (int i = t->at; i < t->end; i++) {
        double *row = t->y + (size_t)i * n;

        for (int j = t->at; j <= i; j++) {
            const double *l = t->l + (size_t)j * n;
            double sum = row[j];

            for (int p = t->at; p < j; p++)
                sum -= row[p] * l[p];
            if (j < i)
                row[j] = sum / l[j];
            else if (sum > 0 && isfinite(sum))
                row[j] = sqrt(sum);
            else
                return false;
        }
    }
    return true;
}

bool tlpi_cholesky(tlpi_pool *pool, int n, double *a)
{
    for (int at = 0; at < n; at += BLOCK) {
        int end = TLPI_MIN(n, at + BLOCK);
        triangle t = { n, n, at, end, a, a };
        triangle below = {
            n - end, n, at, end, a, a + (size_t)end * (size_t)n
        };

        tlpi_pool_map(pool, tlpi_pool_size(pool), update_some, &t);
        if (!factor_block(&t))
            return false;
        tlpi_pool_map(pool, tlpi_pool_size(pool), solve_block_some, &below);
    }
    tlpi_mirror(n, a);
    return true;
}

static void solve_first_some(void *arg, int ith, int nth)
{
    const triangle *all = arg;
    size_t n = (size_t)all->n;

    for (int i = ith * BLOCK; i < all->m; i += nth * BLOCK) {
        double *y = all->y + (size_t)i * n;
        int rows = TLPI_MIN(BLOCK, all->m - i);

        for (int at = 0; at < all->n; at += BLOCK) {
            int end = TLPI_MIN(all->n, at + BLOCK);
            triangle t = { rows, all->n, at, end, all->l, y };

            tlpi_dots(rows, end - at, at, y, n, all->l + (size_t)at * n, n, -1,
                      y + at, n);
            solve_block(&t, rows, y);
        }
    }
}

void tlpi_solve_first(tlpi_pool *pool, int m, int n, const double *l, double *y)
{
    triangle t = { m, n, 0, n, l, y };

    tlpi_pool_map(pool, tlpi_pool_size(pool), solve_first_some, &t);
}

/* From the last column to the first: y_j = (y_j - sum_{p > j} y_p l_pj) / l_jj.
 * A column of L is a row of L', which stands in the upper half. */
static void solve_back(const triangle *t, int rows, double *y)
{
    size_t n = (size_t)t->n;

    for (int i = 0; i < rows; i++, y += n)
        for (int j = t->end - 1; j >= t->at; j--) {
            const double *l = t->l + (size_t)j * n;
            double sum = y[j];

            for (int p = j + 1; p < t->end; p++)
                sum -= y[p] * l[p];
            y[j] = sum / l[j];
        }
}

static void solve_second_some(void *arg, int ith, int nth)
{
    const triangle *all = arg;
    size_t n = (size_t)all->n;

    for (int i = ith * BLOCK; i < all->m; i += nth * BLOCK) {
        double *y = all->y + (size_t)i * n;
        int rows = TLPI_MIN(BLOCK, all->m - i);

        for (int end = all->n; end > 0; end -= BLOCK) {
            int at = TLPI_MAX(0, end - BLOCK);
            triangle t = { rows, all->n, at, end, all->l, y };

            tlpi_dots(rows, end - at, all->n - end, y + end, n,
                      all->l + (size_t)at * n + (size_t)end, n, -1, y + at, n);
            solve_back(&t, rows, y);
        }
    }
}

void tlpi_solve_second(tlpi_pool *pool, int m, int n, const double *l,
                       double *y)
{
    triangle t = { m, n, 0, n, l, y };

    tlpi_pool_map(pool, tlpi_pool_size(pool), solve_second_some, &t);
}
