/*
 * cpu_mm_simd.h - the matmul kernels, written once for all vector instruction
 * sets.
 *
 * A cpu_mm_<isa>.c defines its vectors and their operations, includes this
 * file, and puts the resulting functions into its table.  Every kernel is an
 * inline function of tensor type and tile size; with constant arguments the
 * compiler drops the code that a type does not need.
 *
 *   vf, vi           LANES floats; LANES integers or quads of 4 bytes
 *   LANES, PARTS     rows in a vector, vectors in a group (LANES * PARTS = 16)
 *   TILE, STEP       tokens of the largest tile: 8; tokens of a tile whose sums
 *                    are in registers at once
 *   TILE_F           tokens whose f32 sums fit into registers
 *   WIDEN_FROM       tokens from which 16-bit weights are converted to f32
 * first vf_*, vi_*       operations of one or two instructions
 *
 * The including file then defines block_sums, the innermost loop.
 */
#ifndef TLPI_CPU_MM_SIMD_H
#define TLPI_CPU_MM_SIMD_H

#include "backend/cpu_mm_block.h"

#define FLOAT_TYPES(X) X(F32) HALF_TYPES(X)
#define HALF_TYPES(X) X(F16) X(BF16)

/* ==== 8-bit activations ================================================== */

/*
 * Sums of a block: the sum over its columns of (level - zero) * q, multiplied
 * by the scales of 16 columns where a type has them.  The sums are whole
 * numbers up to 2^24, which f32 holds exactly.  sum [T][PARTS].  Each
 * instruction set has its own.
 */
ALWAYS_INLINE void block_sums(tlpi_mm_shape s, const uint8_t *p,
                              const tlpi_xq *x, int T, vf *sum);

/* Multiply a block with T <= STEP tokens and add to sums in memory or, if they
 * fit beside all operands, in registers. */
ALWAYS_INLINE void add_block(tlpi_mm_shape s, const uint8_t *p, scales *v,
                             const tlpi_xq *x, int T, bool spill, vf *acc,
                             float *sum)
{
    vf bsum[STEP * PARTS];

    block_sums(s, p, x, T, bsum);
    UNROLL
    for (int i = 0; i < PARTS; i++)
        load_scales(s, p, i, &v[i]);
    UNROLL
    for (int i = 0; i < T * PARTS; i++) {
        const scales *u = &v[i % PARTS];
        const tlpi_xq *xt = &x[i / PARTS];
        vf a = spill ? vf_load(sum + LANES * i) : acc[i];
        a = vf_fma(bsum[i], vf_mul(u->d, vf_set1(xt->d)), a);
        if (s.zero < 0)
            a = add_offset(s, u, xt, a);
        if (spill)
            vf_store(sum + LANES * i, a);
        else
            acc[i] = a;
    }
}

/* A group against a tile: sum [T][16] */
ALWAYS_INLINE void dot_tile(tlpi_dtype type, const uint8_t *p, int64_t n_block,
                            const tlpi_xq *x, int T, float *sum)
{
    const tlpi_mm_shape s = tlpi_mm_shape_of(type);
    const int block_bytes = tlpi_mm_block_bytes(s);
    const bool spill = T * PARTS > (int)REGISTERS / 4;
    vf acc[TLPI_MAX_TILE * PARTS];
    scales v[PARTS];

    UNROLL
    for (int i = 0; i < PARTS; i++)
        v[i] = no_scales();
    UNROLL
    for (int i = 0; i < T * PARTS; i++) {
        acc[i] = vf_set1(0.0f);
        vf_store(sum + LANES * i, acc[i]);
    }
    for (int64_t b = 0; b < n_block; b++, x += T) {
        if (s.super && b % (TLPI_SUPER / TLPI_MM_BLOCK) == 0) {
            UNROLL
            for (int i = 0; i < PARTS; i++)
                load_super(s, p, i, &v[i]);
            p += tlpi_mm_super_bytes(s);
        }
        UNROLL
        for (int i = 0; i < block_bytes; i += 64)
            __builtin_prefetch(p + i + AHEAD);
        add_block(s, p, v, x, TLPI_MIN(T, (int)STEP), spill, acc, sum);
        if (T > (int)STEP)
            add_block(s, p, v, x + STEP, T - STEP, spill, acc + STEP * PARTS,
                      sum + STEP * TLPI_GROUP);
        p += block_bytes;
    }
    UNROLL
    for (int i = 0; i < T * PARTS; i++)
        if (!spill)
            vf_store(sum + LANES * i, acc[i]);
}

