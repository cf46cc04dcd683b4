/*
 * cpu_vec_avx512.c - row operations and attention kernels, 16 floats wide.
 */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&  \
    defined(__AVX512VL__)

#include <math.h>
#include <stdint.h>

#include "backend/cpu_avx512.h"

#define NP 4

#define KEEP(x, n, y) _mm512_mask_mov_ps(y, (__mmask16)((1u << (n)) - 1), x)
#define LOAD_F16(p)                                                            \
    _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define LOAD_BF16 load_bf16
#define LOAD_I8(p)                                                             \
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(                                   \
        _mm_loadu_si128((const __m128i *)(const void *)(p))))
#define STORE_F16 store_f16
#define STORE_BF16 store_bf16
#define PAIRS pairs

static inline vf load_bf16(const uint16_t *p)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

static inline void store_f16(uint16_t *p, vf x)
{
    const vf most = SET1(65504.0f);
    __mmask16 finite =
        _mm512_cmp_ps_mask(_mm512_abs_ps(x), SET1(INFINITY), _CMP_LT_OQ);
    vf near = _mm512_max_ps(SUB(ZERO, most), _mm512_min_ps(most, x));
    x = _mm512_mask_mov_ps(x, finite, near);
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

/* In integers, because the instruction for this flushes denormals. */
static inline void store_bf16(uint16_t *p, vf x)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r =
        _mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7fff));
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    r = _mm512_srli_epi32(_mm512_mask_mov_epi32(r, nan, quiet), 16);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(r));
}

/* Even lanes: x c - x' s; odd lanes: x c + x' s; x' = the pair's other half. */
static inline vf pairs(vf x, const float *cos, const float *sin)
{
    const __m512i twice =
        _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    vf c = _mm512_castps256_ps512(_mm256_loadu_ps(cos));
    vf s = _mm512_castps256_ps512(_mm256_loadu_ps(sin));
    vf other = _mm512_permute_ps(x, 0xb1);
    c = _mm512_permutexvar_ps(twice, c);
    s = _mm512_permutexvar_ps(twice, s);
    return _mm512_fmaddsub_ps(x, c, MUL(other, s));
}

#include "backend/cpu_vec_shape.h"

const tlpi_cpu_vec tlpi_cpu_vec_avx512 = VEC_TABLE;

#else
typedef int tlpi_no_avx512; /* a translation unit must not be empty */
#endif
