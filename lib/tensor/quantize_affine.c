/*
 * quantize_affine.c - floats to blocks whose sub-blocks have a step and a
 * minimum, by search: Q2_K, Q4_K and Q5_K, and Q4_1 and Q5_1 where columns have
 * importances; quant.c has the layouts.
 *
 * The step and the minimum of a sub-block decide its codes; for given codes,
 * one step and minimum have the least squared error.  The search tries several
 * steps around the plain step that covers the range, replaces each by the best
 * step for its codes, and keeps the step with the least error.  K types store a
 * step as a small multiple of the block's scale, so neighbouring multiples are
 * tried too.
 */
#include "tensor/block.h"
#include "tensor/kquant.h"

#define SUPER 256   /* elements of a block of a K type */
#define MOST_SUB 32 /* elements with one step and one minimum */
#define MOST_RUN 16 /* sub-blocks of a block */

/* Steps to try: the range divided by top - 1 ... top + 0.8 intervals.  Twice
 * as many steps lower errors by 0.1%. */
#define N_TRY 10
#define TRY_FROM (-1.0f)
#define TRY_BY 0.2f

/* What differs between types. */
typedef struct affine_type {
    int n;    /* elements of a sub-block: 16 or 32 */
    int top;  /* codes reach from 0 to it */
    int most; /* multiples of the block's scales reach from 0 to it; 0: the
                 block is one sub-block, and its minimum has any sign */
} affine_type;

static const affine_type q2_k = { 16, 3, 15 };
static const affine_type q4_k = { 32, 15, 63 };
static const affine_type q5_k = { 32, 31, 63 };
static const affine_type q4_1 = { 32, 15, 0 };
static const affine_type q5_1 = { 32, 31, 0 };

/* x = step q - low, q in [0, top] */
typedef struct affine {
    float step, low;
} affine;

typedef struct sub_block {
    const float *x;
    int n;
    float w[MOST_SUB]; /* weights of squared errors */
    float sum_w, sum_wx;
    float top;
    bool any_low; /* low may be negative */
} sub_block;

static void weigh(sub_block *s, const affine_type *type, const float *x,
                  const float *importance)
{
    s->x = x;
    s->n = type->n;
    s->top = (float)type->top;
    s->any_low = type->most == 0;
    tlpi_weigh(x, importance, s->n, s->w);
    s->sum_w = 0;
    for (int i = 0; i < s->n; i++)
        s->sum_w += s->w[i];
    s->sum_wx = tlpi_sum2(s->w, x, s->n);
}

/* The nearest codes for a. */
static void encode(const sub_block *s, affine a, float *restrict q)
{
    float inv = tlpi_inverse(a.step);
    const float *x = s->x;

    TLPI_EACH_LANE (i, s->n)
        q[i] = tlpi_nearest((x[i] + a.low) * inv, 0, s->top);
}

static float error_of(const sub_block *s, affine a, const float *q)
{
    const float *x = s->x;
    float e[MOST_SUB];

    TLPI_EACH_LANE (i, s->n)
        e[i] = x[i] - (a.step * q[i] - a.low);
    return tlpi_sum3(s->w, e, e, s->n);
}

/* The least-squares step and minimum for these codes; false if singular. */
static bool solve(const sub_block *s, const float *q, affine *out)
{
    double w = (double)s->sum_w, wx = (double)s->sum_wx;
    double wq = (double)tlpi_sum2(s->w, q, s->n);
    double wqq = (double)tlpi_sum3(s->w, q, q, s->n);
    double wqx = (double)tlpi_sum3(s->w, q, s->x, s->n);
    double det = w * wqq - wq * wq;

    if (!(det > 0))
        return false;
    double step = (w * wqx - wq * wx) / det;
    double low = (step * wq - wx) / w;
    if (low < 0 && !s->any_low) {
        low = 0;
        step = wqx / wqq;
    }
    *out = (affine){ (float)step, (float)low };
    return step > 0;
}

/* Take the codes of `tried`, solve for their best step, and keep it if
 * better. */
static void improve(const sub_block *s, affine tried, affine *best,
                    float *least)
{
    float q[MOST_SUB];

    encode(s, tried, q);
    if (!solve(s, q, &tried))
        return;
    float error = error_of(s, tried, q);
    if (error < *least) {
        *least = error;
        *best = tried;
    }
}

static affine fit(const sub_block *s)
{
    float min, max, q[MOST_SUB];

    tlpi_range(s->x, s->n, &min, &max);
    if (!s->any_low)
        min = fminf(min, 0);
    float width = fmaxf(max, min) - min;
    affine best = { width / s->top, -min };
    encode(s, best, q);
    float least = error_of(s, best, q);

    for (int k = 0; k < N_TRY; k++) {
        float intervals = s->top + TRY_FROM + TRY_BY * (float)k;
        improve(s, (affine){ width / intervals, -min }, &best, &least);
    }
    improve(s, best, &best, &least);
    return best;
}

static void put_codes(const sub_block *s, affine a, uint8_t *q)
{
    float code[MOST_SUB];

    encode(s, a, code);
    for (int i = 0; i < s->n; i++)
        q[i] = (uint8_t)tlpi_round_in(code[i], 0, (int)s->top);
}