/* tile(args, T as a constant, sum) for T = 1 ... 8 */
#define BY_TILE(T, tile, sum, ...)                                             \
    do {                                                                       \
        if ((T) == 8)                                                          \
            tile(__VA_ARGS__, 8, sum);                                         \
        else if ((T) == 7)                                                     \
            tile(__VA_ARGS__, 7, sum);                                         \
        else if ((T) == 6)                                                     \
            tile(__VA_ARGS__, 6, sum);                                         \
        else if ((T) == 5)                                                     \
            tile(__VA_ARGS__, 5, sum);                                         \
        else if ((T) == 4)                                                     \
            tile(__VA_ARGS__, 4, sum);                                         \
        else if ((T) == 3)                                                     \
            tile(__VA_ARGS__, 3, sum);                                         \
        else if ((T) == 2)                                                     \
            tile(__VA_ARGS__, 2, sum);                                         \
        else                                                                   \
            tile(__VA_ARGS__, 1, sum);                                         \
    } while (0)

#define X(type)                                                                \
    static void dot_##type(const uint8_t *p, int64_t n_block,                  \
                           const tlpi_xq *x, int T, float *sum)                \
    {                                                                          \
        BY_TILE(T, dot_tile, sum, TLPI_##type, p, n_block, x);                 \
    }
QUANTISED_TYPES(X)
#undef X

static void dot_q(const tlpi_weight *w, int64_t group, const tlpi_xq *x, int T,
                  float *sum)
{
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;
    int64_t n_block = w->n_col / TLPI_MM_BLOCK;

    switch (w->type) {
#define X(type)                                                                \
    case TLPI_##type:                                                          \
        dot_##type(p, n_block, x, T, sum);                                     \
        break;
        QUANTISED_TYPES(X)
#undef X
    default:
        break;
    }
}

/* ==== panels: a group's columns as f32, [n][16] ========================== */

/* out[0], out[16], ...: the four columns of a quad. */
ALWAYS_INLINE void put_quad(tlpi_mm_shape s, vi level, vf d, vf m, float *out)
{
    vi zero = vi_set1(s.zero < 0 ? 0 : 1 << s.zero), byte = vi_set1(255);
    vi q[4] = { vi_and(level, byte), vi_and(vi_shr32(level, 8), byte),
                vi_and(vi_shr32(level, 16), byte), vi_shr32(level, 24) };

    UNROLL
    for (int i = 0; i < 4; i++) {
        vf v = vf_cvt(s.zero < 0 ? q[i] : vi_sub32(q[i], zero));
        v = s.zero < 0 ? add_m(s, m, vf_set1(1.0f), vf_mul(d, v))
                       : vf_mul(d, v);
        vf_store(out + TLPI_GROUP * i, v);
    }
}

ALWAYS_INLINE void panel_part(tlpi_dtype type, int part, const uint8_t *p,
                              int64_t n_block, float *out)
{
    const tlpi_mm_shape s = tlpi_mm_shape_of(type);
    scales v = no_scales();

    out += LANES * part;
    for (int64_t b = 0; b < n_block; b++) {
        if (s.super && b % (TLPI_SUPER / TLPI_MM_BLOCK) == 0) {
            load_super(s, p, part, &v);
            p += tlpi_mm_super_bytes(s);
        }
        load_scales(s, p, part, &v);
        UNROLL
        for (int j = 0; j < 8; j++, out += 4 * TLPI_GROUP) {
            vf d = v.d, m = v.m;
            if (s.n_scale == 2)
                d = vf_mul(d, vf_cvt(load_scale(s, p, part, j / 4)));
            if (tlpi_mm_two_offsets(s))
                m = vf_mul(v.super_m, vf_cvt(load_offset(s, p, part, j / 4)));
            put_quad(s, load_level(s, p, part, j), d, m, out);
        }
        p += tlpi_mm_block_bytes(s);
    }
}

#define X(type)                                                                \
    static void panel_##type(const uint8_t *p, int64_t n_block, float *out)    \
    {                                                                          \
        for (int part = 0; part < PARTS; part++)                               \
            panel_part(TLPI_##type, part, p, n_block, out);                    \
    }
QUANTISED_TYPES(X)
#undef X

/* Rows from part * LANES on of column k; `odd` tells whether k is odd. */
ALWAYS_INLINE vf load_weights(tlpi_dtype type, const uint8_t *p, int k,
                              bool odd, int part)
{
    int row = LANES * part;

    if (type == TLPI_F32)
        return vf_load((const float *)(const void *)p + k * TLPI_GROUP + row);
    if (type == TLPI_F16)
        return vf_f16(p + 2 * (k * TLPI_GROUP + row));
    vi pair = vi_load(p + 4 * (k / 2 * TLPI_GROUP + row));
    return vf_bits(odd ? vi_and(pair, vi_set1(-65536)) : vi_shl32(pair, 16));
}

#define X(type)                                                                \
    static void widen_##type(const uint8_t *p, int n, float *out)              \
    {                                                                          \
        for (int k = 0; k < n; k++, out += TLPI_GROUP)                         \
            for (int i = 0; i < PARTS; i++)                                    \
                vf_store(out + LANES * i,                                      \
                         load_weights(TLPI_##type, p, k, k % 2, i));           \
    }
HALF_TYPES(X)
#undef X

/* Float weights in place; with many tokens converted to f32 for all tiles. */
static tlpi_panel float_panel(tlpi_dtype type, const uint8_t *p, int n,
                              int n_tok, float *buf)
{
    if (type == TLPI_F32 || n_tok < WIDEN_FROM)
        return (tlpi_panel){ type, p };
    if (type == TLPI_F16)
        widen_F16(p, n, buf);
    else
        widen_BF16(p, n, buf);
    return (tlpi_panel){ TLPI_F32, buf };
}

static tlpi_panel panel(const tlpi_weight *w, int64_t group, int64_t k0, int n,
                        int n_tok, float *buf)
{
    const tlpi_mm_shape s = tlpi_mm_shape_of(w->type);
    const uint8_t *p = w->data + (size_t)group * w->group_bytes;

    if (!s.bits) {
        p += k0 * TLPI_GROUP * (w->type == TLPI_F32 ? 4 : 2);
        return float_panel(w->type, p, n, n_tok, buf);
    }
    p += k0 / TLPI_MM_BLOCK * tlpi_mm_block_bytes(s) +
         k0 / TLPI_SUPER * tlpi_mm_super_bytes(s);
    switch (w->type) {
#define X(type)                                                                \
    case TLPI_##type:                                                          \
        panel_##type(p, n / TLPI_MM_BLOCK, buf);                               \
        break;
        QUANTISED_TYPES(X)
#undef X
    default:
        break;
    }
    return (tlpi_panel){ TLPI_F32, buf };
}

/* ==== f32 activations ==================================================== */

/* acc[token][part] += column k */
ALWAYS_INLINE void add_column(tlpi_dtype type, const uint8_t *p, int k,
                              bool odd, const float *x, int64_t stride, int T,
                              vf acc[][PARTS])
{
    vf w[PARTS];

    __builtin_prefetch(p + (type == TLPI_F32 ? 64 : 32) * k + AHEAD);
    UNROLL
    for (int i = 0; i < PARTS; i++)
        w[i] = load_weights(type, p, k, odd, i);
    UNROLL
    for (int t = 0; t < T; t++) {
        vf xk = vf_set1(x[t * stride + k]);
        UNROLL
        for (int i = 0; i < PARTS; i++)
            acc[t][i] = vf_fma(w[i], xk, acc[t][i]);
    }
}

/* sum [T][16] += columns [k0, k1) */
ALWAYS_INLINE void dot_f_block(tlpi_dtype type, const uint8_t *p, int k0,
                               int k1, const float *x, int64_t stride, int T,
                               float *sum)
{
    vf acc[TLPI_MAX_TILE][PARTS];

    UNROLL
    for (int t = 0; t < T; t++) {
        UNROLL
        for (int i = 0; i < PARTS; i++)
            acc[t][i] = vf_set1(0.0f);
    }
    for (int k = k0; k < k1; k += 2) {
        add_column(type, p, k, false, x, stride, T, acc);
        if (k + 1 < k1)
            add_column(type, p, k + 1, true, x, stride, T, acc);
    }
    UNROLL
    for (int t = 0; t < T; t++, sum += TLPI_GROUP) {
        UNROLL
        for (int i = 0; i < PARTS; i++)
            vf_store(sum + LANES * i,
                     vf_add(vf_load(sum + LANES * i), acc[t][i]));
    }
}

/* Sums in blocks of 32 columns.  This keeps rounding small, and gives the
 * machine several chains when there is a single token. */
ALWAYS_INLINE void dot_f_tile(tlpi_dtype type, const uint8_t *p, int n,
                              const float *x, int64_t stride, int T, float *sum)
{
    for (int k0 = 0; k0 < n; k0 += TLPI_MM_BLOCK) {
        int k1 = TLPI_MIN(k0 + TLPI_MM_BLOCK, n);
        int half = T > (int)TILE_F ? (T + 1) / 2 : T;
        dot_f_block(type, p, k0, k1, x, stride, half, sum);
        if (T > half)
            dot_f_block(type, p, k0, k1, x + half * stride, stride, T - half,
                        sum + half * TLPI_GROUP);
        /* Keep the compiler from carrying the sums over in registers; there
         * are not enough. */
        __asm__ volatile("" : : : "memory");
    }
}

#define X(type)                                                                \
    static void dot_f_##type(const uint8_t *p, int n, const float *x,          \
                             int64_t stride, int T, float *sum)                \
    {                                                                          \
        BY_TILE(T, dot_f_tile, sum, TLPI_##type, p, n, x, stride);             \
    }
FLOAT_TYPES(X)
#undef X

static void dot_f(tlpi_panel panel, int n, const float *x, int64_t stride,
                  int T, float *sum)
{
    switch (panel.type) {
#define X(type)                                                                \
    case TLPI_##type:                                                          \
        dot_f_##type(panel.data, n, x, stride, T, sum);                        \
        break;
        FLOAT_TYPES(X)
#undef X
    default:
        break;
    }
}

/* ==== gates ============================================================== */

/* e^x to 2 units in the last place; x is clamped so that the result is
 * normal. */
ALWAYS_INLINE vf exp_of(vf x)
{
    static const float taylor[] = { 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                    1.0f / 2,   1.0f,       1.0f };

    x = vf_min(vf_set1(88.7f), vf_max(vf_set1(-87.3f), x)); /* NaN stays NaN */
    vf n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
    /* ln 2 as two terms, so that n times the first is exact. */
    vf r = vf_fnma(n, vf_set1(0.693359375f), x);
    r = vf_fnma(n, vf_set1(-2.12194440e-4f), r);
    vf e = vf_set1(1.0f / 5040);
    UNROLL
    for (size_t i = 0; i < TLPI_COUNT(taylor); i++)
        e = vf_fma(e, r, vf_set1(taylor[i]));
    return vf_bits(vi_add32(vi_bits(e), vi_shl32(vi_cvt(n), 23)));
}

/* g / (1 + e^-u) * up */
ALWAYS_INLINE vf gate_mul(vf g, vf u, vf up)
{
    vf e = exp_of(vf_sub(vf_set1(0.0f), u));

    return vf_mul(vf_div(g, vf_add(vf_set1(1.0f), e)), up);
}

static void silu_mul(const float *gate, const float *up, float *y, int n)
{
    for (int i = 0; i < n; i += LANES) {
        vf g = vf_load(gate + i);
        vf_store(y + i, gate_mul(g, g, vf_load(up + i)));
    }
}

static void gelu_mul(const float *gate, const float *up, float *y, int n)
{
    for (int i = 0; i < n; i += LANES) {
        vf g = vf_load(gate + i);
        vf u = vf_fma(vf_mul(g, g), vf_set1((float)TLPI_GELU_3), vf_set1(1.0f));
        u = vf_mul(vf_mul(g, vf_set1((float)TLPI_GELU_1)), u);
        vf_store(y + i, gate_mul(g, u, vf_load(up + i)));
    }
}

static void clamp_mul(const float *gate, const float *up, float *y, int n)
{
    vf top = vf_set1((float)TLPI_CLAMP_LIMIT);
    vf low = vf_set1(-(float)TLPI_CLAMP_LIMIT);

    for (int i = 0; i < n; i += LANES) { /* NaN stays NaN */
        vf g = vf_min(top, vf_load(gate + i));
        vf u = vf_min(top, vf_max(low, vf_load(up + i)));
        vf_store(y + i, gate_mul(g, vf_mul(g, vf_set1((float)TLPI_CLAMP_SLOPE)),
                                 vf_add(u, vf_set1(1.0f))));
    }
}

#endif
