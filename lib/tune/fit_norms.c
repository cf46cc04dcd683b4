/*
 * fit_norms.c - a factor for each column: one regression of one unknown each.
 */
#include "tune/fit.h"

tlp_status tlpi_norms_create(tlpi_norm_moments *m, const tlpi_env *env, int d)
{
    *m = (tlpi_norm_moments){ .env = env, .d = d };
    m->s = tlpi_calloc(env, (size_t)d, sizeof(*m->s));
    m->c = tlpi_calloc(env, (size_t)d, sizeof(*m->c));
    if (m->s && m->c)
        return TLP_OK;
    tlpi_norms_free(m);
    return tlpi_fail_nomem_for("a fit");
}

void tlpi_norms_free(tlpi_norm_moments *m)
{
    if (!m->env)
        return;
    tlpi_free(m->env, m->s);
    tlpi_free(m->env, m->c);
    *m = (tlpi_norm_moments){ 0 };
}

void tlpi_norms_add(tlpi_norm_moments *m, const tlpi_rows *rows)
{
    for (int t = 0; t < rows->n_tok; t++) {
        size_t at = (size_t)t * (size_t)m->d;
        double w = rows->weight ? (double)rows->weight[t] : 1;

        for (int j = 0; j < m->d; j++) {
            double f = (double)rows->present[at + (size_t)j];
            double target = (double)rows->target[at + (size_t)j];
            double missing = target - f;

            m->s[j] += w * f * f;
            m->c[j] += w * f * missing;
            m->missing += w * missing * missing;
            m->target += w * target * target;
        }
    }
}

/* The factor of a column, minus 1. */
static double change(const tlpi_norm_moments *m, int j, double ridge)
{
    return m->s[j] > 0 ? m->c[j] / (m->s[j] * (1 + ridge)) : 0;
}

static double error(const tlpi_norm_moments *m, const tlpi_norm_moments *held,
                    double ridge)
{
    double sum = held->missing;

    for (int j = 0; j < m->d; j++) {
        double x = change(m, j, ridge);
        sum += x * (x * held->s[j] - 2 * held->c[j]);
    }
    return sum;
}

void tlpi_fit_norms(const tlpi_norm_moments *m, const tlpi_norm_moments *held,
                    tlpi_choice *choice, float *scale)
{
    if (held) {
        double least = TLPI_HELPS * held->missing;

        *choice = (tlpi_choice){ 0 };
        for (int i = 0; i < TLPI_N_RIDGE; i++) {
            double e = error(m, held, tlpi_ridge[i]);

            if (e >= least || held->missing <= TLPI_NOISE * held->target)
                continue;
            least = e;
            *choice = (tlpi_choice){ tlpi_ridge[i], 1 };
        }
    }
    for (int j = 0; j < m->d; j++)
        scale[j] = choice->rank ? (float)(1 + change(m, j, choice->ridge)) : 1;
}
