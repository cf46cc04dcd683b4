/*
 * web.c - a server process of the tool, and a client with real sockets.
 */
#include "web.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/number.h"
#include "support/spawn.h"
#include "support/tiny.h"

#define MAX_ARGS 64
#define PATIENCE_MS 60000

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void nap(void)
{
    nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
}

/* ==== the server ========================================================= */

static int add(const char *argv[], int n, const char *const list[])
{
    for (; *list; list++) {
        cr_assert_lt(n, MAX_ARGS - 1);
        argv[n++] = *list;
    }
    return n;
}

static void child(const char *const argv[], int out, const char *err)
{
    int fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none */
    signal(SIGINT, SIG_DFL);
    dup2(out, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

/* The line that the server prints once it listens. */
static int read_port(web_server *s)
{
    char line[256] = "";
    size_t n = 0;
    struct pollfd on = { .fd = s->out, .events = POLLIN };

    while (n < sizeof line - 1 && !strchr(line, '\n')) {
        cr_assert_gt(poll(&on, 1, PATIENCE_MS), 0, "the server says nothing");
        ssize_t k = read(s->out, line + n, sizeof line - 1 - n);
        cr_assert_gt(k, 0, "the server ended: see %s", s->err);
        n += (size_t)k;
        line[n] = '\0';
    }
    const char *colon = strrchr(line, ':');

    cr_assert(colon && atoi(colon + 1) > 0, "%s", line);
    return atoi(colon + 1);
}

web_server web_start_under(const char *const first[], const char *model,
                           const char *const args[])
{
    static int number;
    const char *argv[MAX_ARGS] = { NULL };
    char tool[PATH_MAX], name[32];
    web_server s = { 0 };
    int n = add(argv, 0, first), pipe_fd[2];

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    n = add(argv, n,
            (const char *const[]){ tool, "serve", "-m", model, "--port", "0",
                                   "-t", "1", NULL });
    add(argv, n, args);
    snprintf(name, sizeof name, "served-%d.txt", number++);
    snprintf(s.err, sizeof s.err, "%s", tiny_path(name));
    cr_assert_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
    s.pid = fork();
    cr_assert_geq(s.pid, 0);
    if (s.pid == 0)
        child(argv, pipe_fd[1], s.err);
    close(pipe_fd[1]);
    s.out = pipe_fd[0];
    s.port = read_port(&s);
    return s;
}

web_server web_start(const char *model, const char *const args[])
{
    return web_start_under((const char *const[]){ NULL }, model, args);
}

int web_end(web_server *s, int sig, double seconds)
{
    double end = now() + seconds;
    int status = 0, result = -1;

    if (sig)
        kill(s->pid, sig);
    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (now() > end) {
            kill(s->pid, SIGKILL);
            waitpid(s->pid, &status, 0);
            close(s->out);
            return -1;
        }
        nap();
    }
    result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    close(s->out);
    return result;
}

/* ==== requests =========================================================== */

int web_connect(const web_server *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)s->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* A server that refuses early may close while the client still sends. */
void web_send(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, text, n, MSG_NOSIGNAL);

        if (k <= 0)
            return;
        text += k;
        n -= (size_t)k;
    }
}

static void send_request(int fd, const char *method, const char *path,
                         const char *headers, const char *body, size_t n)
{
    char head[2048];
    int k =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s",
                 method, path, headers);

    if (body)
        k += snprintf(head + k, sizeof head - (size_t)k,
                      "Content-Type: application/json\r\nContent-Length: "
                      "%zu\r\n",
                      n);
    k += snprintf(head + k, sizeof head - (size_t)k, "\r\n");
    web_send(fd, head, (size_t)k);
    if (body)
        web_send(fd, body, n);
}

void web_send_json(int fd, const char *path, const char *json)
{
    send_request(fd, "POST", path, "", json, strlen(json));
}

/* One byte more of a growing text; false at the end. */
static bool more(int fd, char **text, size_t *n)
{
    struct pollfd on = { .fd = fd, .events = POLLIN };
    char piece[65536];

    if (poll(&on, 1, PATIENCE_MS) <= 0)
        return false;
    ssize_t k = recv(fd, piece, sizeof piece, 0);

    if (k <= 0)
        return false;
    *text = realloc(*text, *n + (size_t)k + 1);
    memcpy(*text + *n, piece, (size_t)k);
    *n += (size_t)k;
    (*text)[*n] = '\0';
    return true;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);

    return at ? at + strlen(name) : NULL;
}

/* Whether the last chunk is there; `*out` gets the chunks' content. */
static bool whole_chunks(const char *raw, size_t n, char *out, size_t *n_out)
{
    const char *at = raw, *end = raw + n;

    for (*n_out = 0;;) {
        char *line;
        size_t size = strtoul(at, &line, 16);

        if (line == at || !strstr(line, "\r\n") ||
            (size_t)(end - line) < size + 4)
            return false;
        if (size == 0)
            return true;
        memcpy(out + *n_out, line + 2, size);
        *n_out += size;
        at = line + 2 + size + 2;
    }
}

