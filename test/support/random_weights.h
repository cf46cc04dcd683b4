/*
 * random_weights.h - random weights and CPU backends of every kind, for tests
 * of the backend.
 */
#ifndef RANDOM_WEIGHTS_H
#define RANDOM_WEIGHTS_H

#include "backend/backend.h"

/* Limits of the backends that weights_backend makes. */
enum { WEIGHTS_MAX_COLS = 1024, WEIGHTS_MAX_TOK = 300 };

enum { WEIGHTS_N_TYPE = 16, WEIGHTS_N_ISA = 4 };
extern const tlpi_dtype weights_type[WEIGHTS_N_TYPE]; /* floats: 0..2 */
extern const int weights_isa[WEIGHTS_N_ISA];          /* scalar first */
extern const char *const weights_isa_name[WEIGHTS_N_ISA];

uint32_t random_bits(void);
float *random_floats(size_t n); /* roughly normal, with some outliers */

/* Free with tensor_free. */
tlpi_tensor random_tensor(tlpi_dtype type, int64_t rows, int64_t cols);
void tensor_free(const tlpi_tensor *t);
float *tensor_floats(const tlpi_tensor *t);

/* NULL, with a printed reason, if the machine lacks the instruction set. */
tlpi_backend *weights_backend(int isa, int compute, int n_thread);

/* A weight of rows [r0, r1) and columns [c0, c1), or of the whole tensor. */
tlpi_weight *weigh(tlpi_backend *b, const tlpi_tensor *t, int64_t r0,
                   int64_t r1, int64_t c0, int64_t c1);
tlpi_weight *weigh_all(tlpi_backend *b, const tlpi_tensor *t);

/* y = W x for one weight */
void multiply(tlpi_backend *b, const tlpi_weight *w, const float *x, int n_tok,
              float *y);

#endif
