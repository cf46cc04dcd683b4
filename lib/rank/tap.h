/*
 * tap.h - the places of a stage where its values can be changed and seen.
 *
 * The equations (forward.c) call tlpi_tap at each place.  A tap first corrects
 * what the stage's low-rank adjustments change at that place, and then shows
 * the result to the rank's probe.
 */
#ifndef TLPI_TAP_H
#define TLPI_TAP_H

#include "base/base.h"

/* In a stage the places come in this order, each for all members. */
typedef enum tlpi_probe_at {
    TLPI_PROBE_ATTN_IN, /* what a member's projections read */
    TLPI_PROBE_ATTN,    /* the attention sum that counts as the member's delta,
                           after norms of outputs;
                           stages without spans (stage_lp) have it for member
                           0 alone */
    TLPI_PROBE_FFN_IN,  /* what a member's gate and up read */
    TLPI_PROBE_FFN      /* a member's feed-forward part, after its norm */
} tlpi_probe_at;

/* Sees what a stage computes, on a single rank.  A status other than TLP_OK
 * ends the step.  x: [n_tok][d] on the host, of one member. */
typedef struct tlpi_probe {
    tlp_status (*see)(void *arg, tlpi_probe_at at, int member, const float *x);
    void *arg;
} tlpi_probe;

#endif
