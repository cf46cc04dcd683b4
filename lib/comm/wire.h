/*
 * wire.h - wire formats of activations: TLP_WIRE_*.
 *
 *   F32   unchanged
 *   BF16  the upper half of each float, rounded to nearest even
 *   Q8    blocks of 32: a float scale d, then 32 int8; x = d * q.  The last
 *         block may be short.
 *
 * Decoding gives equal bits on every machine.  A rank that takes part in a sum
 * adds the decoded form of every vector, its own included, so that all ranks
 * hold equal sums.
 */
#ifndef TLPI_WIRE_H
#define TLPI_WIRE_H

#include "base/base.h"

#define TLPI_WIRE_BLOCK 32

/* Bytes of n floats. */
size_t tlpi_wire_bytes(int wire, size_t n);

void tlpi_wire_encode(int wire, void *dst, const float *x, size_t n);
/* y = decoded, or y += decoded; src need not be aligned. */
void tlpi_wire_decode(int wire, float *y, const void *src, size_t n);
void tlpi_wire_decode_add(int wire, float *y, const void *src, size_t n);

#endif
