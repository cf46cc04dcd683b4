/*
 * search_target.h - how deep a search goes, and what its plans record.
 */
#ifndef TLPI_SEARCH_TARGET_H
#define TLPI_SEARCH_TARGET_H

#include "tune/search.h"
#include "tune/search_state.h"

/* Checks the options' numbers, and that a target could be reached. */
tlp_status tlpi_target_check(const tlp_plan_make_options *o,
                             const tlp_model *model);

/* Is a variant deep a cut enough?  Never for a budget of KL. */
tlp_status tlpi_target_reached(const tlp_plan_make_options *o, tlp_model *model,
                               const char *variant, bool *reached);

/* Additions until a target is reached, as far as is known; for progress. */
int tlpi_target_steps(const tlp_plan_make_options *o, const tlp_model *model);

/* The "made" object of a plan whose windows are all scored. */
void tlpi_target_record(const tlp_plan_make_options *o, const tlpi_scorer *s,
                        const tlpi_score *x, tlpi_text *out);

#endif
