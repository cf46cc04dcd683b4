/*
 * digests.h - digests of model files, with a cache that belongs to the test.
 */
#ifndef DIGESTS_H
#define DIGESTS_H

#include "check.h"

/* Put the cache of digests into a fresh folder, not into the user's. */
void own_cache(void);

/* That folder. */
const char *own_cache_folder(void);

tlp_model *open_file(const char *path, int no_mmap, int trust);

/* Borrowed from the model. */
const char *digest_of(const tlp_model *m);

/* The digest of a file, in a copy that is valid until four calls later. */
const char *digest_of_file(const char *path);

#endif
