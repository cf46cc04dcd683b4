/*
 * imatrix_write.h - write an importance matrix; imatrix.h has the format.
 */
#ifndef TLPI_IMATRIX_WRITE_H
#define TLPI_IMATRIX_WRITE_H

#include "base/base.h"

/* The inputs of a matrix, or of the matrices of a stack. */
typedef struct tlpi_imatrix_sums {
    const char *name;     /* of the tensor */
    int64_t n, n_mat;     /* columns; matrices behind each other */
    const double *sum;    /* [n_mat][n] of squares */
    const int64_t *count; /* [n_mat] tokens; 0: the matrix has read none */
} tlpi_imatrix_sums;

typedef struct tlpi_imatrix_file {
    const tlpi_imatrix_sums *item; /* [n] */
    size_t n;
    const char *dataset; /* name of the text, or NULL */
    uint32_t n_chunk, chunk_size;
} tlpi_imatrix_file;

/* TLP_EFORMAT for a sum that is not finite as F32.  The file gets its name when
 * it is complete. */
tlp_status tlpi_imatrix_write(const tlpi_imatrix_file *x, const tlpi_env *env,
                              const char *path);

#endif
