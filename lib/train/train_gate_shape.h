/*
 * train_gate_shape.h - hidden units of feed-forward parts in vectors: gates of
 * SiLU and GELU.  train_vec_shape.h includes this.
 */
#include "train/train_exp_shape.h"

/* Beyond it the logistic function is 0 or 1 in f32, of u and of GELU's u. */
#define FAR 128.0f

/* fn(g) = g p with p = 1 / (1 + e^-u): u = g for SiLU; GELU's u is in
 * tensor/gate.h.  *slope: the derivative of u. */
INLINE vf share_of(tlpi_gate fn, vf g, vf *slope)
{
    *slope = SET1(1.0f);
    if (fn == TLPI_GATE_SILU)
        return sigmoid_of(g);
    vf near = MIN(SET1(FAR), MAX(SET1(-FAR), g)); /* a NaN stays */
    vf square = MUL(near, near), u = MUL(near, SET1((float)TLPI_GELU_1));

    *slope = FMA(square, SET1(3 * (float)TLPI_GELU_3), SET1(1.0f));
    *slope = MUL(*slope, SET1((float)TLPI_GELU_1));
    return sigmoid_of(
        MUL(u, FMA(square, SET1((float)TLPI_GELU_3), SET1(1.0f))));
}

INLINE vf gated(tlpi_gate fn, vf g, vf up)
{
    vf slope;

    return MUL(MUL(g, share_of(fn, g, &slope)), up);
}

INLINE void gate(tlpi_gate fn, float *y, const float *gates, const float *up,
                 size_t n)
{
    size_t i = 0, tail = n % W;

    for (; i + W <= n; i += W)
        STORE(y + i, gated(fn, LOAD(gates + i), LOAD(up + i)));
    if (tail)
        store_tail(
            y + i,
            gated(fn, load_tail(gates + i, tail), load_tail(up + i, tail)),
            tail);
}

/* fn' = p + g p (1 - p) u'; *gy becomes gy g p */
INLINE vf gate_slope(tlpi_gate fn, vf g, vf up, vf *gy)
{
    vf by_u, p = share_of(fn, g, &by_u), gp = MUL(g, p);
    vf slope = FMA(MUL(gp, by_u), SUB(SET1(1.0f), p), p);
    vf by_gate = MUL(MUL(*gy, up), slope);

    *gy = MUL(*gy, gp);
    return by_gate;
}

INLINE void gate_back(tlpi_gate fn, float *gates, const float *up, float *gy,
                      size_t n)
{
    size_t i = 0, tail = n % W;

    for (; i + W <= n; i += W) {
        vf y = LOAD(gy + i);
        STORE(gates + i, gate_slope(fn, LOAD(gates + i), LOAD(up + i), &y));
        STORE(gy + i, y);
    }
    if (tail) {
        vf y = load_tail(gy + i, tail);
        vf g = gate_slope(fn, load_tail(gates + i, tail),
                          load_tail(up + i, tail), &y);
        store_tail(gates + i, g, tail);
        store_tail(gy + i, y, tail);
    }
}

static void silu(float *y, const float *gates, const float *up, size_t n)
{
    gate(TLPI_GATE_SILU, y, gates, up, n);
}

static void silu_back(float *gates, const float *up, float *gy, size_t n)
{
    gate_back(TLPI_GATE_SILU, gates, up, gy, n);
}

static void gelu(float *y, const float *gates, const float *up, size_t n)
{
    gate(TLPI_GATE_GELU, y, gates, up, n);
}

static void gelu_back(float *gates, const float *up, float *gy, size_t n)
{
    gate_back(TLPI_GATE_GELU, gates, up, gy, n);
}
