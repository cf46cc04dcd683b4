/*
 * test_tool_serve_tools.c - tlp serve: calls of tools, which the model of a
 * test writes because a grammar leaves it no choice.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_tools, .timeout = 120);

#define CHAT "/v1/chat/completions"
#define TAGS                                                                   \
    "{{ tools | tojson }}<tool_call>{\"name\": n, \"arguments\": a}"           \
    "</tool_call>{% for m in messages %}{{ m.content }}{% endfor %}"
#define BARE                                                                   \
    "{{ tools | tojson }}{\"name\": n, \"parameters\": p} ipython"             \
    "{% for m in messages %}{{ m.content }}{% endfor %}"

#define LIST                                                                   \
    "{{ tools | tojson }}[TOOL_CALLS]{% for m in messages %}{{ m.content }}"   \
    "{% endfor %}"
#define ARGS                                                                   \
    "{{ tools | tojson }}[TOOL_CALLS]name[ARGS]{% for m in messages %}"        \
    "{{ m.content }}{% endfor %}"
#define XML                                                                    \
    "{{ tools | tojson }}<tool_call><function=f><parameter=p>"                 \
    "{% for m in messages %}{{ m.content }}{% endfor %}"

#define TOOL(name, parameters)                                                 \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\","              \
    "\"parameters\":" parameters "}}"
#define TOOLS                                                                  \
    "\"tools\":[" TOOL(                                                        \
        "add",                                                                 \
        "{\"type\":\"object\",\"properties\":{\"x\":"                          \
        "{\"enum\":[1,2]}},\"required\":[\"x\"],"                              \
        "\"additionalProperties\":false}") "," TOOL("off",                     \
                                                    "{\"type\":\"object\","    \
                                                    "\"properties\":{},"       \
                                                    "\"additionalProperties\"" \
                                                    ":false}") "]"
#define ASK "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]," TOOLS

static web_server start(const char *template)
{
    tiny_spec spec = tiny_default();

    spec.tool_template = template;
    spec.n_ctx = 2048;
    return WEB_START(tiny_make(&spec), "--parallel", "2", "-c", "2048");
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* A request whose answer can only be `text`, with `more` fields. */
static char *body_of(const char *text, const char *more)
{
    json_t *s = json_string(text);
    char *quoted = json_dumps(s, JSON_ENCODE_ANY), *body = NULL;

    cr_assert(asprintf(&body, ASK ",\"guided_choice\":[%s]%s}", quoted, more) >
              0);
    free(quoted);
    json_decref(s);
    return body;
}

static json_t *ask(const web_server *s, const char *text)
{
    char *body = body_of(text, "");
    json_t *o = web_object(s, CHAT, body);

    free(body);
    return o;
}

#define ADD "{\"name\": \"add\", \"arguments\": {\"x\": 1}}"
#define OFF "{\"name\": \"off\", \"arguments\": {}}"

static void expect_call(json_t *o, const char *where, const char *name,
                        const char *arguments)
{
    char path[128];

    snprintf(path, sizeof path, "%s.function.name", where);
    cr_expect_str_eq(web_text(o, path), name);
    snprintf(path, sizeof path, "%s.function.arguments", where);
    cr_expect_str_eq(web_text(o, path), arguments);
    snprintf(path, sizeof path, "%s.type", where);
    cr_expect_str_eq(web_text(o, path), "function");
    snprintf(path, sizeof path, "%s.id", where);
    cr_expect_eq(strncmp(web_text(o, path), "call_", 5), 0);
}

Test(tool_serve_tools, calls)
{
    web_server s = start(TAGS);
    json_t *o = ask(&s, "<tool_call>\n" ADD "\n</tool_call>\n<tool_call>" OFF
                        "</tool_call>");

    cr_expect(json_is_null(web_at(o, "choices.0.message.content")));
    cr_expect_eq(json_array_size(web_at(o, "choices.0.message.tool_calls")), 2);
    expect_call(o, "choices.0.message.tool_calls.0", "add", "{\"x\":1}");
    expect_call(o, "choices.0.message.tool_calls.1", "off", "{}");
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "tool_calls");
    json_decref(o);

    o = ask(&s, "So be it.\n\n<tool_call>" OFF);
    cr_expect_str_eq(web_text(o, "choices.0.message.content"), "So be it.");
    expect_call(o, "choices.0.message.tool_calls.0", "off", "{}");
    json_decref(o);
    stop(&s);
}

