/*
 * train_gemm_avx2.c - kernels of products with AVX2: tiles of 6 by 16.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

typedef __m256 vf;

#define W 8
#define MR 6
#define NV 2
#define KC TLPI_GEMM_MAX_KC

#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, x) _mm256_storeu_ps(p, x)
#define SET1(x) _mm256_set1_ps(x)
#define ZERO _mm256_setzero_ps()
#define MUL(a, b) _mm256_mul_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)

#include "train/train_kernel_shape.h"

const tlpi_gemm_kernel tlpi_gemm_avx2 = GEMM_TABLE;
#endif
