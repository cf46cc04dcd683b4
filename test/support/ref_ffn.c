/*
 * ref_ffn.c - hidden units of a feed-forward part, of one or several experts.
 */
#include <math.h>
#include <stdlib.h>

#include "ref_impl.h"

static double gate(const ref_model *m, double x)
{
    return m->gelu
               ? x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))
               : x / (1 + exp(-x));
}

/* A hidden unit from what its rows of gate and up give. */
static double unit(const ref_model *m, double g, double u)
{
    if (!m->clamp)
        return gate(m, g) * u;
    g = fmin(g, 7);
    return g / (1 + exp(-1.702 * g)) * (fmax(-7, fmin(u, 7)) + 1);
}

/* Vector e of a list; none where the model has no list. */
static ref_array one_of(const ref_array *list, int e, int n)
{
    return (ref_array){ list->x ? list->x + e * n : NULL, (size_t)n };
}

/* y += share times hidden units [u0, u1) of expert e, from one row. */
static void one_expert(const ref_model *m, const ref_layer *l, int e,
                       const double *in, int u0, int u1, double share,
                       double *y)
{
    size_t size = (size_t)m->n_ff * (size_t)m->d;
    ref_array gates = { l->t[FFN_GATE].x + (size_t)e * size, size };
    ref_array ups = { l->t[FFN_UP].x + (size_t)e * size, size };
    ref_array downs = { l->t[FFN_DOWN].x + (size_t)e * size, size };
    ref_array of_gate = one_of(&l->t[BIAS_GATE], e, m->n_ff);
    ref_array of_up = one_of(&l->t[BIAS_UP], e, m->n_ff);
    /* the bias of what all units give belongs to the first of them */
    ref_array of_down =
        u0 == 0 ? one_of(&l->t[BIAS_DOWN], e, m->d) : (ref_array){ 0 };
    double *g = ref_zeros((size_t)m->n_ff), *u = ref_zeros((size_t)m->n_ff);
    double *out = ref_zeros((size_t)m->d);

    ref_linear(&gates, &of_gate, in, 1, m->d, g);
    ref_linear(&ups, &of_up, in, 1, m->d, u);
    for (int i = 0; i < m->n_ff; i++)
        g[i] = i >= u0 && i < u1 ? unit(m, g[i], u[i]) : 0;
    ref_linear(&downs, &of_down, g, 1, m->n_ff, out);
    for (int i = 0; i < m->d; i++)
        y[i] += share * out[i];
    free(g), free(u), free(out);
}

/* share[e] = the weight of expert e for one row, 0 for experts that it does not
 * use: the softmax over the scores of those with the best scores. */
static void route(const ref_model *m, const ref_layer *l, const double *in,
                  double *share)
{
    double *score = ref_zeros((size_t)m->n_expert), sum = 0;

    ref_linear(&l->t[FFN_ROUTER], &l->t[BIAS_ROUTER], in, 1, m->d, score);
    for (int e = 0; e < m->n_expert; e++) {
        int better = 0;

        for (int i = 0; i < m->n_expert; i++)
            better += score[i] > score[e] || (score[i] == score[e] && i < e);
        share[e] = exp(score[e]);
        sum += m->all_share || better < m->n_used ? share[e] : 0;
        if (better >= m->n_used)
            share[e] = 0;
    }
    for (int e = 0; e < m->n_expert; e++)
        share[e] *= m->expert_scale / sum;
    free(score);
}

/* Hidden units [u0, u1) of all rows. */
static void experts(const ref_model *m, const ref_layer *l, const double *in,
                    int n, int u0, int u1, double *y)
{
    double *share = ref_zeros((size_t)m->n_expert);

    for (int t = 0; t < n; t++) {
        route(m, l, in + t * m->d, share);
        for (int e = 0; e < m->n_expert; e++)
            if (share[e] != 0)
                one_expert(m, l, e, in + t * m->d, u0, u1, share[e],
                           y + t * m->d);
    }
    free(share);
}

static void single(const ref_model *m, const ref_layer *l, const double *in,
                   int n, int u0, int u1, double *y)
{
    size_t ff = (size_t)m->n_ff;
    double *g = ref_zeros((size_t)n * ff), *u = ref_zeros((size_t)n * ff);

    ref_linear(&l->t[FFN_GATE], NULL, in, n, m->d, g);
    ref_linear(&l->t[FFN_UP], NULL, in, n, m->d, u);
    for (size_t j = 0; j < (size_t)n * ff; j++) {
        int i = (int)(j % ff);

        g[j] = i >= u0 && i < u1 ? unit(m, g[j], u[j]) : 0;
    }
    ref_linear(&l->t[FFN_DOWN], NULL, g, n, m->n_ff, y);
    free(g), free(u);
}

void ref_units(const ref_model *m, const ref_layer *l, const double *in, int n,
               int u0, int u1, double *y)
{
    if (m->n_expert)
        experts(m, l, in, n, u0, u1, y);
    else
        single(m, l, in, n, u0, u1, y);
}
