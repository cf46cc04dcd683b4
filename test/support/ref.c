/*
 * ref.c - the equations of a layer-parallel decoder in plain code: whole
 * sequences, one stage after the other, in double precision.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_impl.h"

/* ==== parts ============================================================== */

/* y += up (down x);  x, y [n][d]; y may be x */
static void correct(const ref_model *m, const ref_lowrank *c, const double *x,
                    int n, double *y)
{
    ref_array down = { c->down, (size_t)(c->rank * m->d) };
    ref_array up = { c->up, down.n };
    double *t = ref_zeros((size_t)(n * c->rank));
    double *z = ref_zeros((size_t)(n * m->d));

    if (c->rank) {
        ref_linear(&down, NULL, x, n, m->d, t);
        ref_linear(&up, NULL, t, n, c->rank, z);
        for (int i = 0; i < n * m->d; i++)
            y[i] += z[i];
    }
    free(t), free(z);
}

/* Input of attention or of the feed-forward part: normalised and corrected. */
void ref_input(const ref_model *m, const ref_array *norm, double *other,
               const ref_lowrank *c, const double *x, int n, double *in)
{
    ref_array w = { other, norm->n };

    if (other || norm->x)
        ref_rms_norm(m, other ? &w : norm, x, n, m->d, in);
    else
        memcpy(in, x, (size_t)(n * m->d) * sizeof *in);
    correct(m, c, in, n, in);
}

static void scale(double *x, size_t n, double gain)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= gain;
}

/* The norm of an output, where the model has one, and then the gain.  other:
 * its weights, or NULL for the model's. */
static void give(const ref_model *m, const ref_array *w, double *other,
                 double gain, double *y, int n)
{
    ref_array own = { other, w->n };

    if (w->x)
        ref_rms_norm(m, other ? &own : w, y, n, m->d, y);
    scale(y, (size_t)(n * m->d), gain);
}

/* The part of heads [h0, h1) in A(Na x), without gain: [n][d]; the caller frees
 * it.  The output's bias belongs to head 0.  rows: for norms of rows; NULL:
 * these heads make the rows. */
static double *some_heads(const ref_model *m, const ref_layer *l,
                          const ref_member *a, const double *x, int n, int h0,
                          int h1, const ref_rows *rows)
{
    ref_rows own = ref_rows_create(n);
    static const ref_array none = { 0 };
    size_t hd = (size_t)m->hd, nq = (size_t)(n * m->n_head);
    size_t nk = (size_t)(n * m->n_head_kv);
    double *in = ref_zeros((size_t)(n * m->d)), *p = ref_zeros((size_t)n);
    double *q = ref_zeros(nq * hd), *k = ref_zeros(nk * hd),
           *v = ref_zeros(nk * hd);
    double *o = ref_zeros(nq * hd), *y = ref_zeros((size_t)(n * m->d));

    ref_input(m, &l->t[ATTN_NORM], a->attn_norm, &a->attn_in, x, n, in);
    ref_linear(&l->t[ATTN_Q], &l->t[BIAS_Q], in, n, m->d, q);
    ref_linear(&l->t[ATTN_K], &l->t[BIAS_K], in, n, m->d, k);
    ref_linear(&l->t[ATTN_V], &l->t[BIAS_V], in, n, m->d, v);
    if (m->row_norms && !rows)
        ref_rows_add(m, l, a, x, n, h0, h0, h1, &own);
    ref_norm_qk(m, l, q, k, n, rows ? rows : &own);
    if (l->inv_freq) {
        ref_rope(m, l->inv_freq, q, n, m->n_head);
        ref_rope(m, l->inv_freq, k, n, m->n_head_kv);
    }
    for (int t = 0; t < n; t++)
        scale(q + (size_t)(t * m->n_head) * hd, (size_t)m->n_head * hd,
              1 + m->query_scale * log(1 + t / m->query_ctx));
    for (int t = 0; t < n; t++)
        for (int h = h0; h < h1; h++)
            ref_attend(m, q, k, v, &l->t[ATTN_SINKS],
                       l->window && t >= l->window ? t + 1 - l->window : 0, t,
                       h, p,
                       o + ((size_t)t * (size_t)m->n_head + (size_t)h) * hd);
    ref_linear(&l->t[ATTN_OUT], h0 == 0 ? &l->t[BIAS_OUT] : &none, o, n,
               m->n_head * m->hd, y);
    scale(y, (size_t)(n * m->d), m->residual_scale);
    free(in), free(p), free(q), free(k), free(v), free(o);
    ref_rows_free(&own);
    return y;
}

/* P(A(Na x)), P the norm of the output where the model has one; the gain
 * follows it.  [n][d]; the caller frees it */
