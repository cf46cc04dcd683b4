/*
 * train_exp_shape.h - e^x in vectors, and rows of logits, which need it.
 * train_vec_shape.h includes this, and names what the file of an instruction
 * set defines.
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
    VD low = DZERO, high = DZERO;
    size_t i = 0;

    for (; i + BLOCK * W <= n; i += BLOCK * W) {
        vf part = ZERO;
        for (size_t j = i; j < i + BLOCK * W; j += W) {
            vf e = exp_of(SUB(LOAD(x + j), vm));
            STORE(x + j, e);
            part = ADD(part, e);
        }
        low = DADD(low, LOW(part));
        high = DADD(high, HIGH(part));
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
