/*
 * test_tool_serve_life.c - tlp serve: clients that leave, limits, keys, and the
 * end.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_life, .timeout = 120);

/* A text of so many tokens that no end token ends. */
#define LONG(n, more)                                                          \
    "{\"prompt\":\"the world\",\"max_tokens\":" #n ",\"ignore_eos\":true" more \
    "}"

/* Two ranks over a slow link: 20 ms and more for each token. */
#define SLOW "--ranks", "2", "--link-delay-us", "1000", "-c", "4000"

static void nap(int ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* ==== clients that leave ================================================= */

Test(tool_serve_life, a_client_that_leaves_frees_its_request)
{
    web_server s = WEB_START(tool_model(), SLOW, "--parallel", "2");
    static const char *const ask[] = { LONG(3000, ""),
                                       LONG(3000, ",\"stream\":true") };

    for (int i = 0; i < 2; i++) {
        int fd = web_connect(&s);

        web_send_json(fd, "/v1/completions", ask[i]);
        cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 1, 20));
        close(fd);
        cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 0, 5));
        cr_expect_eq(web_metric(&s, "tlp:requests_canceled_total"), i + 1);
    }
    /* Its sequence is free for others, and those that wait leave too. */
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = web_connect(&s);
        web_send_json(fd[i], "/v1/completions", ask[i % 2]);
    }
    cr_expect(web_wait_metric(&s, "vllm:num_requests_waiting", 1, 20));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    cr_expect(web_wait_metric(&s, "tlp:requests_canceled_total", 5, 5));
    cr_expect_lt(web_metric(&s, "vllm:generation_tokens_total"), 3000);
    stop(&s);
}

/* A client that does not read its stream holds nobody up. */
Test(tool_serve_life, a_client_that_reads_nothing)
{
    web_server s = WEB_START(tool_model(), "--parallel", "4", "-c", "4000");
    int fd = web_connect(&s), small = 4096;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    web_send_json(fd, "/v1/completions",
                  LONG(3900, ",\"stream\":true,\"logprobs\":5,\"n\":3"));
    web_answer a = web_post(&s, "/v1/completions", LONG(5, ""));
    cr_expect_eq(a.status, 200);
    web_free(&a);
    close(fd);
    cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 0, 60));
    stop(&s);
}

/* ==== limits ============================================================= */

Test(tool_serve_life, a_full_queue)
{
    web_server s =
        WEB_START(tool_model(), SLOW, "--parallel", "1", "--queue", "2");
    int fd[2];

    for (int i = 0; i < 2; i++) {
        fd[i] = web_connect(&s);
        web_send_json(fd[i], "/v1/completions", LONG(3000, ""));
    }
    cr_expect(web_wait_metric(&s, "vllm:num_requests_waiting", 1, 20));
    web_answer a = web_post(&s, "/v1/completions", LONG(5, ""));
    web_expect_error(&a, 429, "2 requests");
    cr_expect(strstr(a.head, "Retry-After: 1"));
    web_free(&a);
    for (int i = 0; i < 2; i++)
        close(fd[i]);
    stop(&s);
}

