/*
 * serve_tool_text.c - calls of tools that are JSON: in tags, alone, and behind
 * Mistral's words.
 */
#include "serve_tool_text.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

/* ==== words ============================================================== */

bool tool_text_word(tool_text *x, const char *word)
{
    size_t len = strlen(word);

    if (x->n - x->at < len || memcmp(x->text + x->at, word, len) != 0)
        return false;
    x->at += len;
    return true;
}

void tool_text_blanks(tool_text *x)
{
    while (x->at < x->n && x->text[x->at] && strchr(BLANKS, x->text[x->at]))
        x->at++;
}

size_t tool_text_find(const tool_text *x, const char *word)
{
    const char *at = memmem(x->text + x->at, x->n - x->at, word, strlen(word));

    return at ? (size_t)(at - x->text) : x->n;
}

/* ==== calls ============================================================== */

bool tool_text_add(tool_text *x, const char *name, const json_t *arguments)
{
    char *text;
    bool fine;

    if (!name || !tools_has(x->t, name) || !json_is_object(arguments))
        return false;
    text = json_dumps(arguments, JSON_COMPACT);
    fine = text &&
           json_array_append_new(x->calls, json_pack("{s:s, s:s}", "name", name,
                                                     "arguments", text)) == 0;
    free(text);
    return fine;
}

/* The JSON value that comes next, which the caller decrefs; NULL: none. */
static json_t *take_json(tool_text *x)
{
    json_error_t e;
    json_t *o = json_loadb(x->text + x->at, x->n - x->at,
                           JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &e);

    if (o)
        x->at += (size_t)e.position;
    return o;
}

/* An object with a name and arguments, and nothing else but an id where the
 * form has one. */
static bool add_object(tool_text *x, const json_t *o, const char *key, bool id)
{
    size_t n = id && json_is_string(json_object_get(o, "id")) ? 3 : 2;

    return json_object_size(o) == n &&
           tool_text_add(x, json_string_value(json_object_get(o, "name")),
                         json_object_get(o, key));
}

static bool read_object(tool_text *x, const char *key)
{
    json_t *o = take_json(x);
    bool fine = add_object(x, o, key, false);

    json_decref(o);
    return fine;
}

/* ==== forms ============================================================== */

bool tool_read_bare(tool_text *x)
{
    bool fine = read_object(x, "parameters");

    tool_text_blanks(x);
    return fine && x->at == x->n;
}

bool tool_read_tags(tool_text *x)
{
    while (x->at < x->n) {
        if (!tool_text_word(x, "<tool_call>"))
            return false;
        tool_text_blanks(x);
        if (!read_object(x, "arguments"))
            return false;
        tool_text_blanks(x);
        if (x->at < x->n && !tool_text_word(x, "</tool_call>"))
            return false; /* an end of the text may come before the tag */
        tool_text_blanks(x);
    }
    return true;
}

bool tool_read_list(tool_text *x)
{
    bool fine = tool_text_word(x, "[TOOL_CALLS]");

    tool_text_blanks(x);
    json_t *list = fine ? take_json(x) : NULL;

    fine = json_array_size(list) > 0;
    for (size_t i = 0; fine && i < json_array_size(list); i++)
        fine = add_object(x, json_array_get(list, i), "arguments", true);
    json_decref(list);
    tool_text_blanks(x);
    return fine && x->at == x->n;
}

/* "name[ARGS]{...}", or "name[CALL_ID]id[ARGS]{...}". */
static bool read_named(tool_text *x)
{
    size_t args = tool_text_find(x, "[ARGS]"),
           id = tool_text_find(x, "[CALL_ID]");
    size_t end = id < args ? id : args;
    char *name = strndup(x->text + x->at, end - x->at);
    bool fine = name && args < x->n;

    x->at = args;
    json_t *o = fine && tool_text_word(x, "[ARGS]") ? take_json(x) : NULL;

    fine = tool_text_add(x, name, o);
    json_decref(o);
    free(name);
    return fine;
}

bool tool_read_args(tool_text *x)
{
    while (x->at < x->n) {
        if (!tool_text_word(x, "[TOOL_CALLS]") || !read_named(x))
            return false;
        tool_text_blanks(x);
    }
    return true;
}
