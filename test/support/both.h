/*
 * both.h - for tests that hold the CUDA backend against the CPU's: one of each.
 */
#ifndef BOTH_H
#define BOTH_H

#include "backend/backend.h"

extern tlpi_backend *cpu, *gpu; /* scalar; f32 */

void both_open(void);
void both_close(void);

/* cpu, gpu */
tlpi_backend *each(int i);

/* A buffer with host[0..n) in it. */
float *put(tlpi_backend *b, const float *host, size_t n);

/* What stands in a buffer, which is freed. */
float *take(tlpi_backend *b, float *x, size_t n);

/* a is the CPU's; both are freed. */
void expect_equal(float *a, float *b, size_t n, double tol, const char *what);

#endif
