/*
 * transport_process.c - the MPI transport between real processes, one scenario
 * a run.
 *
 * A failed check ends the process at once, for which mpirun ends the others.
 */
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "comm/transport.h"

#define BIG ((size_t)3 << 20)

static const tlpi_transport_ops *ops;
static tlpi_transport *t;
static char err[512];

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s\n", t ? t->rank : -1,    \
                    __LINE__, #cond, err);                                     \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

static tlp_status open_for(int timeout_ms, const void *handle)
{
    if (!ops && tlpi_transport_load(&ops, TLP_COMM_MPI) != TLP_OK) {
        snprintf(err, sizeof err, "%s", tlp_last_error());
        CHECK(ops);
    }
    return ops->open(&t, handle, timeout_ms, err, sizeof err);
}

static void open_all(void)
{
    CHECK(open_for(10000, NULL) == TLP_OK);
}

static tlpi_xfer *begin_send(int to, int tag, const void *data, size_t n)
{
    tlpi_xfer *x;

    CHECK(ops->send(t, &x, to, tag, data, n, err, sizeof err) == TLP_OK);
    return x;
}

static tlpi_xfer *begin_recv(int from, int tag, void *data, size_t n)
{
    tlpi_xfer *x;

    CHECK(ops->recv(t, &x, from, tag, data, n, err, sizeof err) == TLP_OK);
    return x;
}

/* Wait for x; gives how much came, *from (or NULL) from whom. */
static size_t finish(tlpi_xfer *x, int *from)
{
    double deadline = tlpi_now() + 10;
    size_t got = 0;
    int done = 0;

    while (done == 0 && tlpi_now() < deadline) {
        CHECK(x);
        done = ops->poll(t, &x, &got, from, err, sizeof err);
    }
    CHECK(done == 1);
    CHECK(!x);
    return got;
}

static void put(int to, int tag, const void *data, size_t n)
{
    finish(begin_send(to, tag, data, n), NULL);
}

static size_t get(int from, int tag, void *data, size_t n)
{
    return finish(begin_recv(from, tag, data, n), NULL);
}

/* All have come here. */
static void rendezvous(int tag)
{
    char c = 0;

    for (int r = 0; r < t->size; r++)
        if (r != t->rank)
            put(r, tag, &c, 1);
    for (int r = 0; r < t->size; r++)
        if (r != t->rank)
            CHECK(get(r, tag, &c, 1) == 1);
}

/* Message i from rank r: its length and byte k. */
static size_t length(int r, int i)
{
    return i == 0   ? 0
           : i == 1 ? TLPI_EAGER_BYTES
           : i == 2 ? BIG
                    : (size_t)(i * 97 + r);
}

static unsigned char byte(int r, int i, size_t k)
{
    return (unsigned char)(31 * (size_t)r + 7 * (size_t)i + k * (k >> 8 | 1));
}

/* ==== messages =========================================================== */

enum { N_MESSAGE = 40 };

/* Everybody sends everybody all messages before anyone receives. */
static void messages(void)
{
    tlpi_xfer *x[8][N_MESSAGE];
    unsigned char *text[N_MESSAGE], *in;

    open_all();
    CHECK(t->size <= 8);
    CHECK(t->n_local == t->size);
    CHECK(t->local_rank == t->rank);
    in = ops->alloc(t, BIG);
    CHECK(in && (uintptr_t)in % 64 == 0);
    for (int i = 0; i < N_MESSAGE; i++) {
        size_t n = length(t->rank, i);

        text[i] = ops->alloc(t, n);
        CHECK(text[i]);
        for (size_t k = 0; k < n; k++)
            text[i][k] = byte(t->rank, i, k);
        for (int r = 0; r < t->size; r++)
            x[r][i] = r == t->rank ? NULL : begin_send(r, 5, text[i], n);
    }
    for (int r = 0; r < t->size; r++) {
        for (int i = 0; i < N_MESSAGE && r != t->rank; i++) {
            size_t n = get(r, 5, in, BIG);

            CHECK(n == length(r, i));
            for (size_t k = 0; k < n; k++)
                CHECK(in[k] == byte(r, i, k));
        }
    }
    for (int i = 0; i < N_MESSAGE; i++) {
        for (int r = 0; r < t->size; r++)
            if (x[r][i])
                finish(x[r][i], NULL);
        ops->retire(t, text[i], NULL, 0);
    }
    ops->retire(t, in, NULL, 0);
}

/* A short message is sent though nobody asked for it; and tags are apart. */
static void unexpected(void)
{
    enum { N = 2048 };
    unsigned char text[N];

    memset(text, 7, N);
    open_all();
    if (t->rank == 0) {
        for (int i = 0; i < 5; i++)
            put(1, 1, text, N);
        put(1, 2, text, 1);
    } else {
        get(0, 2, text, 1);
        for (int i = 0; i < 5; i++)
            CHECK(get(0, 1, text, N) == N);
    }
}

