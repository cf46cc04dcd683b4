/*
 * train_vec_avx2.c - operations of training on rows, 8 floats wide.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

typedef __m256 vf;

#define VD __m256d
#define W 8

#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, x) _mm256_storeu_ps(p, x)
#define SET1(x) _mm256_set1_ps(x)
#define ZERO _mm256_setzero_ps()
#define ADD(a, b) _mm256_add_ps(a, b)
#define SUB(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define DIV(a, b) _mm256_div_ps(a, b)
#define SQRT(a) _mm256_sqrt_ps(a)
#define MAX(a, b) _mm256_max_ps(a, b)
#define MIN(a, b) _mm256_min_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ROUND(x)                                                               \
    _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define LDEXP ldexp_of
#define ABOVE(a, b) _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ))
#define SUM sum_of
#define TOP top_of
#define LOW(x) _mm256_cvtps_pd(_mm256_castps256_ps128(x))
#define HIGH(x) _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))
#define DZERO _mm256_setzero_pd()
#define DADD(a, b) _mm256_add_pd(a, b)
#define DFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define DSUM dsum_of

static inline vf ldexp_of(vf x, vf n)
{
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return MUL(x, _mm256_castsi256_ps(_mm256_slli_epi32(e, 23)));
}

static inline float sum_of(vf x)
{
    __m128 y =
        _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    y = _mm_add_ss(y, _mm_movehdup_ps(y));
    return _mm_cvtss_f32(y);
}

static inline float top_of(vf x)
{
    __m128 y =
        _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    y = _mm_max_ss(y, _mm_movehdup_ps(y));
    return _mm_cvtss_f32(y);
}

static inline double dsum_of(VD x)
{
    __m128d y =
        _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(y, _mm_unpackhi_pd(y, y)));
}

#include "train/train_vec_shape.h"

const tlpi_train_vec tlpi_train_vec_avx2 = TRAIN_VEC_TABLE;
#endif
