/*
 * train_vec_scalar.c - operations of training on rows in plain C, and the
 * choice of a table.
 */
#include "train/train_vec.h"

#include <math.h>

static void add(float *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

static void sum(float *y, const float *x, const float *z, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + s * z[i];
}

static double dot(const float *x, const float *y, size_t n)
{
    double all = 0;

    for (size_t i = 0; i < n; i++)
        all += (double)x[i] * (double)y[i];
    return all;
}

static float top(const float *x, size_t n)
{
    float most = -INFINITY;

    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static size_t find_above(const float *x, size_t i, size_t n, float limit)
{
    while (i < n && !(x[i] > limit))
        i++;
    return i;
}

static double exponentials(float *x, float most, size_t n)
{
    double all = 0;

    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - most < -86.0f ? -86.0f : x[i] - most);
        all += (double)x[i];
    }
    return all;
}

static void silu(float *y, const float *gates, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gates[i] / (1 + expf(-gates[i])) * up[i];
}

/* silu' = p + g p (1 - p), p = 1 / (1 + e^-g) */
static void silu_back(float *gates, const float *up, float *gy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gates[i], p = 1 / (1 + expf(-g)), gp = g * p;

        gates[i] = gy[i] * up[i] * (p + gp * (1 - p));
        gy[i] *= gp;
    }
}

/* 1 / (1 + e^-u) with the u of GELU; *slope: the derivative of u. */
static double gelu_share(double g, double *slope)
{
    *slope = TLPI_GELU_1 * (1 + 3 * TLPI_GELU_3 * g * g);
    return 1 / (1 + exp(-TLPI_GELU_1 * g * (1 + TLPI_GELU_3 * g * g)));
}

static void gelu(float *y, const float *gates, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double slope, p = gelu_share((double)gates[i], &slope);

        y[i] = gates[i] * (float)p * up[i];
    }
}

/* gelu' = p + g p (1 - p) u' */
static void gelu_back(float *gates, const float *up, float *gy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gates[i], slope, p = gelu_share(g, &slope);

        gates[i] = gy[i] * up[i] * (float)(p + g * p * (1 - p) * slope);
        gy[i] *= (float)(g * p);
    }
}

static float dot3(const float *x, const float *y, const float *z, size_t n)
{
    float part[4] = { 0 };

    for (size_t i = 0; i < n; i++)
        part[i % 4] += x[i] * y[i] * z[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

static void norm_back(float *gx, const float *gy, const float *w,
                      const float *x, float s, float pull, bool adds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = s * gy[i] * w[i] - pull * x[i];

        gx[i] = adds ? gx[i] + g : g;
    }
}

static void add_product(float *y, const float *x, const float *z, float s,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += s * x[i] * z[i];
}

static void adam(const tlpi_adam_rule *r, float *x, float *m, float *v,
                 const float *g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float gi = r->scale * g[i];

        m[i] = r->beta1 * m[i] + (1 - r->beta1) * gi;
        v[i] = r->beta2 * v[i] + (1 - r->beta2) * gi * gi;
        x[i] =
            r->keep * x[i] - r->rate * m[i] / (sqrtf(v[i] * r->fix) + r->eps);
    }
}

_Static_assert(TLPI_N_DENSE_GATE == 2, "a table has each gate");

const tlpi_train_vec tlpi_train_vec_scalar = {
    .add = add,
    .sum = sum,
    .dot = dot,
    .top = top,
    .find_above = find_above,
    .exponentials = exponentials,
    .gate = { silu, gelu },
    .gate_back = { silu_back, gelu_back },
    .dot3 = dot3,
    .norm_back = norm_back,
    .add_product = add_product,
    .adam = adam,
};

const tlpi_train_vec *tlpi_train_vec_of(int isa)
{
#if defined(__x86_64__)
    if (isa >= TLP_ISA_AVX512)
        return &tlpi_train_vec_avx512;
    if (isa == TLP_ISA_AVX2)
        return &tlpi_train_vec_avx2;
#endif
    (void)isa;
    return &tlpi_train_vec_scalar;
}
