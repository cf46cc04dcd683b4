/*
 * liveness.c - detection of processes that have ended.
 *
 * MPI does not report the death of a peer: its messages do not arrive.  Each
 * pair of processes therefore also has a TCP connection with very little
 * traffic.  The kernel closes the connection when the process ends for any
 * reason, and its probes notice when the host or the link is lost.  A stopped
 * process keeps its connections.
 */
#include "mpi_transport.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A check costs a system call, and waiting loops check in every turn. */
#define LOOK_SECONDS 0.0005
#define TELL_SECONDS 0.05

enum { BYTE_BUSY = 'b', BYTE_LEAVING = 'l' };

/* The connection to rank r has ended. */
static void lose(tlpi_liveness *w, int r, int error)
{
    close(w->fd[r]);
    w->fd[r] = -1;
    if (w->state[r] == TLPI_PEER_ALIVE)
        w->state[r] = error == 0 || error == ECONNRESET ? TLPI_PEER_ENDED
                                                        : TLPI_PEER_LOST;
}

static void read_peer(tlpi_liveness *w, int r)
{
    uint8_t bytes[64];
    ssize_t n = recv(w->fd[r], bytes, sizeof bytes, MSG_DONTWAIT);

    if (n == 0 && w->state[r] == TLPI_PEER_LEAVING) {
        w->closed[r] = true;
    } else if (n == 0) {
        lose(w, r, 0);
    } else if (n > 0) {
        w->last_busy = tlpi_mpi_now();
        if (memchr(bytes, BYTE_LEAVING, (size_t)n))
            w->state[r] = TLPI_PEER_LEAVING;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        lose(w, r, errno);
    }
}

/* Read the peers' sockets, unless the last check was just before. */
static void look(tlpi_liveness *w)
{
    struct pollfd polls[TLPI_LIVENESS_MAX];
    int rank[TLPI_LIVENESS_MAX];
    double now = tlpi_mpi_now();
    nfds_t n = 0;

    if (now - w->last_look < LOOK_SECONDS)
        return;
    w->last_look = now;
    for (int r = 0; r < w->size; r++) {
        if (w->fd[r] < 0 || w->closed[r])
            continue;
        polls[n] = (struct pollfd){ .fd = w->fd[r], .events = POLLIN };
        rank[n++] = r;
    }
    if (n == 0 || poll(polls, n, 0) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++)
        if (polls[i].revents)
            read_peer(w, rank[i]);
}

static const char *fate(tlpi_peer_state state)
{
    return state == TLPI_PEER_LOST    ? "cannot be reached"
           : state == TLPI_PEER_ENDED ? "has ended"
                                      : "has left";
}

/* The lowest rank whose state is `least` or worse; -1: none. */
static int find_gone(const tlpi_liveness *w, tlpi_peer_state least)
{
    for (int r = 0; r < w->size; r++)
        if (w->state[r] >= least)
            return r;
    return -1;
}

/* The rank to name in an error.  A death makes other ranks leave, so an ended
 * rank comes before a leaving one; the first ended rank may be why later ranks
 * ended. */
static int pick_gone(tlpi_liveness *w)
{
    if (w->ended < 0)
        w->ended = find_gone(w, TLPI_PEER_ENDED);
    return w->ended >= 0 ? w->ended : find_gone(w, TLPI_PEER_LEAVING);
}

int tlpi_liveness_gone(tlpi_liveness *w, char *err, size_t cap)
{
    pthread_mutex_lock(&w->lock);
    look(w);

    int gone = pick_gone(w);

    if (gone >= 0)
        tlpi_mpi_fail(err, cap, TLP_ECOMM, "the process on %s %s",
                      w->addresses[gone].host, fate(w->state[gone]));
    pthread_mutex_unlock(&w->lock);
    return gone;
}

/* Errors are ignored here: reading notices a closed socket. */
static void tell(tlpi_liveness *w, uint8_t byte)
{
    for (int r = 0; r < w->size; r++)
        if (w->fd[r] >= 0)
            send(w->fd[r], &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void tlpi_liveness_busy(tlpi_liveness *w)
{
    double now = tlpi_mpi_now();

    pthread_mutex_lock(&w->lock);
    if (now - w->last_told >= TELL_SECONDS) {
        w->last_told = now;
        tell(w, BYTE_BUSY);
    }
    pthread_mutex_unlock(&w->lock);
}

double tlpi_liveness_last_busy(tlpi_liveness *w)
{
    pthread_mutex_lock(&w->lock);
    look(w);

    double last_busy = w->last_busy;

    pthread_mutex_unlock(&w->lock);
    return last_busy;
}

void tlpi_liveness_leave(tlpi_liveness *w)
{
    pthread_mutex_lock(&w->lock);
    tell(w, BYTE_LEAVING);
    /* Keep the receiving direction: it shows whether the peers leave or die. */
    for (int r = 0; r < w->size; r++)
        if (w->fd[r] >= 0)
            shutdown(w->fd[r], SHUT_WR);
    pthread_mutex_unlock(&w->lock);
}

bool tlpi_liveness_peer_lost(tlpi_liveness *w)
{
    bool lost = false;

    pthread_mutex_lock(&w->lock);
    look(w);
    for (int r = 0; r < w->size; r++)
        lost |= w->state[r] >= TLPI_PEER_ENDED;
    pthread_mutex_unlock(&w->lock);
    return lost;
}
