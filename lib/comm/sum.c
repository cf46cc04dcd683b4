/*
 * sum.c - adding vectors.
 */
#include "comm/sum.h"

#include <string.h>

/* Compilers vectorise blocks of fixed size that are loaded whole before they
 * are stored, even at -O2. */
void tlpi_sum(float *y, const float *a, const float *b, size_t n)
{
    enum { BLOCK = 16 };
    size_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK) {
        float sum[BLOCK];
        for (int k = 0; k < BLOCK; k++)
            sum[k] = a[i + (size_t)k] + b[i + (size_t)k];
        memcpy(y + i, sum, sizeof sum);
    }
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}
