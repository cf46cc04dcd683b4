/*
 * test_tool_serve_constraint.c - tlp serve: texts that follow a schema, a
 * grammar, or a list of choices, and requests for such texts that are refused.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_constraint, .timeout = 120);

#define COMPLETE "/v1/completions"
#define CHAT "/v1/chat/completions"
#define PROMPT "\"prompt\":\"the world\",\"max_tokens\":60,\"temperature\":1"
#define SAY "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"seed\":3"

static web_server start(void)
{
    return WEB_START(tool_model(), "--parallel", "4", "-c", "256");
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* The text of a choice that its end has ended; the caller frees it. */
static char *ask(const web_server *s, const char *path, const char *body)
{
    json_t *o = web_object(s, path, body);
    const char *where = strcmp(path, CHAT) == 0 ? "choices.0.message.content"
                                                : "choices.0.text";
    char *text = strdup(web_text(o, where));

    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "stop", "%s: %s",
                     body, text);
    json_decref(o);
    return text;
}

static void expect_one_of(const web_server *s, const char *body, const char *a,
                          const char *b)
{
    char *text = ask(s, COMPLETE, body);

    cr_expect(!strcmp(text, a) || !strcmp(text, b), "%s: %s", body, text);
    free(text);
}

Test(tool_serve_constraint, choices_and_grammars)
{
    web_server s = start();

    expect_one_of(&s,
                  "{" PROMPT ",\"grammar\":\"root ::= \\\"yes\\\" | "
                  "\\\"no\\\"\"}",
                  "yes", "no");
    expect_one_of(&s, "{" PROMPT ",\"guided_grammar\":\"root ::= \\\"ab\\\"\"}",
                  "ab", "ab");
    expect_one_of(&s,
                  "{" PROMPT ",\"guided_choice\":[\"a \\\\ b\","
                  "\"c\\n\\\"d\\\"\"]}",
                  "a \\ b", "c\n\"d\"");
    expect_one_of(&s,
                  "{" PROMPT ",\"structured_outputs\":{\"choice\":"
                  "[\"one\",\"two\"],\"json\":null}}",
                  "one", "two");
    stop(&s);
}

#define SCHEMA                                                                 \
    "{\"type\":\"object\",\"properties\":{\"z\":{\"enum\":[1,2]},"             \
    "\"a\":{\"const\":true}},\"required\":[\"z\",\"a\"],"                      \
    "\"additionalProperties\":false}"

static void expect_schema(const web_server *s, const char *path,
                          const char *body)
{
    char *text = ask(s, path, body);
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_int_t z = json_integer_value(json_object_get(o, "z"));

    cr_expect(json_object_size(o) == 2 && (z == 1 || z == 2), "%s: %s", body,
              text);
    cr_expect(json_is_true(json_object_get(o, "a")), "%s: %s", body, text);
    json_decref(o);
    free(text);
}

Test(tool_serve_constraint, schemas)
{
    web_server s = start();

    expect_schema(&s, CHAT,
                  "{" SAY ",\"response_format\":{\"type\":\"json_schema\","
                  "\"json_schema\":{\"name\":\"n\",\"strict\":true,"
                  "\"schema\":" SCHEMA "}}}");
    expect_schema(&s, CHAT,
                  "{" SAY ",\"response_format\":{\"type\":\"json_object\","
                  "\"schema\":" SCHEMA "}}");
    expect_schema(&s, COMPLETE, "{" PROMPT ",\"json_schema\":" SCHEMA "}");
    expect_schema(&s, COMPLETE, "{" PROMPT ",\"guided_json\":" SCHEMA "}");
    expect_schema(&s, COMPLETE,
                  "{" PROMPT ",\"guided_json\":\"{\\\"type\\\":\\\"object\\\","
                  "\\\"properties\\\":{\\\"z\\\":{\\\"const\\\":2},\\\"a\\\":"
                  "{\\\"const\\\":true}},\\\"required\\\":[\\\"z\\\","
                  "\\\"a\\\"],\\\"additionalProperties\\\":false}\"}");
    expect_schema(&s, COMPLETE,
                  "{" PROMPT ",\"structured_outputs\":{\"json\":" SCHEMA "}}");
    stop(&s);
}

/* A model that has learned nothing need not end its object, but it begins one,
 * and every choice of a stream does. */
Test(tool_serve_constraint, any_object)
{
    web_server s = start();
    web_answer a = web_post(&s, CHAT,
                            "{" SAY ",\"n\":3,\"max_tokens\":20,"
                            "\"stream\":true,\"response_format\":"
                            "{\"type\":\"json_object\"}}");
    const char *at = NULL;
    json_t *e;
    bool seen[3] = { false };

    while ((e = web_event(&a, &at)) != NULL) {
        json_t *text = web_at(e, "choices.0.delta.content");
        if (json_string_length(text) > 0) {
            int i = (int)web_number(e, "choices.0.index");
            cr_expect(seen[i] || *json_string_value(text) == '{', "%s",
                      json_string_value(text));
            seen[i] = true;
        }
        json_decref(e);
    }
    cr_expect(seen[0] && seen[1] && seen[2]);
    web_free(&a);
    stop(&s);
}

