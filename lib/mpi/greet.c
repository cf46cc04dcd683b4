/*
 * greet.c - connecting the sockets of the watch.
 *
 * Rank k connects to every rank j < k, at all of j's addresses at once, since
 * nobody knows which of them is reachable from where.  Others may listen at
 * such an address, and anybody may connect to ours, so both prove that they
 * know the cards: j greets with one half of its nonce, and k answers the first
 * right greeting with its rank, half of its own nonce and the other half of
 * j's.  What does not fit is dropped.
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

#define GREETING 8
#define HALF (TLPI_CARD_NONCE / 2)
#define ANSWER                                                                 \
    (4 + HALF + HALF) /* rank, high byte first; k's half; j's half             \
                       */

#define GREET_SECONDS 1.0
#define VISIT_SECONDS 0.25 /* for a caller to answer */
#define MAX_VISITORS 32

_Static_assert(GREETING == HALF, "the greeting is half a nonce");

/* A connection on its way. */
typedef struct call {
    int fd;        /* -1: over */
    int peer;      /* whom we call; -1: somebody calls us */
    bool connects; /* not yet there */
    double deadline;
    size_t got;
    uint8_t buf[ANSWER];
} call;

typedef struct greeting {
    tlpi_watch *w;
    const tlpi_card *cards;
    call *calls;          /* ours, then MAX_VISITORS of others */
    struct pollfd *polls; /* the listeners, then one for each call */
    int n_ours, n_call;
    double now;
} greeting;

typedef union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

/* ==== listening ========================================================== */

static socklen_t make_address(address *a, int six, const void *bytes,
                              uint16_t port)
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

/* A listening socket at any address, its port to the card; -1 if the system
 * refuses. */
static int listen_at(int six, uint8_t port[2])
{
    static const uint8_t any[16];
    address a;
    socklen_t n = make_address(&a, six, any, 0);
    int fd = new_socket(six), yes = 1;

    if (fd < 0)
        return -1;
    if ((six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes)) ||
        bind(fd, &a.any, n) != 0 || listen(fd, TLPI_WATCH_MAX) != 0 ||
        getsockname(fd, &a.any, &n) != 0) {
        close(fd);
        return -1;
    }
    memcpy(port, six ? (void *)&a.v6.sin6_port : (void *)&a.v4.sin_port, 2);
    return fd;
}

void tlpi_watch_open(tlpi_watch *w, int rank, int size, tlpi_card *card)
{
    pthread_mutex_init(&w->lock, NULL);
    w->rank = rank;
    w->size = TLPI_MIN(size, TLPI_WATCH_MAX);
    w->ended = -1;
    for (int r = 0; r < TLPI_WATCH_MAX; r++)
        w->fd[r] = -1;
    for (int six = 0; six < 2; six++)
        w->listener[six] =
            rank < w->size ? listen_at(six, card->port[six]) : -1;
}

/* ==== calling ============================================================ */

