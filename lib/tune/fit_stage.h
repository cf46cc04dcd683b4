/*
 * fit_stage.h - the fits of one stage: a group of layers, or the tracks of a
 * layer.  Each fit sees the effect of the fits before it.
 */
#ifndef TLPI_FIT_STAGE_H
#define TLPI_FIT_STAGE_H

#include "tune/calibration.h"

/* What a sink of the members' outputs keeps. */
#define TLPI_KEEP_OUTPUTS (1u << TLPI_PROBE_ATTN | 1u << TLPI_PROBE_FFN)

/* Is this window held out?  Only the choosing pass holds out windows. */
static inline bool tlpi_fit_is_held(const tlpi_calibration *c, int window)
{
    return c->choosing && window < c->text.n_held;
}

/*
 * Run the stage with its fits so far.  In the
 * choosing pass *better says whether the output of the stage came closer to
 * the teacher's.  A fit can bring an input closer and still make the output
 * worse: ridge regression shrinks uncertain directions, and layers are
 * sensitive to that.
 */
tlp_status tlpi_fit_check(tlpi_calibration *c, int stage, bool *better);

/* fit_inputs.c: norms and low-rank corrections of the inputs of a half. */
tlp_status tlpi_fit_inputs(tlpi_calibration *c, int stage, int half);

/* fit_outputs.c: norms of a group's outputs, then gains, then a low-rank
 * correction of the sum, which models with norms of outputs do not have. */
tlp_status tlpi_fit_outputs(tlpi_calibration *c, int stage);

#endif
