/*
 * train_vec_shape.h - operations of training on rows in vectors of W floats.
 * The file of an instruction set includes this and defines:
 *
 *   W                      floats in a vector
 *   vf, VD                 the types of vectors of W floats, W / 2 doubles
 *   LOAD STORE SET1 ZERO   unaligned f32
 *   ADD SUB MUL DIV SQRT   in f32
 *   FMA(a, b, c)           a * b + c
 *   MAX MIN                the second operand if one is NaN
 *   ROUND                  to whole numbers
 *   LDEXP(x, n)            x * 2^n for whole n, -126 to 127
 *   ABOVE(x, y)            bits of the lanes with x > y
 *   SUM TOP                sum and maximum over the lanes
 *   LOW HIGH               the halves of a vector as doubles
 *   DADD DFMA DSUM DZERO   in doubles
 */
#include "train/train_gate_shape.h"

/* ==== sums =============================================================== */

static double dot(const float *x, const float *y, size_t n)
{
    VD a = DZERO, b = DZERO;
    size_t i = 0;

    for (; i + W <= n; i += W) {
        vf p = LOAD(x + i), q = LOAD(y + i);
        a = DFMA(LOW(p), LOW(q), a);
        b = DFMA(HIGH(p), HIGH(q), b);
    }
    double all = DSUM(DADD(a, b));
    for (; i < n; i++)
        all += (double)x[i] * (double)y[i];
    return all;
}

static float dot3(const float *x, const float *y, const float *z, size_t n)
{
    vf a = ZERO, b = ZERO;
    size_t i = 0;

    for (; i + 2 * W <= n; i += 2 * W) {
        a = FMA(MUL(LOAD(x + i), LOAD(y + i)), LOAD(z + i), a);
        b = FMA(MUL(LOAD(x + i + W), LOAD(y + i + W)), LOAD(z + i + W), b);
    }
    for (; i + W <= n; i += W)
        a = FMA(MUL(LOAD(x + i), LOAD(y + i)), LOAD(z + i), a);
    float all = SUM(ADD(a, b));
    for (; i < n; i++)
        all += x[i] * y[i] * z[i];
    return all;
}

/* ==== number by number =================================================== */

static void add(float *y, const float *x, float s, size_t n)
{
    vf vs = SET1(s);
    size_t i = 0;

    for (; i + W <= n; i += W)
        STORE(y + i, FMA(vs, LOAD(x + i), LOAD(y + i)));
    for (; i < n; i++)
        y[i] = fmaf(s, x[i], y[i]);
}

static void sum(float *y, const float *x, const float *z, float s, size_t n)
{
    vf vs = SET1(s);
    size_t i = 0;

    for (; i + W <= n; i += W)
        STORE(y + i, FMA(vs, LOAD(z + i), LOAD(x + i)));
    for (; i < n; i++)
        y[i] = fmaf(s, z[i], x[i]);
}

static void add_product(float *y, const float *x, const float *z, float s,
                        size_t n)
{
    vf vs = SET1(s);
    size_t i = 0;

    for (; i + W <= n; i += W)
        STORE(y + i, FMA(MUL(vs, LOAD(x + i)), LOAD(z + i), LOAD(y + i)));
    for (; i < n; i++)
        y[i] = fmaf(s * x[i], z[i], y[i]);
}

static void norm_back(float *gx, const float *gy, const float *w,
                      const float *x, float s, float pull, bool adds, size_t n)
{
    vf vs = SET1(s), vp = SET1(-pull);
    size_t i = 0;

    for (; i + W <= n; i += W) {
        vf g = MUL(MUL(vs, LOAD(gy + i)), LOAD(w + i));
        g = FMA(vp, LOAD(x + i), g);
        STORE(gx + i, adds ? ADD(LOAD(gx + i), g) : g);
    }
    for (; i < n; i++) {
        float g = fmaf(-pull, x[i], s * gy[i] * w[i]);
        gx[i] = adds ? gx[i] + g : g;
    }
}

INLINE vf adam_of(const tlpi_adam_rule *r, vf x, vf *m, vf *v, vf g)
{
    g = MUL(SET1(r->scale), g);
    *m = FMA(SET1(r->beta1), *m, MUL(SET1(1 - r->beta1), g));
    *v = FMA(SET1(r->beta2), *v, MUL(MUL(SET1(1 - r->beta2), g), g));
    vf size = ADD(SQRT(MUL(*v, SET1(r->fix))), SET1(r->eps));
    vf step = DIV(MUL(SET1(r->rate), *m), size);
    return SUB(MUL(SET1(r->keep), x), step);
}

static void adam(const tlpi_adam_rule *r, float *x, float *m, float *v,
                 const float *g, size_t n)
{
    size_t i = 0, tail = n % W;

    for (; i + W <= n; i += W) {
        vf vm = LOAD(m + i), vv = LOAD(v + i);
        STORE(x + i, adam_of(r, LOAD(x + i), &vm, &vv, LOAD(g + i)));
        STORE(m + i, vm);
        STORE(v + i, vv);
    }
    if (tail) {
        vf vm = load_tail(m + i, tail), vv = load_tail(v + i, tail);
        vf vx = adam_of(r, load_tail(x + i, tail), &vm, &vv,
                        load_tail(g + i, tail));
        store_tail(x + i, vx, tail);
        store_tail(m + i, vm, tail);
        store_tail(v + i, vv, tail);
    }
}

#define TRAIN_VEC_TABLE                                                        \
    {                                                                          \
        .add = add, .sum = sum, .dot = dot, .top = top,                        \
        .find_above = find_above, .exponentials = exponentials,                \
        .gate = { silu, gelu }, .gate_back = { silu_back, gelu_back },         \
        .dot3 = dot3, .norm_back = norm_back, .add_product = add_product,      \
        .adam = adam,                                                          \
    }
