/*
 * blocks.cuh - conversion of a weight's units (gpu.h) to floats, for every
 * tensor type.
 *
 * A unit is loaded whole into registers, with the scales of its block, and
 * decoded eight elements at a time.
 */
#ifndef TLPI_BLOCKS_CUH
#define TLPI_BLOCKS_CUH

#include "gpu.h"
#include "half.cuh"

/* Sizes of a type's units. */
template <int TYPE>
struct tlpi_unit_of {
    static constexpr bool two_scales = TYPE == TLPI_Q3_K || TYPE == TLPI_Q6_K;
    static constexpr bool super = two_scales || TYPE == TLPI_Q2_K ||
                                  TYPE == TLPI_Q4_K || TYPE == TLPI_Q5_K ||
                                  TYPE == TLPI_IQ4_XS;
    static constexpr bool quantised =
        TYPE != TLPI_F32 && TYPE != TLPI_F16 && TYPE != TLPI_BF16;
    static constexpr int n = TYPE == TLPI_F32    ? 4
                             : !quantised        ? 8
                             : TYPE == TLPI_Q8_0 ? 16
                                                 : 32; /* elements */
    static constexpr int piece = n < 8 ? n : 8; /* elements decoded at once */
    static constexpr int high =
        TYPE == TLPI_Q6_K ? 8
        : TYPE == TLPI_Q5_0 || TYPE == TLPI_Q5_1 || TYPE == TLPI_Q5_K
            ? 4
            : 0; /* bytes of a block */
    static constexpr bool affine = TYPE == TLPI_Q4_1 || TYPE == TLPI_Q5_1;
    static constexpr int scale = !quantised ? 0
                                 : affine   ? 4
                                 : TYPE == TLPI_IQ4_XS || TYPE == TLPI_MXFP4
                                     ? 1
                                     : 2;
    static constexpr int super_bytes = !super                              ? 0
                                       : two_scales || TYPE == TLPI_IQ4_XS ? 2
                                                                           : 4;
    static constexpr int zero = TYPE == TLPI_Q3_K   ? 4
                                : TYPE == TLPI_Q4_0 ? 8
                                : TYPE == TLPI_Q5_0 ? 16
                                : TYPE == TLPI_Q6_K ? 32
                                                    : 0;
    /* codes number the levels of a table (tensor/codebook.h) */
    static constexpr bool table =
        TYPE == TLPI_IQ4_NL || TYPE == TLPI_IQ4_XS || TYPE == TLPI_MXFP4;
};

typedef struct tlpi_unit {
    uint4 level;
    uint2 high;
    uint32_t scale, super;
} tlpi_unit;

/* Unit u of a row.  Weights are read once in a step, so loads stream past the
 * cache. */
template <int TYPE>
static __device__ __forceinline__ tlpi_unit
tlpi_load_unit(const tlpi_gpu_matrix &m, int row, int u)
{
    typedef tlpi_unit_of<TYPE> type;
    tlpi_unit x = {};

    x.level = __ldcs((const uint4 *)m.level + (size_t)row * m.n_unit + u);
    if (type::quantised) {
        int b = u * type::n / 32;
        size_t at = (size_t)row * m.n_block + b;
        if (type::high == 4)
            x.high.x = __ldcs((const uint32_t *)m.high + at);
        if (type::high == 8)
            x.high = __ldcs((const uint2 *)m.high + at);
        if (type::scale == 1)
            x.scale = __ldcs((const unsigned char *)m.scale + at);
        else if (type::scale == 2)
            x.scale = __ldcs((const unsigned short *)m.scale + at);
        else
            x.scale = __ldcs((const uint32_t *)m.scale + at);
        size_t up = (size_t)row * (m.n_block / 8) + b / 8;
        if (type::super_bytes == 2)
            x.super = __ldcs((const unsigned short *)m.super + up);
        if (type::super_bytes == 4)
            x.super = __ldcs((const uint32_t *)m.super + up);
    }
    return x;
}

