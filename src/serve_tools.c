/*
 * serve_tools.c - calls of tools in the texts of models.
 *
 * Only what a client can rely on becomes a call: JSON of the right form, with
 * the name of a tool that the request has.  Any other text stays content.
 */
#include "serve_tools.h"

#include <stdlib.h>
#include <string.h>

#include "channels.h"
#include "serve_tool_text.h"

#define BLANKS " \t\r\n"

/* ==== the form =========================================================== */

static tool_form form_of(const char *template)
{
    if (channels_are_of(template))
        return TOOL_FORM_CHANNELS;
    if (strstr(template, "[TOOL_CALLS]"))
        return strstr(template, "[ARGS]") ? TOOL_FORM_ARGS : TOOL_FORM_LIST;
    if (strstr(template, "<function=") && strstr(template, "<parameter="))
        return TOOL_FORM_XML;
    /* Other models write another kind of XML between these tags. */
    if (strstr(template, "<tool_call>") && strstr(template, "arguments") &&
        !strstr(template, "<function=") && !strstr(template, "<arg_key>"))
        return TOOL_FORM_TAGS;
    if (strstr(template, "\"parameters\"") && strstr(template, "ipython"))
        return TOOL_FORM_BARE;
    return TOOL_FORM_NONE;
}

tool_form tool_form_of(const engine *e)
{
    size_t n = 0;
    char *text = engine_get_meta(e, "tokenizer.chat_template.tool_use", &n);
    tool_form form = TOOL_FORM_NONE;

    if (!text)
        text = engine_get_meta(e, "tokenizer.chat_template", &n);
    if (!text)
        return form;
    form = form_of(text);
    free(text);
    return form;
}

json_t *tools_function(const tools *t, size_t i, const char **name)
{
    json_t *f = json_object_get(json_array_get(t->list, i), "function");

    *name = json_string_value(json_object_get(f, "name"));
    return *name ? f : NULL;
}

static json_t *find_function(const tools *t, const char *name)
{
    const char *is;

    for (size_t i = 0; i < json_array_size(t->list); i++) {
        json_t *f = tools_function(t, i, &is);

        if (f && strcmp(is, name) == 0)
            return f;
    }
    return NULL;
}

bool tools_has(const tools *t, const char *name)
{
    return find_function(t, name) != NULL;
}

const json_t *tools_schema(const tools *t, const char *name)
{
    return json_object_get(find_function(t, name), "parameters");
}

bool tools_special(const tools *t)
{
    return t->list && (t->form == TOOL_FORM_LIST || t->form == TOOL_FORM_ARGS);
}

/* ==== texts ============================================================== */

/* How a form is read, and the words with which calls begin; none: a '{' at the
 * beginning of the text. */
static const struct {
    tool_reader read;
    const char *mark[2];
} forms[] = {
    [TOOL_FORM_TAGS] = { tool_read_tags, { "<tool_call>" } },
    [TOOL_FORM_BARE] = { tool_read_bare, { NULL } },
    [TOOL_FORM_LIST] = { tool_read_list, { "[TOOL_CALLS]" } },
    [TOOL_FORM_ARGS] = { tool_read_args, { "[TOOL_CALLS]" } },
    [TOOL_FORM_XML] = { tool_read_xml, { "<tool_call>", "<function=" } },
    [TOOL_FORM_CHANNELS] = { NULL, { NULL } },
};

static bool is_read(const tools *t)
{
    return t->list && forms[t->form].read;
}

/* Is text[at, n) the beginning of a call's first word, or the word itself, or,
 * with `whole`, at least the word? */
static bool is_mark(const tools *t, const char *text, size_t n, size_t at,
                    bool whole)
{
    for (int i = 0; i < 2 && forms[t->form].mark[i]; i++) {
        const char *mark = forms[t->form].mark[i];
        size_t len = strlen(mark);

        if (n - at < len && whole)
            continue;
        if (memcmp(text + at, mark, n - at < len ? n - at : len) == 0)
            return true;
    }
    return false;
}

/* Where calls may begin from `at` on; n: nowhere. */
static size_t first_call(const tools *t, const char *text, size_t n, size_t at,
                         bool whole)
{
    while (at < n && !is_mark(t, text, n, at, whole))
        at++;
    return at;
}

/* Where calls may begin in a complete text. */
static size_t begin_of_calls(const tools *t, const char *text, size_t n)
{
    tool_text x = { .text = text, .n = n };

    if (!is_read(t))
        return n;
    if (forms[t->form].mark[0])
        return first_call(t, text, n, 0, true);
    tool_text_blanks(&x);
    return x.at < n && text[x.at] == '{' ? x.at : n;
}

/* The end of text[from, at) without the blanks at its end. */
static size_t skip_back(const char *text, size_t from, size_t at)
{
    while (at > from && text[at - 1] && strchr(BLANKS, text[at - 1]))
        at--;
    return at;
}

bool tools_read(tool_calls *out, const tools *t, const char *text, size_t n)
{
    tool_text x = { .t = t, .text = text, .n = n };

    *out = (tool_calls){ .n_content = n };
    x.at = begin_of_calls(t, text, n);
    if (x.at == n)
        return true;
    size_t begin = x.at;

    x.calls = json_array();
    if (!x.calls)
        return false;
    if (!forms[t->form].read(&x)) {
        json_decref(x.calls);
        return true;
    }
    out->call = x.calls;
    out->n_content = skip_back(text, 0, begin);
    return true;
}

size_t tools_certain(const tools *t, const char *text, size_t n, size_t shown)
{
    tool_text x = { .text = text, .n = n, .at = shown };

    if (!is_read(t))
        return n;
    if (forms[t->form].mark[0]) /* the word, or an end that may become it */
        return skip_back(text, shown, first_call(t, text, n, shown, false));
    tool_text_blanks(&x);
    return shown == 0 && (x.at == n || text[x.at] == '{') ? 0 : n;
}
