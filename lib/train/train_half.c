/*
 * train_half.c - attention and feed-forward of a member, forward and backward.
 */
#include "train/train_pass.h"

#include <math.h>
#include <string.h>

/* ==== what both halves share ============================================= */

static tlpi_train_norm norm_of(const tlpi_train_pass *p,
                               const tlpi_train_param *w, const float *x)
{
    const tlpi_hparams *hp = &p->net->model->hp;

    return (tlpi_train_norm){ .n = p->n_tok,
                              .d = hp->n_embd,
                              .ld = (size_t)hp->n_embd,
                              .x = x,
                              .w = w->value,
                              .eps = hp->norm_eps };
}

static void enter(tlpi_train_pass *p, const tlpi_train_param *w,
                  const tlpi_train_lowrank *c, const float *x, float *raw,
                  float *in)
{
    tlpi_train_norm norm = norm_of(p, w, x);

    tlpi_train_norm_run(&p->ops, &norm, raw);
    if (c->rank == 0)
        return; /* in is raw */
    memcpy(in, raw, tlpi_train_n_stream(p) * sizeof(*in));
    tlpi_train_correct(p, c, raw, in);
}

/* g, the gradient by a corrected input, is overwritten; gx becomes the gradient
 * by the stream. */
static void enter_back(tlpi_train_pass *p, tlpi_train_param *w,
                       const tlpi_train_lowrank *c, const float *x,
                       const float *raw, float *g, float *gx)
{
    tlpi_train_norm norm = norm_of(p, w, x);
    size_t n = tlpi_train_n_stream(p);

    if (c->rank > 0) {
        /* The product reads g while it adds to its result. */
        memcpy(p->part, g, n * sizeof(*g));
        tlpi_train_correct_back(p, c, raw, p->part, g);
    }
    if (w->grad)
        tlpi_train_param_open(w, false);
    tlpi_train_norm_back(&p->ops, &norm, g, gx, true, w->grad);
}

/* The gradient by a half without its gain: g, or p->part.  Adds to the gain's
 * gradient. */
static const float *gain_back(tlpi_train_pass *p, tlpi_train_param *gain,
                              const float *half, const float *g)
{
    float residual = p->net->model->hp.residual_scale;
    float scale = gain->value[0] * residual;
    size_t n = tlpi_train_n_stream(p);

    if (gain->grad) {
        tlpi_train_param_open(gain, false);
        gain->grad[0] += residual * (float)p->ops.vec->dot(g, half, n);
    }
    if (scale == 1)
        return g;
    memset(p->part, 0, n * sizeof(*g));
    tlpi_train_add(&p->ops, scale, g, p->part, n);
    return p->part;
}

/* ==== attention ========================================================== */

static tlpi_part heads_of(const tlpi_train_member *m)
{
    const tlpi_attn_part part = { 0, m->kv0, m->kv1, m->q0, m->q1 };

    return tlpi_attn_units(&part);
}

static tlpi_slice slice(const tlpi_train_pass *p, tlpi_layer_id id,
                        const tlpi_part *part)
{
    return tlpi_row_slice(&tlpi_layer_table[id], &p->net->model->hp, part);
}

static void project(tlpi_train_pass *p, const tlpi_train_member *m,
                    tlpi_layer_id id, tlpi_layer_id bias, const float *x,
                    float *y)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    tlpi_part part = heads_of(m);
    tlpi_slice s = slice(p, id, &part);

    tlpi_train_multiply(p, &l->w[id], s, x, y);
    if (l->v[bias])
        tlpi_train_add_bias(&p->ops, l->v[bias] + s.r0, 1, y, p->n_tok,
                            (int)(s.r1 - s.r0));
}

static tlpi_train_norm head_norm(const tlpi_train_pass *p, const float *x,
                                 const float *w, int n_head)
{
    const tlpi_hparams *hp = &p->net->model->hp;

    return (tlpi_train_norm){ .n = p->n_tok * n_head,
                              .d = hp->head_dim,
                              .ld = (size_t)hp->head_dim,
                              .x = x,
                              .w = w,
                              .eps = hp->norm_eps };
}

static tlpi_train_rope rope_of(const tlpi_train_pass *p, int n_head, bool back)
{
    const tlpi_hparams *hp = &p->net->model->hp;

    return (tlpi_train_rope){ .n = p->n_tok,
                              .n_head = n_head,
                              .h = hp->head_dim,
                              .half = hp->n_rot / 2,
                              .neox = tlpi_arch_get(hp)->rope_neox,
                              .cos = p->cos,
                              .sin = back ? p->sin_back : p->sin };
}

