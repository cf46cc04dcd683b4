/*
 * serve_constraint.c - what a client's text must match: response_format of
 * OpenAI, grammar and json_schema of llama-server, guided_... and
 * structured_outputs of vLLM.
 */
#include "serve_constraint.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "memo.h"

#define BAD MHD_HTTP_BAD_REQUEST

/* A grammar's text, and the field that it comes from. */
typedef struct constraint {
    const char *field; /* NULL: the text is free */
    shelf_kind kind;
    memo text;
    api_error *error;
} constraint;

/* Note that `name` constrains the text. */
static bool begin(constraint *c, const char *name, shelf_kind kind)
{
    if (c->field)
        return api_fail(c->error, BAD, name, "too_many",
                        "%s: %s constrains the text already", name, c->field);
    c->field = name;
    c->kind = kind;
    return true;
}

static bool wrong(constraint *c, const char *name, const json_t *value,
                  const char *expected)
{
    return api_fail(c->error, BAD, name, "invalid_type", "%s: %s, %s expected",
                    name, value ? json_kind(value) : "absent", expected);
}

static bool take_schema(constraint *c, const char *name, const json_t *schema)
{
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return wrong(c, name, schema, "a JSON schema");
    if (!begin(c, name, SHELF_SCHEMA))
        return false;
    char *text = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);

    if (!text)
        return api_fail_memory(c->error);
    fputs(text, c->text.file);
    free(text);
    return true;
}

/* The field's value is the text itself. */
static bool take_text(constraint *c, const char *name, shelf_kind kind,
                      const json_t *value)
{
    if (!begin(c, name, kind))
        return false;
    fputs(json_string_value(value), c->text.file);
    return true;
}

/* vLLM also takes the text of a schema. */
static bool take_schema_or_text(constraint *c, const char *name,
                                const json_t *value)
{
    return json_is_string(value) ? take_text(c, name, SHELF_SCHEMA, value)
                                 : take_schema(c, name, value);
}

static bool take_gbnf(constraint *c, const char *name, const json_t *value)
{
    return json_is_string(value)
               ? take_text(c, name, SHELF_GBNF, value)
               : wrong(c, name, value, "the text of a grammar");
}

/* ==== one of some texts ================================================== */

/* A text as a literal of GBNF. */
static void quote(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            fputc('\\', out);
        if (*at == '\n')
            fputs("\\n", out);
        else if (*at == '\r')
            fputs("\\r", out);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

static bool take_choice(constraint *c, const char *name, const json_t *array)
{
    size_t n = json_array_size(array);

    if (n == 0)
        return wrong(c, name, array, "an array of texts");
    if (!begin(c, name, SHELF_GBNF))
        return false;
    fputs("root ::= ", c->text.file);
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(array, i);

        if (!json_is_string(text) || json_string_length(text) == 0)
            return api_fail(c->error, BAD, name, "invalid_type",
                            "%s: element %zu is %s, a text expected", name, i,
                            json_is_string(text) ? "an empty text"
                                                 : json_kind(text));
        if (i > 0)
            fputs(" | ", c->text.file);
        quote(c->text.file, json_string_value(text));
    }
    return true;
}

/* ==== the fields ========================================================= */

/* An object with no keys but those of `known`; NULL ends them. */
static bool has_only(constraint *c, const char *name, const json_t *object,
                     const char *const *known)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        (void)value;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return api_fail(c->error, BAD, name, "unknown_field",
                            "%s: the server does not know its key %.40s", name,
                            key);
    }
    return true;
}

/* {"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}; strict
 * or not, the schema holds. */
static bool take_named_schema(constraint *c, const json_t *named)
{
    static const char *const known[] = { "name", "description", "schema",
                                         "strict", NULL };

    if (!json_is_object(named))
        return wrong(c, "response_format.json_schema", named, "an object");
    return has_only(c, "response_format.json_schema", named, known) &&
           take_schema(c, "response_format.json_schema.schema",
                       json_object_get(named, "schema"));
}

