/*
 * slab.h - pieces of large blocks of memory, for what is read again and again.
 *
 * A model's matrices are larger than a page and smaller than a huge page.  Side
 * by side in a slab they lie in huge pages where the system has them, which
 * spares the walk through the page tables at every 4 KiB that are read.
 */
#ifndef TLPI_SLAB_H
#define TLPI_SLAB_H

#include "base/base.h"

typedef struct tlpi_slab tlpi_slab;

/*
 * 64-byte aligned memory from *slab, or from a new one that takes its place if
 * it is full (NULL: none yet).  *home becomes the slab that holds the piece;
 * tlpi_slab_drop(*home) gives the piece back.  NULL when out of memory.
 *
 * One thread at a time may take from a slab; any may drop.
 */
void *tlpi_slab_take(const tlpi_env *env, tlpi_slab **slab, size_t size,
                     tlpi_slab **home);

/* A slab is freed with its last piece, once the taker has dropped it too. */
void tlpi_slab_drop(tlpi_slab *slab); /* NULL is fine */

#endif