static void any_rank(void)
{
    open_all();
    if (t->rank != 0) {
        put(0, 3, &t->rank, sizeof t->rank);
        return;
    }
    unsigned seen = 1;

    for (int i = 1; i < t->size; i++) {
        int rank = -1, from = -1;

        CHECK(finish(begin_recv(TLPI_ANY_RANK, 3, &rank, sizeof rank), &from) ==
              sizeof rank);
        CHECK(from == rank);
        seen |= 1u << rank;
    }
    CHECK(seen == (1u << t->size) - 1);
}

/* A text that is too long is a failure of the receive, and of nothing else. */
static void refused(void)
{
    char text[64] = "text";
    tlpi_xfer *x = (tlpi_xfer *)text;

    open_all();
    CHECK(ops->send(t, &x, t->size, 1, text, 1, err, sizeof err) == TLP_EINVAL);
    CHECK(!x && strcmp(err, "rank 2 of 2") == 0);
    CHECK(ops->send(t, &x, 0, TLPI_TAG_END, text, 1, err, sizeof err) ==
          TLP_EINVAL);
    CHECK(ops->recv(t, &x, -2, 1, text, 1, err, sizeof err) == TLP_EINVAL);
    CHECK(ops->recv(t, &x, 0, 1, text, SIZE_MAX, err, sizeof err) ==
          TLP_EINVAL);
    if (t->rank == 0) {
        put(1, 1, text, sizeof text);
    } else {
        int done = 0;

        x = begin_recv(0, 1, text, 3);
        while (done == 0)
            done = ops->poll(t, &x, NULL, NULL, err, sizeof err);
        CHECK(done == TLP_ECOMM && !x && strlen(err) > 0);
    }
    rendezvous(2);
}

/* A receive that was given up takes no message from the next one. */
static void retire(void)
{
    tlpi_xfer *x[3];
    int *memory, value = 42, other = 0;

    open_all();
    memory = ops->alloc(t, sizeof *memory);
    x[0] = begin_recv(1 - t->rank, 4, memory, sizeof *memory);
    x[1] = NULL;
    x[2] = begin_recv(TLPI_ANY_RANK, 9, memory, sizeof *memory);
    ops->retire(t, memory, x, 3);
    CHECK(!x[0] && !x[2]);
    rendezvous(2);
    put(1 - t->rank, 4, &value, sizeof value);
    CHECK(get(1 - t->rank, 4, &other, sizeof other) == sizeof other);
    CHECK(other == 42);
    /* A send that nobody wants is no reason to stay. */
    memory = ops->alloc(t, BIG);
    memset(memory, 0, BIG);
    x[0] = begin_send(1 - t->rank, 6, memory, BIG);
    ops->retire(t, memory, x, 1);
    rendezvous(2);
}

static void channels(void)
{
    static unsigned char seen[TLPI_TAG_END / 4];
    tlpi_transport *first;

    open_all();
    for (int i = 0; i < TLPI_TAG_END / 4 - 1; i++) {
        int c = ops->new_channel(t);

        CHECK(c > 0 && c < TLPI_TAG_END / 4 && !seen[c]);
        seen[c] = 1;
    }
    first = t;
    open_all();
    CHECK(t == first);
}

/* ==== who is alive ======================================================= */

/* Rank 1 is soon known to be gone, and how. */
static void await_end(const char *how)
{
    double deadline = tlpi_now() + 5;

    while (ops->gone(t, err, sizeof err) != 1)
        CHECK(tlpi_now() < deadline);
    CHECK(strstr(err, how));
}

static void killed(void)
{
    char byte = 0, none;
    tlpi_xfer *x;

    open_all();
    CHECK(ops->gone(t, err, sizeof err) == -1);
    rendezvous(2);
    if (t->rank == 1)
        raise(SIGKILL);
    x = begin_recv(1, 1, &none, 1);
    await_end(" has ended");
    CHECK(ops->poll(t, &x, NULL, NULL, err, sizeof err) == 0);
    usleep(5000);
    CHECK(ops->gone(t, err, sizeof err) == 1);
    /* The others can still talk. */
    if (t->size == 3) {
        put(2 - t->rank, 2, &byte, 1);
        get(2 - t->rank, 2, &byte, 1);
    }
    printf("survived\n");
}

/* Rank 1 comes to its end while rank 0 has work left: it waits. */
static void leaves(void)
{
    open_all();
    rendezvous(2);
    if (t->rank == 1)
        return;
    await_end(" has left");
    for (double until = tlpi_now() + 1; tlpi_now() < until;)
        CHECK(ops->gone(t, err, sizeof err) == 1);
    printf("done\n");
}

/* Rank 1 dies, so rank 0 leaves; rank 2, which sees both at once, names the
 * dead one. */
static void blamed(void)
{
    open_all();
    rendezvous(2);
    if (t->rank == 1)
        raise(SIGKILL);
    if (t->rank == 0) {
        await_end(" has ended");
        return;
    }
    sleep(1);
    await_end(" has ended");
    printf("done\n");
}

