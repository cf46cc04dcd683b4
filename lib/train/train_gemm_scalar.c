/*
 * train_gemm_scalar.c - kernels of products in plain C.
 */
#include <string.h>

#include "train/train_kernel.h"

enum { MR = 4, NR = 16, LONGEST_BLOCK = 256 };

static void tile(const tlpi_gemm_tile *t, int m, int n)
{
    float sum[MR][NR] = { 0 };

    for (int k = 0; k < t->k; k++)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < NR; j++)
                sum[i][j] += t->a[k * MR + i] * t->b[k * NR + j];
    for (int i = 0; i < m; i++) {
        float *c = t->c + (size_t)i * t->ldc;
        for (int j = 0; j < n; j++) {
            float x = t->alpha * sum[i][j];
            c[j] = t->beta != 0 ? t->beta * c[j] + x : x;
        }
    }
}

static void pack_rows(const float *x, size_t ld, int n, int k, int width,
                      size_t step, float *dst)
{
    for (int j = 0; j < k; j++, dst += step) {
        for (int i = 0; i < n; i++)
            dst[i] = x[(size_t)i * ld + (size_t)j];
        for (int i = n; i < width; i++)
            dst[i] = 0;
    }
}

static void pack_cols(const float *x, size_t ld, int n, int k, int width,
                      size_t step, float *dst)
{
    for (int i0 = 0; i0 < n; i0 += width, dst += step) {
        int here = TLPI_MIN(width, n - i0);
        for (int j = 0; j < k; j++) {
            float *d = dst + (size_t)j * (size_t)width;
            memcpy(d, x + (size_t)j * ld + i0, (size_t)here * sizeof *d);
            memset(d + here, 0, (size_t)(width - here) * sizeof *d);
        }
    }
}

static void expand(tlpi_dtype type, const void *row, int64_t col, int n,
                   float *dst)
{
    const tlpi_dtype_info *info = tlpi_dtype_get((uint32_t)type);
    float block[LONGEST_BLOCK];

    while (n > 0) {
        int skip = (int)(col % info->block);
        int here = TLPI_MIN(n, info->block - skip);
        const char *at = (const char *)row +
                         (size_t)(col / info->block) * (size_t)info->size;
        tlpi_dequantize(type, at, block, info->block);
        memcpy(dst, block + skip, (size_t)here * sizeof *dst);
        dst += here;
        col += here;
        n -= here;
    }
}

const tlpi_gemm_kernel tlpi_gemm_scalar = {
    .mr = MR,
    .nr = NR,
    .kc = TLPI_GEMM_MAX_KC,
    .tile = tile,
    .pack_rows = pack_rows,
    .pack_cols = pack_cols,
    .expand = expand,
};
