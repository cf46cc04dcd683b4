/*
 * cpu_vec_avx2.c - row operations and attention kernels, 8 floats wide.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <math.h>
#include <stdint.h>

#include "backend/cpu_avx2.h"

#define NP 1

#define KEEP(x, n, y)                                                          \
    _mm256_blendv_ps(                                                          \
        y, x,                                                                  \
        _mm256_castsi256_ps(_mm256_cmpgt_epi32(                                \
            _mm256_set1_epi32(n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0))))
#define LOAD_F16(p)                                                            \
    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define LOAD_BF16 load_bf16
#define LOAD_I8(p)                                                             \
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(                                   \
        _mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define STORE_F16 store_f16
#define STORE_BF16 store_bf16
#define PAIRS pairs

static inline vf load_bf16(const uint16_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

static inline void store_f16(uint16_t *p, vf x)
{
    const vf most = SET1(65504.0f);
    vf size = _mm256_andnot_ps(SET1(-0.0f), x);
    vf finite = _mm256_cmp_ps(size, SET1(INFINITY), _CMP_LT_OQ);
    vf near = _mm256_max_ps(SUB(ZERO, most), _mm256_min_ps(most, x));
    x = _mm256_blendv_ps(x, near, finite);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

static inline void store_bf16(uint16_t *p, vf x)
{
    __m256i u = _mm256_castps_si256(x);
    __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r =
        _mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff));
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    r = _mm256_srli_epi32(_mm256_blendv_epi8(r, quiet, nan), 16);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packus_epi32(_mm256_castsi256_si128(r),
                                      _mm256_extracti128_si256(r, 1)));
}

/* Even lanes: x c - x' s; odd lanes: x c + x' s; x' = the pair's other half. */
static inline vf pairs(vf x, const float *cos, const float *sin)
{
    const __m256i twice = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
    vf c = _mm256_castps128_ps256(_mm_loadu_ps(cos));
    vf s = _mm256_castps128_ps256(_mm_loadu_ps(sin));
    vf other = _mm256_permute_ps(x, 0xb1);
    c = _mm256_permutevar8x32_ps(c, twice);
    s = _mm256_permutevar8x32_ps(s, twice);
    return _mm256_fmaddsub_ps(x, c, MUL(other, s));
}

#include "backend/cpu_vec_shape.h"

const tlpi_cpu_vec tlpi_cpu_vec_avx2 = VEC_TABLE;

#else
typedef int tlpi_no_avx2; /* a translation unit must not be empty */
#endif
