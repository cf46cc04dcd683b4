/*
 * bake_pairs.c - what it costs that a track's next attention lacks hidden
 * units.
 *
 * Where the exchange after a feed-forward part is left out, the next attention
 * of track t lacks m_t = sum of h_i w_i over the units i of other tracks.  The
 * cost is the mean over tokens of
 *
 *     |W_t diag(g) m_t|^2 / |x|^2
 *
 * W_t: the rows of attn_q, attn_k and attn_v of the heads of track t, g: the
 * norm's weights in front of them, h_i: the serial model's hidden unit, w_i:
 * the unit's column of ffn_down, x: the serial model's stream before the layer.
 * So units that track t's heads hardly see go to other tracks, and units whose
 * contributions cancel are lacking together.
 *
 * The cost is a sum over pairs of units that are lacking together,
 *
 *     Q_t[i][j] = H[i][j] V_t[i][j]
 *
 * with H[i][j] the mean of h_i h_j / |x|^2 and V_t[i][j] the product of
 * W_t diag(g) w_i with W_t diag(g) w_j.  Units that move together are one lot.
 */
#include <math.h>
#include <string.h>

#include "plan/shard.h"
#include "tune/bake.h"
#include "tune/linear.h"

enum {
    PIECE = 192, /* tokens that are multiplied at once */
    STRIP = 64   /* rows of V that are multiplied at once */
};

typedef struct pair_meter {
    tlpi_bake *b;
    const tlpi_bake_site *site;
    size_t n, d;   /* n_ff, n_embd */
    double *h;     /* [n][n] sums over tokens */
    float *hidden; /* [n_ctx][n] of a window */
    float *turned; /* [n][PIECE] of some tokens, weighted */
} pair_meter;

/* ==== H ================================================================== */

static void turn(const pair_meter *m, const float *x, int at, int n_tok)
{
    for (int t = 0; t < n_tok; t++) {
        double size = tlpi_squares(x + (size_t)(at + t) * m->d, m->d);
        float w = (float)(1 / sqrt(size + 1e-30));
        const float *h = m->hidden + (size_t)(at + t) * m->n;

        for (size_t i = 0; i < m->n; i++)
            m->turned[i * (size_t)n_tok + (size_t)t] = w * h[i];
    }
}

/* u: the input of the feed-forward part. */
static void see_input(void *arg, int layer, tlpi_probe_at at,
                      const tlpi_window *w, const float *u)
{
    pair_meter *m = arg;
    tlpi_teacher *teacher = &m->b->teacher;
    tlpi_rank *r = teacher->serial.rank;
    const tlpi_rank_ffn *f = &r->program->stage[layer].ffn[0];
    const tlpi_gate_up item = { .gate = f->t.w[TLPI_FFN_GATE],
                                .up = f->t.w[TLPI_FFN_UP],
                                .x = u,
                                .y = m->hidden };
    int window = (int)(w - teacher->text->window);

    if (at != TLPI_PROBE_FFN_IN || window < teacher->text->n_held)
        return;
    r->b->ops->gate_up(r->b, w->n, &item, 1);
    for (int t = 0; t < w->n; t += PIECE) {
        int n_tok = TLPI_MIN(PIECE, w->n - t);
        const tlpi_dgemm g = { .m = (int)m->n,
                               .n = (int)m->n,
                               .k = n_tok,
                               .af = m->turned,
                               .bf = m->turned,
                               .lower = true,
                               .c = m->h };

        turn(m, tlpi_teacher_stream(teacher, window), t, n_tok);
        tlpi_dgemm_run(teacher->pool, &g);
    }
}

static tlp_status measure_h(pair_meter *m)
{
    tlpi_teacher *teacher = &m->b->teacher;
    const tlpi_teacher_hook hook = { .input = see_input, .arg = m };
    int n_layer = m->b->model->hp.n_layer, l = m->site->layer;
    tlp_status st;

    memset(m->h, 0, m->n * m->n * sizeof *m->h);
    m->b->tick_size = (double)(l - teacher->layer) / n_layer;
    TLP_TRY(tlpi_teacher_advance(teacher, l, NULL));
    m->b->tick_size = 1.0 / n_layer;
    TLP_TRY(tlpi_teacher_advance(teacher, l + 1, &hook));
    tlpi_mirror((int)m->n, m->h);
done:
    m->b->tick_size = 1;
    return st;
}

/* ==== V ================================================================== */

/* Append rows [r0, r1) of t, times the norm's weights, to `to` with n rows. */
static void add_rows(const tlpi_tensor *t, int r0, int r1, const float *norm,
                     float *to, int *n)
{
    size_t d = (size_t)t->ne[0];

    for (int r = r0; r < r1; r++) {
        float *x = to + (size_t)*n * d;

        tlpi_read_row(t, r, x, t->ne[0]);
        for (size_t j = 0; j < d; j++)
            x[j] *= norm[j];
        ++*n;
    }
}

