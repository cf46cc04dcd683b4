/*
 * gguf.c - opening a GGUF file: header, tables and data, in file order.
 */
#include "file/gguf.h"

#include <string.h>

#include "file/gguf_parse.h"
#include "file/mapfile.h"

/* Smallest table entries in bytes.  Key: length, type, one byte.  Tensor: name
 * length, n_dim, one size, type, offset. */
#define MIN_KV 13
#define MIN_TENSOR 32

tlp_status tlpi_cursor_take(tlpi_cursor *c, void *out, size_t n,
                            const char *what)
{
    if (n > tlpi_cursor_left(c))
        return tlpi_fail(TLP_EFORMAT, "%s: the file ends inside %s (byte %zu)",
                         c->path, what, (size_t)(c->end - c->begin));
    memcpy(out, c->at, n);
    c->at += n;
    return TLP_OK;
}

tlp_status tlpi_cursor_str(tlpi_cursor *c, tlpi_str *out, const char *what)
{
    uint64_t n = 0;
    tlp_status st = tlpi_cursor_take(c, &n, sizeof n, what);

    if (st != TLP_OK)
        return st;
    if (n > tlpi_cursor_left(c))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: %s of %llu bytes at byte %zu, %zu are left",
                         c->path, what, (unsigned long long)n,
                         (size_t)(c->at - c->begin), tlpi_cursor_left(c));
    *out = (tlpi_str){ (const char *)c->at, (size_t)n };
    c->at += n;
    return TLP_OK;
}

tlp_status tlpi_cursor_name(tlpi_cursor *c, tlpi_str *out, size_t max,
                            const char *what)
{
    tlp_status st = tlpi_cursor_str(c, out, what);

    if (st != TLP_OK)
        return st;
    if (out->n > max)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: %s of %zu bytes, at most %zu expected", c->path,
                         what, out->n, max);
    if (memchr(out->s, '\0', out->n))
        return tlpi_fail(TLP_EFORMAT, "%s: %s %.*s... holds a NUL byte",
                         c->path, what, TLPI_STR_ARGS(*out));
    return TLP_OK;
}

static tlp_status parse_version(tlpi_gguf *g, tlpi_cursor *c)
{
    char magic[4];
    tlp_status st = tlpi_cursor_take(c, magic, sizeof magic, "the magic");

    if (st != TLP_OK)
        return st;
    if (memcmp(magic, "GGUF", 4) != 0)
        return tlpi_fail(TLP_EFORMAT, "%s: not a GGUF file", g->path);
    st = tlpi_cursor_take(c, &g->version, sizeof g->version, "the version");
    if (st != TLP_OK)
        return st;
    if (g->version != 0 && (g->version & 0xffff) == 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: a big-endian file, little-endian expected",
                         g->path);
    if (g->version != 2 && g->version != 3)
        return tlpi_fail(TLP_ENOTSUP, "%s: GGUF version %u, 2 or 3 expected",
                         g->path, (unsigned)g->version);
    return TLP_OK;
}

static tlp_status check_count(const tlpi_cursor *c, uint64_t n, size_t min_size,
                              const char *what)
{
    if (n <= tlpi_cursor_left(c) / min_size && n <= INT32_MAX)
        return TLP_OK;
    return tlpi_fail(TLP_EFORMAT, "%s: %llu %s do not fit in %zu bytes",
                     c->path, (unsigned long long)n, what, tlpi_cursor_left(c));
}

static tlp_status read_alignment(tlpi_gguf *g)
{
    uint32_t alignment = 32;
    tlp_status st =
        tlpi_gguf_get_u32(g, "general.alignment", false, &alignment);

    if (st != TLP_OK)
        return st;
    if (alignment < 8 || (alignment & (alignment - 1)) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key general.alignment: %u, a power of two of at "
                         "least 8 expected",
                         g->path, (unsigned)alignment);
    g->alignment = alignment;
    return TLP_OK;
}

