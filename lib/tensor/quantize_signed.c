/*
 * quantize_signed.c - floats to blocks whose runs have a signed step, by
 * search: Q3_K and Q6_K, and Q4_0 and Q5_0 where columns have importances;
 * quant.c has the layouts.
 *
 * The search is that of quantize_affine.c without minimums.
 */
#include "tensor/block.h"
#include "tensor/kquant.h"

#define SUPER 256   /* elements of a block of a K type */
#define MOST_RUN 32 /* elements with one step */
#define N_RUN 16    /* runs of a block of a K type */

/* Steps to try: the extreme becomes a code between low + 1 and low - 0.8. */
#define N_TRY 10
#define TRY_FROM (-1.0f)
#define TRY_BY 0.2f

/* What differs between types. */
typedef struct signed_type {
    int n;       /* elements of a run: 16 or 32 */
    int low;     /* codes reach from it to -low - 1 */
    int least;   /* multiples of the block's scale reach from it to -least - 1;
                    0: the block is one run */
    bool square; /* without importances the weight of an error is x^2 */
} signed_type;

static const signed_type q3_k = { 16, -4, -32, false };
static const signed_type q6_k = { 16, -32, -128, true };
static const signed_type q4_0 = { 32, -8, 0, false };
static const signed_type q5_0 = { 32, -16, 0, false };

typedef struct signed_run {
    const float *x;
    int n;
    float low;
    float w[MOST_RUN], wx[MOST_RUN]; /* weights of squared errors; w x */
} signed_run;

static void weigh(signed_run *r, const signed_type *type, const float *x,
                  const float *importance)
{
    r->x = x;
    r->n = type->n;
    r->low = (float)type->low;
    tlpi_weigh(x, importance, r->n, r->w);
    for (int i = 0; i < r->n; i++) {
        if (type->square && !importance)
            r->w[i] = x[i] * x[i];
        r->wx[i] = r->w[i] * x[i];
    }
}

/* The nearest codes. */
static void encode(const signed_run *r, float step, float *restrict q)
{
    float inv = tlpi_inverse(step);

    TLPI_EACH_LANE (i, r->n)
        q[i] = tlpi_nearest(r->x[i] * inv, r->low, -r->low - 1);
}

static float error_of(const signed_run *r, float step, const float *q)
{
    float e[MOST_RUN];

    TLPI_EACH_LANE (i, r->n)
        e[i] = r->x[i] - step * q[i];
    return tlpi_sum3(r->w, e, e, r->n);
}

/* The extreme goes towards the lowest code, because there is one more code on
 * that side.  For the best step of some codes the error is sum(w x^2) minus the
 * gain. */
static float fit(const signed_run *r)
{
    float extreme = tlpi_extreme(r->x, r->n), most = 0, q[MOST_RUN];
    float best = extreme / r->low;

    for (int k = 0; k < N_TRY; k++) {
        float codes = -r->low + TRY_FROM + TRY_BY * (float)k;
        encode(r, extreme / -codes, q);
        float wqx = tlpi_sum2(r->wx, q, r->n);
        float step = wqx * tlpi_inverse(tlpi_sum3(r->w, q, q, r->n));
        if (wqx * step > most) {
            most = wqx * step;
            best = step;
        }
    }
    return best;
}

/* Codes of a run, minus the lowest code. */
static void put_codes(const signed_run *r, float step, uint8_t *q)
{
    int low = (int)r->low;
    float code[MOST_RUN];

    encode(r, step, code);
    for (int i = 0; i < r->n; i++)
        q[i] = (uint8_t)(tlpi_round_in(code[i], low, -low - 1) - low);
}

/* ==== K types ============================================================ */

/* The best multiple of the block's scale around the nearest. */
static int choose(const signed_run *r, float want, float unit, int lowest)
{
    int highest = -lowest - 1;
    int s0 = tlpi_round_in(want * tlpi_inverse(unit), lowest, highest);
    int best = s0;
    float least = INFINITY, q[MOST_RUN];

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

/* Write the codes of the 256 elements to q, and the multiples of the returned
 * scale to `scale`.  The largest step is stored as the lowest multiple, because
 * multiples reach one further below 0. */
static float quantize(const signed_type *type, const float *x,
                      const float *importance, int8_t scale[N_RUN], uint8_t *q)
{
    signed_run run[N_RUN];
    float step[N_RUN];

    for (int j = 0; j < N_RUN; j++) {
        int at = type->n * j;
        weigh(&run[j], type, x + at, importance ? importance + at : NULL);
        step[j] = fit(&run[j]);
    }
    float unit = tlpi_as_f16(tlpi_extreme(step, N_RUN) / (float)type->least);
    for (int j = 0; j < N_RUN; j++) {
        scale[j] = (int8_t)choose(&run[j], step[j], unit, type->least);
        put_codes(&run[j], unit * (float)scale[j], q + type->n * j);
    }
    return unit;
}

void tlpi_quantize_q3_k(const float *x, const float *importance, uint8_t *b)
{
    int8_t scale[N_RUN];
    uint8_t q[SUPER];
    float unit = quantize(&q3_k, x, importance, scale, q);

    memset(b, 0, 32);
    for (int e = 0; e < SUPER; e++)
        b[e % 32] |= (uint8_t)((q[e] >> 2) << (e / 32));
    tlpi_k_put_low_bits(q, b + 32);
    tlpi_q3_k_pack(scale, b + 96);
    tlpi_store_f16(b + 108, unit);
}

void tlpi_quantize_q6_k(const float *x, const float *importance, uint8_t *b)
{
    int8_t scale[N_RUN];
    uint8_t q[SUPER], *nib = b, *high = b + 128;
    float unit = quantize(&q6_k, x, importance, scale, q);

    memset(b, 0, 192);
    for (int e = 0; e < SUPER; e++) {
        int half = e / 128, k = e % 128 / 32, i = e % 32;
        nib[half * 64 + k % 2 * 32 + i] |=
            (uint8_t)((q[e] & 0xf) << (k / 2 * 4));
        high[half * 32 + i] |= (uint8_t)((q[e] >> 4) << (2 * k));
    }
    memcpy(b + 192, scale, sizeof scale);
    tlpi_store_f16(b + 208, unit);
}

/* ==== Q4_0, Q5_0 ========================================================= */

static void block_q45_0(const signed_type *type, const float *x,
                        const float *importance, uint8_t *d, uint8_t q[32])
{
    signed_run r;

    weigh(&r, type, x, importance);
    float step = tlpi_as_f16(fit(&r));
    put_codes(&r, step, q);
    tlpi_store_f16(d, step);
}

void tlpi_search_q4_0(const float *x, const float *importance, uint8_t *b)
{
    uint8_t q[32];

    block_q45_0(&q4_0, x, importance, b, q);
    tlpi_pack32(q, b + 2, NULL);
}

void tlpi_search_q5_0(const float *x, const float *importance, uint8_t *b)
{
    uint8_t q[32];

    block_q45_0(&q5_0, x, importance, b, q);
    tlpi_pack32(q, b + 6, b + 2);
}
