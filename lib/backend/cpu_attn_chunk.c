/*
 * cpu_attn_chunk.c - softmax-weighted sums of rows over a chunk of positions:
 * two matrix products with a softmax between them.
 */
#include <math.h>

#include "backend/cpu_attn_unit.h"

#define LOG2E 1.44269504f

typedef struct tlpi_attn_sums sums;
typedef struct tlpi_attn_work work;
typedef struct tlpi_attn_job attn_job;
typedef struct tlpi_attn_unit unit;
typedef struct tlpi_row_range row_range;

/* Common arguments of the two products: m rows over chunk c of the cache. */
typedef struct group {
    const unit *u;
    int m, c, n_pos, n_panel;
} group;

/* Scores s of queries q [m][h]: the product over columns [d, d + n). */
static void dot_keys(const attn_job *j, const group *g, const float *q, int d,
                     int n, float *s)
{
    const tlpi_kv *kv = g->u->a->kv;
    size_t h = (size_t)j->h, at = (size_t)d * TLPI_PANEL * kv->size;

    tlpi_panel_product p = { .m = g->m, .k = n, .n_panel = g->n_panel };
    p.a = q + d;
    p.lda = h;
    p.b = tlpi_kv_k(kv, g->u->seq, g->u->head, g->c * TLPI_ATTN_CHUNK) + at;
    p.ldk = TLPI_PANEL;
    p.ldp = TLPI_PANEL * h;
    p.c = s;
    p.ldc = TLPI_ATTN_CHUNK;
    j->c->vec->mul[kv->type](&p);
}

/* Columns [d, d + n) of x [m][hp]: the values summed with weights s. */
static void sum_values(const attn_job *j, const group *g, const float *s, int d,
                       int n, float *x)
{
    const tlpi_kv *kv = g->u->a->kv;
    size_t at = (size_t)d * kv->size;

    tlpi_panel_product p = { .m = g->m,
                             .k = g->n_pos,
                             .n_panel = n / TLPI_PANEL };
    p.a = s;
    p.lda = TLPI_ATTN_CHUNK;
    p.b = tlpi_kv_v(kv, g->u->seq, g->u->head, g->c * TLPI_ATTN_CHUNK) + at;
    p.ldk = kv->hp;
    p.ldp = TLPI_PANEL;
    p.c = x + d;
    p.ldc = kv->hp;
    j->c->vec->mul[kv->type](&p);
}

/* y = x times the scales of block b, row by row; `at` as in tlpi_kv_scales. */
static void times_scales(const attn_job *j, const group *g, size_t at, int b,
                         const float *x, float *y)
{
    const float *scale = tlpi_kv_scales(g->u->a->kv, at, g->u->seq, g->u->head,
                                        (size_t)b, g->c * TLPI_ATTN_CHUNK);
    size_t n = (size_t)g->n_panel * TLPI_PANEL;

    for (int r = 0; r < g->m; r++)
        j->c->vec->scale(y + r * TLPI_ATTN_CHUNK, x + r * TLPI_ATTN_CHUNK,
                         scale, 1.0f, n);
}

/* Scores and sums for a Q8_0 cache, block by block of columns: the scales of
 * keys multiply the scores, the scales of values multiply the weights. */
static void dot_keys_q8(const attn_job *j, const work *w, const group *g,
                        const float *q)
{
    const tlpi_kv *kv = g->u->a->kv;
    size_t n = (size_t)g->n_panel * TLPI_PANEL;

    for (int d = 0; d < j->h; d += TLPI_KV_BLOCK) {
        float *s = d ? w->t : w->s;
        dot_keys(j, g, q, d, TLPI_MIN(j->h - d, (int)TLPI_KV_BLOCK), s);
        times_scales(j, g, kv->k_scale, d / TLPI_KV_BLOCK, s, s);
        for (int r = 0; d && r < g->m; r++)
            j->c->vec->add(w->s + r * TLPI_ATTN_CHUNK,
                           w->s + r * TLPI_ATTN_CHUNK,
                           w->t + r * TLPI_ATTN_CHUNK, n);
    }
}

