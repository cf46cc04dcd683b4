/*
 * test_chat_options.c - what a caller says in a conversation besides roles and
 * texts: JSON, tools, templates, the continuation of a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"
#include "support/vocab_file.h"

/* ==== helpers ============================================================ */

static char log_text[2048];

static void on_log(int level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == TLP_LOG_WARN)
        snprintf(log_text + strlen(log_text),
                 sizeof log_text - strlen(log_text), "%s\n", text);
}

static tlp_model *open_logged(const gw_file *w)
{
    const char *path = tiny_path("chat.gguf");
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    opts.vocab_only = 1;
    opts.log = on_log;
    cr_assert(gw_save(w, path));
    CHECK_OK(tlp_model_open(&m, path, &opts));
    log_text[0] = '\0'; /* of opening */
    return m;
}

static tlp_model *with_template(const char *chat)
{
    const vf_spec spec = { .chat = chat };
    gw_file w;

    gw_init(&w);
    vf_write(&w, &spec);
    tlp_model *m = open_logged(&w);
    gw_free(&w);
    return m;
}

static void expect_of(tlp_model *m, const tlp_chat_message *msg, size_t n,
                      const tlp_chat_options *o, const char *want)
{
    char buf[2048];
    size_t len = 0;

    CHECK_OK(tlp_chat_render(buf, sizeof buf, &len, m, msg, n, o));
    cr_assert_str_eq(buf, want, "\"%s\", not \"%s\"", buf, want);
    cr_assert_eq(len, strlen(want));
}

static void refuse_of(tlp_status status, const tlp_model *m,
                      const tlp_chat_message *msg, size_t n,
                      const tlp_chat_options *o, const char *why)
{
    char buf[2048];
    size_t len = 0;

    CHECK_FAILS(status, tlp_chat_render(buf, sizeof buf, &len, m, msg, n, o));
    cr_assert(strstr(tlp_last_error(), why), "%s: not in \"%s\"", why,
              tlp_last_error());
}

static void expect(const char *chat, const tlp_chat_message *msg, size_t n,
                   const tlp_chat_options *o, const char *want)
{
    tlp_model *m = with_template(chat);

    expect_of(m, msg, n, o, want);
    tlp_model_free(m);
}

static void refuse(tlp_status status, const char *chat,
                   const tlp_chat_message *msg, size_t n,
                   const tlp_chat_options *o, const char *why)
{
    tlp_model *m = with_template(chat);

    refuse_of(status, m, msg, n, o, why);
    tlp_model_free(m);
}

static const tlp_chat_options none = TLP_CHAT_OPTIONS_INIT;
static const tlp_chat_message hi[] = { { "user", "Hi" } };

#define ALL "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"

/* ==== messages as JSON =================================================== */

static void expect_json(const char *chat, const char *json, const char *want)
{
    tlp_chat_options o = none;

    o.messages_json = json;
    expect(chat, NULL, 0, &o, want);
}

static void refuse_json(tlp_status status, const char *json, const char *why)
{
    tlp_chat_options o = none;

    o.messages_json = json;
    refuse(status, ALL, NULL, 0, &o, why);
}

Test(chat_json, messages)
{
    expect_json(ALL, "[{\"role\": \"user\", \"content\": \"H\\u00e9\"}]",
                "[user]H\xc3\xa9");
    expect_json(
        "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls "
        "%}{{ c.function.name }}{{ c.function.arguments|tojson }}{% endfor %}"
        "{% else %}{{ m.content }}{% endif %}{{ m.reasoning_content }}"
        "{{ m.name }}{{ m.own }}{% endfor %}",
        "[{\"role\": \"assistant\", \"content\": null, \"tool_calls\": "
        "[{\"function\": {\"name\": \"f\", \"arguments\": {\"b\": 1.50, "
        "\"a\": [true, null]}}}]}, {\"role\": \"tool\", \"name\": \"f\", "
        "\"content\": \"4\", \"reasoning_content\": \"r\", \"own\": 7}]",
        "f{\"b\": 1.5, \"a\": [true, null]}4rf7");
    cr_assert_str_empty(log_text);
}

