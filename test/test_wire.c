/*
 * test_wire.c - activations on the wire: exact values, bounds of errors, what
 * is not finite, and the same bytes everywhere.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/wire.h"
#include "support/check.h"
#include "tensor/tensor.h"

TestSuite(wire, .timeout = 60);

#define BLOCK TLPI_WIRE_BLOCK
#define MAX_N 700

static const int wires[] = { TLP_WIRE_F32, TLP_WIRE_BF16, TLP_WIRE_Q8 };
static const size_t sizes[] = { 0, 1, 2, 31, 32, 33, 63, 64, 95, 576, MAX_N };

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 32);
}

/* Values like activations: mostly small, some large. */
static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float v = (float)((int32_t)next(&seed) >> 8) * 0x1p-20f;
        x[i] = next(&seed) % 50 == 0 ? v * 40 : v;
    }
}

/* There and back. */
static void carry(int wire, float *y, const float *x, size_t n)
{
    char bytes[MAX_N * sizeof *x];

    tlpi_wire_encode(wire, bytes, x, n);
    tlpi_wire_decode(wire, y, bytes, n);
}

/* ==== sizes and places =================================================== */

Test(wire, bytes)
{
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_F32, 33), 132);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_BF16, 33), 66);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_Q8, 0), 0);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_Q8, 1), 5);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_Q8, 32), 36);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_Q8, 33), 41);
    cr_assert_eq(tlpi_wire_bytes(TLP_WIRE_Q8, 576), 648);
}

/* Nothing is written outside, wherever the bytes lie. */
static void check_place(int wire, size_t n, size_t shift)
{
    enum { GUARD = 64 };
    char bytes[MAX_N * sizeof(float) + 2 * GUARD];
    float x[MAX_N], y[MAX_N + 2], z[MAX_N + 2], plain[MAX_N];
    size_t size = tlpi_wire_bytes(wire, n);

    fill(x, n, n + 1);
    carry(wire, plain, x, n);
    memset(bytes, 0x5a, sizeof bytes);
    for (size_t i = 0; i < n + 2; i++)
        y[i] = z[i] = 3.25f;
    tlpi_wire_encode(wire, bytes + GUARD + shift, x, n);
    tlpi_wire_decode(wire, y + 1, bytes + GUARD + shift, n);
    tlpi_wire_decode_add(wire, z + 1, bytes + GUARD + shift, n);

    for (size_t i = 0; i < sizeof bytes; i++)
        if (i < GUARD + shift || i >= GUARD + shift + size)
            cr_assert_eq(bytes[i], 0x5a, "wire %d, %zu floats: byte %zu", wire,
                         n, i);
    cr_assert(y[0] == 3.25f && y[n + 1] == 3.25f);
    cr_assert(z[0] == 3.25f && z[n + 1] == 3.25f);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(bits_of(y[i + 1]), bits_of(plain[i]));
        cr_assert_eq(bits_of(z[i + 1]), bits_of(3.25f + plain[i]));
    }
}

Test(wire, any_length_and_place)
{
    for (size_t w = 0; w < TLPI_COUNT(wires); w++)
        for (size_t i = 0; i < TLPI_COUNT(sizes); i++)
            for (size_t shift = 0; shift < 8; shift++)
                check_place(wires[w], sizes[i], shift);
}

/* The bytes do not depend on compiler or machine: a peer reads them. */
Test(wire, bytes_are_the_same_everywhere)
{
    static const uint64_t want[] = { 0xd86a48b115bd17c7, 0xbd3f044000a4db87,
                                     0xbe60cc380343d851 };
    char bytes[MAX_N * sizeof(float)];
    float x[MAX_N];

    fill(x, MAX_N, 7);
    for (size_t w = 0; w < TLPI_COUNT(wires); w++) {
        uint64_t hash = 0xcbf29ce484222325;
        size_t n = tlpi_wire_bytes(wires[w], MAX_N);
        tlpi_wire_encode(wires[w], bytes, x, MAX_N);
        for (size_t i = 0; i < n; i++)
            hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
        cr_expect_eq(hash, want[w], "wire %d: %#llx", wires[w],
                     (unsigned long long)hash);
    }
}

/* ==== F32, BF16 ========================================================== */

Test(wire, f32_keeps_all_bits)
{
    uint64_t rng = 3;
    float x[MAX_N], y[MAX_N];

    for (size_t i = 0; i < MAX_N; i++)
        x[i] = float_of(next(&rng)); /* NaNs and infinities among them */
    carry(TLP_WIRE_F32, y, x, MAX_N);
    cr_assert_eq(memcmp(x, y, sizeof x), 0);
}

static float through_bf16(float f)
{
    float y;
    carry(TLP_WIRE_BF16, &y, &f, 1);
    return y;
}

Test(wire, bf16_rounds_to_nearest_even)
{
    static const float pairs[][2] = {
        { 0, 0 },
        { 1, 1 },
        { -2.5f, -2.5f },
        { 0x1.01p0f, 0x1p0f },         /* a tie, down to even */
        { 0x1.03p0f, 0x1.04p0f },      /* a tie, up to even */
        { 0x1.010002p0f, 0x1.02p0f },  /* above a tie */
        { 0x1.02fffep0f, 0x1.02p0f },  /* below one */
        { -0x1.ffp3f, -0x1p4f },       /* into the exponent */
        { 0x1p-149f, 0 },              /* the least subnormal */
        { 0x1.fep127f, 0x1.fep127f },  /* the greatest there is */
        { 0x1.fffffep127f, INFINITY }, /* beyond it */
        { -INFINITY, -INFINITY },
    };

    for (size_t i = 0; i < TLPI_COUNT(pairs); i++)
        cr_assert_eq(bits_of(through_bf16(pairs[i][0])), bits_of(pairs[i][1]),
                     "%a gives %a, not %a", (double)pairs[i][0],
                     (double)through_bf16(pairs[i][0]), (double)pairs[i][1]);
    cr_assert_eq(bits_of(through_bf16(-0.0f)), 0x80000000);
}

