/*
 * train_vec_avx512.c - operations of training on rows, 16 floats wide.
 */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&  \
    defined(__AVX512VL__)

#include <immintrin.h>

/* Without optimisation GCC's intrinsics are macros, and so are clang's shifts:
 * the compiler then warns of conversions inside them. */
#pragma GCC diagnostic ignored "-Wsign-conversion"

typedef __m512 vf;

#define VD __m512d
#define W 16

#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, x) _mm512_storeu_ps(p, x)
#define SET1(x) _mm512_set1_ps(x)
#define ZERO _mm512_setzero_ps()
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define DIV(a, b) _mm512_div_ps(a, b)
#define SQRT(a) _mm512_sqrt_ps(a)
#define MAX(a, b) _mm512_max_ps(a, b)
#define MIN(a, b) _mm512_min_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ROUND(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT)
#define LDEXP(x, n) _mm512_scalef_ps(x, n)
#define ABOVE(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define SUM(x) _mm512_reduce_add_ps(x)
#define TOP(x) _mm512_reduce_max_ps(x)
#define LOW(x) _mm512_cvtps_pd(_mm512_castps512_ps256(x))
#define HIGH(x) _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))
#define DZERO _mm512_setzero_pd()
#define DADD(a, b) _mm512_add_pd(a, b)
#define DFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define DSUM(x) _mm512_reduce_add_pd(x)

#include "train/train_vec_shape.h"

const tlpi_train_vec tlpi_train_vec_avx512 = TRAIN_VEC_TABLE;
#endif
