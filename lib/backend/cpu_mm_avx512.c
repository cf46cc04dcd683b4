/*
 * cpu_mm_avx512.c - matmul with AVX-512 and VNNI: a vector is a whole group.
 *
 * vpdpbusd multiplies 64 levels with 4 activations, broadcast to every row;
 * vdpbf16ps, which not every such machine has, 32 bf16 weights with 2.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "backend/cpu_mm.h"
#include "backend/cpu_mm_inline.h"

typedef __m512 vf;
typedef __m512i vi;

enum {
    LANES = 16,
    PARTS = 1,
    TILE = TLPI_MAX_TILE,
    STEP = 8,
    TILE_F = 8,
    WIDEN_FROM = 1 << 30, /* never: it costs nothing as they are loaded */
    REGISTERS = 32,
    AHEAD_FROM = 5,
    AHEAD_FROM_F = 3
};

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

/* acc += the sum of two products of bf16 */
#define vf_dot2(acc, a, b) _mm512_dpbf16_ps(acc, (__m512bh)(a), (__m512bh)(b))

#define vi_load(p) _mm512_loadu_si512(p)
#define vi_set1(i) _mm512_set1_epi32(i)
#define vi_set1_8(i) _mm512_set1_epi8(i)
#define vi_and(a, b) _mm512_and_si512(a, b)
#define vi_or_and(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0xf8)
#define vi_shl16(a, n) _mm512_slli_epi16(a, n)
#define vi_shr16(a, n) _mm512_srli_epi16(a, n)
#define vi_shl32(a, n) _mm512_sll_epi32(a, _mm_cvtsi32_si128(n))
#define vi_shr32(a, n) _mm512_srli_epi32(a, n)
#define vi_add32(a, b) _mm512_add_epi32(a, b)
#define vi_sub32(a, b) _mm512_sub_epi32(a, b)
#define vi_mul32(a, b) _mm512_mullo_epi32(a, b)
#define vi_cvt(f) _mm512_cvtps_epi32(f)
#define vi_bits(f) _mm512_castps_si512(f)
#define vi_s8(p)                                                               \
    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))

#include "backend/cpu_mm_simd.h"

ALWAYS_INLINE void dot_quads(const vi *level, int j0, int j1, const tlpi_xq *x,
                             int T, vi *sum)
{
    UNROLL
    for (int j = j0; j < j1; j++) {
        UNROLL
        for (int t = 0; t < T; t++)
            sum[t] = _mm512_dpbusd_epi32(sum[t], level[j],
                                         vi_set1(load_quad(&x[t], j)));
    }
}

ALWAYS_INLINE void block_sums(tlpi_mm_shape s, const uint8_t *p,
                              const tlpi_xq *x, int T, vi *sum)
{
    vi level[8], high[TLPI_MAX_TILE];

    UNROLL
    for (int j = 0; j < 8; j++)
        level[j] = load_level(s, p, 0, j);
    if (s.n_scale == 1) {
        UNROLL
        for (int t = 0; t < T; t++)
            sum[t] =
                s.zero >= 0 ? vi_shl32(vi_set1(x[t].n), s.zero) : vi_set1(0);
        dot_quads(level, 0, 8, x, T, sum);
        return;
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        sum[t] = vi_shl32(vi_set1(x[t].n - x[t].n_high), s.zero);
        high[t] = vi_shl32(vi_set1(x[t].n_high), s.zero);
    }
    dot_quads(level, 0, 4, x, T, sum);
    dot_quads(level, 4, 8, x, T, high);
    vi d0 = load_scale(s, p, 0, 0), d1 = load_scale(s, p, 0, 1);
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_add32(vi_mul32(sum[t], d0), vi_mul32(high[t], d1));
}

static void quantize(const float *x, int n_block, tlpi_xq *out, int step)
{
    for (int b = 0; b < n_block; b++, x += TLPI_BLOCK, out += step) {
        vf x0 = vf_load(x), x1 = vf_load(x + 16);
        vf max = _mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1));
        float amax = _mm512_reduce_max_ps(max);
        vf inv = vf_set1(inverse_step(amax));
        /* NaN converts to INT_MIN, two of which have no sum. */
        vi q0 = _mm512_max_epi32(vi_cvt(vf_mul(x0, inv)), vi_set1(-128));
        vi q1 = _mm512_max_epi32(vi_cvt(vf_mul(x1, inv)), vi_set1(-128));
        _mm_storeu_si128((__m128i *)(void *)out->q, _mm512_cvtsepi32_epi8(q0));
        _mm_storeu_si128((__m128i *)(void *)(out->q + 16),
                         _mm512_cvtsepi32_epi8(q1));
        finish_block(out, amax, _mm512_reduce_add_epi32(q0),
                     _mm512_reduce_add_epi32(q1));
    }
}

/* ==== bf16 activations =================================================== */

static void narrow(const float *x, int64_t n, tlpi_xb *out, int step)
{
    for (; n > 0; n -= TLPI_BLOCK, x += TLPI_BLOCK, out += step) {
        uint32_t here = n < TLPI_BLOCK ? (1u << n) - 1 : UINT32_MAX;
        vf low = _mm512_maskz_loadu_ps((__mmask16)here, x);
        vf high = _mm512_maskz_loadu_ps((__mmask16)(here >> 16), x + 16);
        _mm512_storeu_si512(out->v, (vi)_mm512_cvtne2ps_pbh(high, low));
    }
}

ALWAYS_INLINE int32_t load_pair(const tlpi_xb *x, int j)
{
    int32_t v;
    memcpy(&v, x->v + 2 * j, sizeof v);
    return v;
}

/* Summed in blocks for the reasons of dot_f_tile. */
ALWAYS_INLINE void dot_b_tile(const uint8_t *p, int64_t n_block,
                              const tlpi_xb *x, int T, float *sum)
{
    vf total[TLPI_MAX_TILE], acc[TLPI_MAX_TILE];

    UNROLL
    for (int t = 0; t < T; t++)
        total[t] = vf_set1(0.0f);
    for (int64_t b = 0; b < n_block; b++, x += T) {
        UNROLL
        for (int t = 0; t < T; t++)
            acc[t] = vf_set1(0.0f);
        UNROLL
        for (int j = 0; j < TLPI_BLOCK / 2; j++, p += 64) {
            vi w = vi_load(p);
            if (2 * T > TILE)
                __builtin_prefetch(p + AHEAD);
            UNROLL
            for (int t = 0; t < T; t++)
                acc[t] = vf_dot2(acc[t], w, vi_set1(load_pair(&x[t], j)));
        }
        UNROLL
        for (int t = 0; t < T; t++)
            total[t] = vf_add(total[t], acc[t]);
    }
    UNROLL
    for (int t = 0; t < T; t++)
        vf_store(sum + TLPI_GROUP * t, total[t]);
}

static void dot_b(const tlpi_weight *w, int64_t group, const tlpi_xb *x, int T,
                  float *sum)
{
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;
    int64_t n_block = (w->n_col + TLPI_BLOCK - 1) / TLPI_BLOCK;

    BY_TILE(T, dot_b_tile, sum, p, n_block, x);
}

const tlpi_cpu_mm tlpi_cpu_mm_avx512 = {
    .isa = "avx512",
    .packed = true,
    .tile = TILE,
    .tile_f = TILE_F,
    .quantize = quantize,
    .dot_q = dot_q,
    .narrow = narrow,
    .dot_b = dot_b,
    .panel = panel,
    .dot_f = dot_f,
    .silu_mul = silu_mul,
};
#endif
