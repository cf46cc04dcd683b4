/*
 * schema_check.c - the keywords of a schema: those that the library knows,
 * those that change nothing, and the shapes of their values.
 */
#include <string.h>

#include "grammar/schema.h"

typedef enum shape {
    SHAPE_NOTE, /* changes nothing */
    SHAPE_TYPE,
    SHAPE_VALUE,
    SHAPE_VALUES,  /* an array of at least one value */
    SHAPE_SCHEMA,  /* an object or a boolean */
    SHAPE_SCHEMAS, /* an array of at least one schema */
    SHAPE_MAP,     /* an object of schemas */
    SHAPE_ITEMS,   /* a schema, or an array of schemas */
    SHAPE_NAMES,   /* an array of strings */
    SHAPE_NUMBER,
    SHAPE_STRING,
    SHAPE_FALSE /* false alone changes nothing */
} shape;

typedef struct keyword {
    const char *name;
    shape shape;
    unsigned types; /* that it is about; 0: any */
} keyword;

#define NUMBERS (TLPI_JSON_INTEGER | TLPI_JSON_NUMBER)

static const keyword keywords[] = {
    { "type", SHAPE_TYPE, 0 },
    { "enum", SHAPE_VALUES, 0 },
    { "const", SHAPE_VALUE, 0 },
    { "anyOf", SHAPE_SCHEMAS, 0 },
    { "oneOf", SHAPE_SCHEMAS, 0 },
    { "allOf", SHAPE_SCHEMAS, 0 },
    { "$ref", SHAPE_STRING, 0 },
    { "properties", SHAPE_MAP, TLPI_JSON_OBJECT },
    { "required", SHAPE_NAMES, TLPI_JSON_OBJECT },
    { "additionalProperties", SHAPE_SCHEMA, TLPI_JSON_OBJECT },
    { "prefixItems", SHAPE_SCHEMAS, TLPI_JSON_ARRAY },
    { "items", SHAPE_ITEMS, TLPI_JSON_ARRAY },
    { "minItems", SHAPE_NUMBER, TLPI_JSON_ARRAY },
    { "maxItems", SHAPE_NUMBER, TLPI_JSON_ARRAY },
    { "minLength", SHAPE_NUMBER, TLPI_JSON_STRING },
    { "maxLength", SHAPE_NUMBER, TLPI_JSON_STRING },
    { "pattern", SHAPE_STRING, TLPI_JSON_STRING },
    { "format", SHAPE_STRING, TLPI_JSON_STRING },
    { "minimum", SHAPE_NUMBER, NUMBERS },
    { "maximum", SHAPE_NUMBER, NUMBERS },
    { "exclusiveMinimum", SHAPE_NUMBER, NUMBERS },
    { "exclusiveMaximum", SHAPE_NUMBER, NUMBERS },
    { "uniqueItems", SHAPE_FALSE, 0 },
    { "unevaluatedProperties", SHAPE_FALSE, TLPI_JSON_OBJECT },
    { "$defs", SHAPE_NOTE, 0 },
    { "definitions", SHAPE_NOTE, 0 },
    { "$schema", SHAPE_NOTE, 0 },
    { "$id", SHAPE_NOTE, 0 },
    { "$comment", SHAPE_NOTE, 0 },
    { "title", SHAPE_NOTE, 0 },
    { "description", SHAPE_NOTE, 0 },
    { "default", SHAPE_NOTE, 0 },
    { "examples", SHAPE_NOTE, 0 },
    { "example", SHAPE_NOTE, 0 },
    { "deprecated", SHAPE_NOTE, 0 },
    { "readOnly", SHAPE_NOTE, 0 },
    { "writeOnly", SHAPE_NOTE, 0 },
    { "contentEncoding", SHAPE_NOTE, 0 },
    { "contentMediaType", SHAPE_NOTE, 0 },
    { "discriminator", SHAPE_NOTE, 0 },
};

static const struct {
    const char *name;
    unsigned type;
} types_by_name[] = {
    { "null", TLPI_JSON_NULL },
    { "boolean", TLPI_JSON_BOOLEAN },
    { "integer", TLPI_JSON_INTEGER },
    { "number", TLPI_JSON_NUMBER | TLPI_JSON_INTEGER },
    { "string", TLPI_JSON_STRING },
    { "array", TLPI_JSON_ARRAY },
    { "object", TLPI_JSON_OBJECT },
};

