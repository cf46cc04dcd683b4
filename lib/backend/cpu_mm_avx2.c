/*
 * cpu_mm_avx2.c - matmul with AVX2, FMA and F16C: a vector is half a group.
 *
 * vpmaddubsw adds two products in 16 bits and saturates, so levels are summed
 * in 16 bits only while they fit.  8-bit levels never fit; they are split into
 * sign and magnitude, and the sign is applied to the activations.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "backend/cpu_mm.h"
#include "backend/cpu_mm_inline.h"

typedef __m256 vf;
typedef __m256i vi;

enum {
    LANES = 8,
    PARTS = 2,
    TILE = TLPI_MAX_TILE,
    STEP = 4,
    TILE_F = 6,
    WIDEN_FROM = 13,
    REGISTERS = 16
};

#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, a) _mm256_storeu_ps(p, a)
#define vf_set1(f) _mm256_set1_ps(f)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_div(a, b) _mm256_div_ps(a, b)
#define vf_min(a, b) _mm256_min_ps(a, b) /* b if one is NaN */
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)   /* a * b + c */
#define vf_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c) /* c - a * b */
#define vf_round(a) _mm256_round_ps(a, 8)          /* to nearest */
#define vf_cvt(i) _mm256_cvtepi32_ps(i)
#define vf_bits(i) _mm256_castsi256_ps(i)
#define vf_f16(p)                                                              \
    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))

#define vi_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vi_set1(i) _mm256_set1_epi32(i)
#define vi_set1_8(i) _mm256_set1_epi8(i)
#define vi_and(a, b) _mm256_and_si256(a, b)
#define vi_or(a, b) _mm256_or_si256(a, b)
#define vi_or_and(a, b, c) _mm256_or_si256(a, _mm256_and_si256(b, c))
#define vi_shl16(a, n) _mm256_slli_epi16(a, n)
#define vi_shr16(a, n) _mm256_srli_epi16(a, n)
#define vi_shl32(a, n) _mm256_sll_epi32(a, _mm_cvtsi32_si128(n))
#define vi_shr32(a, n) _mm256_srli_epi32(a, n)
#define vi_add32(a, b) _mm256_add_epi32(a, b)
#define vi_add8(a, b) _mm256_add_epi8(a, b)
#define vi_sub32(a, b) _mm256_sub_epi32(a, b)
#define vi_madd16(a, b) _mm256_madd_epi16(a, b)
#define vi_cvt(f) _mm256_cvtps_epi32(f)
#define vi_bits(f) _mm256_castps_si256(f)
/* 16 bytes, for vi_lookup */
#define vi_table(p)                                                            \
    _mm256_broadcastsi128_si256(                                               \
        _mm_loadu_si128((const __m128i *)(const void *)(p)))
#define vi_lookup(table, code) _mm256_shuffle_epi8(table, code)
#define vi_u8(p)                                                               \
    _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#define vi_s8(p)                                                               \
    _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))

#include "backend/cpu_mm_simd.h"

/* Compilers may reorder a long sum and keep all its terms in memory.  This
 * hides from them that v is a sum. */
#define KEEP_ORDER(v) __asm__("" : "+x"(v))

/* 4 levels times 4 activations, as two sums of 16 bits: |sum| <= 2 * 127 times
 * the largest level, which is 128 for 8 bits. */
ALWAYS_INLINE vi madd(int bits, vi level, vi q)
{
    if (bits < 8)
        return _mm256_maddubs_epi16(level, q);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(level),
                                _mm256_sign_epi8(q, level));
}

/* Levels for madd: 8-bit levels minus their zero. */
ALWAYS_INLINE vi load_factor(tlpi_mm_shape s, const uint8_t *p, int part, int j)
{
    if (tlpi_mm_level_bits(s) < 8)
        return load_level(s, p, part, j);
    if (s.table)
        return vi_lookup(vi_table(s.table), load_code(s, p, part, j));
    return _mm256_xor_si256(load_level(s, p, part, j), vi_set1_8((char)0x80));
}

/* A 16-bit scale twice, for the two halves of a sum. */
ALWAYS_INLINE vi twice(vi scale)
{
    return _mm256_packs_epi32(_mm256_unpacklo_epi32(scale, scale),
                              _mm256_unpackhi_epi32(scale, scale));
}

