/*
 * train_vec_shape.h - operations of training on rows in vectors of W floats.
 * The file of an instruction set includes this and defines:
 *
 *   W, vf, vd              floats in a vector; vectors of W floats, and of W/2
 *                          doubles
 *   LOAD STORE SET1 ZERO   unaligned f32
 *   ADD SUB MUL DIV SQRT FMA    FMA(a, b, c) = a * b + c
 *   MAX MIN                the second operand if one is NaN
 *   ROUND LDEXP(x, n)      to whole numbers; x * 2^n for whole n, -126 to 127
 *   ABOVE(x, y)            bits of the lanes with x > y
 *   SUM TOP                sum and maximum over the lanes
 *   LOW HIGH               the halves of a vector as doubles
 *   DADD DFMA DSUM         on vectors of doubles; their zero is DZERO
 */
#include <math.h>
#include <string.h>

#include "backend/cpu_exp2.h"
#include "train/train_vec.h"

/* Bounds of x between which 2^n of e^x is a normal number. */
#define LOWEST -86.0f
#define HIGHEST 88.0f
#define LOG2_E 0x1.715476p+0f
#define LOG2_E_REST 0x1.4ae0cp-26f
#define BLOCK 8 /* vectors that are summed in f32 before doubles */

/* e^x, relative error below 3e-7.  The first product is exact but for its sum
 * with -n, which is small. */
INLINE vf exp_of(vf x)
{
    x = MIN(SET1(HIGHEST), MAX(SET1(LOWEST), x)); /* a NaN stays */
    vf n = ROUND(MUL(x, SET1(LOG2_E)));
    vf f = FMA(x, SET1(LOG2_E), SUB(ZERO, n));
    f = FMA(x, SET1(LOG2_E_REST), f);
    return LDEXP(exp2_fraction(f), n);
}

/* 1 / (1 + e^-g) */
INLINE vf sigmoid_of(vf g)
{
    return DIV(SET1(1.0f), ADD(SET1(1.0f), exp_of(SUB(ZERO, g))));
}

/* The last n < W numbers of an array in a vector, and back. */
INLINE vf load_tail(const float *x, size_t n)
{
    float all[W] = { 0 };

    memcpy(all, x, n * sizeof *x);
    return LOAD(all);
}

INLINE void store_tail(float *y, vf x, size_t n)
{
    float all[W];

    STORE(all, x);
    memcpy(y, all, n * sizeof *y);
}

/* ==== sums =============================================================== */

static double dot(const float *x, const float *y, size_t n)
{
    vd a = DZERO, b = DZERO;
    size_t i = 0;

    for (; i + W <= n; i += W) {
        vf p = LOAD(x + i), q = LOAD(y + i);
        a = DFMA(LOW(p), LOW(q), a);
        b = DFMA(HIGH(p), HIGH(q), b);
    }
    double sum = DSUM(DADD(a, b));
    for (; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
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
    float sum = SUM(ADD(a, b));
    for (; i < n; i++)
        sum += x[i] * y[i] * z[i];
    return sum;
}

/* ==== rows of logits ===================================================== */

static float top(const float *x, size_t n)
{
    vf a = SET1(-INFINITY), b = a, c = a, d = a;
    size_t i = 0;

    for (; i + 4 * W <= n; i += 4 * W) {
        a = MAX(LOAD(x + i), a);
        b = MAX(LOAD(x + i + W), b);
        c = MAX(LOAD(x + i + 2 * W), c);
        d = MAX(LOAD(x + i + 3 * W), d);
    }
    float most = TOP(MAX(MAX(a, b), MAX(c, d)));
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static size_t find_above(const float *x, size_t i, size_t n, float limit)
{
    vf least = SET1(limit);

    for (; i + W <= n; i += W) {
        unsigned found = (unsigned)ABOVE(LOAD(x + i), least);
        if (found)
            return i + (size_t)__builtin_ctz(found);
    }
    while (i < n && !(x[i] > limit))
        i++;
    return i;
}

static double exponentials(float *x, float most, size_t n)
{
    vf vm = SET1(most);
    vd low = DZERO, high = DZERO;
    size_t i = 0;

    for (; i + BLOCK * W <= n; i += BLOCK * W) {
        vf sum = ZERO;
        for (size_t j = i; j < i + BLOCK * W; j += W) {
            vf e = exp_of(SUB(LOAD(x + j), vm));
            STORE(x + j, e);
            sum = ADD(sum, e);
        }
        low = DADD(low, LOW(sum));
        high = DADD(high, HIGH(sum));
    }
    double all = DSUM(DADD(low, high));
    for (; i < n; i += W) {
        size_t here = n - i < W ? n - i : W;
        store_tail(x + i, exp_of(SUB(load_tail(x + i, here), vm)), here);
        for (size_t j = i; j < i + here; j++)
            all += (double)x[j];
    }
    return all;
}

/* ==== hidden units ======================================================= */

static void gate(float *y, const float *gates, const float *up, size_t n)
{
    size_t i = 0, tail = n % W;

    for (; i + W <= n; i += W) {
        vf g = LOAD(gates + i);
        STORE(y + i, MUL(MUL(g, sigmoid_of(g)), LOAD(up + i)));
    }
    if (tail) {
        vf g = load_tail(gates + i, tail), u = load_tail(up + i, tail);
        store_tail(y + i, MUL(MUL(g, sigmoid_of(g)), u), tail);
    }
}

/* silu' = p + g p (1 - p), p = 1 / (1 + e^-g); *gy becomes gy g p */
INLINE vf gate_slope(vf g, vf up, vf *gy)
{
    vf p = sigmoid_of(g), gp = MUL(g, p);
    vf slope = FMA(gp, SUB(SET1(1.0f), p), p);
    vf by_gate = MUL(MUL(*gy, up), slope);

    *gy = MUL(*gy, gp);
    return by_gate;
}

static void gate_back(float *gates, const float *up, float *gy, size_t n)
{
    size_t i = 0, tail = n % W;

    for (; i + W <= n; i += W) {
        vf y = LOAD(gy + i);
        STORE(gates + i, gate_slope(LOAD(gates + i), LOAD(up + i), &y));
        STORE(gy + i, y);
    }
    if (tail) {
        vf y = load_tail(gy + i, tail);
        vf g =
            gate_slope(load_tail(gates + i, tail), load_tail(up + i, tail), &y);
        store_tail(gates + i, g, tail);
        store_tail(gy + i, y, tail);
    }
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
        .add = add, .dot = dot, .top = top, .find_above = find_above,          \
        .exponentials = exponentials, .gate = gate, .gate_back = gate_back,    \
        .dot3 = dot3, .norm_back = norm_back, .add_product = add_product,      \
        .adam = adam,                                                          \
    }
