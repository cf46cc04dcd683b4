/*
 * weight_cache.c - a table of shared objects: take finds an object by its key,
 * put finds it by its address.
 *
 * While a thread makes an object, the entry is in the table without it. Threads
 * that take this key wait; objects of other keys can be made meanwhile.  If the
 * object cannot be made, the entry is removed and each waiting thread tries.
 */
#include "backend/weight_cache.h"

#include <pthread.h>
#include <string.h>

#define N_BUCKET 1024 /* power of two */

typedef struct entry {
    struct entry *next_key, *next_object;
    tlpi_weight_cache_key key;
    void *object; /* NULL while a thread makes it */
    tlpi_weight_cache_destroy_fn destroy;
    size_t refs;
} entry;

struct tlpi_weight_cache {
    const tlpi_env *env;
    pthread_mutex_t lock;
    pthread_cond_t made; /* an entry got its object, or was removed */
    entry *by_key[N_BUCKET];
    entry *by_object[N_BUCKET];
};

static size_t bucket_of(const void *bytes, size_t n)
{
    const unsigned char *s = bytes;
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 32) & (N_BUCKET - 1);
}

static entry **key_bucket(tlpi_weight_cache *s,
                          const tlpi_weight_cache_key *key)
{
    return &s->by_key[bucket_of(key, sizeof *key)];
}

static entry **object_bucket(tlpi_weight_cache *s, const void *object)
{
    return &s->by_object[bucket_of(&object, sizeof object)];
}

tlp_status tlpi_weight_cache_create(tlpi_weight_cache **out,
                                    const tlpi_env *env)
{
    *out = NULL;
    tlpi_weight_cache *s = tlpi_calloc(env, 1, sizeof *s);
    if (!s)
        return tlpi_fail_nomem_for("the weight cache");
    s->env = env;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        tlpi_free(env, s);
        return tlpi_fail_nomem_for("the weight cache");
    }
    if (pthread_cond_init(&s->made, NULL) != 0) {
        pthread_mutex_destroy(&s->lock);
        tlpi_free(env, s);
        return tlpi_fail_nomem_for("the weight cache");
    }
    *out = s;
    return TLP_OK;
}

void tlpi_weight_cache_free(tlpi_weight_cache *s)
{
    if (!s)
        return;
    pthread_cond_destroy(&s->made);
    pthread_mutex_destroy(&s->lock);
    tlpi_free(s->env, s);
}

static entry *find(tlpi_weight_cache *s, const tlpi_weight_cache_key *key)
{
    entry *e = *key_bucket(s, key);

    while (e && memcmp(&e->key, key, sizeof *key) != 0)
        e = e->next_key;
    return e;
}

static void unlink_key(tlpi_weight_cache *s, entry *e)
{
    entry **at = key_bucket(s, &e->key);

    while (*at != e)
        at = &(*at)->next_key;
    *at = e->next_key;
}

/* Call it with the lock held; the lock is free while make runs. */
static tlp_status make_entry(tlpi_weight_cache *s, entry *e,
                             tlpi_weight_cache_make_fn make, void *arg)
{
    void *object = NULL;
    entry **bucket = key_bucket(s, &e->key);

    e->next_key = *bucket;
    *bucket = e;
    pthread_mutex_unlock(&s->lock);
    tlp_status st = make(&object, arg);
    pthread_mutex_lock(&s->lock);

    if (st != TLP_OK) {
        unlink_key(s, e);
    } else {
        e->object = object;
        e->refs = 1;
        bucket = object_bucket(s, object);
        e->next_object = *bucket;
        *bucket = e;
    }
    pthread_cond_broadcast(&s->made);
    return st;
}

tlp_status tlpi_weight_cache_take(tlpi_weight_cache *s,
                                  const tlpi_weight_cache_key *key,
                                  tlpi_weight_cache_make_fn make, void *arg,
                                  tlpi_weight_cache_destroy_fn destroy,
                                  void **object)
{
    tlp_status st = TLP_OK;
    entry *e;

    *object = NULL;
    entry *fresh = tlpi_calloc(s->env, 1, sizeof *fresh);
    if (!fresh)
        return tlpi_fail_nomem_for("the weight cache");
    fresh->key = *key;
    fresh->destroy = destroy;

    pthread_mutex_lock(&s->lock);
    while ((e = find(s, key)) && !e->object)
        pthread_cond_wait(&s->made, &s->lock);
    if (e) {
        e->refs++;
    } else {
        st = make_entry(s, fresh, make, arg);
        if (st == TLP_OK) {
            e = fresh;
            fresh = NULL;
        }
    }
    if (e)
        *object = e->object;
    pthread_mutex_unlock(&s->lock);
    tlpi_free(s->env, fresh);
    return st;
}

bool tlpi_weight_cache_has(tlpi_weight_cache *s,
                           const tlpi_weight_cache_key *key)
{
    pthread_mutex_lock(&s->lock);
    bool found = find(s, key) != NULL;
    pthread_mutex_unlock(&s->lock);
    return found;
}

void tlpi_weight_cache_put(tlpi_weight_cache *s, void *object)
{
    if (!object)
        return;
    pthread_mutex_lock(&s->lock);
    entry **at = object_bucket(s, object);
    while ((*at)->object != object)
        at = &(*at)->next_object;
    entry *e = *at;
    bool last = --e->refs == 0;
    if (last) {
        *at = e->next_object;
        unlink_key(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    if (last) {
        e->destroy(e->object);
        tlpi_free(s->env, e);
    }
}
