/*
 * mask_cache.c - masks of local sets that all texts of a grammar share.
 */
#include <stdatomic.h>
#include <string.h>

#include "grammar/mask.h"

/* Bytes of masks that a grammar keeps; beyond them it begins anew. */
enum { CACHE_BYTES = 64 << 20 };

static tlpi_mask *retain(tlpi_mask *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void tlpi_mask_release(const tlpi_env *env, tlpi_mask *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1)
        return;
    tlpi_free(env, m->bits);
    tlpi_free(env, m->id);
    tlpi_free(env, m->exit);
    tlpi_free(env, m);
}

tlp_status tlpi_mask_cache_init(tlpi_mask_cache *c, const tlpi_env *env)
{
    memset(c, 0, sizeof *c);
    c->env = c->key.env = env;
    if (pthread_mutex_init(&c->lock, NULL) != 0)
        return tlpi_fail_nomem_for("a grammar");
    c->has_lock = true;
    return TLP_OK;
}

static void forget(tlpi_mask_cache *c)
{
    for (size_t i = 0; i < c->key.n; i++)
        tlpi_mask_release(c->env, c->mask[i]);
    tlpi_interner_clear(&c->key);
    c->bytes = 0;
}

void tlpi_mask_cache_free(tlpi_mask_cache *c)
{
    if (!c->has_lock)
        return;
    forget(c);
    tlpi_interner_free(&c->key);
    tlpi_free(c->env, c->mask);
    pthread_mutex_destroy(&c->lock);
    memset(c, 0, sizeof *c);
}

tlpi_mask *tlpi_mask_cache_find(tlpi_mask_cache *c, const int32_t *row,
                                size_t n)
{
    pthread_mutex_lock(&c->lock);
    int32_t id = tlpi_interner_find(&c->key, row, n);
    tlpi_mask *m = id >= 0 ? retain(c->mask[id]) : NULL;
    pthread_mutex_unlock(&c->lock);
    return m;
}

/* Room for one more mask. */
static bool reserve(tlpi_mask_cache *c)
{
    if (c->key.n < c->cap)
        return true;
    size_t cap = c->cap ? 2 * c->cap : 64;
    tlpi_mask **mask = tlpi_realloc_array(c->env, c->mask, cap, sizeof *mask);
    if (!mask)
        return false;
    c->mask = mask;
    c->cap = cap;
    return true;
}

void tlpi_mask_cache_put(tlpi_mask_cache *c, const int32_t *row, size_t n,
                         tlpi_mask *m)
{
    pthread_mutex_lock(&c->lock);
    if (c->bytes + m->bytes > CACHE_BYTES)
        forget(c);
    size_t before = c->key.n;
    int32_t id = reserve(c) ? tlpi_intern(&c->key, row, n) : -1;
    if (id >= 0 && (size_t)id == before) { /* else another thread was first */
        c->mask[id] = retain(m);
        c->bytes += m->bytes + n * sizeof *row;
    }
    pthread_mutex_unlock(&c->lock);
    if (id < 0)
        (void)tlpi_alloc_take_missing();
}
