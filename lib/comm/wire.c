/*
 * wire.c - encoding of activations for messages: F32, BF16, Q8.
 *
 * All loops run over whole blocks of TLPI_WIRE_BLOCK values in arrays of that
 * size, because compilers vectorise such loops even at -O2.  A short last
 * block is padded with zeroes.
 */
#include "comm/wire.h"

#include <string.h>

#define BLOCK TLPI_WIRE_BLOCK

#define INF_BITS 0x7f800000 /* larger values are NaNs */

#define Q8_BYTES (sizeof(float) + BLOCK) /* of a whole block */

/* Largest encoding of a whole block. */
#define BLOCK_BYTES (BLOCK * sizeof(float))

_Static_assert(sizeof(float) == sizeof(uint32_t), "floats are 32 bits");

typedef void encode_fn(char *dst, const float *x);
typedef void decode_fn(float *y, const char *src);

/* ==== one block ========================================================== */

/* NaNs bypass the rounding, which could carry them into the sign bit. */
static void encode_bf16(char *dst, const float *x)
{
    int32_t u[BLOCK];
    int16_t h[BLOCK];

    memcpy(u, x, sizeof u);
    for (int i = 0; i < BLOCK; i++) {
        int32_t is_nan = -((u[i] & INT32_MAX) > INF_BITS);
        uint32_t even = (uint32_t)u[i] + 0x7fff + ((uint32_t)u[i] >> 16 & 1);
        int32_t quiet = u[i] | 0x400000;
        h[i] =
            (int16_t)(((int32_t)even & ~is_nan) >> 16 | (quiet & is_nan) >> 16);
    }
    memcpy(dst, h, sizeof h);
}

static void decode_bf16(float *y, const char *src)
{
    uint16_t h[BLOCK];
    uint32_t u[BLOCK];

    memcpy(h, src, sizeof h);
    for (int i = 0; i < BLOCK; i++)
        u[i] = (uint32_t)h[i] << 16;
    memcpy(y, u, sizeof u);
}

/* The largest magnitude as bits.  Bits of magnitudes have the order of the
 * magnitudes; NaNs are larger than all numbers. */
static int32_t max_bits(const float *x)
{
    enum { LANES = 8 };
    int32_t u[BLOCK], top[LANES] = { 0 };

    memcpy(u, x, sizeof u);
    for (int i = 0; i < BLOCK; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            int32_t a = u[i + k] & INT32_MAX;
            top[k] = a > top[k] ? a : top[k];
        }
    }
    int32_t max = 0;
    for (int k = 0; k < LANES; k++)
        max = TLPI_MAX(max, top[k]);
    return max;
}

/* x * inverse rounded to the nearest integer, ties to even.  A float of the
 * sum's size has no fraction bits, so the addition rounds. */
static void quantize(int8_t *q, const float *x, float inverse)
{
    static const float magic = 0x1.8p23f;
    static const int32_t magic_bits = 0x4b400000;
    float sum[BLOCK];
    int32_t u[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        sum[i] = x[i] * inverse + magic;
    memcpy(u, sum, sizeof u);
    for (int i = 0; i < BLOCK; i++)
        q[i] = (int8_t)(u[i] - magic_bits);
}

/* A value that is not finite makes the scale d of its block a NaN, so that the
 * fault shows.  Where 1/d would not be finite, all values become zero. */
static void encode_q8(char *dst, const float *x)
{
    static const float tiny = 0x1p-119f;   /* 127 * the smallest normal float */
    static const float huge = 0x1.02p121f; /* 127 times this is still finite */
    static const uint32_t nan = 0x7fc00000;
    int8_t q[BLOCK] = { 0 };
    int32_t bits = max_bits(x);
    float max, d = 0;

    memcpy(&max, &bits, sizeof max);
    if (bits >= INF_BITS) {
        memcpy(&d, &nan, sizeof d);
    } else if (max > tiny) {
        d = TLPI_MIN(max / 127, huge);
        quantize(q, x, 127 / max);
    }
    memcpy(dst, &d, sizeof d);
    memcpy(dst + sizeof d, q, sizeof q);
}

static void decode_q8(float *y, const char *src)
{
    int8_t q[BLOCK];
    float d;

    memcpy(&d, src, sizeof d);
    memcpy(q, src + sizeof d, sizeof q);
    for (int i = 0; i < BLOCK; i++)
        y[i] = d * (float)q[i];
}

/* ==== vectors ============================================================ */

size_t tlpi_wire_bytes(int wire, size_t n)
{
    switch (wire) {
    case TLP_WIRE_BF16:
        return n * sizeof(uint16_t);
    case TLP_WIRE_Q8:
        return n + (n + BLOCK - 1) / BLOCK * sizeof(float);
    default:
        return n * sizeof(float);
    }
}

static inline void encode(encode_fn *fn, int wire, char *dst, const float *x,
                          size_t n)
{
    size_t step = tlpi_wire_bytes(wire, BLOCK);

    for (; n >= BLOCK; n -= BLOCK, x += BLOCK, dst += step)
        fn(dst, x);
    if (n > 0) {
        float rest[BLOCK] = { 0 };
        char bytes[BLOCK_BYTES];
        memcpy(rest, x, n * sizeof *x);
        fn(bytes, rest);
        memcpy(dst, bytes, tlpi_wire_bytes(wire, n));
    }
}

static void add_block(float *y, const float *x)
{
    float sum[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        sum[i] = y[i] + x[i];
    memcpy(y, sum, sizeof sum);
}

static inline void decode(decode_fn *fn, int wire, float *y, const char *src,
                          size_t n, bool add)
{
    size_t step = tlpi_wire_bytes(wire, BLOCK);
    float x[BLOCK];

    for (; n >= BLOCK; n -= BLOCK, y += BLOCK, src += step) {
        if (add) {
            fn(x, src);
            add_block(y, x);
        } else {
            fn(y, src);
        }
    }
    if (n > 0) {
        char bytes[BLOCK_BYTES] = { 0 };
        memcpy(bytes, src, tlpi_wire_bytes(wire, n));
        fn(x, bytes);
        for (size_t i = 0; i < n; i++)
            y[i] = add ? y[i] + x[i] : x[i];
    }
}

static void decode_f32(float *y, const char *src)
{
    memcpy(y, src, BLOCK * sizeof *y);
}

void tlpi_wire_encode(int wire, void *dst, const float *x, size_t n)
{
    if (wire == TLP_WIRE_BF16)
        encode(encode_bf16, wire, dst, x, n);
    else if (wire == TLP_WIRE_Q8)
        encode(encode_q8, wire, dst, x, n);
    else if (n > 0)
        memcpy(dst, x, n * sizeof *x);
}

void tlpi_wire_decode(int wire, float *y, const void *src, size_t n)
{
    if (wire == TLP_WIRE_BF16)
        decode(decode_bf16, wire, y, src, n, false);
    else if (wire == TLP_WIRE_Q8)
        decode(decode_q8, wire, y, src, n, false);
    else if (n > 0)
        memcpy(y, src, n * sizeof *y);
}

void tlpi_wire_decode_add(int wire, float *y, const void *src, size_t n)
{
    if (wire == TLP_WIRE_BF16)
        decode(decode_bf16, wire, y, src, n, true);
    else if (wire == TLP_WIRE_Q8)
        decode(decode_q8, wire, y, src, n, true);
    else
        decode(decode_f32, wire, y, src, n, true);
}
