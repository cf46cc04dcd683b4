/*
 * cpu_levels.h - blocks of a file's tensor as levels and scales.
 */
#ifndef TLPI_CPU_LEVELS_H
#define TLPI_CPU_LEVELS_H

#include "backend/cpu_mm_shape.h"

/* A decoded block of the file. */
typedef struct tlpi_levels {
    uint16_t d, m; /* f16; d of MXFP4: the exponent */
    /* one level, or its code, for each element of the type's block */
    uint8_t level[TLPI_SUPER];
    uint8_t sub_d[16], sub_m[8]; /* for types with super scales */
} tlpi_levels;

/* Decode a block of a quantised type. */
void tlpi_levels_read(tlpi_levels *v, tlpi_dtype type, const uint8_t *p);

#endif
