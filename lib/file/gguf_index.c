/*
 * gguf_index.c - sorted names, for look-up and for finding duplicates.
 *
 * Sorting and binary search bound the work for any names.  A hash table would
 * not, if a file is made against its hash function.
 */
#include <string.h>

#include "file/gguf_parse.h"

/* ==== heap sort ========================================================== */

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;

    *a = *b;
    *b = t;
}

static void sift_down(uint32_t *x, size_t at, size_t n, tlpi_less_fn less,
                      const void *ctx)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && less(ctx, x[child], x[child + 1]))
            child++;
        if (!less(ctx, x[at], x[child]))
            return;
        swap(&x[at], &x[child]);
        at = child;
    }
}

void tlpi_sort(uint32_t *x, size_t n, tlpi_less_fn less, const void *ctx)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(x, i, n, less, ctx);
    for (size_t end = n; end-- > 1;) {
        swap(&x[0], &x[end]);
        sift_down(x, 0, end, less, ctx);
    }
}

/* ==== names ============================================================== */

static const char *kv_name(const tlpi_gguf *g, uint32_t i)
{
    return g->kv[i].key;
}

static const char *tensor_name(const tlpi_gguf *g, uint32_t i)
{
    return g->tensor[i].name;
}

static bool kv_less(const void *g, uint32_t a, uint32_t b)
{
    return strcmp(kv_name(g, a), kv_name(g, b)) < 0;
}

static bool tensor_less(const void *g, uint32_t a, uint32_t b)
{
    return strcmp(tensor_name(g, a), tensor_name(g, b)) < 0;
}

/* Length that stands before a name in the file. */
static size_t length_before(const char *name)
{
    uint64_t n;

    memcpy(&n, name - sizeof n, sizeof n);
    return (size_t)n;
}

static const char *keep(char **to, const char *name)
{
    char *copy = *to;
    size_t n = length_before(name);

    memcpy(copy, name, n);
    copy[n] = '\0';
    *to += n + 1;
    return copy;
}

static tlp_status keep_names(tlpi_gguf *g)
{
    size_t total = 0; /* at most the file's size: no overflow */

    for (size_t i = 0; i < g->n_kv; i++)
        total += length_before(g->kv[i].key) + 1;
    for (size_t i = 0; i < g->n_tensor; i++)
        total += length_before(g->tensor[i].name) + 1;
    g->names = tlpi_alloc(g->env, total);
    if (!g->names)
        return tlpi_fail_nomem_for("the index of a model file");

    char *to = g->names;
    for (size_t i = 0; i < g->n_kv; i++)
        g->kv[i].key = keep(&to, g->kv[i].key);
    for (size_t i = 0; i < g->n_tensor; i++)
        g->tensor[i].name = keep(&to, g->tensor[i].name);
    return TLP_OK;
}

static tlp_status order(const tlpi_gguf *g, uint32_t **out, size_t n,
                        const char *(*name)(const tlpi_gguf *, uint32_t),
                        tlpi_less_fn less, const char *what)
{
    uint32_t *index = *out = tlpi_alloc_array(g->env, n, sizeof *index);

    if (!index)
        return tlpi_fail_nomem_for("the index of a model file");
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)i;
    tlpi_sort(index, n, less, g);
    for (size_t i = 1; i < n; i++)
        if (strcmp(name(g, index[i - 1]), name(g, index[i])) == 0)
            return tlpi_fail(TLP_EFORMAT, "%s: %s %s stands there twice",
                             g->path, what, name(g, index[i]));
    return TLP_OK;
}

tlp_status tlpi_gguf_index(tlpi_gguf *g)
{
    tlp_status st = TLP_OK;

    TLP_TRY(keep_names(g));
    TLP_TRY(order(g, &g->kv_index, g->n_kv, kv_name, kv_less, "key"));
    TLP_TRY(order(g, &g->tensor_index, g->n_tensor, tensor_name, tensor_less,
                  "tensor"));
done:
    return st;
}

/* ==== look-up ============================================================ */

/* Position of a name in an index, or n. */
static size_t search(const tlpi_gguf *g, const uint32_t *index, size_t n,
                     const char *(*name)(const tlpi_gguf *, uint32_t),
                     const char *wanted)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(wanted, name(g, index[mid]));
        if (c == 0)
            return mid;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return n;
}

const tlpi_gguf_kv *tlpi_gguf_find(const tlpi_gguf *g, const char *key)
{
    size_t i = search(g, g->kv_index, g->n_kv, kv_name, key);

    return i < g->n_kv ? &g->kv[g->kv_index[i]] : NULL;
}

const tlpi_tensor *tlpi_gguf_tensor(const tlpi_gguf *g, const char *name)
{
    size_t i = search(g, g->tensor_index, g->n_tensor, tensor_name, name);

    return i < g->n_tensor ? &g->tensor[g->tensor_index[i]] : NULL;
}
