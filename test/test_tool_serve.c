/*
 * test_tool_serve.c - tlp serve: every endpoint, beside what the library and
 * the other commands say.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve, .timeout = 120);

#define PROMPT "the world and hello"

/* A server with four sequences of 256 positions. */
static web_server start(const char *model)
{
    return WEB_START(model, "--parallel", "4", "-c", "256", "--alias", "tiny");
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* What `tlp run` prints for a prompt, without the newline at the end. */
static char *run_text(const char *model, const char *how, const char *ranks)
{
    spawned s = SPAWN("tlp", "run", "-m", model, how, "-n", "12", "-p", PROMPT,
                      "-c", "256", "-t", "1", "--ranks", ranks);

    tool_expect_status(&s, 0);
    char *text = strndup(s.out, s.n_out - 1);
    spawn_free(&s);
    return text;
}

/* ==== what the server says of itself ===================================== */

Test(tool_serve, facts)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o = web_get_object(&s, "/health");

    cr_expect_str_eq(web_text(o, "status"), "ok");
    json_decref(o);
    o = web_get_object(&s, "/v1/models");
    cr_expect_str_eq(web_text(o, "data.0.id"), "tiny");
    cr_expect_eq(web_number(o, "data.0.max_model_len"), 256);
    cr_expect_eq(web_number(o, "data.0.meta.n_vocab"), TOOL_N_VOCAB);
    json_decref(o);
    o = web_get_object(&s, "/v1/models/tiny");
    cr_expect_str_eq(web_text(o, "object"), "model");
    json_decref(o);
    o = web_get_object(&s, "/props");
    cr_expect_eq(web_number(o, "total_slots"), 4);
    cr_expect_str_eq(web_text(o, "tlp.plan"), "serial");
    cr_expect_eq(web_number(o, "tlp.exchanges_per_token"), 0);
    cr_expect(strstr(web_text(o, "chat_template"), "im_start"));
    json_decref(o);
    stop(&s);
}

Test(tool_serve, paths_and_methods)
{
    const char *m = tool_model();
    web_server s = start(m);
    web_answer a = web_get(&s, "/v2");

    web_expect_error(&a, 404, "/v2");
    web_free(&a);
    a = web_get(&s, "/v1/models/huge");
    web_expect_error(&a, 404, "tiny expected");
    web_free(&a);
    a = web_get(&s, "/v1/chat/completions");
    web_expect_error(&a, 405, "POST expected");
    cr_expect(strstr(a.head, "Allow: POST"));
    web_free(&a);
    a = web_request(&s, "DELETE", "/health", "", NULL, 0);
    web_expect_error(&a, 405, "GET expected");
    web_free(&a);
    a = web_request(&s, "POST", "/tokenize",
                    "Content-Length: 2\r\nContent-Type: text/plain\r\n", NULL,
                    0);
    web_expect_error(&a, 415, "application/json expected");
    web_free(&a);
    stop(&s);
}

Test(tool_serve, page)
{
    const char *m = tool_model();
    web_server s = WEB_START(m, "--api-key", "k");
    web_answer a = web_get(&s, "/");

    cr_expect_eq(a.status, 200);
    cr_expect(strstr(a.head, "Content-Type: text/html; charset=utf-8"));
    cr_expect(strstr(a.head, "Content-Security-Policy: default-src 'none'"));
    cr_expect(strstr(a.body, "<!DOCTYPE html>") == a.body);
    cr_expect(strstr(a.body, "</html>"));
    /* It works without a network. */
    cr_expect_null(strstr(a.body, "http:"));
    cr_expect_null(strstr(a.body, "https:"));
    web_free(&a);
    stop(&s);
}