/* llama-server also takes a schema beside json_object. */
static bool take_object(constraint *c, const json_t *schema)
{
    if (schema)
        return take_schema(c, "response_format.schema", schema);
    if (!begin(c, "response_format", SHELF_SCHEMA))
        return false;
    fputs("{\"type\":\"object\"}", c->text.file);
    return true;
}

static bool read_format(constraint *c, fields *f)
{
    static const char *const known[] = { "type", "schema", "json_schema",
                                         NULL };
    const json_t *format = field(f, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    const json_t *schema = json_object_get(format, "schema");
    const json_t *named = json_object_get(format, "json_schema");

    if (!format)
        return true;
    if (!type)
        return wrong(c, "response_format", format, "an object with a type");
    if (!has_only(c, "response_format", format, known))
        return false;
    if (!strcmp(type, "text") && !schema && !named)
        return true;
    if (!strcmp(type, "json_object") && !named)
        return take_object(c, schema);
    if (!strcmp(type, "json_schema") && !schema)
        return take_named_schema(c, named);
    return api_fail(c->error, BAD, "response_format", "unsupported",
                    "response_format: type %.40s: text, json_object or "
                    "json_schema with its own schema expected",
                    type);
}

typedef struct constraint_row {
    const char *field, *key; /* of the request; of structured_outputs */
    bool (*take)(constraint *c, const char *name, const json_t *value);
} constraint_row;

static const constraint_row rows[] = {
    { "grammar", NULL, take_gbnf },
    { "json_schema", NULL, take_schema },
    { "guided_json", "json", take_schema_or_text },
    { "guided_grammar", "grammar", take_gbnf },
    { "guided_choice", "choice", take_choice },
};

#define N_ROW (sizeof rows / sizeof rows[0])

/* llama-server's clients send an empty grammar for none. */
static bool is_empty(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) == 0;
}

static bool read_rows(constraint *c, fields *f)
{
    for (size_t i = 0; i < N_ROW; i++) {
        const json_t *value = field(f, rows[i].field);

        if (value && !is_empty(value) && !rows[i].take(c, rows[i].field, value))
            return false;
    }
    return field_refuse(f, "guided_regex",
                        "a pattern of a JSON schema, or a grammar, expected");
}

static bool read_structured(constraint *c, fields *f)
{
    static const char *const known[] = { "json", "grammar", "choice", NULL };
    const json_t *object = field(f, "structured_outputs");

    if (!object)
        return true;
    if (!json_is_object(object))
        return wrong(c, "structured_outputs", object, "an object");
    if (!has_only(c, "structured_outputs", object, known))
        return false;
    for (size_t i = 0; i < N_ROW; i++) {
        const json_t *value =
            rows[i].key ? json_object_get(object, rows[i].key) : NULL;

        if (value && !json_is_null(value) &&
            !rows[i].take(c, "structured_outputs", value))
            return false;
    }
    return true;
}

/* The grammar of the fields' text; NULL if the text is free. */
static bool open_grammar(shelf_grammar **out, const constraint *c, shelf *s,
                         tlp_model *model)
{
    if (!c->field)
        return true;
    *out = shelf_take(s, model, c->kind, c->text.text, c->text.n, c->error);
    if (!*out && c->error->status == BAD)
        snprintf(c->error->param, sizeof c->error->param, "%s", c->field);
    return *out != NULL;
}

bool constraint_read(shelf_grammar **out, fields *f, shelf *s, tlp_model *model)
{
    constraint c = { .error = f->error };

    *out = NULL;
    if (!memo_open(&c.text))
        return api_fail_memory(f->error);
    bool fine =
        read_format(&c, f) && read_rows(&c, f) && read_structured(&c, f);
    if (!memo_close(&c.text))
        return api_fail_memory(f->error);
    fine = fine && open_grammar(out, &c, s, model);
    free(c.text.text);
    return fine;
}
