/*
 * cpu_vec_scalar.c - row operations and attention kernels in plain C: for
 * machines without vector tables, and the reference in tests.
 */
#include "backend/cpu_vec.h"

#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

#define F16_MAX 65504.0f

/* Vectors of one float, for what all instruction sets compute alike. */
typedef float vf;

#define W 1
#define LOAD(p) (*(p))
#define STORE(p, x) (*(p) = (x))
#define SET1(x) (x)
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b)) /* b if one is a NaN */
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define FMA(a, b, c) fmaf(a, b, c)
#define ROUND(x) rintf(x)
#define LDEXP(x, n) ((x)*exp2f(n)) /* of a whole number: exact */

#include "backend/cpu_tanh.h"

static void add(float *z, const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        z[i] = x[i] + y[i];
}

static float sum_sq(const float *x, size_t n)
{
    float part[4] = { 0 };
    for (size_t i = 0; i < n; i++)
        part[i % 4] += x[i] * x[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

static void scale(float *y, const float *x, const float *w, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = w ? s * x[i] * w[i] : s * x[i];
}

static void rope(float *x, const float *cos, const float *sin, int half,
                 bool neox)
{
    for (int i = 0; i < half; i++) {
        float *a = neox ? x + i : x + 2 * i;
        float *b = neox ? a + half : a + 1;
        float ra = *a * cos[i] - *b * sin[i];
        *b = *a * sin[i] + *b * cos[i];
        *a = ra;
    }
}

static void narrow_f32(void *dst, const float *src, size_t n)
{
    memcpy(dst, src, n * sizeof(float));
}

static void narrow_f16(void *dst, const float *src, size_t n)
{
    uint16_t *d = dst;
    for (size_t i = 0; i < n; i++) {
        float x = src[i];
        if (isfinite(x))
            x = x > F16_MAX ? F16_MAX : x < -F16_MAX ? -F16_MAX : x;
        d[i] = tlpi_f32_to_f16(x);
    }
}

static void narrow_bf16(void *dst, const float *src, size_t n)
{
    uint16_t *d = dst;
    for (size_t i = 0; i < n; i++)
        d[i] = tlpi_f32_to_bf16(src[i]);
}

static float widen(int type, const void *src, size_t i)
{
    if (type == TLP_KV_F16)
        return tlpi_f16_to_f32(((const uint16_t *)src)[i]);
    if (type == TLP_KV_BF16)
        return tlpi_bf16_to_f32(((const uint16_t *)src)[i]);
    if (type == TLP_KV_Q8_0)
        return ((const int8_t *)src)[i];
    return ((const float *)src)[i];
}

/* One row of B at a time, converted to f32 once for all rows of A. */
static void product(const tlpi_panel_product *x, int type)
{
    for (int i = 0; !x->add && i < x->m; i++)
        memset(x->c + (size_t)i * x->ldc, 0,
               (size_t)x->n_panel * TLPI_PANEL * sizeof(float));

    for (int k = 0; k < x->k; k++)
        for (int p = 0; p < x->n_panel; p++) {
            float b[TLPI_PANEL];
            size_t at = (size_t)k * x->ldk + (size_t)p * x->ldp;
            for (size_t j = 0; j < TLPI_PANEL; j++)
                b[j] = widen(type, x->b, at + j);
            for (int i = 0; i < x->m; i++) {
                float a = x->a[(size_t)i * x->lda + (size_t)k];
                float *c = x->c + (size_t)i * x->ldc + p * TLPI_PANEL;
                for (int j = 0; j < TLPI_PANEL; j++)
                    c[j] += a * b[j];
            }
        }
}

static void product_f32(const tlpi_panel_product *x)
{
    product(x, TLP_KV_F32);
}

static void product_f16(const tlpi_panel_product *x)
{
    product(x, TLP_KV_F16);
}

static void product_bf16(const tlpi_panel_product *x)
{
    product(x, TLP_KV_BF16);
}

static void product_q8(const tlpi_panel_product *x)
{
    product(x, TLP_KV_Q8_0);
}

static void softmax(float *s, size_t ld, const int *limit, int m, int n,
                    float *max, float *sum)
{
    for (int i = 0; i < m; i++, s += ld) {
        float top = s[0], total = 0;
        for (int j = 1; j < limit[i]; j++)
            top = fmaxf(top, s[j]);
        for (int j = 0; j < limit[i]; j++) {
            s[j] = exp2f(s[j] - top);
            total += s[j];
        }
        for (int j = limit[i]; j < n; j++)
            s[j] = 0;
        max[i] = top;
        sum[i] = total;
    }
}

static void softmax_grad(float *s, float *d, int from, int to, int n, float lse,
                         float mean, float f)
{
    for (int j = 0; j < n; j++) {
        bool seen = j >= from && j < to;
        s[j] = seen ? exp2f(s[j] - lse) : 0;
        d[j] = seen ? f * s[j] * (d[j] - mean) : 0;
    }
}

static void merge(float *x, float *max, float *sum, const float *y,
                  const float *y_max, const float *y_sum, int m, int n)
{
    for (int i = 0; i < m; i++, x += n, y += n) {
        float top = fmaxf(max[i], y_max[i]);
        float fx = exp2f(max[i] - top), fy = exp2f(y_max[i] - top);
        for (int j = 0; j < n; j++)
            x[j] = x[j] * fx + y[j] * fy;
        sum[i] = sum[i] * fx + y_sum[i] * fy;
        max[i] = top;
    }
}

const tlpi_cpu_vec tlpi_cpu_vec_scalar = {
    .add = add,
    .sum_sq = sum_sq,
    .scale = scale,
    .rope = rope,
    .narrow = { NULL, narrow_f32, narrow_f16, narrow_bf16, NULL },
    .mul = { NULL, product_f32, product_f16, product_bf16, product_q8 },
    .softmax = softmax,
    .softmax_grad = softmax_grad,
    .merge = merge,
    .soft_cap = soft_cap,
};
