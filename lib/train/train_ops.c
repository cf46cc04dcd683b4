/*
 * train_ops.c - the small operations of a layer and their derivatives.
 *
 * A task is a block of rows, or of columns where the sum is over rows.
 */
#include "train/train_ops.h"

#include <string.h>

#include "backend/cpu.h"
#include "train/train_kernel.h"

#define ROWS 8      /* of a task */
#define COLS 64     /* of a task that sums over rows */
#define CHUNK 16384 /* numbers of a task */

static int n_block(size_t n, size_t size)
{
    return (int)((n + size - 1) / size);
}

tlp_status tlpi_train_ops_init(tlpi_train_ops *ops, tlpi_pool *pool, int isa)
{
    tlp_status st;

    TLP_TRY(tlpi_train_isa(isa, &isa));
    *ops =
        (tlpi_train_ops){ pool, tlpi_cpu_vec_get(isa), tlpi_train_vec_of(isa) };
done:
    return st;
}

/* ==== RMS norm =========================================================== */

typedef struct norm_sweep {
    const tlpi_train_ops *ops;
    const tlpi_train_norm *o;
    const float *gy;
    float *y, *gx, *gw;
    bool set;
} norm_sweep;

static float square(const norm_sweep *j, int t)
{
    const tlpi_train_norm *o = j->o;

    return j->ops->row->sum_sq(o->x + (size_t)t * o->ld, (size_t)o->d);
}

/* The numbers of the whole row. */
static float row_length(const tlpi_train_norm *o)
{
    return (float)(o->row ? o->row->n : o->d);
}

static float norm_scale(const norm_sweep *j, int t)
{
    const tlpi_train_norm *o = j->o;
    float sum = o->row ? o->row->square[t] : square(j, t);

    return tlpi_norm_scale(sum / row_length(o), o->eps);
}

static void norm_rows(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_norm *o = j->o;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        size_t at = (size_t)t * o->ld;

        j->ops->row->scale(j->y + at, o->x + at, o->w, norm_scale(j, t),
                           (size_t)o->d);
    }
}

void tlpi_train_norm_run(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                         float *y)
{
    norm_sweep j = { .ops = ops, .o = o, .y = y };

    tlpi_pool_map(ops->pool, n_block((size_t)o->n, ROWS), norm_rows, &j);
}

static float norm_dot(const norm_sweep *j, int t)
{
    const tlpi_train_norm *o = j->o;
    size_t at = (size_t)t * o->ld;

    return j->ops->vec->dot3(j->gy + at, o->w, o->x + at, (size_t)o->d);
}

/* (h . x) of the whole row */
static float row_dot(const norm_sweep *j, int t)
{
    const tlpi_train_row *row = j->o->row;

    if (!row)
        return norm_dot(j, t);
    return row->dot ? row->dot[t] : 0;
}

/* With s = 1 / rms and h = gy w: gx = s h - x s^3 (h . x) / d, d and h . x of
 * the whole row. */
static void norm_rows_back(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_vec *vec = j->ops->vec;
    const tlpi_train_norm *o = j->o;
    size_t d = (size_t)o->d;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        size_t at = (size_t)t * o->ld;
        float s = norm_scale(j, t);
        float pull = s * s * s * row_dot(j, t) / row_length(o);

        vec->norm_back(j->gx + at, j->gy + at, o->w, o->x + at, s, pull,
                       !j->set, d);
    }
}

static void norm_weight_back(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_norm *o = j->o;
    size_t c = (size_t)task * COLS, here = TLPI_MIN((size_t)o->d - c, COLS);

    (void)n;
    for (int t = 0; t < o->n; t++) {
        size_t at = (size_t)t * o->ld + c;

        j->ops->vec->add_product(j->gw + c, j->gy + at, o->x + at,
                                 norm_scale(j, t), here);
    }
}

void tlpi_train_norm_back(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                          const float *gy, float *gx, bool set, float *gw)
{
    norm_sweep j = {
        .ops = ops, .o = o, .gy = gy, .gx = gx, .gw = gw, .set = set
    };

    if (gw)
        tlpi_pool_map(ops->pool, n_block((size_t)o->d, COLS), norm_weight_back,
                      &j);
    tlpi_pool_map(ops->pool, n_block((size_t)o->n, ROWS), norm_rows_back, &j);
}

static void square_rows(void *arg, int task, int n)
{
    const norm_sweep *j = arg;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(j->o->n, (task + 1) * ROWS); t++)
        j->y[t] += square(j, t);
}

void tlpi_train_norm_square(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                            float *square)
{
    norm_sweep j = { .ops = ops, .o = o, .y = square };

    tlpi_pool_map(ops->pool, n_block((size_t)o->n, ROWS), square_rows, &j);
}

static void dot_rows(void *arg, int task, int n)
{
    const norm_sweep *j = arg;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(j->o->n, (task + 1) * ROWS); t++)
        j->y[t] += norm_dot(j, t);
}