/* Subtract the zero of the levels from each sum. */
ALWAYS_INLINE void sub_zero(tlpi_mm_shape s, const uint8_t *p, const tlpi_xq *x,
                            int T, vi *sum)
{
    UNROLL
    for (int i = 0; i < T * PARTS; i++) {
        const tlpi_xq *xt = &x[i / PARTS];
        vi zero = vi_set1(xt->n);
        /* two scales: each multiplies the zero of its columns */
        if (s.n_scale == 2)
            zero = vi_madd16(pair_of(load_scale(s, p, i % PARTS, 0),
                                     load_scale(s, p, i % PARTS, 1)),
                             sums_pair(xt));
        sum[i] = vi_add32(sum[i], vi_shl32(zero, s.zero));
    }
}

/*
 * Products are summed in 16 bits over as many quads as fit, then added in 32
 * bits; the scales of 16 columns need no extra instruction there.  Both halves
 * of the group are processed together, because they use the same broadcast
 * activations.
 */
ALWAYS_INLINE void block_sums(tlpi_mm_shape s, const uint8_t *p,
                              const tlpi_xq *x, int T, vf *out)
{
    vi sum[STEP * PARTS];
    /* Number of quads that fit 16 bits: 8 * 2*127*15, 4 * 2*127*31, 2 *
     * 2*127*63; four quads at most have one scale where there are two. */
    const int bits = tlpi_mm_level_bits(s);
    const int fit = bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
    const int run = TLPI_MIN(fit, 8 / s.n_scale);

    UNROLL
    for (int j = 0; j < 8; j += run) {
        vi part[STEP * PARTS];
        UNROLL
        for (int k = j; k < j + run; k++) {
            vi level[PARTS];
            UNROLL
            for (int i = 0; i < PARTS; i++)
                level[i] = load_factor(s, p, i, k);
            UNROLL
            for (int i = 0; i < T * PARTS; i++) {
                vi v = madd(bits, level[i % PARTS],
                            vi_set1(load_quad(&x[i / PARTS], k)));
                part[i] = k == j ? v : _mm256_add_epi16(part[i], v);
                KEEP_ORDER(part[i]);
            }
        }
        UNROLL
        for (int i = 0; i < T * PARTS; i++) {
            vi f = s.n_scale == 1 ? _mm256_set1_epi16(1)
                                  : twice(load_scale(s, p, i % PARTS, j / 4));
            vi v = _mm256_madd_epi16(part[i], f);
            sum[i] = j == 0 ? v : vi_add32(sum[i], v);
            KEEP_ORDER(sum[i]);
        }
    }
    if (s.zero >= 0 && bits < 8)
        sub_zero(s, p, x, T, sum);
    UNROLL
    for (int i = 0; i < T * PARTS; i++)
        out[i] = vf_cvt(sum[i]);
}

ALWAYS_INLINE vi abs_bits(const float *x)
{
    return _mm256_and_si256(vi_load(x), vi_set1(INT32_MAX));
}

ALWAYS_INLINE int32_t max_of(vi a)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a),
                              _mm256_extracti128_si256(a, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* Convert 16 floats to 8 bits; returns their sum. */
ALWAYS_INLINE int quantize_16(const float *x, vf inv, int8_t *out)
{
    vi a = vi_cvt(vf_mul(vf_load(x), inv));
    vi b = vi_cvt(vf_mul(vf_load(x + 8), inv));
    vi sum = vi_add32(a, b);
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum),
                              _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    vi w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm_packs_epi16(_mm256_castsi256_si128(w),
                                     _mm256_extracti128_si256(w, 1)));
    return _mm_cvtsi128_si32(s);
}

static void quantize(const float *x, int n_block, tlpi_xq *out, int step)
{
    for (int b = 0; b < n_block; b++, x += TLPI_MM_BLOCK, out += step) {
        vi m0 = _mm256_max_epi32(abs_bits(x), abs_bits(x + 8));
        vi m1 = _mm256_max_epi32(abs_bits(x + 16), abs_bits(x + 24));
        int32_t bits = max_of(_mm256_max_epi32(m0, m1));
        if (spoil_block(out, bits))
            continue;
        float max = float_of(bits);
        vf inv = vf_set1(inverse_step(max));
        int low = quantize_16(x, inv, out->q);
        int high = quantize_16(x + 16, inv, out->q + 16);
        finish_block(out, max, low, high);
    }
}

const tlpi_cpu_mm tlpi_cpu_mm_avx2 = {
    .isa = "avx2",
    .packed = true,
    .tile = TILE,
    .tile_f = TILE_F,
    .quantize = quantize,
    .dot_q = dot_q,
    .panel = panel,
    .dot_f = dot_f,
    .gate_mul = { silu_mul, gelu_mul, clamp_mul },
};
#endif
