/*
 * schema.c - write the rules of a schema: from the list of subschemas to GBNF.
 */
#include "grammar/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"

/* ==== failures, names ==================================================== */

tlp_status tlpi_schema_fail(const tlpi_schema *s, tlp_status status,
                            const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(text, sizeof text, fmt, args);
    va_end(args);
    return tlpi_fail(status, "schema: %.128s: %s", s->where, text);
}

static tlp_status fail_nomem(void)
{
    return tlpi_fail_nomem_for("a grammar of a schema");
}

/* The name of a rule: letters of the last part of its place, and its number. */
static void write_name(tlpi_schema *s, size_t id)
{
    const char *where = s->rule[id].where, *last = strrchr(where, '/');
    char name[48];
    size_t n = 0;

    if (id == 0) {
        tlpi_text_add(&s->out, "root", 4);
        return;
    }
    for (last = last ? last + 1 : where; *last && n < 32; last++)
        if ((*last >= 'a' && *last <= 'z') || (*last >= 'A' && *last <= 'Z'))
            name[n++] = *last;
    tlpi_text_printf(&s->out, "%.*s-%zu", (int)n, name, id);
}

/* The place of a subschema: "PLACE/key", or "PLACE/key/name". */
static char *make_place(const tlpi_schema *s, const char *key, const char *name)
{
    tlpi_text t = { .env = s->env };

    tlpi_text_printf(&t, "%.400s/%.64s", s->where, key);
    if (name)
        tlpi_text_printf(&t, "/%.64s", name);
    if (t.failed)
        tlpi_text_free(&t);
    return t.data;
}

/* The number of a schema's rule, which may be new; `where` is taken over. */
static tlp_status add_rule(tlpi_schema *s, json_t *schema, char *where,
                           size_t *id)
{
    int32_t row[sizeof schema / sizeof(int32_t)];
    size_t before = s->seen.n;

    if (!where)
        return fail_nomem();
    if (s->n_rule == s->cap_rule) {
        size_t cap = s->cap_rule ? 2 * s->cap_rule : 32;
        tlpi_schema_rule *rule =
            tlpi_realloc_array(s->env, s->rule, cap, sizeof *rule);
        if (!rule) {
            tlpi_free(s->env, where);
            return fail_nomem();
        }
        s->rule = rule;
        s->cap_rule = cap;
    }
    memcpy(row, &schema, sizeof schema);
    int32_t found = tlpi_intern(&s->seen, row, TLPI_COUNT(row));
    if (found >= 0 && (size_t)found == before)
        s->rule[s->n_rule++] = (tlpi_schema_rule){ schema, where };
    else
        tlpi_free(s->env, where);
    *id = (size_t)found;
    return found >= 0 ? TLP_OK : fail_nomem();
}

tlp_status tlpi_schema_ref(tlpi_schema *s, json_t *schema, const char *key,
                           const char *name)
{
    size_t id = 0;
    tlp_status st = add_rule(s, schema, make_place(s, key, name), &id);

    if (st == TLP_OK)
        write_name(s, id);
    return st;
}

tlp_status tlpi_schema_ref_at(tlpi_schema *s, json_t *schema, const char *key,
                              int64_t index)
{
    char name[24];

    tlpi_snprintf(name, sizeof name, "%lld", (long long)index);
    return tlpi_schema_ref(s, schema, key, name);
}

json_t *tlpi_schema_keep(tlpi_schema *s, json_t *made)
{
    return made && json_array_append_new(s->made, made) == 0 ? made : NULL;
}

/* ==== values ============================================================= */

void tlpi_schema_literal(tlpi_schema *s, const char *text, size_t n)
{
    tlpi_text_add(&s->out, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            tlpi_text_printf(&s->out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            tlpi_text_printf(&s->out, "\\x%02X", c);
        else
            tlpi_text_add(&s->out, text + i, 1);
    }
    tlpi_text_add(&s->out, "\"", 1);
}

/* The shortest text that is read as the value. */
static char *dump_value(const json_t *value)
{
    for (size_t digits = 15;; digits++) {
        char *text = tlpi_json_dump(value, JSON_ENCODE_ANY | JSON_COMPACT |
                                               JSON_REAL_PRECISION(digits));
        json_t *again = text && digits < 17 ? tlpi_json_parse(text) : NULL;
        bool same = !again || json_equal(again, value);
        json_decref(again);
        if (!text || digits == 17 || (again && same))
            return text;
        free(text);
    }
}

tlp_status tlpi_schema_value(tlpi_schema *s, const json_t *value)
{
    char *text = dump_value(value);

    if (!text)
        return fail_nomem();
    tlpi_schema_literal(s, text, strlen(text));
    free(text);
    return TLP_OK;
}

unsigned tlpi_json_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return TLPI_JSON_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return TLPI_JSON_BOOLEAN;
    case JSON_INTEGER:
        return TLPI_JSON_INTEGER;
    case JSON_REAL:
        return TLPI_JSON_NUMBER;
    case JSON_STRING:
        return TLPI_JSON_STRING;
    case JSON_ARRAY:
        return TLPI_JSON_ARRAY;
    default:
        return TLPI_JSON_OBJECT;
    }
}

