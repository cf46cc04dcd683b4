/*
 * digest.c - the hash of every byte of a model's tensors, by several threads.
 */
#include "model/digest.h"

#include <pthread.h>
#include <string.h>

#include "base/number.h"
#include "base/pool.h"

#define CHUNK ((size_t)1 << 20) /* part of the definition of a digest */
#define MAX_THREAD 16           /* memory is no faster with more */

struct tlpi_digest {
    pthread_mutex_t lock; /* held while the digest is computed */
    _Atomic uint64_t n_hashed;
    tlpi_text manifest;
    char text[TLPI_HASH_TEXT]; /* "" until computed */
    tlpi_digest_tick tick;
    void *tick_data;
};

typedef uint8_t digest_bytes[TLPI_DIGEST_BYTES];

/* ==== one file =========================================================== */

typedef struct file_hasher {
    const tlp_model *m;
    const tlpi_gguf *g;
    size_t *first;       /* [n_tensor + 1]: first chunk of each tensor */
    digest_bytes *chunk; /* [first[n_tensor]] */
    atomic_size_t next;  /* chunk to be hashed */
    const atomic_bool *stop;
} file_hasher;

static bool stopped(const file_hasher *h)
{
    return h->stop && atomic_load_explicit(h->stop, memory_order_relaxed);
}

/* The tensor that has a chunk. */
static size_t tensor_of(const file_hasher *h, size_t chunk)
{
    size_t lo = 0, hi = h->g->n_tensor;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (h->first[mid] <= chunk)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void hash_chunk(file_hasher *h, size_t chunk)
{
    size_t i = tensor_of(h, chunk);
    const tlpi_tensor *t = &h->g->tensor[i];
    size_t at = (chunk - h->first[i]) * CHUNK;
    size_t n = TLPI_MIN(CHUNK, t->n_bytes - at);
    struct tlpi_digest *d = h->m->digest;
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, (const uint8_t *)t->data + at, n);
    tlpi_sha256_finish(&s, h->chunk[chunk]);
    atomic_fetch_add(&d->n_hashed, n);
    if (d->tick)
        d->tick(d->tick_data);
}

static void hash_some(void *arg, int ith, int nth)
{
    file_hasher *h = arg;
    size_t n = h->first[h->g->n_tensor];

    (void)ith;
    (void)nth;
    while (!stopped(h)) {
        size_t i = atomic_fetch_add(&h->next, 1);

        if (i >= n)
            return;
        hash_chunk(h, i);
    }
}

/* Without memory or threads for a pool the caller hashes alone. */
static void hash_all(file_hasher *h)
{
    size_t n = h->first[h->g->n_tensor];
    int n_thread = TLPI_MIN(tlpi_n_cores(), MAX_THREAD);
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };
    tlpi_pool *pool = NULL;

    if (n < 2 || tlpi_pool_create(&pool, &h->m->env, &o) != TLP_OK) {
        hash_some(h, 0, 1);
        return;
    }
    tlpi_pool_map(pool, n_thread, hash_some, h);
    tlpi_pool_free(pool);
}

static void join_chunks(const file_hasher *h, digest_bytes *digest)
{
    for (size_t i = 0; i < h->g->n_tensor; i++) {
        tlpi_sha256 s;

        tlpi_sha256_init(&s);
        tlpi_sha256_add(&s, h->chunk + h->first[i],
                        (h->first[i + 1] - h->first[i]) * sizeof *h->chunk);
        tlpi_sha256_finish(&s, digest[i]);
        tlpi_model_drop_pages(h->m, &h->g->tensor[i]);
    }
}

