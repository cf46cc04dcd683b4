/*
 * cpu_avx512.h - vectors of 16 floats, by the names in cpu_vec_shape.h and in
 * the shapes of ../train, whose kernels are written once for all widths.  A
 * file that includes this header is compiled for these instructions.
 */
#ifndef TLPI_CPU_AVX512_H
#define TLPI_CPU_AVX512_H

#include <immintrin.h>

/* Without optimisation GCC's intrinsics are macros, and so are clang's shifts:
 * the compiler then warns of conversions inside them. */
#pragma GCC diagnostic ignored "-Wsign-conversion"

typedef __m512 vf;

#define W 16

#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, x) _mm512_storeu_ps(p, x)
#define SET1(x) _mm512_set1_ps(x)
#define ZERO _mm512_setzero_ps()
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define DIV(a, b) _mm512_div_ps(a, b)
#define MIN(a, b) _mm512_min_ps(a, b)
#define MAX(a, b) _mm512_max_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ROUND(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT)
#define LDEXP(x, n) _mm512_scalef_ps(x, n)
#define SUM(x) _mm512_reduce_add_ps(x)
#define TOP(x) _mm512_reduce_max_ps(x)

#endif