/* w = d q + m for elements [8j, 8j + 8) of a block of 32, or of a Q8_0 unit. */
template <int TYPE>
static __device__ __forceinline__ float2 tlpi_unit_scale(const tlpi_unit &x,
                                                         int j)
{
    typedef tlpi_unit_of<TYPE> type;
    uint32_t half = x.scale >> (j / 2 * 8) & 255; /* byte of 16 elements */
    float2 r;

    if (type::two_scales) {
        r.x = tlpi_f16(x.super & 0xffff) * (float)(int8_t)half;
    } else if (TYPE == TLPI_IQ4_XS) {
        r.x = tlpi_f16(x.super & 0xffff) * (float)(int8_t)x.scale;
    } else if (TYPE == TLPI_MXFP4) {
        r.x = __uint_as_float(x.scale < 2 ? 0x200000u << x.scale
                                          : (x.scale - 1) << 23);
    } else if (type::super) {
        bool nibbles = TYPE == TLPI_Q2_K;
        uint32_t s = nibbles ? half & 15 : x.scale & 255;
        uint32_t m = nibbles ? half >> 4 : x.scale >> 8 & 255;
        r.x = tlpi_f16(x.super & 0xffff) * (float)s;
        r.y = -(tlpi_f16(x.super >> 16) * (float)m);
        return r;
    } else {
        r.x = tlpi_f16(x.scale & 0xffff);
    }
    r.y = type::affine ? tlpi_f16(x.scale >> 16) : -(float)type::zero * r.x;
    return r;
}

/* The level of a code: byte q of the table's 16, of which each constant has
 * eight. */
template <int TYPE>
static __device__ __forceinline__ int tlpi_level(int q)
{
    constexpr uint64_t low =
        TYPE == TLPI_MXFP4 ? 0x0c08060403020100 : 0xf6eaddcfbfad9881;
    constexpr uint64_t high =
        TYPE == TLPI_MXFP4 ? 0xf4f8fafcfdfeff00 : 0x7159453526190d01;

    return (int)(int8_t)((q < 8 ? low : high) >> (q % 8 * 8) & 255);
}

static __device__ __forceinline__ uint32_t tlpi_word(const uint4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/* Elements [piece * j, piece * (j + 1)) of a unit; j is a compile-time
 * constant. */
template <int TYPE>
static __device__ __forceinline__ void tlpi_decode(const tlpi_unit &x, int j,
                                                   float *w)
{
    typedef tlpi_unit_of<TYPE> type;

    if (TYPE == TLPI_F32) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            w[i] = __uint_as_float(tlpi_word(x.level, i));
    } else if (!type::quantised) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint32_t bits = tlpi_word(x.level, i / 2) >> (i % 2 * 16) & 0xffff;
            w[i] = TYPE == TLPI_F16 ? tlpi_f16(bits) : tlpi_bf16(bits);
        }
    } else {
        float2 s = tlpi_unit_scale<TYPE>(x, j);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint32_t word = tlpi_word(
                x.level, TYPE == TLPI_Q8_0 ? 2 * j + i / 4 : j % 2 * 2 + i / 4);
            int q;
            if (TYPE == TLPI_Q8_0)
                q = (int)(int8_t)(word >> (i % 4 * 8) & 255);
            else
                q = (int)(word >> (i % 4 * 8 + j / 2 * 4) & 15);
            if (type::table)
                q = tlpi_level<TYPE>(q);
            if (type::high == 4)
                q |= (int)(x.high.x >> (8 * j + i) & 1) << 4;
            if (type::high == 8)
                q |= (int)((j < 2 ? x.high.x : x.high.y) >>
                               (j % 2 * 16 + 2 * i) &
                           3)
                     << 4;
            w[i] = fmaf(s.x, (float)q,
                        TYPE == TLPI_Q8_0 || type::table ? 0.0f : s.y);
        }
    }
}

/* Call X(type) for a type known at run time. */
#define TLPI_EACH_TYPE(X)                                                      \
    X(TLPI_F32)                                                                \
    X(TLPI_F16)                                                                \
    X(TLPI_BF16)                                                               \
    X(TLPI_Q8_0)                                                               \
    X(TLPI_Q4_0)                                                               \
    X(TLPI_Q4_1)                                                               \
    X(TLPI_Q5_0)                                                               \
    X(TLPI_Q5_1)                                                               \
    X(TLPI_Q2_K)                                                               \
    X(TLPI_Q3_K)                                                               \
    X(TLPI_Q4_K)                                                               \
    X(TLPI_Q5_K)                                                               \
    X(TLPI_Q6_K) X(TLPI_IQ4_NL) X(TLPI_IQ4_XS) X(TLPI_MXFP4)

#endif
