/*
 * connect.c - connecting the sockets between processes.
 *
 * Rank k connects to all addresses of every rank j < k at once, because no
 * rank knows which addresses are reachable from where.  A foreign process may
 * listen at an address, and a foreign process may connect to this one.  Both
 * sides therefore prove that they know the exchanged addresses: j sends one
 * half of its nonce; k answers the first correct proof with its rank, half of
 * its own nonce and the other half of j's nonce.  A connection with a wrong
 * proof is closed.
 */
#include "mpi_transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROOF_BYTES 8
#define HALF (TLPI_ADDRESS_NONCE / 2)
#define ANSWER_BYTES                                                           \
    (4 + HALF + HALF) /* rank, high byte first; k's half; j's half */

#define CONNECT_SECONDS 1.0
#define INCOMING_SECONDS 0.25 /* time for an incoming connection to answer */
#define MAX_INCOMING 32

_Static_assert(PROOF_BYTES == HALF, "a proof is half a nonce");

/* A connection whose proofs are not complete. */
typedef struct connection {
    int fd;        /* -1: closed */
    int peer;      /* rank that this process connects to; -1: incoming */
    bool connects; /* connect() has not finished */
    double deadline;
    size_t got;
    uint8_t buf[ANSWER_BYTES];
} connection;

typedef struct connector {
    tlpi_liveness *w;
    const tlpi_address *addresses;
    /* outgoing connections, then MAX_INCOMING incoming ones */
    connection *connections;
    struct pollfd *polls; /* listeners, then one for each connection */
    int n_ours, n_connection;
    double now;
} connector;

typedef union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} socket_address;

/* ==== listening ========================================================== */

static socklen_t make_socket_address(socket_address *a, int six,
                                     const void *bytes, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (six) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        memcpy(&a->v6.sin6_addr, bytes, 16);
        return sizeof a->v6;
    }
    a->v4.sin_family = AF_INET;
    a->v4.sin_port = htons(port);
    memcpy(&a->v4.sin_addr, bytes, 4);
    return sizeof a->v4;
}

