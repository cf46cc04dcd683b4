/*
 * wire.h - how activations look on the wire: TLP_WIRE_*.
 *
 *   F32   as they are
 *   BF16  the upper half of each float, rounded to nearest even
 *   Q8    blocks of 32: a float scale d, then 32 int8; x = d * q.  The last
 *         block may be short.
 *
 * Decoding gives the same bits everywhere.  Whoever takes part in a sum adds
 * what the others decode, its own values included, so that all hold the same.
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
