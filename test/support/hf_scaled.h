/*
 * hf_scaled.h - folders whose matrices are 8-bit floating-point numbers.
 */
#ifndef HF_SCALED_H
#define HF_SCALED_H

#include <stdbool.h>

#include "tensor/tensor.h"

typedef struct hf_fp8_spec {
    int rows, cols;   /* of a block with a scale; 0: one scale for a matrix */
    tlpi_dtype scale; /* type of the scales */
    bool wide;        /* the products in BF16 in place of numbers and scales */
    bool extra;       /* scales of activations too */
} hf_fp8_spec;

/* Change the projections in model.safetensors of a folder in F32. */
void hf_fp8(const char *folder, const hf_fp8_spec *spec);

/* The number that a byte stands for, by the definition of E4M3. */
double hf_fp8_value(int byte);

#endif
