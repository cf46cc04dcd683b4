/*
 * train_attend.c - attention of a member: projections and attention proper,
 * forward and backward.
 */
#include "train/train_member.h"

#include <math.h>
#include <string.h>

static tlpi_part heads_of(const tlpi_train_member *m)
{
    const tlpi_attn_part part = { 0, m->kv0, m->kv1, m->q0, m->q1 };

    return tlpi_attn_units(&part);
}

static tlpi_slice slice(const tlpi_train_pass *p, const tlpi_train_member *m,
                        tlpi_layer_id id)
{
    tlpi_part part = heads_of(m);

    return tlpi_row_slice(&tlpi_layer_table[id], &p->net->model->hp, &part);
}

static bool has_heads(const tlpi_train_member *m)
{
    return m->q0 < m->q1;
}

/* ==== projections ======================================================== */

static void project(tlpi_train_pass *p, const tlpi_train_member *m,
                    tlpi_layer_id id, tlpi_layer_id bias, const float *x,
                    float *y)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    tlpi_slice s = slice(p, m, id);

    tlpi_train_multiply(p, &l->w[id], s, x, y);
    if (l->v[bias])
        tlpi_train_add_bias(&p->ops, l->v[bias] + s.r0, 1, y, p->n_tok,
                            (int)(s.r1 - s.r0));
}

void tlpi_train_project(tlpi_train_pass *p, const tlpi_train_member *m,
                        tlpi_train_trace *t)
{
    if (!has_heads(m))
        return;
    tlpi_train_enter(p, m->attn_norm, &m->attn_in, t->stream, t->attn_raw,
                     t->attn_in);
    project(p, m, TLPI_ATTN_Q, TLPI_ATTN_Q_BIAS, t->attn_in, t->q);
    tlpi_gemm_again(p->gemm);
    project(p, m, TLPI_ATTN_K, TLPI_ATTN_K_BIAS, t->attn_in, t->k);
    tlpi_gemm_again(p->gemm);
    project(p, m, TLPI_ATTN_V, TLPI_ATTN_V_BIAS, t->attn_in, t->v);
}

void tlpi_train_project_back(tlpi_train_pass *p, const tlpi_train_member *m,
                             tlpi_train_trace *t, float *gx)
{
    const struct {
        tlpi_layer_id id;
        const float *g;
    } of[] = { { TLPI_ATTN_Q, t->q },
               { TLPI_ATTN_K, t->k },
               { TLPI_ATTN_V, t->v } };
    /* Without it nobody needs the gradient by the input. */
    bool goes_on = !p->lowest || (m->attn_norm && m->attn_norm->grad) ||
                   m->attn_in.rank > 0;
    float *in = goes_on ? p->slope_in : NULL;

    if (!has_heads(m)) {
        memset(gx, 0, tlpi_train_n_stream(p) * sizeof(*gx));
        return;
    }
    for (size_t i = 0; i < TLPI_COUNT(of); i++)
        tlpi_train_multiply_back(p, &p->net->layer[m->layer].w[of[i].id],
                                 slice(p, m, of[i].id), t->attn_in, of[i].g,
                                 i > 0, in);
    if (goes_on)
        tlpi_train_enter_back(p, m->attn_norm, &m->attn_in, t->stream,
                              t->attn_raw, in, gx);
    else
        memset(gx, 0, tlpi_train_n_stream(p) * sizeof(*gx));
}

/* ==== attention proper =================================================== */

static tlpi_train_heads kernel_heads(const tlpi_train_pass *p,
                                     const tlpi_train_member *m)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    float usual = 1.0f / sqrtf((float)hp->head_dim);

    return (tlpi_train_heads){
        .n_head = m->q1 - m->q0,
        .n_head_kv = m->kv1 - m->kv0,
        .head_dim = hp->head_dim,
        .group = hp->n_head / hp->n_head_kv,
        .first = m->q0,
        .scale = hp->attention_scale > 0 ? hp->attention_scale : usual,
        .window = p->net->model->w.layer[m->layer].window,
        .cap = hp->attn_cap
    };
}

static tlpi_train_qkv kernel_args(const tlpi_train_pass *p,
                                  const tlpi_train_member *m,
                                  const tlpi_train_trace *t)
{
    size_t h = (size_t)p->net->model->hp.head_dim;
    size_t nq = (size_t)(m->q1 - m->q0) * h, nk = (size_t)(m->kv1 - m->kv0) * h;

    return (tlpi_train_qkv){ p->n_tok,     { t->q, nq }, { t->o, nq },
                             { t->k, nk }, { t->v, nk }, t->lse };
}

void tlpi_train_attend(tlpi_train_pass *p, const tlpi_train_member *m,
                       tlpi_train_trace *t)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    const float *bias = m->q0 == 0 ? l->v[TLPI_ATTN_OUTPUT_BIAS] : NULL;

    if (!has_heads(m)) {
        memset(t->attn_out, 0, tlpi_train_n_stream(p) * sizeof(*t->attn_out));
        return;
    }
    tlpi_train_heads heads = kernel_heads(p, m);
    tlpi_train_qkv x = kernel_args(p, m, t);

    tlpi_train_attn_forward(p->attention, &heads, &x);
    tlpi_train_multiply(p, &l->w[TLPI_ATTN_OUTPUT],
                        slice(p, m, TLPI_ATTN_OUTPUT), t->o, t->attn_out);
    if (bias)
        tlpi_train_add_bias(&p->ops, bias, 1, t->attn_out, p->n_tok,
                            p->net->model->hp.n_embd);
}

void tlpi_train_attend_back(tlpi_train_pass *p, const tlpi_train_member *m,
                            tlpi_train_trace *t, const float *g)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    size_t n = (size_t)p->n_tok;

    if (!has_heads(m))
        return;
    tlpi_train_heads heads = kernel_heads(p, m);
    tlpi_train_qkv x = kernel_args(p, m, t);
    tlpi_train_dqkv d = { { p->d_o, x.o.ld },
                          { p->dq, x.q.ld },
                          { p->dk, x.k.ld },
                          { p->dv, x.v.ld } };

    tlpi_train_multiply_back(p, &l->w[TLPI_ATTN_OUTPUT],
                             slice(p, m, TLPI_ATTN_OUTPUT), t->o, g, false,
                             p->d_o);
    tlpi_train_attn_backward(p->attention, &heads, &x, &d);
    tlpi_train_copy(&p->ops, p->dq, t->q, n * x.q.ld);
    tlpi_train_copy(&p->ops, p->dk, t->k, n * x.k.ld);
    tlpi_train_copy(&p->ops, p->dv, t->v, n * x.v.ld);
}
