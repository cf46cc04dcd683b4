/*
 * schema_merge.c - references, and several schemas as one (allOf).
 */
#include <string.h>

#include "grammar/schema.h"

/* References and branches that may stand inside each other. */
enum { MAX_NESTED = 32 };

static tlp_status fail_nomem(void)
{
    return tlpi_fail_nomem_for("a grammar of a schema");
}

/* ==== references ========================================================= */

/* The next part of a pointer, with ~0, ~1 and %XX read, into key. */
static bool next_part(const char **at, char *key, size_t cap)
{
    const char *p = *at;
    size_t n = 0;

    for (; *p && *p != '/'; p++) {
        char c = *p;
        if (c == '~' && (p[1] == '0' || p[1] == '1'))
            c = *++p == '0' ? '~' : '/';
        if (n + 1 == cap)
            return false;
        key[n++] = c;
    }
    key[n] = '\0';
    *at = p;
    return true;
}

static json_t *step(json_t *at, const char *key)
{
    size_t index = 0;

    if (!json_is_array(at))
        return json_object_get(at, key);
    for (const char *c = key; *c; c++) {
        if (*c < '0' || *c > '9' || index > INT32_MAX)
            return NULL;
        index = index * 10 + (size_t)(*c - '0');
    }
    return *key ? json_array_get(at, index) : NULL;
}

tlp_status tlpi_schema_find(const tlpi_schema *s, const char *pointer,
                            json_t **out)
{
    json_t *at = s->root;
    const char *p = pointer + 1;
    char key[256];

    if (pointer[0] != '#' || (*p && *p != '/') || strchr(pointer, '%'))
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "keyword $ref: \"%.64s\", \"#/...\" expected",
                                pointer);
    while (at && *p == '/') {
        p++;
        if (!next_part(&p, key, sizeof key))
            return tlpi_schema_fail(s, TLP_ENOTSUP,
                                    "keyword $ref: a name of more than %zu "
                                    "bytes",
                                    sizeof key - 1);
        at = step(at, key);
    }
    if (!at || !(json_is_object(at) || json_is_boolean(at)))
        return tlpi_schema_fail(s, TLP_EINVAL,
                                "keyword $ref: \"%.64s\" is no schema of this "
                                "text",
                                pointer);
    *out = at;
    return TLP_OK;
}

static tlp_status resolve(tlpi_schema *s, json_t *schema, int depth,
                          json_t **out);

/* schema without a keyword. */
static tlp_status without(tlpi_schema *s, json_t *schema, const char *key,
                          json_t **out)
{
    *out = tlpi_schema_keep(s, json_copy(schema));
    return *out && json_object_del(*out, key) == 0 ? TLP_OK : fail_nomem();
}

static tlp_status resolve(tlpi_schema *s, json_t *schema, int depth,
                          json_t **out)
{
    json_t *ref = json_object_get(schema, "$ref"), *part = NULL, *rest = NULL;
    json_t *all = json_object_get(schema, "allOf");
    tlp_status st = TLP_OK;

    *out = schema;
    if (!json_is_object(schema) || (!ref && !all))
        return TLP_OK;
    if (depth == MAX_NESTED)
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "references and allOf nested deeper than %d, "
                                "or in a circle",
                                MAX_NESTED);
    TLP_TRY(tlpi_schema_check(s, schema));
    TLP_TRY(without(s, schema, ref ? "$ref" : "allOf", &rest));
    if (ref) {
        TLP_TRY(tlpi_schema_find(s, json_string_value(ref), &part));
        TLP_TRY(resolve(s, part, depth + 1, &part));
        TLP_TRY(tlpi_schema_merge(s, part, rest, &rest));
    }
    for (size_t i = 0; !ref && i < json_array_size(all); i++) {
        TLP_TRY(resolve(s, json_array_get(all, i), depth + 1, &part));
        TLP_TRY(tlpi_schema_merge(s, rest, part, &rest));
    }
    st = resolve(s, rest, depth + 1, out);
done:
    return st;
}

tlp_status tlpi_schema_resolve(tlpi_schema *s, json_t *schema, json_t **out)
{
    return resolve(s, schema, 0, out);
}

/* ==== merging ============================================================ */

static tlp_status set(json_t *out, const char *key, json_t *value)
{
    return value && json_object_set_new(out, key, value) == 0 ? TLP_OK
                                                              : fail_nomem();
}

