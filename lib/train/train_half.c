/*
 * train_half.c - what the halves of a member read, and its feed-forward part;
 * forward and backward.
 */
#include "train/train_member.h"

#include <string.h>

/* ==== inputs ============================================================= */

tlpi_train_norm tlpi_train_norm_of(const tlpi_train_pass *p,
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

void tlpi_train_enter(tlpi_train_pass *p, const tlpi_train_param *w,
                      const tlpi_train_lowrank *c, const float *x, float *raw,
                      float *in)
{
    if (w) { /* else raw is x */
        tlpi_train_norm norm = tlpi_train_norm_of(p, w, x);

        tlpi_train_norm_run(&p->ops, &norm, raw);
    }
    if (c->rank == 0)
        return; /* in is raw */
    memcpy(in, raw, tlpi_train_n_stream(p) * sizeof(*in));
    tlpi_train_correct(p, c, raw, in);
}

void tlpi_train_enter_back(tlpi_train_pass *p, tlpi_train_param *w,
                           const tlpi_train_lowrank *c, const float *x,
                           const float *raw, float *g, float *gx)
{
    size_t n = tlpi_train_n_stream(p);

    if (c->rank > 0) {
        /* The product reads g while it adds to its result. */
        memcpy(p->part, g, n * sizeof(*g));
        tlpi_train_correct_back(p, c, raw, p->part, g);
    }
    if (!w) {
        tlpi_train_copy(&p->ops, g, gx, n);
        return;
    }
    tlpi_train_norm norm = tlpi_train_norm_of(p, w, x);

    if (w->grad)
        tlpi_train_param_open(w, false);
    tlpi_train_norm_back(&p->ops, &norm, g, gx, true, w->grad);
}

/* ==== feed-forward ======================================================= */

static tlpi_slice slice(const tlpi_train_pass *p, tlpi_layer_id id,
                        const tlpi_part *part)
{
    return tlpi_row_slice(&tlpi_layer_table[id], &p->net->model->hp, part);
}

static tlpi_gate gate_of(const tlpi_train_pass *p)
{
    return tlpi_arch_get(&p->net->model->hp)->gate;
}

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
        memset(t->ffn_out, 0, tlpi_train_n_stream(p) * sizeof(*t->ffn_out));
        return;
    }
    tlpi_train_enter(p, m->ffn_norm, &m->ffn_in, t->mid, t->ffn_raw, t->ffn_in);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_GATE], slice(p, TLPI_FFN_GATE, &part),
                        t->ffn_in, t->gate);
    tlpi_gemm_again(p->gemm);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_UP], slice(p, TLPI_FFN_UP, &part),
                        t->ffn_in, t->up);
    tlpi_train_gate(&p->ops, gate_of(p), t->gate, t->up, p->hidden, n);
    tlpi_train_multiply(p, &l->w[TLPI_FFN_DOWN], slice(p, TLPI_FFN_DOWN, &part),
                        p->hidden, t->ffn_out);
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
    tlpi_train_gate(&p->ops, gate_of(p), t->gate, t->up, p->hidden, n);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_DOWN],
                             slice(p, TLPI_FFN_DOWN, &part), p->hidden, g,
                             false, p->wide);
    tlpi_train_gate_back(&p->ops, gate_of(p), t->gate, t->up, p->wide, n);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_GATE],
                             slice(p, TLPI_FFN_GATE, &part), t->ffn_in, t->gate,
                             false, p->slope_in);
    tlpi_train_multiply_back(p, &l->w[TLPI_FFN_UP],
                             slice(p, TLPI_FFN_UP, &part), t->ffn_in, p->wide,
                             true, p->slope_in);
    tlpi_train_enter_back(p, m->ffn_norm, &m->ffn_in, t->mid, t->ffn_raw,
                          p->slope_in, gx);
}
