/*
 * cpu_mm_shape.h - packed weights of the CPU backend: number formats and sizes.
 *
 * A group of 16 rows is stored in blocks of 32 columns, one after the other, so
 * that a kernel reads one stream.  A block of a quantised type has
 *   codes   64 * bits bytes.  The columns come as 8 quads of 4; a quad is 64
 *           bytes [16 rows][4 columns].  Codes of 8 bits: eight quads.  Of 4
 *           to 6 bits: four quads hold the low nibbles of columns 0..15 and,
 *           in the high half of the byte, 16..31; the upper bits follow.  Of 2
 *           and 3 bits: the lower two bits, then the third.  A plane of two
 *           bits is a pair of quads: bits 2(j%4).. of a byte of its quad j/4
 *           are of quad j.  A plane of one bit is a quad: bit j of a byte is of
 *           quad j.  A code is a level, or its number in the type's table.
 *   scales  d[16], and for affine types m[16], in f16, or d[16] as exponents of
 *           one byte for MXFP4.  With super scales: one byte for each in place
 *           of f16, and before every 8th block d[16] and m[16] in f16 that
 *           multiply these bytes.  Where 16 columns have one scale, d[16] of
 *           columns 0..15, then of 16..31; an m is the high half of d's byte.
 * F32 and F16 are stored [columns][16 rows], BF16 [columns / 2][16 rows][2] in
 * whole blocks of 32 columns.  Rows and columns past the last are 0.
 */
#ifndef TLPI_CPU_MM_SHAPE_H
#define TLPI_CPU_MM_SHAPE_H

#include "tensor/codebook.h"

enum {
    TLPI_GROUP = 16,    /* rows of a group */
    TLPI_MM_BLOCK = 32, /* columns of a block */
    TLPI_SUPER = 256    /* columns under one super scale */
};

/*
 * Number format of a quantised type: value = d * (level - zero) or d * level +
 * m.  Kernels are generated from this by passing the type as a constant.
 */
typedef struct tlpi_mm_shape {
    int bits;    /* of a code: 2 to 6, 8; 0 for F32, F16, BF16 */
    int zero;    /* log2 of the level that means 0; -1 for affine types */
    int n_scale; /* scales of a block: 2 where 16 columns have one scale */
    bool super;  /* scales are bytes under f16 super scales */
    bool e8m0;   /* scales are bytes e: 2^(e - 128) */
    const int8_t *table; /* level - zero of a code; NULL: a code is a level */
} tlpi_mm_shape;

static inline tlpi_mm_shape tlpi_mm_shape_of(tlpi_dtype type)
{
    const int8_t *iq4 = tlpi_iq4_levels, *mxfp4 = tlpi_mxfp4_levels;

    switch (type) {
    case TLPI_Q4_0:
        return (tlpi_mm_shape){ 4, 3, 1, false, false, NULL };
    case TLPI_Q4_1:
        return (tlpi_mm_shape){ 4, -1, 1, false, false, NULL };
    case TLPI_Q5_0:
        return (tlpi_mm_shape){ 5, 4, 1, false, false, NULL };
    case TLPI_Q5_1:
        return (tlpi_mm_shape){ 5, -1, 1, false, false, NULL };
    case TLPI_Q8_0:
        return (tlpi_mm_shape){ 8, 7, 1, false, false, NULL };
    case TLPI_Q2_K:
        return (tlpi_mm_shape){ 2, -1, 2, true, false, NULL };
    case TLPI_Q3_K:
        return (tlpi_mm_shape){ 3, 2, 2, true, false, NULL };
    case TLPI_Q4_K:
        return (tlpi_mm_shape){ 4, -1, 1, true, false, NULL };
    case TLPI_Q5_K:
        return (tlpi_mm_shape){ 5, -1, 1, true, false, NULL };
    case TLPI_Q6_K:
        return (tlpi_mm_shape){ 6, 5, 2, true, false, NULL };
    case TLPI_IQ4_NL:
        return (tlpi_mm_shape){ 4, 7, 1, false, false, iq4 };
    case TLPI_IQ4_XS:
        return (tlpi_mm_shape){ 4, 7, 1, true, false, iq4 };
    case TLPI_MXFP4:
        return (tlpi_mm_shape){ 4, 4, 1, false, true, mxfp4 };
    case TLPI_F32:
    case TLPI_F16:
    case TLPI_BF16:
        break;
    }
    return (tlpi_mm_shape){ 0, 0, 0, false, false, NULL };
}

/* Bits of a level. */
static inline int tlpi_mm_level_bits(tlpi_mm_shape s)
{
    return s.zero < 0 ? s.bits : s.zero + 1;
}

/* Has every run of 16 columns an offset of its own? */
static inline bool tlpi_mm_two_offsets(tlpi_mm_shape s)
{
    return s.zero < 0 && s.n_scale == 2;
}

/* Bytes of the codes of a packed block; its scales follow. */
static inline int tlpi_mm_code_bytes(tlpi_mm_shape s)
{
    return TLPI_GROUP * TLPI_MM_BLOCK / 8 * s.bits;
}

static inline int tlpi_mm_block_bytes(tlpi_mm_shape s)
{
    int n = s.n_scale == 1 && s.zero < 0 ? 2 : s.n_scale;
    return tlpi_mm_code_bytes(s) + n * TLPI_GROUP * (s.super || s.e8m0 ? 1 : 2);
}

/* Bytes of the super scales, which stand before every 8 blocks. */
static inline int tlpi_mm_super_bytes(tlpi_mm_shape s)
{
    return s.super ? TLPI_GROUP * (s.zero < 0 ? 4 : 2) : 0;
}

#endif
