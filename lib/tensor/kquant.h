/*
 * kquant.h - the K types: writing their blocks, and the packed scales of Q4_K
 * and Q5_K, eight six-bit scales s and eight six-bit minimums m in 12 bytes.
 *
 *   byte j,   j < 4   s[j] below, bits 4-5 of s[j+4] on top
 *   byte 4+j          m[j] below, bits 4-5 of m[j+4] on top
 *   byte 8+j          bits 0-3 of s[j+4] below, of m[j+4] on top
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

/* Quantise 256 floats to a block, searching for the least error
 * (kquantize.c). */
void tlpi_quantize_q4_k(const float *x, uint8_t *b);
void tlpi_quantize_q5_k(const float *x, uint8_t *b);
void tlpi_quantize_q6_k(const float *x, uint8_t *b);

#endif
