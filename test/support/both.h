/*
 * both.h - a CPU backend and a CUDA backend, for tests that compare them.
 */
#ifndef BOTH_H
#define BOTH_H

#include "backend/backend.h"

extern tlpi_backend *cpu, *gpu; /* scalar; f32 */

void both_open(void);
void both_close(void);

/* 0: cpu, 1: gpu */
tlpi_backend *each(int i);

/* Create a buffer with the values host[0..n). */
float *put(tlpi_backend *b, const float *host, size_t n);

/* Copy a buffer to the host and free it. */
float *take(tlpi_backend *b, float *x, size_t n);

/* a is the CPU's; both are freed. */
void expect_equal(float *a, float *b, size_t n, double tol, const char *what);

#endif