static void sum_values_q8(const attn_job *j, const work *w, const group *g,
                          float *x)
{
    const tlpi_kv *kv = g->u->a->kv;

    for (int d = 0; d < (int)kv->hp; d += TLPI_KV_BLOCK) {
        times_scales(j, g, kv->v_scale, d / TLPI_KV_BLOCK, w->s, w->t);
        sum_values(j, g, w->t, d, TLPI_MIN((int)kv->hp - d, (int)TLPI_KV_BLOCK),
                   x);
    }
}

/* The positions of a chunk that each row sees: [begin, end). */
typedef struct visible {
    int begin[TLPI_ATTN_ROWS], end[TLPI_ATTN_ROWS];
} visible;

/* Put a number in place of what rows do not see at the begin of the chunk. */
static void hide(float *s, const int *begin, int m, float x)
{
    for (int r = 0; r < m; r++)
        for (int k = 0; k < begin[r]; k++)
            s[r * TLPI_ATTN_CHUNK + k] = x;
}

/* Scores are logarithms in base 2, a cap is one in base e. */
static void cap_scores(const tlpi_cpu_vec *vec, float *s, const visible *see,
                       int i, int m, float cap)
{
    for (int r = 0; r < m; r++) {
        int begin = TLPI_MIN(see->begin[i + r], see->end[i + r]);

        vec->soft_cap(s + r * TLPI_ATTN_CHUNK + begin,
                      (size_t)(see->end[i + r] - begin), cap * LOG2E);
    }
}

/* Attention of the rows [i, i + m) of q to the positions of chunk c that they
 * see.  The last of these rows sees the most positions. */
static void sum_group(const attn_job *j, const work *w, const unit *u, int c,
                      const visible *see, int i, int m, sums out)
{
    const tlpi_kv *kv = u->a->kv;
    int n_pos = see->end[i + m - 1];
    int n_panel = (n_pos + TLPI_PANEL - 1) / TLPI_PANEL;
    group g = { u, m, c, n_pos, n_panel };
    const float *q = w->q + (size_t)i * (size_t)j->h;
    float *x = out.x + (size_t)i * kv->hp;

    if (kv->type == TLP_KV_Q8_0)
        dot_keys_q8(j, w, &g, q);
    else
        dot_keys(j, &g, q, 0, j->h, w->s);
    if (u->a->cap > 0)
        cap_scores(j->c->vec, w->s, see, i, m, u->a->cap);
    hide(w->s, see->begin + i, m, -INFINITY);
    j->c->vec->softmax(w->s, TLPI_ATTN_CHUNK, see->end + i, m,
                       n_panel * TLPI_PANEL, out.max + i, out.sum + i);
    hide(w->s, see->begin + i, m, 0);
    if (kv->type == TLP_KV_Q8_0)
        sum_values_q8(j, w, &g, x);
    else
        sum_values(j, &g, w->s, 0, (int)kv->hp, x);
}

row_range tlpi_attn_sum_chunk(const attn_job *j, const work *w, const unit *u,
                              int r0, int n, int c, sums out)
{
    visible see;
    row_range rows = { 0, n };

    for (int i = 0; i < n; i++) {
        int at = c * TLPI_ATTN_CHUNK;
        see.begin[i] = TLPI_MAX(tlpi_row_begin(u, r0 + i) - at, 0);
        see.end[i] =
            TLPI_MIN(tlpi_row_pos(u, r0 + i) + 1 - at, TLPI_ATTN_CHUNK);
        if (see.end[i] <= 0)
            rows.first = i + 1;
        if (see.begin[i] >= TLPI_ATTN_CHUNK && rows.end == n)
            rows.end = i;
    }
    for (int i = rows.first; i < rows.end; i += TLPI_ATTN_GROUP)
        sum_group(j, w, u, c, &see, i, TLPI_MIN(rows.end - i, TLPI_ATTN_GROUP),
                  out);
    return rows;
}
