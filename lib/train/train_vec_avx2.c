/*
 * train_vec_avx2.c - operations of training on rows, 8 floats wide.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "backend/cpu_avx2.h"

#define VD __m256d
#define SQRT(a) _mm256_sqrt_ps(a)
#define ABOVE(a, b) _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ))
#define LOW(x) _mm256_cvtps_pd(_mm256_castps256_ps128(x))
#define HIGH(x) _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))
#define DZERO _mm256_setzero_pd()
#define DADD(a, b) _mm256_add_pd(a, b)
#define DFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define DSUM dsum_of

static inline double dsum_of(VD x)
{
    __m128d y =
        _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(y, _mm_unpackhi_pd(y, y)));
}

#include "train/train_vec_shape.h"

const tlpi_train_vec tlpi_train_vec_avx2 = TRAIN_VEC_TABLE;
#endif
