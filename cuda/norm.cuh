/*
 * norm.cuh - RMS norm of a token's row by a block, for the kernels that form
 * residual sums (rows.cu, comm_oneshot.cu).  Both use these functions, so
 * their results have equal bits.
 */
#ifndef TLPI_NORM_CUH
#define TLPI_NORM_CUH

#include "backend/backend.h"
#include "warp.cuh"

/* Most norms of a launch; threads of a block. */
static constexpr int TLPI_NORMS = 16, TLPI_NORM_THREADS = 512;

typedef struct tlpi_gpu_norms {
    tlpi_norm norm[TLPI_NORMS];
    int n;
} tlpi_gpu_norms;

static inline tlpi_gpu_norms tlpi_gpu_norms_of(const tlpi_norm *norm, int n)
{
    tlpi_gpu_norms a = {};

    a.n = n < TLPI_NORMS ? n : TLPI_NORMS;
    for (int k = 0; k < a.n; k++)
        a.norm[k] = norm[k];
    return a;
}

/* Add a thread's element to its sum of squares.  A thread's elements come in
 * column order, TLPI_NORM_THREADS apart. */
static __device__ __forceinline__ float tlpi_norm_add(float square, float v)
{
    return fmaf(v, v, square);
}

/* norm[k].y = rms_norm(z) * norm[k].w, or z without w, from `at` on.  The
 * calling thread has written its elements of z, which may be the last norm's
 * row.  part: see tlpi_block_sum. */
static __device__ __forceinline__ void tlpi_norm_row(const tlpi_gpu_norms &a,
                                                     size_t at, int cols,
                                                     float eps, const float *z,
                                                     float square, float *part)
{
    float mean = tlpi_block_sum(square, part) / (float)cols;
    float s = tlpi_gpu_norm_scale(mean, eps);

    for (int i = threadIdx.x; i < cols; i += TLPI_NORM_THREADS) {
        float v = z[i];
        for (int k = 0; k < a.n; k++) {
            const float *w = a.norm[k].w;
            a.norm[k].y[at + i] = w ? s * v * w[i] : v;
        }
    }
}

#endif