static void hang_up(call *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void dial(greeting *g, int peer, int six, const void *bytes)
{
    const uint8_t *port = g->cards[peer].port[six];
    call *c = &g->calls[g->n_ours];
    address a;
    socklen_t n =
        make_address(&a, six, bytes, (uint16_t)(port[0] << 8 | port[1]));

    if ((port[0] | port[1]) == 0)
        return;
    *c = (call){ .fd = new_socket(six), .peer = peer, .connects = true };
    c->deadline = g->now + GREET_SECONDS;
    if (c->fd < 0)
        return;
    if (connect(c->fd, &a.any, n) != 0 && errno != EINPROGRESS)
        hang_up(c);
    else
        g->n_ours++;
}

static void dial_all(greeting *g)
{
    static const uint8_t loopback[4] = { 127, 0, 0, 1 };
    static const uint8_t loopback6[16] = { [15] = 1 };

    for (int r = 0; r < g->w->rank && r < g->w->size; r++) {
        const tlpi_card *card = &g->cards[r];

        for (int i = 0; i < card->n_addr; i++)
            dial(g, r, card->addr[i][0] == 6, card->addr[i] + 1);
        if (tlpi_card_same_machine(card, &g->cards[g->w->rank])) {
            dial(g, r, 0, loopback);
            dial(g, r, 1, loopback6);
        }
    }
}

/* Notice within seconds that the other side cannot be reached, idle or not. */
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

static void accept_peer(greeting *g, call *c, int peer)
{
    set_probes(c->fd);
    g->w->fd[peer] = c->fd;
    c->fd = -1;
}

/* ==== proofs ============================================================= */

/* We called, and got a greeting. */
static void answer(greeting *g, call *c)
{
    const uint8_t *theirs = g->cards[c->peer].nonce;
    int rank = g->w->rank;
    uint8_t text[ANSWER] = { (uint8_t)(rank >> 24), (uint8_t)(rank >> 16),
                             (uint8_t)(rank >> 8), (uint8_t)rank };

    if (g->w->fd[c->peer] >= 0 || memcmp(c->buf, theirs, HALF) != 0)
        return;
    memcpy(text + 4, g->cards[rank].nonce, HALF);
    memcpy(text + 4 + HALF, theirs + HALF, HALF);
    if (send(c->fd, text, sizeof text, MSG_NOSIGNAL) == (ssize_t)sizeof text)
        accept_peer(g, c, c->peer);
}

/* Somebody called, and answered our greeting. */
static void check_answer(greeting *g, call *c)
{
    const uint8_t *b = c->buf;
    uint32_t rank = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
                    (uint32_t)b[2] << 8 | b[3];

    if (rank <= (uint32_t)g->w->rank || rank >= (uint32_t)g->w->size ||
        g->w->fd[rank] >= 0)
        return;
    if (memcmp(b + 4, g->cards[rank].nonce, HALF) == 0 &&
        memcmp(b + 4 + HALF, g->cards[g->w->rank].nonce + HALF, HALF) == 0)
        accept_peer(g, c, (int)rank);
}

static void hear(greeting *g, call *c)
{
    size_t want = c->peer >= 0 ? GREETING : ANSWER;

    if (c->connects) {
        int error = 0;
        socklen_t n = sizeof error;

        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        c->connects = false;
        if (error)
            hang_up(c);
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
    hang_up(c);
}

/* Take what waits at a listener, as far as there is room for it. */
static void let_in(greeting *g, int listener)
{
    for (int i = g->n_ours; i < g->n_call; i++) {
        call *c = &g->calls[i];

        if (c->fd >= 0)
            continue;
        *c = (call){ .peer = -1, .deadline = g->now + VISIT_SECONDS };
        c->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (c->fd < 0)
            return;
        if (send(c->fd, g->cards[g->w->rank].nonce, GREETING, MSG_NOSIGNAL) !=
            GREETING)
            hang_up(c);
    }
}

/* ==== the whole ========================================================== */

static bool all_met(const tlpi_watch *w)
{
    for (int r = 0; r < w->size; r++)
        if (r != w->rank && w->fd[r] < 0)
            return false;
    return true;
}

static void one_turn(greeting *g)
{
    const tlpi_watch *w = g->w;
    bool room = false;

    for (int i = 0; i < g->n_call; i++) {
        const call *c = &g->calls[i];

        g->polls[2 + i] =
            (struct pollfd){ .fd = c->fd,
                             .events = c->connects ? POLLOUT : POLLIN };
        room |= c->fd < 0 && i >= g->n_ours;
    }
    for (int i = 0; i < 2; i++)
        g->polls[i] = (struct pollfd){ .fd = room ? w->listener[i] : -1,
                                       .events = POLLIN };
    poll(g->polls, (nfds_t)g->n_call + 2, 2);
    g->now = tlpi_mpi_now();
    for (int i = 0; i < g->n_call; i++) {
        call *c = &g->calls[i];

        if (c->fd >= 0 && g->polls[2 + i].revents)
            hear(g, c);
        if (g->now > c->deadline)
            hang_up(c);
    }
    for (int i = 0; i < 2; i++)
        if (g->polls[i].fd >= 0 && g->polls[i].revents)
            let_in(g, w->listener[i]);
}

void tlpi_watch_greet(tlpi_watch *w, const tlpi_card *cards, double deadline,
                      void (*idle)(void *), void *arg, uint8_t *made)
{
    size_t most = (size_t)TLPI_MIN(w->rank, w->size) * (TLPI_CARD_ADDRS + 2) +
                  MAX_VISITORS;
    greeting g = { .w = w, .cards = cards, .now = tlpi_mpi_now() };
    double until = TLPI_MIN(g.now + GREET_SECONDS, deadline);

    w->cards = cards;
    g.calls = malloc(most * sizeof *g.calls);
    g.polls = malloc((most + 2) * sizeof *g.polls);
    if (g.calls && g.polls && w->rank < w->size) {
        dial_all(&g);
        g.n_call = g.n_ours + MAX_VISITORS;
        for (int i = g.n_ours; i < g.n_call; i++)
            g.calls[i] = (call){ .fd = -1 };
        while (!all_met(w) && g.now < until) {
            one_turn(&g);
            idle(arg);
        }
        for (int i = 0; i < g.n_call; i++)
            hang_up(&g.calls[i]);
    }
    free(g.calls);
    free(g.polls);
    for (int i = 0; i < 2; i++) {
        if (w->listener[i] >= 0)
            close(w->listener[i]);
        w->listener[i] = -1;
    }
    for (int r = 0; r < w->size; r++)
        made[r] = w->fd[r] >= 0;
}

void tlpi_watch_settle(tlpi_watch *w, const uint8_t *theirs)
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
