/*
 * train_attn.c - attention for training, forward: blocks of query rows of one
 * head, each with the scores of all positions that it sees.
 *
 * Scores are in base 2, because the kernels of the backend's softmax are.
 */
#include "train/train_attn.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/cpu.h"
#include "train/train_attn_work.h"

#define LN2 0x1.62e43p-1f

enum { ROWS_AHEAD = 8 }; /* prefetched while rows are copied */

/* ==== steps that both passes make ======================================== */

tlpi_train_work tlpi_train_work_of(const tlpi_train_call *p, int slot)
{
    float *at = p->a->work + (size_t)slot * p->a->work_floats;
    size_t rows = TLPI_TRAIN_ROWS * p->hp, scores = TLPI_TRAIN_ROWS * p->tp;

    return (tlpi_train_work){ .q = at,
                              .q_scaled = at + rows,
                              .o = at + 2 * rows,
                              .d_o = at + 3 * rows,
                              .s = at + 4 * rows,
                              .ds = at + 4 * rows + scores,
                              .turned = at + 4 * rows + 2 * scores };
}

tlpi_train_block tlpi_train_block_of(const tlpi_train_call *p, int head, int t0)
{
    int n = TLPI_MIN(p->x->n_tok - t0, TLPI_TRAIN_ROWS);

    return (tlpi_train_block){ .head = head,
                               .kv = tlpi_train_kv_of(p->heads, head),
                               .t0 = t0,
                               .n = n,
                               .lo = tlpi_train_from(p->heads, t0) /
                                     TLPI_PANEL * TLPI_PANEL,
                               .hi = t0 + n };
}

void tlpi_train_take(const tlpi_train_call *p, const tlpi_train_block *b,
                     const tlpi_train_rows *x, float *dst)
{
    size_t h = (size_t)p->heads->head_dim;

    for (int i = 0; i < b->n; i++, dst += p->hp) {
        const float *from =
            x->x + (size_t)(b->t0 + i) * x->ld + (size_t)b->head * h;
        for (size_t j = 0; i + ROWS_AHEAD < b->n && j < h; j += 16)
            __builtin_prefetch(from + ROWS_AHEAD * x->ld + j);
        memcpy(dst, from, h * sizeof *dst);
        memset(dst + h, 0, (p->hp - h) * sizeof *dst);
    }
}

void tlpi_train_scores(const tlpi_train_call *p, const tlpi_train_block *b,
                       const float *q, const float *panel, float *s)
{
    size_t h = (size_t)p->heads->head_dim;

    for (int i = 0; i < b->n; i += TLPI_TRAIN_HALF) {
        int m = TLPI_MIN(b->n - i, TLPI_TRAIN_HALF);
        size_t seen = tlpi_padded(b->t0 + i + m - b->lo);
        tlpi_panel_product x = { .m = m,
                                 .k = p->heads->head_dim,
                                 .n_panel = (int)(seen / TLPI_PANEL),
                                 .a = q + (size_t)i * p->hp,
                                 .lda = p->hp,
                                 .b = panel + (size_t)b->lo * h,
                                 .ldk = TLPI_PANEL,
                                 .ldp = h * TLPI_PANEL,
                                 .c = s + (size_t)i * p->tp,
                                 .ldc = p->tp };
        p->a->vec->mul[TLP_KV_F32](&x);
    }
}

void tlpi_train_mix(const tlpi_train_call *p, const tlpi_train_block *b,
                    const float *s, const float *rows, float *y)
{
    for (int i = 0; i < b->n; i += TLPI_TRAIN_HALF) {
        int m = TLPI_MIN(b->n - i, TLPI_TRAIN_HALF);
        tlpi_panel_product x = { .m = m,
                                 .k = b->t0 + i + m - b->lo,
                                 .n_panel = (int)(p->hp / TLPI_PANEL),
                                 .a = s + (size_t)i * p->tp,
                                 .lda = p->tp,
                                 .b = rows + (size_t)b->lo * p->hp,
                                 .ldk = p->hp,
                                 .ldp = TLPI_PANEL,
                                 .c = y + (size_t)i * p->hp,
                                 .ldc = p->hp };
        p->a->vec->mul[TLP_KV_F32](&x);
    }
}

/* ==== keys and values ==================================================== */

