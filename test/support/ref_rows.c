/*
 * ref_rows.c - norms of queries and keys, of heads or of whole rows.
 */
#include <math.h>
#include <stdlib.h>

#include "ref_impl.h"

/* y[t] += the squares of heads [h0, h1) of x [n][n_head * hd] */
static void add_squares(const ref_model *m, const double *x, int n, int n_head,
                        int h0, int h1, double *y)
{
    for (int t = 0; t < n; t++)
        for (int i = h0 * m->hd; i < h1 * m->hd; i++)
            y[t] += x[t * n_head * m->hd + i] * x[t * n_head * m->hd + i];
}

static void norm_rows(const ref_model *m, const ref_array *w, double *x, int n,
                      int n_head, const double *square, int n_square)
{
    int len = n_head * m->hd;

    for (int i = 0; i < n * len; i++)
        x[i] *=
            w->x[i % len] / sqrt(square[i / len] / (n_square * m->hd) + m->eps);
}

void ref_norm_qk(const ref_model *m, const ref_layer *l, double *q, double *k,
                 int n, const ref_rows *rows)
{
    if (!l->t[Q_NORM].x)
        return;
    if (m->row_norms) {
        norm_rows(m, &l->t[Q_NORM], q, n, m->n_head, rows->q, rows->n_q);
        norm_rows(m, &l->t[K_NORM], k, n, m->n_head_kv, rows->k, rows->n_k);
        return;
    }
    ref_rms_norm(m, &l->t[Q_NORM], q, n * m->n_head, m->hd, q);
    ref_rms_norm(m, &l->t[K_NORM], k, n * m->n_head_kv, m->hd, k);
}

ref_rows ref_rows_create(int n)
{
    return (ref_rows){ ref_zeros((size_t)n), ref_zeros((size_t)n), 0, 0 };
}

void ref_rows_free(ref_rows *r)
{
    free(r->q), free(r->k);
}

void ref_rows_add(const ref_model *m, const ref_layer *l, const ref_member *a,
                  const double *x, int n, int from, int h0, int h1, ref_rows *r)
{
    int group = m->n_head / m->n_head_kv;
    int k0 = h0 == from ? h0 / group : (h0 + group - 1) / group;
    int k1 = (h1 + group - 1) / group;
    size_t nq = (size_t)(n * m->n_head * m->hd);
    size_t nk = (size_t)(n * m->n_head_kv * m->hd);
    double *in = ref_zeros((size_t)(n * m->d));
    double *q = ref_zeros(nq), *k = ref_zeros(nk);

    ref_input(m, &l->t[ATTN_NORM], a->attn_norm, &a->attn_in, x, n, in);
    ref_linear(&l->t[ATTN_Q], &l->t[BIAS_Q], in, n, m->d, q);
    ref_linear(&l->t[ATTN_K], &l->t[BIAS_K], in, n, m->d, k);
    if (h0 < h1) {
        add_squares(m, q, n, m->n_head, h0, h1, r->q);
        add_squares(m, k, n, m->n_head_kv, k0, k1, r->k);
        r->n_q += h1 - h0;
        r->n_k += k1 - k0;
    }
    free(in), free(q), free(k);
}
