/*
 * test_quant.c - tensor types: 16-bit floats against their definition, blocks
 * against values worked out from the format, and rounding both ways.
 */
#include <criterion/criterion.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "tensor/tensor.h"

static const tlpi_dtype all_types[] = {
    TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q8_0,  TLPI_Q4_0, TLPI_Q4_1,
    TLPI_Q5_0, TLPI_Q5_1,   TLPI_Q2_K,   TLPI_Q3_K,  TLPI_Q4_K, TLPI_Q5_K,
    TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4,
};

/* ==== 16-bit floats ====================================================== */

/* binary16 by its definition: (-1)^s 2^(e-15) (1 + f/1024), 2^-14 f/1024. */
static double f16_value(uint16_t h)
{
    int e = h >> 10 & 31, f = h & 1023;
    double sign = h & 0x8000 ? -1 : 1;

    if (e == 31)
        return f ? (double)NAN : sign * (double)INFINITY;
    if (e == 0)
        return sign * ldexp(f, -24);
    return sign * ldexp(1024 + f, e - 25);
}

static double bf16_value(uint16_t h)
{
    int e = h >> 7 & 255, f = h & 127;
    double sign = h & 0x8000 ? -1 : 1;

    if (e == 255)
        return f ? (double)NAN : sign * (double)INFINITY;
    if (e == 0)
        return sign * ldexp(f, -133);
    return sign * ldexp(128 + f, e - 134);
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

Test(half, every_f16_code_is_read)
{
    for (uint32_t h = 0; h < 65536; h++) {
        double want = f16_value((uint16_t)h);
        float got = tlpi_f16_to_f32((uint16_t)h);
        if (isnan(want))
            cr_assert(isnan(got), "%04x", h);
        else
            cr_assert(same_bits(got, (float)want), "%04x", h);
    }
}

Test(half, every_bf16_code_is_read)
{
    for (uint32_t h = 0; h < 65536; h++) {
        double want = bf16_value((uint16_t)h);
        float got = tlpi_bf16_to_f32((uint16_t)h);
        if (isnan(want))
            cr_assert(isnan(got), "%04x", h);
        else
            cr_assert(same_bits(got, (float)want), "%04x", h);
    }
}

typedef uint16_t (*pack_fn)(float f);

/* Between codes h and h+1: a code's own value stays, the middle goes to the
 * even code, and what is nearer to one goes there; `top` is the last code
 * before infinity. */
static void check_rounding(pack_fn pack, double (*value)(uint16_t),
                           uint32_t top)
{
    for (uint32_t s = 0; s <= 0x8000; s += 0x8000) {
        for (uint32_t h = 0; h < top; h++) {
            uint16_t lo = (uint16_t)(s | h), hi = (uint16_t)(s | (h + 1));
            float middle = (float)((value(lo) + value(hi)) / 2);
            float to = s ? -INFINITY : INFINITY;

            cr_assert_eq(pack((float)value(lo)), lo, "%04x", lo);
            cr_assert_eq(pack(middle), h & 1 ? hi : lo, "%04x", lo);
            cr_assert_eq(pack(nextafterf(middle, to)), hi, "%04x", lo);
            cr_assert_eq(pack(nextafterf(middle, -to)), lo, "%04x", lo);
        }
    }
}

Test(half, f32_to_f16_rounds_to_nearest_even)
{
    check_rounding(tlpi_f32_to_f16, f16_value, 0x7bff);
    cr_assert_eq(tlpi_f32_to_f16(65504), 0x7bff);
    cr_assert_eq(tlpi_f32_to_f16(nextafterf(65520, 0)), 0x7bff);
    cr_assert_eq(tlpi_f32_to_f16(65520), 0x7c00);
    cr_assert_eq(tlpi_f32_to_f16(-FLT_MAX), 0xfc00);
    cr_assert_eq(tlpi_f32_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(tlpi_f32_to_f16(-0.0f), 0x8000);
    cr_assert_eq(tlpi_f32_to_f16(0x1p-149f), 0);
}

/* bf16 shares f32's subnormals, whose middles nextafterf still separates. */
Test(half, f32_to_bf16_rounds_to_nearest_even)
{
    check_rounding(tlpi_f32_to_bf16, bf16_value, 0x7f7f);
    cr_assert_eq(tlpi_f32_to_bf16(FLT_MAX), 0x7f80);
    cr_assert_eq(tlpi_f32_to_bf16(-INFINITY), 0xff80);
}

Test(half, nan_stays_nan)
{
    static const uint32_t nans[] = { 0x7f800001, 0x7fffffff, 0xff800001,
                                     0x7fc00000, 0xffc01234 };

    for (size_t i = 0; i < TLPI_COUNT(nans); i++) {
        float f;
        memcpy(&f, &nans[i], sizeof f);
        uint16_t h = tlpi_f32_to_f16(f), b = tlpi_f32_to_bf16(f);
        cr_assert(isnan(f16_value(h)) && isnan(bf16_value(b)));
        cr_assert_eq(h >> 15, nans[i] >> 31);
        cr_assert_eq(b >> 15, nans[i] >> 31);
    }
}

/* ==== types ============================================================== */

Test(dtype, sizes)
{
    static const struct {
        tlpi_dtype type;
        const char *name;
        size_t bytes_of_512;
    } want[] = {
        { TLPI_F32, "F32", 2048 },          { TLPI_F16, "F16", 1024 },
        { TLPI_BF16, "BF16", 1024 },        { TLPI_Q8_0, "Q8_0", 16 * 34 },
        { TLPI_Q4_0, "Q4_0", 16 * 18 },     { TLPI_Q4_1, "Q4_1", 16 * 20 },
        { TLPI_Q5_0, "Q5_0", 16 * 22 },     { TLPI_Q5_1, "Q5_1", 16 * 24 },
        { TLPI_Q2_K, "Q2_K", 2 * 84 },      { TLPI_Q3_K, "Q3_K", 2 * 110 },
        { TLPI_Q4_K, "Q4_K", 2 * 144 },     { TLPI_Q5_K, "Q5_K", 2 * 176 },
        { TLPI_Q6_K, "Q6_K", 2 * 210 },     { TLPI_IQ4_NL, "IQ4_NL", 16 * 18 },
        { TLPI_IQ4_XS, "IQ4_XS", 2 * 136 }, { TLPI_MXFP4, "MXFP4", 16 * 17 },
    };

    for (size_t i = 0; i < TLPI_COUNT(want); i++) {
        const tlpi_dtype_info *info = tlpi_dtype_get(want[i].type);
        cr_assert_not_null(info);
        cr_assert_eq(info->type, want[i].type);
        cr_assert_str_eq(info->name, want[i].name);
        cr_assert_str_eq(tlpi_dtype_name(want[i].type), want[i].name);
        cr_assert_eq(tlpi_row_bytes(want[i].type, 512), want[i].bytes_of_512);
    }
    cr_assert_null(tlpi_dtype_get(15));
    cr_assert_str_eq(tlpi_dtype_name(15), "Q8_K");
    cr_assert_null(tlpi_dtype_get(4));
    cr_assert_str_eq(tlpi_dtype_name(4), "?");
    cr_assert_null(tlpi_dtype_get(UINT32_MAX));
    cr_assert_str_eq(tlpi_dtype_name(UINT32_MAX), "?");
}

/* ==== blocks made by hand ================================================ */

#define F16_HALF 0x00, 0x38      /* 0.5 */
#define F16_TWO 0x00, 0x40       /* 2 */
#define F16_MINUS_ONE 0x00, 0xbc /* -1 */

/* Element i of nib[16]: low half i for i < 16, high half 15 - (i - 16). */
#define NIB                                                                    \
    0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b,    \
        0x3c, 0x2d, 0x1e, 0x0f

static int nib(int i)
{
    return i < 16 ? i : 31 - i;
}

/* Fifth bits of elements 0, 9, 18 and 31. */
#define HIGH 0x01, 0x02, 0x04, 0x80

static int high(int i)
{
    return i == 0 || i == 9 || i == 18 || i == 31 ? 16 : 0;
}

Test(quant, blocks_of_32)
{
    static const uint8_t q4_0[18] = { F16_HALF, NIB };
    static const uint8_t q4_1[20] = { F16_TWO, F16_MINUS_ONE, NIB };
    static const uint8_t q5_0[22] = { F16_HALF, HIGH, NIB };
    static const uint8_t q5_1[24] = { F16_TWO, F16_MINUS_ONE, HIGH, NIB };
    float a[32], b[32], c[32], d[32];

    tlpi_dequantize(TLPI_Q4_0, q4_0, a, 32);
    tlpi_dequantize(TLPI_Q4_1, q4_1, b, 32);
    tlpi_dequantize(TLPI_Q5_0, q5_0, c, 32);
    tlpi_dequantize(TLPI_Q5_1, q5_1, d, 32);
    for (int i = 0; i < 32; i++) {
        cr_assert_eq(a[i], 0.5f * (float)(nib(i) - 8));
        cr_assert_eq(b[i], 2.0f * (float)nib(i) - 1);
        cr_assert_eq(c[i], 0.5f * (float)(nib(i) + high(i) - 16));
        cr_assert_eq(d[i], 2.0f * (float)(nib(i) + high(i)) - 1);
    }
}

Test(quant, q8_0_block)
{
    uint8_t b[34] = { F16_MINUS_ONE };
    float x[32];

    for (int i = 0; i < 32; i++)
        b[2 + i] = (uint8_t)(i * 8 - 128);
    tlpi_dequantize(TLPI_Q8_0, b, x, 32);
    for (int i = 0; i < 32; i++)
        cr_assert_eq(x[i], (float)(128 - i * 8));
}

/*
 * Chosen elements of Q2_K and Q3_K: element e of 128-half h, quarter k, place i
 * has its low bits at 2k of byte 32h + i of the 64 that follow; its third bit
 * is bit 4h + k of byte i of Q3_K's first 32.
 */
Test(quant, q2_k_block)
{
    uint8_t b[84];
    float x[256];
    int q[256] = { 0 };

    memset(b, 0, sizeof b);
    for (int j = 0; j < 16; j++)
        b[j] = (uint8_t)(j | (15 - j) << 4);
    b[81] = 0x38;                   /* d = 0.5 */
    b[83] = 0x40;                   /* dmin = 2 */
    b[16 + 5] = 3 | 1 << 2;         /* elements 5 and 37 */
    b[16 + 32 + 9] = 2 << 4 | 0xc0; /* elements 128+73 and 128+105 */
    q[5] = 3;
    q[37] = 1;
    q[128 + 73] = 2;
    q[128 + 105] = 3;
    tlpi_dequantize(TLPI_Q2_K, b, x, 256);
    for (int e = 0; e < 256; e++) {
        int s = e / 16;
        cr_assert_eq(x[e], 0.5f * (float)(s * q[e]) - 2.0f * (float)(15 - s),
                     "%d", e);
    }
}

/* Scales are -32 + 0, 17, 34, 51 and so on, modulo 64: all bits of all places
 * occur. */
Test(quant, q3_k_block)
{
    uint8_t b[110];
    float x[256];
    int q[256] = { 0 }, s[16];

    memset(b, 0, sizeof b);
    for (int j = 0; j < 16; j++) {
        s[j] = j * 17 % 64;
        b[96 + j % 8] |= (uint8_t)(s[j] % 16 << (j < 8 ? 0 : 4));
        b[104 + j % 4] |= (uint8_t)(s[j] / 16 << j / 4 * 2);
    }
    b[109] = 0x38; /* d = 0.5 */
    b[5] = 1 << 0 | 1 << 6;
    b[32 + 5] = 3 | 1 << 2;         /* elements 5 and 37 */
    b[32 + 32 + 9] = 2 << 4 | 0xc0; /* elements 128+73 and 128+105 */
    q[5] = 3 + 4;
    q[37] = 1;
    q[128 + 64 + 5] = 4;
    q[128 + 73] = 2;
    q[128 + 105] = 3;
    tlpi_dequantize(TLPI_Q3_K, b, x, 256);
    for (int e = 0; e < 256; e++)
        cr_assert_eq(x[e], 0.5f * (float)((s[e / 16] - 32) * (q[e] - 4)), "%d",
                     e);
}

/*
 * Scales s = 1, 2, 3, 4, 21, 38, 55, 8 and minimums m = 9, 10, 11, 12, 13, 30,
 * 47, 63: both with values above 15 in the upper four, whose bits are spread.
 */
static const uint8_t packed_sm[12] = {
    1 | 1 << 6,  2 | 2 << 6,  3 | 3 << 6,  4 | 0 << 6, /* 21 >> 4 = 1 ... */
    9 | 0 << 6,  10 | 1 << 6, 11 | 2 << 6, 12 | 3 << 6,
    5 | 13 << 4, 6 | 14 << 4, 7 | 15 << 4, 8 | 15 << 4,
};
static const int scales[8] = { 1, 2, 3, 4, 21, 38, 55, 8 };
static const int mins[8] = { 9, 10, 11, 12, 13, 30, 47, 63 };

Test(quant, q4_k_block)
{
    uint8_t b[144] = { F16_HALF, F16_TWO };
    float x[256];

    memcpy(b + 4, packed_sm, 12);
    for (int i = 0; i < 128; i++)
        b[16 + i] = (uint8_t)(i * 37 + 11);
    tlpi_dequantize(TLPI_Q4_K, b, x, 256);
    for (int pair = 0; pair < 4; pair++) {
        for (int i = 0; i < 32; i++) {
            int byte = (pair * 32 + i) * 37 + 11, j = 2 * pair;
            const float *lo = x + 64 * pair, *hi = lo + 32;
            cr_assert_eq(lo[i], 0.5f * (float)(scales[j] * (byte % 16)) -
                                    2.0f * (float)mins[j]);
            cr_assert_eq(hi[i],
                         0.5f * (float)(scales[j + 1] * (byte / 16 % 16)) -
                             2.0f * (float)mins[j + 1]);
        }
    }
}

/* The same with fifth bits: element i of sub-block j has one if i is j + 8k. */
Test(quant, q5_k_block)
{
    uint8_t b[176] = { F16_HALF, F16_TWO };
    float x[256];

    memcpy(b + 4, packed_sm, 12);
    for (int i = 0; i < 32; i++)
        b[16 + i] = (uint8_t)(1 << i % 8);
    memset(b + 48, 0x73, 128);
    tlpi_dequantize(TLPI_Q5_K, b, x, 256);
    for (int j = 0; j < 8; j++) {
        for (int i = 0; i < 32; i++) {
            int q = (j % 2 ? 7 : 3) + (i % 8 == j ? 16 : 0);
            cr_assert_eq(x[32 * j + i],
                         0.5f * (float)(scales[j] * q) - 2.0f * (float)mins[j]);
        }
    }
}

/*
 * Chosen elements of Q6_K, their bits set one by one: element e of 128-half h,
 * quarter k, place i has its low bits in byte 64h + 32(k%2) + i (high half for
 * k >= 2) and its upper bits at 2k of byte 128 + 32h + i.
 */
Test(quant, q6_k_block)
{
    uint8_t b[210];
    float x[256];

    memset(b, 0, sizeof b);
    for (int j = 0; j < 16; j++)
        b[192 + j] = (uint8_t)(j - 8);
    b[209] = 0x38;             /* d = 0.5 */
    b[5] = 0xa3;               /* elements 5 and 69: low bits 3 and 10 */
    b[128 + 5] = 0x3 | 2 << 4; /* element 5: 3, element 69: 2 */
    b[64 + 32 + 7] = 0x4f;     /* elements 128+39 and 128+103: 15 and 4 */
    b[128 + 32 + 7] = 1 << 2 | 3 << 6;
    tlpi_dequantize(TLPI_Q6_K, b, x, 256);

    int q[256] = { 0 };
    q[5] = 3 + 48;
    q[69] = 10 + 32;
    q[128 + 39] = 15 + 16;
    q[128 + 103] = 4 + 48;
    for (int e = 0; e < 256; e++)
        cr_assert_eq(x[e], 0.5f * (float)((e / 16 - 8) * (q[e] - 32)), "%d", e);
}

/* Levels in the order of their codes, and their places in a block. */
Test(quant, codebook_blocks)
{
    static const float iq4[] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113 };
    static const float fp4[] = { 0,  0.5f,  1,  1.5f,  2,  3,  4,  6,
                                 -0, -0.5f, -1, -1.5f, -2, -3, -4, -6 };
    static const uint8_t iq4_nl[18] = { F16_HALF, NIB };
    static const uint8_t mxfp4[17] = { 129, NIB };
    uint8_t iq4_xs[136] = { F16_TWO, 0x1b, 0xe4, 0x10, 0x32, 0x54, 0x76 };
    static const int high[8] = { 3, 2, 1, 0, 0, 1, 2, 3 };
    float a[32], b[32], c[256];

    for (int i = 0; i < 128; i++)
        iq4_xs[8 + i] = (uint8_t)(i * 37 + 11);
    tlpi_dequantize(TLPI_IQ4_NL, iq4_nl, a, 32);
    tlpi_dequantize(TLPI_MXFP4, mxfp4, b, 32);
    tlpi_dequantize(TLPI_IQ4_XS, iq4_xs, c, 256);
    for (int i = 0; i < 32; i++) {
        cr_assert_eq(a[i], 0.5f * iq4[nib(i)]);
        cr_assert_eq(b[i], 4 * fp4[nib(i)]);
    }
    for (int e = 0; e < 256; e++) {
        int s = e / 32, byte = iq4_xs[8 + 16 * s + e % 16];
        int code = e % 32 < 16 ? byte % 16 : byte / 16;
        cr_assert_eq(c[e], 2.0f * (float)(16 * high[s] + s - 32) * iq4[code],
                     "%d", e);
    }
}

/* Lines "type | bytes of a block | its values". */
Test(quant, blocks_of_another_implementation)
{
    static char line[8192];
    int n_line = 0;
    FILE *f = fopen("test/data/blocks.txt", "r");

    cr_assert(f != NULL, "test/data/blocks.txt: cannot be read");
    while (fgets(line, sizeof line, f)) {
        char name[16];
        int at;
        if (line[0] == '#')
            continue;
        cr_assert_eq(sscanf(line, "%15[^ |] | %n", name, &at), 1, "%s", line);
        const tlpi_dtype_info *info = NULL;
        for (size_t i = 0; i < TLPI_COUNT(all_types); i++)
            if (strcmp(tlpi_dtype_name(all_types[i]), name) == 0)
                info = tlpi_dtype_get(all_types[i]);
        cr_assert_not_null(info, "%s", name);
        uint8_t b[256];
        float x[256];
        for (int i = 0; i < info->size; i++, at += 2)
            cr_assert_eq(sscanf(line + at, "%2hhx", &b[i]), 1, "%s", line);
        tlpi_dequantize(info->type, b, x, info->block);
        char *p = line + at + 3, *end;
        for (int i = 0; i < info->block; i++, p = end)
            cr_assert_eq(x[i], (float)tlpi_strtod(p, &end),
                         "%s: element %d is %.9g", line, i, (double)x[i]);
        cr_assert_eq(*p, '\n');
        n_line++;
    }
    fclose(f);
    cr_assert_geq(n_line, 30);
}

Test(quant, plain_types)
{
    float x[5] = { 1, -2.5f, 0, 65504, 0x1p-24f }, y[5];
    uint16_t h[5] = { 0x3c00, 0xc100, 0, 0x7bff, 1 };

    tlpi_dequantize(TLPI_F16, h, y, 5);
    cr_assert_arr_eq(y, x, sizeof x);
    uint16_t packed[5];
    tlpi_quantize(TLPI_F16, x, packed, 5);
    cr_assert_arr_eq(packed, h, sizeof h);
    tlpi_quantize(TLPI_BF16, x, packed, 2);
    cr_assert(packed[0] == 0x3f80 && packed[1] == 0xc020);
    tlpi_dequantize(TLPI_BF16, packed, y, 2);
    cr_assert(y[0] == 1 && y[1] == -2.5f);
    tlpi_quantize(TLPI_F32, x, y, 5);
    cr_assert_arr_eq(y, x, sizeof x);
}

/* ==== rounding =========================================================== */

#define N 2048

static float noise(uint32_t *state) /* in [-1, 1) */
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state * 0x1p-31f;
}