Test(tool_serve, tokens_and_templates)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o =
        web_object(&s, "/tokenize", "{\"content\":\"the world<|im_end|>\"}");
    json_t *tokens = json_object_get(o, "tokens"), *back;
    size_t n = json_array_size(tokens);
    char *ask;

    cr_expect_eq(web_number(o, "count"), n);
    cr_expect_eq(json_integer_value(json_array_get(tokens, n - 1)),
                 TOOL_N_VOCAB - 1);
    ask = json_dumps(o, JSON_COMPACT);
    *strstr(ask, ",\"count\"") = '}';
    strchr(ask, '}')[1] = '\0';
    back = web_object(&s, "/detokenize", ask);
    cr_expect_str_eq(web_text(back, "content"), "the world<|im_end|>");
    free(ask);
    json_decref(back);
    json_decref(o);
    o = web_object(&s, "/tokenize",
                   "{\"prompt\":\"\xe2\x82\xac\",\"parse_special\":false}");
    cr_expect_eq(web_number(o, "count"), 3); /* bytes */
    json_decref(o);
    o = web_object(&s, "/tokenize",
                   "{\"content\":\"\xe2\x82\xac the\",\"with_pieces\":true}");
    cr_expect_eq(web_number(o, "tokens.0.piece.0"), 0xe2);
    cr_expect_str_eq(web_text(o, "tokens.3.piece"), " the");
    json_decref(o);
    o = web_object(&s, "/apply-template",
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    cr_expect_str_eq(web_text(o, "prompt"), "<|im_start|>user\nx<|im_end|>\n"
                                            "<|im_start|>assistant\n");
    json_decref(o);
    stop(&s);
}

/* ==== completions ======================================================== */

static void expect_run(const char *plan, const char *ranks)
{
    const char *m = tool_model();
    char *raw = run_text(m, "--raw", ranks);
    char *chat = run_text(m, "--chat", ranks);
    web_server s = WEB_START(m, "--ranks", ranks, "--plan", plan, "-c", "256");
    json_t *o = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"" PROMPT "\",\"max_tokens\":12,"
                           "\"temperature\":0}");

    cr_expect_str_eq(web_text(o, "object"), "text_completion");
    cr_expect_str_eq(web_text(o, "choices.0.text"), raw);
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "length");
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 12);
    cr_expect_eq(web_number(o, "usage.total_tokens"),
                 12 + web_number(o, "usage.prompt_tokens"));
    json_decref(o);
    o = web_object(&s, "/v1/chat/completions",
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"" PROMPT
                   "\"}],\"max_tokens\":12,\"temperature\":0}");
    cr_expect_str_eq(web_text(o, "object"), "chat.completion");
    cr_expect_str_eq(web_text(o, "choices.0.message.content"), chat);
    cr_expect_str_eq(web_text(o, "choices.0.message.role"), "assistant");
    json_decref(o);
    free(raw);
    free(chat);
    stop(&s);
}

Test(tool_serve, greedy_texts_are_those_of_tlp_run)
{
    expect_run("serial", "1");
    expect_run("serial", "2");
}

/* Log-probabilities of tokens as a session of the library's has them. */
static void score(const char *m, const int32_t *ids, size_t n, float *out)
{
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;

    CHECK_OK(tlp_model_open(&model, m, NULL));
    CHECK_OK(tlp_plan_parse(&plan, model, "serial"));
    CHECK_OK(tlp_session_create(&session, plan, NULL));
    CHECK_OK(tlp_session_score(out, session, 0, ids, n));
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
}

static double greatest(json_t *top)
{
    const char *key;
    json_t *value;
    double best = -INFINITY;

    json_object_foreach(top, key, value)
    {
        best = fmax(best, json_number_value(value));
    }
    return best;
}

/* Whether the token itself is among the named ones. */
static bool has_value(json_t *top, double x)
{
    const char *key;
    json_t *value;
    bool found = false;

    json_object_foreach(top, key, value)
    {
        found |= json_number_value(value) == x;
    }
    return found;
}

