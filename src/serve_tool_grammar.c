/*
 * serve_tool_grammar.c - the grammar that makes a model write a call of a tool
 * in its form, with arguments by the tool's schema.
 */
#include <ctype.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "memo.h"
#include "serve_tools.h"

#define BAD MHD_HTTP_BAD_REQUEST

/* ==== the schema of a call =============================================== */

/* The schema of a call of one tool; NULL when out of memory. */
static json_t *schema_of_call(const tools *t, json_t *function)
{
    const char *key = t->form == TOOL_FORM_BARE ? "parameters" : "arguments";
    json_t *parameters = json_object_get(function, "parameters");

    return json_pack("{s:s, s:{s:{s:O}, s:o}, s:[s, s], s:b}", "type", "object",
                     "properties", "name", "const",
                     json_object_get(function, "name"), key,
                     parameters ? json_incref(parameters)
                                : json_pack("{s:s}", "type", "object"),
                     "required", "name", key, "additionalProperties", 0);
}

/* The text of a schema of a call; NULL when out of memory. */
static char *schema_text(const tools *t, const char *name)
{
    json_t *any = json_array(), *schema;
    char *text = NULL;

    for (size_t i = 0; i < json_array_size(t->list); i++) {
        const char *is;
        json_t *f = tools_function(t, i, &is);

        if (f && (!name || strcmp(is, name) == 0) &&
            json_array_append_new(any, schema_of_call(t, f)) != 0) {
            json_decref(any);
            return NULL;
        }
    }
    schema = json_pack("{s:o}", "anyOf", any);
    if (schema)
        text = json_dumps(schema, JSON_COMPACT);
    json_decref(schema);
    return text;
}

/* The text of a grammar; NULL when out of memory. */
static char *grammar_text(const tlp_grammar *g)
{
    size_t n = 0;
    char *text = NULL;
    tlp_status st = tlp_grammar_get_text(NULL, 0, &n, g);

    if (st == TLP_EBUFS && (text = malloc(n + 1)) != NULL)
        st = tlp_grammar_get_text(text, n + 1, &n, g);
    if (st == TLP_OK)
        return text;
    free(text);
    return NULL;
}

/* A schema's grammar begins with the rule "root", which no rule uses: between
 * two texts, which stand in quotes, it becomes the rule "call". */
static shelf_grammar *between(const char *before, const tlp_grammar *call,
                              const char *behind, shelf *s, tlp_model *model,
                              api_error *error)
{
    static const char root[] = "root ::=";
    char *text = grammar_text(call);
    shelf_grammar *g = NULL;
    memo m;

    if (!text || strncmp(text, root, strlen(root)) != 0 || !memo_open(&m)) {
        free(text);
        api_fail_memory(error);
        return NULL;
    }
    fprintf(m.file, "root ::= \"%s\" call \"%s\"\ncall ::=%s", before, behind,
            text + strlen(root));
    free(text);
    if (memo_close(&m))
        g = shelf_take(s, model, SHELF_GBNF, m.text, m.n, error);
    else
        api_fail_memory(error);
    free(m.text);
    return g;
}

/* The grammar of a schema, between two texts unless `before` is NULL. */
static shelf_grammar *frame(const char *before, char *schema,
                            const char *behind, shelf *s, tlp_model *model,
                            api_error *error)
{
    if (!schema) {
        api_fail_memory(error);
        return NULL;
    }
    shelf_grammar *call =
        shelf_take(s, model, SHELF_SCHEMA, schema, strlen(schema), error);

    free(schema);
    if (!call || !before)
        return call;

    shelf_grammar *g =
        between(before, shelf_open(call), behind, s, model, error);

    shelf_give(s, call);
    return g;
}

/* ==== the name in front ================================================== */

/* The name of the one tool that may be called; NULL: *error says why. */
static const char *only_name(const tools *t, const char *name, api_error *error)
{
    if (!name && json_array_size(t->list) == 1)
        (void)tools_function(t, 0, &name);
    if (!name) {
        api_fail(error, BAD, "tool_choice", "unsupported",
                 "tool_choice: this model's form of calls needs the name of "
                 "one function");
        return NULL;
    }
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) {
            api_fail(error, BAD, "tools", "unsupported",
                     "tools: %.80s: letters, digits, _, - and . expected",
                     name);
            return NULL;
        }
    return name;
}

static shelf_grammar *named_call(const tools *t, const char *name, shelf *s,
                                 tlp_model *model, api_error *error)
{
    char before[256];
    const json_t *schema;

    name = only_name(t, name, error);
    if (!name)
        return NULL;
    if (strlen(name) > 128) {
        api_fail(error, BAD, "tools", "unsupported",
                 "tools: %.80s...: at most 128 bytes expected", name);
        return NULL;
    }
    snprintf(before, sizeof before, "[TOOL_CALLS]%s[ARGS]", name);
    schema = tools_schema(t, name);
    return frame(before,
                 schema ? json_dumps(schema, JSON_COMPACT)
                        : strdup("{\"type\":\"object\"}"),
                 "", s, model, error);
}

/* ==== forms ============================================================== */

shelf_grammar *tools_grammar(const tools *t, const char *name, shelf *s,
                             tlp_model *model, api_error *error)
{
    switch (t->form) {
    case TOOL_FORM_TAGS:
        return frame("<tool_call>\\n", schema_text(t, name), "\\n</tool_call>",
                     s, model, error);
    case TOOL_FORM_LIST:
        return frame("[TOOL_CALLS][", schema_text(t, name), "]", s, model,
                     error);
    case TOOL_FORM_ARGS:
        return named_call(t, name, s, model, error);
    case TOOL_FORM_BARE:
        return frame(NULL, schema_text(t, name), NULL, s, model, error);
    case TOOL_FORM_XML:
    case TOOL_FORM_CHANNELS:
        api_fail(error, BAD, "tool_choice", "unsupported",
                 "tool_choice: no grammar constrains calls in the form of this "
                 "model (%s): auto or none expected",
                 t->form == TOOL_FORM_XML ? "XML" : "channels");
        return NULL;
    default:
        api_fail(error, BAD, "tool_choice", "unsupported",
                 "tool_choice: how the model writes calls is unknown");
        return NULL;
    }
}
