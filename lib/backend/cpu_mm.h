/*
 * cpu_mm.h - matmul kernels of the CPU backend, and the layouts that they
 * read.
 *
 * The unit of work is a group of 16 rows of W times a tile of a few tokens.
 * Each (row, token) is summed over the columns in one fixed order for every
 * tile size, so a token's result does not depend on its neighbours.
 *
 * Three ways to multiply:
 *   dot_q  8-bit activations, quantised in blocks of 32 columns, times the
 *          integer levels of a quantised weight;
 *   dot_f  f32 activations times a panel: up to 256 columns of the group.
 *          Float weights are read in place; others are converted to f32 in
 *          the L1 cache;
 *   dot_b  bf16 activations times BF16 weights, where the machine multiplies
 *          pairs of them in one instruction.
 *
 * Packed weights.  A group is stored in blocks of 32 columns, one after the
 * other, so that a kernel reads one stream.  A block of a quantised type has
 *   levels  64 * bits bytes.  The columns come as 8 quads of 4; a quad is 64
 *           bytes [16 rows][4 columns].  Four quads hold the low nibbles of
 *           columns 0..15 and, in the high half of the byte, 16..31.  The
 *           upper bits are in further quads: bit j of a byte for quad j, or
 *           bits 2(j%4).. of the byte of plane j/4.  8-bit levels: eight quads.
 *   scales  d[16], and for affine types m[16], in f16.  With super scales: one
 *           byte for each in place of f16, and before every 8th block d[16]
 *           and m[16] in f16 that multiply these bytes.
 * F32 and F16 are stored [columns][16 rows], BF16 [columns / 2][16 rows][2] in
 * whole blocks of 32 columns.  Rows and columns past the last are 0.
 */
#ifndef TLPI_CPU_MM_H
#define TLPI_CPU_MM_H

#include "backend/cpu.h"
#include "base/slab.h"

enum {
    TLPI_GROUP = 16,    /* rows of a group */
    TLPI_MM_BLOCK = 32, /* columns of a block */
    TLPI_SUPER = 256,   /* columns under one super scale */
    TLPI_LEVEL_BYTES = 2 * TLPI_GROUP * TLPI_MM_BLOCK, /* see unpack */
    TLPI_MAX_TILE = 8,  /* tokens of the largest tile of vector kernels */
    TLPI_WIDE_TILE = 16 /* tokens of a tile of AMX kernels */
};

struct tlpi_weight {
    const tlpi_env *env;
    tlpi_dtype type;
    int64_t n_row, n_col;
    size_t group_bytes; /* distance between groups of 16 rows */
    size_t n_bytes;
    const uint8_t *data; /* packed, or rows as in the file */
    tlpi_slab *home;     /* slab of data; NULL if data is the file's */
};

/*
 * Number format of a quantised type: value = d * (level - zero) or d * level +
 * m.  Kernels are generated from this by passing the type as a constant.
 */
typedef struct tlpi_mm_shape {
    int bits;    /* of a level: 4, 5, 6, 8; 0 for F32, F16, BF16 */
    int zero;    /* log2 of the level that means 0; -1 for affine types */
    int n_scale; /* scales of a block: 2 where 16 columns have one scale */
    bool super;  /* scales are bytes under f16 super scales */
} tlpi_mm_shape;

static inline tlpi_mm_shape tlpi_mm_shape_of(tlpi_dtype type)
{
    switch (type) {
    case TLPI_Q4_0:
        return (tlpi_mm_shape){ 4, 3, 1, false };
    case TLPI_Q4_1:
        return (tlpi_mm_shape){ 4, -1, 1, false };
    case TLPI_Q5_0:
        return (tlpi_mm_shape){ 5, 4, 1, false };
    case TLPI_Q5_1:
        return (tlpi_mm_shape){ 5, -1, 1, false };
    case TLPI_Q8_0:
        return (tlpi_mm_shape){ 8, 7, 1, false };
    case TLPI_Q4_K:
        return (tlpi_mm_shape){ 4, -1, 1, true };
    case TLPI_Q5_K:
        return (tlpi_mm_shape){ 5, -1, 1, true };
    case TLPI_Q6_K:
        return (tlpi_mm_shape){ 6, 5, 2, true };
    case TLPI_F32:
    case TLPI_F16:
    case TLPI_BF16:
        break;
    }
    return (tlpi_mm_shape){ 0, 0, 0, false };
}

