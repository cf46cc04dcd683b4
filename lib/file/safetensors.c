/*
 * safetensors.c - reading and laying out images in the safetensors format.
 */
#include "file/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"

#define META_KEY "__metadata__"

/* A tensor's dimensions in an object in the header. */
#define MAX_DEPTH 3

/* Alignment of the data in a new image. */
#define DATA_ALIGNMENT 64

static const struct {
    const char *name;
    tlpi_dtype type;
    int size; /* bytes of an element */
} types[] = { { "F32", TLPI_F32, 4 },
              { "F16", TLPI_F16, 2 },
              { "BF16", TLPI_BF16, 2 },
              { "U8", TLPI_BYTES, 1 },
              { "F8_E4M3", TLPI_F8, 1 } };

static size_t size_of(tlpi_dtype type)
{
    for (size_t i = 0; i < TLPI_COUNT(types); i++)
        if (types[i].type == type)
            return (size_t)types[i].size;
    return 0;
}

static uint64_t read_u64(const uint8_t *at)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | at[i];
    return v;
}

/* ==== reading ============================================================ */

typedef struct header_reader {
    tlpi_safetensors *s;
    const char *where;
    const uint8_t *data; /* start of the data, after the header */
    size_t n_data;
    size_t n_text; /* used bytes of s->text */
    bool bytes;    /* types of one byte are accepted */
} header_reader;

/* Copy a string into s->text.  A JSON string takes at least the bytes of its
 * value and a NUL, so s->text, with the header's size, has room for all
 * strings. */
static const char *keep(header_reader *r, const char *text)
{
    char *at = r->s->text + r->n_text;
    size_t n = strlen(text) + 1;

    memcpy(at, text, n);
    r->n_text += n;
    return at;
}

static tlp_status read_type(const header_reader *r, json_t *entry,
                            tlpi_tensor *t)
{
    json_t *type = json_object_get(entry, "dtype");

    if (!json_is_string(type))
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: dtype: a text expected",
                         r->where, t->name);
    for (size_t i = 0; i < TLPI_COUNT(types); i++) {
        if (strcmp(types[i].name, json_string_value(type)) == 0 &&
            (r->bytes || types[i].size > 1)) {
            t->type = types[i].type;
            return TLP_OK;
        }
    }
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: tensor %s: dtype %.20s, F32, F16 or BF16 expected",
                     r->where, t->name, json_string_value(type));
}

/* Also sets n_bytes. */
static tlp_status read_shape(const header_reader *r, json_t *entry,
                             tlpi_tensor *t)
{
    json_t *shape = json_object_get(entry, "shape");
    size_t n_dim = json_array_size(shape); /* 0 if not an array */

    bool single = r->bytes && json_is_array(shape) && n_dim == 0;

    if (!single && (n_dim < 1 || n_dim > 4))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: shape: 1 to 4 dimensions expected",
                         r->where, t->name);
    t->n_dim = single ? 1 : (int)n_dim;
    t->n_bytes = size_of(t->type);
    for (size_t i = 0; i < 4; i++)
        t->ne[i] = 1;
    for (size_t i = 0; i < n_dim; i++) {
        json_t *dim = json_array_get(shape, i);
        json_int_t v = json_integer_value(dim); /* 0 if not an integer */
        if (v < 1 || (uintmax_t)v > SIZE_MAX ||
            !tlpi_mul(t->n_bytes, (size_t)v, &t->n_bytes))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: shape: dimension %zu is %" PRId64
                             ", a size expected",
                             r->where, t->name, i, (int64_t)v);
        t->ne[n_dim - 1 - i] = v;
    }
    return TLP_OK;
}