Test(tool_serve_tools, bare_calls)
{
    web_server s = start(BARE);
    json_t *o = ask(&s, "{\"name\": \"off\", \"parameters\": {}}");

    expect_call(o, "choices.0.message.tool_calls.0", "off", "{}");
    json_decref(o);
    o = ask(&s, "It is {\"name\": \"off\", \"parameters\": {}}");
    cr_expect_null(web_at(o, "choices.0.message.tool_calls"));
    json_decref(o);
    stop(&s);
}

static void expect_text(const web_server *s, const char *text)
{
    json_t *o = ask(s, text);

    cr_expect_str_eq(web_text(o, "choices.0.message.content"), text);
    cr_expect_null(web_at(o, "choices.0.message.tool_calls"));
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "stop");
    json_decref(o);
}

/* What is no call of a tool of the request stays text, to the last byte. */
Test(tool_serve_tools, texts_that_are_no_calls)
{
    static const char *const texts[] = {
        "<tool_call>",
        "<tool_call>{\"name\": \"add\"}</tool_call>",
        "<tool_call>{\"name\": \"mul\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"off\", \"arguments\": \"{}\"}</tool_call>",
        "<tool_call>{\"name\": \"off\", \"arguments\": {}, \"x\": 1}",
        "<tool_call>" OFF "</tool_call> done",
        "<tool_call>" OFF "</tool_cal",
        "<tool_call>[]</tool_call>",
        "a < b <tool",
    };
    web_server s = start(TAGS);

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(&s, texts[i]);
    stop(&s);
}

/* ==== Mistral ============================================================ */

/* Its templates take ids of nine letters and digits alone. */
static void expect_nine(json_t *o, const char *where, const char *name,
                        const char *arguments)
{
    char path[128];

    snprintf(path, sizeof path, "%s.function.name", where);
    cr_expect_str_eq(web_text(o, path), name);
    snprintf(path, sizeof path, "%s.function.arguments", where);
    cr_expect_str_eq(web_text(o, path), arguments);
    snprintf(path, sizeof path, "%s.id", where);
    cr_expect_eq(strspn(web_text(o, path), "0123456789abcdef"), 9);
    cr_expect_eq(strlen(web_text(o, path)), 9);
}

Test(tool_serve_tools, lists)
{
    static const char *const texts[] = {
        "[TOOL_CALLS]",
        "[TOOL_CALLS][]",
        "[TOOL_CALLS]" ADD,
        "[TOOL_CALLS][" ADD "] and",
        "[TOOL_CALLS][" ADD "," OFF,
        "[TOOL_CALLS][{\"name\": \"off\", \"arguments\": {}, \"id\": 7}]",
        "[" OFF "]",
    };
    web_server s = start(LIST);
    json_t *o = ask(&s, "Well. [TOOL_CALLS] [" ADD ", {\"id\": \"abcdefghi\", "
                        "\"name\": \"off\", \"arguments\": {}}]");

    cr_expect_str_eq(web_text(o, "choices.0.message.content"), "Well.");
    cr_expect_eq(json_array_size(web_at(o, "choices.0.message.tool_calls")), 2);
    expect_nine(o, "choices.0.message.tool_calls.0", "add", "{\"x\":1}");
    expect_nine(o, "choices.0.message.tool_calls.1", "off", "{}");
    json_decref(o);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(&s, texts[i]);
    stop(&s);
}

Test(tool_serve_tools, names_in_front)
{
    static const char *const texts[] = {
        "[TOOL_CALLS]off",
        "[TOOL_CALLS]off[ARGS]",
        "[TOOL_CALLS]off[ARGS][]",
        "[TOOL_CALLS]mul[ARGS]{}",
        "[TOOL_CALLS]off {}",
        "[TOOL_CALLS]off[ARGS]{} and",
        "off[ARGS]{}",
    };
    web_server s = start(ARGS);
    json_t *o = ask(&s, "[TOOL_CALLS]add[ARGS]{\"x\": 2}[TOOL_CALLS]off"
                        "[CALL_ID]abcdefghi[ARGS]{}");

    cr_expect_eq(json_array_size(web_at(o, "choices.0.message.tool_calls")), 2);
    expect_nine(o, "choices.0.message.tool_calls.0", "add", "{\"x\":2}");
    expect_nine(o, "choices.0.message.tool_calls.1", "off", "{}");
    json_decref(o);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(&s, texts[i]);
    stop(&s);
}

/* ==== XML ================================================================ */