Test(wire, bf16_keeps_nans)
{
    static const uint32_t nans[] = { 0x7f800001, 0x7fffffff, 0xff800001,
                                     0xffffffff, 0x7fc00000, 0xffc12345 };

    for (size_t i = 0; i < TLPI_COUNT(nans); i++) {
        float y = through_bf16(float_of(nans[i]));
        cr_assert(isnan(y), "%#x gives %a", nans[i], (double)y);
        cr_assert_eq(bits_of(y) >> 31, nans[i] >> 31);
    }
}

Test(wire, bf16_is_the_tensor_type)
{
    uint64_t rng = 5;
    float x[MAX_N], y[MAX_N];

    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < MAX_N; i++)
            x[i] = float_of(next(&rng));
        carry(TLP_WIRE_BF16, y, x, MAX_N);
        for (size_t i = 0; i < MAX_N; i++) {
            float want = tlpi_bf16_to_f32(tlpi_f32_to_bf16(x[i]));
            if (isnan(want))
                cr_assert(isnan(y[i]));
            else
                cr_assert_eq(bits_of(y[i]), bits_of(want), "%a", (double)x[i]);
        }
    }
}

/* ==== Q8 ================================================================= */

Test(wire, q8_keeps_multiples_of_the_scale)
{
    float x[255], y[255];

    for (int scale = -3; scale < 3; scale++) {
        for (int i = 0; i < 255; i++)
            x[i] = ldexpf((float)(i - 127), scale);
        for (int i = 0; i < 255; i += BLOCK) /* each block has its 127 */
            x[i] = ldexpf(i % 64 ? 127 : -127, scale);
        carry(TLP_WIRE_Q8, y, x, 255);
        for (int i = 0; i < 255; i++)
            cr_assert_eq(bits_of(y[i]), bits_of(x[i] == 0 ? 0 : x[i]),
                         "%g gives %g", (double)x[i], (double)y[i]);
    }
}

static float largest(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, fabsf(x[i]));
    return max;
}

/* Half a step of the block's own scale, and a little for rounding. */
Test(wire, q8_errors_are_half_a_step)
{
    float x[MAX_N], y[MAX_N];

    for (uint64_t seed = 0; seed < 500; seed++) {
        fill(x, MAX_N, seed);
        for (size_t i = 0; i < BLOCK; i++)
            x[i] *= 1e6f; /* of no concern to the other blocks */
        carry(TLP_WIRE_Q8, y, x, MAX_N);
        for (size_t i = 0; i < MAX_N; i++) {
            size_t block = i / BLOCK * BLOCK;
            size_t n = TLPI_MIN(MAX_N - block, BLOCK);
            float step = largest(x + block, n) / 127;
            cr_assert(fabsf(y[i] - x[i]) <= step * 0.5001f,
                      "seed %u: %g gives %g, step %g", (unsigned)seed,
                      (double)x[i], (double)y[i], (double)step);
        }
    }
}

Test(wire, q8_of_very_small_and_very_large_values)
{
    static const float tops[] = { 0,         0x1p-149f,      0x1p-126f,
                                  0x1p-119f, 0x1p-118f,      1e-30f,
                                  1e30f,     0x1.fffffep127f };
    float x[BLOCK], y[BLOCK];

    for (size_t k = 0; k < TLPI_COUNT(tops); k++) {
        for (int i = 0; i < BLOCK; i++)
            x[i] = (float)(i - 16) / 16 * tops[k];
        carry(TLP_WIRE_Q8, y, x, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            cr_assert(fabsf(y[i] - x[i]) <= tops[k] / 250 + 0x1p-119f,
                      "%a gives %a", (double)x[i], (double)y[i]);
    }
}

/* One bad value makes its whole block NaN: nobody takes it for a number. */
Test(wire, q8_shows_what_is_not_finite)
{
    static const uint32_t bad[] = { 0x7f800000, 0xff800000, 0x7fc00000,
                                    0x7f800001, 0xffffffff };
    float x[3 * BLOCK - 5], y[3 * BLOCK - 5];
    const size_t n = TLPI_COUNT(x);

    for (size_t k = 0; k < TLPI_COUNT(bad); k++) {
        for (size_t at = 0; at < n; at++) {
            fill(x, n, at);
            x[at] = float_of(bad[k]);
            carry(TLP_WIRE_Q8, y, x, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(isnan(y[i]) != 0, i / BLOCK == at / BLOCK,
                             "%#x at %zu: value %zu is %g", bad[k], at, i,
                             (double)y[i]);
        }
    }
}

/* Bytes from a peer may be anything. */
Test(wire, any_bytes_decode)
{
    uint64_t rng = 9;
    char bytes[MAX_N * sizeof(float)];
    float y[MAX_N], z[MAX_N];

    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)next(&rng);
        for (size_t w = 0; w < TLPI_COUNT(wires); w++) {
            tlpi_wire_decode(wires[w], y, bytes, MAX_N);
            tlpi_wire_decode(wires[w], z, bytes, MAX_N);
            cr_assert_eq(memcmp(y, z, sizeof y), 0);
        }
    }
}
