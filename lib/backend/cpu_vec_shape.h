/*
 * cpu_vec_shape.h - row operations and attention kernels in vectors of W
 * floats.  One file for each instruction set includes this and defines:
 *
 *   W, NP                  floats in a vector; panels in the widest tile
 *   vf                     the vector type
 *   LOAD STORE SET1 ZERO   unaligned f32
 *   LOAD_F16 LOAD_BF16     W 16-bit floats to f32
 *   LOAD_I8                W bytes to f32
 *   STORE_F16 STORE_BF16   rounding to nearest even; finite values beyond f16
 *                          saturate, infinity and NaN stay
 *   ADD SUB MUL DIV MIN MAX FMA   FMA(a, b, c) = a * b + c
 *   KEEP(x, n, y)          lanes below n from x, the remaining lanes from y
 *   SUM TOP                sum and maximum over the lanes
 *   ROUND LDEXP(x, n)      to whole numbers; x * 2^n for whole n >= -126
 *   PAIRS(x, c, s)         rotate W/2 neighbouring pairs by W/2 angles
 */
#include <math.h>
#include <string.h>

#include "backend/cpu_exp2.h"
#include "backend/cpu_tanh.h"
#include "backend/cpu_vec.h"
#include "base/unroll.h"

#define VPP (TLPI_PANEL / W) /* vectors in a panel */
#define ROWS 6               /* rows of a tile: ROWS * NP * VPP accumulators */
#define WIDEN_FROM 12 /* rows of A from which B is first converted to f32, */
#define WIDEN_K 64    /* in pieces of this many rows of B */

static void add(float *z, const float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; i + W <= n; i += W)
        STORE(z + i, ADD(LOAD(x + i), LOAD(y + i)));
    for (; i < n; i++)
        z[i] = x[i] + y[i];
}

static float sum_sq(const float *x, size_t n)
{
    vf a = ZERO, b = ZERO, c = ZERO, d = ZERO;
    size_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W) {
        vf p = LOAD(x + i), q = LOAD(x + i + W);
        vf r = LOAD(x + i + 2 * W), s = LOAD(x + i + 3 * W);
        a = FMA(p, p, a);
        b = FMA(q, q, b);
        c = FMA(r, r, c);
        d = FMA(s, s, d);
    }
    for (; i + W <= n; i += W)
        a = FMA(LOAD(x + i), LOAD(x + i), a);
    float sum = SUM(ADD(ADD(a, b), ADD(c, d)));
    for (; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static void scale(float *y, const float *x, const float *w, float s, size_t n)
{
    vf vs = SET1(s);
    size_t i = 0;
    if (w) {
        for (; i + W <= n; i += W)
            STORE(y + i, MUL(MUL(vs, LOAD(x + i)), LOAD(w + i)));
        for (; i < n; i++)
            y[i] = s * x[i] * w[i];
    } else {
        for (; i + W <= n; i += W)
            STORE(y + i, MUL(vs, LOAD(x + i)));
        for (; i < n; i++)
            y[i] = s * x[i];
    }
}

static void rope(float *x, const float *cos, const float *sin, int half,
                 bool neox)
{
    int i = 0;
    if (neox)
        for (; i + W <= half; i += W) {
            vf a = LOAD(x + i), b = LOAD(x + half + i);
            vf c = LOAD(cos + i), s = LOAD(sin + i);
            STORE(x + i, SUB(MUL(a, c), MUL(b, s)));
            STORE(x + half + i, ADD(MUL(a, s), MUL(b, c)));
        }
    else
        for (; i + W / 2 <= half; i += W / 2)
            STORE(x + 2 * i, PAIRS(LOAD(x + 2 * i), cos + i, sin + i));
    for (; i < half; i++) {
        float *a = neox ? x + i : x + 2 * i;
        float *b = neox ? a + half : a + 1;
        float ra = *a * cos[i] - *b * sin[i];
        *b = *a * sin[i] + *b * cos[i];
        *a = ra;
    }
}

/* ==== types of a cache =================================================== */

INLINE vf load_as(int type, const void *p, size_t i)
{
    if (type == TLP_KV_F16)
        return LOAD_F16((const uint16_t *)p + i);
    if (type == TLP_KV_BF16)
        return LOAD_BF16((const uint16_t *)p + i);
    if (type == TLP_KV_Q8_0)
        return LOAD_I8((const int8_t *)p + i);
    return LOAD((const float *)p + i);
}

static void copy_f32(void *dst, const float *src, size_t n)
{
    memcpy(dst, src, n * sizeof(float));
}

/* Convert the last, partial vector through a full vector on the stack. */
INLINE void narrow_as(int type, uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i += W) {
        float in[W] = { 0 };
        uint16_t out[W];
        bool whole = n - i >= W;
        uint16_t *d = whole ? dst + i : out;
        if (!whole)
            memcpy(in, src + i, (n - i) * sizeof(float));
        vf x = LOAD(whole ? src + i : in);
        if (type == TLP_KV_F16)
            STORE_F16(d, x);
        else
            STORE_BF16(d, x);
        if (!whole)
            memcpy(dst + i, out, (n - i) * sizeof(uint16_t));
    }
}