/* The text of the command and of the server, both greedy. */
Test(tool_serve_constraint, text_of_tlp_run)
{
    static const char grammar[] = "root ::= [a-f]+ \"-\" [0-9] [0-9]";
    const char *path = tiny_path("g.gbnf");

    tool_write_file(path, grammar, strlen(grammar));
    spawned run =
        SPAWN("tlp", "run", "-m", tool_model(), "--raw", "-n", "60", "-p",
              "the world", "-c", "256", "--grammar", path, "--temp", "0");

    tool_expect_status(&run, 0);
    web_server s = start();
    json_t *o = web_object(&s, COMPLETE,
                           "{\"prompt\":\"the world\",\"max_tokens\":60,"
                           "\"temperature\":0,\"grammar\":"
                           "\"root ::= [a-f]+ \\\"-\\\" [0-9] [0-9]\"}");
    size_t n = strlen(web_text(o, "choices.0.text"));
    cr_expect_eq(run.n_out, n + 1);
    cr_expect_eq(memcmp(run.out, web_text(o, "choices.0.text"), n), 0, "%s",
                 run.out);
    json_decref(o);
    spawn_free(&run);
    stop(&s);
}

/* More grammars than the server keeps, twice. */
Test(tool_serve_constraint, many_grammars)
{
    web_server s = start();
    char body[256], text[16];

    for (int i = 0; i < 80; i++) {
        snprintf(text, sizeof text, "%d", i % 40);
        snprintf(body, sizeof body, "{" PROMPT ",\"guided_choice\":[\"%d\"]}",
                 i % 40);
        expect_one_of(&s, body, text, text);
    }
    stop(&s);
}

Test(tool_serve_constraint, none)
{
    web_server s = start();
    json_t *o = web_object(&s, COMPLETE,
                           "{" PROMPT ",\"grammar\":\"\",\"guided_json\":null,"
                           "\"response_format\":{\"type\":\"text\"}}");

    cr_expect_gt(web_number(o, "usage.completion_tokens"), 0);
    json_decref(o);
    stop(&s);
}

/* ==== refused ============================================================ */

static const struct {
    const char *field, *error;
} bad[] = {
    { "\"grammar\":\"root ::= (\"", "grammar" },
    { "\"grammar\":7", "grammar: an integer" },
    { "\"json_schema\":\"{}\"", "json_schema: a string" },
    { "\"guided_json\":\"{\"", "schema" },
    { "\"guided_choice\":[]", "guided_choice: an array" },
    { "\"guided_choice\":\"a\"", "guided_choice: a string" },
    { "\"guided_choice\":[\"a\",\"\"]", "element 1 is an empty text" },
    { "\"guided_choice\":[1]", "element 0 is an integer" },
    { "\"guided_regex\":\"a+\"", "guided_regex" },
    { "\"grammar\":\"root ::= \\\"a\\\"\",\"guided_choice\":[\"a\"]",
      "guided_choice: grammar constrains the text already" },
    { "\"structured_outputs\":[]", "structured_outputs: an array" },
    { "\"structured_outputs\":{\"regex\":\"a\"}", "its key regex" },
    { "\"structured_outputs\":{\"choice\":[\"a\"],\"json\":{}}",
      "constrains the text already" },
    { "\"response_format\":\"json\"", "response_format: a string" },
    { "\"response_format\":{\"type\":\"xml\"}", "type xml" },
    { "\"response_format\":{\"type\":\"json_object\",\"strict\":true}",
      "its key strict" },
    { "\"response_format\":{\"type\":\"json_schema\"}",
      "response_format.json_schema: absent" },
    { "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}",
      "response_format.json_schema.schema: absent" },
    { "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
      "{\"schema\":{\"type\":\"person\"}}}",
      "keyword type" },
    { "\"response_format\":{\"type\":\"text\",\"schema\":{}}", "type text" },
    { "\"ignore_eos\":true,\"grammar\":\"root ::= \\\"a\\\"\"", "grammar" },
};

Test(tool_serve_constraint, refused)
{
    web_server s = start();
    char body[512];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(body, sizeof body, "{" PROMPT ",%s}", bad[i].field);
        web_answer a = web_post(&s, COMPLETE, body);
        web_expect_error(&a, 400, bad[i].error);
        web_free(&a);
    }
    stop(&s);
}
