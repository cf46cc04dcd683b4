/*
 * test_tool_serve_hostile.c - tlp serve: requests that are wrong get an error
 * object and a 4xx, and others go on.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_hostile, .timeout = 120);

#define COMPLETE "/v1/completions"
#define CHAT "/v1/chat/completions"

static web_server start(void)
{
    return WEB_START(tool_model(), "--parallel", "2", "-c", "128", "--queue",
                     "8");
}

/* The server answers others as if nothing had been. */
static void stop(web_server *s)
{
    json_t *o = web_object(s, COMPLETE,
                           "{\"prompt\":\"hello\",\"max_tokens\":3,"
                           "\"ignore_eos\":true}");

    cr_expect_eq(web_number(o, "usage.completion_tokens"), 3);
    json_decref(o);
    cr_expect(web_wait_metric(s, "vllm:num_requests_running", 0, 5));
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* ==== fields ============================================================= */

static const struct {
    const char *path, *body, *error;
} bad[] = {
    { COMPLETE, "", "the body is empty" },
    { COMPLETE, "{", "no JSON" },
    { COMPLETE, "[]", "the body is an array" },
    { COMPLETE, "{\"prompt\":\"a\",\"prompt\":\"b\"}", "duplicate" },
    { COMPLETE, "{}", "prompt: a text" },
    { COMPLETE, "{\"prompt\":null}", "prompt: a text" },
    { COMPLETE, "{\"prompt\":3}", "prompt: an integer" },
    { COMPLETE, "{\"prompt\":[]}", "prompt: 0 prompts" },
    { COMPLETE, "{\"prompt\":\"\"}", "no tokens" },
    { COMPLETE, "{\"prompt\":[[]]}", "no tokens" },
    { COMPLETE, "{\"prompt\":[1,\"a\"]}", "element 1 is a string" },
    { COMPLETE, "{\"prompt\":[-1]}", "-1 is outside" },
    { COMPLETE, "{\"prompt\":[288]}", "288 is outside" },
    { COMPLETE, "{\"prompt\":[4294967297]}", "4294967297 is outside" },
    { COMPLETE, "{\"prompt\":[1.5]}", "element 0 is a number" },
    { COMPLETE, "{\"prompt\":[\"a\",[1],{}]}", "prompt: an object" },
    { COMPLETE, "{\"prompt\":\"\\ud800\"}", "no JSON" },
    { COMPLETE, "{\"prompt\":\"a\\u0000b\"}", "no JSON" },
    { COMPLETE, "{\"prompt\":\"\xff\xfe\"}", "no JSON" },
    { COMPLETE, "{\"prompt\":\"a\",\"max_tokens\":-2}", "max_tokens: -2" },
    { COMPLETE, "{\"prompt\":\"a\",\"max_tokens\":\"9\"}", "a string" },
    { COMPLETE, "{\"prompt\":\"a\",\"max_tokens\":1e400}", "no JSON" },
    { COMPLETE, "{\"prompt\":\"a\",\"max_tokens\":99999999999}", "outside" },
    { COMPLETE, "{\"prompt\":\"a\",\"max_tokens\":99999999999999999999}",
      "no JSON" },
    { COMPLETE, "{\"prompt\":\"a\",\"temperature\":-0.1}", "temperature" },
    { COMPLETE, "{\"prompt\":\"a\",\"temperature\":\"hot\"}", "a string" },
    { COMPLETE, "{\"prompt\":\"a\",\"temperature\":1e300}", "temperature" },
    { COMPLETE, "{\"prompt\":\"a\",\"top_p\":1.01}", "top_p" },
    { COMPLETE, "{\"prompt\":\"a\",\"top_k\":-2}", "top_k" },
    { COMPLETE, "{\"prompt\":\"a\",\"n\":0}", "n: 0 is outside 1 to 2" },
    { COMPLETE, "{\"prompt\":\"a\",\"n\":1000000}", "n: 1000000" },
    { COMPLETE, "{\"prompt\":\"a\",\"n\":true}", "a boolean" },
    { COMPLETE, "{\"prompt\":\"a\",\"best_of\":2}", "best_of" },
    { COMPLETE, "{\"prompt\":\"a\",\"logprobs\":65}", "logprobs: 65" },
    { COMPLETE, "{\"prompt\":\"a\",\"stop\":\"\"}", "stop" },
    { COMPLETE, "{\"prompt\":\"a\",\"stop\":[1]}", "stop: an integer" },
    { COMPLETE, "{\"prompt\":\"a\",\"logit_bias\":[]}", "an array" },
    { COMPLETE, "{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", "token ids" },
    { COMPLETE, "{\"prompt\":\"a\",\"logit_bias\":{\"288\":1}}", "0 to 287" },
    { COMPLETE, "{\"prompt\":\"a\",\"logit_bias\":{\"1\":101}}", "100" },
    { COMPLETE, "{\"prompt\":\"a\",\"stream\":1}", "stream: an integer" },
    { COMPLETE, "{\"prompt\":\"a\",\"stream_options\":{}}", "stream" },
    { COMPLETE, "{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix" },
    { COMPLETE, "{\"prompt\":\"a\",\"model\":\"gpt-9\"}", "gpt-9" },
    { COMPLETE, "{\"prompt\":\"a\",\"grammar\":\"root\"}", "grammar" },
    { COMPLETE, "{\"prompt\":\"a\",\"mirostat\":2}", "mirostat: the server" },
    { CHAT, "{\"messages\":[]}", "at least one message" },
    { CHAT, "{\"messages\":{}}", "messages: an object" },
    { CHAT, "{\"messages\":[1]}", "message 0: an object" },
    { CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "content" },
    { CHAT, "{\"messages\":[{\"content\":\"a\"}]}", "role" },
    { CHAT, "{\"prompt\":\"a\"}", "messages" },
#define MESSAGES "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
    { CHAT, MESSAGES "\"max_tokens\":0}", "at least 1" },
    { CHAT, MESSAGES "\"max_tokens\":2,\"max_completion_tokens\":3}",
      "another number" },
    { CHAT, MESSAGES "\"top_logprobs\":2}", "logprobs with true" },
    { CHAT, MESSAGES "\"tool_choice\":\"required\"}", "tool_choice" },
    { CHAT, MESSAGES "\"functions\":[]}", "functions" },
    { CHAT, MESSAGES "\"modalities\":[\"audio\"]}", "modalities" },
    { CHAT, MESSAGES "\"chat_template_kwargs\":[]}", "an array" },
    { CHAT, MESSAGES "\"store\":true}", "store" },
    { CHAT, MESSAGES "\"reasoning_effort\":\"high\"}", "reasoning_effort" },
    { "/tokenize", "{}", "content" },
    { "/tokenize", "{\"content\":1}", "content: an integer" },
    { "/tokenize", "{\"content\":\"a\",\"prompt\":\"b\"}", "content" },
    { "/detokenize", "{\"tokens\":\"a\"}", "tokens" },
    { "/detokenize", "{\"tokens\":[999999]}", "999999 is outside" },
    { "/apply-template", "{\"messages\":3}", "messages: an integer" },
    { "/apply-template", MESSAGES "\"x\":3}", "x: the server" },
};

Test(tool_serve_hostile, fields)
{
    web_server s = start();
    web_answer a;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        a = web_post(&s, bad[i].path, bad[i].body);
        web_expect_error(&a, strstr(bad[i].body, "gpt-9") ? 404 : 400,
                         bad[i].error);
        web_free(&a);
    }
    stop(&s);
}

