/*
 * serve_reply.c - responses: texts, error objects, streams.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "memo.h"
#include "serve.h"

#define JSON_TYPE "application/json"
#define DRAIN_SECONDS 1
#define STREAM_BLOCK 16384

/* Whether a page of this origin may read answers. */
static const char *allowed_origin(const call *c)
{
    const char *origin = MHD_lookup_connection_value(
        c->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN);

    for (size_t i = 0; origin && i < c->s->o.origins.n; i++)
        if (!strcmp(c->s->o.origins.item[i], "*") ||
            !strcmp(c->s->o.origins.item[i], origin))
            return origin;
    return NULL;
}

void add_origin(struct MHD_Response *r, const call *c)
{
    const char *origin = allowed_origin(c);

    if (!origin)
        return;
    MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN,
                            origin);
    MHD_add_response_header(r, MHD_HTTP_HEADER_VARY, "Origin");
}

void call_set_patience(const call *c, bool endless)
{
    MHD_set_connection_option(c->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                              endless ? 0u : (unsigned)WRITE_SECONDS);
}

/* Queue r, and let go of it. */
static enum MHD_Result queue(call *c, int status, const char *type,
                             struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    add_origin(r, c);
    if (status == MHD_HTTP_TOO_MANY_REQUESTS ||
        status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED && c->endpoint)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, c->endpoint->method);
    if (atomic_load(&c->s->draining))
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    c->status = status;
    watch_set(&c->s->w, c->watched, WATCH_ANSWERS);
    call_set_patience(c, false);

    enum MHD_Result queued =
        MHD_queue_response(c->connection, (unsigned)status, r);

    MHD_destroy_response(r);
    return queued;
}

enum MHD_Result reply_text(call *c, int status, const char *type, char *text,
                           size_t n)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);

    if (!r)
        free(text);
    return queue(c, status, type, r);
}

enum MHD_Result reply_static(call *c, int status, const char *type,
                             const char *text)
{
    return queue(c, status, type,
                 MHD_create_response_from_buffer(strlen(text),
                                                 (void *)(uintptr_t)text,
                                                 MHD_RESPMEM_PERSISTENT));
}

enum MHD_Result reply_page(call *c, const char *html, size_t n,
                           const char *policy)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        n, (void *)(uintptr_t)html, MHD_RESPMEM_PERSISTENT);

    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Security-Policy", policy);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    return queue(c, MHD_HTTP_OK, "text/html; charset=utf-8", r);
}

enum MHD_Result reply_stream(call *c, MHD_ContentReaderCallback read,
                             void *stream,
                             MHD_ContentReaderFreeCallback release)
{
    struct MHD_Response *r = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read, stream, release);

    if (!r) {
        release(stream);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    return queue(c, MHD_HTTP_OK, "text/event-stream", r);
}

bool reply_open(memo *m, json *j)
{
    if (!memo_open(m))
        return false;
    *j = (json){ .file = m->file };
    json_open(j, NULL, '{');
    return true;
}

enum MHD_Result reply_close(call *c, memo *m, json *j)
{
    json_close(j, '}');
    if (!memo_close(m))
        return MHD_NO;
    return reply_text(c, MHD_HTTP_OK, JSON_TYPE, m->text, m->n);
}

/* ==== errors ============================================================= */

void write_error(json *j, const api_error *e)
{
    json_open(j, "error", '{');
    json_text(j, "message", e->text);
    json_text(j, "type", api_error_type(e->status));
    if (e->param[0])
        json_text(j, "param", e->param);
    else
        json_nothing(j, "param");
    if (e->code)
        json_text(j, "code", e->code);
    else
        json_nothing(j, "code");
    json_close(j, '}');
}

void hide_path(const server *s, api_error *e)
{
    size_t n = strlen(s->e.model_path);
    char rest[sizeof e->text];

    if (strncmp(e->text, s->e.model_path, n) != 0)
        return;
    snprintf(rest, sizeof rest, "%s", e->text + n);
    snprintf(e->text, sizeof e->text, "%.100s%.400s", s->program[0].name, rest);
}

static bool error_text(memo *m, const api_error *e)
{
    if (!memo_open(m))
        return false;
    json j = { .file = m->file };

    json_open(&j, NULL, '{');
    write_error(&j, e);
    json_close(&j, '}');
    return memo_close(m);
}

enum MHD_Result reply_error(call *c)
{
    memo m;

    hide_path(c->s, &c->error);
    if (!error_text(&m, &c->error))
        return MHD_NO;
    return reply_text(c, c->error.status, JSON_TYPE, m.text, m.n);
}

/* ==== at once ============================================================ */

/* libmicrohttpd answers only between requests: this is for a client that has
 * not sent all of its own. */
void send_at_once(int fd, const api_error *e)
{
    char head[256];
    memo m;

    if (!error_text(&m, e))
        return;
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Refused\r\nContent-Type: " JSON_TYPE
                     "\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                     e->status, m.n);

    if (send(fd, head, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n)
        (void)send(fd, m.text, m.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    free(m.text);
    (void)shutdown(fd, SHUT_WR);
}

/* A socket that is closed with unread bytes resets the connection, and the
 * client may never read the answer: so some of the rest is read first. */
static void drain(int fd)
{
    struct pollfd on = { .fd = fd, .events = POLLIN };
    double end = cli_now() + DRAIN_SECONDS;
    char rest[16384];

    while (cli_now() < end && poll(&on, 1, 200) > 0 &&
           recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
}

enum MHD_Result reply_at_once(call *c)
{
    c->status = c->error.status;
    send_at_once(c->fd, &c->error);
    drain(c->fd);
    return MHD_NO;
}
