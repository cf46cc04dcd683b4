/*
 * vec_tables.h - the row operations of every instruction set that is here.
 */
#ifndef VEC_TABLES_H
#define VEC_TABLES_H

#include <stdio.h>

#include "backend/cpu.h"
#include "backend/cpu_vec.h"

static const int vec_isas[] = { TLP_ISA_SCALAR, TLP_ISA_AVX2, TLP_ISA_AVX512 };

static inline const tlpi_cpu_vec *vec_table(size_t i)
{
    int isa = vec_isas[i];
    bool ok = isa <= tlpi_cpu_detect();

    if (!ok)
        printf("skipped: this machine lacks instruction set %d\n", isa);
    return ok ? tlpi_cpu_vec_get(isa) : NULL;
}

#define EACH_TABLE(vec)                                                        \
    for (size_t isa_ = 0; isa_ < TLPI_COUNT(vec_isas); isa_++)                 \
        for (const tlpi_cpu_vec *vec = vec_table(isa_); vec; vec = NULL)

/* A number in [-1, 1). */
static inline float vec_uniform(void)
{
    static uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

static inline void vec_fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = vec_uniform();
}

#endif
