/*
 * bandwidth.h - how fast threads of this machine read memory.
 */
#ifndef BANDWIDTH_H
#define BANDWIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bandwidth {
    size_t n_bytes;    /* of the buffer: far more than the caches hold */
    const char *loads; /* "avx2", or "plain": what the compiler makes of C */
    /* private */
    void *buffer;
    uint64_t sum; /* of the words in it, modulo 2^64 */
    uint64_t (*read)(const void *data, size_t n_bytes);
} bandwidth;

/* A buffer, first touched by n_thread threads; plain: without AVX2 even where
 * there is.  An exit status, after a message. */
int bandwidth_open(bandwidth *w, int n_thread, bool plain);

/* Bytes a second by n_thread threads together, each on a part of its own. */
int bandwidth_measure(const bandwidth *w, int n_thread, double *rate);

void bandwidth_close(bandwidth *w); /* fine if it was never opened */

#endif
