/*
 * cpu_tanh.h - soft caps, from the hyperbolic tangent.  A file of kernels
 * includes this after it has defined vf, W, LOAD, STORE, SET1, ADD, SUB, MUL,
 * DIV, MIN, MAX, FMA, ROUND and LDEXP.
 *
 *   tanh u = E / (E + 2),  E = e^2u - 1 = 2^n (2^f - 1) + 2^n - 1
 *
 * with 2 u / ln 2 = n + f for whole n and f in [-1/2, 1/2].  Nothing cancels
 * where u is small, since n is 0 there.  Every step is rounded as IEEE 754
 * says, so that all instruction sets give equal bits.
 */
#include <string.h>

#include "base/unroll.h"

#define TWO_LOG2_E 0x1.715476p+1f
#define TANH_LIMIT 30.0f /* of n + f, from which on tanh is 1 */

/* (2^f - 1) / f, relative error below 2e-8: the best approximation among
 * polynomials with f32 coefficients. */
INLINE vf exp2_slope(vf f)
{
    vf p = SET1(0x1.42985ap-13f);
    p = FMA(p, f, SET1(0x1.5ef136p-10f));
    p = FMA(p, f, SET1(0x1.3b2c3cp-7f));
    p = FMA(p, f, SET1(0x1.c6afa4p-5f));
    p = FMA(p, f, SET1(0x1.ebfbdep-3f));
    return FMA(p, f, SET1(0x1.62e430p-1f));
}

/* cap tanh(x / cap), relative error below 5e-7; a NaN stays. */
INLINE vf cap_of(vf x, float cap)
{
    const float k = TWO_LOG2_E / cap, limit = TANH_LIMIT / k;

    x = MIN(SET1(limit), MAX(SET1(-limit), x));
    vf n = ROUND(MUL(x, SET1(k)));
    vf f = FMA(x, SET1(k), SUB(SET1(0.0f), n));
    vf two_n = LDEXP(SET1(1.0f), n);
    vf e = FMA(two_n, MUL(exp2_slope(f), f), SUB(two_n, SET1(1.0f)));
    return MUL(SET1(cap), DIV(e, ADD(e, SET1(2.0f))));
}

static void soft_cap(float *x, size_t n, float cap)
{
    float rest[W] = { 0 };
    size_t i = 0;

    for (; i + W <= n; i += W)
        STORE(x + i, cap_of(LOAD(x + i), cap));
    if (i == n)
        return;
    memcpy(rest, x + i, (n - i) * sizeof *x);
    STORE(rest, cap_of(LOAD(rest), cap));
    memcpy(x + i, rest, (n - i) * sizeof *x);
}
