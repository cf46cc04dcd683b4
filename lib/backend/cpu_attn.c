/*
 * cpu_attn.c - attention of a step: norm and rotate, cache, softmax(q k) v.
 *
 * A unit of work is one kv head for a few neighbouring tokens.  The query
 * heads of the kv head, for each token, are the rows of a small matrix.
 * Scores and weighted sums over a chunk of positions are two matrix products
 * with a softmax between them; the results of the chunks are merged from first
 * to last.
 *
 * Chunks start at multiples of TLPI_ATTN_CHUNK positions in every step, and
 * rows never mix.  A token's result therefore has the same bits alone or in a
 * prompt, on any number of threads, and any thread may compute any chunk.
 * Threads claim units, or single chunks where units are few and contexts long
 * (a decode step).
 */
#include "backend/cpu_attn_unit.h"

#include <math.h>
#include <string.h>

#include "backend/cpu_kv.h"

/* with fewer floats to prepare, a region costs more than it saves */
#define MIN_FLOATS 16384
/* with fewer multiply-adds, a parallel region costs more than it saves */
#define MIN_MACS 40000
#define UNITS_PER_THREAD 8   /* with fewer units, each is cut into chunks */
#define PREPARE_PER_THREAD 4 /* tasks of preparing */
#define LOG2E 1.4426950408889634

typedef struct tlpi_attn_scratch scratch;
typedef struct tlpi_attn_block block;
typedef struct tlpi_attn_sums sums;
typedef struct tlpi_attn_work work;

typedef struct tlpi_attn_job attn_job;
typedef struct tlpi_attn_unit unit;
typedef struct tlpi_row_range row_range;

/* ==== queries, keys and values =========================================== */

/* Normalise the n_head heads of token t: each on its own, or as a part of a row
 * whose squares are summed already. */
static void norm_heads(const attn_job *j, float *x, int n_head, const float *w,
                       const tlpi_row_square *row, int t)
{
    const tlpi_cpu_vec *vec = j->c->vec;
    size_t h = (size_t)j->h;
    if (row->sum) {
        float s = tlpi_norm_scale(row->sum[t] / (float)row->cols, j->eps);
        vec->scale(x, x, w, s, (size_t)n_head * h);
        return;
    }
    for (int i = 0; i < n_head; i++, x += h) {
        float mean = vec->sum_sq(x, h) / (float)h;
        vec->scale(x, x, w, tlpi_norm_scale(mean, j->eps), h);
    }
}

static void prepare_heads(const attn_job *j, float *x, int n_head,
                          const float *w, const tlpi_row_square *row, int t,
                          const tlpi_rope *r)
{
    const tlpi_cpu_vec *vec = j->c->vec;
    size_t h = (size_t)j->h;
    size_t at = r ? (size_t)j->step->pos[t] * (size_t)r->half : 0;
    if (w)
        norm_heads(j, x, n_head, w, row, t);
    for (int i = 0; i < n_head; i++, x += h) {
        if (r)
            vec->rope(x, r->cos + at, r->sin + at, r->half, r->neox);
    }
}

static void prepare(const attn_job *j, int t0, int t1)
{
    size_t h = (size_t)j->h;
    for (int i = 0; i < j->n_item; i++) {
        const tlpi_attn *a = &j->item[i];
        size_t n_q = (size_t)a->n_head * h, n_kv = (size_t)a->n_head_kv * h;
        for (int t = t0; t < t1; t++) {
            int pos = j->step->pos[t], seq = j->step->seq[t];
            float *q = a->q + (size_t)t * n_q, *k = a->k + (size_t)t * n_kv;
            const float *v = a->v + (size_t)t * n_kv;
            prepare_heads(j, q, a->n_head, a->q_norm, &a->q_row, t, a->rope);
            if (a->rope && a->rope->q_gain)
                j->c->vec->scale(q, q, NULL, a->rope->q_gain[pos], n_q);
            prepare_heads(j, k, a->n_head_kv, a->k_norm, &a->k_row, t, a->rope);
            for (int g = 0; g < a->n_head_kv; g++)
                tlpi_kv_store(a->kv, j->c, seq, g, pos, k + (size_t)g * h,
                              v + (size_t)g * h);
        }
    }
}

/* ==== a unit ============================================================= */

static unit unit_at(const attn_job *j, int i)
{
    const scratch *s = j->c->attn_scratch;
    /* Start from the last block, which in a prompt has the most positions. */
    const block *b = &s->blocks[j->n_block - 1 - i / j->n_head_kv];
    const tlpi_attn *a = j->item;
    int head = i % j->n_head_kv;
    for (; head >= a->n_head_kv; a++)
        head -= a->n_head_kv;

    unit u = { .a = a, .head = head, .tok = b->tok };
    u.n_rep = a->n_head / a->n_head_kv;
    u.n_row = b->n_tok * u.n_rep;
    u.seq = j->step->seq[b->tok];
    u.pos = j->step->pos[b->tok];
    return u;
}

