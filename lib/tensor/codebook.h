/*
 * codebook.h - types whose 4-bit codes number the levels of a table: IQ4_NL,
 * IQ4_XS, MXFP4.
 */
#ifndef TLPI_CODEBOOK_H
#define TLPI_CODEBOOK_H

#include <string.h>

#include "tensor/tensor.h"

#define TLPI_N_CODE 16

/* IQ4_NL and IQ4_XS: levels that are denser around zero, as weights are. */
static const int8_t tlpi_iq4_levels[TLPI_N_CODE] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
};

/* MXFP4: floats with two bits of exponent and one of mantissa, doubled. */
static const int8_t tlpi_mxfp4_levels[TLPI_N_CODE] = { 0,  1,  2,  3,  4,  6,
                                                       8,  12, 0,  -1, -2, -3,
                                                       -4, -6, -8, -12 };

/* The scale of an MXFP4 block for its byte e: 2^(e - 128). */
static inline float tlpi_mxfp4_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x200000u << e : (e - 1u) << 23;
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The eight scales of an IQ4_XS block: 6 bits each, minus 32. */
static inline void tlpi_iq4_xs_scales(const uint8_t *b, int8_t s[8])
{
    int high = b[2] | b[3] << 8;

    for (int j = 0; j < 8; j++) {
        int low = b[4 + j / 2] >> (j % 2 * 4) & 15;
        s[j] = (int8_t)((low | (high >> 2 * j & 3) << 4) - 32);
    }
}

/* Quantise the floats of a block, searching for the least weighted error
 * (codebook.c).  importance: of the columns, or NULL. */
void tlpi_quantize_iq4_nl(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_iq4_xs(const float *x, const float *importance, uint8_t *b);
void tlpi_quantize_mxfp4(const float *x, const float *importance, uint8_t *b);

#endif