static void fill(float *x, int64_t n, float scale, float shift)
{
    uint32_t state = 7;

    for (int64_t i = 0; i < n; i++)
        x[i] = scale * noise(&state) + shift;
}

static void there_and_back(tlpi_dtype type, const float *x, float *y, int64_t n)
{
    uint8_t packed[4 * N];

    /* one byte past the rows must stay */
    size_t bytes = tlpi_row_bytes(type, n);
    if (bytes < sizeof packed)
        packed[bytes] = 0x5a;
    tlpi_quantize(type, x, packed, n);
    if (bytes < sizeof packed)
        cr_assert_eq(packed[bytes], 0x5a);
    tlpi_dequantize(type, packed, y, n);
}

/* The largest error that rounding may make of values in [-1, 1]: half a step
 * (a whole one at the clipped end of the symmetric types) and the rounding of
 * f16 scales; for K types also of scales to 63rds or 127ths of the largest. */
static float bound(tlpi_dtype type)
{
    switch (type) {
    case TLPI_F32:
        return 0;
    case TLPI_F16:
        return 0x1p-11f;
    case TLPI_BF16:
        return 0x1p-8f;
    case TLPI_Q8_0:
        return 0.5f / 127 + 0x1p-11f;
    case TLPI_Q4_0:
        return 1.0f / 8 + 0x1p-11f;
    case TLPI_Q5_0:
        return 1.0f / 16 + 0x1p-11f;
    case TLPI_Q4_1:
        return 1.0f / 15 + 0x1p-10f;
    case TLPI_Q5_1:
        return 1.0f / 31 + 0x1p-10f;
    case TLPI_Q2_K: /* the search may clip an end */
        return 1.0f / 3 + 2.0f / 15;
    case TLPI_Q3_K:
        return 1.0f / 4 + 1.0f / 32;
    case TLPI_Q4_K:
        return 1.0f / 15 + 2.0f / 63;
    case TLPI_Q5_K:
        return 1.0f / 31 + 2.0f / 63;
    case TLPI_Q6_K:
        return 1.0f / 32 + 1.0f / 127;
    case TLPI_IQ4_NL:
    case TLPI_IQ4_XS:
        return 0.15f;
    case TLPI_MXFP4:
        return 0.25f;
    }
    return -1;
}

