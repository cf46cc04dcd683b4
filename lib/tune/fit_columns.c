/*
 * fit_columns.c - factors of the columns of the parts of a sum: for each column
 * a small ridge regression of what is missing, with factors drawn towards 1.
 */
#include "tune/fit.h"

#include <string.h>

tlp_status tlpi_columns_create(tlpi_column_moments *m, const tlpi_env *env,
                               int d, int n)
{
    size_t size = (size_t)d * (size_t)n;

    *m = (tlpi_column_moments){ .env = env, .d = d, .n = n };
    m->s = tlpi_calloc(env, size, (size_t)n * sizeof(*m->s));
    m->c = tlpi_calloc(env, size, sizeof(*m->c));
    if (m->s && m->c)
        return TLP_OK;
    tlpi_columns_free(m);
    return tlpi_fail_nomem_for("a fit");
}

void tlpi_columns_free(tlpi_column_moments *m)
{
    if (!m->env)
        return;
    tlpi_free(m->env, m->s);
    tlpi_free(m->env, m->c);
    *m = (tlpi_column_moments){ 0 };
}

static void add_column(tlpi_column_moments *m, const tlpi_rows *rows, size_t at,
                       size_t column, double w)
{
    size_t n = (size_t)m->n;
    double *s = m->s + column * n * n, *c = m->c + column * n;
    double target = (double)rows->target[at];
    double missing = target - (double)rows->present[at];

    for (size_t i = 0; i < n; i++) {
        double x = w * (double)rows->feature[i][at];

        for (size_t j = 0; j < n; j++)
            s[i * n + j] += x * (double)rows->feature[j][at];
        c[i] += x * missing;
    }
    m->missing += w * missing * missing;
    m->target += w * target * target;
}

void tlpi_columns_add(tlpi_column_moments *m, const tlpi_rows *rows)
{
    size_t d = (size_t)m->d;

    for (size_t t = 0; t < (size_t)rows->n_tok; t++) {
        double w = rows->weight ? (double)rows->weight[t] : 1;

        for (size_t j = 0; j < d; j++)
            add_column(m, rows, t * d + j, j, w);
    }
}

/* x [n]: the factors of a column, minus 1; a [n][n] is overwritten. */
static void solve(const tlpi_fitter *f, const tlpi_column_moments *m,
                  size_t column, double ridge, double *a, double *x)
{
    size_t n = (size_t)m->n;
    double most = 0;

    memcpy(a, m->s + column * n * n, n * n * sizeof(*a));
    memcpy(x, m->c + column * n, n * sizeof(*x));
    for (size_t i = 0; i < n; i++)
        most = TLPI_MAX(most, a[i * n + i]);
    for (size_t i = 0; i < n; i++)
        a[i * n + i] += ridge * a[i * n + i] + 1e-12 * most;
    if (tlpi_cholesky(f->pool, m->n, a)) {
        tlpi_solve_first(f->pool, 1, m->n, a, x);
        tlpi_solve_second(f->pool, 1, m->n, a, x);
    } else {
        memset(x, 0, n * sizeof(*x));
    }
}

/* What factors x of a column take off the error, below 0. */
static double change(const tlpi_column_moments *m, size_t column,
                     const double *x)
{
    size_t n = (size_t)m->n;
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * (tlpi_dot(m->n, m->s + (column * n + i) * n, x) -
                       2 * m->c[column * n + i]);
    return sum;
}

static void choose(const tlpi_fitter *f, const tlpi_column_moments *m,
                   const tlpi_column_moments *held, tlpi_choice *choice,
                   double *work)
{
    size_t n = (size_t)m->n;
    double *x = work + n * n, least = TLPI_HELPS * held->missing;

    *choice = (tlpi_choice){ 0 };
    if (held->missing <= TLPI_NOISE * held->target)
        return;
    for (int i = 0; i < TLPI_N_RIDGE; i++) {
        double error = held->missing;

        for (size_t j = 0; j < (size_t)m->d; j++) {
            solve(f, m, j, tlpi_ridge[i], work, x);
            error += change(held, j, x);
        }
        if (error >= least)
            continue;
        least = error;
        *choice = (tlpi_choice){ tlpi_ridge[i], 1 };
    }
}

tlp_status tlpi_fit_columns(const tlpi_fitter *f, const tlpi_column_moments *m,
                            const tlpi_column_moments *held,
                            tlpi_choice *choice, float *factor)
{
    size_t n = (size_t)m->n, d = (size_t)m->d;
    double *work = tlpi_alloc_array(f->env, n * (n + 1), sizeof(*work));

    if (!work)
        return tlpi_fail_nomem_for("a fit");
    if (held)
        choose(f, m, held, choice, work);
    for (size_t j = 0; j < d; j++) {
        double *x = work + n * n;

        memset(x, 0, n * sizeof(*x));
        if (choice->rank)
            solve(f, m, j, choice->ridge, work, x);
        for (size_t i = 0; i < n; i++)
            factor[i * d + j] = (float)(1 + x[i]);
    }
    tlpi_free(f->env, work);
    return TLP_OK;
}
