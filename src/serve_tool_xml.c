/*
 * serve_tool_xml.c - calls of tools as Qwen3-Coder writes them:
 *
 *     <tool_call>
 *     <function=NAME>
 *     <parameter=KEY>
 *     value
 *     </parameter>
 *     </function>
 *     </tool_call>
 *
 * A value is text.  The schema of its parameter tells what it stands for.
 */
#include <stdlib.h>
#include <string.h>

#include "serve_tool_text.h"

/* ==== values ============================================================= */

/* May a value of this schema be of a type?  Without a type it may be any. */
static bool may_be(const json_t *schema, const char *type)
{
    const json_t *is = json_object_get(schema, "type"), *one;
    size_t i;

    if (json_is_string(is))
        return !strcmp(json_string_value(is), type);
    json_array_foreach(is, i, one)
    {
        const char *word = json_string_value(one);

        if (word && !strcmp(word, type))
            return true;
    }
    return !is;
}

/* What a text stands for: itself where a string is expected, else JSON, and
 * itself if it is none. */
static json_t *value_of(const char *text, size_t n, const json_t *schema)
{
    json_t *v = NULL;
    bool is_null = n == 4 && !memcmp(text, "null", 4);

    if (!may_be(schema, "string") || !json_object_get(schema, "type") ||
        (is_null && may_be(schema, "null")))
        v = json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    return v ? v : json_stringn(text, n);
}

/* ==== parameters ========================================================= */

/* The text up to '>', which is passed; NULL: none. */
static char *take_name(tool_text *x)
{
    size_t end = tool_text_find(x, ">");
    char *name;

    if (end == x->n)
        return NULL;
    name = strndup(x->text + x->at, end - x->at);
    x->at = end + 1;
    return name;
}

/* Add "KEY>value</parameter>" to the arguments.  The newlines that the form
 * puts around a value are no part of it. */
static bool read_parameter(tool_text *x, json_t *arguments,
                           const json_t *properties)
{
    char *key = take_name(x);
    size_t end = tool_text_find(x, "</parameter>"), from;
    bool fine = key && end < x->n && !json_object_get(arguments, key);

    if (fine) {
        (void)tool_text_word(x, "\n");
        from = x->at;
        x->at = end;
        if (end > from && x->text[end - 1] == '\n')
            end--;
        fine = json_object_set_new(
                   arguments, key,
                   value_of(x->text + from, end - from,
                            json_object_get(properties, key))) == 0 &&
               tool_text_word(x, "</parameter>");
    }
    free(key);
    return fine;
}

/* ==== calls ============================================================== */

static bool read_function(tool_text *x)
{
    char *name = tool_text_word(x, "<function=") ? take_name(x) : NULL;
    const json_t *schema = name ? tools_schema(x->t, name) : NULL;
    const json_t *properties = json_object_get(schema, "properties");
    json_t *arguments = json_object();
    bool fine = name != NULL;

    tool_text_blanks(x);
    while (fine && tool_text_word(x, "<parameter=")) {
        fine = read_parameter(x, arguments, properties);
        tool_text_blanks(x);
    }
    fine = fine && tool_text_word(x, "</function>") &&
           tool_text_add(x, name, arguments);
    json_decref(arguments);
    free(name);
    return fine;
}

/* Models leave out the outer tags now and then. */
bool tool_read_xml(tool_text *x)
{
    while (x->at < x->n) {
        bool tagged = tool_text_word(x, "<tool_call>");

        tool_text_blanks(x);
        if (!read_function(x))
            return false;
        tool_text_blanks(x);
        if (!tool_text_word(x, "</tool_call>") && tagged && x->at < x->n)
            return false;
        tool_text_blanks(x);
    }
    return true;
}