/* Load queries of n rows from r0, times log2(e) and the item's scale: weights
 * are 2^score. */
static void load_q(const attn_job *j, const work *w, const unit *u, int r0,
                   int n)
{
    float scale = (float)(u->a->scale != 0 ? LOG2E * (double)u->a->scale
                                           : LOG2E / sqrt(j->h));
    size_t h = (size_t)j->h;
    for (int i = 0; i < n; i++)
        j->c->vec->scale(w->q + (size_t)i * h,
                         u->a->q + tlpi_row_at(j, u, r0 + i), NULL, scale, h);
}

/* The factor of sums with weights 2^(score - max), whose sum is `sum`.  A sink
 * adds its weight to the sum alone, and may be the largest score. */
static float share_of(const unit *u, int r, float max, float sum)
{
    const float *sink = u->a->sink;

    if (!sink)
        return 1.0f / sum;
    float s = (float)LOG2E * sink[u->head * u->n_rep + r % u->n_rep];
    if (s <= max)
        return 1.0f / (sum + exp2f(s - max));
    float part = exp2f(max - s);
    return part / (sum * part + 1.0f);
}

static void finish_row(const attn_job *j, const unit *u, int r, const float *x,
                       float max, float sum)
{
    j->c->vec->scale(u->a->y + tlpi_row_at(j, u, r), x, NULL,
                     share_of(u, r, max, sum), (size_t)j->h);
}

/* Rows [first, end) have seen nothing yet. */
static void begin_rows(const attn_job *j, sums all, int first, int end)
{
    for (int i = first; i < end; i++) {
        memset(all.x + (size_t)i * j->hp, 0, j->hp * sizeof(*all.x));
        all.max[i] = -INFINITY;
        all.sum[i] = 0;
    }
}

static void run_unit(const attn_job *j, const work *w, const unit *u)
{
    for (int r0 = 0; r0 < u->n_row; r0 += TLPI_ATTN_ROWS) {
        int n = TLPI_MIN(u->n_row - r0, TLPI_ATTN_ROWS);
        int first = tlpi_first_chunk(u, r0);
        int last = tlpi_row_pos(u, r0 + n - 1) / TLPI_ATTN_CHUNK;
        load_q(j, w, u, r0, n);
        row_range rows = tlpi_attn_sum_chunk(j, w, u, r0, n, first, w->all);
        begin_rows(j, w->all, rows.end, n);
        for (int c = first + 1; c <= last; c++) {
            rows = tlpi_attn_sum_chunk(j, w, u, r0, n, c, w->one);
            int i = rows.first;
            size_t at = (size_t)i * j->hp;
            j->c->vec->merge(w->all.x + at, w->all.max + i, w->all.sum + i,
                             w->one.x + at, w->one.max + i, w->one.sum + i,
                             rows.end - i, (int)j->hp);
        }
        for (int i = 0; i < n; i++)
            finish_row(j, u, r0 + i, w->all.x + (size_t)i * j->hp,
                       w->all.max[i], w->all.sum[i]);
    }
}

/* ==== a unit cut into chunks ============================================= */

/* Where the shared memory holds the sums of rows from r0 of unit i over chunk
 * c. */
static sums part_at(const attn_job *j, int i, int c, int r0)
{
    const scratch *s = j->c->attn_scratch;
    size_t n_row = (size_t)j->n_row, r = (size_t)r0;
    float *x = s->part + ((size_t)i * (size_t)j->n_chunk + (size_t)c) *
                             tlpi_attn_part_size(n_row, j->hp);
    float *max = x + n_row * j->hp;
    return (sums){ x + r * j->hp, max + r, max + n_row + r };
}

static void run_chunk(const attn_job *j, const work *w, int i, int c)
{
    unit u = unit_at(j, i);
    for (int r0 = 0; r0 < u.n_row; r0 += TLPI_ATTN_ROWS) {
        int n = TLPI_MIN(u.n_row - r0, TLPI_ATTN_ROWS);
        load_q(j, w, &u, r0, n);
        tlpi_attn_sum_chunk(j, w, &u, r0, n, c, part_at(j, i, c, r0));
    }
}

static void merge_row(const attn_job *j, int i, int r)
{
    unit u = unit_at(j, i);
    if (r >= u.n_row)
        return;
    int first = tlpi_first_chunk(&u, r),
        last = tlpi_row_pos(&u, r) / TLPI_ATTN_CHUNK;
    sums all = part_at(j, i, first, r);
    for (int c = first + 1; c <= last; c++) {
        sums one = part_at(j, i, c, r);
        j->c->vec->merge(all.x, all.max, all.sum, one.x, one.max, one.sum, 1,
                         (int)j->hp);
    }
    finish_row(j, &u, r, all.x, *all.max, *all.sum);
}

/* ==== a step ============================================================= */

