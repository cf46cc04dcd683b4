/*
 * quantize.c - floats to blocks of every tensor type, by plain rounding.
 *
 * Each block's range decides its scale, and values are rounded to the nearest
 * step; quant.c has the layouts.  What is not finite ends up at some end of
 * the range, without undefined conversions.
 */
#include <math.h>
#include <string.h>

#include "tensor/kquant.h"
#include "tensor/tensor.h"

static void store_f16(uint8_t *at, float x)
{
    uint16_t h = tlpi_f32_to_f16(x);

    memcpy(at, &h, sizeof h);
}

/* What a stored f16 will be read as. */
static float as_f16(float x)
{
    return tlpi_f16_to_f32(tlpi_f32_to_f16(x));
}

static float inverse(float x)
{
    return x != 0 ? 1 / x : 0;
}

/* floor(x) within [lo, hi]; NaN gives lo. */
static int floor_in(float x, int lo, int hi)
{
    if (!(x > (float)lo))
        return lo;
    return x >= (float)hi ? hi : (int)floorf(x);
}

/* Nearest integer within [lo, hi]; halves go away from zero. */
static int round_in(float x, int lo, int hi)
{
    return floor_in(roundf(x), lo, hi);
}

/* The element with the largest magnitude, sign kept. */
static float extreme(const float *x, int n)
{
    float best = 0;

    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(best))
            best = x[i];
    return best;
}

static void range(const float *x, int n, float *min, float *max)
{
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        *min = fminf(*min, x[i]);
        *max = fmaxf(*max, x[i]);
    }
}

static void pack32(const int q[32], uint8_t *nib, uint8_t *high)
{
    for (int i = 0; i < 16; i++)
        nib[i] = (uint8_t)((q[i] & 0xf) | (q[i + 16] & 0xf) << 4);
    if (!high)
        return;
    memset(high, 0, 4);
    for (int i = 0; i < 32; i++)
        high[i / 8] |= (uint8_t)((q[i] >> 4) << (i % 8));
}

static void block_q8_0(const float *x, uint8_t *b)
{
    float d = fabsf(extreme(x, 32)) / 127;
    float inv = inverse(d);

    store_f16(b, d);
    for (int i = 0; i < 32; i++)
        b[2 + i] = (uint8_t)round_in(x[i] * inv, -127, 127);
}

/* Q4_0 (half = 8) and Q5_0 (half = 16): the extreme becomes -half exactly. */
static void symmetric32(const float *x, int half, uint8_t *d_at, uint8_t *nib,
                        uint8_t *high)
{
    float d = extreme(x, 32) / (float)-half;
    float inv = inverse(d);
    int q[32];

    store_f16(d_at, d);
    for (int i = 0; i < 32; i++)
        q[i] = floor_in(x[i] * inv + ((float)half + 0.5f), 0, 2 * half - 1);
    pack32(q, nib, high);
}

/* Q4_1 (top = 15) and Q5_1 (top = 31): from the minimum to the maximum. */
static void affine32(const float *x, int top, uint8_t *dm_at, uint8_t *nib,
                     uint8_t *high)
{
    float min, max;
    int q[32];

    range(x, 32, &min, &max);
    float d = (max - min) / (float)top;
    float inv = inverse(d);
    store_f16(dm_at, d);
    store_f16(dm_at + 2, min);
    for (int i = 0; i < 32; i++)
        q[i] = floor_in((x[i] - min) * inv + 0.5f, 0, top);
    pack32(q, nib, high);
}

static void block_q4_0(const float *x, uint8_t *b)
{
    symmetric32(x, 8, b, b + 2, NULL);
}

static void block_q5_0(const float *x, uint8_t *b)
{
    symmetric32(x, 16, b, b + 6, b + 2);
}

static void block_q4_1(const float *x, uint8_t *b)
{
    affine32(x, 15, b, b + 4, NULL);
}

static void block_q5_1(const float *x, uint8_t *b)
{
    affine32(x, 31, b, b + 8, b + 4);
}

/*
 * Q4_K (top = 15) and Q5_K (top = 31).  A sub-block runs from its minimum (at
 * most 0: the format subtracts) to its maximum; steps and minimums of the
 * eight are rounded to 63rds of the largest, and then the values to the steps
 * that will be read back.
 */
