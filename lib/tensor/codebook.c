/*
 * codebook.c - floats to IQ4_NL, IQ4_XS and MXFP4 blocks; quant.c has the
 * layouts.
 *
 * The step of 32 elements decides their codes; for given codes, one step has
 * the least squared error.  The search tries several steps, in which the
 * extreme goes to either end of the table, and keeps the codes whose best step
 * has the least error.  IQ4_XS stores a step as a small multiple of the block's
 * scale, so neighbouring multiples are tried too.  MXFP4 stores a power of two.
 */
#include "tensor/block.h"
#include "tensor/codebook.h"

#define SUB 32 /* elements with one step */

/* A table of levels, with its codes in the rising order of levels. */
typedef struct codebook {
    const int8_t *level;
    int n;
    uint8_t code[TLPI_N_CODE];
} codebook;

static const codebook iq4 = {
    tlpi_iq4_levels,
    16,
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
};

/* Code 8 is a second zero. */
static const codebook mxfp4 = {
    tlpi_mxfp4_levels,
    15,
    { 15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7 },
};

/* Level k in rising order. */
static inline float level_at(const codebook *c, int k)
{
    return (float)c->level[c->code[k]];
}

/* A value above it goes to level k or a higher one. */
static inline float bound_of(const codebook *c, int k)
{
    return 0.5f * (level_at(c, k - 1) + level_at(c, k));
}

/* The nearest levels; NaN gives the lowest. */
static void encode(const codebook *c, const float *x, float step,
                   float *restrict q)
{
    float inv = tlpi_inverse(step), v[SUB];

    for (int i = 0; i < SUB; i++) {
        v[i] = x[i] * inv;
        q[i] = level_at(c, 0);
    }
    for (int k = 1; k < c->n; k++) {
        float bound = bound_of(c, k);
        float gap = level_at(c, k) - level_at(c, k - 1);
        for (int i = 0; i < SUB; i++)
            q[i] += v[i] > bound ? gap : 0;
    }
}

static void put_codes(const codebook *c, const float *x, float step,
                      uint8_t *nib)
{
    float inv = tlpi_inverse(step), v[SUB];
    int rank[SUB] = { 0 };

    for (int i = 0; i < SUB; i++)
        v[i] = x[i] * inv;
    for (int k = 1; k < c->n; k++) {
        float bound = bound_of(c, k);
        for (int i = 0; i < SUB; i++)
            rank[i] += v[i] > bound;
    }
    for (int i = 0; i < SUB / 2; i++)
        nib[i] = (uint8_t)(c->code[rank[i]] | c->code[rank[i + SUB / 2]] << 4);
}

/* ==== IQ4_NL, IQ4_XS ===================================================== */

/* Steps to try: the extreme becomes a level around one end of the table. */
#define N_TRY 8
#define TRY_BY 4.0f

typedef struct weighed {
    const float *x;
    float w[SUB], wx[SUB]; /* weights of squared errors; w x */
} weighed;

static void weigh(weighed *s, const float *x, const float *importance)
{
    s->x = x;
    tlpi_weigh(x, importance, SUB, s->w);
    for (int i = 0; i < SUB; i++)
        s->wx[i] = s->w[i] * x[i];
}

/* Replace the best step by the best for the codes of `tried`, if the error
 * becomes less: it is sum(w x^2) minus the gain. */
static void improve(const weighed *s, float tried, float *best, float *most)
{
    float q[SUB];

    encode(&iq4, s->x, tried, q);
    float wqx = tlpi_sum2(s->wx, q, SUB), wqq = tlpi_sum3(s->w, q, q, SUB);
    float step = wqx * tlpi_inverse(wqq);
    if (wqx * step > *most) {
        *most = wqx * step;
        *best = step;
    }
}

static float fit(const weighed *s)
{
    float extreme = tlpi_extreme(s->x, SUB), most = 0;
    float low = level_at(&iq4, 0), high = level_at(&iq4, 15);
    float best = extreme / low;

    for (int k = 0; k < N_TRY; k++) {
        float by = TRY_BY * (float)(k - N_TRY / 2);
        improve(s, extreme / (low + by), &best, &most);
        improve(s, extreme / (high + by), &best, &most);
    }
    improve(s, best, &best, &most);
    return best;
}

void tlpi_quantize_iq4_nl(const float *x, const float *importance, uint8_t *b)
{
    weighed s;

    weigh(&s, x, importance);
    float step = tlpi_as_f16(fit(&s));
    tlpi_store_f16(b, step);
    put_codes(&iq4, x, step, b + 2);
}

/* The best multiple of the block's scale around the nearest. */
static int choose(const weighed *sub, float want, float unit)
{
    int s0 = tlpi_round_in(want * tlpi_inverse(unit), -32, 31), best = s0;
    float least = INFINITY, q[SUB], e[SUB];

    for (int s = TLPI_MAX(s0 - 1, -32); s <= TLPI_MIN(s0 + 1, 31); s++) {
        float step = unit * (float)s;
        encode(&iq4, sub->x, step, q);
        for (int i = 0; i < SUB; i++)
            e[i] = sub->x[i] - step * q[i];
        float error = tlpi_sum3(sub->w, e, e, SUB);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

/* The largest step is stored as -32, because scales reach -32 but only +31. */
void tlpi_quantize_iq4_xs(const float *x, const float *importance, uint8_t *b)
{
    weighed sub[8];
    float step[8];

    for (int j = 0; j < 8; j++) {
        weigh(&sub[j], x + SUB * j, importance ? importance + SUB * j : NULL);
        step[j] = fit(&sub[j]);
    }
    float unit = tlpi_as_f16(tlpi_extreme(step, 8) / -32);
    memset(b, 0, 8);
    tlpi_store_f16(b, unit);
    for (int j = 0; j < 8; j++) {
        int s = choose(&sub[j], step[j], unit);
        b[2 + j / 4] |= (uint8_t)(((s + 32) >> 4) << (j % 4 * 2));
        b[4 + j / 2] |= (uint8_t)(((s + 32) & 15) << (j % 2 * 4));
        put_codes(&iq4, x + SUB * j, unit * (float)s, b + 8 + 16 * j);
    }
}

/* ==== MXFP4 ============================================================== */

/* The least power of two that has an inverse. */
#define MXFP4_LEAST (-126)

/* The extreme lies in [8, 16) steps of the first power of two that is tried,
 * and in [4, 8) of the second.  Without importances errors count alike, as is
 * usual for this type. */
void tlpi_quantize_mxfp4(const float *x, const float *importance, uint8_t *b)
{
    float extreme = fabsf(tlpi_extreme(x, SUB)), least = INFINITY;
    float q[SUB], e[SUB];
    int exponent = 0;

    if (extreme > 0 && isfinite(extreme))
        (void)frexpf(extreme, &exponent);
    int first = TLPI_MAX(exponent - 4, MXFP4_LEAST), best = first;
    for (int s = first; s <= first + 1; s++) {
        float step = ldexpf(1, s);
        encode(&mxfp4, x, step, q);
        for (int i = 0; i < SUB; i++)
            e[i] = x[i] - step * q[i];
        float error = importance ? tlpi_sum3(importance, e, e, SUB)
                                 : tlpi_sum2(e, e, SUB);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    b[0] = (uint8_t)(best + 128);
    put_codes(&mxfp4, x, tlpi_mxfp4_scale(b[0]), b + 1);
}
