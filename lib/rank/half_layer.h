/*
 * half_layer.h - one half of a layer alone, attention or feed-forward, at
 * streams that the caller keeps: for studies of what a plan leaves out.
 */
#ifndef TLPI_HALF_LAYER_H
#define TLPI_HALF_LAYER_H

#include "rank/rank.h"

/*
 * Compute the parts of a half-layer of stage `index`, a layer that the
 * program's plan cuts into tracks, on a single rank without devices.
 *
 * half: TLP_NOSYNC_ATTN or TLP_NOSYNC_FFN.  Track t reads the stream x[t], host
 * [n_tok][d]; y (host [n_member][n_tok][d]) receives what each track adds to
 * the stream.  The attention also writes the keys and values of the step, which
 * begins at position 0, so that calls do not depend on each other.
 */
tlp_status tlpi_half_layer(tlpi_rank *r, const tlpi_program *program, int index,
                           int half, const tlpi_step *step,
                           const float *const *x, float *y);

#endif
