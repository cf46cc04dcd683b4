/*
 * random_adjust.h - random adjustments of every kind, in place of fitted ones.
 */
#ifndef RANDOM_ADJUST_H
#define RANDOM_ADJUST_H

#include "plan/adjust.h"

enum {
    FITTED_NORMS = 1,
    FITTED_GAINS = 2,
    FITTED_ATTN_IN = 4,
    FITTED_FFN_IN = 8,
    FITTED_OUT = 16,
    FITTED_ALL = 31
};

/*
 * Random adjustments of these kinds for the stages with several members, layers
 * or tracks, with low-rank corrections of this rank (tracks, and models with
 * norms of outputs: no FITTED_OUT); single layers get none.  FITTED_NORMS are
 * the norms that the model has.  Returns one block for free(), NULL without
 * memory; equal for equal seeds.  Norm weights
 * and gains are about 1, corrections are small compared with the corrected
 * values.
 */
tlpi_fitted_stage *fitted_make(const tlp_plan *plan, int kinds, int rank,
                               uint64_t seed);

/* A plan with random adjustments; on failure *out is NULL. */
tlp_status fitted_plan(tlp_plan **out, const tlp_plan *plan, int kinds,
                       int rank, uint64_t seed);

#endif