Test(quant, errors_are_bounded)
{
    static const float scales_of_x[] = { 1, 0.05f, 1000 };
    float x[N], y[N];

    for (size_t k = 0; k < TLPI_COUNT(all_types); k++) {
        for (size_t s = 0; s < TLPI_COUNT(scales_of_x); s++) {
            fill(x, N, scales_of_x[s], 0);
            there_and_back(all_types[k], x, y, N);
            for (int i = 0; i < N; i++)
                cr_assert_leq(
                    fabsf(x[i] - y[i]), bound(all_types[k]) * scales_of_x[s],
                    "%s: %d: %g became %g", tlpi_dtype_name(all_types[k]), i,
                    (double)x[i], (double)y[i]);
        }
    }
}

/* Values spread evenly between two steps are off by step / sqrt(12) in the
 * root mean square if each goes to the nearer one, by twice that if not. */
Test(quant, rounding_is_to_the_nearest)
{
    static const struct {
        tlpi_dtype type;
        double step; /* for values in [-1, 1] */
    } cases[] = {
        { TLPI_Q8_0, 1.0 / 127 }, { TLPI_Q4_0, 1.0 / 8 },
        { TLPI_Q5_0, 1.0 / 16 },  { TLPI_Q4_1, 2.0 / 15 },
        { TLPI_Q5_1, 2.0 / 31 },  { TLPI_Q4_K, 2.0 / 15 },
        { TLPI_Q5_K, 2.0 / 31 },  { TLPI_Q6_K, 1.0 / 32 },
    };
    float x[N], y[N];

    fill(x, N, 1, 0);
    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        double sum = 0;
        there_and_back(cases[k].type, x, y, N);
        for (int i = 0; i < N; i++)
            sum += pow((double)y[i] - (double)x[i], 2);
        cr_assert_lt(sqrt(sum / N), 1.2 * cases[k].step / sqrt(12), "%s",
                     tlpi_dtype_name(cases[k].type));
    }
}

