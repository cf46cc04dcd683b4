/*
 * train_expand_avx2.c - rows of every tensor type to floats with AVX2, in units
 * of 32 elements, for the kernels of AVX2 and of AVX-512.
 *
 * The layouts of blocks are in tensor/quant.c.  Every product of a scale and an
 * integer is exact in f32 or rounded once, as in tlpi_dequantize, so the bits
 * are those of tlpi_dequantize.
 */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>
#include <string.h>

#include "tensor/codebook.h"
#include "tensor/kquant.h"
#include "train/train_kernel.h"
#include "base/unroll.h"

/* What a unit needs: its integers, and a factor and an addend for each half. */
typedef struct unit_levels {
    __m256i q; /* 32 of int8 */
    float d[2], m[2];
} unit_levels;

/* Adding it changes no float, -0 included. */
#define NO_ADDEND -0.0f

INLINE __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE __m256i load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE float half_at(const uint8_t *p)
{
    uint16_t h;

    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

INLINE __m256i bytes_of(int x)
{
    return _mm256_set1_epi8((char)x);
}

/* Low halves of 16 bytes, then their high halves. */
INLINE __m256i nibbles(const uint8_t *p)
{
    __m128i x = load16(p);

    return _mm256_and_si256(_mm256_inserti128_si256(_mm256_castsi128_si256(x),
                                                    _mm_srli_epi16(x, 4), 1),
                            bytes_of(0xf));
}

/* 16 in byte i where bit i of the four bytes at p is set. */
INLINE __m256i fifth_bits(const uint8_t *p)
{
    int32_t bits;

    memcpy(&bits, p, sizeof bits);
    __m256i x = _mm256_shuffle_epi8(_mm256_set1_epi32(bits),
                                    _mm256_set_epi64x(0x0303030303030303,
                                                      0x0202020202020202,
                                                      0x0101010101010101, 0));
    __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    x = _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
    return _mm256_and_si256(x, bytes_of(16));
}

/* Bits [shift, shift + 4) of every byte, for a shift of 0 or 4. */
INLINE __m256i nibble_at(__m256i x, int shift)
{
    return _mm256_and_si256(_mm256_srl_epi16(x, _mm_cvtsi32_si128(shift)),
                            bytes_of(0xf));
}

INLINE void store_unit(const unit_levels *u, float *dst)
{
    __m128i part[2] = { _mm256_castsi256_si128(u->q),
                        _mm256_extracti128_si256(u->q, 1) };

    EACH (i, 2) {
        __m256 d = _mm256_set1_ps(u->d[i]), m = _mm256_set1_ps(u->m[i]);
        EACH (j, 2) {
            __m128i q = j ? _mm_srli_si128(part[i], 8) : part[i];
            __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
            _mm256_storeu_ps(dst + 16 * i + 8 * j, _mm256_fmadd_ps(d, x, m));
        }
    }
}

INLINE void set_scale(unit_levels *u, float d, float m)
{
    u->d[0] = u->d[1] = d;
    u->m[0] = u->m[1] = m;
}

/* ==== blocks of 32 ======================================================= */

INLINE void unit_q8_0(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = load32(b + 2);
    set_scale(u, half_at(b), NO_ADDEND);
}

INLINE void unit_q4_0(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = _mm256_sub_epi8(nibbles(b + 2), bytes_of(8));
    set_scale(u, half_at(b), NO_ADDEND);
}

INLINE void unit_q4_1(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = nibbles(b + 4);
    set_scale(u, half_at(b), half_at(b + 2));
}

INLINE void unit_q5_0(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = _mm256_sub_epi8(_mm256_or_si256(nibbles(b + 6), fifth_bits(b + 2)),
                           bytes_of(16));
    set_scale(u, half_at(b), NO_ADDEND);
}

INLINE void unit_q5_1(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = _mm256_or_si256(nibbles(b + 8), fifth_bits(b + 4));
    set_scale(u, half_at(b), half_at(b + 2));
}

/* Levels of 16 bytes of codes (tensor/codebook.h). */
INLINE __m256i look_up(const int8_t *table, const uint8_t *p)
{
    __m128i t = load16((const uint8_t *)table);

    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), nibbles(p));
}