tlp_status tlpi_schema_count(const tlpi_schema *s, const json_t *schema,
                             const char *key, int64_t *out)
{
    const json_t *v = json_object_get(schema, key);

    if (!v)
        return TLP_OK;
    double real = json_number_value(v);
    if (!json_is_number(v) || real < 0 || real > INT32_MAX ||
        (double)(int64_t)real != real)
        return tlpi_schema_fail(s, TLP_EFORMAT,
                                "keyword %s: an integer from 0 to %d expected",
                                key, INT32_MAX);
    *out = (int64_t)real;
    return TLP_OK;
}

/* ==== one schema ========================================================= */

/* Keywords besides notes and those named. */
static bool has_more(const json_t *schema, const char *but, const char *also)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)schema, key,
                        value) if (!tlpi_schema_is_note(key) &&
                                   strcmp(key, but) != 0 &&
                                   strcmp(key, also) != 0) return true;
    return false;
}

/* The values of an enumeration that have one of the types. */
static tlp_status write_enum(tlpi_schema *s, json_t *schema, unsigned types)
{
    json_t *list = json_object_get(schema, "enum");
    json_t *one = json_object_get(schema, "const");
    size_t n = one ? 1 : json_array_size(list), written = 0;
    tlp_status st = TLP_OK;

    if (has_more(schema, one ? "const" : "enum", "type"))
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "keyword %s beside keywords other than type",
                                one ? "const" : "enum");
    for (size_t i = 0; i < n; i++) {
        json_t *value = one ? one : json_array_get(list, i);
        if (!(tlpi_json_type(value) & types))
            continue;
        tlpi_text_add(&s->out, " | ", written++ > 0 ? 3 : 0);
        TLP_TRY(tlpi_schema_value(s, value));
    }
    if (written == 0)
        st = tlpi_schema_fail(s, TLP_EINVAL, "no value matches");
done:
    return st;
}

/* anyOf, oneOf: the schema without the keyword, merged with each branch. */
static tlp_status write_branches(tlpi_schema *s, json_t *schema,
                                 const char *key)
{
    json_t *list = json_object_get(schema, key), *rest = json_copy(schema);
    size_t n = json_array_size(list);
    bool more = has_more(schema, key, key);
    tlp_status st = TLP_OK;

    if (!tlpi_schema_keep(s, rest) || json_object_del(rest, key) != 0)
        return fail_nomem();
    if (strcmp(key, "oneOf") == 0)
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < i; k++)
                if (!tlpi_schema_apart(s, json_array_get(list, i),
                                       json_array_get(list, k), 0))
                    return tlpi_schema_fail(s, TLP_ENOTSUP,
                                            "keyword oneOf: a value may match "
                                            "both %zu and %zu: anyOf expected",
                                            k, i);
    for (size_t i = 0; i < n; i++) {
        json_t *branch = json_array_get(list, i);
        if (more)
            TLP_TRY(tlpi_schema_merge(s, rest, branch, &branch));
        tlpi_text_add(&s->out, " | ", i > 0 ? 3 : 0);
        TLP_TRY(tlpi_schema_ref_at(s, branch, key, (int64_t)i));
    }
done:
    return st;
}

static tlp_status write_type(tlpi_schema *s, json_t *schema, unsigned type)
{
    switch (type) {
    case TLPI_JSON_NULL:
        tlpi_text_add(&s->out, "\"null\"", 6);
        return TLP_OK;
    case TLPI_JSON_BOOLEAN:
        tlpi_text_printf(&s->out, "\"true\" | \"false\"");
        return TLP_OK;
    case TLPI_JSON_INTEGER:
        return tlpi_schema_integer(s, schema);
    case TLPI_JSON_NUMBER:
        return tlpi_schema_number(s, schema);
    case TLPI_JSON_STRING:
        return tlpi_schema_string(s, schema);
    case TLPI_JSON_ARRAY:
        return tlpi_schema_array(s, schema);
    default:
        return tlpi_schema_object(s, schema);
    }
}

static tlp_status write_types(tlpi_schema *s, json_t *schema, unsigned types)
{
    bool first = true;

    if (types == TLPI_JSON_ANY) {
        tlpi_schema_base(s, TLPI_BASE_VALUE);
        return TLP_OK;
    }
    if (types & TLPI_JSON_NUMBER)
        types &= ~(unsigned)TLPI_JSON_INTEGER;
    for (unsigned type = 1; type <= TLPI_JSON_OBJECT; type *= 2) {
        if (!(types & type))
            continue;
        tlpi_text_add(&s->out, " | ", first ? 0 : 3);
        tlp_status st = write_type(s, schema, type);
        if (st != TLP_OK)
            return st;
        first = false;
    }
    return first ? tlpi_schema_fail(s, TLP_EINVAL, "no value matches") : TLP_OK;
}

