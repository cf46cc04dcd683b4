/*
 * schema_apart.c - can a value match two schemas?  Where the answer is not
 * certain, it may.
 */
#include <string.h>

#include "grammar/schema.h"

/* Schemas inside schemas that are looked at. */
enum { MAX_LOOK = 4 };

/* The values of an enumeration, or NULL. */
static const json_t *values_of(const json_t *schema, size_t *n, bool *list)
{
    const json_t *one = json_object_get(schema, "const");
    const json_t *all = json_object_get(schema, "enum");

    *list = !one;
    *n = one ? 1 : json_array_size(all);
    return one ? one : all;
}

static const json_t *value_at(const json_t *values, bool list, size_t i)
{
    return list ? json_array_get(values, i) : values;
}

static bool values_apart(const json_t *a, const json_t *b)
{
    size_t na, nb;
    bool la, lb;
    const json_t *va = values_of(a, &na, &la), *vb = values_of(b, &nb, &lb);

    if (!va || !vb)
        return false;
    for (size_t i = 0; i < na; i++)
        for (size_t k = 0; k < nb; k++) {
            const json_t *x = value_at(va, la, i), *y = value_at(vb, lb, k);
            if (json_equal(x, y) ||
                (json_is_number(x) && json_is_number(y) &&
                 json_number_value(x) == json_number_value(y)))
                return false;
        }
    return true;
}

/* Types of the values that a schema may match. */
static unsigned types_of(tlpi_schema *s, const json_t *schema)
{
    unsigned types = TLPI_JSON_ANY, seen = 0;
    size_t n;
    bool list;
    const json_t *values = values_of(schema, &n, &list);

    /* Without the keyword, other types match too. */
    if (json_object_get(schema, "type") &&
        tlpi_schema_types(s, schema, &types) != TLP_OK)
        return TLPI_JSON_ANY;
    for (size_t i = 0; values && i < n; i++)
        seen |= tlpi_json_type(value_at(values, list, i));
    if (seen & (TLPI_JSON_INTEGER | TLPI_JSON_NUMBER))
        seen |= TLPI_JSON_INTEGER | TLPI_JSON_NUMBER;
    if (types & TLPI_JSON_INTEGER) /* 1.0 is an integer */
        types |= TLPI_JSON_NUMBER;
    return values ? types & seen : types;
}

static bool requires(const json_t *schema, const char *key)
{
    const json_t *list = json_object_get(schema, "required");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && strcmp(name, key) == 0)
            return true;
    }
    return false;
}

/* Objects that differ in a property: both require it, and its schemas are
 * apart; or one requires it, and the other forbids it. */
static bool properties_apart(tlpi_schema *s, json_t *a, json_t *b, int depth)
{
    json_t *list = json_object_get(a, "required");
    json_t *in_a = json_object_get(a, "properties");
    json_t *in_b = json_object_get(b, "properties");
    bool closed = json_is_false(json_object_get(b, "additionalProperties"));

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *key = json_string_value(json_array_get(list, i));
        json_t *x = key ? json_object_get(in_a, key) : NULL;
        json_t *y = key ? json_object_get(in_b, key) : NULL;
        if (key && !y && closed)
            return true;
        if (x && y && requires(b, key) && tlpi_schema_apart(s, x, y, depth + 1))
            return true;
    }
    return false;
}

/* Are all branches of a apart from b? */
static bool branches_apart(tlpi_schema *s, json_t *a, json_t *b, int depth)
{
    json_t *any = json_object_get(a, "anyOf");
    json_t *list = any ? any : json_object_get(a, "oneOf");
    bool apart = json_array_size(list) > 0;

    for (size_t i = 0; i < json_array_size(list) && apart; i++)
        apart = tlpi_schema_apart(s, json_array_get(list, i), b, depth + 1);
    return apart;
}

bool tlpi_schema_apart(tlpi_schema *s, json_t *a, json_t *b, int depth)
{
    if (depth > MAX_LOOK || tlpi_schema_resolve(s, a, &a) != TLP_OK ||
        tlpi_schema_resolve(s, b, &b) != TLP_OK)
        return false;
    if (json_is_boolean(a) || json_is_boolean(b))
        return json_is_false(a) || json_is_false(b);
    if (!(types_of(s, a) & types_of(s, b)) || values_apart(a, b))
        return true;
    if (types_of(s, a) == TLPI_JSON_OBJECT &&
        types_of(s, b) == TLPI_JSON_OBJECT &&
        (properties_apart(s, a, b, depth) || properties_apart(s, b, a, depth)))
        return true;
    return branches_apart(s, a, b, depth) || branches_apart(s, b, a, depth);
}