/* Rows and panels of 16 positions from position t0 on. */
static void lay_out(const tlpi_train_call *p, const tlpi_train_rows *x, int kv,
                    int t0, float *rows, float *panel)
{
    size_t h = (size_t)p->heads->head_dim;
    int n = TLPI_MIN(p->x->n_tok - t0, TLPI_PANEL);
    tlpi_train_block b = { .head = kv, .t0 = t0, .n = n };

    rows += (size_t)t0 * p->hp;
    tlpi_train_take(p, &b, x, rows);
    memset(rows + (size_t)n * p->hp, 0,
           (size_t)(TLPI_PANEL - n) * p->hp * sizeof *rows);
    if (panel)
        p->a->kernel->pack_rows(rows, p->hp, TLPI_PANEL, (int)h, TLPI_PANEL,
                                TLPI_PANEL, panel + (size_t)t0 * h);
}

static void lay_out_kv(void *arg, int i, int n)
{
    const tlpi_train_call *p = arg;
    tlpi_train_attn *a = p->a;
    int n_panel = (int)(p->tp / TLPI_PANEL);
    int kv = i / n_panel, t0 = i % n_panel * TLPI_PANEL;
    size_t at = (size_t)kv * p->tp * p->hp;

    (void)n;
    lay_out(p, &p->x->k, kv, t0, a->k + at, a->k_panel + at);
    lay_out(p, &p->x->v, kv, t0, a->v + at, p->d ? a->v_panel + at : NULL);
}

tlpi_train_call tlpi_train_begin(tlpi_train_attn *a,
                                 const tlpi_train_heads *heads,
                                 const tlpi_train_qkv *x,
                                 const tlpi_train_dqkv *d)
{
    tlpi_train_call p = { .a = a, .heads = heads, .x = x, .d = d };

    assert(x->n_tok <= a->most.n_tok && heads->n_head <= a->most.n_head &&
           heads->n_head_kv <= a->most.n_head_kv &&
           heads->head_dim <= a->most.head_dim);
    assert(heads->n_head == 0 ||
           tlpi_train_kv_of(heads, heads->n_head - 1) < heads->n_head_kv);
    p.hp = tlpi_padded(heads->head_dim);
    p.tp = tlpi_padded(x->n_tok);
    tlpi_pool_map(a->pool, heads->n_head_kv * (int)(p.tp / TLPI_PANEL),
                  lay_out_kv, &p);
    return p;
}

/* ==== forward ============================================================ */

/* Positions before a row's window get no weight. */
static void hide(const tlpi_train_call *p, const tlpi_train_block *b, float *s,
                 float value)
{
    for (int i = 0; i < b->n; i++, s += p->tp)
        for (int j = b->lo; j < tlpi_train_from(p->heads, b->t0 + i); j++)
            s[j - b->lo] = value;
}

/* Scores are logarithms in base 2, a cap is one in base e. */
static void cap_scores(const tlpi_train_call *p, const tlpi_train_block *b,
                       float *s)
{
    for (int i = 0; i < b->n; i++, s += p->tp)
        p->a->vec->soft_cap(s, (size_t)(b->t0 + i + 1 - b->lo),
                            p->heads->cap / LN2);
}

static void forward_block(const tlpi_train_call *p, const tlpi_train_block *b,
                          const tlpi_train_work *w)
{
    const tlpi_train_heads *heads = p->heads;
    const tlpi_train_rows *o = &p->x->o;
    size_t h = (size_t)heads->head_dim, at = (size_t)b->kv * p->tp * p->hp;
    float max[TLPI_TRAIN_ROWS], sum[TLPI_TRAIN_ROWS];
    int limit[TLPI_TRAIN_ROWS];

    tlpi_train_take(p, b, &p->x->q, w->q);
    p->a->vec->scale(w->q, w->q, NULL, heads->scale / LN2,
                     (size_t)b->n * p->hp);
    tlpi_train_scores(p, b, w->q, p->a->k_panel + at, w->s);
    if (heads->cap > 0)
        cap_scores(p, b, w->s);
    hide(p, b, w->s, -INFINITY);
    for (int i = 0; i < b->n; i++)
        limit[i] = b->t0 + i + 1 - b->lo;
    p->a->vec->softmax(w->s, p->tp, limit, b->n,
                       (int)tlpi_padded(b->hi - b->lo), max, sum);
    hide(p, b, w->s, 0);
    tlpi_train_mix(p, b, w->s, p->a->v + at, w->o);
    for (int i = 0; i < b->n; i++) {
        size_t t = (size_t)(b->t0 + i), head = (size_t)b->head;
        p->a->vec->scale(o->x + t * o->ld + head * h, w->o + (size_t)i * p->hp,
                         NULL, 1 / sum[i], h);
        p->x->lse[head * (size_t)p->x->n_tok + t] =
            (max[i] + log2f(sum[i])) * LN2;
    }
}

