/*
 * cpu_mm_amx.c - matmul with AMX: one instruction multiplies 16 rows of W with
 * 16 tokens.
 *
 * A packed block has the layout of the instruction's second operand: a row of
 * the tile is a quad of 4 columns (8-bit levels) or a pair of 2 columns (bf16)
 * of all 16 rows of W.  A row of the first operand, and of the result, is a
 * token.
 *
 * 8-bit products give the bits of AVX-512: sums of integers are exact, and
 * floats are made from them in the order of AVX-512.  AVX-512 therefore
 * handles small numbers of tokens.  In bf16 the order of sums differs, so AMX
 * handles every number of tokens.
 */
#if defined(__x86_64__)
#include "backend/cpu_mm.h"
#include "backend/cpu_mm_avx512.h"
#include "backend/cpu_mm_block.h"

enum {
    WIDE = TLPI_WIDE_TILE,
    WIDE_FROM = 9, /* for fewer tokens VNNI is faster */
    PAIRS = 2 * TLPI_GROUP * TLPI_MM_BLOCK, /* bytes of a bf16 block */
    LEVELS = TLPI_GROUP * TLPI_MM_BLOCK,    /* bytes of an unpacked block */
    ROW = 64,                               /* bytes of a full tile row */
    SUMS = TLPI_WIDE_TILE * TLPI_GROUP,     /* sums of a tile */
    N_SUM = 4                               /* tiles of bf16 sums */
};

/* Put before a loop over 16 tokens. */
#if defined(__clang__)
#define EACH_TOKEN _Pragma("clang loop unroll(full)")
#else
#define EACH_TOKEN _Pragma("GCC unroll 16")
#endif

/* ==== tiles ============================================================== */

/* Tile registers: 0 to 3 hold results; for operands of 32 columns: */
#define X_Q 4 /* tokens in 8 bits */
#define W_Q 5 /* levels */
#define X_B 6 /* tokens in bf16 */
#define W_B 7 /* bf16 weights */

typedef struct config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
} config;

static void begin(void)
{
    static const config c = {
        .palette = 1,
        .row_bytes = { 64, 64, 64, 64, 32, 64, 64, 64 },
        .n_row = { 16, 16, 16, 16, 16, 8, 16, 16 },
    };
    _tile_loadconfig(&c);
}

static void end(void)
{
    _tile_release();
}

/* Tell the compiler that memory is read by tile loads. */
#define WRITTEN() __asm__ volatile("" : : : "memory")

/* ==== 8-bit activations ================================================== */

/* Levels of a group minus their zero, as signed bytes [block][8 quads][64].
 * Where 16 columns have one scale, a block takes two places, each half zero. */
ALWAYS_INLINE void unpack_group(tlpi_dtype type, const uint8_t *p,
                                int64_t n_block, int8_t *out)
{
    const tlpi_mm_shape s = tlpi_mm_shape_of(type);
    vi zero = vi_set1_8((char)(s.zero < 0 ? 0 : 1 << s.zero));

    for (int64_t b = 0; b < n_block; b++, out += s.n_scale * LEVELS) {
        if (s.super && b % (TLPI_SUPER / TLPI_MM_BLOCK) == 0)
            p += tlpi_mm_super_bytes(s);
        UNROLL
        for (int i = 0; i < tlpi_mm_block_bytes(s); i += 64)
            __builtin_prefetch(p + i + AHEAD);
        UNROLL
        for (int j = 0; j < 8; j++) {
            int half = s.n_scale == 2 && j >= 4;
            vi level = _mm512_sub_epi8(load_level(s, p, 0, j), zero);
            _mm512_store_si512(out + half * LEVELS + ROW * j, level);
            if (s.n_scale == 2)
                _mm512_store_si512(out + !half * LEVELS + ROW * j,
                                   _mm512_setzero_si512());
        }
        p += tlpi_mm_block_bytes(s);
    }
}

/* sum[token][16] of a block's integers */
#define MULTIPLY(tile, level, sum)                                             \
    do {                                                                       \
        _tile_zero(tile);                                                      \
        _tile_loadd(W_Q, level, ROW);                                          \
        _tile_dpbssd(tile, X_Q, W_Q);                                          \
        _tile_stored(tile, sum, ROW);                                          \
    } while (0)

