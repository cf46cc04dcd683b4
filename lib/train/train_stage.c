/*
 * train_stage.c - the equations of a stage and their derivatives.
 *
 * Every mode is one scheme.  x is the stream, D_j what track j has added since
 * the last exchange (0 without tracks), a_j and f_j the halves of member j with
 * their gains, and H the members whose attention a feed-forward part hears:
 *
 *   s_j = x + D_j                          a_j = A_j(Na s_j)
 *   y_i = x + sum_{j in H(i)} (D_j + a_j)  f_i = F_i(Nf y_i)
 *   z   = x + sum_j (D_j + a_j + f_j)
 *
 *   H(i)    all in lp, serial, and where tracks exchange after attention;
 *           i alone in par, and where they do not; 0 to i in asym
 *
 * Without an exchange after the feed-forward part the tracks go on: behind
 * an exchange after attention with x' = y and D'_j = f_j, else with x' = x and
 * D'_j = D_j + a_j + f_j.  A corrected output adds up (sum_i down_i delta_i)
 * to z, with delta_i = f_i and the attention that counts as member i's.
 *
 * Na and Nf stand for nothing in models without norms of inputs.  Norms of
 * outputs are in a_j and f_j (train_give.c); where they normalise a sum over
 * tracks, a_0 or f_0 is all of it and those of other tracks are 0.
 */
#include <string.h>

#include "train/train_member.h"

static void copy(const tlpi_train_pass *p, float *to, const float *from)
{
    tlpi_train_copy(&p->ops, from, to, tlpi_train_n_stream(p));
}

static void add(const tlpi_train_pass *p, float s, const float *x, float *y)
{
    tlpi_train_add(&p->ops, s, x, y, tlpi_train_n_stream(p));
}

/* y = x + D_j + a_j; x may be y */
static void add_attention(const tlpi_train_pass *p, const tlpi_train_stage *s,
                          const tlpi_train_stream *in,
                          const tlpi_train_trace *t, int j, const float *x,
                          float *y)
{
    size_t n = tlpi_train_n_stream(p);

    tlpi_train_sum(&p->ops, x, tlpi_train_factor(p, s, j, TLPI_HALF_ATTN),
                   t[j].attn, y, n);
    if (s->open)
        add(p, 1, in->track[j], y);
}

static void add_feed(const tlpi_train_pass *p, const tlpi_train_stage *s,
                     const tlpi_train_trace *t, int j, float *y)
{
    add(p, tlpi_train_factor(p, s, j, TLPI_HALF_FFN), t[j].ffn, y);
}

/* ==== forward ============================================================ */

static void run_members(tlpi_train_pass *p, const tlpi_train_stage *s,
                        const tlpi_train_stream *in, tlpi_train_trace *t)
{
    for (int j = 0; j < s->n_member; j++) {
        if (s->open)
            tlpi_train_sum(&p->ops, in->x, 1, in->track[j], t[j].stream,
                           tlpi_train_n_stream(p));
        tlpi_train_project(p, &s->member[j], &t[j]);
    }
    tlpi_train_place(p, s, t);
    for (int j = 0; j < s->n_member; j++)
        tlpi_train_attend(p, &s->member[j], &t[j]);
    tlpi_train_give(p, s, t, TLPI_HALF_ATTN);
    for (int i = 0; i < s->n_member; i++) {
        const float *x = in->x;

        for (int j = 0; j < s->n_member; j++)
            if (tlpi_train_hears(s, i, j)) {
                add_attention(p, s, in, t, j, x, t[i].mid);
                x = t[i].mid;
            }
        tlpi_train_feed(p, &s->member[i], &t[i]);
    }
    tlpi_train_give(p, s, t, TLPI_HALF_FFN);
}

/* y = delta_i: what member i itself added. */
static void contribution(const tlpi_train_pass *p, const tlpi_train_stage *s,
                         const tlpi_train_trace *t, int i, float *y)
{
    memset(y, 0, tlpi_train_n_stream(p) * sizeof(*y));
    add_feed(p, s, t, i, y);
    for (int j = 0; j < s->n_member; j++)
        if (tlpi_train_counts(s, i, j))
            add(p, tlpi_train_factor(p, s, j, TLPI_HALF_ATTN), t[j].attn, y);
}

static tlpi_gemm_source values(const tlpi_train_param *w)
{
    return tlpi_gemm_floats(w->value, (size_t)w->cols);
}

/* low = sum_i down_i delta_i */
static void read_out(tlpi_train_pass *p, const tlpi_train_stage *s,
                     const tlpi_train_trace *t)
{
    size_t d = (size_t)p->net->model->hp.n_embd;

    for (int i = 0; i < s->n_member; i++) {
        contribution(p, s, t, i, p->part);
        tlpi_gemm_forward(p->gemm, p->n_tok, (int64_t)d, s->out_rank, p->part,
                          d, values(s->member[i].out_down), i > 0, p->low,
                          (size_t)s->out_rank);
    }
}

static void correct_out(tlpi_train_pass *p, const tlpi_train_stage *s,
                        const tlpi_train_trace *t, float *z)
{
    size_t d = (size_t)p->net->model->hp.n_embd;

    read_out(p, s, t);
    tlpi_gemm_forward(p->gemm, p->n_tok, s->out_rank, (int64_t)d, p->low,
                      (size_t)s->out_rank, values(s->out_up), 1, z, d);
}

