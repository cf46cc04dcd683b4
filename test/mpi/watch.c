/*
 * watch.c - the sockets between processes, without MPI: two ranks of one
 * process, and strangers who call them.
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
    tlpi_watch watch[2];
    tlpi_card cards[2];
    uint8_t made[2][2];
    double seconds;
} pair;

typedef struct side {
    pair *p;
    int rank;
} side;

static void no_work(void *arg)
{
    (void)arg;
}

static void *greet(void *arg)
{
    const side *s = arg;
    pair *p = s->p;

    tlpi_watch_greet(&p->watch[s->rank], p->cards, tlpi_mpi_now() + 10, no_work,
                     NULL, p->made[s->rank]);
    return NULL;
}

static pair *open_pair(void)
{
    pair *p = calloc(1, sizeof *p);

    CHECK(p);
    for (int r = 0; r < 2; r++) {
        tlpi_card_fill(&p->cards[r]);
        tlpi_watch_open(&p->watch[r], r, 2, &p->cards[r]);
        CHECK(tlpi_card_check(&p->cards[r]));
    }
    CHECK(tlpi_card_same_machine(&p->cards[0], &p->cards[1]));
    CHECK(memcmp(p->cards[0].nonce, p->cards[1].nonce, TLPI_CARD_NONCE) != 0);
    return p;
}

static void greet_both(pair *p)
{
    side other = { p, 1 };
    pthread_t thread;
    double start = tlpi_mpi_now();

    CHECK(pthread_create(&thread, NULL, greet, &other) == 0);
    greet(&(side){ p, 0 });
    pthread_join(thread, NULL);
    p->seconds = tlpi_mpi_now() - start;
}

static void settle_both(pair *p)
{
    for (int r = 0; r < 2; r++) {
        uint8_t theirs[2] = { p->made[0][r], p->made[1][r] };

        tlpi_watch_settle(&p->watch[r], theirs);
    }
}

static void free_pair(pair *p)
{
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < 2; i++)
            if (p->watch[r].fd[i] >= 0)
                close(p->watch[r].fd[i]);
    free(p);
}

/* Call rank 0 and say `n` bytes of text. */
static int call(const pair *p, const uint8_t *text, size_t n)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memcpy(&a.sin_port, p->cards[0].port[0], 2);
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
    double heard, told;

    greet_both(p);
    CHECK(p->seconds < 0.9);
    CHECK(p->made[0][1] && p->made[1][0]);
    CHECK(!p->made[0][0] && !p->made[1][1]);
    settle_both(p);
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == -1);
    CHECK(tlpi_watch_heard(&p->watch[0]) == 0);
    told = tlpi_mpi_now();
    tlpi_watch_busy(&p->watch[1]);
    usleep(2000);
    heard = tlpi_watch_heard(&p->watch[0]);
    CHECK(heard > 0 && tlpi_watch_heard(&p->watch[1]) == 0);
    tlpi_watch_busy(&p->watch[1]); /* too soon to be said again */
    usleep(2000);
    CHECK(tlpi_watch_heard(&p->watch[0]) == heard ||
          tlpi_mpi_now() - told > 0.05);

    tlpi_watch_leave(&p->watch[0]);
    usleep(2000);
    CHECK(tlpi_watch_gone(&p->watch[1], err, sizeof err) == 0);
    CHECK(strstr(err, "has left"));
    for (int i = 0; i < 3; i++) { /* who left is still told what others do */
        usleep(2000);
        CHECK(!tlpi_watch_bereft(&p->watch[1]));
    }
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == -1);
    CHECK(!tlpi_watch_bereft(&p->watch[0]));
    close(p->watch[1].fd[0]);
    p->watch[1].fd[0] = -1;
    usleep(2000);
    CHECK(tlpi_watch_bereft(&p->watch[0]));
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == 1);
    CHECK(strstr(err, "has ended"));
    free_pair(p);
}

/* Silent ones, ones who talk nonsense, and one who claims to be rank 1. */
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
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == -1);
    free_pair(p);
}

/* Who listens there is not whom the card names: nothing is told to it. */
static void not_the_peer(void)
{
    pair *p = open_pair();
    pair *other = open_pair();
    char err[128];

    memcpy(p->cards[0].port, other->cards[0].port, sizeof p->cards[0].port);
    greet_both(p);
    CHECK(p->seconds >= 0.9 && p->seconds < 5);
    CHECK(!p->made[0][1] && !p->made[1][0]);
    settle_both(p);
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == -1);
    greet_both(other);
    CHECK(other->made[0][1] && other->made[1][0]);
    free_pair(p);
    free_pair(other);
}

/* What only one side has does not count. */
static void one_sided(void)
{
    pair *p = open_pair();
    uint8_t none[2] = { 0, 0 };
    char err[128];

    greet_both(p);
    tlpi_watch_settle(&p->watch[1], none);
    tlpi_watch_settle(&p->watch[0], none);
    CHECK(p->watch[0].fd[1] < 0 && p->watch[1].fd[0] < 0);
    CHECK(tlpi_watch_gone(&p->watch[0], err, sizeof err) == -1);
    free_pair(p);
}

static void bad_cards(void)
{
    tlpi_card card, bad;

    tlpi_card_fill(&card);
    bad = card;
    memset(bad.host, 7, sizeof bad.host);
    memset(bad.machine, 'x', sizeof bad.machine);
    CHECK(tlpi_card_check(&bad));
    CHECK(strlen(bad.host) == sizeof bad.host - 1 && bad.host[0] == '?');
    CHECK(strlen(bad.machine) == sizeof bad.machine - 1);
    CHECK(!tlpi_card_same_machine(&card, &bad));
    bad.n_addr = TLPI_CARD_ADDRS + 1;
    CHECK(!tlpi_card_check(&bad));
    card.magic[6] ^= 1;
    CHECK(!tlpi_card_check(&card));
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