/* ==== K types ============================================================ */

/* A block: its scales, and the multiples of them that its sub-blocks have. */
typedef struct affine_block {
    affine unit;
    uint8_t s[MOST_RUN], m[MOST_RUN];
} affine_block;

static affine at_multiples(affine unit, int s, int m)
{
    return (affine){ unit.step * (float)s, unit.low * (float)m };
}

/* Step and minimum as multiples of the block's scales: the best multiples
 * around the nearest. */
static void choose(const sub_block *sub, affine want, affine unit, int most,
                   uint8_t *s, uint8_t *m)
{
    int s0 = tlpi_round_in(want.step * tlpi_inverse(unit.step), 0, most);
    int m0 = tlpi_round_in(want.low * tlpi_inverse(unit.low), 0, most);
    float least = INFINITY, q[MOST_SUB];

    *s = (uint8_t)s0;
    *m = (uint8_t)m0;
    for (int i = TLPI_MAX(s0 - 1, 0); i <= TLPI_MIN(s0 + 1, most); i++) {
        for (int j = TLPI_MAX(m0 - 1, 0); j <= TLPI_MIN(m0 + 1, most); j++) {
            affine a = at_multiples(unit, i, j);
            encode(sub, a, q);
            float error = error_of(sub, a, q);
            if (error < least) {
                least = error;
                *s = (uint8_t)i;
                *m = (uint8_t)j;
            }
        }
    }
}

/* Write the codes of the 256 elements to q. */
static void quantize(const affine_type *type, const float *x,
                     const float *importance, affine_block *b, uint8_t *q)
{
    int n_run = SUPER / type->n;
    sub_block sub[MOST_RUN];
    affine want[MOST_RUN], unit = { 0, 0 };

    for (int j = 0; j < n_run; j++) {
        int at = type->n * j;
        weigh(&sub[j], type, x + at, importance ? importance + at : NULL);
        want[j] = fit(&sub[j]);
        unit.step = fmaxf(unit.step, want[j].step);
        unit.low = fmaxf(unit.low, want[j].low);
    }
    b->unit.step = tlpi_as_f16(unit.step / (float)type->most);
    b->unit.low = tlpi_as_f16(unit.low / (float)type->most);
    for (int j = 0; j < n_run; j++) {
        choose(&sub[j], want[j], b->unit, type->most, &b->s[j], &b->m[j]);
        put_codes(&sub[j], at_multiples(b->unit, b->s[j], b->m[j]),
                  q + type->n * j);
    }
}

static void put_unit(affine unit, uint8_t *at)
{
    tlpi_store_f16(at, unit.step);
    tlpi_store_f16(at + 2, unit.low);
}

void tlpi_quantize_q2_k(const float *x, const float *importance, uint8_t *b)
{
    affine_block a;
    uint8_t q[SUPER];

    quantize(&q2_k, x, importance, &a, q);
    for (int j = 0; j < 16; j++)
        b[j] = (uint8_t)(a.s[j] | a.m[j] << 4);
    tlpi_k_put_low_bits(q, b + 16);
    put_unit(a.unit, b + 80);
}

/* Q4_K and Q5_K, which has fifth bits. */
static void block_q45_k(const affine_type *type, const float *x,
                        const float *importance, uint8_t *b, uint8_t *high,
                        uint8_t *nib)
{
    affine_block a;
    uint8_t q[SUPER];

    quantize(type, x, importance, &a, q);
    put_unit(a.unit, b);
    tlpi_kquant_pack(a.s, a.m, b + 4);
    memset(nib, 0, 128);
    if (high)
        memset(high, 0, 32);
    for (int e = 0; e < SUPER; e++) {
        int j = e / 32, i = e % 32;
        nib[j / 2 * 32 + i] |= (uint8_t)((q[e] & 0xf) << (j % 2 * 4));
        if (high)
            high[i] |= (uint8_t)((q[e] >> 4) << j);
    }
}

void tlpi_quantize_q4_k(const float *x, const float *importance, uint8_t *b)
{
    block_q45_k(&q4_k, x, importance, b, NULL, b + 16);
}

void tlpi_quantize_q5_k(const float *x, const float *importance, uint8_t *b)
{
    block_q45_k(&q5_k, x, importance, b, b + 16, b + 48);
}

/* ==== Q4_1, Q5_1 ========================================================= */

static void block_q45_1(const affine_type *type, const float *x,
                        const float *importance, uint8_t *dm, uint8_t q[32])
{
    sub_block s;

    weigh(&s, type, x, importance);
    affine a = fit(&s);
    a = (affine){ tlpi_as_f16(a.step), tlpi_as_f16(a.low) };
    put_codes(&s, a, q);
    put_unit((affine){ a.step, -a.low }, dm);
}

void tlpi_search_q4_1(const float *x, const float *importance, uint8_t *b)
{
    uint8_t q[32];

    block_q45_1(&q4_1, x, importance, b, q);
    tlpi_pack32(q, b + 4, NULL);
}

void tlpi_search_q5_1(const float *x, const float *importance, uint8_t *b)
{
    uint8_t q[32];

    block_q45_1(&q5_1, x, importance, b, q);
    tlpi_pack32(q, b + 8, b + 4);
}
