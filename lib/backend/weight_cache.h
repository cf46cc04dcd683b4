/*
 * weight_cache.h - objects shared by key.  The first take of a key makes the
 * object, the last put destroys it.  Sessions of one model share packed weights
 * this way.
 */
#ifndef TLPI_WEIGHT_CACHE_H
#define TLPI_WEIGHT_CACHE_H

#include "base/base.h"

typedef struct tlpi_weight_cache tlpi_weight_cache;

/* Keys are compared as bytes: clear a key before filling it. */
typedef struct tlpi_weight_cache_key {
    const void *source;
    int64_t r0, r1, c0, c1;
    int64_t layout;
} tlpi_weight_cache_key;

typedef tlp_status (*tlpi_weight_cache_make_fn)(void **object, void *arg);
typedef void (*tlpi_weight_cache_destroy_fn)(void *object);

tlp_status tlpi_weight_cache_create(tlpi_weight_cache **out,
                                    const tlpi_env *env);
/* All objects must have been put back before. */
void tlpi_weight_cache_free(tlpi_weight_cache *s);

/* Only one thread at a time makes an object of one key; objects of different
 * keys can be made at once. */
tlp_status tlpi_weight_cache_take(tlpi_weight_cache *s,
                                  const tlpi_weight_cache_key *key,
                                  tlpi_weight_cache_make_fn make, void *arg,
                                  tlpi_weight_cache_destroy_fn destroy,
                                  void **object);
/* Is the object of this key there, or being made? */
bool tlpi_weight_cache_has(tlpi_weight_cache *s,
                           const tlpi_weight_cache_key *key);
void tlpi_weight_cache_put(tlpi_weight_cache *s, void *object);

#endif
