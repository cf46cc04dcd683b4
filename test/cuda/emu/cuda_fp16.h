/*
 * cuda_fp16.h - half precision.
 */
#ifndef EMU_CUDA_FP16_H
#define EMU_CUDA_FP16_H

#include "emu_small.h"

EMU_SMALL(__half, __half2, emu_half_value, emu_half_bits)

typedef __half half;
typedef __half2 half2;

static inline __half __float2half(float f)
{
    return __half(f);
}

static inline __half __float2half_rn(float f)
{
    return __half(f);
}

static inline float __half2float(__half h)
{
    return h;
}

static inline __half2 __floats2half2_rn(float x, float y)
{
    return { __half(x), __half(y) };
}

static inline __half2 __float2half2_rn(float x)
{
    return { __half(x), __half(x) };
}

static inline __half2 __float22half2_rn(float2 v)
{
    return { __half(v.x), __half(v.y) };
}

static inline float2 __half22float2(__half2 h)
{
    return { h.x, h.y };
}

static inline __half2 __halves2half2(__half x, __half y)
{
    return { x, y };
}

static inline __half2 make_half2(__half x, __half y)
{
    return { x, y };
}

static inline __half2 __half2half2(__half x)
{
    return { x, x };
}

static inline __half __low2half(__half2 h)
{
    return h.x;
}

static inline __half __high2half(__half2 h)
{
    return h.y;
}

static inline unsigned short __half_as_ushort(__half h)
{
    return h.emu;
}

static inline __half __ushort_as_half(unsigned short u)
{
    __half h;
    h.emu = u;
    return h;
}

#endif