static int new_socket(int six)
{
    return socket(six ? AF_INET6 : AF_INET,
                  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Listen at any local address and store the port; -1 if the system refuses. */
static int listen_at(int six, uint8_t port[2])
{
    static const uint8_t any[16];
    socket_address a;
    socklen_t n = make_socket_address(&a, six, any, 0);
    int fd = new_socket(six), yes = 1;

    if (fd < 0)
        return -1;
    if ((six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes)) ||
        bind(fd, &a.any, n) != 0 || listen(fd, TLPI_LIVENESS_MAX) != 0 ||
        getsockname(fd, &a.any, &n) != 0) {
        close(fd);
        return -1;
    }
    memcpy(port, six ? (void *)&a.v6.sin6_port : (void *)&a.v4.sin_port, 2);
    return fd;
}

void tlpi_liveness_open(tlpi_liveness *w, int rank, int size,
                        tlpi_address *address)
{
    pthread_mutex_init(&w->lock, NULL);
    w->rank = rank;
    w->size = TLPI_MIN(size, TLPI_LIVENESS_MAX);
    w->ended = -1;
    for (int r = 0; r < TLPI_LIVENESS_MAX; r++)
        w->fd[r] = -1;
    for (int six = 0; six < 2; six++)
        w->listener[six] =
            rank < w->size ? listen_at(six, address->port[six]) : -1;
}

/* ==== outgoing =========================================================== */

static void close_connection(connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void start_connect(connector *g, int peer, int six, const void *bytes)
{
    const uint8_t *port = g->addresses[peer].port[six];
    connection *c = &g->connections[g->n_ours];
    socket_address a;
    socklen_t n =
        make_socket_address(&a, six, bytes, (uint16_t)(port[0] << 8 | port[1]));

    if ((port[0] | port[1]) == 0)
        return;
    *c = (connection){ .fd = new_socket(six), .peer = peer, .connects = true };
    c->deadline = g->now + CONNECT_SECONDS;
    if (c->fd < 0)
        return;
    if (connect(c->fd, &a.any, n) != 0 && errno != EINPROGRESS)
        close_connection(c);
    else
        g->n_ours++;
}

static void start_connects(connector *g)
{
    static const uint8_t loopback[4] = { 127, 0, 0, 1 };
    static const uint8_t loopback6[16] = { [15] = 1 };

    for (int r = 0; r < g->w->rank && r < g->w->size; r++) {
        const tlpi_address *address = &g->addresses[r];

        for (int i = 0; i < address->n_addr; i++)
            start_connect(g, r, address->addr[i][0] == 6, address->addr[i] + 1);
        if (tlpi_address_same_machine(address, &g->addresses[g->w->rank])) {
            start_connect(g, r, 0, loopback);
            start_connect(g, r, 1, loopback6);
        }
    }
}

/* Let the kernel notice within seconds that the peer's host is unreachable,
 * also without traffic. */
static void set_probes(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 1 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 1 },
        { IPPROTO_TCP, TCP_KEEPCNT, 4 },
        { IPPROTO_TCP, TCP_USER_TIMEOUT, 4000 },
        { IPPROTO_TCP, TCP_NODELAY, 1 },
    };

    for (size_t i = 0; i < TLPI_COUNT(options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof options[i].value);
}

static void accept_peer(connector *g, connection *c, int peer)
{
    set_probes(c->fd);
    g->w->fd[peer] = c->fd;
    c->fd = -1;
}

/* ==== proofs ============================================================= */

/* An outgoing connection has received the peer's proof. */
static void answer(connector *g, connection *c)
{
    const uint8_t *theirs = g->addresses[c->peer].nonce;
    int rank = g->w->rank;
    uint8_t text[ANSWER_BYTES] = { (uint8_t)(rank >> 24), (uint8_t)(rank >> 16),
                                   (uint8_t)(rank >> 8), (uint8_t)rank };

    if (g->w->fd[c->peer] >= 0 || memcmp(c->buf, theirs, HALF) != 0)
        return;
    memcpy(text + 4, g->addresses[rank].nonce, HALF);
    memcpy(text + 4 + HALF, theirs + HALF, HALF);
    if (send(c->fd, text, sizeof text, MSG_NOSIGNAL) == (ssize_t)sizeof text)
        accept_peer(g, c, c->peer);
}

/* An incoming connection has answered this rank's proof. */
static void check_answer(connector *g, connection *c)
{
    const uint8_t *b = c->buf;
    uint32_t rank = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
                    (uint32_t)b[2] << 8 | b[3];

    if (rank <= (uint32_t)g->w->rank || rank >= (uint32_t)g->w->size ||
        g->w->fd[rank] >= 0)
        return;
    if (memcmp(b + 4, g->addresses[rank].nonce, HALF) == 0 &&
        memcmp(b + 4 + HALF, g->addresses[g->w->rank].nonce + HALF, HALF) == 0)
        accept_peer(g, c, (int)rank);
}

static void read_connection(connector *g, connection *c)
{
    size_t want = c->peer >= 0 ? PROOF_BYTES : ANSWER_BYTES;

    if (c->connects) {
        int error = 0;
        socklen_t n = sizeof error;

        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        c->connects = false;
        if (error)
            close_connection(c);
        return;
    }

    ssize_t n = recv(c->fd, c->buf + c->got, want - c->got, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->got += n > 0 ? (size_t)n : 0;
    if (n > 0 && c->got < want)
        return;
    if (n > 0 && c->peer >= 0)
        answer(g, c);
    else if (n > 0)
        check_answer(g, c);
    close_connection(c);
}

/* Accept waiting connections while there are free entries. */
static void accept_incoming(connector *g, int listener)
{
    for (int i = g->n_ours; i < g->n_connection; i++) {
        connection *c = &g->connections[i];

        if (c->fd >= 0)
            continue;
        *c = (connection){ .peer = -1, .deadline = g->now + INCOMING_SECONDS };
        c->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (c->fd < 0)
            return;
        if (send(c->fd, g->addresses[g->w->rank].nonce, PROOF_BYTES,
                 MSG_NOSIGNAL) != PROOF_BYTES)
            close_connection(c);
    }
}

/* ==== the loop =========================================================== */

static bool all_connected(const tlpi_liveness *w)
{
    for (int r = 0; r < w->size; r++)
        if (r != w->rank && w->fd[r] < 0)
            return false;
    return true;
}

static void poll_once(connector *g)
{
    const tlpi_liveness *w = g->w;
    bool room = false;

    for (int i = 0; i < g->n_connection; i++) {
        const connection *c = &g->connections[i];

        g->polls[2 + i] =
            (struct pollfd){ .fd = c->fd,
                             .events = c->connects ? POLLOUT : POLLIN };
        room |= c->fd < 0 && i >= g->n_ours;
    }
    for (int i = 0; i < 2; i++)
        g->polls[i] = (struct pollfd){ .fd = room ? w->listener[i] : -1,
                                       .events = POLLIN };
    poll(g->polls, (nfds_t)g->n_connection + 2, 2);
    g->now = tlpi_mpi_now();
    for (int i = 0; i < g->n_connection; i++) {
        connection *c = &g->connections[i];

        if (c->fd >= 0 && g->polls[2 + i].revents)
            read_connection(g, c);
        if (g->now > c->deadline)
            close_connection(c);
    }
    for (int i = 0; i < 2; i++)
        if (g->polls[i].fd >= 0 && g->polls[i].revents)
            accept_incoming(g, w->listener[i]);
}

void tlpi_liveness_connect(tlpi_liveness *w, const tlpi_address *addresses,
                           double deadline, void (*idle)(void *), void *arg,
                           uint8_t *made)
{
    size_t most =
        (size_t)TLPI_MIN(w->rank, w->size) * (TLPI_ADDRESS_MAX_IP + 2) +
        MAX_INCOMING;
    connector g = { .w = w, .addresses = addresses, .now = tlpi_mpi_now() };
    double until = TLPI_MIN(g.now + CONNECT_SECONDS, deadline);

    w->addresses = addresses;
    g.connections = malloc(most * sizeof *g.connections);
    g.polls = malloc((most + 2) * sizeof *g.polls);
    if (g.connections && g.polls && w->rank < w->size) {
        start_connects(&g);
        g.n_connection = g.n_ours + MAX_INCOMING;
        for (int i = g.n_ours; i < g.n_connection; i++)
            g.connections[i] = (connection){ .fd = -1 };
        while (!all_connected(w) && g.now < until) {
            poll_once(&g);
            idle(arg);
        }
        for (int i = 0; i < g.n_connection; i++)
            close_connection(&g.connections[i]);
    }
    free(g.connections);
    free(g.polls);
    for (int i = 0; i < 2; i++) {
        if (w->listener[i] >= 0)
            close(w->listener[i]);
        w->listener[i] = -1;
    }
    for (int r = 0; r < w->size; r++)
        made[r] = w->fd[r] >= 0;
}

void tlpi_liveness_settle(tlpi_liveness *w, const uint8_t *theirs)
{
    for (int r = 0; r < w->size; r++) {
        if (w->fd[r] < 0)
            continue;
        if (theirs[r]) {
            w->state[r] = TLPI_PEER_ALIVE;
        } else {
            close(w->fd[r]);
            w->fd[r] = -1;
        }
    }
}
