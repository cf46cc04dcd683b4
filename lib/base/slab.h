/*
 * slab.h - pieces of large blocks of memory, for data that is read repeatedly.
 *
 * A model's matrices are larger than a page and smaller than a huge page.
 * Packed into a slab they lie in huge pages where the system has them.  This
 * avoids a page-table walk for every 4 KiB read.
 */
#ifndef TLPI_SLAB_H
#define TLPI_SLAB_H

#include "base/base.h"

typedef struct tlpi_slab tlpi_slab;

/*
 * 64-byte aligned memory from *slab.  When *slab is full or NULL, a new slab
 * takes its place.  *home becomes the slab that holds the piece;
 * tlpi_slab_drop(*home) gives the piece back.  NULL when out of memory.
 *
 * One thread at a time may take from a slab; any thread may drop.
 */
void *tlpi_slab_take(const tlpi_env *env, tlpi_slab **slab, size_t size,
                     tlpi_slab **home);

/* The slab is freed when its last piece and its taker have dropped it. */
void tlpi_slab_drop(tlpi_slab *slab); /* NULL is allowed */

#endif
