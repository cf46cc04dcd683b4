/*
 * tensor.h - tensor types of GGUF files, and a view of one tensor.
 *
 * Types and block layouts are those of the GGUF format: a row is stored as
 * whole blocks of `block` elements in `size` bytes each.
 */
#ifndef TLPI_TENSOR_H
#define TLPI_TENSOR_H

#include "base/base.h"

/* Values are the type numbers of GGUF files. */
typedef enum tlpi_dtype {
    TLPI_F32 = 0,
    TLPI_F16 = 1,
    TLPI_Q4_0 = 2,
    TLPI_Q4_1 = 3,
    TLPI_Q5_0 = 6,
    TLPI_Q5_1 = 7,
    TLPI_Q8_0 = 8,
    TLPI_Q2_K = 10,
    TLPI_Q3_K = 11,
    TLPI_Q4_K = 12,
    TLPI_Q5_K = 13,
    TLPI_Q6_K = 14,
    TLPI_IQ4_NL = 20,
    TLPI_IQ4_XS = 23,
    TLPI_BF16 = 30,
    TLPI_MXFP4 = 39
} tlpi_dtype;

typedef struct tlpi_dtype_info {
    tlpi_dtype type;
    const char *name; /* "Q4_1" */
    int block;        /* elements in a block: 1, 32 or 256 */
    int size;         /* bytes of a block */
} tlpi_dtype_info;

/* NULL for a type that is not supported. */
const tlpi_dtype_info *tlpi_dtype_get(uint32_t type);
/* The name of any GGUF type number, supported or not; "?" if unknown. */
const char *tlpi_dtype_name(uint32_t type);

/*
 * A matrix [rows][cols] with ne[0] = cols running fastest, or a vector. data
 * is borrowed from the model's files; its alignment is not guaranteed.
 */
typedef struct tlpi_tensor {
    const char *name;
    tlpi_dtype type;
    int n_dim;
    int64_t ne[4]; /* unused dimensions are 1 */
    const void *data;
    size_t n_bytes;
    int file; /* index of the file of a split model */
} tlpi_tensor;

/* Bytes of a row of cols elements; cols must be a multiple of the block. */
size_t tlpi_row_bytes(tlpi_dtype type, int64_t cols);

/* ==== scalar conversions (quant.c): the reference for every kernel ======= */

float tlpi_f16_to_f32(uint16_t h);
uint16_t tlpi_f32_to_f16(float f); /* round to nearest even */
float tlpi_bf16_to_f32(uint16_t h);
uint16_t tlpi_f32_to_bf16(float f); /* round to nearest even, NaN kept */

/* n elements (a multiple of the block) of any type to f32. */
void tlpi_dequantize(tlpi_dtype type, const void *src, float *dst, int64_t n);

/* The first n elements of a row of a matrix. */
void tlpi_read_row(const tlpi_tensor *t, int64_t row, float *dst, int64_t n);

/* f32 to any type: Q8_0 and Q4_0 ... Q5_1 by plain rounding, the other block
 * types by search. */
void tlpi_quantize(tlpi_dtype type, const float *src, void *dst, int64_t n);
/* With importances of the n columns, finite and not negative: weights of
 * squared errors, with which Q4_0 ... Q5_1 are searched for, too.  NULL: as
 * tlpi_quantize. */
void tlpi_quantize_columns(tlpi_dtype type, const float *src,
                           const float *importance, void *dst, int64_t n);

#endif
