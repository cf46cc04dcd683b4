/*
 * cpu_mm.h - matmul kernels of the CPU backend, and the layouts they read.
 *
 * The unit of work is a group of 16 rows of W against a tile of a few tokens.
 * Each (row, token) is summed over the columns in one fixed order whatever the
 * tile, so a token's result does not depend on its neighbours.
 *
 * Three ways to multiply:
 *   dot_q  8-bit activations, quantised in blocks of 32 columns, against the
 *          integer levels of a quantised weight;
 *   dot_f  f32 activations against a panel: up to 256 columns of the group, as
 *          they are if floats, else turned to f32 in the first cache;
 *   dot_b  bf16 activations against BF16 weights, where the machine multiplies
 *          pairs of them at once.
 *
 * Packed weights.  A group is stored block after block of 32 columns, so that
 * a kernel reads one stream.  A block of a quantised type has
 *   levels  64 * bits bytes.  The columns come as 8 quads of 4; a quad is 64
 *           bytes [16 rows][4 columns].  Four quads hold the low nibbles of
 *           columns 0..15 and, in the high half of the byte, 16..31.  The bits
 *           above stand in further quads: bit j of a byte for quad j, or bits
 *           2(j%4).. of the byte of plane j/4.  8-bit levels: eight quads.
 *   scales  d[16], and for affine types m[16], in f16.  With super scales: one
 *           byte for each in place of f16, and before every 8th block d[16]
 *           and m[16] in f16 that multiply those bytes.
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
    TLPI_MAX_TILE = 8,  /* tokens of the largest tile of vectors, */
    TLPI_WIDE_TILE = 16 /* and of matrices */
};

struct tlpi_weight {
    const tlpi_env *env;
    tlpi_dtype type;
    int64_t n_row, n_col;
    size_t group_bytes; /* from one group of 16 rows to the next */
    size_t n_bytes;
    const uint8_t *data; /* packed, or rows as in the file */
    tlpi_slab *home;     /* of data, NULL if that is the file's */
};

/*
 * How a quantised type counts: value = d * (level - zero) or d * level + m.
 * Kernels are generated from this by passing the type as a constant.
 */
typedef struct tlpi_mm_shape {
    int bits;    /* of a level: 4, 5, 6, 8; 0 for F32, F16, BF16 */
    int zero;    /* log2 of the level that means 0; -1 for affine types */
    int n_scale; /* scales of a block: 2 where 16 columns share one */
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

/* Bytes of the super scales before every 8 blocks. */
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
    float s;        /* d * sum of q: what the m of affine types multiplies */
    int32_t n;      /* -sum of q, and */
    int32_t n_high; /* of its upper half: for the zero of the others */
} tlpi_xq;

/* 32 columns of one token in bf16; tiles are stored likewise. */
typedef struct tlpi_xb {
    uint16_t v[TLPI_MM_BLOCK];
} tlpi_xb;

/* Columns of a group, as F32, F16 or BF16, in the order of packed weights. */
typedef struct tlpi_panel {
    tlpi_dtype type;
    const void *data;
} tlpi_panel;

/* T is 1 ... tile, unless said otherwise; sum is [T][16]. */
typedef struct tlpi_cpu_mm {
    const char *isa;
    bool packed;   /* weights are packed, else rows as in the file */
    int tile;      /* tokens of the largest tile, */
    int tile_b;    /* for dot_b */
    int tile_f;    /* of many tokens, those that dot_f does best at once */
    int wide_from; /* from so many tokens on dot_w is better than dot_q */

    /* On every thread around products, or NULL: sets the machine up for dot_w
     * and dot_b. */
    void (*begin)(void);
    void (*end)(void);

    /* n_block * 32 floats to out[0], out[step], ... */
    void (*quantize)(const float *x, int n_block, tlpi_xq *out, int step);

    /* sum = W x for a tile */
    void (*dot_q)(const tlpi_weight *w, int64_t group, const tlpi_xq *x, int T,
                  float *sum);

    /* The same for T up to TLPI_WIDE_TILE, with the same bits; NULL without
     * such kernels.  level is what unpack makes of a group: TLPI_LEVEL_BYTES
     * for each block. Reads the memory of 16 tokens whatever T is, as may
     * dot_b. */
    void (*unpack)(const tlpi_weight *w, int64_t group, int8_t *level);
    void (*dot_w)(const tlpi_weight *w, int64_t group, const int8_t *level,
                  const tlpi_xq *x, int T, float *sum);

    /* dot_q in bf16, T up to tile_b; NULL without such kernels.  They ask for
     * more than the table's instruction set: see tlpi_cpu_has_bf16. */
    void (*narrow)(const float *x, int64_t n, tlpi_xb *out, int step);
    void (*dot_b)(const tlpi_weight *w, int64_t group, const tlpi_xb *x, int T,
                  float *sum);

    /* Columns [k0, k0 + n) of a group for n_tok tokens: as f32 in buf, or the
     * weight's own.  k0 is a multiple of 256 and n at most that. */
    tlpi_panel (*panel)(const tlpi_weight *w, int64_t group, int64_t k0, int n,
                        int n_tok, float *buf);

    /* sum += panel x for a tile; x [T][stride] */
    void (*dot_f)(tlpi_panel panel, int n, const float *x, int64_t stride,
                  int T, float *sum);

    /* y = silu(gate) * up over n floats, a multiple of 16; y may be gate */
    void (*silu_mul)(const float *gate, const float *up, float *y, int n);
} tlpi_cpu_mm;

extern const tlpi_cpu_mm tlpi_cpu_mm_scalar;
extern const tlpi_cpu_mm tlpi_cpu_mm_avx2;
extern const tlpi_cpu_mm tlpi_cpu_mm_avx512;
extern const tlpi_cpu_mm tlpi_cpu_mm_amx;

#endif