/* Bytes of the levels of a packed block; its scales follow. */
static inline int tlpi_mm_level_bytes(tlpi_mm_shape s)
{
    return TLPI_GROUP * TLPI_MM_BLOCK / 8 * s.bits;
}

static inline int tlpi_mm_block_bytes(tlpi_mm_shape s)
{
    int n = s.n_scale + (s.zero < 0);
    return tlpi_mm_level_bytes(s) + n * TLPI_GROUP * (s.super ? 1 : 2);
}

/* Bytes of the super scales, which stand before every 8 blocks. */
static inline int tlpi_mm_super_bytes(tlpi_mm_shape s)
{
    return s.super ? TLPI_GROUP * (s.zero < 0 ? 4 : 2) : 0;
}

/*
 * 32 columns of one token in 8 bits: x = d * q.  A tile of T tokens is stored
 * [block][T], so that a kernel reads one stream.
 */
typedef struct tlpi_xq {
    int8_t q[TLPI_MM_BLOCK];
    float d;        /* largest |x| / 127 */
    float s;        /* d * sum of q, which the m of affine types multiplies */
    int32_t n;      /* -sum of q; with n_high it subtracts the zero */
    int32_t n_high; /* -sum of the upper half of q */
} tlpi_xq;

/* 32 columns of one token in bf16; tiles are stored [block][T]. */
typedef struct tlpi_xb {
    uint16_t v[TLPI_MM_BLOCK];
} tlpi_xb;

/* Columns of a group as F32, F16 or BF16, in the order of packed weights. */
typedef struct tlpi_panel {
    tlpi_dtype type;
    const void *data;
} tlpi_panel;

/* Kernels.  T is 1 ... tile unless noted; sum is [T][16]. */
typedef struct tlpi_cpu_mm {
    const char *isa;
    bool packed; /* weights are packed, else rows as in the file */
    int tile;    /* tokens of the largest tile for dot_q */
    int tile_b;  /* for dot_b */
    int tile_f;  /* with many tokens, the tile size at which dot_f is fastest */
    int wide_from; /* number of tokens from which dot_w is faster than dot_q */

    /* Called on every thread around products, or NULL: sets the machine up for
     * dot_w and dot_b. */
    void (*begin)(void);
    void (*end)(void);

    /* n_block * 32 floats to out[0], out[step], ... */
    void (*quantize)(const float *x, int n_block, tlpi_xq *out, int step);

    /* sum = W x for a tile */
    void (*dot_q)(const tlpi_weight *w, int64_t group, const tlpi_xq *x, int T,
                  float *sum);

    /* dot_q for T up to TLPI_WIDE_TILE, with equal bits; NULL without such
     * kernels.  `level` is a group from unpack: TLPI_LEVEL_BYTES for each
     * block.  dot_w, and possibly dot_b, reads the memory of 16 tokens for
     * every T. */
    void (*unpack)(const tlpi_weight *w, int64_t group, int8_t *level);
    void (*dot_w)(const tlpi_weight *w, int64_t group, const int8_t *level,
                  const tlpi_xq *x, int T, float *sum);

    /* dot_q in bf16, T up to tile_b; NULL without such kernels.  They need
     * more than the table's instruction set: see tlpi_cpu_has_bf16. */
    void (*narrow)(const float *x, int64_t n, tlpi_xb *out, int step);
    void (*dot_b)(const tlpi_weight *w, int64_t group, const tlpi_xb *x, int T,
                  float *sum);

    /* Columns [k0, k0 + n) of a group for n_tok tokens: converted to f32 in
     * buf, or in place.  k0 is a multiple of 256; n is at most 256. */
    tlpi_panel (*panel)(const tlpi_weight *w, int64_t group, int64_t k0, int n,
                        int n_tok, float *buf);

    /* sum += panel x for a tile; x [T][stride] */
    void (*dot_f)(tlpi_panel panel, int n, const float *x, int64_t stride,
                  int T, float *sum);

    /* y = fn(gate) * up over n floats, a multiple of 16; y may be gate */
    void (*gate_mul[TLPI_N_GATE])(const float *gate, const float *up, float *y,
                                  int n);
} tlpi_cpu_mm;

extern const tlpi_cpu_mm tlpi_cpu_mm_scalar;
extern const tlpi_cpu_mm tlpi_cpu_mm_avx2;
extern const tlpi_cpu_mm tlpi_cpu_mm_avx512;
extern const tlpi_cpu_mm tlpi_cpu_mm_amx;

#endif