static double *attention(const ref_model *m, const ref_layer *l,
                         const ref_member *a, const double *x, int n)
{
    double *y = some_heads(m, l, a, x, n, 0, m->n_head, NULL);

    give(m, &l->t[ATTN_POST], a->attn_post, a->attn_gain, y, n);
    return y;
}

/* Hidden units [u0, u1) of F(Nf x), with the input of member `by`, without
 * gain. */
static double *ffn(const ref_model *m, const ref_layer *const *l,
                   const ref_member *a, int i, int by, const double *x, int n,
                   int u0, int u1)
{
    size_t d = (size_t)m->d;
    double *in = ref_zeros((size_t)n * d), *y = ref_zeros((size_t)n * d);

    ref_input(m, &l[by]->t[FFN_NORM], a[by].ffn_norm, &a[by].ffn_in, x, n, in);
    ref_units(m, l[i], in, n, u0, u1, y);
    scale(y, (size_t)n * d, m->residual_scale);
    free(in);
    return y;
}

/* ==== stages ============================================================= */

static void add(double *y, double *x, size_t n) /* frees x */
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
    free(x);
}

static double *copy(const double *x, size_t n)
{
    return memcpy(ref_zeros(n), x, n * sizeof *x);
}

static double *whole_ffn(const ref_model *m, const ref_layer *const *l,
                         const ref_member *a, int i, const double *y, int n)
{
    double *f = ffn(m, l, a, i, i, y, n, 0, m->n_ff);

    give(m, &l[i]->t[FFN_POST], a[i].ffn_post, a[i].ffn_gain, f, n);
    return f;
}

/* F_i of lp-code with k members: slice r reads y through the norm of member r.
 */
static double *sliced_ffn(const ref_model *m, const ref_layer *const *l,
                          const ref_member *a, int i, int k, const double *y,
                          int n)
{
    size_t nd = (size_t)(n * m->d);
    double *sum = ref_zeros(nd);

    for (int r = 0; r < k; r++)
        add(sum,
            ffn(m, l, a, i, r, y, n, m->n_ff * r / k, m->n_ff * (r + 1) / k),
            nd);
    give(m, &l[i]->t[FFN_POST], a[i].ffn_post, a[i].ffn_gain, sum, n);
    return sum;
}

/* y = x + sum A_i(Na_i x);  z = y + sum F_i(Nf_i y)
 * lp-code: slice r of every F reads y through the norm of member r. */
static void run_lp(const ref_model *m, const ref_layer *const *l,
                   const ref_member *a, int k, bool code, double *x, int n)
{
    size_t nd = (size_t)(n * m->d);
    double *sum = ref_zeros(nd), *y = copy(x, nd);

    for (int i = 0; i < k; i++)
        add(sum, attention(m, l[i], &a[i], x, n), nd);
    add(y, copy(sum, nd), nd);
    memcpy(x, y, nd * sizeof *x);
    correct(m, &a[0].out, sum, n, x);
    for (int i = 0; i < k; i++) {
        double *f = code ? sliced_ffn(m, l, a, i, k, y, n)
                         : whole_ffn(m, l, a, i, y, n);
        correct(m, &a[i].out, f, n, x);
        add(x, f, nd);
    }
    free(sum), free(y);
}

/* y_i = x + A_i(Na_i x);  z = x + sum [A_i + F_i(Nf_i y_i)] */
static void run_par(const ref_model *m, const ref_layer *const *l,
                    const ref_member *a, int k, double *x, int n)
{
    size_t nd = (size_t)(n * m->d);
    double *z = copy(x, nd);

    for (int i = 0; i < k; i++) {
        double *delta = attention(m, l[i], &a[i], x, n), *y = copy(x, nd);

        add(y, copy(delta, nd), nd);
        add(delta, whole_ffn(m, l, a, i, y, n), nd);
        correct(m, &a[i].out, delta, n, z);
        add(z, delta, nd);
        free(y);
    }
    memcpy(x, z, nd * sizeof *x);
    free(z);
}

/* y_i = x + sum_{j<=i} A_j(Na_j x);  z = y_last + sum F_i(Nf_i y_i) */
static void run_asym(const ref_model *m, const ref_layer *const *l,
                     const ref_member *a, int k, double *x, int n)
{
    size_t nd = (size_t)(n * m->d);
    double *sum = ref_zeros(nd), *z = ref_zeros(nd);

    for (int i = 0; i < k; i++) {
        add(sum, attention(m, l[i], &a[i], x, n), nd);
        double *y = copy(x, nd);
        add(y, copy(sum, nd), nd);
        double *f = whole_ffn(m, l, a, i, y, n);
        correct(m, &a[i].out, sum, n, z);
        correct(m, &a[i].out, f, n, z);
        add(z, f, nd);
        free(y);
    }
    add(x, sum, nd);
    add(x, z, nd);
}