static bool rotates(const tlpi_train_pass *p, const tlpi_train_member *m)
{
    return p->net->model->w.layer[m->layer].rope != TLPI_ROPE_NONE;
}

/* Queries or keys: x becomes normalised and rotated; raw: before, or NULL. */
static void place_heads(tlpi_train_pass *p, const tlpi_train_member *m,
                        const float *w, int n_head, float *x, float *raw)
{
    tlpi_train_rope rope = rope_of(p, n_head, false);
    size_t n =
        (size_t)p->n_tok * (size_t)n_head * (size_t)p->net->model->hp.head_dim;

    if (raw) {
        memcpy(raw, x, n * sizeof(*x));
        tlpi_train_norm norm = head_norm(p, raw, w, n_head);
        tlpi_train_norm_run(&p->ops, &norm, x);
    }
    if (rotates(p, m))
        tlpi_train_rope_run(&p->ops, &rope, x);
}

static void place_heads_back(tlpi_train_pass *p, const tlpi_train_member *m,
                             const float *w, int n_head, const float *raw,
                             float *g)
{
    tlpi_train_rope rope = rope_of(p, n_head, true);

    if (rotates(p, m))
        tlpi_train_rope_run(&p->ops, &rope, g);
    if (raw) {
        tlpi_train_norm norm = head_norm(p, raw, w, n_head);
        tlpi_train_norm_back(&p->ops, &norm, g, g, true, NULL);
    }
}

static tlpi_train_heads kernel_heads(const tlpi_train_pass *p,
                                     const tlpi_train_member *m)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    float usual = 1.0f / sqrtf((float)hp->head_dim);

    return (tlpi_train_heads){ .n_head = m->q1 - m->q0,
                               .n_head_kv = m->kv1 - m->kv0,
                               .head_dim = hp->head_dim,
                               .group = hp->n_head / hp->n_head_kv,
                               .first = m->q0,
                               .scale = hp->attention_scale > 0
                                            ? hp->attention_scale
                                            : usual };
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
    int d = p->net->model->hp.n_embd;
    tlpi_part part = heads_of(m);

    if (m->q0 == m->q1) {
        memset(t->attn, 0, tlpi_train_n_stream(p) * sizeof(*t->attn));
        return;
    }
    tlpi_train_heads heads = kernel_heads(p, m);
    tlpi_train_qkv x = kernel_args(p, m, t);

    enter(p, m->attn_norm, &m->attn_in, t->stream, t->attn_raw, t->attn_in);
    project(p, m, TLPI_ATTN_Q, TLPI_ATTN_Q_BIAS, t->attn_in, t->q);
    tlpi_gemm_again(p->gemm);
    project(p, m, TLPI_ATTN_K, TLPI_ATTN_K_BIAS, t->attn_in, t->k);
    tlpi_gemm_again(p->gemm);
    project(p, m, TLPI_ATTN_V, TLPI_ATTN_V_BIAS, t->attn_in, t->v);
    place_heads(p, m, l->v[TLPI_ATTN_Q_NORM], heads.n_head, t->q, t->q_raw);
    place_heads(p, m, l->v[TLPI_ATTN_K_NORM], heads.n_head_kv, t->k, t->k_raw);
    tlpi_train_attn_forward(p->attention, &heads, &x);
    tlpi_train_multiply(p, &l->w[TLPI_ATTN_OUTPUT],
                        slice(p, TLPI_ATTN_OUTPUT, &part), t->o, t->attn);
    if (bias)
        tlpi_train_add_bias(&p->ops, bias, 1, t->attn, p->n_tok, d);
}