/* What lm-eval asks for: prompts of tokens, echo, and one token more. */
Test(tool_serve, log_probabilities_of_prompts)
{
    const int32_t ids[2][6] = { { 5, 80, 260, 17, 9, 33 },
                                { 99, 100, 101, 102, 103, 104 } };
    const char *m = tool_model();
    web_server s = start(m);
    float expected[6];
    json_t *o = web_object(
        &s, "/v1/completions",
        "{\"prompt\":[[5,80,260,17,9,33],[99,100,101,102,103,104]],"
        "\"max_tokens\":1,\"echo\":true,\"logprobs\":2,\"temperature\":0,"
        "\"seed\":1234,\"model\":\"tiny\"}");

    for (int i = 0; i < 2; i++) {
        json_t *c = json_array_get(json_object_get(o, "choices"), (size_t)i);
        json_t *l = json_object_get(c, "logprobs");
        json_t *top = json_object_get(l, "top_logprobs");

        score(m, ids[i], 6, expected);
        cr_expect_eq(web_number(c, "index"), i);
        cr_expect_eq(json_array_size(json_object_get(l, "tokens")), 7);
        cr_expect(json_is_null(web_at(l, "token_logprobs.0")));
        cr_expect(json_is_null(json_array_get(top, 0)));
        for (size_t k = 1; k < 6; k++) {
            json_t *x = json_array_get(json_object_get(l, "token_logprobs"), k);
            json_t *t = json_array_get(top, k);

            cr_expect_float_eq(json_number_value(x), expected[k], 1e-4);
            cr_expect(json_object_size(t) == 2 || json_object_size(t) == 3);
            cr_expect(has_value(t, json_number_value(x)));
            cr_expect_leq(json_number_value(x), greatest(t));
        }
        /* greedy: the token that was written is the likeliest */
        cr_expect_eq(web_number(l, "token_logprobs.6"),
                     greatest(json_array_get(top, 6)));
        cr_expect_eq(web_number(l, "text_offset.0"), 0);
    }
    cr_expect_eq(web_number(o, "usage.prompt_tokens"), 12);
    json_decref(o);
    /* the prompt alone */
    o = web_object(&s, "/v1/completions",
                   "{\"prompt\":[97,98,99],\"max_tokens\":0,\"echo\":true,"
                   "\"logprobs\":0}");
    cr_expect_eq(json_array_size(web_at(o, "choices.0.logprobs.tokens")), 3);
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 0);
    cr_expect_eq(strlen(web_text(o, "choices.0.text")), 3);
    cr_expect_eq(web_number(o, "choices.0.logprobs.text_offset.2"), 2);
    json_decref(o);
    stop(&s);
}

Test(tool_serve, sampling_and_ends)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"hello\",\"max_tokens\":5,"
                           "\"logit_bias\":{\"70\":100},\"temperature\":0}");
    char *text, same[64];

    /* A bias that nothing outweighs: five times one token. */
    text = strdup(web_text(o, "choices.0.text"));
    memset(same, text[0], 5);
    same[5] = '\0';
    cr_expect_str_eq(text, same);
    json_decref(o);
    snprintf(same, sizeof same,
             "{\"prompt\":\"hello\",\"stop\":[\"zz\",\"%c%c\"],"
             "\"logit_bias\":{\"70\":100}}",
             text[0], text[0]);
    o = web_object(&s, "/v1/completions", same);
    cr_expect_str_eq(web_text(o, "choices.0.text"), "");
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "stop");
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 2);
    json_decref(o);
    o = web_object(&s, "/v1/completions",
                   "{\"prompt\":\"hello\",\"stop_token_ids\":[70],"
                   "\"logit_bias\":{\"70\":100}}");
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 1);
    json_decref(o);
    free(text);

    static const char drawn[] =
        "{\"prompt\":\"" PROMPT "\",\"n\":3,\"seed\":7,\"max_tokens\":8,"
        "\"ignore_eos\":true,\"top_k\":50,\"top_p\":0.9,\"min_p\":0.01,"
        "\"repeat_penalty\":1.1,\"presence_penalty\":0.5,"
        "\"frequency_penalty\":0.5,\"best_of\":3,\"user\":\"x\"}";
    json_t *p = web_object(&s, "/v1/completions", drawn);

    o = web_object(&s, "/v1/completions", drawn);
    for (int i = 0; i < 3; i++) {
        char path[32];

        snprintf(path, sizeof path, "choices.%d.text", i);
        cr_expect_str_eq(web_text(o, path), web_text(p, path));
    }
    cr_expect_str_neq(web_text(o, "choices.0.text"),
                      web_text(o, "choices.1.text"));
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 24);
    cr_expect_gt(web_number(o, "usage.prompt_tokens_details.cached_tokens"), 0);
    json_decref(o);
    json_decref(p);
    stop(&s);
}

/* The model's end token, which a bias makes certain. */
Test(tool_serve, end_tokens)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"a\",\"logit_bias\":{\"287\":100}}");

    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "stop");
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 1);
    json_decref(o);
    o = web_object(&s, "/v1/completions",
                   "{\"prompt\":\"a\",\"logit_bias\":{\"287\":100},"
                   "\"ignore_eos\":true,\"max_tokens\":3,"
                   "\"skip_special_tokens\":false}");
    cr_expect_str_eq(web_text(o, "choices.0.finish_reason"), "length");
    cr_expect_str_eq(web_text(o, "choices.0.text"),
                     "<|im_end|><|im_end|><|im_end|>");
    json_decref(o);
    stop(&s);
}