static void stopped(void)
{
    pid_t pid = getpid();

    open_all();
    if (t->rank == 1) {
        put(0, 1, &pid, sizeof pid);
        raise(SIGSTOP);
    } else {
        double until = tlpi_now() + 1;

        get(1, 1, &pid, sizeof pid);
        while (tlpi_now() < until)
            CHECK(ops->gone(t, err, sizeof err) == -1);
        kill(pid, SIGCONT);
    }
    rendezvous(2);
}

/* When a rank last told that it is at work, once that is after `since`. */
static double await_heard(double since)
{
    double deadline = tlpi_now() + 5, heard;

    while ((heard = ops->last_busy(t)) <= since)
        CHECK(tlpi_now() < deadline);
    CHECK(heard <= tlpi_now());
    return heard;
}

/* Rank 1 is at work until rank 0 has heard of it three times. */
static void busy(void)
{
    char byte = 0;

    open_all();
    CHECK(t->rank == 1 || ops->last_busy(t) == 0);
    rendezvous(2);
    if (t->rank == 0) {
        double heard = 0;

        for (int i = 0; i < 3; i++)
            heard = await_heard(heard);
        put(1, 1, &byte, 1);
        rendezvous(3);
        usleep(100000);
        heard = ops->last_busy(t);
        usleep(100000);
        CHECK(ops->last_busy(t) == heard);
    } else {
        tlpi_xfer *x = begin_recv(0, 1, &byte, 1);

        while (ops->poll(t, &x, NULL, NULL, err, sizeof err) == 0)
            ops->busy(t);
        rendezvous(3);
    }
}

/* ==== starting =========================================================== */

/* Rank 0 waits in vain, and can go on without. */
static void never(void)
{
    if (atoi(getenv("OMPI_COMM_WORLD_RANK")) == 1) {
        sleep(4);
        return;
    }
    double start = tlpi_now();

    CHECK(open_for(500, NULL) == TLP_ETIMEDOUT);
    CHECK(!t);
    CHECK(tlpi_now() - start < 3);
    printf("%s\n", err);
}

/* A deadline that passed can be tried again. */
static void late(void)
{
    tlp_status st;
    int n_late = 0;

    if (atoi(getenv("OMPI_COMM_WORLD_RANK")) == 1)
        sleep(1);
    while ((st = open_for(300, NULL)) == TLP_ETIMEDOUT) {
        CHECK(strstr(err, "not all 2 processes"));
        n_late++;
    }
    CHECK(st == TLP_OK);
    if (t->rank == 0 && n_late > 0)
        printf("waited\n");
    rendezvous(1);
}

/* MPI is there, and the peer does not come to the communicator. */
static void late_to_meet(void)
{
    int level;

    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
    late();
    MPI_Finalize();
}

/* The program's own MPI, of whose three processes the first two work. */
static void own(void)
{
    MPI_Comm part;
    int rank, level;

    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_split(MPI_COMM_WORLD, rank == 2, -rank, &part);
    CHECK(open_for(10000, &part) == TLP_OK);
    CHECK(t->size == (rank == 2 ? 1 : 2));
    CHECK(t->rank == (rank == 0));
    rendezvous(1);
    MPI_Comm_free(&part);
    rendezvous(2);

    tlpi_transport *first = t;

    CHECK(open_for(10000, NULL) == TLP_OK);
    CHECK(t != first && t->size == 3 && t->rank == rank);
    rendezvous(1);
    MPI_Finalize();
    CHECK(open_for(100, NULL) == TLP_ENOTSUP);
    CHECK(strstr(err, "finalized"));
}

static void *open_elsewhere(void *arg)
{
    (void)arg;
    CHECK(open_for(1000, NULL) == TLP_ENOTSUP);
    CHECK(strstr(err, "MPI_THREAD_SERIALIZED"));
    return NULL;
}

static void *send_elsewhere(void *arg)
{
    tlpi_xfer *x;

    (void)arg;
    CHECK(ops->send(t, &x, 0, 1, "", 0, err, sizeof err) == TLP_ENOTSUP);
    return NULL;
}

static void one_thread(void)
{
    pthread_t thread;
    int level;

    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    if (level < MPI_THREAD_SERIALIZED) {
        pthread_create(&thread, NULL, open_elsewhere, NULL);
        pthread_join(thread, NULL);
        open_all();
        pthread_create(&thread, NULL, send_elsewhere, NULL);
        pthread_join(thread, NULL);
    } else {
        open_all();
    }
    rendezvous(1);
    MPI_Finalize();
}

/* ==== which ============================================================== */

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    { "messages", messages }, { "unexpected", unexpected },
    { "any-rank", any_rank }, { "refused", refused },
    { "retire", retire },     { "channels", channels },
    { "killed", killed },     { "leaves", leaves },
    { "blamed", blamed },     { "stopped", stopped },
    { "busy", busy },         { "never", never },
    { "late", late },         { "late-to-meet", late_to_meet },
    { "own", own },           { "one-thread", one_thread },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < TLPI_COUNT(scenarios); i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            return 0;
        }
    }
    fprintf(stderr, "usage: transport SCENARIO\n");
    return 2;
}
