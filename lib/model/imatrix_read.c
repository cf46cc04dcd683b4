/*
 * imatrix_read.c - files of importance matrices, GGUF and the older format.
 */
#include <string.h>

#include "file/gguf_parse.h"
#include "file/mapfile.h"
#include "model/imatrix_read.h"

#define SUMS ".in_sum2"
#define COUNTS ".counts"

/* ==== GGUF =============================================================== */

/* The name of the matrix whose sums a tensor has; n is 0 if it has none. */
static tlpi_str matrix_of(const tlpi_tensor *t)
{
    tlpi_str name = { t->name, strlen(t->name) };
    size_t n = sizeof SUMS - 1;

    if (name.n <= n || strcmp(t->name + name.n - n, SUMS) != 0)
        return (tlpi_str){ t->name, 0 };
    name.n -= n;
    return name;
}

static tlp_status check_type(const tlpi_gguf *g)
{
    static const char want[] = "imatrix";
    tlpi_str type = { want, sizeof want - 1 };
    tlp_status st = tlpi_gguf_get_str(g, "general.type", false, &type);

    if (st != TLP_OK)
        return st;
    if (type.n != sizeof want - 1 || memcmp(type.s, want, type.n) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key general.type: %.*s, imatrix expected",
                         g->path, TLPI_STR_ARGS(type));
    return TLP_OK;
}

static int64_t size_of(const tlpi_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

/* The counts that belong to sums. */
static tlp_status find_counts(const tlpi_gguf *g, const tlpi_tensor *sums,
                              tlpi_str matrix, const tlpi_tensor **out)
{
    tlpi_text name = { .env = g->env };

    tlpi_text_printf(&name, "%.*s" COUNTS, (int)matrix.n, matrix.s);
    const tlpi_tensor *t = name.failed ? NULL : tlpi_gguf_tensor(g, name.data);
    bool failed = name.failed;
    tlpi_text_free(&name);
    if (failed)
        return tlpi_fail_nomem_for("an importance matrix");
    if (!t)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %.*s" COUNTS ": missing",
                         g->path, TLPI_STR_ARGS(matrix));
    if (t->type != TLPI_F32 || sums->type != TLPI_F32)
        return tlpi_fail(
            TLP_EFORMAT, "%s: entry %.*s: %s, F32 expected", g->path,
            TLPI_STR_ARGS(matrix),
            tlpi_dtype_name(t->type == TLPI_F32 ? sums->type : t->type));
    int64_t n = size_of(t);
    if (n != 1 && n != size_of(sums) / sums->ne[0])
        return tlpi_fail(TLP_EFORMAT,
                         "%s: entry %.*s: %lld counts, 1 or %lld expected",
                         g->path, TLPI_STR_ARGS(matrix), (long long)n,
                         (long long)(size_of(sums) / sums->ne[0]));
    *out = t;
    return TLP_OK;
}

static tlp_status add_sums(tlpi_imatrix *im, const tlpi_gguf *g,
                           const tlpi_tensor *sums)
{
    tlp_status st = TLP_OK;
    tlpi_str matrix = matrix_of(sums);
    const tlpi_tensor *counts = NULL;
    float *count = NULL;

    TLP_TRY(find_counts(g, sums, matrix, &counts));
    count = tlpi_alloc_array(g->env, (size_t)size_of(counts), sizeof *count);
    if (!count)
        TLP_TRY(tlpi_fail_nomem_for("an importance matrix"));
    memcpy(count, counts->data, (size_t)size_of(counts) * sizeof *count);
    st = tlpi_imatrix_add(im, matrix, sums->data, sums->ne[0],
                          size_of(sums) / sums->ne[0], count, size_of(counts));
done:
    tlpi_free(g->env, count);
    return st;
}

static tlp_status read_gguf(tlpi_imatrix **out, const tlpi_gguf *g,
                            const char *path)
{
    tlp_status st = TLP_OK;
    size_t n = 0, name_bytes = 0;

    TLP_TRY(check_type(g));
    for (size_t i = 0; i < g->n_tensor; i++) {
        tlpi_str matrix = matrix_of(&g->tensor[i]);
        n += matrix.n > 0;
        name_bytes += matrix.n + 1;
    }
    if (n == 0)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: no tensor NAME" SUMS, path));
    TLP_TRY(tlpi_imatrix_create(out, g->env, path, n, name_bytes));
    for (size_t i = 0; i < g->n_tensor; i++)
        if (matrix_of(&g->tensor[i]).n > 0)
            TLP_TRY(add_sums(*out, g, &g->tensor[i]));
    st = tlpi_gguf_get_u32(g, "imatrix.chunk_count", false, &(*out)->n_chunk);
done:
    return st;
}

/* ==== the older format =================================================== */

static tlp_status take(tlpi_cursor *f, size_t n, const char *what,
                       const uint8_t **out)
{
    if (tlpi_cursor_left(f) < n)
        return tlpi_fail(TLP_EFORMAT, "%s: %zu bytes left, %zu expected for %s",
                         f->path, tlpi_cursor_left(f), n, what);
    *out = f->at;
    f->at += n;
    return TLP_OK;
}