/* Add a block's integer sums to the result, as add_block of cpu_mm_simd.h
 * does.  With two scales, both scaled sums are whole numbers that f32 holds
 * exactly. */
ALWAYS_INLINE void add_sums(tlpi_mm_shape s, const uint8_t *p, scales *v,
                            const tlpi_xq *x, const int32_t *sum, vf *acc)
{
    vf d0 = vf_set1(0.0f), d1 = d0;

    load_scales(s, p, 0, v);
    if (s.n_scale == 2) {
        d0 = vf_cvt(load_scale(s, p, 0, 0));
        d1 = vf_cvt(load_scale(s, p, 0, 1));
    }
    EACH_TOKEN
    for (int t = 0; t < WIDE; t++) {
        vf q = vf_cvt(vi_load(sum + TLPI_GROUP * t));
        if (s.n_scale == 2)
            q = vf_fma(vf_cvt(vi_load(sum + SUMS + TLPI_GROUP * t)), d1,
                       vf_mul(q, d0));
        acc[t] = vf_fma(q, vf_mul(v->d, vf_set1(x[t].d)), acc[t]);
        if (s.zero < 0)
            acc[t] = add_offset(s, v, &x[t], acc[t]);
    }
}

/* T tokens are processed as 16: tiles reach beyond the last token. */
ALWAYS_INLINE void dot_wide(tlpi_dtype type, const uint8_t *p,
                            const int8_t *level, int64_t n_block,
                            const tlpi_xq *x, int T, float *out)
{
    const tlpi_mm_shape s = tlpi_mm_shape_of(type);
    _Alignas(64) int32_t sums[2][2 * SUMS];
    scales v = no_scales();
    vf acc[WIDE];

    EACH_TOKEN
    for (int t = 0; t < WIDE; t++)
        acc[t] = vf_set1(0.0f);
    for (int64_t b = 0; b < n_block; b++, x += T) {
        int32_t *sum = sums[b % 2];
        if (s.super && b % (TLPI_SUPER / TLPI_MM_BLOCK) == 0) {
            load_super(s, p, 0, &v);
            p += tlpi_mm_super_bytes(s);
        }
        _tile_loadd(X_Q, x->q, sizeof *x);
        MULTIPLY(0, level, sum);
        if (s.n_scale == 2)
            MULTIPLY(1, level + LEVELS, sum + SUMS);
        add_sums(s, p, &v, x, sum, acc);
        level += s.n_scale * LEVELS;
        p += tlpi_mm_block_bytes(s);
    }
    EACH_TOKEN
    for (int t = 0; t < WIDE; t++)
        if (t < T)
            vf_store(out + TLPI_GROUP * t, acc[t]);
}

