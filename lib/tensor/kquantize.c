/*
 * kquantize.c - floats to Q4_K, Q5_K and Q6_K blocks; quant.c has the layouts.
 *
 * The step of a sub-block decides its codes; for given codes, one step has the
 * least squared error.  The search tries several steps around the plain step
 * that covers the range, replaces each by the best step for its codes, and
 * keeps the step with the least error.  The format stores a step as a small
 * multiple of the block's scale, so neighbouring multiples are tried too.
 *
 * Errors of large weights count more, as is usual for these types: the weight
 * is |x| plus the root mean square where sub-blocks have a minimum (Q4_K,
 * Q5_K), and x^2 where they have none (Q6_K).
 */
#include "tensor/block.h"
#include "tensor/kquant.h"

/* Steps to try: the range divided by top - 1 ... top + 0.8 intervals.  Twice
 * as many steps lower errors by 0.1%. */
#define N_TRY 10
#define TRY_FROM (-1.0f)
#define TRY_BY 0.2f

/* Round to the nearest integer, ties to even, for |x| < 2^22: a float of the
 * sum's size has no fraction bits.  Compilers vectorise loops of this. */
static inline float nearest(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float clamp(float x, float lo, float hi)
{
    x = x > lo ? x : lo; /* NaN gives lo */
    return x < hi ? x : hi;
}

/* ==== Q4_K, Q5_K ========================================================= */

#define SUB 32 /* elements with one step and one minimum */

/* x = step q - low, q in [0, top], low >= 0 */
typedef struct affine {
    float step, low;
} affine;

typedef struct sub_block {
    const float *x;
    float w[SUB]; /* weights of squared errors */
    float sum_w, sum_wx;
    float top;
} sub_block;

static void weigh(sub_block *s, const float *x, int top)
{
    float rms = sqrtf(tlpi_sum2(x, x, SUB) / SUB);

    s->x = x;
    s->top = (float)top;
    s->sum_w = 0;
    for (int i = 0; i < SUB; i++) {
        s->w[i] = rms + fabsf(x[i]);
        s->sum_w += s->w[i];
    }
    s->sum_wx = tlpi_sum2(s->w, x, SUB);
}

/* The nearest codes for a. */
static void encode(const sub_block *s, affine a, float *restrict q)
{
    float inv = tlpi_inverse(a.step);
    const float *x = s->x;

    for (int i = 0; i < SUB; i++)
        q[i] = nearest(clamp((x[i] + a.low) * inv, 0, s->top));
}

static float error_of(const sub_block *s, affine a, const float *q)
{
    const float *x = s->x;
    float e[SUB];

    for (int i = 0; i < SUB; i++)
        e[i] = x[i] - (a.step * q[i] - a.low);
    return tlpi_sum3(s->w, e, e, SUB);
}

/* The least-squares step and minimum for these codes; false if singular. */
static bool solve(const sub_block *s, const float q[SUB], affine *out)
{
    double w = (double)s->sum_w, wx = (double)s->sum_wx;
    double wq = (double)tlpi_sum2(s->w, q, SUB);
    double wqq = (double)tlpi_sum3(s->w, q, q, SUB);
    double wqx = (double)tlpi_sum3(s->w, q, s->x, SUB);
    double det = w * wqq - wq * wq;

    if (!(det > 0))
        return false;
    double step = (w * wqx - wq * wx) / det;
    double low = (step * wq - wx) / w;
    if (low < 0) {
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
    float q[SUB];

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
    float min, max, q[SUB];

    tlpi_range(s->x, SUB, &min, &max);
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

/* Step and minimum as multiples of the block's scales: the best multiples
 * around the nearest. */
static void choose(const sub_block *sub, affine want, affine unit, uint8_t *s,
                   uint8_t *m)
{
    int s0 = tlpi_round_in(want.step * tlpi_inverse(unit.step), 0, 63);
    int m0 = tlpi_round_in(want.low * tlpi_inverse(unit.low), 0, 63);
    float least = INFINITY, q[SUB];

    *s = (uint8_t)s0;
    *m = (uint8_t)m0;
    for (int i = TLPI_MAX(s0 - 1, 0); i <= TLPI_MIN(s0 + 1, 63); i++) {
        for (int j = TLPI_MAX(m0 - 1, 0); j <= TLPI_MIN(m0 + 1, 63); j++) {
            affine a = { unit.step * (float)i, unit.low * (float)j };
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

static void block_q45_k(const float *x, int top, uint8_t *b, uint8_t *high,
                        uint8_t *nib)
{
    sub_block sub[8];
    affine want[8], unit = { 0, 0 };
    uint8_t s[8], m[8];

    for (int j = 0; j < 8; j++) {
        weigh(&sub[j], x + SUB * j, top);
        want[j] = fit(&sub[j]);
        unit.step = fmaxf(unit.step, want[j].step);
        unit.low = fmaxf(unit.low, want[j].low);
    }
    unit.step = tlpi_as_f16(unit.step / 63);
    unit.low = tlpi_as_f16(unit.low / 63);
    for (int j = 0; j < 8; j++)
        choose(&sub[j], want[j], unit, &s[j], &m[j]);
    tlpi_store_f16(b, unit.step);
    tlpi_store_f16(b + 2, unit.low);
    tlpi_kquant_pack(s, m, b + 4);

    memset(nib, 0, 128);
    if (high)
        memset(high, 0, 32);
    for (int j = 0; j < 8; j++) {
        float q[SUB];
        (void)encode(
            &sub[j],
            (affine){ unit.step * (float)s[j], unit.low * (float)m[j] }, q);
        for (int i = 0; i < SUB; i++) {
            int code = tlpi_round_in(q[i], 0, top);
            nib[j / 2 * 32 + i] |= (uint8_t)((code & 0xf) << (j % 2 * 4));
            if (high)
                high[i] |= (uint8_t)((code >> 4) << j);
        }
    }
}

void tlpi_quantize_q4_k(const float *x, uint8_t *b)
{
    block_q45_k(x, 15, b, NULL, b + 16);
}

void tlpi_quantize_q5_k(const float *x, uint8_t *b)
{
    block_q45_k(x, 31, b, b + 16, b + 48);
}

/* ==== Q6_K =============================================================== */

#define SIXTEEN 16 /* elements with one step */

/* The nearest codes in [-32, 31]; returns their error, weighted by x^2. */
static void encode_16(const float *x, float step, float *restrict q)
{
    float inv = tlpi_inverse(step);

    for (int i = 0; i < SIXTEEN; i++)
        q[i] = nearest(clamp(x[i] * inv, -32, 31));
}

static float error_16(const float *x, float step, const float *q)
{
    float e[SIXTEEN];

    for (int i = 0; i < SIXTEEN; i++)
        e[i] = x[i] * (x[i] - step * q[i]);
    return tlpi_sum2(e, e, SIXTEEN);
}

/* The best step for these codes; the error is sum(w x^2) minus the returned
 * gain. */
static float gain_16(const float *wx, const float *w, const float *q,
                     float *step)
{
    float wqx = tlpi_sum2(wx, q, SIXTEEN), wqq = tlpi_sum3(w, q, q, SIXTEEN);

    *step = wqx * tlpi_inverse(wqq);
    return wqx * *step;
}

/* A signed step: the extreme goes towards -32, where there is one more code. */
static float fit_16(const float *x)
{
    float extreme = tlpi_extreme(x, SIXTEEN), best = extreme / -32, most = 0;
    float q[SIXTEEN], w[SIXTEEN], wx[SIXTEEN];

    for (int i = 0; i < SIXTEEN; i++) {
        w[i] = x[i] * x[i];
        wx[i] = w[i] * x[i];
    }
    for (int k = 0; k < N_TRY; k++) {
        float codes = 32 + TRY_FROM + TRY_BY * (float)k, step;
        encode_16(x, extreme / -codes, q);
        float gain = gain_16(wx, w, q, &step);
        if (gain > most) {
            most = gain;
            best = step;
        }
    }
    return best;
}

static int choose_16(const float *x, float want, float unit)
{
    int s0 = tlpi_round_in(want * tlpi_inverse(unit), -128, 127), best = s0;
    float least = INFINITY, q[SIXTEEN];

    for (int s = TLPI_MAX(s0 - 1, -128); s <= TLPI_MIN(s0 + 1, 127); s++) {
        encode_16(x, unit * (float)s, q);
        float error = error_16(x, unit * (float)s, q);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

/* The largest step is stored as -128, because int8 reaches -128 but only
 * +127. */
void tlpi_quantize_q6_k(const float *x, uint8_t *b)
{
    uint8_t *nib = b, *high = b + 128, *scale = b + 192;
    float step[SIXTEEN], q[SIXTEEN];

    for (int j = 0; j < SIXTEEN; j++)
        step[j] = fit_16(x + 16 * j);
    float unit = tlpi_as_f16(tlpi_extreme(step, SIXTEEN) / -128);
    tlpi_store_f16(b + 208, unit);

    memset(b, 0, 192);
    for (int j = 0; j < SIXTEEN; j++) {
        int s = choose_16(x + 16 * j, step[j], unit);
        scale[j] = (uint8_t)s;
        encode_16(x + 16 * j, unit * (float)s, q);
        for (int n = 0; n < 16; n++) {
            int e = 16 * j + n, half = e / 128, k = e % 128 / 32, i = e % 32;
            int code = tlpi_round_in(q[n], -32, 31) + 32;
            nib[half * 64 + k % 2 * 32 + i] |=
                (uint8_t)((code & 0xf) << (k / 2 * 4));
            high[half * 32 + i] |= (uint8_t)((code >> 4) << (2 * k));
        }
    }
}
