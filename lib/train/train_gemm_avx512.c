/*
 * train_gemm_avx512.c - kernels of products with AVX-512: tiles of 12 by 32.
 *
 * A piece of 256 keeps a panel of B, 32 KiB, in the first cache.
 */
#if defined(__AVX512F__) && defined(__AVX2__) && defined(__F16C__)

#include <immintrin.h>

typedef __m512 vf;

#define W 16
#define MR 12
#define NV 2
#define KC 256

#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, x) _mm512_storeu_ps(p, x)
#define SET1(x) _mm512_set1_ps(x)
#define ZERO _mm512_setzero_ps()
#define MUL(a, b) _mm512_mul_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#include "train/train_kernel_shape.h"

const tlpi_gemm_kernel tlpi_gemm_avx512 = GEMM_TABLE;
#endif
