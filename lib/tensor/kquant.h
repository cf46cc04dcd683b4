/*
 * kquant.h - writing blocks by search, and the packed scales of K types.
 *
 * Q4_K and Q5_K have eight six-bit scales s and eight six-bit minimums m in 12
 * bytes:
 *   byte j,   j < 4   s[j] below, bits 4-5 of s[j+4] on top
 *   byte 4+j          m[j] below, bits 4-5 of m[j+4] on top
 *   byte 8+j          bits 0-3 of s[j+4] below, of m[j+4] on top
 *
 * Q3_K has sixteen six-bit scales, each plus 32, in 12 bytes:
 *   byte j,   j < 8   bits 0-3 of s[j] below, of s[j+8] on top
 *   byte 8+j, j < 4   bits 4-5 of s[j], s[j+4], s[j+8] and s[j+12]
 */
#ifndef TLPI_KQUANT_H
#define TLPI_KQUANT_H

#include <stdint.h>

static inline void tlpi_kquant_unpack(const uint8_t packed[12], uint8_t s[8],
                                      uint8_t m[8])
{
    for (int j = 0; j < 4; j++) {
        s[j] = packed[j] & 0x3f;
        m[j] = packed[4 + j] & 0x3f;
        s[j + 4] = (uint8_t)((packed[8 + j] & 0xf) | packed[j] >> 6 << 4);
        m[j + 4] = (uint8_t)(packed[8 + j] >> 4 | packed[4 + j] >> 6 << 4);
    }
}

static inline void tlpi_kquant_pack(const uint8_t s[8], const uint8_t m[8],
                                    uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(s[j] | s[j + 4] >> 4 << 6);
        packed[4 + j] = (uint8_t)(m[j] | m[j + 4] >> 4 << 6);
        packed[8 + j] = (uint8_t)((s[j + 4] & 0xf) | (m[j + 4] & 0xf) << 4);
    }
}

static inline void tlpi_q3_k_unpack(const uint8_t packed[12], int8_t s[16])
{
    for (int j = 0; j < 16; j++) {
        int low = packed[j % 8] >> (j / 8 * 4) & 0xf;
        int high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        s[j] = (int8_t)((low | high << 4) - 32);
    }
}

static inline void tlpi_q3_k_pack(const int8_t s[16], uint8_t packed[12])
{
    for (int j = 0; j < 12; j++)
        packed[j] = 0;
    for (int j = 0; j < 16; j++) {
        int code = s[j] + 32;
        packed[j % 8] |= (uint8_t)((code & 0xf) << (j / 8 * 4));
        packed[8 + j % 4] |= (uint8_t)((code >> 4) << (j / 4 * 2));
    }
}

/* Bits 0 and 1 of 256 codes as Q2_K and Q3_K store them: bits 2k, 2k+1 of byte
 * i of half h are of element 128h + 32k + i. */
static inline void tlpi_k_put_low_bits(const uint8_t q[256], uint8_t two[64])
{
    for (int i = 0; i < 64; i++) {
        const uint8_t *at = q + i / 32 * 128 + i % 32;
        two[i] = (uint8_t)((at[0] & 3) | (at[32] & 3) << 2 | (at[64] & 3) << 4 |
                           (at[96] & 3) << 6);
    }
}

/* Quantise 256 floats to a block, searching for the least weighted error
 * (quantize_affine.c, quantize_signed.c).  importance: of the columns, or
 * NULL. */
void tlpi_quantize_q2_k(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_q3_k(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_q4_k(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_q5_k(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_q6_k(const float *x, const float *importance, uint8_t *b);

/* 32 floats to a block of a type that is written by plain rounding where
 * columns have no importances. */
void tlpi_search_q4_0(const float *x, const float *importance, uint8_t *b);
void tlpi_search_q4_1(const float *x, const float *importance, uint8_t *b);
void tlpi_search_q5_0(const float *x, const float *importance, uint8_t *b);
void tlpi_search_q5_1(const float *x, const float *importance, uint8_t *b);

#endif
