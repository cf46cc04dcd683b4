/*
 * test_tool_serve_embed.c - tlp serve: /v1/embeddings beside what the library
 * gives, what it refuses, and /slots.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/check.h"
#include "support/tool.h"
#include "support/vector_of.h"
#include "support/web.h"

TestSuite(tool_serve_embed, .timeout = 120);

#define EMBED "/v1/embeddings"
#define TEXT "the world and hello"
enum { D = 96 };

static web_server start(const char *model)
{
    return WEB_START(model, "--parallel", "2", "-c", "128", "--alias", "tiny",
                     "--queue", "8");
}

static void stop(web_server *s)
{
    cr_expect(web_wait_metric(s, "vllm:num_requests_running", 0, 5));
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* ==== vectors ============================================================ */

static void expect_vector(json_t *o, int index, const float *want)
{
    char path[48];

    snprintf(path, sizeof path, "data.%d.embedding", index);
    json_t *list = web_at(o, path);

    cr_assert_eq(json_array_size(list), D);
    for (size_t i = 0; i < D; i++) {
        double x = json_number_value(json_array_get(list, i));

        cr_expect(fabs(x - (double)want[i]) <= 1e-8 * fmax(1, fabs(x)),
                  "%s.%zu: %g, %g expected", path, i, x, (double)want[i]);
    }
    snprintf(path, sizeof path, "data.%d.index", index);
    cr_expect_eq(web_number(o, path), index);
}

Test(tool_serve_embed, one_text)
{
    const char *m = tool_model();
    float want[D];
    size_t n = vector_of(m, TEXT, TLP_POOLING_LAST, 0, want);
    web_server s = start(m);
    json_t *o = web_object(&s, EMBED, "{\"input\":\"" TEXT "\"}");

    cr_expect_str_eq(web_text(o, "object"), "list");
    cr_expect_str_eq(web_text(o, "model"), "tiny");
    cr_expect_str_eq(web_text(o, "data.0.object"), "embedding");
    cr_expect_eq(web_number(o, "usage.prompt_tokens"), n);
    cr_expect_eq(web_number(o, "usage.total_tokens"), n);
    expect_vector(o, 0, want);
    json_decref(o);
    o = web_object(&s, EMBED,
                   "{\"input\":\"" TEXT "\",\"dimensions\":96,\"user\":\"u\","
                   "\"model\":\"tiny\",\"encoding_format\":\"float\","
                   "\"normalize\":false}");
    vector_of(m, TEXT, TLP_POOLING_LAST, 1, want);
    expect_vector(o, 0, want);
    json_decref(o);
    o = web_object(&s, EMBED, "{\"input\":\"" TEXT "\",\"embd_normalize\":-1}");
    expect_vector(o, 0, want);
    json_decref(o);
    stop(&s);
}

Test(tool_serve_embed, mean_on_two_ranks)
{
    const char *m = tool_model();
    float want[D];
    web_server s = WEB_START(m, "--pooling", "mean", "--compute", "f32",
                             "--ranks", "2", "--kv", "f32");
    json_t *o = web_object(&s, EMBED, "{\"input\":\"" TEXT "\"}");
    json_t *list = web_at(o, "data.0.embedding");
    double dot = 0;

    /* The library's vector has 8-bit activations: the direction is equal. */
    vector_of(m, TEXT, TLP_POOLING_MEAN, 0, want);
    for (size_t i = 0; i < D; i++)
        dot += json_number_value(json_array_get(list, i)) * (double)want[i];
    cr_expect(dot > 0.995, "cosine %g", dot);
    json_decref(o);
    stop(&s);
}