static void prepare_some(void *arg, int i, int n)
{
    const attn_job *j = arg;
    int64_t n_tok = j->step->n_tok;

    prepare(j, (int)(n_tok * i / n), (int)(n_tok * (i + 1) / n));
}

static void run_units(void *arg, tlpi_turn *turn)
{
    const attn_job *j = arg;
    work w = tlpi_attn_work_of(j->c->attn_scratch, turn->slot, j->hp);

    do {
        unit u = unit_at(j, turn->task);
        run_unit(j, &w, &u);
    } while (tlpi_turn_next(turn));
}

static void run_chunks(void *arg, tlpi_turn *turn)
{
    const attn_job *j = arg;
    work w = tlpi_attn_work_of(j->c->attn_scratch, turn->slot, j->hp);

    do
        run_chunk(j, &w, turn->task / j->n_chunk, turn->task % j->n_chunk);
    while (tlpi_turn_next(turn));
}

static void merge_some(void *arg, int i, int n)
{
    const attn_job *j = arg;

    (void)n;
    merge_row(j, i / j->n_row, i % j->n_row);
}

static void run_parallel(attn_job *j)
{
    tlpi_pool *pool = j->c->pool;
    int n_unit = j->n_block * j->n_head_kv;

    if (!j->prepared)
        tlpi_pool_map(pool,
                      TLPI_MIN(j->step->n_tok,
                               PREPARE_PER_THREAD * tlpi_pool_in_use(pool)),
                      prepare_some, j);
    if (j->n_chunk) {
        tlpi_pool_run(pool, n_unit * j->n_chunk, run_chunks, j);
        tlpi_pool_map(pool, n_unit * j->n_row, merge_some, j);
    } else {
        tlpi_pool_run(pool, n_unit, run_units, j);
    }
}

/* Cut the step into blocks of at most max_tok tokens of one sequence. */
static int cut(block *blocks, const tlpi_step *s, int max_tok)
{
    int n = 0;
    for (int t = 0; t < s->n_tok; t++) {
        block *b = n > 0 ? &blocks[n - 1] : NULL;
        if (b && b->n_tok < max_tok && s->seq[t] == s->seq[t - 1] &&
            s->pos[t] == s->pos[t - 1] + 1)
            b->n_tok++;
        else
            blocks[n++] = (block){ t, 1 };
    }
    return n;
}

/* Choose how the threads share the work; returns whether a region is worth
 * it. */
static bool plan_job(attn_job *j)
{
    const scratch *s = j->c->attn_scratch;
    const tlpi_step *step = j->step;
    int n_head = 0, n_rep = 1;
    for (int i = 0; i < j->n_item; i++) {
        const tlpi_attn *a = &j->item[i];
        n_head += a->n_head;
        n_rep = TLPI_MAX(n_rep, a->n_head / a->n_head_kv);
        j->n_head_kv += a->n_head_kv;
    }
    j->n_block = cut(s->blocks, step, TLPI_MAX(1, TLPI_ATTN_ROWS / n_rep));

    size_t n_pos = 0;
    int last = 0, n_tok = 0;
    for (int t = 0; t < step->n_tok; t++) {
        n_pos += (size_t)step->pos[t] + 1;
        last = TLPI_MAX(last, step->pos[t]);
    }
    for (int i = 0; i < j->n_block; i++)
        n_tok = TLPI_MAX(n_tok, s->blocks[i].n_tok);

    size_t width = (size_t)n_head * (size_t)j->h;
    j->prepared = (size_t)step->n_tok * width < MIN_FLOATS;
    int n_thread = tlpi_pool_in_use(j->c->pool);
    if (n_thread == 1 || (j->prepared && 2 * n_pos * width < MIN_MACS))
        return false;

    int n_unit = j->n_block * j->n_head_kv,
        n_chunk = last / TLPI_ATTN_CHUNK + 1;
    j->n_row = n_tok * n_rep;
    if (n_chunk > 1 && n_unit < UNITS_PER_THREAD * n_thread &&
        (size_t)n_unit * (size_t)n_chunk *
                tlpi_attn_part_size((size_t)j->n_row, j->hp) <=
            s->part_cap)
        j->n_chunk = n_chunk;
    return true;
}

void tlpi_cpu_attention(tlpi_backend *b, const tlpi_step *s,
                        const tlpi_attn *item, int n, int head_dim, float eps)
{
    attn_job j = { .c = tlpi_cpu_of(b),
                   .step = s,
                   .item = item,
                   .n_item = n,
                   .h = head_dim,
                   .hp = tlpi_padded(head_dim),
                   .eps = eps };
    if (s->n_tok < 1 || n < 1)
        return;

    bool parallel = plan_job(&j);
    if (j.prepared || !parallel)
        prepare(&j, 0, s->n_tok);
    if (parallel) {
        run_parallel(&j);
    } else {
        tlpi_turn turn = { .n_alone = j.n_block * j.n_head_kv };
        run_units(&j, &turn);
    }
}