/* W_t diag(g) of the stage behind the site; returns the number of rows. */
static int read_heads(const pair_meter *m, const tlpi_stage_shard *part,
                      int track, const float *norm, float *to)
{
    const tlp_plan *plan = m->b->plan;
    const tlpi_layer *l =
        &m->b->model->w.layer[plan->stage[m->site->stage + 1].layers[0]];
    int dim = m->b->model->hp.head_dim, n = 0;

    for (int i = 0; i < part->n_attn; i++) {
        const tlpi_attn_part *a = &part->attn[i];

        if (a->member != track)
            continue;
        add_rows(l->t[TLPI_ATTN_Q], a->q0 * dim, a->q1 * dim, norm, to, &n);
        add_rows(l->t[TLPI_ATTN_K], a->kv0 * dim, a->kv1 * dim, norm, to, &n);
        add_rows(l->t[TLPI_ATTN_V], a->kv0 * dim, a->kv1 * dim, norm, to, &n);
    }
    return n;
}

/* Buffers of one track: `seen` [n][rows] is what its heads see of each unit. */
typedef struct pair_view {
    float *norm;  /* [d] */
    float *down;  /* [n][d] columns of ffn_down */
    float *heads; /* [rows][d] */
    double *sum;  /* [n][max_rows], or [STRIP][n] */
    float *seen;  /* [n][rows] */
    int max_rows;
} pair_view;

static void read_columns(const pair_meter *m, pair_view *v)
{
    const tlpi_layer *layer = &m->b->model->w.layer[m->site->layer];
    const tlpi_tensor *down = layer->t[TLPI_FFN_DOWN];
    float *row = m->hidden;

    for (size_t j = 0; j < m->d; j++) {
        tlpi_read_row(down, (int64_t)j, row, down->ne[0]);
        for (size_t i = 0; i < m->n; i++)
            v->down[i * m->d + j] = row[i];
    }
}

static void see_units(const pair_meter *m, pair_view *v, int n_row)
{
    size_t n = m->n * (size_t)n_row;
    const tlpi_dgemm g = { .m = (int)m->n,
                           .n = n_row,
                           .k = (int)m->d,
                           .af = v->down,
                           .bf = v->heads,
                           .c = v->sum };

    memset(v->sum, 0, n * sizeof *v->sum);
    tlpi_dgemm_run(m->b->teacher.pool, &g);
    for (size_t i = 0; i < n; i++)
        v->seen[i] = (float)v->sum[i];
}

/* Add H V of a track over lots to q [n_lot][n_lot]. */
static void multiply(const pair_meter *m, pair_view *v, int n_row, int lot,
                     double *q)
{
    size_t n_lot = m->n / (size_t)lot, rows = (size_t)n_row;

    for (size_t i0 = 0; i0 < m->n; i0 += STRIP) {
        size_t n_i = TLPI_MIN((size_t)STRIP, m->n - i0);
        const tlpi_dgemm g = { .m = (int)n_i,
                               .n = (int)m->n,
                               .k = n_row,
                               .af = v->seen + i0 * rows,
                               .bf = v->seen,
                               .c = v->sum };

        memset(v->sum, 0, n_i * m->n * sizeof *v->sum);
        tlpi_dgemm_run(m->b->teacher.pool, &g);
        for (size_t i = i0; i < i0 + n_i; i++)
            for (size_t j = 0; j < m->n; j++)
                q[i / (size_t)lot * n_lot + j / (size_t)lot] +=
                    m->h[i * m->n + j] * v->sum[(i - i0) * m->n + j];
    }
}

static tlp_status alloc_view(const pair_meter *m, pair_view *v)
{
    const tlpi_hparams *hp = &m->b->model->hp;
    const tlpi_env *env = m->b->env;

    v->max_rows = (hp->n_head + 2 * hp->n_head_kv) * hp->head_dim;
    size_t rows = (size_t)v->max_rows, wide = TLPI_MAX(rows, (size_t)STRIP);
    v->norm = tlpi_alloc_array(env, m->d, sizeof *v->norm);
    v->down = tlpi_alloc_array(env, m->n * m->d, sizeof *v->down);
    v->heads = tlpi_alloc_array(env, rows * m->d, sizeof *v->heads);
    v->sum = tlpi_alloc_array(env, m->n * wide, sizeof *v->sum);
    v->seen = tlpi_alloc_array(env, m->n * rows, sizeof *v->seen);
    return v->norm && v->down && v->heads && v->sum && v->seen
               ? TLP_OK
               : tlpi_fail_nomem_for("the costs of hidden units");
}

static void free_view(const tlpi_env *env, pair_view *v)
{
    void *all[] = { v->norm, v->down, v->heads, v->sum, v->seen };

    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(env, all[i]);
}