#define FUNCTION(name, inside) "<function=" name ">\n" inside "</function>\n"
#define PARAMETER(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"

Test(tool_serve_tools, xml)
{
    static const char *const texts[] = {
        "<tool_call>\n<function=off>\n",
        "<tool_call>\n<function=mul>\n</function>\n</tool_call>",
        "<tool_call>\n" FUNCTION("add", "<parameter=x>\n1\n"),
        "<tool_call>\n" FUNCTION("add", PARAMETER("x", "1")
                                            PARAMETER("x", "2")) "</tool_call>",
        "<tool_call>\n" FUNCTION("off", "") "and",
        "<tool_call>" OFF "</tool_call>",
    };
    web_server s = start(XML);
    json_t *o = ask(
        &s,
        "Now:\n<tool_call>\n" FUNCTION(
            "add", PARAMETER("x", "1")) "</"
                                        "tool_call>\n<tool_call>"
                                        "\n" FUNCTION("off",
                                                      PARAMETER("text",
                                                                "a <b>\n "
                                                                "\"c\"")) "</"
                                                                          "tool"
                                                                          "_cal"
                                                                          "l>");

    cr_expect_str_eq(web_text(o, "choices.0.message.content"), "Now:");
    expect_call(o, "choices.0.message.tool_calls.0", "add", "{\"x\":1}");
    expect_call(o, "choices.0.message.tool_calls.1", "off",
                "{\"text\":\"a <b>\\n \\\"c\\\"\"}");
    json_decref(o);
    o = ask(&s, FUNCTION("off", "")); /* without the outer tags */
    expect_call(o, "choices.0.message.tool_calls.0", "off", "{}");
    json_decref(o);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(&s, texts[i]);
    stop(&s);
}

/* The schema tells a number from a text that looks like one. */
Test(tool_serve_tools, xml_values)
{
    static const char ask_types[] =
        "{\"messages\":[{\"role\":\"user\","
        "\"content\":\"a\"}],\"tools\":[" TOOL(
            "f", "{\"type\":\"object\",\"properties\":{"
                 "\"s\":{\"type\":\"string\"},\"i\":{"
                 "\"type\":\"integer\"},"
                 "\"o\":{\"type\":\"object\"},"
                 "\"n\":{\"type\":[\"string\",\"null\"]}"
                 "}}") "],"
                       "\"guided_choice\":[\"<tool_call>"
                       "<function=f>"
                       "<parameter=s>12</"
                       "parameter><parameter=i>12</"
                       "parameter>"
                       "<parameter=o>{\\\"a\\\": "
                       "[1]}</parameter>"
                       "<parameter=n>null</parameter></"
                       "function></tool_call>\"]}";
    web_server s = start(XML);
    json_t *o = web_object(&s, CHAT, ask_types);

    expect_call(o, "choices.0.message.tool_calls.0", "f",
                "{\"s\":\"12\",\"i\":12,\"o\":{\"a\":[1]},\"n\":null}");
    json_decref(o);
    stop(&s);
}

/* The content of a stream's chunks in one text; *last: the last chunk with a
 * choice. */
static void join(const web_answer *a, char *text, size_t cap, json_t **last)
{
    const char *at = NULL;
    json_t *e;

    *text = '\0';
    *last = NULL;
    while ((e = web_event(a, &at)) != NULL) {
        const char *part =
            json_string_value(web_at(e, "choices.0.delta.content"));
        cr_assert_lt(strlen(text) + strlen(part ? part : ""), cap);
        strcat(text, part ? part : "");
        if (web_at(e, "choices.0.delta")) {
            json_decref(*last);
            *last = json_incref(e);
        }
        json_decref(e);
    }
}

static void stream(const web_server *s, const char *text, char *content,
                   size_t cap, json_t **last)
{
    char *body = body_of(text, ",\"stream\":true");
    web_answer a = web_post(s, CHAT, body);

    free(body);
    cr_assert_eq(a.status, 200);
    join(&a, content, cap, last);
    web_free(&a);
}

