/*
 * train_ops.c - the small operations of a layer and their derivatives.
 *
 * A task is a block of rows, or of columns where the sum is over rows.
 */
#include "train/train_ops.h"

#include <math.h>
#include <string.h>

#define ROWS 8      /* of a task */
#define COLS 64     /* of a task that sums over rows */
#define CHUNK 16384 /* numbers of a task */

static int n_block(size_t n, size_t size)
{
    return (int)((n + size - 1) / size);
}

/* ==== RMS norm =========================================================== */

typedef struct norm_sweep {
    const tlpi_train_norm *o;
    const float *gy;
    float *y, *gx, *gw, *scale;
    bool set;
} norm_sweep;

static float norm_scale(const tlpi_train_norm *o, int t)
{
    const float *x = o->x + (size_t)t * o->ld;
    float lane[8] = { 0 }, sum = 0;
    int i = 0;

    for (; i + 8 <= o->d; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += x[i + k] * x[i + k];
    for (; i < o->d; i++)
        sum += x[i] * x[i];
    for (int k = 0; k < 8; k++)
        sum += lane[k];
    return 1.0f / sqrtf(sum / (float)o->d + o->eps);
}

static void norm_rows(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_norm *o = j->o;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        const float *x = o->x + (size_t)t * o->ld;
        float *y = j->y + (size_t)t * o->ld;
        float s = norm_scale(o, t);

        for (int i = 0; i < o->d; i++)
            y[i] = x[i] * s * o->w[i];
    }
}

void tlpi_train_norm_run(tlpi_pool *pool, const tlpi_train_norm *o, float *y)
{
    norm_sweep j = { .o = o, .y = y };

    tlpi_pool_map(pool, n_block((size_t)o->n, ROWS), norm_rows, &j);
}

/* With s = 1 / rms and h = gy w: gx = s h - x s^3 (h . x) / d. */
static void norm_rows_back(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_norm *o = j->o;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        const float *restrict x = o->x + (size_t)t * o->ld;
        const float *gy = j->gy + (size_t)t * o->ld;
        float *gx = j->gx + (size_t)t * o->ld;
        float s = norm_scale(o, t), lane[8] = { 0 }, dot = 0;
        int i = 0;

        for (; i + 8 <= o->d; i += 8)
            for (int k = 0; k < 8; k++)
                lane[k] += gy[i + k] * o->w[i + k] * x[i + k];
        for (; i < o->d; i++)
            dot += gy[i] * o->w[i] * x[i];
        for (int k = 0; k < 8; k++)
            dot += lane[k];
        float pull = s * s * s * dot / (float)o->d;

        if (j->set)
            for (i = 0; i < o->d; i++)
                gx[i] = s * gy[i] * o->w[i] - pull * x[i];
        else
            for (i = 0; i < o->d; i++)
                gx[i] += s * gy[i] * o->w[i] - pull * x[i];
    }
}

static void norm_weight_back(void *arg, int task, int n)
{
    const norm_sweep *j = arg;
    const tlpi_train_norm *o = j->o;
    int c0 = task * COLS, c1 = TLPI_MIN(o->d, c0 + COLS);

    (void)n;
    for (int t = 0; t < o->n; t++) {
        const float *x = o->x + (size_t)t * o->ld;
        const float *gy = j->gy + (size_t)t * o->ld;
        float s = norm_scale(o, t);

        for (int i = c0; i < c1; i++)
            j->gw[i] += gy[i] * x[i] * s;
    }
}

void tlpi_train_norm_back(tlpi_pool *pool, const tlpi_train_norm *o,
                          const float *gy, float *gx, bool set, float *gw)
{
    norm_sweep j = { .o = o, .gy = gy, .gx = gx, .gw = gw, .set = set };

    if (gw)
        tlpi_pool_map(pool, n_block((size_t)o->d, COLS), norm_weight_back, &j);
    tlpi_pool_map(pool, n_block((size_t)o->n, ROWS), norm_rows_back, &j);
}

/* ==== rotation =========================================================== */

typedef struct rope_sweep {
    const tlpi_train_rope *o;
    float *x;
    float sign;
} rope_sweep;

