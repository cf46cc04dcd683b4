/*
 * stats.h - rows of logits compared with reference rows, on all threads of a
 * pool.  tlp_logits_compare (divergence.c) compares one row, and
 * tlp_bootstrap_mean (bootstrap.c) gives the interval of a mean.
 */
#ifndef TLPI_STATS_H
#define TLPI_STATS_H

#include "base/pool.h"
#include "tlp_eval.h"

typedef struct tlpi_row_comparison {
    const float *reference, *rows; /* [n][n_vocab] */
    size_t n_vocab;
    int n;
    int at; /* number of the first row, for the text of a failure */
    tlp_divergence *div; /* [n] results, memory of the caller */
} tlpi_row_comparison;

/* Fails with TLP_ERROR and the text of the first row that has no distribution:
 * it has NaN or +inf, or only -inf. */
tlp_status tlpi_rows_compare(tlpi_pool *pool, const tlpi_row_comparison *c);

#endif
