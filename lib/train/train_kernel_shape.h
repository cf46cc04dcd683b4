/*
 * train_kernel_shape.h - kernels of products in vectors of W floats.  The file
 * of an instruction set includes this and defines:
 *
 *   W, MR, NV, KC       floats in a vector; rows of a tile; vectors in a row of
 *                       a tile; most of k in a piece
 *   vf                  the vector type
 *   LOAD STORE SET1 ZERO MUL FMA    FMA(a, b, c) = a * b + c
 *   TILES(X)            X(1) X(2) ... X(MR)
 */
#include <string.h>

#include "train/train_kernel.h"
#include "base/unroll.h"

#define NR (NV * W)

/* ==== a tile ============================================================= */

/* Rows of the result lie far apart, so the loads of the end are begun here. */
INLINE void prefetch_rows(const tlpi_gemm_tile *t, int m)
{
    EACH (i, m)
        EACH (j, NV * W / 16)
            __builtin_prefetch(t->c + (size_t)i * t->ldc + 16 * j, 1);
}

INLINE void tile_of(const tlpi_gemm_tile *t, int m)
{
    const float *a = t->a, *b = t->b;
    vf acc[MR][NV];

    prefetch_rows(t, m);
    EACH (i, m)
        EACH (j, NV)
            acc[i][j] = ZERO;
    for (int k = t->k; k > 0; k--, a += MR, b += NR) {
        vf bk[NV];
        EACH (j, NV)
            bk[j] = LOAD(b + j * W);
        EACH (i, m) {
            vf ai = SET1(a[i]);
            EACH (j, NV)
                acc[i][j] = FMA(ai, bk[j], acc[i][j]);
        }
    }

    vf alpha = SET1(t->alpha), beta = SET1(t->beta);
    float *c = t->c;
    if (t->beta != 0)
        EACH (i, m)
            EACH (j, NV) {
                float *to = c + (size_t)i * t->ldc + j * W;
                STORE(to, FMA(beta, LOAD(to), MUL(alpha, acc[i][j])));
            }
    else
        EACH (i, m)
            EACH (j, NV)
                STORE(c + (size_t)i * t->ldc + j * W, MUL(alpha, acc[i][j]));
}

/* Separate functions keep the number of rows a constant. */
#define TILE_FN(m)                                                             \
    static void tile_##m(const tlpi_gemm_tile *t)                              \
    {                                                                          \
        tile_of(t, m);                                                         \
    }
#define TILE_NAME(m) tile_##m,

TILES(TILE_FN)

static void (*const tiles[MR])(const tlpi_gemm_tile *t) = { TILES(TILE_NAME) };

/* Fewer columns than a panel has go through a whole tile beside C. */
static void narrow_tile(const tlpi_gemm_tile *t, int m, int n)
{
    float c[MR * NR];
    tlpi_gemm_tile whole = *t;

    whole.c = c;
    whole.ldc = NR;
    memset(c, 0, sizeof c);
    for (int i = 0; i < m && t->beta != 0; i++)
        memcpy(c + i * NR, t->c + (size_t)i * t->ldc, (size_t)n * sizeof *c);
    tiles[m - 1](&whole);
    for (int i = 0; i < m; i++)
        memcpy(t->c + (size_t)i * t->ldc, c + i * NR, (size_t)n * sizeof *c);
}

static void tile(const tlpi_gemm_tile *t, int m, int n)
{
    if (n == NR)
        tiles[m - 1](t);
    else
        narrow_tile(t, m, n);
}

#define GEMM_TABLE                                                             \
    {                                                                          \
        .mr = MR, .nr = NR, .kc = KC, .tile = tile,                            \
        .pack_rows = tlpi_gemm_pack_rows_avx2,                                 \
        .pack_cols = tlpi_gemm_pack_cols_avx2,                                 \
        .expand = tlpi_gemm_expand_avx2,                                       \
    }
