/*
 * quant.c - blocks of every tensor type to floats, in plain code: the
 * reference that kernels are tested against.
 *
 * Layouts of a block, in file order; d, m and dmin are f16 and q the integers:
 *
 *   Q8_0  d, int8 q[32]               x = d q
 *   Q4_0  d, nib[16]                  x = d (q - 8)
 *   Q4_1  d, m, nib[16]               x = d q + m
 *   Q5_0  d, high[4], nib[16]         x = d (q - 16)
 *   Q5_1  d, m, high[4], nib[16]      x = d q + m
 *   Q2_K  sm[16], two[64], d, dmin     x = (d s) q - dmin m
 *   Q3_K  high[32], two[64], s[12], d  x = (d s) (q - 4)
 *   Q4_K  d, dmin, sm[12], nib[128]   x = (d s) q - dmin m
 *   Q5_K  d, dmin, sm[12], high[32], nib[128]   x = (d s) q - dmin m
 *   Q6_K  nib[128], high[64], int8 s[16], d     x = (d s) (q - 32)
 *   IQ4_NL  d, nib[16]              x = d T[q]
 *   IQ4_XS  d, s[6], nib[8][16]     x = (d s) T[q]
 *   MXFP4   e, nib[16]              x = 2^(e - 128) T[q]
 *
 * In blocks of 32, byte i of nib holds the low four bits of q[i] in its low
 * half and the low four bits of q[i+16] in its high half; bit i of high
 * (little-endian) is the fifth bit of q[i].  IQ4_XS has a nib[16] for every 32
 * elements.  codebook.h has the tables T.
 *
 * Q2_K and Q3_K: two halves of 128, each four quarters of 32.  Bits 2k, 2k+1 of
 * byte i of the half's 32 bytes of `two` are the low bits of element i of
 * quarter k.  Each run of 16 elements has a scale: byte j of Q2_K's sm has s
 * below and m on top; kquant.h has the packed scales of Q3_K.
 */
#include <string.h>

#include "tensor/codebook.h"
#include "tensor/kquant.h"
#include "tensor/tensor.h"

static float load_f16(const uint8_t *at)
{
    uint16_t h;

    memcpy(&h, at, sizeof h);
    return tlpi_f16_to_f32(h);
}

/* The 32 integers of a nib[16] array; `high` adds their fifth bits. */
static void unpack32(const uint8_t *nib, const uint8_t *high, int q[32])
{
    for (int i = 0; i < 16; i++) {
        q[i] = nib[i] & 0xf;
        q[i + 16] = nib[i] >> 4;
    }
    for (int i = 0; high && i < 32; i++)
        q[i] |= (high[i / 8] >> (i % 8) & 1) << 4;
}

static void block_q8_0(const uint8_t *b, float *x)
{
    float d = load_f16(b);

    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(int8_t)b[2 + i];
}