static tlp_status read_offsets(const header_reader *r, json_t *entry,
                               tlpi_tensor *t)
{
    json_t *list = json_object_get(entry, "data_offsets");
    json_t *at0 = json_array_get(list, 0), *at1 = json_array_get(list, 1);
    json_int_t begin = json_integer_value(at0), end = json_integer_value(at1);

    if (json_array_size(list) != 2 || !json_is_integer(at0) ||
        !json_is_integer(at1))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: data_offsets: two integers expected",
                         r->where, t->name);
    if (begin < 0 || end < begin || (uintmax_t)end > r->n_data)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: data_offsets %" PRId64 " to %" PRId64
                         ", the data has %zu bytes",
                         r->where, t->name, (int64_t)begin, (int64_t)end,
                         r->n_data);
    if ((uintmax_t)(end - begin) != t->n_bytes)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: %" PRId64 " bytes of data, its shape "
                         "takes %zu",
                         r->where, t->name, (int64_t)(end - begin), t->n_bytes);
    t->data = r->data + begin;
    if ((uintptr_t)t->data % size_of(t->type) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: its data is not aligned to its type",
                         r->where, t->name);
    return TLP_OK;
}

static tlp_status read_tensor(header_reader *r, const char *name, json_t *entry)
{
    static const char *const known[] = { "dtype", "shape", "data_offsets" };
    tlpi_tensor *t = &r->s->tensor[r->s->n_tensor++];
    tlp_status st;

    t->name = keep(r, name);
    if (!json_is_object(entry))
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: an object expected",
                         r->where, t->name);
    TLP_TRY(read_type(r, entry, t));
    TLP_TRY(read_shape(r, entry, t));
    TLP_TRY(read_offsets(r, entry, t));
    if (json_object_size(entry) != TLPI_COUNT(known))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: keys other than dtype, shape and "
                         "data_offsets",
                         r->where, t->name);
done:
    return st;
}

static tlp_status read_meta(header_reader *r, json_t *meta)
{
    tlpi_safetensors *s = r->s;
    size_t n = json_object_size(meta);
    const char *key;
    json_t *value;

    if (!meta)
        return TLP_OK;
    if (!json_is_object(meta))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key " META_KEY ": an object expected", r->where);
    s->meta = tlpi_alloc_array(s->env, n, sizeof *s->meta);
    if (!s->meta)
        return tlpi_fail_nomem_for("an adjustment file");
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key " META_KEY ".%.60s: a text expected",
                             r->where, key);
        s->meta[s->n_meta].key = keep(r, key);
        s->meta[s->n_meta++].value = keep(r, json_string_value(value));
    }
    return TLP_OK;
}

static int by_data(const void *a, const void *b)
{
    const uint8_t *x = ((const tlpi_tensor *)a)->data;
    const uint8_t *y = ((const tlpi_tensor *)b)->data;

    return (x > y) - (x < y);
}

/* Every data byte must belong to exactly one tensor. */
static tlp_status check_cover(const header_reader *r)
{
    const tlpi_safetensors *s = r->s;
    const uint8_t *at = r->data;

    qsort(s->tensor, s->n_tensor, sizeof *s->tensor, by_data);
    for (size_t i = 0; i < s->n_tensor; i++) {
        const tlpi_tensor *t = &s->tensor[i];
        if (t->data != at)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: begins at byte %zu of the data, "
                             "%zu expected",
                             r->where, t->name,
                             (size_t)((const uint8_t *)t->data - r->data),
                             (size_t)(at - r->data));
        at += t->n_bytes;
    }
    if (at != r->data + r->n_data)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: %zu bytes of data, the tensors take %zu",
                         r->where, r->n_data, (size_t)(at - r->data));
    return TLP_OK;
}

static tlp_status read_entries(header_reader *r, json_t *root)
{
    tlpi_safetensors *s = r->s;
    json_t *meta = json_object_get(root, META_KEY);
    size_t n = json_object_size(root);
    const char *name;
    json_t *entry;
    tlp_status st;

    s->tensor = tlpi_calloc(s->env, n, sizeof *s->tensor);
    if (!s->tensor)
        return tlpi_fail_nomem_for("an adjustment file");
    TLP_TRY(read_meta(r, meta));
    json_object_foreach(root, name, entry)
    {
        if (entry != meta)
            TLP_TRY(read_tensor(r, name, entry));
    }
    TLP_TRY(check_cover(r));
done:
    return st;
}

