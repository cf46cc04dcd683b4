/*
 * bandwidth.h - measure the rate at which threads of this machine read memory.
 */
#ifndef BANDWIDTH_H
#define BANDWIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bandwidth {
    size_t n_bytes;    /* size of the buffer, far larger than the caches */
    const char *loads; /* "avx2", or "plain": C code as compiled */
    /* private */
    void *buffer;
    uint64_t sum; /* sum of the buffer's words modulo 2^64 */
    uint64_t (*read)(const void *data, size_t n_bytes);
} bandwidth;

/* Allocate a buffer that n_thread threads touch first.  plain: no AVX2 loads,
 * also where the machine has AVX2.  Returns an exit status, after a message. */
int bandwidth_open(bandwidth *w, int n_thread, bool plain);

/* Bytes per second of n_thread threads together, each on its own part. */
int bandwidth_measure(const bandwidth *w, int n_thread, double *rate);

void bandwidth_close(bandwidth *w); /* allowed if it was never opened */

#endif
