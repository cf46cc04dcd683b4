/*
 * serve_http.c - from a connection to the endpoint that answers: keys, limits,
 * bodies.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

#define POOL_BYTES (64 << 10) /* for the headers of a request */
#define STACK_BYTES (8 << 20)
#define SPARE 16 /* connections above the limit, which are told so */

/* ==== which endpoint ===================================================== */

static bool has_path(const endpoint *p, const char *url)
{
    size_t n = strlen(p->path);

    return p->path[n - 1] == '/' && n > 1 ? !strncmp(url, p->path, n) && url[n]
                                          : !strcmp(url, p->path);
}

/* Set c->endpoint; 404 and 405 are failures. */
static bool find_endpoint(call *c, const char *method)
{
    const endpoint *p, *other = NULL;

    if (!strcmp(method, MHD_HTTP_METHOD_HEAD))
        method = MHD_HTTP_METHOD_GET;
    for (size_t i = 0; (p = endpoint_list(i)) != NULL; i++) {
        if (!has_path(p, c->url))
            continue;
        other = p;
        if (!strcmp(p->method, method)) {
            c->endpoint = p;
            return true;
        }
    }
    c->endpoint = other;
    if (other)
        return api_fail(&c->error, MHD_HTTP_METHOD_NOT_ALLOWED, NULL, NULL,
                        "%s: %s expected", c->url, other->method);
    return api_fail(&c->error, MHD_HTTP_NOT_FOUND, NULL, NULL,
                    "%s: the server has no such path", c->url);
}

/* ==== keys =============================================================== */

/* The time does not depend on where texts differ. */
static bool equal_key(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned differ = n != m;

    for (size_t i = 0; i < n; i++)
        differ |= (unsigned)(a[i] ^ b[m ? i % m : 0]);
    return !differ;
}

static const char *header(const call *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

static bool has_key(call *c)
{
    const server *s = c->s;
    const char *given = header(c, MHD_HTTP_HEADER_AUTHORIZATION);
    bool known = s->o.keys.n + s->n_file_key == 0 || c->endpoint->open;

    if (given && !strncasecmp(given, "Bearer ", 7))
        given += 7;
    for (size_t i = 0; given && i < s->o.keys.n; i++)
        known |= equal_key(s->o.keys.item[i], given);
    for (size_t i = 0; given && i < s->n_file_key; i++)
        known |= equal_key(s->file_keys[i], given);
    return known ? true
                 : api_fail(&c->error, MHD_HTTP_UNAUTHORIZED, NULL,
                            "invalid_api_key",
                            "the request has no valid API key: "
                            "\"Authorization: Bearer KEY\" expected");
}

/* ==== names of the server ================================================= */

/* A page of another site can have its name point to this machine, and then
 * reads what it likes: so a server for this machine alone knows its own names.
 */
static bool is_own_name(const call *c, const char *host)
{
    unsigned char bytes[16];
    char name[256];
    size_t n = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
    const cli_list *more = &c->s->o.names;

    snprintf(name, sizeof name, "%.*s", (int)n, host);
    for (size_t i = 0; i < more->n; i++)
        if (!strcasecmp(more->item[i], name))
            return true;
    return !strcasecmp(name, "localhost") ||
           (n > 10 && !strcasecmp(name + n - 10, ".localhost")) ||
           inet_pton(AF_INET, name, bytes) == 1 || name[0] == '[';
}

static bool has_name(call *c)
{
    const char *host = header(c, MHD_HTTP_HEADER_HOST);

    if (!c->s->local || !host || is_own_name(c, host))
        return true;
    return api_fail(&c->error, MHD_HTTP_FORBIDDEN, NULL, NULL,
                    "Host %.100s: localhost or an address expected, or a name "
                    "of --allow-host",
                    host);
}

/* ==== limits ============================================================= */

static bool too_large(call *c)
{
    return api_fail(&c->error, MHD_HTTP_CONTENT_TOO_LARGE, NULL, NULL,
                    "the body has more than %d MiB, the most that the server "
                    "takes",
                    c->s->o.max_body_mb);
}

static size_t max_body(const call *c)
{
    return (size_t)c->s->o.max_body_mb << 20;
}

/* Pages of other sites can send a text without asking first, but no JSON. */
static bool is_json(call *c)
{
    const char *type = header(c, MHD_HTTP_HEADER_CONTENT_TYPE);
    size_t n = type ? strcspn(type, "; \t") : 0;

    if (n == 16 && !strncasecmp(type, "application/json", 16))
        return true;
    return api_fail(&c->error, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL, NULL,
                    "Content-Type %s: application/json expected",
                    type ? type : "is missing");
}

static bool has_room(call *c)
{
    if (watch_count(&c->s->w) <= c->s->o.n_connection)
        return true;
    return api_fail(&c->error, MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
                    "too_many_connections",
                    "%d connections are open, the most that the server takes",
                    c->s->o.n_connection);
}

/* ==== one call =========================================================== */

/* A page of an allowed origin asks what it may send. */
static enum MHD_Result preflight(call *c)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);

    if (!r)
        return MHD_NO;
    add_origin(r, c);
    MHD_add_response_header(r, "Access-Control-Allow-Methods",
                            "GET, POST, OPTIONS");
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            "Authorization, Content-Type");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
    c->status = MHD_HTTP_NO_CONTENT;

    enum MHD_Result queued =
        MHD_queue_response(c->connection, MHD_HTTP_NO_CONTENT, r);

    MHD_destroy_response(r);
    return queued;
}