static void block_q45_k(const float *x, int top, uint8_t *b, uint8_t *high,
                        uint8_t *nib)
{
    float step[8], low[8];
    uint8_t s[8], m[8];

    for (int j = 0; j < 8; j++) {
        float min, max;
        range(x + 32 * j, 32, &min, &max);
        min = fminf(min, 0);
        step[j] = (fmaxf(max, min) - min) / (float)top;
        low[j] = -min;
    }
    float d = as_f16(fabsf(extreme(step, 8)) / 63);
    float dmin = as_f16(fabsf(extreme(low, 8)) / 63);
    for (int j = 0; j < 8; j++) {
        s[j] = (uint8_t)round_in(step[j] * inverse(d), 0, 63);
        m[j] = (uint8_t)round_in(low[j] * inverse(dmin), 0, 63);
    }
    store_f16(b, d);
    store_f16(b + 2, dmin);
    tlpi_kquant_pack(s, m, b + 4);

    memset(nib, 0, 128);
    if (high)
        memset(high, 0, 32);
    for (int e = 0; e < 256; e++) {
        int j = e / 32, i = e % 32;
        float inv = inverse(d * (float)s[j]);
        int q = round_in((x[e] + dmin * (float)m[j]) * inv, 0, top);
        nib[j / 2 * 32 + i] |= (uint8_t)((q & 0xf) << (j % 2 * 4));
        if (high)
            high[i] |= (uint8_t)((q >> 4) << j);
    }
}

static void block_q4_k(const float *x, uint8_t *b)
{
    block_q45_k(x, 15, b, NULL, b + 16);
}

static void block_q5_k(const float *x, uint8_t *b)
{
    block_q45_k(x, 31, b, b + 16, b + 48);
}

/*
 * Q6_K: each 16 elements have a signed step that takes their extreme to -32;
 * steps are rounded to 128ths of the largest, which is stored as -128.
 */
static void block_q6_k(const float *x, uint8_t *b)
{
    uint8_t *nib = b, *high = b + 128, *scale = b + 192;
    float step[16];

    for (int j = 0; j < 16; j++)
        step[j] = extreme(x + 16 * j, 16) / -32;
    float d = as_f16(extreme(step, 16) / -128);
    store_f16(b + 208, d);
    for (int j = 0; j < 16; j++)
        scale[j] = (uint8_t)round_in(step[j] * inverse(d), -128, 127);

    memset(b, 0, 192);
    for (int e = 0; e < 256; e++) {
        int half = e / 128, k = e % 128 / 32, i = e % 32;
        float inv = inverse(d * (float)(int8_t)scale[e / 16]);
        int q = round_in(x[e] * inv, -32, 31) + 32;
        nib[half * 64 + k % 2 * 32 + i] |= (uint8_t)((q & 0xf) << (k / 2 * 4));
        high[half * 32 + i] |= (uint8_t)((q >> 4) << (2 * k));
    }
}

static void (*const blocks[])(const float *x, uint8_t *b) = {
    [TLPI_Q8_0] = block_q8_0, [TLPI_Q4_0] = block_q4_0,
    [TLPI_Q4_1] = block_q4_1, [TLPI_Q5_0] = block_q5_0,
    [TLPI_Q5_1] = block_q5_1, [TLPI_Q4_K] = block_q4_k,
    [TLPI_Q5_K] = block_q5_k, [TLPI_Q6_K] = block_q6_k,
};

void tlpi_quantize(tlpi_dtype type, const float *src, void *dst, int64_t n)
{
    uint8_t *b = dst;

    switch (type) {
    case TLPI_F32:
        memcpy(dst, src, (size_t)n * sizeof *src);
        return;
    case TLPI_F16:
        for (int64_t i = 0; i < n; i++)
            store_f16(b + 2 * i, src[i]);
        return;
    case TLPI_BF16:
        for (int64_t i = 0; i < n; i++) {
            uint16_t h = tlpi_f32_to_bf16(src[i]);
            memcpy(b + 2 * i, &h, sizeof h);
        }
        return;
    default:
        break;
    }

    const tlpi_dtype_info *info = tlpi_dtype_get(type);
    for (int64_t i = 0; i < n; i += info->block, b += info->size)
        blocks[type](src + i, b);
}