/* Steps that just cover the range make nine tenths of such an error or more:
 * the search must find better ones. */
Test(quant, k_types_search)
{
    static const struct {
        tlpi_dtype type;
        double step;
    } cases[] = {
        { TLPI_Q4_K, 2.0 / 15 },
        { TLPI_Q5_K, 2.0 / 31 },
        { TLPI_Q6_K, 1.0 / 32 },
    };
    float x[N], y[N];

    fill(x, N, 1, 0);
    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        double sum = 0;
        there_and_back(cases[k].type, x, y, N);
        for (int i = 0; i < N; i++)
            sum += pow((double)y[i] - (double)x[i], 2);
        cr_assert_lt(sqrt(sum / N), 0.88 * cases[k].step / sqrt(12), "%s",
                     tlpi_dtype_name(cases[k].type));
    }
}

/* The root mean square of the errors, times sqrt(12): the step of even levels
 * with these errors. */
static double step_of_errors(tlpi_dtype type, const float *x)
{
    float y[N];
    double sum = 0;

    there_and_back(type, x, y, N);
    for (int i = 0; i < N; i++)
        sum += pow((double)y[i] - (double)x[i], 2);
    return sqrt(sum / N * 12);
}

/* The plain step, which puts the extreme at the end of the table, makes 0.138
 * for IQ4_NL and 0.135 for IQ4_XS.  Of the two powers of two, the smaller makes
 * 0.569 and the larger 0.670 for values whose extremes are rare. */