Test(tool_serve_tools, streams)
{
    web_server s = start(TAGS);
    char text[256];
    json_t *last;

    stream(&s, "x <tool> y \n<tool_call>" ADD "</tool_call>", text, sizeof text,
           &last);
    cr_expect_str_eq(text, "x <tool> y");
    expect_call(last, "choices.0.delta.tool_calls.0", "add", "{\"x\":1}");
    cr_expect_eq(web_number(last, "choices.0.delta.tool_calls.0.index"), 0);
    cr_expect_str_eq(web_text(last, "choices.0.finish_reason"), "tool_calls");
    json_decref(last);

    stream(&s, "x [T <function=" OFF, text, sizeof text, &last);
    cr_expect_str_eq(text, "x [T <function=" OFF);
    json_decref(last);

    stream(&s, "x <tool_call> y \n", text, sizeof text, &last);
    cr_expect_str_eq(text, "x <tool_call> y \n");
    cr_expect_null(web_at(last, "choices.0.delta.tool_calls"));
    cr_expect_str_eq(web_text(last, "choices.0.finish_reason"), "stop");
    json_decref(last);
    stop(&s);
}

/* ==== tool_choice ======================================================== */

static void expect_forced(const web_server *s, const char *choice,
                          const char *name)
{
    char body[1024];

    snprintf(body, sizeof body, ASK ",\"temperature\":1,\"tool_choice\":%s}",
             choice);
    for (int i = 0; i < 4; i++) {
        json_t *o = web_object(s, CHAT, body);
        const char *is =
            web_text(o, "choices.0.message.tool_calls.0.function.name");
        json_t *x = json_loads(
            web_text(o, "choices.0.message.tool_calls.0.function.arguments"), 0,
            NULL);
        json_int_t n = json_integer_value(json_object_get(x, "x"));

        cr_expect_eq(json_array_size(web_at(o, "choices.0.message.tool_calls")),
                     1);
        cr_expect(!name || !strcmp(is, name), "%s", is);
        cr_expect(!strcmp(is, "add") ? n == 1 || n == 2
                                     : json_object_size(x) == 0);
        json_decref(x);
        json_decref(o);
    }
}

Test(tool_serve_tools, forced)
{
    static const char *const templates[] = { TAGS, BARE, LIST, ARGS };

    for (int i = 0; i < 4; i++) {
        web_server s = start(templates[i]);
        if (i < 3)
            expect_forced(&s, "\"required\"", NULL);
        expect_forced(&s,
                      "{\"type\":\"function\",\"function\":{\"name\":\"add\"}},"
                      "\"parallel_tool_calls\":false",
                      "add");
        stop(&s);
    }
}

Test(tool_serve_tools, none)
{
    web_server s = start(TAGS);
    char *body =
        body_of("<tool_call>" OFF "</tool_call>", ",\"tool_choice\":\"none\"");
    json_t *o = web_object(&s, CHAT, body);

    cr_expect_null(web_at(o, "choices.0.message.tool_calls"));
    cr_expect_str_eq(web_text(o, "choices.0.message.content"),
                     "<tool_call>" OFF "</tool_call>");
    json_decref(o);
    free(body);
    stop(&s);
}

static void expect_refused(const web_server *s, const char *fields,
                           const char *error)
{
    char body[1024];

    snprintf(body, sizeof body,
             "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]%s}",
             fields);
    web_answer a = web_post(s, CHAT, body);
    web_expect_error(&a, 400, error);
    web_free(&a);
}

Test(tool_serve_tools, refused)
{
    web_server s = start(TAGS);

    expect_refused(&s, ",\"tool_choice\":\"required\"", "there are no tools");
    expect_refused(&s, "," TOOLS ",\"tool_choice\":\"any\"", "required");
    expect_refused(&s, "," TOOLS ",\"tool_choice\":{\"type\":\"function\"}",
                   "tool_choice");
    expect_refused(&s,
                   "," TOOLS ",\"tool_choice\":{\"type\":\"function\","
                   "\"function\":{\"name\":\"mul\"}}",
                   "no tool has this name");
    expect_refused(&s,
                   "," TOOLS ",\"tool_choice\":\"required\","
                   "\"response_format\":{\"type\":\"json_object\"}",
                   "constrains the text already");
    expect_refused(&s, "," TOOLS ",\"parallel_tool_calls\":false",
                   "parallel_tool_calls");
    stop(&s);
    s = start(ARGS);
    expect_refused(&s, "," TOOLS ",\"tool_choice\":\"required\"",
                   "the name of one function");
    stop(&s);
    s = start(XML);
    expect_refused(&s, "," TOOLS ",\"tool_choice\":\"required\"", "(XML)");
    stop(&s);
    s = start(NULL);
    expect_refused(&s, "," TOOLS ",\"tool_choice\":\"required\"",
                   "how the model writes calls is unknown");
    stop(&s);
}
