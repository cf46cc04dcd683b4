/*
 * cpu_mm_avx512.c - matmul with AVX-512 and VNNI: a vector is a whole group.
 *
 * vpdpbusd multiplies 64 levels with 4 activations, broadcast to every row.
 * vdpbf16ps multiplies 32 bf16 weights with 2 activations; some machines with
 * AVX-512 lack it.
 */
#if defined(__x86_64__)
#include <string.h>

#include "backend/cpu_mm.h"
#include "backend/cpu_mm_avx512.h"

enum {
    TILE = TLPI_MAX_TILE,
    STEP = 8,
    TILE_F = 8,
    WIDEN_FROM = 1 << 30, /* never: the load instruction converts at no cost */
    REGISTERS = 32
};

/* acc += the sum of two products of bf16 */
#define vf_dot2(acc, a, b) _mm512_dpbf16_ps(acc, (__m512bh)(a), (__m512bh)(b))

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

/* n times the level that means 0; affine types have none. */
ALWAYS_INLINE vi times_zero(tlpi_mm_shape s, int32_t n)
{
    return s.zero >= 0 ? vi_shl32(vi_set1(n), s.zero) : vi_set1(0);
}

ALWAYS_INLINE void block_sums(tlpi_mm_shape s, const uint8_t *p,
                              const tlpi_xq *x, int T, vf *sum)
{
    vi level[8], low[TLPI_MAX_TILE], high[TLPI_MAX_TILE];

    UNROLL
    for (int j = 0; j < 8; j++)
        level[j] = load_level(s, p, 0, j);
    if (s.n_scale == 1) {
        UNROLL
        for (int t = 0; t < T; t++)
            low[t] = times_zero(s, x[t].n);
        dot_quads(level, 0, 8, x, T, low);
        UNROLL
        for (int t = 0; t < T; t++)
            sum[t] = vf_cvt(low[t]);
        return;
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        low[t] = times_zero(s, x[t].n - x[t].n_high);
        high[t] = times_zero(s, x[t].n_high);
    }
    dot_quads(level, 0, 4, x, T, low);
    dot_quads(level, 4, 8, x, T, high);
    vf d0 = vf_cvt(load_scale(s, p, 0, 0)), d1 = vf_cvt(load_scale(s, p, 0, 1));
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vf_fma(vf_cvt(high[t]), d1, vf_mul(vf_cvt(low[t]), d0));
}

static void quantize(const float *x, int n_block, tlpi_xq *out, int step)
{
    for (int b = 0; b < n_block; b++, x += TLPI_MM_BLOCK, out += step) {
        vf x0 = vf_load(x), x1 = vf_load(x + 16);
        vi a0 = _mm512_castps_si512(_mm512_abs_ps(x0));
        vi a1 = _mm512_castps_si512(_mm512_abs_ps(x1));
        int32_t bits = _mm512_reduce_max_epi32(_mm512_max_epi32(a0, a1));
        if (spoil_block(out, bits))
            continue;
        float max = float_of(bits);
        vf inv = vf_set1(inverse_step(max));
        vi q0 = vi_cvt(vf_mul(x0, inv)), q1 = vi_cvt(vf_mul(x1, inv));
        _mm_storeu_si128((__m128i *)(void *)out->q, _mm512_cvtsepi32_epi8(q0));
        _mm_storeu_si128((__m128i *)(void *)(out->q + 16),
                         _mm512_cvtsepi32_epi8(q1));
        finish_block(out, max, _mm512_reduce_add_epi32(q0),
                     _mm512_reduce_add_epi32(q1));
    }
}

/* ==== bf16 activations =================================================== */

static void narrow(const float *x, int64_t n, tlpi_xb *out, int step)
{
    for (; n > 0; n -= TLPI_MM_BLOCK, x += TLPI_MM_BLOCK, out += step) {
        uint32_t here = n < TLPI_MM_BLOCK ? (1u << n) - 1 : UINT32_MAX;
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

/* Sums in blocks, for the reasons given at dot_f_tile. */
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
        for (int j = 0; j < TLPI_MM_BLOCK / 2; j++, p += 64) {
            vi w = vi_load(p);
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
    int64_t n_block = (w->n_col + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK;

    BY_TILE(T, dot_b_tile, sum, p, n_block, x);
}

const tlpi_cpu_mm tlpi_cpu_mm_avx512 = {
    .isa = "avx512",
    .packed = true,
    .tile = TILE,
    .tile_b = TILE,
    .tile_f = TILE_F,
    .quantize = quantize,
    .dot_q = dot_q,
    .narrow = narrow,
    .dot_b = dot_b,
    .panel = panel,
    .dot_f = dot_f,
    .gate_mul = { silu_mul, gelu_mul, clamp_mul },
};
#endif