/* ==== sizes ============================================================== */

/* `unit` n times between two texts; the caller frees it. */
static char *repeat(const char *begin, const char *unit, size_t n,
                    const char *end)
{
    size_t k = strlen(unit), b = strlen(begin);
    char *text = malloc(b + n * k + strlen(end) + 1);

    strcpy(text, begin);
    for (size_t i = 0; i < n; i++)
        memcpy(text + b + i * k, unit, k);
    strcpy(text + b + n * k, end);
    return text;
}

static void refuse(web_server *s, const char *path, char *body,
                   const char *error)
{
    web_answer a = web_post(s, path, body);

    web_expect_error(&a, 400, error);
    cr_expect(!strstr(error, "does not fit") ||
              strstr(a.body, "context_length_exceeded"));
    web_free(&a);
    free(body);
}

Test(tool_serve_hostile, sizes)
{
    web_server s = start();

    refuse(&s, COMPLETE, repeat("{\"prompt\":", "[", 10000, "}"), "no JSON");
    refuse(&s, COMPLETE, repeat("{\"x\":", "[", 2000, ""), "no JSON");
    refuse(&s, CHAT,
           repeat("{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"x\":",
                  "[", 500, "1"),
           "no JSON");
    refuse(&s, COMPLETE,
           repeat("{\"prompt\":\"a\",\"stop\":[\"b\"", ",\"c\"", 1000000, "]}"),
           "1000001 strings");
    refuse(&s, COMPLETE,
           repeat("{\"prompt\":\"a\",\"stop\":\"", "s", 100000, "\"}"), "stop");
    refuse(&s, COMPLETE, repeat("{\"prompt\":[1", ",1", 1000, "]}"),
           "1001 tokens does not fit");
    refuse(&s, COMPLETE, repeat("{\"prompt\":\"", "x ", 100000, "\"}"),
           "does not fit");
    refuse(&s, COMPLETE, repeat("{\"prompt\":[[1]", ",[1]", 8, "]}"),
           "9 prompts");
    refuse(&s, CHAT,
           repeat("{\"messages\":[{\"role\":\"user\",\"content\":\"", "x ",
                  1000, "\"}]}"),
           "tokens");
    stop(&s);
}

