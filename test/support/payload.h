/*
 * payload.h - numbers for exchanges, whose sums depend on the order of
 * addition.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

/* Values of very different magnitude, so that the order of a sum shows. */
static inline float value(uint64_t key, int rank, size_t i)
{
    uint64_t s = key * 1000003 + (uint64_t)rank * 7919 + i;
    next(&s);
    float v = (float)((int64_t)(next(&s) & 0xffffff) - 0x800000);
    static const float scale[] = { 1e-6f, 1e-3f, 1.0f, 1e4f };
    return v * scale[next(&s) % 4];
}

static inline void fill(float *x, size_t n, uint64_t key, int rank)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value(key, rank, i);
}

/* Whether x has the bits of the sum over ranks [first, first + count), in
 * order. */
static inline bool is_sum(const float *x, size_t n, uint64_t key, int first,
                          int count)
{
    for (size_t i = 0; i < n; i++) {
        float sum = value(key, first, i);
        for (int r = first + 1; r < first + count; r++)
            sum += value(key, r, i);
        if (memcmp(&sum, &x[i], sizeof sum) != 0)
            return false;
    }
    return true;
}

#endif