Test(quant, codebook_types_search)
{
    float x[N], y[N];

    fill(x, N, 1, 0);
    cr_assert_lt(step_of_errors(TLPI_IQ4_NL, x), 0.13);
    cr_assert_lt(step_of_errors(TLPI_IQ4_XS, x), 0.13);
    uint32_t state = 7;
    for (int i = 0; i < N; i++) {
        y[i] = 0;
        for (int k = 0; k < 6; k++)
            y[i] += noise(&state);
    }
    cr_assert_lt(step_of_errors(TLPI_MXFP4, y), 0.56);
}

/* Rounding what was rounded changes nothing where the block's own extremes
 * are on its grid. */
Test(quant, rounding_twice_is_rounding_once)
{
    static const tlpi_dtype types[] = { TLPI_F16, TLPI_BF16, TLPI_Q8_0,
                                        TLPI_Q4_0, TLPI_Q5_0 };
    float x[N], y[N], z[N];

    fill(x, N, 3, 0);
    for (size_t k = 0; k < TLPI_COUNT(types); k++) {
        there_and_back(types[k], x, y, N);
        there_and_back(types[k], y, z, N);
        for (int i = 0; i < N; i++)
            cr_assert_eq(y[i], z[i], "%s", tlpi_dtype_name(types[k]));
    }
}