static const keyword *find(const char *key)
{
    for (size_t i = 0; i < TLPI_COUNT(keywords); i++)
        if (strcmp(keywords[i].name, key) == 0)
            return &keywords[i];
    return NULL;
}

bool tlpi_schema_is_note(const char *key)
{
    const keyword *k = find(key);

    return k && (k->shape == SHAPE_NOTE || k->shape == SHAPE_FALSE);
}

/* ==== types ============================================================== */

static unsigned type_of_name(const json_t *name)
{
    for (size_t i = 0; i < TLPI_COUNT(types_by_name); i++)
        if (json_is_string(name) &&
            strcmp(json_string_value(name), types_by_name[i].name) == 0)
            return types_by_name[i].type;
    return 0;
}

tlp_status tlpi_schema_types(const tlpi_schema *s, const json_t *schema,
                             unsigned *types)
{
    json_t *type = json_object_get(schema, "type"), *value;
    size_t n = json_is_array(type) ? json_array_size(type) : 1;
    const char *key;

    *types = 0;
    if (!type) {
        /* Keywords that are about a type mean that type. */
        json_object_foreach((json_t *)schema, key, value) *types |=
            find(key) ? find(key)->types : 0;
        if (*types == 0)
            *types = TLPI_JSON_ANY;
        return TLP_OK;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned one =
            type_of_name(json_is_array(type) ? json_array_get(type, i) : type);
        if (one == 0)
            return tlpi_schema_fail(s, TLP_EFORMAT,
                                    "keyword type: one of null, boolean, "
                                    "integer, number, string, array and object "
                                    "expected, or a list of them");
        *types |= one;
    }
    return *types ? TLP_OK
                  : tlpi_schema_fail(s, TLP_EINVAL,
                                     "keyword type: an empty list, which no "
                                     "value matches");
}

/* ==== shapes ============================================================= */

static bool is_schema(const json_t *v)
{
    return json_is_object(v) || json_is_boolean(v);
}

static bool all_schemas(const json_t *list)
{
    bool all = json_array_size(list) > 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        all = all && is_schema(json_array_get(list, i));
    return all;
}

static bool all_strings(const json_t *list)
{
    bool all = json_is_array(list);

    for (size_t i = 0; i < json_array_size(list); i++)
        all = all && json_is_string(json_array_get(list, i));
    return all;
}

static bool is_map(json_t *map)
{
    bool all = json_is_object(map);
    const char *key;
    json_t *value;

    json_object_foreach(map, key, value) all = all && is_schema(value);
    return all;
}

/* What is expected instead; NULL if the value has the shape. */
static const char *misshapen(shape want, json_t *v)
{
    switch (want) {
    case SHAPE_VALUES:
        return json_array_size(v) > 0 ? NULL : "an array of values";
    case SHAPE_SCHEMA:
        return is_schema(v) ? NULL : "a schema";
    case SHAPE_SCHEMAS:
        return all_schemas(v) ? NULL : "an array of schemas";
    case SHAPE_MAP:
        return is_map(v) ? NULL : "an object of schemas";
    case SHAPE_ITEMS:
        return is_schema(v) || all_schemas(v) ? NULL : "a schema";
    case SHAPE_NAMES:
        return all_strings(v) ? NULL : "an array of strings";
    case SHAPE_NUMBER:
        return json_is_number(v) ? NULL : "a number";
    case SHAPE_STRING:
        return json_is_string(v) ? NULL : "a string";
    default:
        return NULL;
    }
}

tlp_status tlpi_schema_check(const tlpi_schema *s, const json_t *schema)
{
    const char *key;
    json_t *value;

    if (!json_is_object(schema))
        return tlpi_schema_fail(s, TLP_EFORMAT,
                                "an object or a boolean expected");
    json_object_foreach((json_t *)schema, key, value)
    {
        const keyword *k = find(key);
        const char *want = k ? misshapen(k->shape, value) : NULL;

        if (!k || (k->shape == SHAPE_FALSE && !json_is_false(value)))
            return tlpi_schema_fail(s, TLP_ENOTSUP,
                                    "keyword %.64s: not supported", key);
        if (want)
            return tlpi_schema_fail(s, TLP_EFORMAT, "keyword %s: %s expected",
                                    key, want);
    }
    return TLP_OK;
}