static void run_merge(const ref_model *m, const ref_layer *const *l,
                      const ref_member *a, int k, double *x, int n)
{
    ref_layer mean = { .inv_freq = l[0]->inv_freq, .window = l[0]->window };
    const ref_layer *one = &mean;

    for (int i = 0; i < N_TENSOR; i++) {
        ref_array *t = &mean.t[i];

        t->n = l[0]->t[i].n;
        if (!l[0]->t[i].x)
            continue;
        t->x = ref_zeros(t->n);
        for (int j = 0; j < k; j++)
            for (size_t e = 0; e < t->n; e++)
                t->x[e] += l[j]->t[i].x[e] / k;
    }
    run_lp(m, &one, a, 1, false, x, n);
    ref_layer_clear(&mean);
}

static void run_stage(const ref_model *m, const ref_stage *s, double *x, int n)
{
    const ref_layer *l[REF_MAX_MEMBER];

    for (int i = 0; i < s->n_member; i++) {
        if (s->layers[i] < 0 || s->layers[i] >= m->n_layer)
            ref_die("no such layer", "plan");
        l[i] = &m->layer[s->layers[i]];
    }
    switch (s->mode) {
    case REF_SERIAL: /* a single member */
    case REF_LP:
        run_lp(m, l, s->adjust, s->n_member, false, x, n);
        break;
    case REF_LP_CODE:
        run_lp(m, l, s->adjust, s->n_member, true, x, n);
        break;
    case REF_PAR:
        run_par(m, l, s->adjust, s->n_member, x, n);
        break;
    case REF_ASYM:
        run_asym(m, l, s->adjust, s->n_member, x, n);
        break;
    case REF_MERGE: /* never adjusted */
        run_merge(m, l, s->adjust, s->n_member, x, n);
        break;
    }
}

/* ==== tracks ============================================================= */

/* Heads are cut at single heads, hidden units at multiples of 16: where rows of
 * F32 can be cut. */
static int track_begin(int n, int step, int t, int n_track)
{
    int at = (n * t + n_track - 1) / n_track;
    int up = (at + step - 1) / step * step;

    return up < n ? up : n;
}

/* x += all deltas, which become 0 */
static void exchange(double *x, double **delta, int n_track, size_t nd)
{
    for (int t = 0; t < n_track; t++) {
        add(x, copy(delta[t], nd), nd);
        memset(delta[t], 0, nd * sizeof *x);
    }
}

/* The tracks' parts of a half become what they add.  With norms of outputs: the
 * norm of the sum if it is exchanged, which track 0 adds; else the norm of each
 * divided by the root of their number. */
static void give_parts(const ref_model *m, const ref_array *w, int half,
                       bool sum, const ref_member *a, double **part,
                       int n_track, int n)
{
    size_t nd = (size_t)(n * m->d);
    double root = w->x && !sum ? sqrt(n_track) : 1;

    for (int t = 0; t < n_track; t++) {
        double gain = half ? a[t].ffn_gain : a[t].attn_gain;

        if (w->x && sum)
            scale(part[t], nd, gain);
        else
            give(m, w, half ? a[t].ffn_post : a[t].attn_post, gain / root,
                 part[t], n);
    }
    if (!w->x || !sum)
        return;
    for (int t = 1; t < n_track; t++) {
        add(part[0], part[t], nd);
        part[t] = ref_zeros(nd);
    }
    give(m, w, half ? a[0].ffn_post : a[0].attn_post, 1, part[0], n);
}

/* x + delta */
static double *stream_of(const double *x, const double *delta, size_t nd)
{
    double *y = copy(x, nd);

    add(y, copy(delta, nd), nd);
    return y;
}

/* The rows that the heads of all tracks make. */
static ref_rows shared_rows(const ref_model *m, const ref_layer *l,
                            const ref_member *a, int n_track, const double *x,
                            double *const *delta, int n)
{
    ref_rows r = ref_rows_create(n);

    for (int t = 0; m->row_norms && t < n_track; t++) {
        double *y = stream_of(x, delta[t], (size_t)(n * m->d));

        ref_rows_add(m, l, &a[t], y, n, 0,
                     track_begin(m->n_head, 1, t, n_track),
                     track_begin(m->n_head, 1, t + 1, n_track), &r);
        free(y);
    }
    return r;
}

/* D_t += A_t(Na (x + D_t));  exchange, or not;  D_t += F_t(Nf (x + D_t));
 * exchange, or not.  differ: the tracks' streams do, when the layer begins. */