/* Texts, token ids, and both; more texts than sequences. */
Test(tool_serve_embed, lists)
{
    static const char *const text[] = { "the", TEXT, "hello" };
    const char *m = tool_model();
    float want[3][D];
    web_server s = start(m);
    json_t *o = web_object(&s, EMBED,
                           "{\"input\":[\"the\",\"" TEXT
                           "\",\"hello\",\"the\",\"hello\"]}");

    for (int i = 0; i < 3; i++)
        vector_of(m, text[i], TLP_POOLING_LAST, 0, want[i]);
    cr_expect_eq(json_array_size(web_at(o, "data")), 5);
    for (int i = 0; i < 5; i++)
        expect_vector(o, i, want[i < 3 ? i : i == 3 ? 0 : 2]);
    json_decref(o);
    json_t *ids = web_object(&s, "/tokenize", "{\"content\":\"" TEXT "\"}");
    char *list = json_dumps(web_at(ids, "tokens"), JSON_COMPACT), ask[512];
    snprintf(ask, sizeof ask, "{\"input\":%s}", list);
    o = web_object(&s, EMBED, ask);
    cr_expect_eq(json_array_size(web_at(o, "data")), 1);
    expect_vector(o, 0, want[1]);
    json_decref(o);
    snprintf(ask, sizeof ask, "{\"input\":[\"hello\",%s]}", list);
    o = web_object(&s, EMBED, ask);
    expect_vector(o, 0, want[2]);
    expect_vector(o, 1, want[1]);
    json_decref(o);
    json_decref(ids);
    free(list);
    stop(&s);
}

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                 "stuvwxyz0123456789+/";
    const char *at = strchr(digits, c);

    return c && at ? (int)(at - digits) : -1;
}

/* 96 values are 384 bytes and 512 digits without padding. */
Test(tool_serve_embed, base64)
{
    const char *m = tool_model();
    web_server s = start(m);
    json_t *o = web_object(
        &s, EMBED, "{\"input\":\"" TEXT "\",\"encoding_format\":\"base64\"}");
    const char *text = web_text(o, "data.0.embedding");
    unsigned char byte[4 * D];
    float want[D], got[D];

    vector_of(m, TEXT, TLP_POOLING_LAST, 0, want);
    cr_assert_eq(strlen(text), 512);
    for (int i = 0, k = 0; i < 512; i += 4) {
        int v = 0;

        for (int d = 0; d < 4; d++) {
            cr_assert_geq(digit(text[i + d]), 0);
            v = v << 6 | digit(text[i + d]);
        }
        byte[k++] = (unsigned char)(v >> 16);
        byte[k++] = (unsigned char)(v >> 8 & 255);
        byte[k++] = (unsigned char)(v & 255);
    }
    for (int i = 0; i < D; i++) {
        uint32_t bits = (uint32_t)byte[4 * i] | (uint32_t)byte[4 * i + 1] << 8 |
                        (uint32_t)byte[4 * i + 2] << 16 |
                        (uint32_t)byte[4 * i + 3] << 24;

        memcpy(&got[i], &bits, sizeof bits);
    }
    cr_expect(memcmp(got, want, sizeof got) == 0);
    json_decref(o);
    stop(&s);
}

/* ==== what is refused ==================================================== */

