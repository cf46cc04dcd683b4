/*
 * cpu_mm.h - matmul kernels of the CPU backend.  cpu_mm_shape.h has the layouts
 * of weights that they read.
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
 */
#ifndef TLPI_CPU_MM_H
#define TLPI_CPU_MM_H

#include "backend/cpu.h"
#include "backend/cpu_mm_shape.h"
#include "base/slab.h"

enum {
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
    int n_expert;        /* of a stack; 0 for a single matrix */
    tlpi_weight *expert; /* [n_expert] each matrix of a stack, whose data, sizes
                            and home are the stack's */
};

/* Matrix e of a stack; a single matrix itself. */
static inline const tlpi_weight *tlpi_cpu_expert(const tlpi_weight *w, int e)
{
    return w->n_expert ? &w->expert[e] : w;
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
