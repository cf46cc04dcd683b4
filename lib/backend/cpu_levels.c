/*
 * cpu_levels.c - decode blocks of a file's tensor.
 */
#include "backend/cpu_levels.h"

#include <string.h>

#include "tensor/kquant.h"

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void store32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static void store64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/*
 * Levels are decoded 8 at a time, as the bytes of a word.
 */
#define EACH(byte) (0x0101010101010101u * (byte))

/* n bytes of two levels each: n low levels, then n high levels. */
static void read_nibbles(const uint8_t *q, int n, uint8_t *level)
{
    for (int i = 0; i < n; i += 8) {
        uint64_t v = load64(q + i);
        store64(level + i, v & EACH (15));
        store64(level + i + n, v >> 4 & EACH (15));
    }
}

/* The fifth bits of 32 levels. */
static void read_high_bits(uint32_t bits, uint8_t *level)
{
    for (int i = 0; i < 32; i += 4) {
        /* Bit j of four goes to byte j; the four copies do not overlap. */
        uint32_t v = (bits >> i & 15) * 0x00204081u & 0x01010101u;
        store32(level + i, load32(level + i) | v << 4);
    }
}

/* Four runs of 32 bytes; each byte holds a column of two neighbouring
 * blocks. */
static void read_nibbles_k(const uint8_t *q, uint8_t *level)
{
    for (int c = 0; c < 4; c++)
        read_nibbles(q + 32 * c, 32, level + 64 * c);
}

/* Bit b of byte i is bit `at` of level i of block b. */
static void read_high_bits_k(const uint8_t *high, int at, uint8_t *level)
{
    for (int b = 0; b < 8; b++)
        for (int i = 0; i < 32; i += 8) {
            uint64_t v = (load64(high + i) >> b & EACH (1)) << at;
            store64(level + 32 * b + i, load64(level + 32 * b + i) | v);
        }
}

/* Two halves of 128 levels, four quarters each: bits 2k, 2k+1 of 32 bytes are
 * the low bits of quarter k. */
static void read_low_bits_k(const uint8_t *q, uint8_t *level)
{
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i += 8) {
            uint64_t v = load64(q + 32 * h + i);
            for (int k = 0; k < 4; k++)
                store64(level + 128 * h + 32 * k + i, v >> 2 * k & EACH (3));
        }
}

/* Scales stay beside their minima in a byte. */
static void read_q2_k(const uint8_t *p, tlpi_levels *v)
{
    memcpy(v->sub_d, p, 16);
    read_low_bits_k(p + 16, v->level);
    v->d = load16(p + 80);
    v->m = load16(p + 82);
}

static void read_q3_k(const uint8_t *p, tlpi_levels *v)
{
    int8_t scale[16];

    tlpi_q3_k_unpack(p + 96, scale);
    memcpy(v->sub_d, scale, sizeof scale);
    read_low_bits_k(p + 32, v->level);
    read_high_bits_k(p, 2, v->level);
    v->d = load16(p + 108);
}

static void read_q6_k(const uint8_t *p, tlpi_levels *v)
{
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i += 8) {
            uint8_t *level = v->level + 128 * h + i;
            uint64_t a = load64(p + 64 * h + i);
            uint64_t b = load64(p + 64 * h + 32 + i);
            uint64_t high = load64(p + 128 + 32 * h + i);
            store64(level, (a & EACH (15)) | (high << 4 & EACH (48)));
            store64(level + 32, (b & EACH (15)) | (high << 2 & EACH (48)));
            store64(level + 64, (a >> 4 & EACH (15)) | (high & EACH (48)));
            store64(level + 96, (b >> 4 & EACH (15)) | (high >> 2 & EACH (48)));
        }
    memcpy(v->sub_d, p + 192, 16);
    v->d = load16(p + 208);
}

static void read_iq4_xs(const uint8_t *p, tlpi_levels *v)
{
    int8_t scale[8];

    tlpi_iq4_xs_scales(p, scale);
    memcpy(v->sub_d, scale, sizeof scale);
    for (int b = 0; b < 8; b++)
        read_nibbles(p + 8 + 16 * b, 16, v->level + 32 * b);
}

void tlpi_levels_read(tlpi_levels *v, tlpi_dtype type, const uint8_t *p)
{
    v->d = load16(p);
    v->m = load16(p + 2); /* affine types */
    switch (type) {
    case TLPI_Q2_K:
        read_q2_k(p, v);
        break;
    case TLPI_Q3_K:
        read_q3_k(p, v);
        break;
    case TLPI_Q6_K:
        read_q6_k(p, v);
        break;
    case TLPI_Q4_0:
    case TLPI_IQ4_NL:
        read_nibbles(p + 2, 16, v->level);
        break;
    case TLPI_Q4_1:
        read_nibbles(p + 4, 16, v->level);
        break;
    case TLPI_Q5_0:
        read_nibbles(p + 6, 16, v->level);
        read_high_bits(load32(p + 2), v->level);
        break;
    case TLPI_Q5_1:
        read_nibbles(p + 8, 16, v->level);
        read_high_bits(load32(p + 4), v->level);
        break;
    case TLPI_Q8_0:
        for (int i = 0; i < 32; i += 8)
            store64(v->level + i, load64(p + 2 + i) ^ EACH (128));
        break;
    case TLPI_Q4_K:
        tlpi_kquant_unpack(p + 4, v->sub_d, v->sub_m);
        read_nibbles_k(p + 16, v->level);
        break;
    case TLPI_Q5_K:
        tlpi_kquant_unpack(p + 4, v->sub_d, v->sub_m);
        read_nibbles_k(p + 48, v->level);
        read_high_bits_k(p + 16, 4, v->level);
        break;
    case TLPI_IQ4_XS:
        read_iq4_xs(p, v);
        break;
    case TLPI_MXFP4:
        v->d = p[0];
        read_nibbles(p + 1, 16, v->level);
        break;
    default:
        break;
    }
}
