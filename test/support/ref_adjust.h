/*
 * ref_adjust.h - the adjustments of a plan for the reference.
 */
#ifndef REF_ADJUST_H
#define REF_ADJUST_H

#include "plan/adjust.h"
#include "ref.h"

/* The reference's stages with the numbers that the plan holds, so that what the
 * rounding of corrections to F16 costs is no part of any difference.  Free with
 * ref_adjust_free. */
ref_plan ref_adjusted(const char *stages, const tlp_plan *plan);
void ref_adjust_free(ref_plan *p);

/* The elements of a tensor, or of none, for free(). */
double *ref_doubles(const tlpi_tensor *t);

#endif
