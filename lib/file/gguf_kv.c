/*
 * gguf_kv.c - the table of keys and values.
 *
 * Parsing checks every length once; later code relies on the lengths.
 */
#include <string.h>

#include "file/gguf_parse.h"

#define MAX_KEY 65535 /* bytes; limit of the format */

static const struct {
    const char *name;
    size_t size;
} types[TLPI_GGUF_N_TYPE] = {
    [TLPI_GGUF_U8] = { "u8", 1 },      [TLPI_GGUF_I8] = { "i8", 1 },
    [TLPI_GGUF_U16] = { "u16", 2 },    [TLPI_GGUF_I16] = { "i16", 2 },
    [TLPI_GGUF_U32] = { "u32", 4 },    [TLPI_GGUF_I32] = { "i32", 4 },
    [TLPI_GGUF_F32] = { "f32", 4 },    [TLPI_GGUF_BOOL] = { "bool", 1 },
    [TLPI_GGUF_STRING] = { "str", 0 }, [TLPI_GGUF_ARRAY] = { "array", 0 },
    [TLPI_GGUF_U64] = { "u64", 8 },    [TLPI_GGUF_I64] = { "i64", 8 },
    [TLPI_GGUF_F64] = { "f64", 8 },
};

size_t tlpi_gguf_type_size(tlpi_gguf_type type)
{
    return types[type].size;
}

const char *tlpi_gguf_type_name(tlpi_gguf_type type)
{
    return types[type].name;
}

static tlp_status take_type(tlpi_cursor *c, tlpi_str key, tlpi_gguf_type *type)
{
    uint32_t number;
    tlp_status st = tlpi_cursor_take(c, &number, sizeof number, "a value type");

    if (st != TLP_OK)
        return st;
    if (number >= TLPI_GGUF_N_TYPE)
        return tlpi_fail(TLP_EFORMAT, "%s: key %.*s: unknown value type %u",
                         c->path, TLPI_STR_ARGS(key), (unsigned)number);
    *type = (tlpi_gguf_type)number;
    return TLP_OK;
}

static tlp_status check_bools(const tlpi_cursor *c, tlpi_str key,
                              const uint8_t *x, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (x[i] > 1)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key %.*s: bool of value %u, 0 or 1 expected",
                             c->path, TLPI_STR_ARGS(key), (unsigned)x[i]);
    return TLP_OK;
}

/* Skip the elements of a value whose type and count are known. */
static tlp_status skip_elements(tlpi_cursor *c, tlpi_str key,
                                const tlpi_gguf_kv *kv)
{
    size_t size = tlpi_gguf_type_size(kv->type);
    /* a string has at least its length field */
    size_t least = size ? size : sizeof(uint64_t);
    tlpi_str s;

    if (kv->n > tlpi_cursor_left(c) / least)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key %.*s: %llu elements of type %s do not fit in "
                         "%zu bytes",
                         c->path, TLPI_STR_ARGS(key), (unsigned long long)kv->n,
                         tlpi_gguf_type_name(kv->type), tlpi_cursor_left(c));
    if (kv->type == TLPI_GGUF_STRING) {
        for (uint64_t i = 0; i < kv->n; i++) {
            tlp_status st = tlpi_cursor_str(c, &s, "a string");
            if (st != TLP_OK)
                return st;
        }
        return TLP_OK;
    }
    c->at += kv->n * size;
    if (kv->type == TLPI_GGUF_BOOL)
        return check_bools(c, key, kv->data, kv->n);
    return TLP_OK;
}

static tlp_status parse_one(tlpi_cursor *c, tlpi_gguf_kv *kv)
{
    tlp_status st = TLP_OK;
    tlpi_str key;

    TLP_TRY(tlpi_cursor_name(c, &key, MAX_KEY, "a key"));
    kv->key = key.s;
    kv->n = 1;
    TLP_TRY(take_type(c, key, &kv->type));
    if (kv->type == TLPI_GGUF_ARRAY) {
        kv->is_array = true;
        TLP_TRY(take_type(c, key, &kv->type));
        if (kv->type == TLPI_GGUF_ARRAY)
            TLP_TRY(tlpi_fail(TLP_ENOTSUP, "%s: key %.*s: an array of arrays",
                              c->path, TLPI_STR_ARGS(key)));
        TLP_TRY(tlpi_cursor_take(c, &kv->n, sizeof kv->n, "an array"));
    }
    kv->data = c->at;
    TLP_TRY(skip_elements(c, key, kv));
    kv->n_bytes = (size_t)(c->at - kv->data);
done:
    return st;
}

tlp_status tlpi_gguf_parse_kv(tlpi_gguf *g, tlpi_cursor *c, uint64_t n)
{
    g->kv = tlpi_calloc(g->env, (size_t)n, sizeof *g->kv);
    if (!g->kv)
        return tlpi_fail_nomem_for("the metadata of a model file");
    for (; g->n_kv < n; g->n_kv++) {
        tlp_status st = parse_one(c, &g->kv[g->n_kv]);
        if (st != TLP_OK)
            return st;
    }
    return TLP_OK;
}
