/*
 * train_attn_grad.c - attention for training, backward.
 *
 *   D_t = dO_t O_t
 *   dP = dO V',  dS = scale P (dP - D), with a cap c times 1 - (S / c)^2
 *   dQ = dS K,  dK = dS' Q,  dV = P' dO
 *
 * A task has some rows of all query heads of one kv head.  It writes their dQ,
 * and adds to a dK and a dV of its own, which are summed over the tasks of the
 * kv head afterwards, in order.  The rows are cut so that tasks see about
 * equally many positions.
 */
#include <string.h>

#include "train/train_attn_work.h"
#include "train/train_ops.h"

#define LOG2_E 0x1.715476p+0f

/* Rows [0, t) see about that many pairs. */
static double pairs_before(const tlpi_train_heads *h, int t)
{
    double n = t, w = h->window > 0 && h->window < t ? h->window : t;

    return w * (w + 1) / 2 + (n - w) * w;
}

/* The first row of part i: whole blocks. */
static int first_row(const tlpi_train_call *p, int i)
{
    int n = p->x->n_tok, t = 0;
    double all = pairs_before(p->heads, n);

    if (i == p->n_part)
        return n;
    while (t < n && pairs_before(p->heads, t) * p->n_part < all * i)
        t += TLPI_TRAIN_ROWS;
    return TLPI_MIN(t, n);
}

static void cut_rows(tlpi_train_call *p)
{
    p->n_part = (int)tlpi_train_parts(p->heads->n_head_kv);
    for (int i = 0; i < p->n_part; i++) {
        tlpi_train_share *s = &p->part[i];
        s->t0 = first_row(p, i);
        s->t1 = first_row(p, i + 1);
        s->lo = tlpi_train_from(p->heads, s->t0) / TLPI_PANEL * TLPI_PANEL;
    }
}

/* ==== a block ============================================================ */

/* y [positions][hp] += s' x for the block's rows. */
static void add_turned(const tlpi_train_call *p, const tlpi_train_block *b,
                       const tlpi_train_work *w, const float *s, const float *x,
                       float *y)
{
    int n_seen = b->hi - b->lo;
    tlpi_panel_product product = { .m = n_seen,
                                   .k = b->n,
                                   .n_panel = (int)(p->hp / TLPI_PANEL),
                                   .a = w->turned,
                                   .lda = TLPI_TRAIN_ROWS,
                                   .b = x,
                                   .ldk = p->hp,
                                   .ldp = TLPI_PANEL,
                                   .c = y + (size_t)b->lo * p->hp,
                                   .ldc = p->hp,
                                   .add = true };

    for (int i = 0; i < b->n; i += TLPI_PANEL)
        p->a->kernel->pack_rows(s + (size_t)i * p->tp, p->tp,
                                TLPI_MIN(b->n - i, TLPI_PANEL), n_seen,
                                TLPI_PANEL, TLPI_TRAIN_ROWS, w->turned + i);
    p->a->vec->mul[TLP_KV_F32](&product);
}