INLINE void unit_iq4_nl(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = look_up(tlpi_iq4_levels, b + 2);
    set_scale(u, half_at(b), NO_ADDEND);
}

INLINE void unit_mxfp4(const uint8_t *b, int s, unit_levels *u)
{
    (void)s;
    u->q = look_up(tlpi_mxfp4_levels, b + 1);
    set_scale(u, tlpi_mxfp4_scale(b[0]), NO_ADDEND);
}

/* ==== blocks of 256: unit s of eight ===================================== */

/* Six-bit scale and minimum of unit s (tensor/kquant.h). */
INLINE void set_k_scale(unit_levels *u, const uint8_t *b, int s)
{
    const uint8_t *p = b + 4;
    int scale, min;

    if (s < 4) {
        scale = p[s] & 0x3f;
        min = p[4 + s] & 0x3f;
    } else {
        scale = (p[4 + s] & 0xf) | p[s - 4] >> 6 << 4;
        min = p[4 + s] >> 4 | p[s] >> 6 << 4;
    }
    set_scale(u, half_at(b) * (float)scale, -(half_at(b + 2) * (float)min));
}

/* Bits 2k, 2k+1 of the 32 bytes at p. */
INLINE __m256i bit_pairs(const uint8_t *p, int k)
{
    __m256i x = _mm256_srl_epi16(load32(p), _mm_cvtsi32_si128(2 * k));

    return _mm256_and_si256(x, bytes_of(3));
}

/* Bit s of the 32 bytes at p, moved to bit `at`. */
INLINE __m256i one_bit(const uint8_t *p, int s, int at)
{
    __m256i x = _mm256_srl_epi16(load32(p), _mm_cvtsi32_si128(s));

    x = _mm256_and_si256(x, bytes_of(1));
    return _mm256_sll_epi16(x, _mm_cvtsi32_si128(at));
}

INLINE void unit_q2_k(const uint8_t *b, int s, unit_levels *u)
{
    float d = half_at(b + 80), dmin = half_at(b + 82);

    u->q = bit_pairs(b + 16 + s / 4 * 32, s % 4);
    for (int i = 0; i < 2; i++) {
        int sm = b[2 * s + i];
        u->d[i] = d * (float)(sm & 15);
        u->m[i] = -(dmin * (float)(sm >> 4));
    }
}

INLINE void unit_q3_k(const uint8_t *b, int s, unit_levels *u)
{
    __m256i low = bit_pairs(b + 32 + s / 4 * 32, s % 4);
    int8_t scale[16];

    tlpi_q3_k_unpack(b + 96, scale);
    u->q = _mm256_sub_epi8(_mm256_or_si256(low, one_bit(b, s, 2)), bytes_of(4));
    for (int i = 0; i < 2; i++) {
        u->d[i] = half_at(b + 108) * (float)scale[2 * s + i];
        u->m[i] = NO_ADDEND;
    }
}

INLINE void unit_q4_k(const uint8_t *b, int s, unit_levels *u)
{
    u->q = nibble_at(load32(b + 16 + s / 2 * 32), s % 2 * 4);
    set_k_scale(u, b, s);
}

INLINE void unit_q5_k(const uint8_t *b, int s, unit_levels *u)
{
    u->q = _mm256_or_si256(nibble_at(load32(b + 48 + s / 2 * 32), s % 2 * 4),
                           one_bit(b + 16, s, 4));
    set_k_scale(u, b, s);
}

INLINE void unit_q6_k(const uint8_t *b, int s, unit_levels *u)
{
    int half = s / 4, k = s % 4;
    __m256i low = nibble_at(load32(b + half * 64 + k % 2 * 32), k / 2 * 4);
    __m256i high = _mm256_slli_epi16(bit_pairs(b + 128 + half * 32, k), 4);

    u->q = _mm256_sub_epi8(_mm256_or_si256(low, high), bytes_of(32));
    for (int i = 0; i < 2; i++) {
        u->d[i] = half_at(b + 208) * (float)(int8_t)b[192 + 2 * s + i];
        u->m[i] = NO_ADDEND;
    }
}

