/*
 * random_adjust.h - what a fit might have found: random adjustments of any
 * kind.
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
 * The stages of several members get these kinds, with low-rank corrections of
 * that rank; others get nothing.  One block, for free(), NULL without memory;
 * the same for the same seed.  Norm weights and gains are about 1, corrections
 * small beside what they correct.
 */
tlpi_fitted_stage *fitted_make(const tlp_plan *plan, int kinds, int rank,
                               uint64_t seed);

/* The plan with them; on failure *out is NULL. */
tlp_status fitted_plan(tlp_plan **out, const tlp_plan *plan, int kinds,
                       int rank, uint64_t seed);

#endif
