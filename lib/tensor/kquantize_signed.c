/*
 * kquantize_signed.c - floats to Q3_K and Q6_K blocks, whose runs of 16
 * elements have a signed step; quant.c has the layouts.
 *
 * The search is that of kquantize.c without minimums, and so are the weights of
 * errors.
 */
#include "tensor/block.h"
#include "tensor/kquant.h"

#define RUN 16   /* elements with one step */
#define N_RUN 16 /* runs of a block */

/* Steps to try: the extreme becomes a code between low + 1 and low - 0.8. */
#define N_TRY 10
#define TRY_FROM (-1.0f)
#define TRY_BY 0.2f

/* What differs between types. */
typedef struct signed_type {
    int low;   /* codes reach from it to -low - 1 */
    int least; /* multiples of the block's scale reach from it to -least - 1 */
} signed_type;

static const signed_type q3_k = { -4, -32 };
static const signed_type q6_k = { -32, -128 };

typedef struct signed_run {
    const float *x;
    float low;
    float w[RUN], wx[RUN]; /* weights of squared errors; w x */
} signed_run;

static void weigh(signed_run *r, const float *x, const signed_type *type)
{
    float rms = sqrtf(tlpi_sum2(x, x, RUN) / RUN);

    r->x = x;
    r->low = (float)type->low;
    for (int i = 0; i < RUN; i++) {
        r->w[i] = rms + fabsf(x[i]);
        r->wx[i] = r->w[i] * x[i];
    }
}

/* The nearest codes. */
static void encode(const signed_run *r, float step, float *restrict q)
{
    float inv = tlpi_inverse(step);

    for (int i = 0; i < RUN; i++)
        q[i] = tlpi_nearest(r->x[i] * inv, r->low, -r->low - 1);
}

static float error_of(const signed_run *r, float step, const float *q)
{
    float e[RUN];

    for (int i = 0; i < RUN; i++)
        e[i] = r->x[i] - step * q[i];
    return tlpi_sum3(r->w, e, e, RUN);
}

/* The extreme goes towards the lowest code, because there is one more code on
 * that side.  For the best step of some codes the error is sum(w x^2) minus the
 * gain. */
static float fit(const signed_run *r)
{
    float extreme = tlpi_extreme(r->x, RUN), most = 0, q[RUN];
    float best = extreme / r->low;

    for (int k = 0; k < N_TRY; k++) {
        float codes = -r->low + TRY_FROM + TRY_BY * (float)k;
        encode(r, extreme / -codes, q);
        float wqx = tlpi_sum2(r->wx, q, RUN);
        float step = wqx * tlpi_inverse(tlpi_sum3(r->w, q, q, RUN));
        if (wqx * step > most) {
            most = wqx * step;
            best = step;
        }
    }
    return best;
}

/* The best multiple of the block's scale around the nearest. */
static int choose(const signed_run *r, float want, float unit, int lowest)
{
    int highest = -lowest - 1;
    int s0 = tlpi_round_in(want * tlpi_inverse(unit), lowest, highest);
    int best = s0;
    float least = INFINITY, q[RUN];

    for (int s = TLPI_MAX(s0 - 1, lowest); s <= TLPI_MIN(s0 + 1, highest);
         s++) {
        encode(r, unit * (float)s, q);
        float error = error_of(r, unit * (float)s, q);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

/* Write the codes of the 256 elements, minus the lowest code, to q, and the
 * multiples of the returned scale to `scale`.  The largest step is stored as
 * the lowest multiple, because multiples reach one further below 0. */
static float quantize(const signed_type *type, const float *x,
                      int8_t scale[N_RUN], uint8_t *q)
{
    signed_run run[N_RUN];
    float step[N_RUN], code[RUN];

    for (int j = 0; j < N_RUN; j++) {
        weigh(&run[j], x + RUN * j, type);
        step[j] = fit(&run[j]);
    }
    float unit = tlpi_as_f16(tlpi_extreme(step, N_RUN) / (float)type->least);
    for (int j = 0; j < N_RUN; j++) {
        scale[j] = (int8_t)choose(&run[j], step[j], unit, type->least);
        encode(&run[j], unit * (float)scale[j], code);
        for (int i = 0; i < RUN; i++)
            *q++ = (uint8_t)(tlpi_round_in(code[i], type->low, -type->low - 1) -
                             type->low);
    }
    return unit;
}

void tlpi_quantize_q3_k(const float *x, uint8_t *b)
{
    int8_t scale[N_RUN];
    uint8_t q[RUN * N_RUN];
    float unit = quantize(&q3_k, x, scale, q);

    memset(b, 0, 32);
    for (int e = 0; e < RUN * N_RUN; e++)
        b[e % 32] |= (uint8_t)((q[e] >> 2) << (e / 32));
    tlpi_k_put_low_bits(q, b + 32);
    tlpi_q3_k_pack(scale, b + 96);
    tlpi_store_f16(b + 108, unit);
}

void tlpi_quantize_q6_k(const float *x, uint8_t *b)
{
    int8_t scale[N_RUN];
    uint8_t q[RUN * N_RUN], *nib = b, *high = b + 128;
    float unit = quantize(&q6_k, x, scale, q);

    memset(b, 0, 192);
    for (int e = 0; e < RUN * N_RUN; e++) {
        int half = e / 128, k = e % 128 / 32, i = e % 32;
        nib[half * 64 + k % 2 * 32 + i] |=
            (uint8_t)((q[e] & 0xf) << (k / 2 * 4));
        high[half * 32 + i] |= (uint8_t)((q[e] >> 4) << (2 * k));
    }
    memcpy(b + 192, scale, sizeof scale);
    tlpi_store_f16(b + 208, unit);
}