Test(tool_serve_life, bodies_connections_and_time)
{
    web_server s =
        WEB_START(tool_model(), "--max-body", "1", "--connections", "3",
                  "--receive-seconds", "0.5", "--request-seconds", "30");
    static const char part[] =
        "POST /tokenize HTTP/1.1\r\nHost: [::1]\r\nContent-Type: "
        "application/json\r\nContent-Length: 10\r\n\r\n{";
    size_t n = (size_t)20 << 20;
    char *big = calloc(n, 1);
    web_answer a;

    memset(big, ' ', n);
    a = web_request(&s, "POST", "/v1/completions", "", big, n);
    web_expect_error(&a, 413, "1 MiB");
    web_free(&a);
    free(big);

    /* What is too large is refused before it comes. */
    static const char large[] =
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nContent-Length: 1048577\r\n\r\n";
    int fd[4] = { web_connect(&s) };
    web_send(fd[0], large, strlen(large));
    a = web_read(fd[0]);
    web_expect_error(&a, 413, "1 MiB");
    web_free(&a);
    close(fd[0]);

    /* A request that does not arrive. */
    fd[0] = web_connect(&s);
    web_send(fd[0], "POST /v1/comp", 13);
    a = web_read(fd[0]);
    web_expect_error(&a, 408, "0.5 s");
    web_free(&a);
    close(fd[0]);
    fd[0] = web_connect(&s);
    web_send(fd[0], part, strlen(part));
    a = web_read(fd[0]);
    web_expect_error(&a, 408, "0.5 s");
    web_free(&a);
    close(fd[0]);

    nap(100);
    for (int i = 0; i < 3; i++) {
        fd[i] = web_connect(&s);
        web_send(fd[i], "GET /he", 7);
    }
    nap(100);
    a = web_get(&s, "/health");
    web_expect_error(&a, 503, "connections are open");
    cr_expect(strstr(a.head, "Retry-After"));
    web_free(&a);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    nap(200);
    a = web_get(&s, "/health");
    cr_expect_eq(a.status, 200);
    web_free(&a);
    stop(&s);
}

Test(tool_serve_life, an_answer_that_takes_too_long)
{
    web_server s = WEB_START(tool_model(), SLOW, "--request-seconds", "0.5");
    web_answer a = web_post(&s, "/v1/completions", LONG(3000, ""));

    web_expect_error(&a, 503, "0.5 s");
    web_free(&a);
    a = web_post(&s, "/v1/completions", LONG(3000, ",\"stream\":true"));
    cr_expect_eq(a.status, 200);
    cr_expect(strstr(a.body, "\"error\"") && !strstr(a.body, "[DONE]"));
    web_free(&a);
    stop(&s);
}

/* ==== keys and pages ===================================================== */

Test(tool_serve_life, keys)
{
    const char *file = "keys.txt";
    tool_write_file(file, "# note\nsecond\n\n", 15);
    web_server s =
        WEB_START(tool_model(), "--api-key", "first", "--api-key-file", file);
    static const struct {
        const char *header;
        int status;
    } list[] = {
        { "", 401 },
        { "Authorization: Bearer firs\r\n", 401 },
        { "Authorization: Bearer firstt\r\n", 401 },
        { "Authorization: Bearer \r\n", 401 },
        { "Authorization: Bearer # note\r\n", 401 },
        { "Authorization: Bearer first\r\n", 200 },
        { "Authorization: bearer second\r\n", 200 },
    };
    web_answer a;

    unlink(file);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        a = web_request(&s, "GET", "/v1/models", list[i].header, NULL, 0);
        cr_expect_eq(a.status, list[i].status, "%s: %d", list[i].header,
                     a.status);
        web_free(&a);
    }
    a = web_post(&s, "/v1/completions", LONG(3, ""));
    web_expect_error(&a, 401, "API key");
    web_free(&a);
    a = web_get(&s, "/health");
    cr_expect_eq(a.status, 200);
    web_free(&a);
    stop(&s);
}

Test(tool_serve_life, pages_of_other_origins)
{
    web_server off = WEB_START(tool_model(), "--queue", "9");
    web_server s = WEB_START(tool_model(), "--cors", "http://a");
    static const char from_a[] = "Origin: http://a\r\n";
    web_answer a = web_request(&s, "GET", "/health", from_a, NULL, 0);

    cr_expect(strstr(a.head, "Access-Control-Allow-Origin: http://a\r\n"));
    web_free(&a);
    a = web_request(&s, "GET", "/health", "Origin: http://b\r\n", NULL, 0);
    cr_expect_null(strstr(a.head, "Access-Control"));
    web_free(&a);
    a = web_request(&s, "OPTIONS", "/v1/completions", from_a, NULL, 0);
    cr_expect_eq(a.status, 204);
    cr_expect(strstr(a.head, "Allow-Headers: Authorization, Content-Type"));
    web_free(&a);
    a = web_request(&off, "GET", "/health", from_a, NULL, 0);
    cr_expect_null(strstr(a.head, "Access-Control"));
    web_free(&a);
    stop(&off);
    stop(&s);
}