/* An i32 that is at least 1. */
static tlp_status take_count(tlpi_cursor *f, const char *what, int32_t *out)
{
    const uint8_t *p = NULL;
    tlp_status st = take(f, sizeof *out, what, &p);

    if (st != TLP_OK)
        return st;
    memcpy(out, p, sizeof *out);
    if (*out < 1)
        return tlpi_fail(TLP_EFORMAT, "%s: %s: %d, at least 1 expected",
                         f->path, what, *out);
    return TLP_OK;
}

typedef struct old_entry {
    tlpi_str name;
    int32_t count, n;
    const uint8_t *sums;
} old_entry;

static tlp_status take_entry(tlpi_cursor *f, old_entry *e)
{
    tlp_status st = TLP_OK;
    const uint8_t *name = NULL;
    int32_t length = 0;

    TLP_TRY(take_count(f, "length of a name", &length));
    TLP_TRY(take(f, (size_t)length, "a name", &name));
    e->name = (tlpi_str){ (const char *)name, (size_t)length };
    if (memchr(name, 0, (size_t)length))
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: a name has a NUL", f->path));
    TLP_TRY(take_count(f, "count of an entry", &e->count));
    TLP_TRY(take_count(f, "number of an entry's values", &e->n));
    st = take(f, (size_t)e->n * sizeof(float), "values", &e->sums);
done:
    return st;
}

/* The number of chunks and the name of the text may be missing. */
static tlp_status take_rest(tlpi_cursor *f, uint32_t *n_chunk)
{
    tlp_status st = TLP_OK;
    const uint8_t *p = NULL;
    int32_t length = 0, n = 0;

    if (f->at == f->end)
        return TLP_OK;
    TLP_TRY(take(f, sizeof n, "the number of chunks", &p));
    memcpy(&n, p, sizeof n);
    *n_chunk = n > 0 ? (uint32_t)n : 0;
    TLP_TRY(take(f, sizeof length, "the length of the text's name", &p));
    memcpy(&length, p, sizeof length);
    if (length < 0 || f->end - f->at != length)
        st = tlpi_fail(TLP_EFORMAT,
                       "%s: %zu bytes left, %d expected for the text's name",
                       f->path, tlpi_cursor_left(f), length);
done:
    return st;
}

static tlp_status read_old(tlpi_imatrix **out, const tlpi_env *env,
                           const uint8_t *data, size_t size, const char *path)
{
    tlp_status st = TLP_OK;
    tlpi_cursor f = { path, data, data, data + size };
    int32_t n = 0;

    TLP_TRY(take_count(&f, "number of entries", &n));
    /* an entry takes 17 bytes at least: three numbers, a letter and a value */
    if ((size_t)n > size / 17)
        TLP_TRY(tlpi_fail(TLP_EFORMAT,
                          "%s: %d entries do not fit into %zu bytes", path, n,
                          size));
    TLP_TRY(tlpi_imatrix_create(out, env, path, (size_t)n, size));
    for (int32_t i = 0; i < n; i++) {
        old_entry e;
        TLP_TRY(take_entry(&f, &e));
        float count = (float)e.count;
        TLP_TRY(tlpi_imatrix_add(*out, e.name, e.sums, e.n, 1, &count, 1));
    }
    st = take_rest(&f, &(*out)->n_chunk);
done:
    return st;
}

/* ==== both =============================================================== */

static bool is_gguf(const void *data, size_t n)
{
    return n >= 4 && memcmp(data, "GGUF", 4) == 0;
}

/* Ends what a reader began: the complete matrix goes to *out. */
static tlp_status hand_over(tlpi_imatrix **out, tlpi_imatrix *im, tlp_status st)
{
    if (st == TLP_OK)
        st = tlpi_imatrix_sort(im);
    if (st == TLP_OK)
        *out = im;
    else
        tlpi_imatrix_free(im);
    return st;
}

static tlp_status open_bytes(tlpi_imatrix **out, const tlpi_env *env,
                             const char *path, const void *data, size_t n)
{
    tlp_status st = TLP_OK;
    tlpi_gguf *g = NULL;
    tlpi_imatrix *im = NULL;

    *out = NULL;
    if (is_gguf(data, n)) {
        TLP_TRY(tlpi_gguf_open_bytes(&g, env, path, data, n, false));
        st = read_gguf(&im, g, path);
    } else {
        st = read_old(&im, env, data, n, path);
    }
    st = hand_over(out, im, st);
done:
    tlpi_gguf_close(g);
    return st;
}

tlp_status tlpi_imatrix_open(tlpi_imatrix **out, const tlpi_env *env,
                             const char *path)
{
    tlpi_map *map = NULL;
    tlp_status st;

    *out = NULL;
    TLP_TRY(tlpi_map_open(&map, env, path, true));
    st = open_bytes(out, env, path, map->data, map->size);
done:
    tlpi_map_close(map);
    return st;
}

tlp_status tlpi_imatrix_open_memory(tlpi_imatrix **out, const tlpi_env *env,
                                    const void *data, size_t n)
{
    return open_bytes(out, env, "(memory)", data, n);
}
