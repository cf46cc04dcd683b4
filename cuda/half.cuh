/*
 * half.cuh - conversion of 16-bit floats in integer code, without the
 * toolkit's classes: equal results on the device and in the emulation.
 */
#ifndef TLPI_HALF_CUH
#define TLPI_HALF_CUH

#include "launch.cuh"

#ifdef TLPI_EMULATED
#include <math.h>
#include <string.h>
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

static __device__ __forceinline__ float tlpi_f16(uint32_t bits)
{
#ifdef TLPI_EMULATED
    int e = (int)(bits >> 10 & 31), m = (int)(bits & 1023);
    float x = e == 31  ? (m ? NAN : INFINITY)
              : e == 0 ? ldexpf((float)m, -24)
                       : ldexpf((float)(m + 1024), e - 25);
    return bits & 0x8000 ? -x : x;
#else
    return __half2float(__ushort_as_half((unsigned short)bits));
#endif
}

static __device__ __forceinline__ float tlpi_bf16(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

/* Round to nearest, ties to even; finite values beyond f16 become its largest
 * value.  Infinity and NaN stay, so that a fault shows in the logits. */
static __device__ __forceinline__ uint32_t tlpi_to_f16(float x)
{
    if (fabsf(x) < INFINITY)
        x = fminf(fmaxf(x, -65504.0f), 65504.0f);
#ifdef TLPI_EMULATED
    float a = fabsf(x);
    uint32_t sign = signbit(x) ? 0x8000 : 0, u;
    memcpy(&u, &a, sizeof u);
    if (!(a < INFINITY))
        return sign | (a != a ? 0x7e00 : 0x7c00);
    if (a < 6.103515625e-05f) /* subnormal: multiples of 2^-24 */
        return sign | (uint32_t)lrintf(a * 16777216.0f);
    u += 0xfff + (u >> 13 & 1);
    return sign | ((u >> 13) - ((127 - 15) << 10));
#else
    return __half_as_ushort(__float2half_rn(x));
#endif
}

static __device__ __forceinline__ uint32_t tlpi_to_bf16(float x)
{
#ifdef TLPI_EMULATED
    uint32_t u = __float_as_uint(x);
    return x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
#else
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
#endif
}

#endif
