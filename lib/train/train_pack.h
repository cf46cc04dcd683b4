/*
 * train_pack.h - pack blocks of the operands of a product into panels.
 */
#ifndef TLPI_TRAIN_PACK_H
#define TLPI_TRAIN_PACK_H

#include "train/train_gemm.h"
#include "train/train_kernel.h"

enum {
    TLPI_PACK_COLS = 128, /* most columns of B that are packed at once */
    /* Floats of a thread for the rows of a source: whole units around the
     * columns that a block needs, for a panel or for some rows. */
    TLPI_PACK_ROWS = TLPI_GEMM_MAX_NR * (TLPI_PACK_COLS + 2 * TLPI_GEMM_UNIT)
};

/*
 * B's rows [k0, k0 + k) and columns [n0, n0 + n), n at most TLPI_PACK_COLS, as
 * panels of k * nr floats.  `rows` has TLPI_PACK_ROWS floats.
 */
void tlpi_pack_source(const tlpi_gemm_kernel *kernel, const tlpi_gemm_source *b,
                      int64_t k0, int k, int64_t n0, int n, float *rows,
                      float *dst);

#endif
