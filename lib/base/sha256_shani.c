/*
 * sha256_shani.c - blocks of SHA-256 by the SHA instructions of x86-64.
 */
#include "base/sha256_block.h"

#if defined(__SHA__) && defined(__SSE4_1__)

#include <cpuid.h>
#include <immintrin.h>

bool tlpi_sha256_has_shani(void)
{
    unsigned a, b, c, d;

    return __builtin_cpu_supports("sse4.1") &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

/* Four rounds: w has the message words of these rounds. */
static inline void rounds(__m128i *abef, __m128i *cdgh, __m128i w, int t)
{
    __m128i k = _mm_loadu_si128((const __m128i *)(tlpi_sha256_k + t));

    w = _mm_add_epi32(w, k);
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, w);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(w, 0x0e));
}

/* The next four message words of sixteen. */
static inline __m128i schedule(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    __m128i x =
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));

    return _mm_sha256msg2_epu32(x, w3);
}

void tlpi_sha256_blocks_shani(uint32_t h[8], const uint8_t *data, size_t n)
{
    const __m128i swap =
        _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    /* The instructions take the state as (f, e, b, a) and (h, g, d, c). */
    __m128i dcba = _mm_loadu_si128((const __m128i *)h);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(h + 4));
    __m128i x = _mm_shuffle_epi32(dcba, 0xb1),
            y = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(x, y, 8), cdgh = _mm_blend_epi16(y, x, 0xf0);

    for (; n > 0; n--, data += 64) {
        const __m128i abef0 = abef, cdgh0 = cdgh;
        __m128i w[4];

        for (int i = 0; i < 4; i++) {
            w[i] = _mm_loadu_si128((const __m128i *)(data + 16 * i));
            w[i] = _mm_shuffle_epi8(w[i], swap);
            rounds(&abef, &cdgh, w[i], 4 * i);
        }
        for (int t = 16; t < 64; t += 16) {
            w[0] = schedule(w[0], w[1], w[2], w[3]);
            rounds(&abef, &cdgh, w[0], t);
            w[1] = schedule(w[1], w[2], w[3], w[0]);
            rounds(&abef, &cdgh, w[1], t + 4);
            w[2] = schedule(w[2], w[3], w[0], w[1]);
            rounds(&abef, &cdgh, w[2], t + 8);
            w[3] = schedule(w[3], w[0], w[1], w[2]);
            rounds(&abef, &cdgh, w[3], t + 12);
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    x = _mm_shuffle_epi32(abef, 0x1b);
    y = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(x, y, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(y, x, 8));
}

#else

bool tlpi_sha256_has_shani(void)
{
    return false;
}

void tlpi_sha256_blocks_shani(uint32_t h[8], const uint8_t *data, size_t n)
{
    (void)h;
    (void)data;
    (void)n;
}

#endif