static void run_tracks(const ref_model *m, const ref_stage *s, int n_track,
                       bool differ, double *x, double **delta, int n)
{
    const ref_layer *l = &m->layer[s->layers[0]];
    size_t nd = (size_t)(n * m->d);
    ref_rows rows = shared_rows(m, l, s->adjust, n_track, x, delta, n);

    for (int half = 0; half < 2; half++) {
        bool open = half ? s->open_ffn : s->open_attn;
        double *part[REF_MAX_TRACK] = { 0 };

        for (int t = 0; t < n_track; t++) {
            double *y = stream_of(x, delta[t], nd);
            int h0 = track_begin(m->n_head, 1, t, n_track);
            int h1 = track_begin(m->n_head, 1, t + 1, n_track);
            int u0 = track_begin(m->n_ff, 16, t, n_track);
            int u1 = track_begin(m->n_ff, 16, t + 1, n_track);

            part[t] = half ? ffn(m, &l, &s->adjust[t], 0, 0, y, n, u0, u1)
                           : some_heads(m, l, &s->adjust[t], y, n, h0, h1,
                                        differ || open ? NULL : &rows);
            free(y);
        }
        give_parts(m, &l->t[half ? FFN_POST : ATTN_POST], half, !open,
                   s->adjust, part, n_track, n);
        for (int t = 0; t < n_track; t++)
            add(delta[t], part[t], nd);
        if (!open)
            exchange(x, delta, n_track, nd);
    }
    ref_rows_free(&rows);
}

void ref_run(const ref_model *m, const ref_plan *plan, double *x, int n)
{
    double *delta[REF_MAX_TRACK];
    bool open = false;

    for (int t = 0; t < plan->n_track; t++)
        delta[t] = ref_zeros((size_t)(n * m->d));
    for (int i = 0; i < plan->n_stage; i++) {
        const ref_stage *s = &plan->stage[i];

        if (open || s->open_attn || s->open_ffn)
            run_tracks(m, s, plan->n_track, open, x, delta, n);
        else
            run_stage(m, s, x, n);
        open = s->open_ffn;
    }
    for (int t = 0; t < plan->n_track; t++)
        free(delta[t]);
}

/* ==== pieces ============================================================= */

double *ref_half(const ref_model *m, int layer, bool feed_forward, int track,
                 int n_track, const double *x, int n)
{
    static const ref_member plain = { .attn_gain = 1, .ffn_gain = 1 };
    const ref_layer *l = &m->layer[layer];

    if (feed_forward)
        return ffn(m, &l, &plain, 0, 0, x, n,
                   track_begin(m->n_ff, 16, track, n_track),
                   track_begin(m->n_ff, 16, track + 1, n_track));
    return some_heads(m, l, &plain, x, n,
                      track_begin(m->n_head, 1, track, n_track),
                      track_begin(m->n_head, 1, track + 1, n_track), NULL);
}

void ref_give(const ref_model *m, int layer, bool feed_forward, double share,
              double *y, int n)
{
    give(m, &m->layer[layer].t[feed_forward ? FFN_POST : ATTN_POST], NULL,
         share, y, n);
}

double *ref_embed(const ref_model *m, const int32_t *tokens, int n)
{
    size_t d = (size_t)m->d;
    double *x = ref_zeros((size_t)n * d);

    for (int t = 0; t < n; t++)
        memcpy(x + (size_t)t * d, m->embd.x + (size_t)tokens[t] * d,
               d * sizeof *x);
    scale(x, (size_t)n * d, m->embedding_scale);
    return x;
}

double *ref_states(const ref_model *m, const ref_plan *plan,
                   const int32_t *tokens, int n)
{
    double *x = ref_embed(m, tokens, n);

    ref_run(m, plan, x, n);
    ref_rms_norm(m, &m->output_norm, x, n, m->d, x);
    return x;
}

double *ref_head(const ref_model *m, double *x, int n)
{
    size_t n_logit = (size_t)n * (size_t)m->n_vocab;
    double *out = ref_zeros(n_logit);

    ref_rms_norm(m, &m->output_norm, x, n, m->d, x);
    ref_linear(m->output.x ? &m->output : &m->embd, NULL, x, n, m->d, out);
    scale(out, n_logit, 1 / m->logit_scale);
    for (size_t i = 0; m->logit_cap > 0 && i < n_logit; i++)
        out[i] = m->logit_cap * tanh(out[i] / m->logit_cap);
    free(x);
    return out;
}

double *ref_logits(const ref_model *m, const ref_plan *plan,
                   const int32_t *tokens, int n)
{
    double *x = ref_embed(m, tokens, n);

    ref_run(m, plan, x, n);
    return ref_head(m, x, n);
}