Test(chat_json, content_in_parts)
{
    static const char parts[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
        "\"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}]";
    static const char loop[] =
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}"
        "{% else %}{% for c in m.content %}{% if c.type == 'text' %}"
        "({{ c.text }}){% endif %}{% endfor %}{% endif %}{% endfor %}";

    expect_json(loop, parts, "(a)(b)");
    /* Python's notation of a list or of null is no text for a model. */
    refuse_json(TLP_ENOTSUP, parts, "a list of parts");
    refuse_json(TLP_ENOTSUP, "[{\"role\": \"user\", \"content\": null}]",
                "null");
    refuse_json(TLP_ENOTSUP,
                "[{\"role\": \"user\", \"content\": [{\"type\": "
                "\"image_url\", \"image_url\": {\"url\": \"x\"}}]}]",
                "\"image_url\"");
}

Test(chat_json, what_is_no_conversation)
{
    char deep[300] = "", *big = malloc((16 << 20) + 2);

    refuse_json(TLP_EFORMAT, "[{\"role\": \"user\",", "messages: line 1");
    refuse_json(TLP_EFORMAT, "[{\"role\": \"a\", \"role\": \"b\"}]", "role");
    refuse_json(TLP_EFORMAT, "[{\"role\": \"\xff\"}]", "messages: line 1");
    refuse_json(TLP_EFORMAT, "", "messages: line 1");
    memset(deep, '[', 100);
    refuse_json(TLP_EFORMAT, deep, "deeper than 64");
    memset(big, ' ', (16 << 20) + 1);
    big[(16 << 20) + 1] = '\0';
    refuse_json(TLP_EINVAL, big, "at most 16777216");
    free(big);
    refuse_json(TLP_EINVAL, "{}", "an array expected");
    refuse_json(TLP_EINVAL, "[]", "at least one message");
    refuse_json(TLP_EINVAL, "[1]", "message 0: an object expected");
    refuse_json(TLP_EINVAL, "[{\"role\": \"user\"}, {\"content\": \"x\"}]",
                "message 1: role");
    refuse_json(TLP_EINVAL, "[{\"role\": \"user\", \"content\": 5}]",
                "message 0: content");
    refuse_json(TLP_EINVAL, "[{\"role\": \"user\", \"content\": [\"x\"]}]",
                "content[0]: an object");
    tlp_chat_options o = none;
    o.messages_json = "[{\"role\": \"user\", \"content\": \"x\"}]";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "exclude each other");
}

/* ==== further values ===================================================== */

Test(chat_values, tools_documents_and_names)
{
    static const char chat[] =
        "{{ tools|tojson }}{{ documents|tojson }}{{ enable_thinking|tojson }}"
        "{{ add_generation_prompt }}{{ bos_token }}{{ eos_token }}"
        "{{ unk_token }}{{ pad_token is defined }}{{ messages[0].content }}";
    tlp_chat_options o = none;

    /* as transformers: none, not undefined */
    expect("{{ tools is none }}{{ documents is none }}{{ x is defined }}", hi,
           1, &o, "TrueTrueFalse");
    o.tools_json = "[{\"b\": 1, \"a\": \"<x>\"}]";
    o.documents_json = "[{\"text\": \"d\"}]";
    o.kwargs_json = "{\"enable_thinking\": false}";
    o.add_generation_prompt = 1;
    expect(chat, hi, 1, &o,
           "[{\"b\": 1, \"a\": \"<x>\"}][{\"text\": \"d\"}]falseTrue<s></s>"
           "<unk>FalseHi");
    cr_assert_str_empty(log_text);
}

Test(chat_values, nothing_is_dropped_silently)
{
    tlp_chat_options o = none;

    o.tools_json = "[]";
    expect(ALL, hi, 1, &o, "[user]Hi");
    o.tools_json = "[{\"name\": \"f\"}]";
    refuse(TLP_ENOTSUP, ALL, hi, 1, &o, "never reads tools");
    o = none;
    o.documents_json = "[{\"text\": \"d\"}]";
    refuse(TLP_ENOTSUP, ALL, hi, 1, &o, "never reads documents");
    o = none;
    o.messages_json = "[{\"role\": \"assistant\", \"content\": \"\", "
                      "\"tool_calls\": [{\"function\": {\"name\": \"f\"}}]}]";
    refuse(TLP_ENOTSUP, ALL, NULL, 0, &o, "never reads tool_calls");
    o.messages_json =
        "[{\"role\": \"user\", \"content\": \"Hi\", \"name\": \"Ann\", "
        "\"audio\": null}, {\"role\": \"user\", \"content\": \"\", \"name\": "
        "\"Bo\"}]";
    o.kwargs_json = "{\"enable_thinking\": false, \"messages_too\": 1}";
    expect(ALL, NULL, 0, &o, "[user]Hi[user]");
    cr_assert_not_null(strstr(log_text, "never reads enable_thinking"));
    cr_assert_not_null(strstr(log_text, "never reads messages_too"));
    cr_assert_not_null(strstr(log_text, "never reads name, which message 0"));
    cr_assert_null(strstr(log_text, "message 1"));
    cr_assert_null(strstr(log_text, "audio"));
}