static void block_q4_0(const uint8_t *b, float *x)
{
    float d = load_f16(b);
    int q[32];

    unpack32(b + 2, NULL, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(q[i] - 8);
}

static void block_q4_1(const uint8_t *b, float *x)
{
    float d = load_f16(b), m = load_f16(b + 2);
    int q[32];

    unpack32(b + 4, NULL, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)q[i] + m;
}

static void block_q5_0(const uint8_t *b, float *x)
{
    float d = load_f16(b);
    int q[32];

    unpack32(b + 6, b + 2, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(q[i] - 16);
}

static void block_q5_1(const uint8_t *b, float *x)
{
    float d = load_f16(b), m = load_f16(b + 2);
    int q[32];

    unpack32(b + 8, b + 4, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)q[i] + m;
}

/*
 * Q4_K and Q5_K: eight sub-blocks of 32.  Sub-blocks 2j and 2j+1 share the
 * bytes nib[32j ...], low and high halves; bit s of high[i] is the fifth bit
 * of element i of sub-block s.
 */
static void block_q45_k(const uint8_t *b, const uint8_t *high,
                        const uint8_t *nib, float *x)
{
    float d = load_f16(b), dmin = load_f16(b + 2);
    uint8_t scale[8], min[8];

    tlpi_kquant_unpack(b + 4, scale, min);
    for (int s = 0; s < 8; s++) {
        float ds = d * (float)scale[s], dm = dmin * (float)min[s];
        for (int i = 0; i < 32; i++) {
            int q = nib[s / 2 * 32 + i] >> (s % 2 * 4) & 0xf;
            if (high)
                q |= (high[i] >> s & 1) << 4;
            x[s * 32 + i] = ds * (float)q - dm;
        }
    }
}

static void block_q4_k(const uint8_t *b, float *x)
{
    block_q45_k(b, NULL, b + 16, x);
}

static void block_q5_k(const uint8_t *b, float *x)
{
    block_q45_k(b, b + 16, b + 48, x);
}

/* Bits of element e in `two`. */
static int low_bits(const uint8_t *two, int e)
{
    int half = e / 128, k = e % 128 / 32, i = e % 32;

    return two[half * 32 + i] >> (2 * k) & 3;
}

static void block_q2_k(const uint8_t *b, float *x)
{
    float d = load_f16(b + 80), dmin = load_f16(b + 82);

    for (int e = 0; e < 256; e++) {
        float ds = d * (float)(b[e / 16] & 0xf);
        float dm = dmin * (float)(b[e / 16] >> 4);
        x[e] = ds * (float)low_bits(b + 16, e) - dm;
    }
}

/* Bit s of high[i] is the third bit of element i of quarter s of eight. */
static void block_q3_k(const uint8_t *b, float *x)
{
    float d = load_f16(b + 108);
    int8_t scale[16];

    tlpi_q3_k_unpack(b + 96, scale);
    for (int e = 0; e < 256; e++) {
        int q = low_bits(b + 32, e) | (b[e % 32] >> (e / 32) & 1) << 2;
        x[e] = d * (float)scale[e / 16] * (float)(q - 4);
    }
}

/*
 * Q6_K: two halves of 128, each four quarters of 32.  Quarters k and k+2 share
 * 32 bytes of nib; bits 2k, 2k+1 of high are the upper bits of quarter k.
 * Each run of 16 elements has a scale.
 */
static void block_q6_k(const uint8_t *b, float *x)
{
    const uint8_t *nib = b, *high = b + 128, *scale = b + 192;
    float d = load_f16(b + 208);

    for (int e = 0; e < 256; e++) {
        int half = e / 128, k = e % 128 / 32, i = e % 32;
        int lo = nib[half * 64 + k % 2 * 32 + i] >> (k / 2 * 4) & 0xf;
        int hi = high[half * 32 + i] >> (2 * k) & 3;
        float ds = d * (float)(int8_t)scale[e / 16];
        x[e] = ds * (float)((lo | hi << 4) - 32);
    }
}

/* The levels of 32 codes, times d. */
static void look_up(const int8_t *level, float d, const uint8_t *nib, float *x)
{
    int q[32];

    unpack32(nib, NULL, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)level[q[i]];
}

static void block_iq4_nl(const uint8_t *b, float *x)
{
    look_up(tlpi_iq4_levels, load_f16(b), b + 2, x);
}

static void block_iq4_xs(const uint8_t *b, float *x)
{
    float d = load_f16(b);
    int8_t scale[8];

    tlpi_iq4_xs_scales(b, scale);
    for (int j = 0; j < 8; j++)
        look_up(tlpi_iq4_levels, d * (float)scale[j], b + 8 + 16 * j,
                x + 32 * j);
}

static void block_mxfp4(const uint8_t *b, float *x)
{
    look_up(tlpi_mxfp4_levels, tlpi_mxfp4_scale(b[0]), b + 1, x);
}

static void (*const blocks[])(const uint8_t *b, float *x) = {
    [TLPI_Q8_0] = block_q8_0,     [TLPI_Q4_0] = block_q4_0,
    [TLPI_Q4_1] = block_q4_1,     [TLPI_Q5_0] = block_q5_0,
    [TLPI_Q5_1] = block_q5_1,     [TLPI_Q2_K] = block_q2_k,
    [TLPI_Q3_K] = block_q3_k,     [TLPI_Q4_K] = block_q4_k,
    [TLPI_Q5_K] = block_q5_k,     [TLPI_Q6_K] = block_q6_k,
    [TLPI_IQ4_NL] = block_iq4_nl, [TLPI_IQ4_XS] = block_iq4_xs,
    [TLPI_MXFP4] = block_mxfp4,
};

void tlpi_dequantize(tlpi_dtype type, const void *src, float *dst, int64_t n)
{
    const uint8_t *b = src;

    switch (type) {
    case TLPI_F32:
        memcpy(dst, src, (size_t)n * sizeof *dst);
        return;
    case TLPI_F16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = load_f16(b + 2 * i);
        return;
    case TLPI_BF16:
        for (int64_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, b + 2 * i, sizeof h);
            dst[i] = tlpi_bf16_to_f32(h);
        }
        return;
    default:
        break;
    }

    const tlpi_dtype_info *info = tlpi_dtype_get(type);
    for (int64_t i = 0; i < n; i += info->block, b += info->size)
        blocks[type](b, dst + i);
}

void tlpi_read_row(const tlpi_tensor *t, int64_t row, float *dst, int64_t n)
{
    const uint8_t *data = t->data;
    size_t bytes = tlpi_row_bytes(t->type, t->ne[0]);

    tlpi_dequantize(t->type, data + (size_t)row * bytes, dst, n);
}
