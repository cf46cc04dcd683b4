/*
 * warp.cuh - sums over a warp and over a block.
 */
#ifndef TLPI_WARP_CUH
#define TLPI_WARP_CUH

#include <math.h>

#include "launch.cuh"

/* 1 / RMS; NaN for a mean of squares that overflowed, because 0 would hide the
 * fault. */
static __device__ __forceinline__ float tlpi_gpu_norm_scale(float mean,
                                                            float eps)
{
    return mean < INFINITY ? 1.0f / sqrtf(mean + eps) : NAN;
}

/* Sum over the n neighbouring lanes that include this lane; n is a power of
 * two.  All lanes of the warp call. */
static __device__ __forceinline__ float tlpi_lane_sum(float x, int n)
{
    for (int bit = n / 2; bit > 0; bit /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, bit);
    return x;
}

static __device__ __forceinline__ float tlpi_warp_max(float x)
{
    for (int bit = 16; bit > 0; bit /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, bit));
    return x;
}

/* Sum over a block of whole warps; every thread gets it.  part: [32] shared
 * memory, free again after the next barrier. */
static __device__ __forceinline__ float tlpi_block_sum(float x, float *part)
{
    int n_warp = blockDim.x / 32;

    x = tlpi_lane_sum(x, 32);
    __syncthreads(); /* part may be in use by an earlier call */
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
    for (int i = 0; i < n_warp; i++)
        x += part[i];
    return x;
}

static __device__ __forceinline__ float tlpi_block_max(float x, float *part)
{
    int n_warp = blockDim.x / 32;

    x = tlpi_warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = x;
    __syncthreads();
    x = part[0];
    for (int i = 1; i < n_warp; i++)
        x = fmaxf(x, part[i]);
    return x;
}

#endif