static void rope_rows(void *arg, int task, int n)
{
    const rope_sweep *j = arg;
    const tlpi_train_rope *o = j->o;
    size_t row = (size_t)o->n_head * (size_t)o->h;

    (void)n;
    for (int t = task * ROWS; t < TLPI_MIN(o->n, (task + 1) * ROWS); t++) {
        const float *c = o->cos + (size_t)t * (size_t)o->half;
        const float *s = o->sin + (size_t)t * (size_t)o->half;

        for (int head = 0; head < o->n_head; head++) {
            float *x = j->x + (size_t)t * row + (size_t)head * (size_t)o->h;

            for (int i = 0; i < o->half; i++) {
                float *a = o->neox ? x + i : x + 2 * i;
                float *b = o->neox ? a + o->half : a + 1;
                float sin = j->sign * s[i], turned = *a * c[i] - *b * sin;

                *b = *a * sin + *b * c[i];
                *a = turned;
            }
        }
    }
}

void tlpi_train_rope_run(tlpi_pool *pool, const tlpi_train_rope *o, float *x,
                         bool back)
{
    rope_sweep j = { o, x, back ? -1.0f : 1.0f };

    tlpi_pool_map(pool, n_block((size_t)o->n, ROWS), rope_rows, &j);
}

/* ==== numbers one by one ================================================= */

typedef struct flat_sweep {
    const float *x;
    float *a, *b;
    const float *up;
    float s;
    size_t n;
    int d;
} flat_sweep;

static size_t chunk_end(const flat_sweep *j, int task)
{
    return TLPI_MIN(j->n, ((size_t)task + 1) * CHUNK);
}

static void gate_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;

    (void)n;
    for (size_t i = (size_t)task * CHUNK; i < chunk_end(j, task); i++)
        j->a[i] = j->x[i] / (1 + expf(-j->x[i])) * j->up[i];
}

void tlpi_train_gate(tlpi_pool *pool, const float *gate, const float *up,
                     float *y, size_t n)
{
    flat_sweep j = { .x = gate, .up = up, .a = y, .n = n };

    tlpi_pool_map(pool, n_block(n, CHUNK), gate_chunk, &j);
}

/* silu' = p + g p (1 - p), p = 1 / (1 + e^-g) */
static void gate_chunk_back(void *arg, int task, int n)
{
    const flat_sweep *j = arg;

    (void)n;
    for (size_t i = (size_t)task * CHUNK; i < chunk_end(j, task); i++) {
        float g = j->a[i], gy = j->b[i];
        float p = 1 / (1 + expf(-g));

        j->a[i] = gy * j->up[i] * (p + g * p * (1 - p));
        j->b[i] = gy * g * p;
    }
}

void tlpi_train_gate_back(tlpi_pool *pool, float *gate, const float *up,
                          float *gy, size_t n)
{
    flat_sweep j = { .a = gate, .up = up, .b = gy, .n = n };

    tlpi_pool_map(pool, n_block(n, CHUNK), gate_chunk_back, &j);
}

static void add_chunk(void *arg, int task, int n)
{
    const flat_sweep *j = arg;

    (void)n;
    for (size_t i = (size_t)task * CHUNK; i < chunk_end(j, task); i++)
        j->a[i] += j->s * j->x[i];
}

void tlpi_train_add(tlpi_pool *pool, float s, const float *x, float *y,
                    size_t n)
{
    flat_sweep j = { .x = x, .a = y, .s = s, .n = n };

    tlpi_pool_map(pool, n_block(n, CHUNK), add_chunk, &j);
}

double tlpi_train_dot(const float *x, const float *y, size_t n)
{
    double lane[8] = { 0 }, sum = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            lane[k] += (double)x[i + k] * (double)y[i + k];
    for (; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    for (size_t k = 0; k < 8; k++)
        sum += lane[k];
    return sum;
}

static void bias_rows(void *arg, int task, int n)
{
    const flat_sweep *j = arg;

    (void)n;
    for (size_t t = (size_t)task * ROWS;
         t < TLPI_MIN(j->n, ((size_t)task + 1) * ROWS); t++)
        for (int i = 0; i < j->d; i++)
            j->a[t * (size_t)j->d + (size_t)i] += j->s * j->x[i];
}

void tlpi_train_add_bias(tlpi_pool *pool, const float *b, float s, float *y,
                         int n, int d)
{
    flat_sweep j = { .x = b, .a = y, .s = s, .n = (size_t)n, .d = d };

    tlpi_pool_map(pool, n_block((size_t)n, ROWS), bias_rows, &j);
}
