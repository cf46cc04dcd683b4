/*
 * weight_key.h - the key of a packed weight in a model's cache of weights.
 */
#ifndef TLPI_WEIGHT_KEY_H
#define TLPI_WEIGHT_KEY_H

#include <string.h>

#include "backend/weight_cache.h"
#include "tensor/tensor.h"

/* Rows [r0, r1) and columns [c0, c1) of a tensor, in a backend's layout. */
static inline tlpi_weight_cache_key tlpi_weight_key(int layout,
                                                    const tlpi_tensor *t,
                                                    int64_t r0, int64_t r1,
                                                    int64_t c0, int64_t c1)
{
    tlpi_weight_cache_key key;

    memset(&key, 0, sizeof(key));
    key.source = t;
    key.r0 = r0;
    key.r1 = r1;
    key.c0 = c0;
    key.c1 = c1;
    key.layout = layout;
    return key;
}

#endif