static void narrow_f16(void *dst, const float *src, size_t n)
{
    narrow_as(TLP_KV_F16, dst, src, n);
}

static void narrow_bf16(void *dst, const float *src, size_t n)
{
    narrow_as(TLP_KV_BF16, dst, src, n);
}

/* ==== product ============================================================ */

/* m rows by np panels, held in registers over all of k. */
INLINE void tile(int type, int m, int np, const tlpi_panel_product *x, int row,
                 int panel)
{
    const float *a = x->a + (size_t)row * x->lda;
    float *c = x->c + (size_t)row * x->ldc + panel * TLPI_PANEL;
    size_t lda = x->lda, at = (size_t)panel * x->ldp, ldp = x->ldp;
    vf acc[ROWS][NP * VPP], b[NP * VPP];
    /* With few rows the loop waits for memory, so prefetch the next strip of
     * panels, or rows ahead. */
    size_t ahead = x->ldk < ldp ? (size_t)np * ldp : 32 * x->ldk;
    size_t size = tlpi_kv_size(type);

    EACH (i, m)
        EACH (j, np * VPP)
            acc[i][j] = x->add ? LOAD(c + (size_t)i * x->ldc + j * W) : ZERO;
    for (int k = x->k; k > 0; k--, a++, at += x->ldk) {
        if (m < ROWS)
            EACH (j, np)
                __builtin_prefetch((const char *)x->b +
                                   (at + ahead + (size_t)j * ldp) * size);
        EACH (j, np * VPP) {
            size_t col = (size_t)(j / VPP) * ldp + (size_t)(j % VPP * W);
            b[j] = load_as(type, x->b, at + col);
        }
        EACH (i, m) {
            vf ai = SET1(a[(size_t)i * lda]);
            EACH (j, np * VPP)
                acc[i][j] = FMA(ai, b[j], acc[i][j]);
        }
    }
    EACH (i, m)
        EACH (j, np * VPP)
            STORE(c + (size_t)i * x->ldc + j * W, acc[i][j]);
}

typedef void (*tile_fn)(const tlpi_panel_product *x, int row, int panel);

/* Separate functions: otherwise compilers merge the cases and lose the
 * constants. */
#define TILE(name, type, m, np)                                                \
    static void name(const tlpi_panel_product *x, int row, int panel)          \
    {                                                                          \
        tile(type, m, np, x, row, panel);                                      \
    }

