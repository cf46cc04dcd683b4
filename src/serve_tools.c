/*
 * serve_tools.c - calls of tools in the texts of models.
 *
 * Only what a client can rely on becomes a call: JSON of the right form, with
 * the name of a tool that the request has.  Any other text stays content.
 */
#include "serve_tools.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "memo.h"

#define OPEN_TAG "<tool_call>"
#define CLOSE_TAG "</tool_call>"
#define BLANKS " \t\r\n"

/* ==== the form =========================================================== */

tool_form tool_form_of(const engine *e)
{
    size_t n = 0;
    char *text = engine_get_meta(e, "tokenizer.chat_template.tool_use", &n);
    tool_form form = TOOL_FORM_NONE;

    if (!text)
        text = engine_get_meta(e, "tokenizer.chat_template", &n);
    if (!text)
        return form;
    /* Some models write XML between these tags. */
    if (strstr(text, OPEN_TAG) && strstr(text, "arguments") &&
        !strstr(text, "<function=") && !strstr(text, "<arg_key>"))
        form = TOOL_FORM_TAGS;
    else if (strstr(text, "\"parameters\"") && strstr(text, "ipython"))
        form = TOOL_FORM_BARE;
    free(text);
    return form;
}

static const char *arguments_key(tool_form form)
{
    return form == TOOL_FORM_BARE ? "parameters" : "arguments";
}

/* The i-th tool's function, and its name; NULL without a name. */
static json_t *function_at(const tools *t, size_t i, const char **name)
{
    json_t *f = json_object_get(json_array_get(t->list, i), "function");

    *name = json_string_value(json_object_get(f, "name"));
    return *name ? f : NULL;
}

bool tools_has(const tools *t, const char *name)
{
    const char *is;

    for (size_t i = 0; i < json_array_size(t->list); i++)
        if (function_at(t, i, &is) && strcmp(is, name) == 0)
            return true;
    return false;
}

/* ==== a grammar ========================================================== */

/* The schema of a call of one tool; NULL when out of memory. */
static json_t *schema_of_call(const tools *t, json_t *function)
{
    const char *key = arguments_key(t->form);
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
        json_t *f = function_at(t, i, &is);

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
 * the tags it becomes the rule "call". */
static shelf_grammar *between_tags(const tlp_grammar *call, shelf *s,
                                   tlp_model *model, api_error *error)
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
    fprintf(m.file,
            "root ::= \"" OPEN_TAG "\\n\" call \"\\n" CLOSE_TAG
            "\"\ncall ::=%s",
            text + strlen(root));
    free(text);
    if (memo_close(&m))
        g = shelf_take(s, model, SHELF_GBNF, m.text, m.n, error);
    else
        api_fail_memory(error);
    free(m.text);
    return g;
}

shelf_grammar *tools_grammar(const tools *t, const char *name, shelf *s,
                             tlp_model *model, api_error *error)
{
    char *text = schema_text(t, name);

    if (!text) {
        api_fail_memory(error);
        return NULL;
    }
    shelf_grammar *call =
        shelf_take(s, model, SHELF_SCHEMA, text, strlen(text), error);
    free(text);
    if (!call || t->form != TOOL_FORM_TAGS)
        return call;

    shelf_grammar *g = between_tags(shelf_open(call), s, model, error);

    shelf_give(s, call);
    return g;
}

/* ==== texts ============================================================== */

static size_t skip(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] && strchr(BLANKS, text[at]))
        at++;
    return at;
}

/* The end of text[from, at) without the blanks at its end. */
static size_t skip_back(const char *text, size_t from, size_t at)
{
    while (at > from && text[at - 1] && strchr(BLANKS, text[at - 1]))
        at--;
    return at;
}

static bool begins(const char *text, size_t n, size_t at, const char *word)
{
    size_t len = strlen(word);

    return n - at >= len && memcmp(text + at, word, len) == 0;
}

/* Add the call at text[*at], and go behind it.  False: there is none. */
static bool add_call(json_t *calls, const tools *t, const char *text, size_t n,
                     size_t *at)
{
    json_error_t e;
    json_t *o = json_loadb(text + *at, n - *at,
                           JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &e);
    const char *name = json_string_value(json_object_get(o, "name"));
    json_t *arguments = json_object_get(o, arguments_key(t->form));
    bool fine = json_is_object(arguments) && json_object_size(o) == 2 && name &&
                tools_has(t, name);

    if (fine) {
        char *dump = json_dumps(arguments, JSON_COMPACT);

        fine = dump && json_array_append_new(
                           calls, json_pack("{s:s, s:s}", "name", name,
                                            "arguments", dump)) == 0;
        free(dump);
        *at += (size_t)e.position;
    }
    json_decref(o);
    return fine;
}

/* All calls from text[at] to the end. */
static bool add_calls(json_t *calls, const tools *t, const char *text, size_t n,
                      size_t at)
{
    if (t->form == TOOL_FORM_BARE)
        return add_call(calls, t, text, n, &at) && skip(text, n, at) == n;
    while (at < n) {
        if (!begins(text, n, at, OPEN_TAG))
            return false;
        at = skip(text, n, at + strlen(OPEN_TAG));
        if (!add_call(calls, t, text, n, &at))
            return false;
        at = skip(text, n, at);
        if (at < n && !begins(text, n, at, CLOSE_TAG))
            return false; /* an end of the text may come before the tag */
        at = at < n ? skip(text, n, at + strlen(CLOSE_TAG)) : n;
    }
    return true;
}

/* Where calls may begin; n: nowhere. */
static size_t first_call(const tools *t, const char *text, size_t n)
{
    if (t->form == TOOL_FORM_BARE) {
        size_t at = skip(text, n, 0);
        return at < n && text[at] == '{' ? at : n;
    }
    for (size_t at = 0; at < n; at++)
        if (begins(text, n, at, OPEN_TAG))
            return at;
    return n;
}

bool tools_read(tool_calls *out, const tools *t, const char *text, size_t n)
{
    size_t at =
        t->list && t->form != TOOL_FORM_NONE ? first_call(t, text, n) : n;

    *out = (tool_calls){ .n_content = n };
    if (at == n)
        return true;
    out->call = json_array();
    if (!out->call)
        return false;
    if (!add_calls(out->call, t, text, n, at)) {
        json_decref(out->call);
        out->call = NULL;
        return true;
    }
    out->n_content = skip_back(text, 0, at);
    return true;
}

size_t tools_certain(const tools *t, const char *text, size_t n, size_t shown)
{
    size_t at = skip(text, n, shown);

    if (!t->list || t->form == TOOL_FORM_NONE)
        return n;
    if (t->form == TOOL_FORM_BARE)
        return shown == 0 && (at == n || text[at] == '{') ? 0 : n;
    /* the place of the tag, or of an end that may become one */
    for (at = shown; at < n; at++) {
        size_t len = n - at < strlen(OPEN_TAG) ? n - at : strlen(OPEN_TAG);
        if (memcmp(text + at, OPEN_TAG, len) == 0)
            break;
    }
    return skip_back(text, shown, at);
}
