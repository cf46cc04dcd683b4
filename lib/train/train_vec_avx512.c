/*
 * train_vec_avx512.c - operations of training on rows, 16 floats wide.
 */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&  \
    defined(__AVX512VL__)

#include "backend/cpu_avx512.h"

#define VD __m512d
#define SQRT(a) _mm512_sqrt_ps(a)
#define ABOVE(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define LOW(x) _mm512_cvtps_pd(_mm512_castps512_ps256(x))
#define HIGH(x) _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))
#define DZERO _mm512_setzero_pd()
#define DADD(a, b) _mm512_add_pd(a, b)
#define DFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define DSUM(x) _mm512_reduce_add_pd(x)

#include "train/train_vec_shape.h"

const tlpi_train_vec tlpi_train_vec_avx512 = TRAIN_VEC_TABLE;
#endif