/* The smallest set of tokens with no probability is the likeliest token. */
Test(tool_serve, top_p_of_zero_is_greedy)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *a = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"" PROMPT "\",\"temperature\":0}");
    json_t *b = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"" PROMPT "\",\"temperature\":2,"
                           "\"top_p\":0}");

    cr_expect_str_eq(web_text(b, "choices.0.text"),
                     web_text(a, "choices.0.text"));
    json_decref(a);
    json_decref(b);
    stop(&s);
}

/* ==== streams ============================================================ */

/* The text of choice `index` in all events; checks their form. */
static void join(const web_answer *a, const char *path, int index, char *text,
                 int *n_reason)
{
    const char *at = NULL;
    json_t *e;
    bool done = false;

    *text = '\0';
    *n_reason = 0;
    while ((e = web_event(a, &at)) != NULL) {
        json_t *choice = web_at(e, "choices.0");
        const char *piece = json_string_value(web_at(e, path));

        cr_expect(!done, "an event behind [DONE]");
        done = json_is_string(e);
        if (choice &&
            json_integer_value(json_object_get(choice, "index")) == index) {
            strcat(text, piece ? piece : "");
            *n_reason += json_is_string(web_at(choice, "finish_reason"));
        }
        json_decref(e);
    }
    cr_expect(done, "no [DONE]");
}

Test(tool_serve, streams_have_the_text_of_whole_answers)
{
    const char *m = tool_model();
    web_server s = start(m);
    char text[4096];
    int n_reason;

#define ASK                                                                    \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],"               \
    "\"max_tokens\":30,\"seed\":3,\"n\":2,\"ignore_eos\":true"
    json_t *o = web_object(&s, "/v1/chat/completions", ASK "}");
    web_answer a = web_post(&s, "/v1/chat/completions",
                            ASK ",\"stream\":true,\"stream_options\":"
                                "{\"include_usage\":true}}");

    cr_expect_eq(a.status, 200);
    cr_expect(strstr(a.head, "text/event-stream"));
    for (int i = 0; i < 2; i++) {
        char path[40];

        join(&a, "choices.0.delta.content", i, text, &n_reason);
        snprintf(path, sizeof path, "choices.%d.message.content", i);
        cr_expect_str_eq(text, web_text(o, path));
        cr_expect_eq(n_reason, 1);
    }
    cr_expect(strstr(a.body, "\"completion_tokens\":60"));
    cr_expect(strstr(a.body, "\"role\":\"assistant\",\"content\":\"\""));
    web_free(&a);
    json_decref(o);

#undef ASK
#define ASK                                                                    \
    "{\"prompt\":[97,98],\"max_tokens\":9,\"seed\":3,\"echo\":true,"           \
    "\"logprobs\":1"
    o = web_object(&s, "/v1/completions", ASK "}");
    a = web_post(&s, "/v1/completions", ASK ",\"stream\":true}");
    join(&a, "choices.0.text", 0, text, &n_reason);
    cr_expect_str_eq(text, web_text(o, "choices.0.text"));
    cr_expect_eq(n_reason, 1);
    cr_expect_null(strstr(a.body, "usage"));
    web_free(&a);
    json_decref(o);
    stop(&s);
}

/* ==== chats ============================================================== */

Test(tool_serve, chats_with_log_probabilities)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o =
        web_object(&s, "/v1/chat/completions",
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"max_completion_tokens\":4,\"temperature\":0,"
                   "\"logprobs\":true,\"top_logprobs\":3,\"ignore_eos\":true}");
    json_t *content = web_at(o, "choices.0.logprobs.content");

    cr_expect_eq(json_array_size(content), 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *t = json_array_get(content, i);

        cr_expect_eq(json_array_size(web_at(t, "top_logprobs")), 3);
        cr_expect_eq(web_number(t, "logprob"),
                     web_number(t, "top_logprobs.0.logprob"));
        cr_expect_gt(json_array_size(web_at(t, "bytes")), 0);
    }
    json_decref(o);
    /* The text of the last message goes on. */
    o = web_object(&s, "/apply-template",
                   "{\"messages\":[{\"role\":\"assistant\",\"content\":\"ab\"}"
                   "],\"continue_final_message\":true}");
    cr_expect_str_eq(web_text(o, "prompt"), "<|im_start|>assistant\nab");
    json_decref(o);
    /* The tiny model's template has no tools: they are not lost in silence. */
    web_answer a = web_post(
        &s, "/v1/chat/completions",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
        "\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}");
    web_expect_error(&a, 400, "tools");
    cr_expect_null(strstr(a.body, m), "the path of the model: %s", a.body);
    web_free(&a);
    stop(&s);
}
