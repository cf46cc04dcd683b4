/*
 * quantize.c - floats to every tensor type; Q8_0 by plain rounding, and so are
 * Q4_0 ... Q5_1 where columns have no importances.
 *
 * Under plain rounding the range of a block decides its scale, and values are
 * rounded to the nearest step.  quant.c has the layouts; quantize_affine.c,
 * quantize_signed.c and, for types with a table of levels, codebook.c write
 * blocks by search.  Values that are not finite go to one end of the range,
 * without undefined conversions.
 */
#include <string.h>

#include "tensor/block.h"
#include "tensor/codebook.h"
#include "tensor/kquant.h"

/* Eight bits leave nothing to win by a search. */
static void block_q8_0(const float *x, uint8_t *b)
{
    float d = fabsf(tlpi_extreme(x, 32)) / 127;
    float inv = tlpi_inverse(d);

    tlpi_store_f16(b, d);
    for (int i = 0; i < 32; i++)
        b[2 + i] = (uint8_t)tlpi_round_in(x[i] * inv, -127, 127);
}

/* Q4_0 (half = 8) and Q5_0 (half = 16): the extreme becomes -half exactly. */
static void symmetric32(const float *x, int half, uint8_t *d_at, uint8_t *nib,
                        uint8_t *high)
{
    float d = tlpi_extreme(x, 32) / (float)-half;
    float inv = tlpi_inverse(d);
    uint8_t q[32];

    tlpi_store_f16(d_at, d);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)tlpi_floor_in(x[i] * inv + ((float)half + 0.5f), 0,
                                      2 * half - 1);
    tlpi_pack32(q, nib, high);
}

/* Q4_1 (top = 15) and Q5_1 (top = 31): the range from minimum to maximum. */
static void affine32(const float *x, int top, uint8_t *dm_at, uint8_t *nib,
                     uint8_t *high)
{
    float min, max;
    uint8_t q[32];

    tlpi_range(x, 32, &min, &max);
    float d = (max - min) / (float)top;
    float inv = tlpi_inverse(d);
    tlpi_store_f16(dm_at, d);
    tlpi_store_f16(dm_at + 2, min);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)tlpi_floor_in((x[i] - min) * inv + 0.5f, 0, top);
    tlpi_pack32(q, nib, high);
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

/* A type may have plain rounding, a search, or both: then the search is for
 * columns with importances. */
static const struct {
    void (*round)(const float *x, uint8_t *b);
    void (*search)(const float *x, const float *importance, uint8_t *b);
} blocks[] = {
    [TLPI_Q8_0] = { .round = block_q8_0 },
    [TLPI_Q4_0] = { block_q4_0, tlpi_search_q4_0 },
    [TLPI_Q4_1] = { block_q4_1, tlpi_search_q4_1 },
    [TLPI_Q5_0] = { block_q5_0, tlpi_search_q5_0 },
    [TLPI_Q5_1] = { block_q5_1, tlpi_search_q5_1 },
    [TLPI_Q2_K] = { .search = tlpi_quantize_q2_k },
    [TLPI_Q3_K] = { .search = tlpi_quantize_q3_k },
    [TLPI_Q4_K] = { .search = tlpi_quantize_q4_k },
    [TLPI_Q5_K] = { .search = tlpi_quantize_q5_k },
    [TLPI_Q6_K] = { .search = tlpi_quantize_q6_k },
    [TLPI_IQ4_NL] = { .search = tlpi_quantize_iq4_nl },
    [TLPI_IQ4_XS] = { .search = tlpi_quantize_iq4_xs },
    [TLPI_MXFP4] = { .search = tlpi_quantize_mxfp4 },
};

void tlpi_quantize(tlpi_dtype type, const float *src, void *dst, int64_t n)
{
    tlpi_quantize_columns(type, src, NULL, dst, n);
}

void tlpi_quantize_columns(tlpi_dtype type, const float *src,
                           const float *importance, void *dst, int64_t n)
{
    uint8_t *b = dst;

    switch (type) {
    case TLPI_F32:
        memcpy(dst, src, (size_t)n * sizeof *src);
        return;
    case TLPI_F16:
        for (int64_t i = 0; i < n; i++)
            tlpi_store_f16(b + 2 * i, src[i]);
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
    bool round = blocks[type].round && !(importance && blocks[type].search);
    for (int64_t i = 0; i < n; i += info->block, b += info->size)
        if (round)
            blocks[type].round(src + i, b);
        else
            blocks[type].search(src + i, importance ? importance + i : NULL, b);
}