/* A reference alone is the rule that it names; all else is merged first. */
static tlp_status write_reference(tlpi_schema *s, json_t *schema)
{
    const char *pointer = json_string_value(json_object_get(schema, "$ref"));
    json_t *target = NULL;
    size_t id = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_schema_find(s, pointer, &target));
    TLP_TRY(add_rule(s, target, tlpi_strndup(s->env, pointer, strlen(pointer)),
                     &id));
    write_name(s, id);
done:
    return st;
}

/* What a schema matches, behind "name ::= ". */
static tlp_status write_schema(tlpi_schema *s, json_t *schema)
{
    unsigned types = 0;
    tlp_status st = TLP_OK;

    if (json_is_true(schema)) {
        tlpi_schema_base(s, TLPI_BASE_VALUE);
        return TLP_OK;
    }
    if (json_is_false(schema))
        return tlpi_schema_fail(s, TLP_EINVAL, "false: no value matches");
    TLP_TRY(tlpi_schema_check(s, schema));
    if (json_object_get(schema, "$ref") && !has_more(schema, "$ref", "$ref"))
        return write_reference(s, schema);
    TLP_TRY(tlpi_schema_resolve(s, schema, &schema));
    if (json_is_boolean(schema))
        return write_schema(s, schema);
    if (json_object_get(schema, "anyOf"))
        return write_branches(s, schema, "anyOf");
    if (json_object_get(schema, "oneOf"))
        return write_branches(s, schema, "oneOf");
    TLP_TRY(tlpi_schema_types(s, schema, &types));
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return write_enum(s, schema, types);
    st = write_types(s, schema, types);
done:
    return st;
}

/* ==== all ================================================================ */

static tlp_status write_rules(tlpi_schema *s)
{
    size_t root = 0;
    tlp_status st = add_rule(s, s->root, tlpi_strndup(s->env, "#", 1), &root);

    for (size_t i = 0; i < s->n_rule && st == TLP_OK; i++) {
        s->where = s->rule[i].where;
        write_name(s, i);
        tlpi_text_add(&s->out, " ::= ", 5);
        st = write_schema(s, s->rule[i].schema);
        tlpi_text_add(&s->out, "\n", 1);
        tlpi_text_add(&s->out, s->side.data ? s->side.data : "", s->side.len);
        s->side.len = 0;
        if (st == TLP_OK && s->out.len > TLPI_SCHEMA_MAX_BYTES)
            st = tlpi_schema_fail(s, TLP_ENOTSUP,
                                  "the grammar has more than %d bytes",
                                  TLPI_SCHEMA_MAX_BYTES);
    }
    if (st == TLP_OK)
        st = tlpi_schema_write_base(s);
    return st == TLP_OK && (s->out.failed || s->side.failed) ? fail_nomem()
                                                             : st;
}

static tlp_status read_schema(json_t **out, const char *json, size_t n)
{
    json_error_t error;
    tlp_status st = TLP_OK;

    if (n > TLPI_SCHEMA_MAX_BYTES)
        return tlpi_fail(TLP_ENOTSUP, "schema: %zu bytes, at most %d expected",
                         n, TLPI_SCHEMA_MAX_BYTES);
    TLP_TRY(tlpi_json_check_depth("schema", json, n, TLPI_SCHEMA_MAX_DEPTH));
    *out = tlpi_json_load(json, n, JSON_DECODE_ANY, &error);
    if (!*out)
        st = tlpi_fail(TLP_EFORMAT, "schema: line %d: %s", error.line,
                       error.text);
done:
    return st;
}

tlp_status tlpi_schema_convert(char **out, size_t *n, const tlpi_env *env,
                               const char *json, size_t n_json)
{
    tlpi_schema s = { .env = env,
                      .out = { .env = env },
                      .side = { .env = env },
                      .seen = { .env = env },
                      .where = "#" };
    tlp_status st = TLP_OK;

    *out = NULL;
    *n = 0;
    TLP_TRY(read_schema(&s.root, json, n_json));
    s.made = json_array();
    TLP_TRY(s.made ? TLP_OK : fail_nomem());
    TLP_TRY(write_rules(&s));
    *out = s.out.data;
    *n = s.out.len;
    s.out = (tlpi_text){ .env = env };
done:
    for (size_t i = 0; i < s.n_rule; i++)
        tlpi_free(env, s.rule[i].where);
    tlpi_free(env, s.rule);
    tlpi_interner_free(&s.seen);
    tlpi_text_free(&s.out);
    tlpi_text_free(&s.side);
    json_decref(s.made);
    json_decref(s.root);
    return st;
}
