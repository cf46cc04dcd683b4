/*
 * train_pack_avx2.c - panels from rows of floats with AVX2, for the kernels of
 * AVX2 and of AVX-512: panels of 6, 12, 16 or 32.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>
#include <string.h>

#include "train/train_kernel.h"
#include "base/unroll.h"

#define ROWS_AHEAD 24 /* prefetched while rows are packed */

/* The first n floats of x, n is 4, 6 or 8. */
INLINE void store_first(float *to, __m256 x, int n)
{
    if (n == 8) {
        _mm256_storeu_ps(to, x);
        return;
    }
    _mm_storeu_ps(to, _mm256_castps256_ps128(x));
    if (n == 6)
        _mm_storel_pi((__m64 *)(void *)(to + 4), _mm256_extractf128_ps(x, 1));
}

INLINE __m256 load_first(const float *from, int n)
{
    if (n == 8)
        return _mm256_loadu_ps(from);
    __m128 low = _mm_loadu_ps(from), high = _mm_setzero_ps();
    if (n == 6)
        high = _mm_loadl_pi(high, (const __m64 *)(const void *)(from + 4));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}

INLINE void transpose8(__m256 r[8])
{
    __m256 s[8], t[8];

    EACH (i, 4) {
        s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    EACH (i, 2)
        EACH (j, 2) {
            __m256 x = s[4 * i + j], y = s[4 * i + 2 + j];
            t[4 * i + 2 * j] = _mm256_shuffle_ps(x, y, 0x44);
            t[4 * i + 2 * j + 1] = _mm256_shuffle_ps(x, y, 0xee);
        }
    EACH (i, 4) {
        r[i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x20);
        r[4 + i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x31);
    }
}

/* Rows [i0, i0 + 8) of a panel; rows from n on repeat row 0. */
INLINE void pack_eight(const float *x, size_t ld, int i0, int n, int k,
                       int width, size_t step, float *dst)
{
    int here = width - i0 < 8 ? width - i0 : 8, j = 0;
    const float *row[8];

    EACH (i, 8)
        row[i] = i < here && i0 + i < n ? x + (size_t)(i0 + i) * ld : x;
    dst += i0;
    for (; j + 8 <= k; j += 8, dst += 8 * step) {
        __m256 r[8];
        EACH (i, 8)
            r[i] = _mm256_loadu_ps(row[i] + j);
        transpose8(r);
        EACH (i, 8)
            store_first(dst + (size_t)i * step, r[i], here);
    }
    for (; j < k; j++, dst += step)
        EACH (i, here)
            dst[i] = row[i][j];
}

INLINE void pack_rows_of(const float *x, size_t ld, int n, int k, int width,
                         size_t step, float *dst)
{
    EACH (i, (width + 7) / 8)
        pack_eight(x, ld, 8 * i, n, k, width, step, dst);
}

void tlpi_gemm_pack_rows_avx2(const float *x, size_t ld, int n, int k,
                              int width, size_t step, float *dst)
{
    if (width == 6)
        pack_rows_of(x, ld, n, k, 6, step, dst);
    else if (width == 12)
        pack_rows_of(x, ld, n, k, 12, step, dst);
    else if (width == 16)
        pack_rows_of(x, ld, n, k, 16, step, dst);
    else
        pack_rows_of(x, ld, n, k, 32, step, dst);
}

/* Rows of the source lie far apart, where the machine's own prefetcher does not
 * look. */
INLINE void prefetch_row(const float *x, int n)
{
    for (int i = 0; i < n; i += 16)
        __builtin_prefetch(x + i);
}

INLINE void pack_cols_of(const float *x, size_t ld, int n, int k, int width,
                         size_t step, float *dst)
{
    for (int j = 0; j < k; j++, x += ld, dst += width) {
        float *d = dst;
        int i = 0;
        if (j + ROWS_AHEAD < k)
            prefetch_row(x + ROWS_AHEAD * ld, n);
        for (; i + width <= n; i += width, d += step)
            EACH (at, (width + 7) / 8) {
                int here = width - 8 * at < 8 ? width - 8 * at : 8;
                store_first(d + 8 * at, load_first(x + i + 8 * at, here), here);
            }
        if (i < n)
            memcpy(d, x + i, (size_t)(n - i) * sizeof *d);
    }
}

void tlpi_gemm_pack_cols_avx2(const float *x, size_t ld, int n, int k,
                              int width, size_t step, float *dst)
{
    if (width == 6)
        pack_cols_of(x, ld, n, k, 6, step, dst);
    else if (width == 12)
        pack_cols_of(x, ld, n, k, 12, step, dst);
    else if (width == 16)
        pack_cols_of(x, ld, n, k, 16, step, dst);
    else
        pack_cols_of(x, ld, n, k, 32, step, dst);
}
#endif
