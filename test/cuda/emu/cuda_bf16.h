/*
 * cuda_bf16.h - bfloat16.
 */
#ifndef EMU_CUDA_BF16_H
#define EMU_CUDA_BF16_H

#include "emu_small.h"

EMU_SMALL(__nv_bfloat16, __nv_bfloat162, emu_bf16_value, emu_bf16_bits)

typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16(float f)
{
    return __nv_bfloat16(f);
}

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    return __nv_bfloat16(f);
}

static inline float __bfloat162float(__nv_bfloat16 h)
{
    return h;
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return { __nv_bfloat16(x), __nv_bfloat16(y) };
}

static inline __nv_bfloat162 __float2bfloat162_rn(float x)
{
    return { __nv_bfloat16(x), __nv_bfloat16(x) };
}

static inline __nv_bfloat162 __float22bfloat162_rn(float2 v)
{
    return { __nv_bfloat16(v.x), __nv_bfloat16(v.y) };
}

static inline float2 __bfloat1622float2(__nv_bfloat162 h)
{
    return { h.x, h.y };
}

static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x,
                                                __nv_bfloat16 y)
{
    return { x, y };
}

static inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return { x, y };
}

static inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x)
{
    return { x, x };
}

static inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 h)
{
    return h.x;
}

static inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 h)
{
    return h.y;
}

static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h)
{
    return h.emu;
}

static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short u)
{
    __nv_bfloat16 h;
    h.emu = u;
    return h;
}

#endif
