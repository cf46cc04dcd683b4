/*
 * liveness_process.c - the sockets between processes, without MPI: two ranks
 * of one process, and foreign programs that connect to them.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mpi/mpi_transport.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

enum { N_STRANGER = 40 };

typedef struct pair {
    tlpi_liveness liveness[2];
    tlpi_address addresses[2];
    uint8_t made[2][2];
    double seconds;
} pair;

typedef struct end {
    pair *p;
    int rank;
} end;

static void no_work(void *arg)
{
    (void)arg;
}

static void *connect_end(void *arg)
{
    const end *s = arg;
    pair *p = s->p;

    tlpi_liveness_connect(&p->liveness[s->rank], p->addresses,
                          tlpi_mpi_now() + 10, no_work, NULL, p->made[s->rank]);
    return NULL;
}

static pair *open_pair(void)
{
    pair *p = calloc(1, sizeof *p);

    CHECK(p);
    for (int r = 0; r < 2; r++) {
        tlpi_address_fill(&p->addresses[r]);
        tlpi_liveness_open(&p->liveness[r], r, 2, &p->addresses[r]);
        CHECK(tlpi_address_check(&p->addresses[r]));
    }
    CHECK(tlpi_address_same_machine(&p->addresses[0], &p->addresses[1]));
    CHECK(memcmp(p->addresses[0].nonce, p->addresses[1].nonce,
                 TLPI_ADDRESS_NONCE) != 0);
    return p;
}

static void greet_both(pair *p)
{
    end other = { p, 1 };
    pthread_t thread;
    double start = tlpi_mpi_now();

    CHECK(pthread_create(&thread, NULL, connect_end, &other) == 0);
    connect_end(&(end){ p, 0 });
    pthread_join(thread, NULL);
    p->seconds = tlpi_mpi_now() - start;
}

static void settle_both(pair *p)
{
    for (int r = 0; r < 2; r++) {
        uint8_t theirs[2] = { p->made[0][r], p->made[1][r] };

        tlpi_liveness_settle(&p->liveness[r], theirs);
    }
}

static void free_pair(pair *p)
{
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < 2; i++)
            if (p->liveness[r].fd[i] >= 0)
                close(p->liveness[r].fd[i]);
    free(p);
}

/* Connect to rank 0 and send `n` bytes of text. */
static int call(const pair *p, const uint8_t *text, size_t n)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memcpy(&a.sin_port, p->addresses[0].port[0], 2);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && connect(fd, (void *)&a, sizeof a) == 0);
    CHECK(send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
    return fd;
}

/* ==== cases ============================================================== */

static void peers_meet(void)
{
    pair *p = open_pair();
    char err[128] = "";
    double last_busy, last_told;

    greet_both(p);
    CHECK(p->seconds < 0.9);
    CHECK(p->made[0][1] && p->made[1][0]);
    CHECK(!p->made[0][0] && !p->made[1][1]);
    settle_both(p);
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == -1);
    CHECK(tlpi_liveness_last_busy(&p->liveness[0]) == 0);
    last_told = tlpi_mpi_now();
    tlpi_liveness_busy(&p->liveness[1]);
    usleep(2000);
    last_busy = tlpi_liveness_last_busy(&p->liveness[0]);
    CHECK(last_busy > 0 && tlpi_liveness_last_busy(&p->liveness[1]) == 0);
    tlpi_liveness_busy(&p->liveness[1]); /* too soon to be sent again */
    usleep(2000);
    CHECK(tlpi_liveness_last_busy(&p->liveness[0]) == last_busy ||
          tlpi_mpi_now() - last_told > 0.05);

    tlpi_liveness_leave(&p->liveness[0]);
    usleep(2000);
    CHECK(tlpi_liveness_gone(&p->liveness[1], err, sizeof err) == 0);
    CHECK(strstr(err, "has left"));
    for (int i = 0; i < 3;
         i++) { /* a rank that has left still learns what its peers do */
        usleep(2000);
        CHECK(!tlpi_liveness_peer_lost(&p->liveness[1]));
    }
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == -1);
    CHECK(!tlpi_liveness_peer_lost(&p->liveness[0]));
    close(p->liveness[1].fd[0]);
    p->liveness[1].fd[0] = -1;
    usleep(2000);
    CHECK(tlpi_liveness_peer_lost(&p->liveness[0]));
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == 1);
    CHECK(strstr(err, "has ended"));
    free_pair(p);
}

/* Foreign connections: silent ones, ones that send other data, and one that
 * claims to be rank 1. */
static void strangers_call(void)
{
    pair *p = open_pair();
    uint8_t text[64] = { 0, 0, 0, 1 };
    int fd[N_STRANGER];
    char err[128];

    for (int i = 0; i < N_STRANGER; i++)
        fd[i] = call(p, text, i % 3 == 0 ? 0 : i % 3 == 1 ? 20 : sizeof text);
    greet_both(p);
    CHECK(p->made[0][1] && p->made[1][0]);
    settle_both(p);
    for (int i = 0; i < N_STRANGER; i++)
        close(fd[i]);
    usleep(2000);
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == -1);
    free_pair(p);
}

/* The program that listens there is not the named peer: nothing is sent to
 * it. */
static void not_the_peer(void)
{
    pair *p = open_pair();
    pair *other = open_pair();
    char err[128];

    memcpy(p->addresses[0].port, other->addresses[0].port,
           sizeof p->addresses[0].port);
    greet_both(p);
    CHECK(p->seconds >= 0.9 && p->seconds < 5);
    CHECK(!p->made[0][1] && !p->made[1][0]);
    settle_both(p);
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == -1);
    greet_both(other);
    CHECK(other->made[0][1] && other->made[1][0]);
    free_pair(p);
    free_pair(other);
}

/* A connection that only one end has does not count. */
static void one_sided(void)
{
    pair *p = open_pair();
    uint8_t none[2] = { 0, 0 };
    char err[128];

    greet_both(p);
    tlpi_liveness_settle(&p->liveness[1], none);
    tlpi_liveness_settle(&p->liveness[0], none);
    CHECK(p->liveness[0].fd[1] < 0 && p->liveness[1].fd[0] < 0);
    CHECK(tlpi_liveness_gone(&p->liveness[0], err, sizeof err) == -1);
    free_pair(p);
}

static void bad_cards(void)
{
    tlpi_address address, bad;

    tlpi_address_fill(&address);
    bad = address;
    memset(bad.host, 7, sizeof bad.host);
    memset(bad.machine, 'x', sizeof bad.machine);
    CHECK(tlpi_address_check(&bad));
    CHECK(strlen(bad.host) == sizeof bad.host - 1 && bad.host[0] == '?');
    CHECK(strlen(bad.machine) == sizeof bad.machine - 1);
    CHECK(!tlpi_address_same_machine(&address, &bad));
    bad.n_addr = TLPI_ADDRESS_MAX_IP + 1;
    CHECK(!tlpi_address_check(&bad));
    address.magic[6] ^= 1;
    CHECK(!tlpi_address_check(&address));
}

int main(void)
{
    peers_meet();
    strangers_call();
    not_the_peer();
    one_sided();
    bad_cards();
    return 0;
}