/* dO_t O_t */
static float output_product(const float *d_o, const float *o, size_t n)
{
    float sum[4] = { 0 };

    for (size_t j = 0; j < n; j++)
        sum[j % 4] += d_o[j] * o[j];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Cap n scores s, which are logarithms in base 2, and write the slopes of the
 * cap there. */
static void cap_row(const tlpi_train_call *p, float *s, float *slope, int n)
{
    const float cap = p->heads->cap * LOG2_E;

    p->a->vec->soft_cap(s, (size_t)n, cap);
    tlpi_train_cap_slopes(s, cap, slope, (size_t)n);
}

/* P in place of the scores, and dS in place of dP. */
static void weights_of(const tlpi_train_call *p, const tlpi_train_block *b,
                       const tlpi_train_work *w)
{
    const float *lse = p->x->lse + (size_t)b->head * (size_t)p->x->n_tok;
    int n = (int)tlpi_padded(b->hi - b->lo);

    for (int i = 0; i < b->n; i++) {
        int t = b->t0 + i;
        size_t at = (size_t)i * p->hp, row = (size_t)i * p->tp;
        int n_seen = t + 1 - b->lo;
        float *slope = w->turned; /* free until scores are turned */

        if (p->heads->cap > 0)
            cap_row(p, w->s + row, slope, n_seen);
        p->a->vec->softmax_grad(
            w->s + row, w->ds + row, tlpi_train_from(p->heads, t) - b->lo,
            n_seen, n, lse[t] * LOG2_E,
            output_product(w->d_o + at, w->o + at, p->hp), p->heads->scale);
        for (int j = 0; p->heads->cap > 0 && j < n_seen; j++)
            w->ds[row + (size_t)j] *= slope[j];
    }
}

static void backward_block(const tlpi_train_call *p, const tlpi_train_block *b,
                           const tlpi_train_work *w, float *dk, float *dv)
{
    const tlpi_train_attn *a = p->a;
    const tlpi_train_rows *dq = &p->d->q;
    size_t h = (size_t)p->heads->head_dim, at = (size_t)b->kv * p->tp * p->hp;
    float *dq_block = w->o; /* when O has been read */

    tlpi_train_take(p, b, &p->x->q, w->q);
    tlpi_train_take(p, b, &p->x->o, w->o);
    tlpi_train_take(p, b, &p->d->o, w->d_o);
    a->vec->scale(w->q_scaled, w->q, NULL, p->heads->scale * LOG2_E,
                  (size_t)b->n * p->hp);
    tlpi_train_scores(p, b, w->q_scaled, a->k_panel + at, w->s);
    tlpi_train_scores(p, b, w->d_o, a->v_panel + at, w->ds);
    weights_of(p, b, w);
    tlpi_train_mix(p, b, w->ds, a->k + at, dq_block);
    for (int i = 0; i < b->n; i++)
        memcpy(dq->x + (size_t)(b->t0 + i) * dq->ld + (size_t)b->head * h,
               dq_block + (size_t)i * p->hp, h * sizeof(float));
    add_turned(p, b, w, w->s, w->d_o, dv);
    add_turned(p, b, w, w->ds, w->q, dk);
}

/* ==== tasks ============================================================== */

static float *part_of(const tlpi_train_call *p, int task, int which)
{
    return p->a->part + ((size_t)task * 2 + (size_t)which) * p->tp * p->hp;
}

static void clear_rows(const tlpi_train_call *p, const tlpi_train_share *r,
                       float *x)
{
    memset(x + (size_t)r->lo * p->hp, 0,
           (size_t)(r->t1 - r->lo) * p->hp * sizeof *x);
}

static void backward(void *arg, tlpi_turn *t)
{
    const tlpi_train_call *p = arg;
    tlpi_train_work w = tlpi_train_work_of(p, t->slot);

    do {
        tlpi_train_share r = p->part[t->task % p->n_part];
        float *dk = part_of(p, t->task, 0), *dv = part_of(p, t->task, 1);
        int kv = t->task / p->n_part;
        if (r.t0 == r.t1)
            continue;
        clear_rows(p, &r, dk);
        clear_rows(p, &r, dv);
        for (int i = 0; i < p->heads->n_head; i++)
            for (int t0 = r.t0; t0 < r.t1; t0 += TLPI_TRAIN_ROWS) {
                tlpi_train_block b = tlpi_train_block_of(p, i, t0);
                if (b.kv == kv)
                    backward_block(p, &b, &w, dk, dv);
            }
    } while (tlpi_turn_next(t));
}

/* One row of one kv head of dK (which 0) or dV from the tasks that see it. */
static void sum_row(const tlpi_train_call *p, int kv, int t, int which)
{
    size_t h = (size_t)p->heads->head_dim;
    const tlpi_train_rows *to = which ? &p->d->v : &p->d->k;
    float *y = to->x + (size_t)t * to->ld + (size_t)kv * h;
    bool first = true;

    for (int i = 0; i < p->n_part; i++) {
        tlpi_train_share r = p->part[i];
        if (r.t0 == r.t1 || t < r.lo || t >= r.t1)
            continue;
        const float *x =
            part_of(p, kv * p->n_part + i, which) + (size_t)t * p->hp;
        if (first)
            memcpy(y, x, h * sizeof *y);
        else
            p->a->vec->add(y, y, x, h);
        first = false;
    }
}

static void sum_rows(void *arg, int i, int n)
{
    const tlpi_train_call *p = arg;
    int kv = i / (n / p->heads->n_head_kv), end = p->x->n_tok;
    int t0 = i % (n / p->heads->n_head_kv) * TLPI_TRAIN_ROWS;

    for (int t = t0; t < end && t < t0 + TLPI_TRAIN_ROWS; t++) {
        sum_row(p, kv, t, 0);
        sum_row(p, kv, t, 1);
    }
}

void tlpi_train_attn_backward(tlpi_train_attn *a, const tlpi_train_heads *heads,
                              const tlpi_train_qkv *x, const tlpi_train_dqkv *d)
{
    int n_kv = heads->n_head_kv;
    int n_block = (x->n_tok + TLPI_TRAIN_ROWS - 1) / TLPI_TRAIN_ROWS;

    if (n_kv < 1 || x->n_tok < 1)
        return;
    tlpi_train_call p = tlpi_train_begin(a, heads, x, d);
    cut_rows(&p);
    tlpi_pool_run(a->pool, n_kv * p.n_part, backward, &p);
    tlpi_pool_map(a->pool, n_kv * n_block, sum_rows, &p);
}