static tlp_status parse(tlpi_gguf *g, const uint8_t *data, size_t n,
                        bool vocab_only)
{
    tlp_status st = TLP_OK;
    tlpi_cursor c = { g->path, data, data, data + n };
    uint64_t n_tensor = 0, n_kv = 0;
    uint64_t *offset = NULL;

    TLP_TRY(parse_version(g, &c));
    TLP_TRY(tlpi_cursor_take(&c, &n_tensor, sizeof n_tensor, "the header"));
    TLP_TRY(tlpi_cursor_take(&c, &n_kv, sizeof n_kv, "the header"));
    TLP_TRY(check_count(&c, n_kv, MIN_KV, "keys"));
    TLP_TRY(tlpi_gguf_parse_kv(g, &c, n_kv));
    TLP_TRY(check_count(&c, n_tensor, MIN_TENSOR, "tensors"));
    offset = tlpi_alloc_array(g->env, (size_t)n_tensor, sizeof *offset);
    if (!offset)
        TLP_TRY(tlpi_fail_nomem_for("a model file"));
    TLP_TRY(tlpi_gguf_parse_tensors(g, &c, n_tensor, offset));
    TLP_TRY(tlpi_gguf_index(g));
    TLP_TRY(read_alignment(g));
    if (!vocab_only)
        TLP_TRY(tlpi_gguf_place(g, &c, offset));
done:
    tlpi_free(g->env, offset);
    return st;
}

static tlp_status create(tlpi_gguf **out, const tlpi_env *env, const char *path)
{
    tlpi_gguf *g = tlpi_calloc(env, 1, sizeof *g);

    *out = g;
    if (!g)
        return tlpi_fail_nomem_for("a model file");
    g->env = env;
    g->path = tlpi_strndup(env, path, strlen(path));
    return g->path ? TLP_OK : tlpi_fail_nomem_for("a model file");
}

tlp_status tlpi_gguf_open(tlpi_gguf **out, const tlpi_env *env,
                          const char *path, const tlpi_gguf_options *opts)
{
    tlp_status st = TLP_OK;
    tlpi_gguf_options o = opts ? *opts : (tlpi_gguf_options){ 0 };
    tlpi_gguf *g = NULL;

    *out = NULL;
    TLP_TRY(create(&g, env, path));
    TLP_TRY(tlpi_map_open(&g->map, env, path, o.no_mmap));
    TLP_TRY(parse(g, g->map->data, g->map->size, o.vocab_only));
    *out = g;
    g = NULL;
done:
    tlpi_gguf_close(g);
    return st;
}

tlp_status tlpi_gguf_open_bytes(tlpi_gguf **out, const tlpi_env *env,
                                const char *path, const void *data, size_t n,
                                bool vocab_only)
{
    tlp_status st = TLP_OK;
    tlpi_gguf *g = NULL;

    *out = NULL;
    TLP_TRY(create(&g, env, path));
    TLP_TRY(parse(g, data, n, vocab_only));
    *out = g;
    g = NULL;
done:
    tlpi_gguf_close(g);
    return st;
}

tlp_status tlpi_gguf_open_memory(tlpi_gguf **out, const tlpi_env *env,
                                 const void *data, size_t n)
{
    return tlpi_gguf_open_bytes(out, env, "(memory)", data, n, false);
}

void tlpi_gguf_close(tlpi_gguf *g)
{
    if (!g)
        return;
    tlpi_free(g->env, g->source);
    tlpi_free(g->env, g->made);
    tlpi_free(g->env, g->image);
    tlpi_free(g->env, g->names);
    tlpi_free(g->env, g->tensor_index);
    tlpi_free(g->env, g->kv_index);
    tlpi_free(g->env, g->tensor);
    tlpi_free(g->env, g->kv);
    tlpi_map_close(g->map);
    tlpi_free(g->env, g->path);
    tlpi_free(g->env, g);
}