Test(chat_values, of_another_shape)
{
    tlp_chat_options o = none;

    o.tools_json = "{}";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "tools: an array expected");
    o.tools_json = "[\"f\"]";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "tools[0]: an object expected");
    o = none;
    o.documents_json = "[1]";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "documents[0]");
    o = none;
    o.kwargs_json = "[]";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "kwargs: an object expected");
    o.kwargs_json = "{\"messages\": []}";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "kwargs: messages");
    o.kwargs_json = "{\"bos_token\": \"x\"}";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "kwargs: bos_token");
}

Test(chat_values, time_of_the_caller)
{
    tlp_chat_options o = none;

    setenv("TZ", "UTC", 1);
    o.now = 86400 * 365;
    expect("{{ strftime_now('%d %b %Y') }}", hi, 1, &o, "01 Jan 1971");
}

/* ==== templates ========================================================== */

Test(chat_template, of_the_caller)
{
    tlp_chat_options o = none;

    o.chat_template = "own {{ messages[0].content }}";
    expect(NULL, hi, 1, &o, "own Hi");
    expect(ALL, hi, 1, &o, "own Hi");
    o.chat_template = "{% if %}";
    refuse(TLP_EFORMAT, ALL, hi, 1, &o, "the caller's template");
    o.chat_template = "caf\xe9";
    refuse(TLP_EFORMAT, ALL, hi, 1, &o,
           "the caller's template: byte 3 is not UTF-8");
    o.chat_template = "";
    expect(ALL, hi, 1, &o, "");
    o.template_name = "x";
    refuse(TLP_EINVAL, ALL, hi, 1, &o, "exclude each other");
}

Test(chat_template, missing)
{
    refuse(TLP_ENOTSUP, NULL, hi, 1, NULL,
           "chat.gguf: key "
           "tokenizer.chat_template: missing");
}

static tlp_model *with_names(const char *main)
{
    static const char *const names[] = { "tool_use", "rag" };
    const vf_spec spec = { .chat = main };
    gw_file w;

    gw_init(&w);
    vf_write(&w, &spec);
    gw_kv_strs(&w, "tokenizer.chat_templates", names, 2);
    gw_kv_str(&w, "tokenizer.chat_template.tool_use", "T{{ tools|length }}");
    gw_kv_str(&w, "tokenizer.chat_template.rag", "R{{ documents|length }}");
    tlp_model *m = open_logged(&w);
    gw_free(&w);
    return m;
}

Test(chat_template, by_name)
{
    tlp_model *m = with_names("D"), *nameless = with_names(NULL);
    tlp_chat_options o = none;

    expect_of(m, hi, 1, &o, "D");
    o.tools_json = "[{}]";
    expect_of(m, hi, 1, &o, "T1");
    expect_of(nameless, hi, 1, &o, "T1");
    o.template_name = "rag";
    o.documents_json = "[{}, {}]";
    refuse_of(TLP_ENOTSUP, m, hi, 1, &o, "template.rag: the template never");
    o.tools_json = NULL;
    expect_of(m, hi, 1, &o, "R2");
    o = none;
    o.template_name = "default";
    expect_of(m, hi, 1, &o, "D");
    refuse_of(TLP_EINVAL, nameless, hi, 1, &o, "missing");
    o.template_name = "other";
    refuse_of(TLP_EINVAL, m, hi, 1, &o,
              "chat_template.other: missing; the file names tool_use rag");
    refuse_of(TLP_ENOTSUP, nameless, hi, 1, NULL,
              "chat_template: missing; the file names tool_use rag");
    tlp_model_free(nameless);
    tlp_model_free(m);
}

Test(chat_template, of_another_type)
{
    const vf_spec spec = { 0 };
    gw_file w;

    gw_init(&w);
    vf_write(&w, &spec);
    gw_kv_u32(&w, "tokenizer.chat_template", 7);
    tlp_model *m = open_logged(&w);
    refuse_of(TLP_EFORMAT, m, hi, 1, NULL, "tokenizer.chat_template");
    gw_free(&w);
    tlp_model_free(m);
}