static int blocks_of(const tlpi_train_call *p)
{
    return (p->x->n_tok + TLPI_TRAIN_ROWS - 1) / TLPI_TRAIN_ROWS;
}

static void forward(void *arg, tlpi_turn *t)
{
    const tlpi_train_call *p = arg;
    tlpi_train_work w = tlpi_train_work_of(p, t->slot);

    do {
        tlpi_train_block b =
            tlpi_train_block_of(p, t->task / blocks_of(p),
                                t->task % blocks_of(p) * TLPI_TRAIN_ROWS);
        forward_block(p, &b, &w);
    } while (tlpi_turn_next(t));
}

void tlpi_train_attn_forward(tlpi_train_attn *a, const tlpi_train_heads *heads,
                             const tlpi_train_qkv *x)
{
    tlpi_train_call p = tlpi_train_begin(a, heads, x, NULL);

    tlpi_pool_run(a->pool, heads->n_head * blocks_of(&p), forward, &p);
}

/* ==== lifetime =========================================================== */

size_t tlpi_train_parts(int n_head_kv)
{
    return n_head_kv < 1
               ? 1
               : (size_t)((TLPI_TRAIN_TASKS + n_head_kv - 1) / n_head_kv);
}

static tlp_status take_memory(tlpi_train_attn *a, size_t *total, float **p,
                              size_t n, size_t size)
{
    size_t n_float;

    if (!tlpi_mul(n, size, &n_float))
        n_float = SIZE_MAX;
    *p = tlpi_alloc_array(a->env, n_float, sizeof(float));
    if (!*p)
        return tlpi_fail_nomem_for("attention of %d tokens", a->most.n_tok);
    *total += n_float * sizeof(float);
    return TLP_OK;
}

tlp_status tlpi_train_attn_create(tlpi_train_attn **out, const tlpi_env *env,
                                  tlpi_pool *pool, int isa,
                                  const tlpi_train_attn_sizes *most)
{
    tlp_status st = TLP_OK;
    tlpi_train_attn *a = NULL;
    size_t tp = tlpi_padded(most->n_tok), hp = tlpi_padded(most->head_dim);
    size_t head = tp * hp, n_kv = (size_t)most->n_head_kv;

    *out = NULL;
    TLP_TRY(tlpi_train_isa(isa, &isa));
    a = tlpi_calloc(env, 1, sizeof *a);
    if (!a) {
        st = tlpi_fail_nomem_for("attention of %d tokens", most->n_tok);
        goto done;
    }
    a->env = env;
    a->pool = pool;
    a->most = *most;
    a->vec = tlpi_cpu_vec_get(isa);
    a->kernel = tlpi_gemm_kernel_of(isa);
    a->n_bytes = sizeof *a;
    a->work_floats = TLPI_TRAIN_ROWS * (4 * hp + 3 * tp);
    TLP_TRY(take_memory(a, &a->n_bytes, &a->k, n_kv, head));
    TLP_TRY(take_memory(a, &a->n_bytes, &a->v, n_kv, head));
    TLP_TRY(take_memory(a, &a->n_bytes, &a->k_panel, n_kv, head));
    TLP_TRY(take_memory(a, &a->n_bytes, &a->v_panel, n_kv, head));
    TLP_TRY(take_memory(a, &a->n_bytes, &a->work, (size_t)tlpi_pool_size(pool),
                        a->work_floats));
    size_t n_task = n_kv + TLPI_TRAIN_TASKS; /* or fewer, for any n_head_kv */
    TLP_TRY(take_memory(a, &a->n_bytes, &a->part, n_task, 2 * head));
    *out = a;
    a = NULL;
done:
    tlpi_train_attn_free(a);
    return st;
}

void tlpi_train_attn_free(tlpi_train_attn *a)
{
    if (!a)
        return;
    tlpi_free(a->env, a->k);
    tlpi_free(a->env, a->v);
    tlpi_free(a->env, a->k_panel);
    tlpi_free(a->env, a->v_panel);
    tlpi_free(a->env, a->work);
    tlpi_free(a->env, a->part);
    tlpi_free(a->env, a);
}

size_t tlpi_train_attn_bytes(const tlpi_train_attn *a)
{
    return a->n_bytes;
}