/* A name that another site has for this machine. */
Test(tool_serve_life, names_of_the_server)
{
    web_server s = WEB_START(tool_model(), "--allow-host", "gpu.example");
    static const struct {
        const char *name;
        int status;
    } list[] = {
        { "evil.example", 403 },   { "localhost.evil.example", 403 },
        { "127.0.0.1.evil", 403 }, { "localhost:80", 200 },
        { "a.localhost", 200 },    { "127.0.0.1:80", 200 },
        { "[::1]:80", 200 },       { "GPU.example:9", 200 },
    };

    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char ask[128];
        int fd = web_connect(&s);
        int n =
            snprintf(ask, sizeof ask,
                     "GET /health HTTP/1.1\r\nHost: %s\r\n\r\n", list[i].name);

        web_send(fd, ask, (size_t)n);
        web_answer a = web_read(fd);
        cr_expect_eq(a.status, list[i].status, "%s: %d", list[i].name,
                     a.status);
        web_free(&a);
        close(fd);
    }
    stop(&s);
}

/* ==== the end ============================================================ */

Test(tool_serve_life, a_signal_lets_answers_end)
{
    web_server s = WEB_START(tool_model(), SLOW, "--parallel", "2");
    int fd = web_connect(&s), other = web_connect(&s);

    web_send_json(fd, "/v1/completions", LONG(40, ""));
    cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 1, 20));
    kill(s.pid, SIGTERM);
    nap(50);
    web_answer a = web_get(&s, "/health");
    web_expect_error(&a, 503, "takes no more");
    web_free(&a);
    web_send_json(other, "/v1/completions", LONG(5, ""));
    a = web_read(other);
    web_expect_error(&a, 503, "takes no more");
    cr_expect(strstr(a.head, "Retry-After"));
    web_free(&a);
    a = web_read(fd);
    cr_expect_eq(a.status, 200);
    cr_expect(strstr(a.body, "\"completion_tokens\":40"));
    web_free(&a);
    cr_expect_eq(web_end(&s, 0, 5), 0);
    close(fd);
    close(other);
}

Test(tool_serve_life, a_drain_has_an_end)
{
    web_server s = WEB_START(tool_model(), SLOW, "--drain-seconds", "0.3");
    int fd = web_connect(&s);

    web_send_json(fd, "/v1/completions", LONG(3000, ""));
    cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 1, 20));
    kill(s.pid, SIGTERM);
    web_answer a = web_read(fd);
    web_expect_error(&a, 503, "the server ends");
    web_free(&a);
    cr_expect_eq(web_end(&s, 0, 5), 0);
    close(fd);
}

Test(tool_serve_life, a_second_signal_ends_at_once)
{
    web_server s = WEB_START(tool_model(), SLOW, "--queue", "4");
    int fd = web_connect(&s);

    web_send_json(fd, "/v1/completions", LONG(3000, ""));
    cr_expect(web_wait_metric(&s, "vllm:num_requests_running", 1, 20));
    kill(s.pid, SIGINT);
    nap(300);
    cr_expect_eq(web_end(&s, SIGINT, 2), 130);
    close(fd);
}

Test(tool_serve_life, what_cannot_start)
{
    const char *m = tool_model();
    web_server s = WEB_START(m, "--queue", "4");
    char port[16];

    snprintf(port, sizeof port, "%d", s.port);
    spawned t = SPAWN("tlp", "serve", "-m", m, "--port", port);
    tool_expect_status(&t, 1);
    cr_expect(strstr(t.err, "Address already in use"), "%s", t.err);
    spawn_free(&t);
    t = SPAWN("tlp", "serve", "-m", m, "--port", "65536");
    tool_expect_status(&t, 2);
    spawn_free(&t);
    t = SPAWN("tlp", "serve", "-m", m, "--api-key-file", "/dev/null");
    tool_expect_status(&t, 1);
    spawn_free(&t);
    t = SPAWN("tlp", "serve", "-m", m, "--host", "no.such.host.invalid");
    tool_expect_status(&t, 1);
    spawn_free(&t);
    stop(&s);
}
