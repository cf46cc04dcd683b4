/*
 * imatrix.h - importance matrices of llama.cpp: for the columns of a matrix,
 * how much an error of its weights counts.
 *
 * The importance of a column is the mean square of the activations that the
 * column multiplied while llama-imatrix ran the model over a text.  A file is
 * GGUF with two F32 tensors for each matrix,
 *   NAME.in_sum2   [n_mat][n]  sums of squares
 *   NAME.counts    [n_mat]     numbers of squares
 * where n_mat is 1, or the number of experts; or it has the older format, all
 * numbers little-endian,
 *   i32 n_entry
 *   n_entry x { i32 length, name, i32 count, i32 n, f32 sum[n] }
 *   and possibly i32 n_chunk, i32 length, name of the text.
 */
#ifndef TLPI_IMATRIX_H
#define TLPI_IMATRIX_H

#include "model/model.h"

typedef struct tlpi_importance {
    const char *name; /* of a matrix */
    int64_t n, n_mat; /* columns; matrices behind each other */
    float *x;         /* [n_mat][n], finite and not negative; the mean is 1, or
                         all are 0 */
} tlpi_importance;

typedef struct tlpi_imatrix {
    const tlpi_env *env;
    const char *path;      /* borrowed */
    tlpi_importance *item; /* sorted by name; names are unique */
    uint32_t n;            /* entries */
    uint32_t n_chunk;      /* pieces of text that were read; 0: unknown */
    char *names;           /* storage */
    size_t names_used;
} tlpi_imatrix;

/* Every length, count and value is checked.  path must outlive *out. */
tlp_status tlpi_imatrix_open(tlpi_imatrix **out, const tlpi_env *env,
                             const char *path);
/* Open n bytes of memory (fuzzing). */
tlp_status tlpi_imatrix_open_memory(tlpi_imatrix **out, const tlpi_env *env,
                                    const void *data, size_t n);
void tlpi_imatrix_free(tlpi_imatrix *im); /* NULL is allowed */

/* Refuse importances of another model: none of its matrices, or rows of another
 * length.  Warn of importances without a matrix, and of matrices of layers
 * without importances. */
tlp_status tlpi_imatrix_match(const tlpi_imatrix *im, const tlp_model *m);

/* Importances of the columns of a row, or NULL. */
const float *tlpi_imatrix_row(const tlpi_imatrix *im, const tlpi_tensor *t,
                              int64_t row);

#endif