static tlp_status read_header(header_reader *r, const char *text, size_t n)
{
    json_error_t error;
    json_t *root = NULL;
    tlp_status st;

    TLP_TRY(tlpi_json_check_depth(r->where, text, n, MAX_DEPTH));
    root = tlpi_json_load(text, n, 0, &error);
    if (!root)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: header: byte %d: %s", r->where,
                          error.position, error.text));
    if (!json_is_object(root))
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: header: a JSON object expected",
                          r->where));
    r->s->text = tlpi_alloc(r->s->env, n);
    if (!r->s->text)
        TLP_TRY(tlpi_fail_nomem_for("an adjustment file"));
    TLP_TRY(read_entries(r, root));
done:
    json_decref(root);
    return st;
}

static tlp_status open_image(tlpi_safetensors **out, const tlpi_env *env,
                             const void *image, size_t n, const char *where,
                             bool with_bytes)
{
    const uint8_t *bytes = image;
    tlpi_safetensors *s = NULL;
    tlp_status st;

    *out = NULL;
    if (n < 8)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: %zu bytes, the size of a header expected", where,
                         n);
    uint64_t n_header = read_u64(bytes);
    if (n_header > TLPI_SAFETENSORS_MAX_HEADER || n_header > n - 8)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: a header of %" PRIu64 " bytes, %zu are left, at "
                         "most %zu expected",
                         where, n_header, n - 8, TLPI_SAFETENSORS_MAX_HEADER);
    s = tlpi_calloc(env, 1, sizeof *s);
    if (!s)
        return tlpi_fail_nomem_for("an adjustment file");
    s->env = env;
    header_reader r = { .s = s,
                        .where = where,
                        .data = bytes + 8 + n_header,
                        .n_data = n - 8 - (size_t)n_header,
                        .bytes = with_bytes };
    TLP_TRY(read_header(&r, (const char *)bytes + 8, (size_t)n_header));
    *out = s;
    s = NULL;
done:
    tlpi_safetensors_close(s);
    return st;
}

tlp_status tlpi_safetensors_open(tlpi_safetensors **out, const tlpi_env *env,
                                 const void *image, size_t n, const char *where)
{
    return open_image(out, env, image, n, where, false);
}

tlp_status tlpi_safetensors_open_bytes(tlpi_safetensors **out,
                                       const tlpi_env *env, const void *image,
                                       size_t n, const char *where)
{
    return open_image(out, env, image, n, where, true);
}

void tlpi_safetensors_close(tlpi_safetensors *s)
{
    if (!s)
        return;
    tlpi_free(s->env, s->tensor);
    tlpi_free(s->env, s->meta);
    tlpi_free(s->env, s->text);
    tlpi_free(s->env, s);
}

const char *tlpi_safetensors_get(const tlpi_safetensors *s, const char *key)
{
    for (size_t i = 0; i < s->n_meta; i++) {
        if (strcmp(s->meta[i].key, key) == 0)
            return s->meta[i].value;
    }
    return NULL;
}

tlp_status tlpi_safetensors_check_finite(const tlpi_tensor *t,
                                         const char *where)
{
    size_t n = t->n_bytes / (size_t)tlpi_dtype_get(t->type)->size;
    const uint16_t *half = t->data;
    const float *single = t->data;

    for (size_t i = 0; i < n; i++) {
        if (t->type == TLPI_F16 ? (half[i] & 0x7c00) == 0x7c00
                                : !isfinite(single[i]))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: element %zu is not a finite "
                             "number",
                             where, t->name, i);
    }
    return TLP_OK;
}

/* ==== laying out ========================================================= */

static const char *type_name(tlpi_dtype type)
{
    for (size_t i = 0; i < TLPI_COUNT(types); i++) {
        if (types[i].type == type)
            return types[i].name;
    }
    return "?";
}