/* name[m-1] handles m rows, m <= ROWS. */
#define TILES(name, type, np)                                                  \
    TILE(name##_1, type, 1, np)                                                \
    TILE(name##_2, type, 2, np)                                                \
    TILE(name##_3, type, 3, np)                                                \
    TILE(name##_4, type, 4, np)                                                \
    TILE(name##_5, type, 5, np)                                                \
    TILE(name##_6, type, 6, np)                                                \
    static const tile_fn name[ROWS] = { name##_1, name##_2, name##_3,          \
                                        name##_4, name##_5, name##_6 };

/* Multiply a strip of panels with all rows while it is in the cache. */
static void strip(const tile_fn *tiles, const tlpi_panel_product *x, int panel)
{
    for (int i = 0; i < x->m; i += ROWS)
        tiles[TLPI_MIN(x->m - i, ROWS) - 1](x, i, panel);
}

/* Rows [k, k + n) of np panels of B as f32: out [n][np * 16] */
INLINE void widen(int type, int np, const tlpi_panel_product *x, int panel,
                  int k, int n, float *out)
{
    size_t at = (size_t)panel * x->ldp + (size_t)k * x->ldk;

    for (int i = 0; i < n; i++, at += x->ldk, out += np * TLPI_PANEL)
        EACH (j, np * VPP) {
            size_t col = (size_t)(j / VPP) * x->ldp + (size_t)(j % VPP * W);
            STORE(out + j * W, load_as(type, x->b, at + col));
        }
}

/* For many rows: convert a strip to f32 once, into the L1 cache. */
INLINE void widened_strip(int type, int np, const tile_fn *f32,
                          const tlpi_panel_product *x, int panel)
{
    float b[WIDEN_K * NP * TLPI_PANEL];
    tlpi_panel_product y = *x;

    y.b = b;
    y.ldk = (size_t)np * TLPI_PANEL;
    y.ldp = TLPI_PANEL;
    y.c += panel * TLPI_PANEL;
    for (int k = 0; k < x->k; k += WIDEN_K) {
        y.a = x->a + k;
        y.k = TLPI_MIN(x->k - k, WIDEN_K);
        y.add = x->add || k > 0;
        widen(type, np, x, panel, k, y.k, b);
        strip(f32, &y, 0);
    }
}

#define STRIP(name, type, np, tiles, x, panel)                                 \
    do {                                                                       \
        if (type != TLP_KV_F32 && (x)->m >= WIDEN_FROM && (x)->k > 0)          \
            widened_strip(type, np, product_f32_##tiles, x, panel);            \
        else                                                                   \
            strip(name##_##tiles, x, panel);                                   \
    } while (0)

#if NP > 1
#define PRODUCT(name, type)                                                    \
    TILES(name##_wide, type, NP)                                               \
    TILES(name##_slim, type, 1)                                                \
    static void name(const tlpi_panel_product *x)                              \
    {                                                                          \
        int p = 0;                                                             \
        for (; p + NP <= x->n_panel; p += NP)                                  \
            STRIP(name, type, NP, wide, x, p);                                 \
        for (; p < x->n_panel; p++)                                            \
            STRIP(name, type, 1, slim, x, p);                                  \
    }
#else
#define PRODUCT(name, type)                                                    \
    TILES(name##_slim, type, 1)                                                \
    static void name(const tlpi_panel_product *x)                              \
    {                                                                          \
        for (int p = 0; p < x->n_panel; p++)                                   \
            STRIP(name, type, 1, slim, x, p);                                  \
    }
#endif

PRODUCT(product_f32, TLP_KV_F32)
PRODUCT(product_f16, TLP_KV_F16)
PRODUCT(product_bf16, TLP_KV_BF16)
PRODUCT(product_q8, TLP_KV_Q8_0)

/* ==== softmax ============================================================ */

/* Small enough that 2^x does not matter, and 2^x is still a normal number. */
#define LOWEST -125.0f

/* 2^x for x <= 0, relative error below 2e-7. */
INLINE vf exp2_of(vf x)
{
    x = MAX(SET1(LOWEST), x); /* this order of operands keeps a NaN */
    vf n = ROUND(x);
    return LDEXP(exp2_fraction(SUB(x, n)), n);
}

INLINE void softmax_row(float *s, int limit, int n, float *max, float *sum)
{
    int i = 0, tail = limit % W, whole = limit - tail;
    vf top = SET1(-INFINITY), total = ZERO;
    for (; i < whole; i += W)
        top = MAX(top, LOAD(s + i));
    if (tail)
        top = MAX(top, KEEP(LOAD(s + i), tail, top));
    *max = TOP(top);
    top = SET1(*max);
    for (i = 0; i < whole; i += W) {
        vf e = exp2_of(SUB(LOAD(s + i), top));
        STORE(s + i, e);
        total = ADD(total, e);
    }
    if (tail) {
        vf e = KEEP(exp2_of(SUB(LOAD(s + i), top)), tail, ZERO);
        STORE(s + i, e);
        total = ADD(total, e);
        i += W;
    }
    *sum = SUM(total);
    for (; i < n; i += W)
        STORE(s + i, ZERO);
}

static void softmax(float *s, size_t ld, const int *limit, int m, int n,
                    float *max, float *sum)
{
    for (int i = 0; i < m; i++)
        softmax_row(s + (size_t)i * ld, limit[i], n, max + i, sum + i);
}

static void softmax_grad(float *s, float *d, int from, int to, int n, float lse,
                         float mean, float f)
{
    vf vl = SET1(lse), vm = SET1(mean), vs = SET1(f);

    for (int i = from / W * W; i < to; i += W) {
        vf p = exp2_of(SUB(LOAD(s + i), vl));
        STORE(s + i, p);
        STORE(d + i, MUL(MUL(vs, p), SUB(LOAD(d + i), vm)));
    }
    memset(s, 0, (size_t)from * sizeof *s);
    memset(d, 0, (size_t)from * sizeof *d);
    memset(s + to, 0, (size_t)(n - to) * sizeof *s);
    memset(d + to, 0, (size_t)(n - to) * sizeof *d);
}

static void merge(float *x, float *max, float *sum, const float *y,
                  const float *y_max, const float *y_sum, int m, int n)
{
    for (int i = 0; i < m; i++, x += n, y += n) {
        /* One of the two factors is 1. */
        float d = y_max[i] - max[i], e[W];
        STORE(e, exp2_of(SET1(d > 0 ? -d : d)));
        float fx = d > 0 ? e[0] : 1, fy = d > 0 ? 1 : e[0];
        vf vx = SET1(fx), vy = SET1(fy);
        for (int j = 0; j < n; j += W)
            STORE(x + j, FMA(LOAD(x + j), vx, MUL(LOAD(y + j), vy)));
        sum[i] = sum[i] * fx + y_sum[i] * fy;
        max[i] = d > 0 ? y_max[i] : max[i];
    }
}

#define VEC_TABLE                                                              \
    {                                                                          \
        .add = add, .sum_sq = sum_sq, .scale = scale, .rope = rope,            \
        .narrow = { NULL, copy_f32, narrow_f16, narrow_bf16, NULL },           \
        .mul = { NULL, product_f32, product_f16, product_bf16, product_q8 },   \
        .softmax = softmax, .softmax_grad = softmax_grad, .merge = merge,      \
        .soft_cap = soft_cap,                                                  \
    }
