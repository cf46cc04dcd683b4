/*
 * serve_fields.c - the fields of a request's JSON object.
 */
#include "serve_fields.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define BAD MHD_HTTP_BAD_REQUEST

bool fields_open(fields *f, const char *text, size_t n, api_error *error)
{
    json_error_t e;

    *f = (fields){ .error = error };
    if (n == 0)
        return api_fail(error, BAD, NULL, NULL,
                        "the body is empty: a JSON object expected");
    f->root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!f->root)
        return api_fail(error, BAD, NULL, "invalid_json",
                        "the body is no JSON: line %d, column %d: %s", e.line,
                        e.column, e.text);
    if (!json_is_object(f->root))
        return api_fail(error, BAD, NULL, NULL,
                        "the body is %s: a JSON object expected",
                        json_kind(f->root));
    return true;
}

void fields_close(fields *f)
{
    json_decref(f->root);
    f->root = NULL;
}

const char *json_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

json_t *field(fields *f, const char *name)
{
    json_t *value = json_object_get(f->root, name);

    if (f->n_seen < sizeof f->seen / sizeof f->seen[0])
        f->seen[f->n_seen++] = name;
    return json_is_null(value) ? NULL : value;
}

static bool wrong_type(fields *f, const char *name, const json_t *value,
                       const char *expected)
{
    return api_fail(f->error, BAD, name, "invalid_type", "%s: %s, %s expected",
                    name, json_kind(value), expected);
}

bool field_int(fields *f, const char *name, int64_t lo, int64_t hi,
               int64_t *out)
{
    const json_t *value = field(f, name);

    if (!value)
        return true;
    if (!json_is_integer(value))
        return wrong_type(f, name, value, "an integer");
    *out = json_integer_value(value);
    if (*out < lo || *out > hi)
        return api_fail(f->error, BAD, name, "out_of_range",
                        "%s: %lld is outside %lld to %lld", name,
                        (long long)*out, (long long)lo, (long long)hi);
    return true;
}

bool field_i32(fields *f, const char *name, int32_t lo, int32_t hi,
               int32_t *out)
{
    int64_t value = *out;

    if (!field_int(f, name, lo, hi, &value))
        return false;
    *out = (int32_t)value;
    return true;
}

bool field_real(fields *f, const char *name, double lo, double hi, float *out)
{
    const json_t *value = field(f, name);

    if (!value)
        return true;
    if (!json_is_number(value))
        return wrong_type(f, name, value, "a number");
    double x = json_number_value(value);
    if (!(x >= lo && x <= hi))
        return api_fail(f->error, BAD, name, "out_of_range",
                        "%s: %g is outside %g to %g", name, x, lo, hi);
    *out = (float)x;
    return true;
}

bool field_flag(fields *f, const char *name, bool *out)
{
    const json_t *value = field(f, name);

    if (!value)
        return true;
    if (!json_is_boolean(value))
        return wrong_type(f, name, value, "true or false");
    *out = json_is_true(value);
    return true;
}

bool field_text(fields *f, const char *name, const char **out)
{
    const json_t *value = field(f, name);

    if (!value)
        return true;
    if (!json_is_string(value))
        return wrong_type(f, name, value, "a string");
    *out = json_string_value(value);
    return true;
}

bool field_json(fields *f, const char *name, json_type type, char **out)
{
    const json_t *value = field(f, name);

    *out = NULL;
    if (!value)
        return true;
    if (json_typeof(value) != type)
        return wrong_type(f, name, value,
                          type == JSON_ARRAY ? "an array" : "an object");
    *out = json_dumps(value, JSON_COMPACT);
    return *out ? true : api_fail_memory(f->error);
}

bool field_tokens(fields *f, const char *name, const json_t *array, size_t max,
                  int32_t n_vocab, int32_t **out, size_t *n)
{
    *n = json_array_size(array);
    if (*n > max)
        return api_fail(f->error, BAD, name, "too_many",
                        "%s: %zu tokens, at most %zu expected", name, *n, max);
    *out = malloc((*n + 1) * sizeof **out);
    if (!*out)
        return api_fail_memory(f->error);
    for (size_t i = 0; i < *n; i++) {
        const json_t *id = json_array_get(array, i);

        if (!json_is_integer(id))
            return api_fail(f->error, BAD, name, "invalid_type",
                            "%s: element %zu is %s, a token id expected", name,
                            i, json_kind(id));
        if (json_integer_value(id) < 0 || json_integer_value(id) >= n_vocab)
            return api_fail(f->error, BAD, name, "out_of_range",
                            "%s: token id %lld is outside 0 to %d", name,
                            (long long)json_integer_value(id), n_vocab - 1);
        (*out)[i] = (int32_t)json_integer_value(id);
    }
    return true;
}

void field_ignore(fields *f, const char *name)
{
    (void)field(f, name);
}

bool field_refuse(fields *f, const char *name, const char *why)
{
    return !field(f, name) || api_fail(f->error, BAD, name, "unsupported",
                                       "%s: not supported: %s", name, why);
}

static bool was_seen(const fields *f, const char *name)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (!strcmp(f->seen[i], name))
            return true;
    return false;
}

bool fields_done(fields *f)
{
    const char *name;
    json_t *value;

    json_object_foreach(f->root, name, value)
    {
        if (!json_is_null(value) && !was_seen(f, name))
            return api_fail(f->error, BAD, name, "unknown_field",
                            "%s: the server does not know this field", name);
    }
    return true;
}