/* Write the entries of one element size; *n_data is their data offset. */
static tlp_status add_parts(tlpi_text *header, tlpi_safetensors_part *part,
                            size_t n, int size, size_t *n_data)
{
    for (size_t i = 0; i < n; i++) {
        tlpi_safetensors_part *p = &part[i];
        if (size_of(p->type) != (size_t)size)
            continue;
        p->n_bytes = (size_t)size;
        for (int j = 0; j < p->n_dim; j++) {
            if (!tlpi_mul(p->n_bytes, (size_t)p->ne[j], &p->n_bytes))
                return tlpi_fail_nomem_for("an adjustment file");
        }
        size_t end;
        if (!tlpi_add(*n_data, p->n_bytes, &end))
            return tlpi_fail_nomem_for("an adjustment file");
        bool first = header->failed || header->data[header->len - 1] == '{';
        tlpi_text_printf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                         first ? "" : ",", p->name, type_name(p->type));
        for (int j = p->n_dim - 1; j >= 0; j--)
            tlpi_text_printf(header, "%" PRId64 "%s", p->ne[j], j ? "," : "");
        tlpi_text_printf(header, "],\"data_offsets\":[%zu,%zu]}", *n_data, end);
        *n_data = end;
    }
    return TLP_OK;
}

static void add_value(tlpi_text *header, const char *value)
{
    tlpi_text_add(header, "\"", 1);
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            tlpi_text_add(header, "\\", 1);
        tlpi_text_add(header, c, 1);
    }
    tlpi_text_add(header, "\"", 1);
}

static void add_meta(tlpi_text *header, const tlpi_safetensors_meta *meta,
                     size_t n)
{
    tlpi_text_printf(header, "\"" META_KEY "\":{");
    for (size_t i = 0; i < n; i++) {
        tlpi_text_printf(header, "%s\"%s\":", i ? "," : "", meta[i].key);
        add_value(header, meta[i].value);
    }
    tlpi_text_printf(header, "}");
}

static void set_data(tlpi_safetensors_part *part, size_t n, int size,
                     uint8_t **at)
{
    for (size_t i = 0; i < n; i++) {
        if (size_of(part[i].type) != (size_t)size)
            continue;
        part[i].data = *at;
        *at += part[i].n_bytes;
    }
}

/* Pad the header with spaces, as the format allows. */
static void pad(tlpi_text *header)
{
    while (!header->failed && header->len % DATA_ALIGNMENT != 0)
        tlpi_text_add(header, " ", 1);
}

/* Element sizes in the order of the data. */
static const int sizes[] = { 4, 2, 1 };

tlp_status tlpi_safetensors_header(tlpi_text *header,
                                   tlpi_safetensors_part *part, size_t n,
                                   const tlpi_safetensors_meta *meta,
                                   size_t n_meta, size_t *n_data)
{
    static const char no_size[8] = { 0 };
    tlp_status st = TLP_OK;

    *n_data = 0;
    tlpi_text_add(header, no_size, sizeof(no_size));
    tlpi_text_printf(header, "{");
    if (n_meta > 0)
        add_meta(header, meta, n_meta);
    for (size_t i = 0; i < TLPI_COUNT(sizes); i++)
        TLP_TRY(add_parts(header, part, n, sizes[i], n_data));
    tlpi_text_printf(header, "}");
    pad(header);
    if (header->failed)
        TLP_TRY(tlpi_fail_nomem_for("the header of a file of tensors"));
    for (int i = 0; i < 8; i++)
        header->data[i] = (char)((uint64_t)(header->len - 8) >> (8 * i));
done:
    return st;
}

tlp_status tlpi_safetensors_lay_out(const tlpi_env *env,
                                    tlpi_safetensors_part *part, size_t n,
                                    const tlpi_safetensors_meta *meta,
                                    size_t n_meta, void **image,
                                    size_t *n_image)
{
    tlpi_text header = { .env = env };
    size_t n_data = 0, total = 0;
    tlp_status st;

    *image = NULL;
    TLP_TRY(tlpi_safetensors_header(&header, part, n, meta, n_meta, &n_data));
    if (!tlpi_add(header.len, n_data, &total))
        TLP_TRY(tlpi_fail_nomem_for("an adjustment file"));
    uint8_t *bytes = tlpi_alloc(env, total);
    if (!bytes)
        TLP_TRY(tlpi_fail_nomem_for("an adjustment file"));
    memcpy(bytes, header.data, header.len);
    uint8_t *at = bytes + header.len;
    for (size_t i = 0; i < TLPI_COUNT(sizes); i++)
        set_data(part, n, sizes[i], &at);
    *image = bytes;
    *n_image = total;
done:
    tlpi_text_free(&header);
    return st;
}
