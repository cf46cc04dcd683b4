/*
 * block.h - helpers for writing blocks: f16 scales, rounding into a range,
 * sums.
 */
#ifndef TLPI_BLOCK_H
#define TLPI_BLOCK_H

#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static inline void tlpi_store_f16(uint8_t *at, float x)
{
    uint16_t h = tlpi_f32_to_f16(x);

    memcpy(at, &h, sizeof h);
}

/* x after being stored as f16 and read back. */
static inline float tlpi_as_f16(float x)
{
    return tlpi_f16_to_f32(tlpi_f32_to_f16(x));
}

static inline float tlpi_inverse(float x)
{
    return x != 0 ? 1 / x : 0;
}

/* floor(x) within [lo, hi]; NaN gives lo. */
static inline int tlpi_floor_in(float x, int lo, int hi)
{
    if (!(x > (float)lo))
        return lo;
    if (x >= (float)hi)
        return hi;
    int q = (int)x;
    return q - ((float)q > x);
}

/*
 * Nearest integer within [lo, hi], |lo| and |hi| below 2^22; halves round away
 * from zero.  The function adds the float just below 0.5: adding 0.5 itself
 * would round that float up to 1.
 */
static inline int tlpi_round_in(float x, int lo, int hi)
{
    if (!(x > (float)lo))
        return lo;
    return x >= (float)hi ? hi : (int)(x + copysignf(0x1.fffffep-2f, x));
}

/* The element with the largest magnitude, with its sign. */
static inline float tlpi_extreme(const float *x, int n)
{
    float best = 0;

    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(best))
            best = x[i];
    return best;
}

static inline void tlpi_range(const float *x, int n, float *min, float *max)
{
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        *min = fminf(*min, x[i]);
        *max = fmaxf(*max, x[i]);
    }
}

/* Nearest integer within [lo, hi] as a float, ties to even, for bounds below
 * 2^22: a float of the sum's size has no fraction bits.  Compilers vectorise
 * loops of this.  NaN gives lo. */
static inline float tlpi_nearest(float x, float lo, float hi)
{
    x = x > lo ? x : lo;
    x = x < hi ? x : hi;
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

/* Sums go in TLPI_SUM_LANES parts, in an order that vector code can keep. */
#define TLPI_SUM_LANES 8

/* A loop over n elements, a multiple of TLPI_SUM_LANES, that compilers
 * vectorise. */
#define TLPI_EACH_LANE(i, n)                                                   \
    for (int i##_0 = 0; i##_0 < (n); i##_0 += TLPI_SUM_LANES)                  \
        for (int i = i##_0; i < i##_0 + TLPI_SUM_LANES; i++)

static inline float tlpi_add_lanes(const float part[TLPI_SUM_LANES])
{
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

static inline float tlpi_sum3(const float *a, const float *b, const float *c,
                              int n)
{
    float part[TLPI_SUM_LANES] = { 0 };

    for (int i = 0; i < n; i += TLPI_SUM_LANES)
        for (int l = 0; l < TLPI_SUM_LANES; l++)
            part[l] += a[i + l] * b[i + l] * c[i + l];
    return tlpi_add_lanes(part);
}

static inline float tlpi_sum2(const float *a, const float *b, int n)
{
    float part[TLPI_SUM_LANES] = { 0 };

    for (int i = 0; i < n; i += TLPI_SUM_LANES)
        for (int l = 0; l < TLPI_SUM_LANES; l++)
            part[l] += a[i + l] * b[i + l];
    return tlpi_add_lanes(part);
}

/* Weights of squared errors.  Errors of large elements count more, as is usual
 * for blocks: |x| plus the root mean square, times the importance of the
 * element's column if there are importances. */
static inline void tlpi_weigh(const float *x, const float *importance, int n,
                              float *w)
{
    float rms = sqrtf(tlpi_sum2(x, x, n) / (float)n);

    for (int i = 0; i < n; i++)
        w[i] = (rms + fabsf(x[i])) * (importance ? importance[i] : 1);
}

/* 32 codes as nibbles and, if `high` is not NULL, fifth bits (quant.c). */
static inline void tlpi_pack32(const uint8_t q[32], uint8_t *nib, uint8_t *high)
{
    for (int i = 0; i < 16; i++)
        nib[i] = (uint8_t)((q[i] & 0xf) | (q[i + 16] & 0xf) << 4);
    if (!high)
        return;
    memset(high, 0, 4);
    for (int i = 0; i < 32; i++)
        high[i / 8] |= (uint8_t)((q[i] >> 4) << (i % 8));
}

#endif