INLINE void unit_iq4_xs(const uint8_t *b, int s, unit_levels *u)
{
    int8_t scale[8];

    tlpi_iq4_xs_scales(b, scale);
    u->q = look_up(tlpi_iq4_levels, b + 8 + 16 * s);
    set_scale(u, half_at(b) * (float)scale[s], NO_ADDEND);
}

/* ==== rows =============================================================== */

INLINE void expand_units(void (*get)(const uint8_t *b, int s, unit_levels *u),
                         int block, int size, const uint8_t *row, int64_t col,
                         int n, float *dst)
{
    int n_unit = block / TLPI_GEMM_UNIT, s = (int)(col % block) / 32;
    const uint8_t *b = row + (size_t)(col / block) * (size_t)size;

    for (; n > 0; n -= TLPI_GEMM_UNIT, dst += TLPI_GEMM_UNIT) {
        unit_levels u;
        get(b, s, &u);
        store_unit(&u, dst);
        if (++s == n_unit) {
            s = 0;
            b += size;
        }
    }
}

static void expand_f16(const uint8_t *p, int n, float *dst)
{
    for (; n >= 8; n -= 8, p += 16, dst += 8)
        _mm256_storeu_ps(dst, _mm256_cvtph_ps(load16(p)));
    for (; n > 0; n--, p += 2)
        *dst++ = half_at(p);
}

static void expand_bf16(const uint8_t *p, int n, float *dst)
{
    for (; n >= 8; n -= 8, p += 16, dst += 8) {
        __m256i x = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16);
        _mm256_storeu_ps(dst, _mm256_castsi256_ps(x));
    }
    tlpi_dequantize(TLPI_BF16, p, dst, n);
}

void tlpi_gemm_expand_avx2(tlpi_dtype type, const void *row, int64_t col, int n,
                           float *dst)
{
    const uint8_t *p = row;

    switch (type) {
    case TLPI_F32:
        memcpy(dst, p + 4 * col, (size_t)n * sizeof *dst);
        break;
    case TLPI_F16:
        expand_f16(p + 2 * col, n, dst);
        break;
    case TLPI_BF16:
        expand_bf16(p + 2 * col, n, dst);
        break;
    case TLPI_Q8_0:
        expand_units(unit_q8_0, 32, 34, p, col, n, dst);
        break;
    case TLPI_Q4_0:
        expand_units(unit_q4_0, 32, 18, p, col, n, dst);
        break;
    case TLPI_Q4_1:
        expand_units(unit_q4_1, 32, 20, p, col, n, dst);
        break;
    case TLPI_Q5_0:
        expand_units(unit_q5_0, 32, 22, p, col, n, dst);
        break;
    case TLPI_Q5_1:
        expand_units(unit_q5_1, 32, 24, p, col, n, dst);
        break;
    case TLPI_Q2_K:
        expand_units(unit_q2_k, 256, 84, p, col, n, dst);
        break;
    case TLPI_Q3_K:
        expand_units(unit_q3_k, 256, 110, p, col, n, dst);
        break;
    case TLPI_Q4_K:
        expand_units(unit_q4_k, 256, 144, p, col, n, dst);
        break;
    case TLPI_Q5_K:
        expand_units(unit_q5_k, 256, 176, p, col, n, dst);
        break;
    case TLPI_Q6_K:
        expand_units(unit_q6_k, 256, 210, p, col, n, dst);
        break;
    case TLPI_IQ4_NL:
        expand_units(unit_iq4_nl, 32, 18, p, col, n, dst);
        break;
    case TLPI_IQ4_XS:
        expand_units(unit_iq4_xs, 256, 136, p, col, n, dst);
        break;
    case TLPI_MXFP4:
        expand_units(unit_mxfp4, 32, 17, p, col, n, dst);
        break;
    }
}
#endif
