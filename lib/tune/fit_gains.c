/*
 * fit_gains.c - factors of the parts of a sum: a small ridge regression of the
 * missing part, with factors drawn towards 1.
 */
#include "tune/fit.h"

#include <string.h>

static double dot(const float *x, const float *y, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static void add_token(tlpi_gain_moments *m, const tlpi_rows *rows, int t)
{
    int d = rows->d;
    size_t at = (size_t)t * (size_t)d;
    const float *target = rows->target + at, *present = rows->present + at;
    double w = rows->weight ? (double)rows->weight[t] : 1;

    for (int i = 0; i < m->n; i++) {
        const float *x = rows->feature[i] + at;

        for (int j = 0; j <= i; j++)
            m->s[i][j] += w * dot(x, rows->feature[j] + at, d);
        m->c[i] += w * (dot(x, target, d) - dot(x, present, d));
    }
    m->target += w * dot(target, target, d);
    for (int j = 0; j < d; j++) {
        double missing = (double)target[j] - (double)present[j];
        m->missing += w * missing * missing;
    }
}

void tlpi_gains_add(tlpi_gain_moments *m, const tlpi_rows *rows)
{
    m->n = rows->n_feature;
    for (int t = 0; t < rows->n_tok; t++)
        add_token(m, rows, t);
    for (int i = 0; i < m->n; i++)
        for (int j = 0; j < i; j++)
            m->s[j][i] = m->s[i][j];
}

/* x: gains minus 1 */
static tlp_status solve(const tlpi_fitter *f, const tlpi_gain_moments *m,
                        double ridge, double *x)
{
    size_t n = (size_t)m->n;
    double *a = tlpi_alloc_array(f->env, n * n, sizeof(*a)), most = 0;

    if (!a)
        return tlpi_fail_nomem_for("a fit");
    for (int i = 0; i < m->n; i++)
        most = TLPI_MAX(most, m->s[i][i]);
    for (size_t i = 0; i < n; i++) {
        memcpy(a + i * n, m->s[i], n * sizeof(*a));
        a[i * n + i] += ridge * m->s[i][i] + 1e-12 * most;
        x[i] = m->c[i];
    }
    if (tlpi_cholesky(f->pool, m->n, a)) {
        tlpi_solve_first(f->pool, 1, m->n, a, x);
        tlpi_solve_second(f->pool, 1, m->n, a, x);
    } else {
        memset(x, 0, n * sizeof(*x));
    }
    tlpi_free(f->env, a);
    return TLP_OK;
}

static double error(const tlpi_gain_moments *m, const double *x)
{
    double sum = m->missing;

    for (int i = 0; i < m->n; i++)
        sum += x[i] * (tlpi_dot(m->n, m->s[i], x) - 2 * m->c[i]);
    return sum;
}

static tlp_status choose(const tlpi_fitter *f, const tlpi_gain_moments *m,
                         const tlpi_gain_moments *held, tlpi_choice *choice)
{
    double x[TLPI_MAX_GAIN], least = TLPI_HELPS * held->missing;
    tlp_status st = TLP_OK;

    *choice = (tlpi_choice){ 0 };
    if (held->missing <= TLPI_NOISE * held->target)
        return TLP_OK;
    for (int i = 0; i < TLPI_N_RIDGE && st == TLP_OK; i++) {
        st = solve(f, m, tlpi_ridge[i], x);
        if (st == TLP_OK && error(held, x) < least) {
            least = error(held, x);
            *choice = (tlpi_choice){ tlpi_ridge[i], 1 };
        }
    }
    return st;
}

tlp_status tlpi_fit_gains(const tlpi_fitter *f, const tlpi_gain_moments *m,
                          const tlpi_gain_moments *held, tlpi_choice *choice,
                          float *gain)
{
    double x[TLPI_MAX_GAIN] = { 0 };
    tlp_status st = TLP_OK;

    if (held)
        TLP_TRY(choose(f, m, held, choice));
    if (choice->rank)
        TLP_TRY(solve(f, m, choice->ridge, x));
    for (int i = 0; i < m->n; i++)
        gain[i] = (float)(1 + x[i]);
done:
    return st;
}
