/*
 * plan_rig.h - what tests share of calls that make plans from a text.
 */
#ifndef PLAN_RIG_H
#define PLAN_RIG_H

#include "text_kl.h"
#include "tlp_tune.h"

/* A small random model of n_layer layers. */
tlp_model *plan_rig_open(int n_layer, uint64_t seed);

/* For the evaluation of windows of n_ctx tokens: f32, one thread. */
tlp_session_options plan_rig_session(int n_ctx);

/* A plan in a form of enum tlp_plan_form; free() it. */
char *plan_rig_format(const tlp_plan *plan, int form);

/* The JSON form of the plan that tlp_plan_make makes; free() it. */
char *plan_rig_make(tlp_model *m, const text_windows *text,
                    const tlp_plan_make_options *o);

#endif