/* {"allOf": [a, b]} */
static json_t *both(json_t *a, json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

/* Types of both lists, by name. */
static tlp_status merge_types(tlpi_schema *s, json_t *out, const json_t *a,
                              const json_t *b)
{
    static const char *const names[] = { "null",   "boolean", "integer",
                                         "number", "string",  "array",
                                         "object" };
    unsigned ta = 0, tb = 0;
    json_t *list = json_array();
    tlp_status st = TLP_OK;

    TLP_TRY(list ? TLP_OK : fail_nomem());
    TLP_TRY(tlpi_schema_types(s, a, &ta));
    TLP_TRY(tlpi_schema_types(s, b, &tb));
    if (!(ta & tb))
        TLP_TRY(tlpi_schema_fail(s, TLP_EINVAL,
                                 "allOf: two types that no value has both"));
    for (size_t i = 0; i < TLPI_COUNT(names); i++)
        if (ta & tb & 1u << i)
            TLP_TRY(json_array_append_new(list, json_string(names[i])) == 0
                        ? TLP_OK
                        : fail_nomem());
    return set(out, "type", list);
done:
    json_decref(list);
    return st;
}

/* Values of both lists. */
static tlp_status merge_values(json_t *out, const char *key, const json_t *a,
                               const json_t *b, bool either)
{
    json_t *list = either ? json_copy((json_t *)a) : json_array();

    for (size_t i = 0; list && i < json_array_size(b); i++) {
        json_t *value = json_array_get(b, i);
        bool in_a = false;
        for (size_t k = 0; k < json_array_size(a); k++)
            in_a = in_a || json_equal(json_array_get(a, k), value);
        if (in_a != either && json_array_append(list, value) != 0)
            break;
    }
    return set(out, key, list);
}

static tlp_status merge_properties(json_t *out, json_t *a, json_t *b)
{
    json_t *all = json_copy(a), *value;
    const char *key;

    json_object_foreach(b, key, value)
    {
        json_t *old = json_object_get(a, key);
        if (!all || json_object_set_new(
                        all, key, old ? both(old, value) : json_incref(value)))
            break;
    }
    return set(out, "properties", all);
}

/* The tighter of two bounds. */
static json_t *tighter(json_t *a, json_t *b, bool least)
{
    return json_incref(
        (json_number_value(a) > json_number_value(b)) == least ? a : b);
}

/* A keyword that both schemas have with different values. */
static tlp_status merge_keyword(tlpi_schema *s, json_t *out, const char *key,
                                json_t *a, json_t *b)
{
    static const char *const least[] = { "minimum", "exclusiveMinimum",
                                         "minLength", "minItems" };
    static const char *const most[] = { "maximum", "exclusiveMaximum",
                                        "maxLength", "maxItems" };

    for (size_t i = 0; i < TLPI_COUNT(least); i++) {
        if (strcmp(key, least[i]) == 0)
            return set(out, key, tighter(a, b, true));
        if (strcmp(key, most[i]) == 0)
            return set(out, key, tighter(a, b, false));
    }
    if (strcmp(key, "required") == 0)
        return merge_values(out, key, a, b, true);
    if (strcmp(key, "enum") == 0)
        return merge_values(out, key, a, b, false);
    if (strcmp(key, "properties") == 0)
        return merge_properties(out, a, b);
    if (strcmp(key, "additionalProperties") == 0 ||
        (strcmp(key, "items") == 0 && !json_is_array(a) && !json_is_array(b)))
        return set(out, key,
                   json_is_false(a) || json_is_false(b) ? json_false()
                                                        : both(a, b));
    return tlpi_schema_fail(s, TLP_ENOTSUP,
                            "two schemas with different values of keyword "
                            "%.64s",
                            key);
}

/* May b have properties that a does not name?  Then a's additionalProperties
 * are about them. */
static bool restricts(const json_t *a, json_t *b)
{
    json_t *other = json_object_get(a, "additionalProperties"), *value;
    json_t *mine = json_object_get(a, "properties");
    const char *key;

    if (!other || json_is_true(other))
        return false;
    json_object_foreach(json_object_get(b, "properties"), key,
                        value) if (!json_object_get(mine, key)) return true;
    return false;
}

static tlp_status merge_objects(tlpi_schema *s, json_t *a, json_t *b,
                                json_t *out)
{
    const char *key;
    json_t *value;
    tlp_status st = TLP_OK;

    if (restricts(a, b) || restricts(b, a))
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "keyword additionalProperties of one schema "
                                "beside other properties of another");
    json_object_foreach(b, key, value)
    {
        json_t *old = json_object_get(a, key);

        if (tlpi_schema_is_note(key))
            continue;
        if (strcmp(key, "type") == 0 && old)
            TLP_TRY(merge_types(s, out, a, b));
        else if (!old || json_equal(old, value))
            TLP_TRY(set(out, key, json_incref(value)));
        else
            TLP_TRY(merge_keyword(s, out, key, old, value));
    }
done:
    return st;
}

tlp_status tlpi_schema_merge(tlpi_schema *s, json_t *a, json_t *b, json_t **out)
{
    tlp_status st = TLP_OK;

    if (json_is_boolean(a) || json_is_boolean(b)) {
        *out = json_is_true(a) ? b : json_is_true(b) ? a : json_false();
        return TLP_OK;
    }
    TLP_TRY(tlpi_schema_check(s, a));
    TLP_TRY(tlpi_schema_check(s, b));
    if (json_object_get(b, "$ref") || json_object_get(b, "allOf"))
        TLP_TRY(tlpi_schema_resolve(s, b, &b));
    if (json_is_boolean(b))
        return tlpi_schema_merge(s, a, b, out);
    json_t *made = tlpi_schema_keep(s, json_copy(a));
    TLP_TRY(made ? TLP_OK : fail_nomem());
    TLP_TRY(merge_objects(s, a, b, made));
    *out = made;
done:
    return st;
}