static tlp_status hash_file(const tlp_model *m, const tlpi_gguf *g,
                            digest_bytes *digest, const atomic_bool *stop)
{
    file_hasher h = { .m = m, .g = g, .stop = stop };
    size_t n = 0;
    tlp_status st = TLP_OK;

    h.first = tlpi_alloc_array(&m->env, g->n_tensor + 1, sizeof *h.first);
    if (!h.first)
        TLP_TRY(tlpi_fail_nomem_for("the digest of a model"));
    for (size_t i = 0; i <= g->n_tensor; i++) {
        h.first[i] = n;
        if (i < g->n_tensor)
            n +=
                g->tensor[i].n_bytes / CHUNK + !!(g->tensor[i].n_bytes % CHUNK);
    }
    h.chunk = tlpi_alloc_array(&m->env, n, sizeof *h.chunk);
    if (!h.chunk)
        TLP_TRY(tlpi_fail_nomem_for("the digest of a model"));
    hash_all(&h);
    if (stopped(&h))
        TLP_TRY(tlpi_fail(TLP_ECANCELED, "%s: hashing was canceled", g->path));
    join_chunks(&h, digest);
done:
    tlpi_free(&m->env, h.chunk);
    tlpi_free(&m->env, h.first);
    return st;
}

/* ==== a model ============================================================ */

static tlp_status compute(const tlp_model *m, const atomic_bool *stop)
{
    struct tlpi_digest *d = m->digest;
    digest_bytes *digest = NULL;
    size_t n = 0, at = 0;
    tlpi_sha256 s;
    tlp_status st = TLP_OK;

    for (size_t f = 0; f < m->n_file; f++)
        n += m->file[f]->n_tensor;
    digest = tlpi_alloc_array(&m->env, n, sizeof *digest);
    if (!digest)
        TLP_TRY(tlpi_fail_nomem_for("the digest of a model"));
    for (size_t f = 0; f < m->n_file; f++) {
        const tlpi_gguf *g = m->file[f];

        if (!tlpi_digest_cache_load(g, digest + at)) {
            TLP_TRY(hash_file(m, g, digest + at, stop));
            tlpi_digest_cache_store(g, digest + at);
        }
        at += g->n_tensor;
    }
    tlpi_text_free(&d->manifest);
    d->manifest = (tlpi_text){ .env = &m->env };
    tlpi_manifest_write(&d->manifest, m, digest);
    if (d->manifest.failed)
        TLP_TRY(tlpi_fail_nomem_for("the digest of a model"));
    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, d->manifest.data, d->manifest.len);
    tlpi_sha256_text(&s, d->text);
done:
    tlpi_free(&m->env, digest);
    return st;
}

tlp_status tlpi_model_digest(const tlp_model *m, const char **digest,
                             const char **manifest, const atomic_bool *stop)
{
    struct tlpi_digest *d = m->digest;
    tlp_status st = TLP_OK;

    if (m->vocab_only)
        return tlpi_fail(TLP_EINVAL, "%s was opened with vocab_only", m->path);
    pthread_mutex_lock(&d->lock);
    if (d->text[0] == '\0')
        st = compute(m, stop);
    pthread_mutex_unlock(&d->lock);
    if (st != TLP_OK)
        return st;
    if (digest)
        *digest = d->text;
    if (manifest)
        *manifest = d->manifest.data;
    return TLP_OK;
}

tlp_status tlpi_model_checked_digest(const tlp_model *m, const char **digest)
{
    *digest = "";
    if (m->vocab_only || m->trust_sample)
        return TLP_OK;
    return tlpi_model_digest(m, digest, NULL, NULL);
}

uint64_t tlpi_model_digest_progress(const tlp_model *m)
{
    return atomic_load(&m->digest->n_hashed);
}

void tlpi_digest_set_tick(const tlp_model *m, tlpi_digest_tick fn,
                          void *user_data)
{
    m->digest->tick = fn;
    m->digest->tick_data = user_data;
}

tlp_status tlpi_digest_create(struct tlpi_digest **out, const tlpi_env *env)
{
    struct tlpi_digest *d = tlpi_calloc(env, 1, sizeof *d);

    *out = NULL;
    if (!d)
        return tlpi_fail_nomem_for("the digest of a model");
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        tlpi_free(env, d);
        return tlpi_fail_nomem_for("the digest of a model");
    }
    d->manifest.env = env;
    *out = d;
    return TLP_OK;
}

void tlpi_digest_free(const tlpi_env *env, struct tlpi_digest *d)
{
    if (!d)
        return;
    tlpi_text_free(&d->manifest);
    pthread_mutex_destroy(&d->lock);
    tlpi_free(env, d);
}
