/*
 * shelf.h - objects shared by key: made by the first who asks, destroyed when
 * the last has put them back.  Sessions of one model share packed weights so.
 */
#ifndef TLPI_SHELF_H
#define TLPI_SHELF_H

#include "base/base.h"

typedef struct tlpi_shelf tlpi_shelf;

/* Compared as bytes: clear it before filling. */
typedef struct tlpi_shelf_key {
    const void *source;
    int64_t r0, r1, c0, c1;
    int64_t layout;
} tlpi_shelf_key;

typedef tlp_status (*tlpi_shelf_make_fn)(void **object, void *arg);
typedef void (*tlpi_shelf_destroy_fn)(void *object);

tlp_status tlpi_shelf_create(tlpi_shelf **out, const tlpi_env *env);
/* All objects must have been put back. */
void tlpi_shelf_free(tlpi_shelf *s);

/* Make calls for one key are serialised, those for different keys are not. */
tlp_status tlpi_shelf_take(tlpi_shelf *s, const tlpi_shelf_key *key,
                           tlpi_shelf_make_fn make, void *arg,
                           tlpi_shelf_destroy_fn destroy, void **object);
/* Would take() find it, or somebody at making it? */
bool tlpi_shelf_has(tlpi_shelf *s, const tlpi_shelf_key *key);
void tlpi_shelf_put(tlpi_shelf *s, void *object);

#endif
