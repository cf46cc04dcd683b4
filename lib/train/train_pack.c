/*
 * train_pack.c - panels from a source of any type.
 *
 * Floats are packed where they are.  Rows of other types are first expanded
 * into a small buffer that stays in the first cache.
 */
#include "train/train_pack.h"

enum {
    ROWS_AT_ONCE = 8, /* of a source that is read along its rows */
    ROWS_AHEAD = 64,  /* prefetched meanwhile */
    CACHE_LINE = 64
};

typedef struct source_packing {
    const tlpi_gemm_kernel *kernel;
    const tlpi_gemm_source *b;
    float *rows;
} source_packing;

static const char *row_at(const tlpi_gemm_source *b, int64_t row)
{
    return (const char *)b->data + (size_t)(b->row + row) * b->stride;
}

/* Can the numbers be read as floats where they are? */
static bool is_floats(const tlpi_gemm_source *b)
{
    return b->type == TLPI_F32 &&
           ((uintptr_t)b->data | b->stride) % sizeof(float) == 0;
}

static const float *floats_at(const tlpi_gemm_source *b, int64_t row,
                              int64_t col)
{
    return (const float *)(const void *)row_at(b, row) + b->col + col;
}

/*
 * Expand columns [col, col + n) of some rows of the range; n is at most
 * TLPI_PACK_COLS.  The first of them is at *first, and rows are *ld floats
 * apart.
 */
static void expand_rows(const source_packing *p, int64_t row, int n_row,
                        int64_t col, int n, const float **first, size_t *ld)
{
    const tlpi_gemm_source *b = p->b;
    bool blocks = tlpi_dtype_get((uint32_t)b->type)->block > 1;
    int skip = blocks ? (int)((b->col + col) % TLPI_GEMM_UNIT) : 0;
    int whole = n + skip;

    if (blocks)
        whole = (whole + TLPI_GEMM_UNIT - 1) / TLPI_GEMM_UNIT * TLPI_GEMM_UNIT;
    *first = p->rows + skip;
    *ld = TLPI_PACK_COLS + 2 * TLPI_GEMM_UNIT;
    for (int i = 0; i < n_row; i++)
        p->kernel->expand(b->type, row_at(b, row + i), b->col + col - skip,
                          whole, p->rows + (size_t)i * *ld);
}

/* Short pieces of rows lie far apart, where the machine's own prefetcher does
 * not look. */
static void prefetch_rows(const source_packing *p, int64_t row, int n_row,
                          int64_t col, int n)
{
    const tlpi_gemm_source *b = p->b;
    const tlpi_dtype_info *type = tlpi_dtype_get((uint32_t)b->type);
    int64_t first = (b->col + col) / type->block * type->size;
    int64_t last = (b->col + col + n - 1) / type->block * type->size;

    for (int i = 0; i < n_row; i++)
        for (int64_t at = first; at <= last; at += CACHE_LINE)
            __builtin_prefetch(row_at(b, row + i) + at);
}

/* B is stored as [k][n]. */
static void pack_along(const source_packing *p, int64_t k0, int k, int64_t n0,
                       int n, float *dst)
{
    int nr = p->kernel->nr;
    size_t step = (size_t)k * (size_t)nr, ld;
    const float *x;

    if (is_floats(p->b)) {
        p->kernel->pack_cols(floats_at(p->b, k0, n0),
                             p->b->stride / sizeof(float), n, k, nr, step, dst);
        return;
    }
    for (int i = 0; i < k; i += ROWS_AT_ONCE) {
        int here = TLPI_MIN(k - i, ROWS_AT_ONCE);
        prefetch_rows(p, k0 + i + ROWS_AHEAD,
                      TLPI_MIN(k - i - ROWS_AHEAD, ROWS_AT_ONCE), n0, n);
        expand_rows(p, k0 + i, here, n0, n, &x, &ld);
        p->kernel->pack_cols(x, ld, n, here, nr, step, dst + i * nr);
    }
}

/* One panel of B, which is stored as [n][k]. */
static void pack_across(const source_packing *p, int64_t k0, int k, int64_t n0,
                        int n, float *dst)
{
    int nr = p->kernel->nr;
    const float *x;
    size_t ld;

    if (is_floats(p->b)) {
        p->kernel->pack_rows(floats_at(p->b, n0, k0),
                             p->b->stride / sizeof(float), n, k, nr, (size_t)nr,
                             dst);
        return;
    }
    for (int j = 0; j < k; j += TLPI_PACK_COLS) {
        int here = TLPI_MIN(k - j, TLPI_PACK_COLS);
        expand_rows(p, n0, n, k0 + j, here, &x, &ld);
        p->kernel->pack_rows(x, ld, n, here, nr, (size_t)nr, dst + j * nr);
    }
}

void tlpi_pack_source(const tlpi_gemm_kernel *kernel, const tlpi_gemm_source *b,
                      int64_t k0, int k, int64_t n0, int n, float *rows,
                      float *dst)
{
    source_packing p = { kernel, b, rows };
    int nr = kernel->nr;

    if (!b->trans) {
        pack_along(&p, k0, k, n0, n, dst);
        return;
    }
    for (int i = 0; i < n; i += nr, dst += (size_t)k * (size_t)nr)
        pack_across(&p, k0, k, n0 + i, TLPI_MIN(n - i, nr), dst);
}
