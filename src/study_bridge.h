/*
 * study_bridge.h - tlp study --bridge: what dropped layers cost when a linear
 * map takes the place of each run of them.
 */
#ifndef STUDY_BRIDGE_H
#define STUDY_BRIDGE_H

#include "study.h"

/* Measure and report by the options of the study. */
int bridge_run(study *s);

#endif