#define X(type)                                                                \
    static void unpack_##type(const uint8_t *p, int64_t n_block, int8_t *out)  \
    {                                                                          \
        unpack_group(TLPI_##type, p, n_block, out);                            \
    }                                                                          \
    static void dot_##type(const uint8_t *p, const int8_t *level,              \
                           int64_t n_block, const tlpi_xq *x, int T,           \
                           float *sum)                                         \
    {                                                                          \
        dot_wide(TLPI_##type, p, level, n_block, x, T, sum);                   \
    }
QUANTISED_TYPES(X)
#undef X

static void unpack(const tlpi_weight *w, int64_t group, int8_t *out)
{
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;
    int64_t n_block = w->n_col / TLPI_MM_BLOCK;

    switch (w->type) {
#define X(type)                                                                \
    case TLPI_##type:                                                          \
        unpack_##type(p, n_block, out);                                        \
        break;
        QUANTISED_TYPES(X)
#undef X
    default:
        break;
    }
    WRITTEN();
}

static void dot_w(const tlpi_weight *w, int64_t group, const int8_t *level,
                  const tlpi_xq *x, int T, float *sum)
{
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;
    int64_t n_block = w->n_col / TLPI_MM_BLOCK;

    switch (w->type) {
#define X(type)                                                                \
    case TLPI_##type:                                                          \
        dot_##type(p, level, n_block, x, T, sum);                              \
        break;
        QUANTISED_TYPES(X)
#undef X
    default:
        break;
    }
}

/* ==== bf16 activations =================================================== */

#define ADD_BLOCK(tile)                                                        \
    do {                                                                       \
        ask_for(p + AHEAD, ahead);                                             \
        _tile_loadd(W_B, p, ROW);                                              \
        _tile_loadd(X_B, x, sizeof *x);                                        \
        _tile_dpbf16ps(tile, X_B, W_B);                                        \
        p += PAIRS;                                                            \
        x += T;                                                                \
    } while (0)

ALWAYS_INLINE void ask_for(const uint8_t *p, bool ahead)
{
    for (int i = 0; ahead && i < PAIRS; i += ROW)
        __builtin_prefetch(p + i);
}

/* Each of four sums takes every fourth block, so that a product does not wait
 * for the one before. */
ALWAYS_INLINE void dot_b_tile(const uint8_t *p, int64_t n_block,
                              const tlpi_xb *x, int T, bool ahead, float *out)
{
    _Alignas(64) float sum[N_SUM][SUMS];

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; n_block >= N_SUM; n_block -= N_SUM) {
        ADD_BLOCK(0);
        ADD_BLOCK(1);
        ADD_BLOCK(2);
        ADD_BLOCK(3);
    }
    if (n_block > 0)
        ADD_BLOCK(0);
    if (n_block > 1)
        ADD_BLOCK(1);
    if (n_block > 2)
        ADD_BLOCK(2);
    _tile_stored(0, sum[0], ROW);
    _tile_stored(1, sum[1], ROW);
    _tile_stored(2, sum[2], ROW);
    _tile_stored(3, sum[3], ROW);
    for (int t = 0; t < T; t++) {
        int i = TLPI_GROUP * t;
        vf low = vf_add(vf_load(sum[0] + i), vf_load(sum[1] + i));
        vf high = vf_add(vf_load(sum[2] + i), vf_load(sum[3] + i));
        vf_store(out + i, vf_add(low, high));
    }
}

static void dot_b(const tlpi_weight *w, int64_t group, const tlpi_xb *x, int T,
                  float *out)
{
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;
    int64_t n_block = (w->n_col + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK;

    if (T == WIDE) /* many tokens: the group is in the L1 cache */
        dot_b_tile(p, n_block, x, WIDE, false, out);
    else
        dot_b_tile(p, n_block, x, T, true, out);
}

/* ==== what AVX-512 does as well ========================================== */

#define BASE tlpi_cpu_mm_avx512

static void quantize(const float *x, int n_block, tlpi_xq *out, int step)
{
    BASE.quantize(x, n_block, out, step);
}

static void dot_q(const tlpi_weight *w, int64_t group, const tlpi_xq *x, int T,
                  float *sum)
{
    BASE.dot_q(w, group, x, T, sum);
}

static void narrow(const float *x, int64_t n, tlpi_xb *out, int step)
{
    BASE.narrow(x, n, out, step);
}

static tlpi_panel panel(const tlpi_weight *w, int64_t group, int64_t k0, int n,
                        int n_tok, float *buf)
{
    return BASE.panel(w, group, k0, n, n_tok, buf);
}

static void dot_f(tlpi_panel p, int n, const float *x, int64_t stride, int T,
                  float *sum)
{
    BASE.dot_f(p, n, x, stride, T, sum);
}

static void silu_mul(const float *gate, const float *up, float *y, int n)
{
    BASE.gate_mul[TLPI_GATE_SILU](gate, up, y, n);
}

static void gelu_mul(const float *gate, const float *up, float *y, int n)
{
    BASE.gate_mul[TLPI_GATE_GELU](gate, up, y, n);
}

static void clamp_mul(const float *gate, const float *up, float *y, int n)
{
    BASE.gate_mul[TLPI_GATE_CLAMP](gate, up, y, n);
}

const tlpi_cpu_mm tlpi_cpu_mm_amx = {
    .isa = "amx",
    .packed = true,
    .tile = TLPI_MAX_TILE,
    .tile_f = TLPI_MAX_TILE,
    .tile_b = WIDE,
    .wide_from = WIDE_FROM,
    .begin = begin,
    .end = end,
    .quantize = quantize,
    .dot_q = dot_q,
    .unpack = unpack,
    .dot_w = dot_w,
    .narrow = narrow,
    .dot_b = dot_b,
    .panel = panel,
    .dot_f = dot_f,
    .gate_mul = { silu_mul, gelu_mul, clamp_mul },
};
#endif
