/*
 * plan_record.h - what a plan's file records of its quality.
 */
#ifndef PLAN_RECORD_H
#define PLAN_RECORD_H

#include "tlp.h"

/* *kl: mean KL divergence from the serial model, in nats, as the last command
 * that made or changed the plan measured it on its own text; NaN if the plan
 * has no such record.  Returns an exit status. */
int plan_recorded_kl(const tlp_plan *plan, double *kl);

#endif