static const struct {
    const char *body, *error;
} bad[] = {
    { "", "the body is empty" },
    { "[]", "the body is an array" },
    { "{}", "input: a text" },
    { "{\"input\":null}", "input: a text" },
    { "{\"input\":\"\"}", "text 0 is empty" },
    { "{\"input\":[]}", "input: 0 texts" },
    { "{\"input\":[[]]}", "text 0 has no tokens" },
    { "{\"input\":[\"a\",\"\"]}", "text 1 is empty" },
    { "{\"input\":7}", "text 0 is an integer" },
    { "{\"input\":true}", "text 0 is a boolean" },
    { "{\"input\":{}}", "text 0 is an object" },
    { "{\"input\":[\"a\",7]}", "text 1 is an integer" },
    { "{\"input\":[\"a\",null]}", "text 1 is null" },
    { "{\"input\":[1,\"a\"]}", "element 1 is a string" },
    { "{\"input\":[-1]}", "-1 is outside 0 to 287" },
    { "{\"input\":[[1],[288]]}", "288 is outside" },
    { "{\"input\":[4294967297]}", "4294967297 is outside" },
    { "{\"input\":[1e2]}", "element 0 is a number" },
    { "{\"input\":[NaN]}", "no JSON" },
    { "{\"input\":\"\\ud800\"}", "no JSON" },
    { "{\"input\":\"a\",\"dimensions\":64}", "dimensions: 64, 96 expected" },
    { "{\"input\":\"a\",\"dimensions\":-96}", "dimensions: -96" },
    { "{\"input\":\"a\",\"dimensions\":96.5}", "dimensions: a number" },
    { "{\"input\":\"a\",\"dimensions\":99999999999999999999}", "no JSON" },
    { "{\"input\":\"a\",\"encoding_format\":\"int8\"}",
      "int8: float or base64" },
    { "{\"input\":\"a\",\"encoding_format\":64}", "encoding_format: an int" },
    { "{\"input\":\"a\",\"normalize\":1}", "normalize: an integer" },
    { "{\"input\":\"a\",\"embd_normalize\":1}", "embd_normalize: 1" },
    { "{\"input\":\"a\",\"user\":7}", "user: an integer" },
    { "{\"input\":\"a\",\"model\":\"gpt-9\"}", "gpt-9" },
    { "{\"input\":\"a\",\"prompt\":\"b\"}", "prompt: the server does not" },
    { "{\"input\":\"a\",\"input\":\"b\"}", "duplicate" },
};

Test(tool_serve_embed, fields)
{
    web_server s = start(tool_model());

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        web_answer a = web_post(&s, EMBED, bad[i].body);

        web_expect_error(&a, strstr(bad[i].body, "gpt-9") ? 404 : 400,
                         bad[i].error);
        web_free(&a);
    }
    web_answer a = web_get(&s, EMBED);
    web_expect_error(&a, 405, "POST expected");
    web_free(&a);
    stop(&s);
}

/* {"input":[unit,unit,...]} with n units; the caller frees it. */
static char *list_of(const char *unit, int n)
{
    char *text = malloc(32 + (size_t)n * (strlen(unit) + 1)), *at = text;

    at = stpcpy(at, "{\"input\":[");
    for (int i = 0; i < n; i++)
        at = stpcpy(stpcpy(at, i ? "," : ""), unit);
    stpcpy(at, "]}");
    return text;
}

/* A text that does not fit is known before any is evaluated; so is one text too
 * many. */
Test(tool_serve_embed, sizes)
{
    web_server s = start(tool_model());
    char *ask = list_of("9", 129);
    web_answer a = web_post(&s, EMBED, ask);

    web_expect_error(&a, 400, "text 0 has 129 tokens, at most 128");
    cr_expect(strstr(a.body, "context_length_exceeded"));
    web_free(&a);
    free(ask);
    ask = list_of("9", 128);
    json_t *o = web_object(&s, EMBED, ask);
    cr_expect_eq(web_number(o, "usage.total_tokens"), 128);
    json_decref(o);
    free(ask);
    ask = list_of("\"a\"", 2049);
    a = web_post(&s, EMBED, ask);
    web_expect_error(&a, 400, "input: 2049 texts, 1 to 2048");
    web_free(&a);
    free(ask);
    cr_expect_eq(web_metric(&s, "vllm:prompt_tokens_total"), 128);
    stop(&s);
}

/* Far more texts than the queue has places; a chat comes through between. */
Test(tool_serve_embed, thousands_beside_a_text)
{
    web_server s = start(tool_model());
    char *ask = list_of("[1,2,3]", 2048);
    int fd = web_connect(&s);

    web_send_json(fd, EMBED, ask);
    cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 1, 20));
    for (int i = 0; i < 5; i++)
        cr_expect_leq(web_metric(&s, "vllm:num_requests_running") +
                          web_metric(&s, "vllm:num_requests_waiting"),
                      2, "a sequence and the queue are left to others");
    json_t *o = web_object(&s, "/v1/completions",
                           "{\"prompt\":\"hello\",\"max_tokens\":3,"
                           "\"ignore_eos\":true}");
    cr_expect_eq(web_number(o, "usage.completion_tokens"), 3);
    json_decref(o);
    cr_expect_lt(web_metric(&s, "vllm:prompt_tokens_total"), 3 * 2048,
                 "the text has waited for all embeddings");
    web_answer a = web_read(fd);
    cr_expect_eq(a.status, 200);
    cr_expect(strstr(a.body, "\"index\":2047"));
    cr_expect(strstr(a.body, "\"total_tokens\":6144"));
    web_free(&a);
    free(ask);
    stop(&s);
}

