/*
 * block.h - helpers for writing blocks: f16 scales, rounding into a range.
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

#endif
