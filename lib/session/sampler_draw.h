/*
 * sampler_draw.h - draw one of many candidates in time that grows with their
 * number, without sorting them.
 *
 * Candidates are ordered best first: a higher logit, or an equal logit and an
 * earlier place.  top-k, top-p and min-p each keep a prefix of that order, and
 * a draw finds the candidate that covers a point on the line of their weights.
 * Weights are integers, so that sums do not depend on the order of additions.
 */
#ifndef TLPI_SAMPLER_DRAW_H
#define TLPI_SAMPLER_DRAW_H

#include "base/base.h"

/* Bits of a logit that one pass looks at, and their values. */
enum { TLPI_DIGIT_BITS = 11, TLPI_N_DIGIT = 1 << TLPI_DIGIT_BITS };

typedef struct tlpi_draw {
    int n;
    float *logit;     /* [n] none is NaN */
    int32_t *id;      /* [n] tokens; NULL: 0 to n - 1 */
    uint64_t *weight; /* [n] scratch */
    int32_t *list;    /* [n] scratch */
    bool ordered;     /* draw in the order of logits, else of places */
    uint64_t sum[TLPI_N_DIGIT], part[TLPI_N_DIGIT]; /* scratch */
} tlpi_draw;

/* What to keep besides top-k; 0: all. */
typedef struct tlpi_draw_rule {
    float temperature, top_p, min_p;
} tlpi_draw_rule;

/* Keep the k best; ids has room for k ids and becomes d->id.  1 <= k <= n. */
void tlpi_draw_keep(tlpi_draw *d, int k, int32_t *ids);

/* The place of the best candidate; n is at least 1. */
int tlpi_draw_best(const tlpi_draw *d);

/* Draw a candidate and return its place.  `best` is tlpi_draw_best, whose logit
 * is above -inf.  If some logits are +inf, these share all weight. */
int tlpi_draw_take(tlpi_draw *d, const tlpi_draw_rule *rule, int best,
                   uint64_t *random);

#endif