/* ==== /slots ============================================================= */

/* Wait until the first slot does this. */
static json_t *wait_for_state(const web_server *s, const char *state)
{
    json_t *o = NULL;

    for (int i = 0; i < 500; i++) {
        web_answer a = web_get(s, "/slots");

        cr_assert_eq(a.status, 200);
        o = json_loads(a.body, 0, NULL);
        web_free(&a);
        cr_assert_eq(json_array_size(o), 2);
        if (!strcmp(web_text(o, "0.state"), state))
            return o;
        json_decref(o);
    }
    cr_assert_fail("no slot is in state %s", state);
    return NULL;
}

Test(tool_serve_embed, slots)
{
    web_server s = WEB_START(tool_model(), "--parallel", "2", "-c", "4096");
    json_t *o = wait_for_state(&s, "idle");
    int fd = web_connect(&s);
    web_answer a;

    cr_expect(json_is_false(web_at(o, "0.is_processing")));
    cr_expect_eq(web_number(o, "1.id"), 1);
    cr_expect_eq(web_number(o, "0.n_ctx"), 4096);
    json_decref(o);
    web_send_json(fd, "/v1/completions",
                  "{\"prompt\":[1,2,3,4,5],\"max_tokens\":3000,\"n\":2,"
                  "\"ignore_eos\":true,\"temperature\":0.5,\"seed\":42,"
                  "\"top_k\":7,\"top_p\":0.75,\"min_p\":0.01,"
                  "\"repeat_penalty\":1.25}");
    o = wait_for_state(&s, "text");
    cr_expect(json_is_true(web_at(o, "0.is_processing")));
    cr_expect_gt(web_number(o, "0.id_task"), 0);
    cr_expect_eq(web_number(o, "0.id_task"), web_number(o, "1.id_task"));
    cr_expect_eq(web_number(o, "0.choice") + web_number(o, "1.choice"), 1);
    cr_expect_eq(web_number(o, "0.n_prompt_tokens"), 5);
    cr_expect_eq(web_number(o, "0.n_prompt_tokens_processed"), 5);
    cr_expect_gt(web_number(o, "0.next_token.n_decoded"), 0);
    cr_expect_eq(web_number(o, "0.next_token.n_decoded") +
                     web_number(o, "0.next_token.n_remain"),
                 3000);
    cr_expect_eq(web_number(o, "0.params.n_predict"), 3000);
    cr_expect_eq(web_number(o, "0.params.temperature"), 0.5);
    cr_expect_eq(web_number(o, "0.params.seed"), 42);
    cr_expect_eq(web_number(o, "0.params.top_k"), 7);
    cr_expect_eq(web_number(o, "0.params.top_p"), 0.75);
    cr_expect_eq(web_number(o, "0.params.repeat_penalty"), 1.25);
    json_decref(o);
    a = web_get(&s, "/slots?fail_on_no_slot=1");
    web_expect_error(&a, 503, "all 2 slots are busy");
    web_free(&a);
    shutdown(fd, SHUT_RDWR); /* the client leaves */
    json_decref(wait_for_state(&s, "idle"));
    a = web_get(&s, "/slots?fail_on_no_slot=1");
    cr_expect_eq(a.status, 200);
    web_free(&a);
    stop(&s);
}

Test(tool_serve_embed, slots_need_a_key)
{
    web_server s = WEB_START(tool_model(), "--api-key", "k");
    web_answer a = web_get(&s, "/slots");

    web_expect_error(&a, 401, "API key");
    web_free(&a);
    cr_expect_eq(web_end(&s, SIGTERM, 20), 0);
}
