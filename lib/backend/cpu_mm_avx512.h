/*
 * cpu_mm_avx512.h - AVX-512 vectors and operations under the names that
 * cpu_mm_simd.h uses.
 */
#ifndef TLPI_CPU_MM_AVX512_H
#define TLPI_CPU_MM_AVX512_H

#include <immintrin.h>

#include "backend/cpu_mm_inline.h"

/* Without optimisation GCC's intrinsics are macros, and so are clang's shifts:
 * the compiler then warns of conversions inside them. */
#pragma GCC diagnostic ignored "-Wsign-conversion"

typedef __m512 vf;
typedef __m512i vi;

enum { LANES = 16, PARTS = 1 };

#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, a) _mm512_storeu_ps(p, a)
#define vf_set1(f) _mm512_set1_ps(f)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_div(a, b) _mm512_div_ps(a, b)
#define vf_min(a, b) _mm512_min_ps(a, b) /* b if one is NaN */
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)   /* a * b + c */
#define vf_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c) /* c - a * b */
#define vf_round(a) _mm512_roundscale_ps(a, 8)     /* to nearest */
#define vf_cvt(i) _mm512_cvtepi32_ps(i)
#define vf_bits(i) _mm512_castsi512_ps(i)
#define vf_f16(p)                                                              \
    _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))

#define vi_load(p) _mm512_loadu_si512(p)
#define vi_set1(i) _mm512_set1_epi32(i)
#define vi_set1_8(i) _mm512_set1_epi8(i)
#define vi_and(a, b) _mm512_and_si512(a, b)
#define vi_or(a, b) _mm512_or_si512(a, b)
#define vi_or_and(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0xf8)
#define vi_shl16(a, n) _mm512_slli_epi16(a, n)
#define vi_shr16(a, n) _mm512_srli_epi16(a, n)
#define vi_shl32(a, n) _mm512_sll_epi32(a, _mm_cvtsi32_si128(n))
#define vi_shr32(a, n) _mm512_srli_epi32(a, n)
#define vi_add32(a, b) _mm512_add_epi32(a, b)
#define vi_add8(a, b) _mm512_add_epi8(a, b)
#define vi_sub32(a, b) _mm512_sub_epi32(a, b)
#define vi_madd16(a, b) _mm512_madd_epi16(a, b)
#define vi_cvt(f) _mm512_cvtps_epi32(f)
#define vi_bits(f) _mm512_castps_si512(f)
/* 16 bytes, for vi_lookup */
#define vi_table(p)                                                            \
    _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define vi_lookup(table, code) _mm512_shuffle_epi8(table, code)
#define vi_u8(p)                                                               \
    _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define vi_s8(p)                                                               \
    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))

#endif
