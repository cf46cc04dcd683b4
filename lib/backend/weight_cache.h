/*
 * weight_cache.h - objects shared by key: made by the first who asks, destroyed
 * when the last has put them back.  Sessions of one model share packed weights
 * so.
 */
#ifndef TLPI_WEIGHT_CACHE_H
#define TLPI_WEIGHT_CACHE_H

#include "base/base.h"

typedef struct tlpi_weight_cache tlpi_weight_cache;

/* Compared as bytes: clear it before filling. */
typedef struct tlpi_weight_cache_key {
    const void *source;
    int64_t r0, r1, c0, c1;
    int64_t layout;
} tlpi_weight_cache_key;

typedef tlp_status (*tlpi_weight_cache_make_fn)(void **object, void *arg);
typedef void (*tlpi_weight_cache_destroy_fn)(void *object);

tlp_status tlpi_weight_cache_create(tlpi_weight_cache **out,
                                    const tlpi_env *env);
/* All objects must have been put back. */
void tlpi_weight_cache_free(tlpi_weight_cache *s);

/* Make calls for one key are serialised, those for different keys are not. */
tlp_status tlpi_weight_cache_take(tlpi_weight_cache *s,
                                  const tlpi_weight_cache_key *key,
                                  tlpi_weight_cache_make_fn make, void *arg,
                                  tlpi_weight_cache_destroy_fn destroy,
                                  void **object);
/* Would take() find it, or somebody at making it? */
bool tlpi_weight_cache_has(tlpi_weight_cache *s,
                           const tlpi_weight_cache_key *key);
void tlpi_weight_cache_put(tlpi_weight_cache *s, void *object);

#endif
