/*
 * train_param.h - the numbers that training changes: values, gradients and the
 * state of AdamW.
 */
#ifndef TLPI_TRAIN_PARAM_H
#define TLPI_TRAIN_PARAM_H

#include "train/train_ops.h"

enum { TLPI_TRAIN_NAME = 48 };

/* A tensor [rows][cols].  Without a gradient it is not trained. */
typedef struct tlpi_train_param {
    char name[TLPI_TRAIN_NAME];
    int64_t rows, cols;
    float *value;          /* the memory of all four arrays begins here */
    float *grad;           /* or NULL */
    bool fresh;            /* the gradient is zero, whatever grad holds */
    float *first, *second; /* moments of the gradient; NULL without one */
    bool decay;            /* weight decay pulls the value towards zero */
} tlpi_train_param;

typedef struct tlpi_train_params {
    const tlpi_env *env;
    tlpi_train_param **item; /* [n] */
    size_t n, cap;
    uint64_t n_trained; /* numbers with a gradient */
    uint64_t n_bytes;
} tlpi_train_params;

/* Add a tensor of zeros; *out stays the list's. */
tlp_status tlpi_train_param_add(tlpi_train_params *list, const char *name,
                                int64_t rows, int64_t cols, bool trained,
                                tlpi_train_param **out);
void tlpi_train_params_free(tlpi_train_params *list); /* zeroes are fine */

static inline size_t tlpi_train_param_size(const tlpi_train_param *p)
{
    return (size_t)p->rows * (size_t)p->cols;
}

/* All gradients become zero; no memory is written. */
void tlpi_train_params_clear_grad(tlpi_train_params *list);
/* Call this before anything is added to the gradient.  `whole`: what follows
 * writes every number of it.  Gives the factor of the old numbers, 0 or 1. */
float tlpi_train_param_open(tlpi_train_param *p, bool whole);

/* AdamW (Loshchilov and Hutter, arXiv 1711.05101). */
typedef struct tlpi_adam {
    double rate, beta1, beta2, eps, decay;
    double clip; /* largest norm of the whole gradient; 0: any */
    int64_t step;
} tlpi_adam;

/* One step; gradients are multiplied by `scale` first.  *norm: the norm of the
 * scaled gradient before it is clipped.  A gradient that is not finite changes
 * nothing, and is TLP_ERROR. */
tlp_status tlpi_adam_step(tlpi_adam *a, tlpi_train_params *list,
                          const tlpi_train_ops *ops, double scale,
                          double *norm);

#endif
