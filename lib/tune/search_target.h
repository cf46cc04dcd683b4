/*
 * search_target.h - the target of a search, and the record in its plans.
 */
#ifndef TLPI_SEARCH_TARGET_H
#define TLPI_SEARCH_TARGET_H

#include "tune/search.h"
#include "tune/search_state.h"
#include "tlp_tune.h"

/* Check the options, and that the target can be reached. */
tlp_status tlpi_target_check(const tlp_plan_make_options *o,
                             const tlp_model *model);

/* Check the link of the options before the search needs it. */
tlp_status tlpi_target_check_link(const tlp_plan_make_options *o,
                                  tlp_model *model);

/* Has a variant reached the target?  A budget of KL is never reached. */
tlp_status tlpi_target_reached(const tlp_plan_make_options *o, tlp_model *model,
                               const char *variant, bool *reached);

/* An estimate of the steps to the target, for progress. */
int tlpi_target_steps(const tlp_plan_make_options *o, const tlp_model *model);

/* Write the "made" object of a plan; x has scores of all windows. */
void tlpi_target_record(const tlp_plan_make_options *o, const tlpi_scorer *s,
                        const tlpi_score *x, tlpi_text *out);

#endif
