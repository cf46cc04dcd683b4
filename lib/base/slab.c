/*
 * slab.c - pieces of large blocks, with a count of users.
 */
#include "base/slab.h"

#include <stdatomic.h>

enum {
    SLAB = 8 << 20, /* bytes, a few huge pages */
    LINE = 64
};

struct tlpi_slab {
    const tlpi_env *env;
    atomic_int n_user; /* pieces in use, plus 1 for the taker */
    size_t used, size; /* of the bytes behind this struct's cache line */
};

_Static_assert(sizeof(tlpi_slab) <= LINE, "a slab's head is one line");

static tlpi_slab *create(const tlpi_env *env, size_t size)
{
    size_t total;

    if (!tlpi_add(size, LINE, &total))
        return NULL;
    tlpi_slab *s = tlpi_alloc_huge(env, total);
    if (!s)
        return NULL;
    s->env = env;
    s->size = size;
    s->used = 0;
    atomic_init(&s->n_user, 1);
    return s;
}

void tlpi_slab_drop(tlpi_slab *s)
{
    if (s &&
        atomic_fetch_sub_explicit(&s->n_user, 1, memory_order_acq_rel) == 1)
        tlpi_free(s->env, s);
}

void *tlpi_slab_take(const tlpi_env *env, tlpi_slab **slab, size_t size,
                     tlpi_slab **home)
{
    tlpi_slab *s = *slab;
    size_t n;

    if (!tlpi_add(size, LINE - 1, &n))
        return NULL;
    n = n / LINE * LINE;
    if (n > SLAB / 2) { /* a slab of its own, without room for further pieces */
        *home = create(env, n);
        return *home ? (char *)*home + LINE : NULL;
    }
    if (!s || n > s->size - s->used) {
        s = create(env, SLAB - 2 * LINE);
        if (!s)
            return NULL;
        tlpi_slab_drop(*slab);
        *slab = s;
    }
    atomic_fetch_add_explicit(&s->n_user, 1, memory_order_relaxed);
    char *piece = (char *)s + LINE + s->used;
    s->used += n;
    *home = s;
    return piece;
}
