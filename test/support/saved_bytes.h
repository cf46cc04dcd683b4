/*
 * saved_bytes.h - sequences of a rig as bytes.
 */
#ifndef SAVED_BYTES_H
#define SAVED_BYTES_H

#include "rig.h"

/* The bytes of a sequence; the caller frees them. */
void *saved_bytes(rig *r, int32_t seq, size_t *n);

/* Evaluate n tokens; returns a copy of the last one's logits, which the caller
 * frees. */
float *saved_extend(rig *r, int32_t seq, const int32_t *ids, int n);

#endif