/* ==== a message that is continued ======================================== */

#define ENDED                                                                  \
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>\n{% endfor %}"
#define TRIMMED                                                                \
    "{% for m in messages %}[{{ m.role }}]{{ m.content|trim }}</s>{% endfor "  \
    "%}"

static tlp_chat_options go_on(void)
{
    tlp_chat_options o = none;

    o.continue_final_message = 1;
    return o;
}

static void expect_continued(const char *chat, const char *text,
                             const char *want, bool warns)
{
    const tlp_chat_message msg[] = { { "user", text }, { "assistant", text } };
    const tlp_chat_options o = go_on();

    expect(chat, msg, 2, &o, want);
    cr_assert_eq(log_text[0] != '\0', warns, "%s", log_text);
}

static void refuse_continued(const char *chat, const char *text,
                             const char *why)
{
    const tlp_chat_message msg[] = { { "user", "a" }, { "assistant", text } };
    const tlp_chat_options o = go_on();

    refuse(TLP_ENOTSUP, chat, msg, 2, &o, why);
}

Test(chat_continue, ends_behind_the_text)
{
    expect_continued(ENDED, "Yes", "[user]Yes</s>\n[assistant]Yes", false);
    expect_continued(ENDED, " Yes ", "[user] Yes </s>\n[assistant] Yes ",
                     false);
    expect_continued(TRIMMED, " Yes", "[user]Yes</s>[assistant]Yes", false);
    /* transformers continues the text as the template trims it */
    expect_continued(TRIMMED, "Yes \n", "[user]Yes</s>[assistant]Yes", true);
    expect_continued("{{ messages[-1].content }}|{{ messages[-1].content }}.",
                     "Yes", "Yes|Yes", false);
    expect_continued("{% set p = messages[-1].content.split('</think>') %}"
                     "{{ p[0] + '</think>' + p[1] }}.",
                     "<think>\nh</think>\nYes", "<think>\nh</think>\nYes",
                     false);
}

Test(chat_continue, what_cannot_be_continued)
{
    const tlp_chat_message empty[] = { { "assistant", "" } };
    tlp_chat_options o = go_on();

    refuse_continued("{{ messages[0].content }}", "Yes", "as it is");
    refuse_continued("{{ messages[1].content|upper }}", "Yes", "as it is");
    refuse_continued("{{ messages[1].content[:2] }}", "Yes", "as it is");
    refuse_continued("{{ messages[1].content.split('</think>')[-1] }}",
                     "<think>h</think>Yes", "as it is");
    refuse_continued("{{ messages[1].content|replace('e', 'E') }}", "Yes",
                     "as it is");
    refuse_continued(TRIMMED, " \n", "as it is");
    refuse_continued("{{ messages[1].content }}{{ messages[0].content }}",
                     "Yes", "more of the conversation");
    refuse(TLP_EINVAL, ENDED, empty, 1, &o, "no text to continue");
    o.add_generation_prompt = 1;
    refuse(TLP_EINVAL, ENDED, hi, 1, &o, "exclude each other");
}

Test(chat_continue, the_last_part_with_a_text)
{
    static const char loop[] = "{% for c in messages[0].content %}"
                               "({{ c.text }}){% endfor %}";
    tlp_chat_options o = go_on();

    o.messages_json =
        "[{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", "
        "\"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}]";
    expect(loop, NULL, 0, &o, "(a)(b");
    o.messages_json = "[{\"role\": \"assistant\", \"content\": []}]";
    refuse(TLP_EINVAL, loop, NULL, 0, &o, "no text to continue");
}

Test(chat_options, flags)
{
    static const int32_t values[] = { -1, 2, 7, INT32_MIN, INT32_MAX };
    static const tlp_chat_message hello = { "user", "a" };
    tlp_model *m = with_template("{{ messages }}");

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        refuse_of(TLP_EINVAL, m, &hello, 1,
                  &(tlp_chat_options){ sizeof(tlp_chat_options),
                                       .add_generation_prompt = values[i] },
                  "add_generation_prompt");
        refuse_of(TLP_EINVAL, m, &hello, 1,
                  &(tlp_chat_options){ sizeof(tlp_chat_options),
                                       .continue_final_message = values[i] },
                  "continue_final_message");
    }
    tlp_model_free(m);
}