/* ==== HTTP =============================================================== */

/* The status of the answer to raw bytes; 0: the connection was closed. */
static int status_of(const web_server *s, const char *bytes, size_t n)
{
    int fd = web_connect(s);

    web_send(fd, bytes, n);
    web_answer a = web_read(fd);
    int status = a.status;

    web_free(&a);
    close(fd);
    return status;
}

Test(tool_serve_hostile, http)
{
    web_server s = start();
    static const char *const raw[] = {
        "\r\n\r\nGARBAGE\r\n\r\n",
        "GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nContent-Length: -5\r\n\r\n{}",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        "ffffffffffffffffff\r\n{}\r\n",
    };

    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++) {
        int status = status_of(&s, raw[i], strlen(raw[i]));

        cr_expect(status == 0 || (status >= 400 && status < 500) ||
                      status == 505,
                  "%zu: %d", i, status);
    }
    /* 10 000 headers, and one of a megabyte */
    char *many = repeat("GET /health HTTP/1.1\r\nHost: localhost\r\n",
                        "A: b\r\n", 10000, "\r\n");
    int status = status_of(&s, many, strlen(many));
    cr_expect(status == 0 || (status >= 400 && status < 500), "%d", status);
    free(many);
    many = repeat("GET /health HTTP/1.1\r\nHost: localhost\r\nA: ", "b",
                  1 << 20, "\r\n\r\n");
    status = status_of(&s, many, strlen(many));
    cr_expect(status == 0 || (status >= 400 && status < 500), "%d", status);
    free(many);
    /* a path of 60 000 characters that are not there */
    many =
        repeat("GET /", "%41", 10000, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    status = status_of(&s, many, strlen(many));
    cr_expect(status >= 400 && status < 500, "%d", status);
    free(many);
    stop(&s);
}

/* A body in chunks without an end: the limit holds. */
Test(tool_serve_hostile, chunks_without_end)
{
    web_server s =
        WEB_START(tool_model(), "--max-body", "1", "--parallel", "2");
    static const char head[] =
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    char *body = repeat(head, "1000\r\n", 1, "");
    char *chunk = repeat("1000\r\n", " ", 4096, "\r\n");
    char *all = repeat(head, chunk, 600, "");

    cr_expect_eq(status_of(&s, all, strlen(all)), 413);
    free(body);
    free(chunk);
    free(all);
    stop(&s);
}