Test(quant, zeros_stay_zeros)
{
    float x[N] = { 0 }, y[N];

    for (size_t k = 0; k < TLPI_COUNT(all_types); k++) {
        there_and_back(all_types[k], x, y, N);
        for (int i = 0; i < N; i++)
            cr_assert_eq(y[i], 0);
    }
}

/* Constant blocks: no range to divide by.  0.75 is exact in f16, and so is
 * each type's way to it but for the steps of 127ths and 63rds. */
Test(quant, constants)
{
    float x[N], y[N];

    for (int sign = -1; sign <= 1; sign += 2) {
        fill(x, N, 0, 0.75f * (float)sign);
        for (size_t k = 0; k < TLPI_COUNT(all_types); k++) {
            there_and_back(all_types[k], x, y, N);
            for (int i = 0; i < N; i++)
                cr_assert_float_eq(y[i], x[i], 0.75f / 512, "%s: %g",
                                   tlpi_dtype_name(all_types[k]), (double)y[i]);
        }
    }
}

/* Only that nothing undefined happens (run under UBSan). */
Test(quant, what_is_not_finite_is_survived)
{
    static const float odd[] = { NAN,     INFINITY, -INFINITY,
                                 FLT_MAX, -FLT_MAX, FLT_MIN / 8 };
    float x[N], y[N];

    for (size_t k = 0; k < TLPI_COUNT(all_types); k++) {
        for (size_t o = 0; o < TLPI_COUNT(odd); o++) {
            fill(x, N, 1e-30f, 0);
            for (int i = 0; i < N; i += 48)
                x[i] = odd[o];
            there_and_back(all_types[k], x, y, N);
        }
        fill(x, N, 0, NAN);
        there_and_back(all_types[k], x, y, N);
        cr_assert(all_types[k] != TLPI_F16 || isnan(y[0]));
    }
}
