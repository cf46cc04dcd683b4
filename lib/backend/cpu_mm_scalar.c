/*
 * cpu_mm_scalar.c - matmul in plain C: the reference for the other tables.
 *
 * Weights are rows as in the file, converted to f32 by tlpi_dequantize; sums
 * are in double.  No code is shared with the packed layouts.
 */
#include <math.h>

#include "backend/cpu_mm.h"

static void quantize(const float *x, int n_block, tlpi_xq *out, int step)
{
    for (int b = 0; b < n_block; b++, x += TLPI_MM_BLOCK, out += step) {
        float max = 0.0f;
        bool finite = true;
        for (int i = 0; i < TLPI_MM_BLOCK; i++) {
            max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
            finite &= isfinite(x[i]) != 0;
        }
        if (!finite) {
            *out = (tlpi_xq){ .d = NAN, .s = NAN };
            continue;
        }
        /* Below this the inverse overflows; the block becomes zero. */
        float inv = max > 1e-36f ? 127.0f / max : 0.0f;
        int sum = 0, high = 0;
        for (int i = 0; i < TLPI_MM_BLOCK; i++) {
            out->q[i] = (int8_t)lrintf(x[i] * inv);
            sum += out->q[i];
            high += i < TLPI_MM_BLOCK / 2 ? 0 : out->q[i];
        }
        out->d = max * (1.0f / 127.0f);
        out->s = out->d * (float)sum;
        out->n = -sum;
        out->n_high = -high;
    }
}

static int64_t rows_of(const tlpi_weight *w, int64_t group)
{
    return TLPI_MIN(w->n_row - group * TLPI_GROUP, (int64_t)TLPI_GROUP);
}

static void dot_q(const tlpi_weight *w, int64_t group, const tlpi_xq *x, int T,
                  float *sum)
{
    const tlpi_dtype_info *type = tlpi_dtype_get(w->type);
    const uint8_t *src = w->data + (size_t)group * w->group_bytes;
    int64_t n_row = rows_of(w, group), n_block = w->n_col / type->block;

    (void)T; /* always 1 */
    for (int r = 0; r < TLPI_GROUP; r++) {
        double total = 0.0;
        for (int64_t b = 0; r < n_row && b < n_block; b++) {
            float v[TLPI_SUPER];
            tlpi_dequantize(w->type, src, v, type->block);
            src += type->size;
            for (int i = 0; i < type->block; i++) {
                const tlpi_xq *xb = &x[(b * type->block + i) / TLPI_MM_BLOCK];
                total +=
                    (double)v[i] * (double)xb->d * xb->q[i % TLPI_MM_BLOCK];
            }
        }
        sum[r] = (float)total;
    }
}

static tlpi_panel panel(const tlpi_weight *w, int64_t group, int64_t k0, int n,
                        int n_tok, float *buf)
{
    const uint8_t *src =
        w->data + (size_t)group * w->group_bytes + tlpi_row_bytes(w->type, k0);
    int64_t n_row = rows_of(w, group);

    (void)n_tok;
    for (int r = 0; r < TLPI_GROUP; r++) {
        float row[TLPI_SUPER] = { 0 };
        if (r < n_row)
            tlpi_dequantize(w->type, src, row, n);
        for (int k = 0; k < n; k++)
            buf[k * TLPI_GROUP + r] = row[k];
        src += tlpi_row_bytes(w->type, w->n_col);
    }
    return (tlpi_panel){ TLPI_F32, buf };
}

static void dot_f(tlpi_panel panel, int n, const float *x, int64_t stride,
                  int T, float *sum)
{
    const float *w = panel.data;

    (void)stride, (void)T; /* always 1 */
    for (int r = 0; r < TLPI_GROUP; r++) {
        double total = (double)sum[r];
        for (int k = 0; k < n; k++)
            total += (double)w[k * TLPI_GROUP + r] * (double)x[k];
        sum[r] = (float)total;
    }
}

static void silu_mul(const float *gate, const float *up, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void gelu_mul(const float *gate, const float *up, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        double g = (double)gate[i];
        double u = TLPI_GELU_1 * g * (1 + TLPI_GELU_3 * g * g);
        y[i] = (float)(g / (1 + exp(-u))) * up[i];
    }
}

static void clamp_mul(const float *gate, const float *up, float *y, int n)
{
    const float limit = (float)TLPI_CLAMP_LIMIT;

    for (int i = 0; i < n; i++) { /* NaN stays NaN */
        float g = gate[i] > limit ? limit : gate[i];
        float u = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        y[i] = g / (1.0f + expf(-(float)TLPI_CLAMP_SLOPE * g)) * (u + 1.0f);
    }
}

const tlpi_cpu_mm tlpi_cpu_mm_scalar = {
    .isa = "scalar",
    .packed = false,
    .tile = 1,
    .tile_f = 1,
    .quantize = quantize,
    .dot_q = dot_q,
    .panel = panel,
    .dot_f = dot_f,
    .gate_mul = { silu_mul, gelu_mul, clamp_mul },
};
