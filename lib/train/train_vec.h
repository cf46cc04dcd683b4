/*
 * train_vec.h - operations of training on rows of floats, for each instruction
 * set.
 *
 * train_vec_scalar.c is the plain form with the functions of libm, which tests
 * compare the other tables with; train_vec_avx2.c and train_vec_avx512.c are
 * two vector widths of one source (train_vec_shape.h), whose e^x has a relative
 * error below 3e-7.  n alone decides the order of a sum.
 */
#ifndef TLPI_TRAIN_VEC_H
#define TLPI_TRAIN_VEC_H

#include "base/base.h"
#include "tensor/gate.h"

/* A step of AdamW for numbers with equal decay. */
typedef struct tlpi_adam_rule {
    float scale;        /* of the gradient */
    float beta1, beta2; /* what stays of the moments */
    float fix;          /* of the second moment, which begins as 0 */
    float eps;
    float rate; /* with the fix of the first moment */
    float keep; /* what the decay leaves of a number */
} tlpi_adam_rule;

typedef struct tlpi_train_vec {
    /* y += s x */
    void (*add)(float *y, const float *x, float s, size_t n);
    /* y = x + s z */
    void (*sum)(float *y, const float *x, const float *z, float s, size_t n);
    /* x . y, in double */
    double (*dot)(const float *x, const float *y, size_t n);

    /* The largest of n numbers; -INFINITY of none.  A NaN may be passed over.
     */
    float (*top)(const float *x, size_t n);
    /* The first index from i on whose number is above the limit, or n. */
    size_t (*find_above)(const float *x, size_t i, size_t n, float limit);
    /* x becomes e^(x - top), at least e^-86; gives the sum.  x <= top, or NaN,
     * which stays. */
    double (*exponentials)(float *x, float top, size_t n);

    /* y = fn(gate) * up, by tlpi_gate */
    void (*gate[TLPI_N_DENSE_GATE])(float *y, const float *gate,
                                    const float *up, size_t n);
    /* gy becomes the gradient by up; gate becomes the gradient by gate. */
    void (*gate_back[TLPI_N_DENSE_GATE])(float *gate, const float *up,
                                         float *gy, size_t n);

    /* sum x y z */
    float (*dot3)(const float *x, const float *y, const float *z, size_t n);
    /* gx = s gy w - pull x, or += if `add`; gx may be gy. */
    void (*norm_back)(float *gx, const float *gy, const float *w,
                      const float *x, float s, float pull, bool add, size_t n);
    /* y += s x z */
    void (*add_product)(float *y, const float *x, const float *z, float s,
                        size_t n);

    /* x, and the moments m and v of its gradient g. */
    void (*adam)(const tlpi_adam_rule *r, float *x, float *m, float *v,
                 const float *g, size_t n);
} tlpi_train_vec;

extern const tlpi_train_vec tlpi_train_vec_scalar;
extern const tlpi_train_vec tlpi_train_vec_avx2;   /* with FMA */
extern const tlpi_train_vec tlpi_train_vec_avx512; /* F, BW, DQ, VL */

/* The table of a TLP_ISA_*, which is not TLP_ISA_AUTO. */
const tlpi_train_vec *tlpi_train_vec_of(int isa);

#endif
