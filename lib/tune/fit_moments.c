/*
 * fit_moments.c - sums over tokens of products of features.
 */
#include "tune/fit.h"

#include <math.h>
#include <string.h>

const double tlpi_ridge[TLPI_N_RIDGE] = { 1e-3, 1e-2, 0.1, 1, 10 };

/* Tokens that are transposed and multiplied at once. */
enum { PIECE = 192 };

tlp_status tlpi_moments_create(tlpi_moments *m, const tlpi_env *env, int d,
                               int n_feature)
{
    size_t n = (size_t)d * (size_t)n_feature, nn = 0;

    *m = (tlpi_moments){ .env = env, .n = d * n_feature, .d = d };
    if (!tlpi_mul(n, n, &nn))
        return tlpi_fail_nomem_for("a fit");
    m->s = tlpi_calloc(env, nn, sizeof(*m->s));
    m->c = tlpi_calloc(env, (size_t)d * n, sizeof(*m->c));
    if (m->s && m->c)
        return TLP_OK;
    tlpi_moments_free(m);
    return tlpi_fail_nomem_for("a fit");
}

void tlpi_moments_free(tlpi_moments *m)
{
    if (!m->env)
        return;
    tlpi_free(m->env, m->s);
    tlpi_free(m->env, m->c);
    *m = (tlpi_moments){ 0 };
}

typedef struct turning {
    const tlpi_rows *rows;
    int at, n_tok;  /* tokens of the piece */
    float *feature; /* [n][n_tok] times sqrt(w) */
    float *missing; /* [d][n_tok] times sqrt(w) */
} turning;

static float root_weight(const tlpi_rows *rows, int t)
{
    return rows->weight ? sqrtf(rows->weight[t]) : 1;
}

/* Transpose the features and the missing part. */
static void turn_some(void *arg, int ith, int nth)
{
    const turning *p = arg;
    const tlpi_rows *rows = p->rows;
    size_t d = (size_t)rows->d, n_tok = (size_t)p->n_tok;

    for (int t = 0; t < p->n_tok; t++) {
        float w = root_weight(rows, p->at + t);
        size_t row = (size_t)(p->at + t) * d;

        for (int i = ith; i < rows->n_feature; i += nth) {
            const float *x = rows->feature[i] + row;
            float *y = p->feature + (size_t)i * d * n_tok + (size_t)t;

            for (size_t j = 0; j < d; j++)
                y[j * n_tok] = w * x[j];
        }
        for (size_t j = (size_t)ith; j < d; j += (size_t)nth)
            p->missing[j * n_tok + (size_t)t] =
                w * (rows->target[row + j] - rows->present[row + j]);
    }
}

static void add_piece(tlpi_moments *m, tlpi_pool *pool, turning *p)
{
    const tlpi_rows *rows = p->rows;
    size_t d = (size_t)m->d;
    tlpi_dgemm s = { .m = m->n, .n = m->n, .k = p->n_tok, .c = m->s };
    tlpi_dgemm c = { .m = m->d, .n = m->n, .k = p->n_tok, .c = m->c };

    tlpi_pool_map(pool, tlpi_pool_size(pool), turn_some, p);
    s.af = s.bf = c.bf = p->feature;
    c.af = p->missing;
    s.lower = true;
    tlpi_dgemm_run(pool, &s);
    tlpi_dgemm_run(pool, &c);
    m->missing += tlpi_squares(p->missing, d * (size_t)p->n_tok);
    for (int t = p->at; t < p->at + p->n_tok; t++)
        m->target += (rows->weight ? (double)rows->weight[t] : 1) *
                     tlpi_squares(rows->target + (size_t)t * d, d);
}

tlp_status tlpi_moments_add(tlpi_moments *m, tlpi_pool *pool,
                            const tlpi_rows *rows)
{
    turning p = { .rows = rows };
    tlp_status st = TLP_OK;

    p.feature = tlpi_alloc_array(m->env, (size_t)m->n * PIECE, sizeof(float));
    p.missing = tlpi_alloc_array(m->env, (size_t)m->d * PIECE, sizeof(float));
    if (!p.feature || !p.missing) {
        st = tlpi_fail_nomem_for("a fit");
        goto done;
    }
    for (p.at = 0; p.at < rows->n_tok; p.at += PIECE) {
        p.n_tok = TLPI_MIN(PIECE, rows->n_tok - p.at);
        add_piece(m, pool, &p);
    }
    tlpi_mirror(m->n, m->s);
done:
    tlpi_free(m->env, p.missing);
    tlpi_free(m->env, p.feature);
    return st;
}