static bool is_large(const call *c)
{
    const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return length && strtoull(length, NULL, 10) > max_body(c);
}

/* The headers have come. */
static enum MHD_Result begin_call(call *c, const char *method)
{
    bool post = !strcmp(method, MHD_HTTP_METHOD_POST);

    c->begun = true;
    if (!strcmp(method, MHD_HTTP_METHOD_OPTIONS) && c->s->o.origins.n)
        return preflight(c);
    if (!has_room(c) || !has_name(c) || !find_endpoint(c, method) ||
        !has_key(c) || (post && !is_json(c)))
        return header(c, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
                       header(c, MHD_HTTP_HEADER_TRANSFER_ENCODING)
                   ? reply_at_once(c)
                   : reply_error(c);
    if (is_large(c)) {
        too_large(c);
        return reply_at_once(c);
    }
    return MHD_YES;
}

static enum MHD_Result add_body(call *c, const char *data, size_t *n)
{
    size_t need = c->n_body + *n + 1;

    if (need - 1 > max_body(c)) {
        too_large(c);
        return reply_at_once(c);
    }
    if (need > c->body_cap) {
        size_t cap = need < 1024 ? 1024 : need + need / 2;
        char *grown = realloc(c->body, cap);

        if (!grown) {
            api_fail_memory(&c->error);
            return reply_at_once(c);
        }
        c->body = grown;
        c->body_cap = cap;
    }
    memcpy(c->body + c->n_body, data, *n);
    c->n_body += *n;
    c->body[c->n_body] = '\0';
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *data,
                                  size_t *n, void **con_cls)
{
    call *c = *con_cls;

    (void)cls;
    (void)connection;
    (void)version;
    if (!c)
        return MHD_NO;
    c->url = url;
    if (!c->begun)
        return begin_call(c, method);
    if (*n)
        return add_body(c, data, n);
    watch_set(&c->s->w, c->watched, WATCH_ANSWERS);
    call_set_patience(c, true);
    return c->endpoint->run(c);
}

/* ==== what libmicrohttpd tells =========================================== */

static watched *watched_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static int socket_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    return info ? info->connect_fd : -1;
}

/* The first line of a request has come. */
static void *on_line(void *cls, const char *uri,
                     struct MHD_Connection *connection)
{
    call *c = calloc(1, sizeof *c);

    (void)uri;
    if (!c)
        return NULL;
    c->s = cls;
    c->connection = connection;
    c->fd = socket_of(connection);
    c->watched = watched_of(connection);
    c->begin = cli_now();
    watch_set(&c->s->w, c->watched, WATCH_READS);
    return c;
}

static void on_end(void *cls, struct MHD_Connection *connection, void **con_cls,
                   enum MHD_RequestTerminationCode code)
{
    server *s = cls;
    call *c = *con_cls;

    if (!c)
        return;
    watch_set(&s->w, c->watched, WATCH_IDLE);
    if (c->counted)
        atomic_fetch_sub(&s->n_answer, 1);
    metrics_reply(&s->m, c->status);
    if (s->o.log)
        fprintf(stderr, "tlp serve: %s %d %.0f ms%s\n",
                c->endpoint ? c->endpoint->path : "-", c->status,
                1000 * (cli_now() - c->begin),
                code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : ", cut off");
    (void)connection;
    free(c->body);
    free(c);
    *con_cls = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection,
                          void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    server *s = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = watch_add(&s->w, socket_of(connection));
    } else {
        watch_remove(&s->w, *context);
        *context = NULL;
    }
}

int http_start(server *s, int fd)
{
    const struct MHD_OptionItem options[] = {
        { MHD_OPTION_LISTEN_SOCKET, fd, NULL },
        { MHD_OPTION_CONNECTION_LIMIT, s->o.n_connection + SPARE, NULL },
        { MHD_OPTION_CONNECTION_TIMEOUT, WRITE_SECONDS, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, NULL },
        { MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, NULL },
        { MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
        { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_line, s },
        { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_end, s },
        { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s },
        { MHD_OPTION_END, 0, NULL },
    };

    s->daemon =
        MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION |
                             MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
                         0, NULL, NULL, on_request, s, MHD_OPTION_ARRAY,
                         options, MHD_OPTION_END);
    return s->daemon ? CLI_OK
                     : cli_fail("the server could not start: too few files, "
                                "threads or bytes of memory");
}
