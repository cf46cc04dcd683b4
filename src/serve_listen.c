/*
 * serve_listen.c - the socket on which the server listens.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve.h"

/* "http://127.0.0.1:8080" */
static void name_of(int fd, char *where, size_t cap)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";

    if (getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        (void)getnameinfo((struct sockaddr *)&at, n, host, sizeof host, port,
                          sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);

    bool six = strchr(host, ':') != NULL;

    snprintf(where, cap, "http://%s%s%s:%s", six ? "[" : "", host,
             six ? "]" : "", port);
}

/* Two descriptors for each connection, and some for the model. */
static void allow_files(int n_connection)
{
    struct rlimit limit;
    rlim_t need = 2 * (rlim_t)n_connection + 256;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static bool is_loopback(const struct sockaddr *at)
{
    const void *in = at;

    if (at->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)in)->sin_addr.s_addr) >> 24 ==
               127;
    return at->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)in)->sin6_addr);
}

int http_listen(const serve_options *o, int *fd, bool *local, char *where,
                size_t cap)
{
    const struct addrinfo want = { .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE };
    struct addrinfo *found = NULL;
    char port[16];
    const int on = 1;

    snprintf(port, sizeof port, "%d", o->port);
    int err = getaddrinfo(o->host, port, &want, &found);
    if (err)
        return cli_fail("--host %s: %s", o->host, gai_strerror(err));
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens =
        *fd >= 0 &&
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(*fd, found->ai_addr, found->ai_addrlen) == 0 &&
        listen(*fd, 128) == 0;
    int why = errno;

    *local = is_loopback(found->ai_addr);
    freeaddrinfo(found);
    if (!listens) {
        if (*fd >= 0)
            close(*fd);
        return cli_fail("%s, port %d: %s", o->host, o->port, strerror(why));
    }
    allow_files(o->n_connection);
    name_of(*fd, where, cap);
    return CLI_OK;
}
