/*
 * test_tool_serve_channels.c - tlp serve: texts in the channels of the harmony
 * format, which the model of a test writes because a grammar leaves it no
 * choice.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_channels, .timeout = 120);

#define CHAT "/v1/chat/completions"
#define TEMPLATE                                                               \
    "{{ tools | tojson }}{{ reasoning_effort }}{% for m in messages %}"        \
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}"       \
    "<|start|>assistant{# <|channel|> #}"
#define TOOL                                                                   \
    "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":"    \
    "{\"type\":\"object\"}}}"
#define ASK                                                                    \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[" TOOL "]"
#define THOUGHTS "<|channel|>analysis<|message|>So < or <|e.<|end|>"
#define NEXT "<|start|>assistant"
#define FINAL "<|channel|>final<|message|>An answer."
#define CALL(name)                                                             \
    "<|channel|>commentary to=functions." name                                 \
    " <|constrain|>json<|message|>{\"x\": 1}"

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

static json_t *ask(const web_server *s, const char *text, const char *more)
{
    char *body = body_of(text, more);
    json_t *o = web_object(s, CHAT, body);

    free(body);
    return o;
}

static void expect(const web_server *s, const char *text, const char *content,
                   const char *thoughts, const char *call)
{
    json_t *o = ask(s, text, "");
    json_t *message = web_at(o, "choices.0.message");
    const char *is = json_string_value(json_object_get(message, "content"));
    const char *thought =
        json_string_value(json_object_get(message, "reasoning_content"));

    cr_expect(content ? is && !strcmp(is, content) : !is, "%s: content %s",
              text, is ? is : "null");
    cr_expect(thoughts ? thought && !strcmp(thought, thoughts) : !thought,
              "%s: thoughts %s", text, thought ? thought : "null");
    cr_expect_eq(json_object_get(message, "tool_calls") != NULL, call != NULL);
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"),
                     call ? "tool_calls" : "stop");
    if (call)
        cr_expect_str_eq(
            web_text(o, "choices.0.message.tool_calls.0.function.arguments"),
            call);
    json_decref(o);
}

Test(tool_serve_channels, whole)
{
    web_server s = start(TEMPLATE);

    expect(&s, THOUGHTS NEXT FINAL, "An answer.", "So < or <|e.", NULL);
    expect(&s, FINAL "<|return|>", "An answer.", NULL, NULL);
    expect(&s, THOUGHTS NEXT CALL("add") "<|call|>", NULL, "So < or <|e.",
           "{\"x\":1}");
    expect(&s, CALL("add"), NULL, NULL, "{\"x\":1}");
    expect(&s,
           " to=functions.add<|channel|>commentary json<|message|>{\"x\": 1}",
           NULL, NULL, "{\"x\":1}");
    expect(&s, "<|channel|>commentary<|message|>Soon.<|end|>" NEXT CALL("add"),
           "Soon.", NULL, "{\"x\":1}");
    stop(&s);
}

/* Nothing that the model wrote is lost but headers. */
Test(tool_serve_channels, without_form)
{
    web_server s = start(TEMPLATE);

    expect(&s, "{\"a\": 1}", "{\"a\": 1}", NULL, NULL);
    expect(&s, "<|channel|>", "", NULL, NULL);
    expect(&s, "<|channel|>final<|message|>", "", NULL, NULL);
    expect(&s, "<|channel|>final<|message|>a<|en", "a<|en", NULL, NULL);
    expect(&s, CALL("mul"), CALL("mul"), NULL, NULL);
    expect(&s, "<|channel|>commentary to=functions.add<|message|>[1]",
           "<|channel|>commentary to=functions.add<|message|>[1]", NULL, NULL);
    stop(&s);
}

/* The deltas of a stream, joined. */
static void join(const web_answer *a, const char *key, char *text, size_t cap)
{
    const char *at = NULL;
    json_t *e;
    char path[64];

    *text = '\0';
    snprintf(path, sizeof path, "choices.0.delta.%s", key);
    while ((e = web_event(a, &at)) != NULL) {
        const char *part = json_string_value(web_at(e, path));

        cr_assert_lt(strlen(text) + strlen(part ? part : ""), cap);
        strcat(text, part ? part : "");
        json_decref(e);
    }
}

Test(tool_serve_channels, streams)
{
    web_server s = start(TEMPLATE);
    char *body = body_of(THOUGHTS NEXT "<|channel|>commentary<|message|>Soon."
                                       "<|end|>" NEXT CALL("add") "<|call|>",
                         ",\"stream\":true,\"logprobs\":true");
    web_answer a = web_post(&s, CHAT, body);
    char text[256];

    cr_assert_eq(a.status, 200);
    join(&a, "content", text, sizeof text);
    cr_expect_str_eq(text, "Soon.");
    join(&a, "reasoning_content", text, sizeof text);
    cr_expect_str_eq(text, "So < or <|e.");
    join(&a, "tool_calls.0.function.arguments", text, sizeof text);
    cr_expect_str_eq(text, "{\"x\":1}");
    web_free(&a);
    free(body);
    stop(&s);
}

static void expect_refused(const web_server *s, const char *more,
                           const char *error)
{
    char *body = body_of("a", more);
    web_answer a = web_post(s, CHAT, body);

    web_expect_error(&a, 400, error);
    web_free(&a);
    free(body);
}

Test(tool_serve_channels, effort)
{
    web_server s = start(TEMPLATE);
    json_t *none = ask(&s, "a", ""), *o;

    o = ask(&s, "a", ",\"reasoning_effort\":\"abcdefgh\"");
    cr_expect_gt(web_number(o, "usage.prompt_tokens"),
                 web_number(none, "usage.prompt_tokens") + 3);
    json_decref(o);
    o = ask(&s, "a",
            ",\"reasoning_effort\":\"abcdefgh\",\"chat_template_kwargs\":"
            "{\"reasoning_effort\":\"\"}"); /* kwargs are nearer */
    cr_expect_eq(web_number(o, "usage.prompt_tokens"),
                 web_number(none, "usage.prompt_tokens"));
    json_decref(o);
    json_decref(none);
    expect_refused(&s, ",\"reasoning_effort\":1", "reasoning_effort");
    stop(&s);
    s = start("{% for m in messages %}{{ m.content }}{% endfor %}");
    expect_refused(&s, ",\"reasoning_effort\":\"low\"", "does not know it");
    stop(&s);
}