/* Set q [n_track][n_lot][n_lot], which is zero. */
static tlp_status weigh(const pair_meter *m, const tlpi_shards *shards, int lot,
                        double *q)
{
    const tlp_plan *plan = m->b->plan;
    int next = m->site->stage + 1;
    const tlpi_layer *layer =
        &m->b->model->w.layer[plan->stage[next].layers[0]];
    size_t n_lot = m->n / (size_t)lot;
    pair_view v = { 0 };
    tlp_status st;

    m->b->tick_size = 0;
    TLP_TRY(alloc_view(m, &v));
    tlpi_read_row(layer->t[TLPI_ATTN_NORM], 0, v.norm, (int64_t)m->d);
    read_columns(m, &v);
    for (int t = 0; t < plan->n_track; t++) {
        int n =
            read_heads(m, tlpi_shard_at(shards, next, 0), t, v.norm, v.heads);

        see_units(m, &v, n);
        multiply(m, &v, n, lot, q + (size_t)t * n_lot * n_lot);
        TLP_TRY(tlpi_tick_call(&m->b->tick));
    }
done:
    m->b->tick_size = 1;
    free_view(m->b->env, &v);
    return st;
}

/* ==== all sites ========================================================== */

static tlp_status alloc_meter(pair_meter *m)
{
    const tlpi_env *env = m->b->env;
    size_t nn = 0;

    if (!tlpi_mul(m->n, m->n, &nn))
        return tlpi_fail_nomem_for("the costs of hidden units");
    m->h = tlpi_alloc_array(env, nn, sizeof *m->h);
    m->hidden = tlpi_alloc_array(env, m->n * (size_t)m->b->text.n_ctx,
                                 sizeof *m->hidden);
    m->turned = tlpi_alloc_array(env, m->n * PIECE, sizeof *m->turned);
    return m->h && m->hidden && m->turned
               ? TLP_OK
               : tlpi_fail_nomem_for("the costs of hidden units");
}

/* Deal out the units of the site, and keep the order if a unit moves. */
static tlp_status deal_out(const tlpi_bake *b, const tlpi_deal *deal,
                           tlpi_bake_order *out)
{
    size_t n = (size_t)deal->n;
    int32_t *unit = tlpi_alloc_array(b->env, n, sizeof *unit);
    tlp_status st;
    bool moves = false;

    if (!unit)
        return tlpi_fail_nomem_for("an order of hidden units");
    TLP_TRY(tlpi_deal_out(b->env, deal, unit));
    for (int i = 0; i < deal->n; i++)
        moves |= unit[i] != i;
    if (moves) {
        out->unit = unit;
        unit = NULL;
    }
done:
    tlpi_free(b->env, unit);
    return st;
}

static tlp_status order_site(pair_meter *m, tlpi_bake_site *s,
                             const tlpi_shards *shards)
{
    const tlpi_bake *b = m->b;
    tlpi_deal deal = { .n = (int)m->n,
                       .block = s->block,
                       .n_track = b->plan->n_track,
                       .track = s->track };
    int lot = tlpi_deal_lot(&deal);
    size_t n_lot = m->n / (size_t)lot;
    double *pair = NULL;
    tlp_status st = TLP_OK;

    if (s->half & TLP_NOSYNC_FFN) {
        m->site = s;
        pair = tlpi_calloc(b->env, (size_t)deal.n_track * n_lot,
                           n_lot * sizeof *pair);
        if (!pair)
            return tlpi_fail_nomem_for("the costs of hidden units");
        TLP_TRY(measure_h(m));
        TLP_TRY(weigh(m, shards, lot, pair));
    }
    for (int k = TLPI_ORDER_ATTN; k <= s->half; k++) {
        deal.cost = k & TLP_NOSYNC_ATTN ? s->cost : NULL;
        deal.pair = k & TLP_NOSYNC_FFN ? pair : NULL;
        if ((k & s->half) == k)
            TLP_TRY(deal_out(b, &deal, &s->order[k]));
    }
done:
    tlpi_free(b->env, pair);
    return st;
}

tlp_status tlpi_bake_order_sites(tlpi_bake *b)
{
    pair_meter m = { .b = b,
                     .n = (size_t)b->model->hp.n_ff,
                     .d = (size_t)b->model->hp.n_embd };
    tlpi_shards *shards = NULL;
    tlp_status st = TLP_OK;

    if (b->n_ffn_site > 0)
        TLP_TRY(alloc_meter(&m));
    TLP_TRY(tlpi_shards_create(&shards, b->plan, 1));
    for (int i = 0; i < b->n_site; i++)
        TLP_TRY(order_site(&m, &b->site[i], shards));
done:
    tlpi_shards_free(shards);
    tlpi_free(b->env, m.turned);
    tlpi_free(b->env, m.hidden);
    tlpi_free(b->env, m.h);
    return st;
}
