/*
 * fit_stage.h - the fits of one group of layers.  Each fit sees the effect of
 * the fits before it.
 */
#ifndef TLPI_FIT_STAGE_H
#define TLPI_FIT_STAGE_H

#include "tune/calibration.h"

/* Bits for tlpi_calibration_run: the outputs of the members. */
#define TLPI_KEEP_OUTPUTS (1u << TLPI_PROBE_ATTN | 1u << TLPI_PROBE_FFN)

/* Index of a member's half in want and seen. */
static inline int tlpi_fit_slot(const tlpi_calibration *c, int half, int member)
{
    return half * c->max_member + member;
}

/* Is this window held out?  Only the choosing pass holds out windows. */
static inline bool tlpi_fit_is_held(const tlpi_calibration *c, int window)
{
    return c->choosing && window < c->text.n_held;
}

/*
 * Run the stage with its fits so far; keep: see tlpi_calibration_run.  In the
 * choosing pass *better says whether the output of the stage came closer to
 * the teacher's.  A fit can bring an input closer and still make the output
 * worse: ridge regression shrinks uncertain directions, and layers are
 * sensitive to that.
 */
tlp_status tlpi_fit_check(tlpi_calibration *c, int stage, uint32_t keep,
                          bool *better);

/* fit_inputs.c: norms and low-rank corrections of the inputs of a half. */
tlp_status tlpi_fit_inputs(tlpi_calibration *c, int stage, int half);

/* fit_outputs.c: gains, then a low-rank correction of the sum.  The outputs of
 * the members are kept. */
tlp_status tlpi_fit_outputs(tlpi_calibration *c, int stage);

#endif