void tlpi_train_attend_back(tlpi_train_pass *p, const tlpi_train_member *m,
                            tlpi_train_trace *t, const float *g, float *gx)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    tlpi_part part = heads_of(m);
    /* Without it nobody needs the gradient by the input. */
    bool goes_on = !p->lowest || m->attn_norm->grad || m->attn_in.rank > 0;
    float *in = goes_on ? p->slope_in : NULL;

    if (m->q0 == m->q1) {
        memset(gx, 0, tlpi_train_n_stream(p) * sizeof(*gx));
        return;
    }
    tlpi_train_heads heads = kernel_heads(p, m);
    tlpi_train_qkv x = kernel_args(p, m, t);
    tlpi_train_dqkv d = { { p->d_o, x.o.ld },
                          { p->dq, x.q.ld },
                          { p->dk, x.k.ld },
                          { p->dv, x.v.ld } };

    g = gain_back(p, m->attn_gain, t->attn, g);
    tlpi_train_multiply_back(p, &l->w[TLPI_ATTN_OUTPUT],
                             slice(p, TLPI_ATTN_OUTPUT, &part), t->o, g, false,
                             p->d_o);
    tlpi_train_attn_backward(p->attention, &heads, &x, &d);
    place_heads_back(p, m, l->v[TLPI_ATTN_Q_NORM], heads.n_head, t->q_raw,
                     p->dq);
    place_heads_back(p, m, l->v[TLPI_ATTN_K_NORM], heads.n_head_kv, t->k_raw,
                     p->dk);
    tlpi_train_multiply_back(p, &l->w[TLPI_ATTN_Q],
                             slice(p, TLPI_ATTN_Q, &part), t->attn_in, p->dq,
                             false, in);
    tlpi_train_multiply_back(p, &l->w[TLPI_ATTN_K],
                             slice(p, TLPI_ATTN_K, &part), t->attn_in, p->dk,
                             true, in);
    tlpi_train_multiply_back(p, &l->w[TLPI_ATTN_V],
                             slice(p, TLPI_ATTN_V, &part), t->attn_in, p->dv,
                             true, in);
    if (!goes_on) {
        memset(gx, 0, tlpi_train_n_stream(p) * sizeof(*gx));
        return;
    }
    enter_back(p, m->attn_norm, &m->attn_in, t->stream, t->attn_raw,
               p->slope_in, gx);
}

/* ==== feed-forward ======================================================= */

static tlpi_part units_of(const tlpi_train_member *m)
{
    const tlpi_ffn_part part = { 0, 0, m->ff0, m->ff1 };

    return tlpi_ffn_units(&part);
}

void tlpi_train_feed(tlpi_train_pass *p, const tlpi_train_member *m,
                     tlpi_train_trace *t)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    size_t n = (size_t)p->n_tok * (size_t)(m->ff1 - m->ff0);
    tlpi_part part = units_of(m);

    if (m->ff0 == m->ff1) {
        memset(t->ffn, 0, tlpi_train_n_stream(p) * sizeof(*t->ffn));
        return;
    }
    enter(p, m->ffn_norm, &m->ffn_in, t->mid, t->ffn_raw, t->ffn_in);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_GATE], slice(p, TLPI_FFN_GATE, &part),
                        t->ffn_in, t->gate);
    tlpi_gemm_again(p->gemm);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_UP], slice(p, TLPI_FFN_UP, &part),
                        t->ffn_in, t->up);
    tlpi_train_gate(&p->ops, t->gate, t->up, p->hidden, n);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_DOWN], slice(p, TLPI_FFN_DOWN, &part),
                        p->hidden, t->ffn);
}

/* The gradients by gate and up take the places of both. */
void tlpi_train_feed_back(tlpi_train_pass *p, const tlpi_train_member *m,
                          tlpi_train_trace *t, const float *g, float *gx)
{
    const tlpi_train_layer *l = &p->net->layer[m->layer];
    size_t n = (size_t)p->n_tok * (size_t)(m->ff1 - m->ff0);
    tlpi_part part = units_of(m);

    if (m->ff0 == m->ff1) {
        memset(gx, 0, tlpi_train_n_stream(p) * sizeof(*gx));
        return;
    }
    g = gain_back(p, m->ffn_gain, t->ffn, g);
    tlpi_train_gate(&p->ops, t->gate, t->up, p->hidden, n);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_DOWN],
                             slice(p, TLPI_FFN_DOWN, &part), p->hidden, g,
                             false, p->wide);
    tlpi_train_gate_back(&p->ops, t->gate, t->up, p->wide, n);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_GATE],
                             slice(p, TLPI_FFN_GATE, &part), t->ffn_in, t->gate,
                             false, p->slope_in);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_UP],
                             slice(p, TLPI_FFN_UP, &part), t->ffn_in, p->wide,
                             true, p->slope_in);
    enter_back(p, m->ffn_norm, &m->ffn_in, t->mid, t->ffn_raw, p->slope_in, gx);
}
