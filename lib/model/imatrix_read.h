/*
 * imatrix_read.h - how the reader of importance matrices fills one; imatrix.h
 * has the formats.
 */
#ifndef TLPI_IMATRIX_READ_H
#define TLPI_IMATRIX_READ_H

#include "model/imatrix.h"

/* Room for n entries whose names, with a NUL each, take name_bytes.  Free *out
 * also after a failure. */
tlp_status tlpi_imatrix_create(tlpi_imatrix **out, const tlpi_env *env,
                               const char *path, size_t n, size_t name_bytes);
/* sums: f32 [n_mat][n], possibly unaligned; n_count is 1 or n_mat. */
tlp_status tlpi_imatrix_add(tlpi_imatrix *im, tlpi_str name, const void *sums,
                            int64_t n, int64_t n_mat, const float *count,
                            int64_t n_count);
/* After the last entry. */
tlp_status tlpi_imatrix_sort(tlpi_imatrix *im);

#endif
