/*
 * train_gemm_avx2.c - kernels of products with AVX2: tiles of 6 by 16.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "backend/cpu_avx2.h"

#define MR 6
#define NV 2
#define KC TLPI_GEMM_MAX_KC

#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)

#include "train/train_kernel_shape.h"

const tlpi_gemm_kernel tlpi_gemm_avx2 = GEMM_TABLE;
#endif