static void leave(tlpi_train_pass *p, const tlpi_train_stage *s,
                  const tlpi_train_stream *in, const tlpi_train_trace *t,
                  tlpi_train_stream *out)
{
    bool together = !(s->nosync & TLP_NOSYNC_ATTN);

    if (!(s->nosync & TLP_NOSYNC_FFN)) {
        for (int j = 0; j < s->n_member; j++) {
            add_attention(p, s, in, t, j, j == 0 ? in->x : out->x, out->x);
            add_feed(p, s, t, j, out->x);
        }
        if (s->out_rank > 0)
            correct_out(p, s, t, out->x);
        return;
    }
    copy(p, out->x, together ? t[0].mid : in->x);
    for (int j = 0; j < s->n_member; j++) {
        memset(out->track[j], 0, tlpi_train_n_stream(p) * sizeof(float));
        if (!together)
            add_attention(p, s, in, t, j, out->track[j], out->track[j]);
        add_feed(p, s, t, j, out->track[j]);
    }
}

void tlpi_train_stage_forward(tlpi_train_pass *p, int i)
{
    const tlpi_train_stage *s = &p->net->stage[i];
    bool shared;
    tlpi_train_trace *t = tlpi_train_trace_of(p, i, &shared);

    run_members(p, s, &p->border[i], t);
    leave(p, s, &p->border[i], t, &p->border[i + 1]);
}

/* ==== backward =========================================================== */

/* The gradient by the corrected output reaches members through delta_i: it is
 * added to what their halves have. */
static void correct_out_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                             const tlpi_train_trace *t, const float *g,
                             float **feed, float **attn)
{
    size_t d = (size_t)p->net->model->hp.n_embd, r = (size_t)s->out_rank;
    tlpi_train_param *up = s->out_up;

    if (up->grad) {
        read_out(p, s, t);
        tlpi_gemm_weight_grad(p->gemm, p->n_tok, (int64_t)r, (int64_t)d, g, d,
                              p->low, r, tlpi_train_param_open(up, true),
                              up->grad, r);
    }
    tlpi_gemm_input_grad(p->gemm, p->n_tok, (int64_t)r, (int64_t)d, g, d,
                         values(up), 0, p->low_back, r);
    for (int i = 0; i < s->n_member; i++) {
        tlpi_train_param *down = s->member[i].out_down;

        if (down->grad) {
            contribution(p, s, t, i, p->part);
            tlpi_gemm_weight_grad(
                p->gemm, p->n_tok, (int64_t)d, (int64_t)r, p->low_back, r,
                p->part, d, tlpi_train_param_open(down, true), down->grad, d);
        }
        tlpi_gemm_input_grad(p->gemm, p->n_tok, (int64_t)d, (int64_t)r,
                             p->low_back, r, values(down), 0, p->part, d);
        add(p, 1, p->part, feed[i]);
        for (int j = 0; j < s->n_member; j++)
            if (tlpi_train_counts(s, i, j))
                add(p, 1, p->part, attn[j]);
    }
}

/* feed[j], attn[j]: the gradients by f_j and by D_j + a_j as far as the
 * stage's output has them.  The slope's x is already that by x. */
static void leave_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                       const tlpi_train_trace *t)
{
    const tlpi_train_stream *g = &p->slope;
    bool feed_own = s->nosync & TLP_NOSYNC_FFN;
    bool attn_own = feed_own && (s->nosync & TLP_NOSYNC_ATTN);

    for (int j = 0; j < s->n_member; j++) {
        copy(p, p->feed[j], feed_own ? g->track[j] : g->x);
        copy(p, p->attn[j], attn_own ? g->track[j] : g->x);
    }
    if (s->out_rank > 0)
        correct_out_back(p, s, t, g->x, p->feed, p->attn);
}

/* Adds to attn[j] what feed-forward parts hear of it, and to the slope's x. */
static void feed_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                      tlpi_train_trace *t)
{
    tlpi_train_join_back(p, s, t, TLPI_HALF_FFN, p->feed[0]);
    for (int i = 0; i < s->n_member; i++) {
        const float *g =
            tlpi_train_give_back(p, s, t, i, TLPI_HALF_FFN, p->feed[i]);

        tlpi_train_feed_back(p, &s->member[i], &t[i], g, p->mid);
        add(p, 1, p->mid, p->slope.x);
        for (int j = 0; j < s->n_member; j++)
            if (tlpi_train_hears(s, i, j))
                add(p, 1, p->mid, p->attn[j]);
    }
}

/* Adds to the slope's x, and makes the slopes of the tracks. */
static void attend_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                        tlpi_train_trace *t)
{
    tlpi_train_join_back(p, s, t, TLPI_HALF_ATTN, p->attn[0]);
    for (int j = 0; j < s->n_member; j++) {
        const float *g =
            tlpi_train_give_back(p, s, t, j, TLPI_HALF_ATTN, p->attn[j]);

        tlpi_train_attend_back(p, &s->member[j], &t[j], g);
    }
    tlpi_train_place_back(p, s, t);
    for (int j = 0; j < s->n_member; j++) {
        tlpi_train_project_back(p, &s->member[j], &t[j], p->mid);
        add(p, 1, p->mid, p->slope.x);
        if (!s->open)
            continue;
        copy(p, p->slope.track[j], p->attn[j]);
        add(p, 1, p->mid, p->slope.track[j]);
    }
}

void tlpi_train_stage_back(tlpi_train_pass *p, int index)
{
    const tlpi_train_stage *s = &p->net->stage[index];
    bool shared;
    tlpi_train_trace *t = tlpi_train_trace_of(p, index, &shared);

    p->lowest = index == p->net->first;
    if (shared)
        run_members(p, s, &p->border[index], t);
    leave_back(p, s, t);
    feed_back(p, s, t);
    attend_back(p, s, t);
}
