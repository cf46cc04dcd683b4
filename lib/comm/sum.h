/*
 * sum.h - adding vectors, with equal bits in every communicator.
 */
#ifndef TLPI_SUM_H
#define TLPI_SUM_H

#include <stddef.h>

/* y[i] = a[i] + b[i]; y may be a or b. */
void tlpi_sum(float *y, const float *a, const float *b, size_t n);

#endif
