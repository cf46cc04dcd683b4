/*
 * naive_study.h - what tlp_model_study measures, in plain code over the
 * half-layers of the reference (ref.h).
 */
#ifndef NAIVE_STUDY_H
#define NAIVE_STUDY_H

#include "ref.h"
#include "tlp_tune.h"

enum { NAIVE_MAX_LAYER = 8 };

/* One window under the serial model. */
typedef struct naive {
    const ref_model *m;
    int n_track, n_tok, d;
    bool posts; /* the model normalises outputs */
    double *x[2 * NAIVE_MAX_LAYER +
              1]; /* the stream before each half-layer, and at the end */
} naive;

naive run_naive(const ref_model *m, int n_track, const int32_t *ids, int n);
void free_naive(naive *v);

/* Add to sum[0..3], over all tokens but the first, the squares of the ratios
 * step, own, change and error of a place. */
void naive_add_place(const naive *v, const tlp_study_place *p, double *sum);

/* The sensitivity behind a half-layer, if this is the only window and the seed
 * is 0. */
double naive_sensitivity(const naive *v, int half);

#endif
