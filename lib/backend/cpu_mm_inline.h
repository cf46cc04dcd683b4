/*
 * cpu_mm_inline.h - helpers of the vector kernels that need no vector types.
 */
#ifndef TLPI_CPU_MM_INLINE_H
#define TLPI_CPU_MM_INLINE_H

#include <math.h>
#include <string.h>

#include "backend/cpu_mm.h"

/* Distance in bytes of software prefetch of weights.  Hardware prefetch falls
 * behind where a step takes long, on some machines also for a single token. */
enum { AHEAD = 4096 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Put before a loop with constant bounds: its arrays of vectors become
 * registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Four activations, for a broadcast. */
ALWAYS_INLINE int32_t load_quad(const tlpi_xq *x, int j)
{
    int32_t v;
    memcpy(&v, x->q + 4 * j, sizeof v);
    return v;
}

ALWAYS_INLINE float float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A block with a value that is not finite becomes NaN, so that the fault
 * shows in the logits.  bits: the largest |x|, compared as integers, where
 * infinity is larger than all finite values, and NaN than infinity. */
ALWAYS_INLINE bool spoil_block(tlpi_xq *out, int32_t bits)
{
    if (bits < 0x7f800000)
        return false;
    *out = (tlpi_xq){ .d = NAN, .s = NAN };
    return true;
}

/* 127 / max; 0 for a block that is too small for a scale. */
ALWAYS_INLINE float inverse_step(float max)
{
    return max > 1e-36f ? 127.0f / max : 0.0f;
}

ALWAYS_INLINE void finish_block(tlpi_xq *out, float max, int low, int high)
{
    out->d = max * (1.0f / 127.0f);
    out->s = out->d * (float)(low + high);
    out->n = -(low + high);
    out->n_high = -high;
}

#endif