/* Whether the body is complete; then it is in `a`. */
static bool take_body(web_answer *a, const char *raw, size_t n, bool ended)
{
    const char *length = header(a->head, "\r\nContent-Length: ");

    if (header(a->head, "\r\nTransfer-Encoding: chunked")) {
        a->body = realloc(a->body, n + 1);
        if (!whole_chunks(raw, n, a->body, &a->n_body) && !ended)
            return false;
        a->body[a->n_body] = '\0';
        return true;
    }
    if (length && n < strtoul(length, NULL, 10) && !ended)
        return false;
    if (!length && !ended)
        return false;
    a->body = realloc(a->body, n + 1);
    memcpy(a->body, raw, n);
    a->body[n] = '\0';
    a->n_body = n;
    return true;
}

web_answer web_read(int fd)
{
    web_answer a = { 0 };
    char *text = NULL, *gap = NULL;
    size_t n = 0;

    while (!gap && more(fd, &text, &n)) {
        gap = strstr(text, "\r\n\r\n");
        if (gap && !strncmp(text, "HTTP/1.1 100", 12)) {
            n -= (size_t)(gap + 4 - text);
            memmove(text, gap + 4, n + 1);
            gap = strstr(text, "\r\n\r\n");
        }
    }
    if (gap) {
        size_t skip = (size_t)(gap + 4 - text);

        a.head = strndup(text, skip);
        a.status = atoi(a.head + strlen("HTTP/1.1 "));
        while (!take_body(&a, text + skip, n - skip, a.status == 204))
            if (!more(fd, &text, &n)) {
                take_body(&a, text + skip, n - skip, true);
                break;
            }
    }
    free(text);
    return a;
}

web_answer web_request(const web_server *s, const char *method,
                       const char *path, const char *headers, const char *body,
                       size_t n)
{
    int fd = web_connect(s);

    send_request(fd, method, path, headers, body, n);
    web_answer a = web_read(fd);
    close(fd);
    return a;
}

web_answer web_get(const web_server *s, const char *path)
{
    return web_request(s, "GET", path, "", NULL, 0);
}

web_answer web_post(const web_server *s, const char *path, const char *json)
{
    return web_request(s, "POST", path, "", json, strlen(json));
}

void web_free(web_answer *a)
{
    free(a->head);
    free(a->body);
    *a = (web_answer){ 0 };
}

/* ==== what answers say =================================================== */

static json_t *object_of(web_answer *a)
{
    json_error_t error;

    cr_assert_eq(a->status, 200, "status %d: %s", a->status,
                 a->body ? a->body : "");
    json_t *root = json_loadb(a->body, a->n_body,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

    cr_assert_not_null(root, "%s: %s", error.text, a->body);
    web_free(a);
    return root;
}

json_t *web_object(const web_server *s, const char *path, const char *json)
{
    web_answer a = web_post(s, path, json);

    return object_of(&a);
}

json_t *web_get_object(const web_server *s, const char *path)
{
    web_answer a = web_get(s, path);

    return object_of(&a);
}

double web_metric(const web_server *s, const char *name)
{
    web_answer a = web_get(s, "/metrics");
    char line[128];
    double value = -1;

    cr_assert_eq(a.status, 200);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(a.body, line);
    cr_assert_not_null(at, "%s: missing", name);
    value = tlpi_strtod(at + strlen(line), NULL);
    web_free(&a);
    return value;
}

bool web_wait_metric(const web_server *s, const char *name, double value,
                     double seconds)
{
    double end = now() + seconds;

    while (web_metric(s, name) != value) {
        if (now() > end)
            return false;
        nap();
    }
    return true;
}

json_t *web_event(const web_answer *a, const char **at)
{
    static const char mark[] = "data: ";
    const char *from = *at ? *at : a->body, *end;

    if (!*from)
        return NULL;
    cr_assert_eq(strncmp(from, mark, strlen(mark)), 0, "%s", from);
    from += strlen(mark);
    end = strstr(from, "\n\n");
    cr_assert_not_null(end, "%s", from);
    *at = end + 2;
    if (!strncmp(from, "[DONE]", 6))
        return json_string("[DONE]");

    json_error_t error;
    json_t *root = json_loadb(from, (size_t)(end - from),
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

    cr_assert_not_null(root, "%s: %s", error.text, from);
    return root;
}

json_t *web_at(json_t *root, const char *path)
{
    while (root && *path) {
        char name[64];
        size_t n = strcspn(path, ".");

        snprintf(name, sizeof name, "%.*s", (int)n, path);
        root = json_is_array(root)
                   ? json_array_get(root, strtoul(name, NULL, 10))
                   : json_object_get(root, name);
        path += n + (path[n] == '.');
    }
    return root;
}

const char *web_text(json_t *root, const char *path)
{
    json_t *value = web_at(root, path);

    cr_assert(json_is_string(value), "%s is no string", path);
    return json_string_value(value);
}

double web_number(json_t *root, const char *path)
{
    json_t *value = web_at(root, path);

    cr_assert(json_is_number(value), "%s is no number", path);
    return json_number_value(value);
}

void web_expect_error(const web_answer *a, int status, const char *part)
{
    json_t *root = a->body ? json_loads(a->body, 0, NULL) : NULL;
    json_t *error = json_object_get(root, "error");
    const char *text = json_string_value(json_object_get(error, "message"));

    cr_expect_eq(a->status, status, "status %d, %d expected: %s", a->status,
                 status, a->body ? a->body : "");
    cr_expect(text && strstr(text, part), "%s in %s expected", part,
              a->body ? a->body : "");
    cr_expect(json_is_string(json_object_get(error, "type")) &&
              json_object_get(error, "param") &&
              json_object_get(error, "code"));
    json_decref(root);
}
