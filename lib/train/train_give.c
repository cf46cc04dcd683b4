/*
 * train_give.c - what the halves of members give to the stream: their outputs
 * with gains and norms, and the derivatives.
 *
 *   no norm of the output  c_j A_j        c_j = gain residual_scale
 *   of each member         c_j P_j(A_j)
 *   of each track of T     c_j P_j(A_j) / sqrt(T)
 *   of the sum of tracks   P(sum_j c_j A_j), which track 0 gives
 *
 * So a gain follows the norm of an output that is the member's alone, and
 * weighs tracks against each other in front of the norm of their sum.
 */
#include <math.h>
#include <string.h>

#include "train/train_member.h"

/* One half of a member. */
typedef struct half_of {
    tlpi_train_param *post, *gain;
    float *out, *gives; /* before and after the norm */
} half_of;

static half_of get(const tlpi_train_stage *s, const tlpi_train_trace *t, int j,
                   tlpi_half half)
{
    const tlpi_train_member *m = &s->member[j];

    if (half == TLPI_HALF_ATTN)
        return (half_of){ m->attn_post, m->attn_gain, t[j].attn_out,
                          t[j].attn };
    return (half_of){ m->ffn_post, m->ffn_gain, t[j].ffn_out, t[j].ffn };
}

static const tlpi_train_param *gain_of(const tlpi_train_stage *s, int j,
                                       tlpi_half half)
{
    const tlpi_train_member *m = &s->member[j];

    return half == TLPI_HALF_ATTN ? m->attn_gain : m->ffn_gain;
}

/* The factor beside the gain. */
static float unit(const tlpi_train_pass *p, const tlpi_train_stage *s,
                  tlpi_half half)
{
    float residual = p->net->model->hp.residual_scale;

    if (!s->member->attn_post || !tlpi_train_has_tracks(s) ||
        tlpi_train_joins(s, half))
        return residual;
    return residual / sqrtf((float)s->n_member);
}

static float gain(const tlpi_train_pass *p, const tlpi_train_stage *s, int j,
                  tlpi_half half)
{
    return gain_of(s, j, half)->value[0] * unit(p, s, half);
}

float tlpi_train_factor(const tlpi_train_pass *p, const tlpi_train_stage *s,
                        int j, tlpi_half half)
{
    if (tlpi_train_joins(s, half))
        return j == 0 ? 1 : 0;
    return gain(p, s, j, half);
}

/* y = sum_j c_j A_j */
static void sum_tracks(const tlpi_train_pass *p, const tlpi_train_stage *s,
                       const tlpi_train_trace *t, tlpi_half half, float *y)
{
    memset(y, 0, tlpi_train_n_stream(p) * sizeof(*y));
    for (int j = 0; j < s->n_member; j++)
        tlpi_train_add(&p->ops, gain(p, s, j, half), get(s, t, j, half).out, y,
                       tlpi_train_n_stream(p));
}

void tlpi_train_give(tlpi_train_pass *p, const tlpi_train_stage *s,
                     tlpi_train_trace *t, tlpi_half half)
{
    bool joins = tlpi_train_joins(s, half);

    if (joins)
        sum_tracks(p, s, t, half, p->joined);
    for (int j = 0; j < s->n_member; j++) {
        half_of h = get(s, t, j, half);

        if (!h.post)
            continue;
        tlpi_train_norm norm =
            tlpi_train_norm_of(p, h.post, joins ? p->joined : h.out);
        tlpi_train_norm_run(&p->ops, &norm, h.gives);
    }
}

static float *open_grad(tlpi_train_param *w)
{
    if (w->grad)
        tlpi_train_param_open(w, false);
    return w->grad;
}

void tlpi_train_join_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                          const tlpi_train_trace *t, tlpi_half half,
                          const float *g)
{
    tlpi_train_param *post = get(s, t, 0, half).post;

    if (!tlpi_train_joins(s, half))
        return;
    tlpi_train_norm norm = tlpi_train_norm_of(p, post, p->part);
    sum_tracks(p, s, t, half, p->part);
    tlpi_train_norm_back(&p->ops, &norm, g, p->joined, true, open_grad(post));
}

const float *tlpi_train_give_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                                  const tlpi_train_trace *t, int j,
                                  tlpi_half half, const float *g)
{
    bool joins = tlpi_train_joins(s, half);
    half_of h = get(s, t, j, half);
    float scale = gain(p, s, j, half);
    size_t n = tlpi_train_n_stream(p);

    if (joins)
        g = p->joined;
    if (h.gain->grad)
        open_grad(h.gain)[0] +=
            unit(p, s, half) *
            (float)p->ops.vec->dot(g, joins ? h.out : h.gives, n);
    if (scale != 1) {
        memset(p->part, 0, n * sizeof(*g));
        tlpi_train_add(&p->ops, scale, g, p->part, n);
        g = p->part;
    }
    if (joins || !h.post)
        return g;
    tlpi_train_norm norm = tlpi_train_norm_of(p, h.post, h.out);
    tlpi_train_norm_back(&p->ops, &norm, g, p->part, true, open_grad(h.post));
    return p->part;
}
