/*
 * train_gemm_avx512.c - kernels of products with AVX-512: tiles of 12 by 32.
 *
 * A piece of 256 keeps a panel of B, 32 KiB, in the first cache.
 */
#if defined(__AVX512F__) && defined(__AVX2__) && defined(__F16C__)

#include "backend/cpu_avx512.h"

#define MR 12
#define NV 2
#define KC 256

#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#include "train/train_kernel_shape.h"

const tlpi_gemm_kernel tlpi_gemm_avx512 = GEMM_TABLE;
#endif