void tlpi_train_norm_dot(const tlpi_train_ops *ops, const tlpi_train_norm *o,
                         const float *gy, float *dot)
{
    norm_sweep j = { .ops = ops, .o = o, .gy = gy, .y = dot };

    tlpi_pool_map(ops->pool, n_block((size_t)o->n, ROWS), dot_rows, &j);
}

/* ==== rotation =========================================================== */

typedef struct rope_sweep {
    const tlpi_train_ops *ops;
    const tlpi_train_rope *o;
    float *x;
} rope_sweep;

static void rope_rows(void *arg, int task, int n)
{
    const rope_sweep *j = arg;
    const tlpi_train_rope *o = j->o;
    size_t row = (size_t)o->n_head * (size_t)o->h;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        size_t angle = (size_t)t * (size_t)o->half;
        float *x = j->x + (size_t)t * row;

        for (int head = 0; head < o->n_head; head++, x += o->h)
            j->ops->row->rope(x, o->cos + angle, o->sin + angle, o->half,
                              o->neox);
        if (o->gain)
            j->ops->row->scale(x - row, x - row, NULL, o->gain[t], row);
    }
}

void tlpi_train_rope_run(const tlpi_train_ops *ops, const tlpi_train_rope *o,
                         float *x)
{
    rope_sweep j = { ops, o, x };

    tlpi_pool_map(ops->pool, n_block((size_t)o->n, ROWS), rope_rows, &j);
}

/* ==== numbers one by one ================================================= */

typedef struct flat_sweep {
    const tlpi_train_vec *vec;
    tlpi_gate fn;
    const float *x, *up;
    float *a, *b;
    float s;
    size_t n;
    int d;
} flat_sweep;

static size_t chunk_size(const flat_sweep *j, size_t at)
{
    return TLPI_MIN(j->n - at, CHUNK);
}

static void gate_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t at = (size_t)task * CHUNK;

    (void)n;
    j->vec->gate[j->fn](j->a + at, j->x + at, j->up + at, chunk_size(j, at));
}

void tlpi_train_gate(const tlpi_train_ops *ops, tlpi_gate fn, const float *gate,
                     const float *up, float *y, size_t n)
{
    flat_sweep j = {
        .vec = ops->vec, .fn = fn, .x = gate, .up = up, .a = y, .n = n
    };

    tlpi_pool_map(ops->pool, n_block(n, CHUNK), gate_chunk, &j);
}

static void gate_chunk_back(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t at = (size_t)task * CHUNK;

    (void)n;
    j->vec->gate_back[j->fn](j->a + at, j->up + at, j->b + at,
                             chunk_size(j, at));
}

void tlpi_train_gate_back(const tlpi_train_ops *ops, tlpi_gate fn, float *gate,
                          const float *up, float *gy, size_t n)
{
    flat_sweep j = {
        .vec = ops->vec, .fn = fn, .a = gate, .up = up, .b = gy, .n = n
    };

    tlpi_pool_map(ops->pool, n_block(n, CHUNK), gate_chunk_back, &j);
}

static void copy_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t at = (size_t)task * CHUNK;

    (void)n;
    memcpy(j->a + at, j->x + at, chunk_size(j, at) * sizeof(float));
}

void tlpi_train_copy(const tlpi_train_ops *ops, const float *x, float *y,
                     size_t n)
{
    flat_sweep j = { .x = x, .a = y, .n = n };

    tlpi_pool_map(ops->pool, n_block(n, CHUNK), copy_chunk, &j);
}

static void sum_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t at = (size_t)task * CHUNK;

    (void)n;
    j->vec->sum(j->a + at, j->x + at, j->up + at, j->s, chunk_size(j, at));
}

void tlpi_train_sum(const tlpi_train_ops *ops, const float *x, float s,
                    const float *z, float *y, size_t n)
{
    flat_sweep j = { .vec = ops->vec, .x = x, .up = z, .a = y, .s = s, .n = n };

    tlpi_pool_map(ops->pool, n_block(n, CHUNK), sum_chunk, &j);
}

static void add_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t at = (size_t)task * CHUNK;

    (void)n;
    j->vec->add(j->a + at, j->x + at, j->s, chunk_size(j, at));
}

void tlpi_train_add(const tlpi_train_ops *ops, float s, const float *x,
                    float *y, size_t n)
{
    flat_sweep j = { .vec = ops->vec, .x = x, .a = y, .s = s, .n = n };

    tlpi_pool_map(ops->pool, n_block(n, CHUNK), add_chunk, &j);
}

static void bias_rows(void *arg, int task, int n)
{
    const flat_sweep *j = arg;
    size_t d = (size_t)j->d;

    (void)n;
    for (size_t t = (size_t)task * ROWS;
         t < TLPI_MIN(j->n, ((size_t)task + 1) * ROWS); t++)
        j->vec->add(j->a + t * d, j->x, j->s, d);
}

void tlpi_train_add_bias(const tlpi_train_ops *ops, const float *b, float s,
                         float *y, int n, int d)
{
    flat_sweep j = {
        .vec = ops->vec, .x = b, .a = y, .s = s, .n = (size_t)n, .d = d
    };

    tlpi_pool_map(ops->pool, n_block((size_t)n, ROWS), bias_rows, &j);
}
