/*
 * peer.c - the operations between processes; test_mpi_peer.c runs it under
 * mpirun with a scenario's name.
 *
 * A rank for which all is as it should be prints "rank N: fine" and ends with
 * status 0.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/comm_peer.h"
#include "support/mem.h"
#include "support/payload.h"

#define MAX_FLOATS 100000 /* of a round */
#define TIMEOUT_MS 10000

/* Seconds: soon on a machine that is busy with other work, too, and much sooner
 * than by a timeout. */
#define SOON 5

static const tlpi_transport_ops *ops;
static tlpi_transport *transport;
static int rank, size;
static mem heap;
static tlpi_env env;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: %s:%d: %s; last error: %s\n", rank,      \
                    __FILE__, __LINE__, #cond, tlp_last_error());              \
            _Exit(1);                                                          \
        }                                                                      \
    } while (0)

#define CHECK_OK(expr) CHECK((expr) == TLP_OK)

/* The text of a failure has all of these words. */
#define CHECK_FAILS(want, expr, ...)                                           \
    do {                                                                       \
        const char *const words[] = { __VA_ARGS__ };                           \
        CHECK((expr) == (want));                                               \
        for (size_t i_ = 0; i_ < TLPI_COUNT(words); i_++)                      \
            CHECK(strstr(tlp_last_error(), words[i_]));                        \
    } while (0)

static void nap_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* ==== communicators ====================================================== */

static tlpi_comm *make(int wire, int timeout_ms)
{
    static int channel;
    tlpi_peer_setup setup = {
        .ops = ops,
        .transport = transport,
        .channel = ++channel,
        .wire = wire,
        .max_floats = MAX_FLOATS,
        .n_thread = 1,
        .timeout_ms = timeout_ms,
    };
    tlpi_comm *c;

    CHECK_OK(tlpi_comm_peer_create(&c, &env, &setup));
    CHECK(c->rank == rank && c->size == size);
    return c;
}

static void drop(tlpi_comm *c)
{
    tlpi_comm_free(c);
    CHECK(heap.live == 0);
}

static tlp_status allreduce(tlpi_comm *c, float *x, size_t n, uint32_t *vote)
{
    return c->ops->allreduce(c, x, n, vote);
}

static tlp_status meet(tlpi_comm *c)
{
    float none = 0;
    return allreduce(c, &none, 1, NULL);
}

/* Sum and votes of n values over c, whose rank 0 is root rank `first`. */
static void check_sum(tlpi_comm *c, int first, size_t n, uint64_t key)
{
    float *x = malloc((n + 1) * sizeof *x);
    uint32_t vote = 1u << c->rank;

    fill(x, n, key, rank);
    x[n] = 0.5f;
    CHECK_OK(allreduce(c, x, n, &vote));
    CHECK(vote == (1u << c->size) - 1);
    CHECK(is_sum(x, n, key, first, c->size));
    CHECK(x[n] == 0.5f);
    free(x);
}

/* 15328 floats are a message of F32. */
static const size_t sizes[] = { 0,     1,     2,          15,    63,
                                64,    576,   4999,       8192,  10923,
                                15327, 15328, 15329,      15352, 16384,
                                30656, 65537, MAX_FLOATS, 1 };

static void sums(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);

    for (uint64_t key = 0; key < 3; key++)
        for (size_t i = 0; i < TLPI_COUNT(sizes); i++)
            check_sum(c, 0, sizes[i], key);
    check_sum(c, 0, 10 * MAX_FLOATS + 77, 9); /* several rounds */
    for (uint64_t key = 0; key < 1000; key++)
        check_sum(c, 0, 576, key);
    drop(c);
}

/* A vector's bits on all ranks are those on rank 0. */
static void check_same(tlpi_comm *c, const float *x, size_t n)
{
    size_t bytes[32], own = n * sizeof *x;
    char *all = rank == 0 ? malloc((size_t)size * own + 1) : NULL;

    for (int r = 0; r < size; r++)
        bytes[r] = own;
    CHECK_OK(c->ops->gather(c, x, bytes, all));
    for (int r = 1; r < size && all; r++)
        CHECK(memcmp(all, all + (size_t)r * own, own) == 0);
    free(all);
}

static float magnitude(float v)
{
    return v < 0 ? -v : v;
}

/* Values up to 1 on each rank: a bound of the error is easy to tell. */
static void check_lossy_sum(tlpi_comm *c, int wire, size_t n, uint64_t key)
{
    float step = wire == TLP_WIRE_BF16 ? 1.0f / 256 : 1.0f / 254;
    float bound = 2.01f * (float)size * step;
    float *x = malloc((n + 1) * sizeof *x), worst = 0;

    for (size_t i = 0; i < n; i++)
        x[i] = value(key, rank, i) / 8388608e4f;
    CHECK_OK(allreduce(c, x, n, NULL));
    check_same(c, x, n);
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int r = 0; r < size; r++)
            sum += value(key, r, i) / 8388608e4f;
        worst = TLPI_MAX(worst, magnitude(x[i] - sum));
    }
    CHECK(worst <= (n < 64 ? 1e-6f : bound));
    CHECK(worst > 0 || n < 64 || wire == TLP_WIRE_F32);
    free(x);
}

/* What is not finite is so for all, and elsewhere nothing is spoilt. */
static void check_not_finite(tlpi_comm *c)
{
    enum { N = 20000 };
    static const uint32_t bad[] = { 0x7f800000, 0x7fc00001, 0xff800001 };
    float *x = malloc(N * sizeof *x);

    for (size_t k = 0; k < TLPI_COUNT(bad); k++) {
        for (size_t i = 0; i < N; i++)
            x[i] = 1;
        if (rank == size - 1)
            memcpy(&x[k * 7000 + 100], &bad[k], sizeof *x);
        CHECK_OK(allreduce(c, x, N, NULL));
        check_same(c, x, N);
        CHECK(!(magnitude(x[k * 7000 + 100]) < 1e30f));
        CHECK(x[k * 7000] == (float)size && x[N - 1] == (float)size);
    }
    free(x);
}

static void wires(void)
{
    for (int wire = TLP_WIRE_F32; wire <= TLP_WIRE_Q8; wire++) {
        tlpi_comm *c = make(wire, TIMEOUT_MS);
        for (size_t i = 0; i < TLPI_COUNT(sizes); i++)
            check_lossy_sum(c, wire, sizes[i], i);
        check_lossy_sum(c, wire, 3 * MAX_FLOATS + 5, 77);
        check_not_finite(c);
        drop(c);
    }
}

/* ==== groups ============================================================= */

static void check_group(tlpi_comm *c, int first, int count)
{
    tlpi_comm *sub;

    CHECK_OK(c->ops->split(c, first, count, &sub));
    CHECK((sub != NULL) == (rank >= first && rank < first + count));
    if (!sub)
        return;
    CHECK(sub->rank == rank - first && sub->size == count);
    if (count > 1) {
        check_sum(sub, first, 576, 3);
        check_sum(sub, first, 50000, 4);
        check_sum(sub, first, MAX_FLOATS + 9, 5);
    } else {
        CHECK_OK(meet(sub));
    }
    tlpi_comm_free(sub);
}

static void groups(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS), *half = NULL, *sub = NULL;

    for (int first = 0; first < size; first++)
        for (int count = 1; count <= size - first; count++)
            check_group(c, first, count);
    CHECK_FAILS(TLP_EINVAL, c->ops->split(c, 1, size, &sub), "at most");

    /* Out of memory on one rank is so on all, and harmless. */
    if (rank == size - 1)
        heap.fail_at = heap.calls + 1;
    CHECK(c->ops->split(c, 0, size, &sub) == TLP_ENOMEM && !sub);
    heap.fail_at = 0;

    /* A group of a group outlives both; sums take turns in all. */
    CHECK_OK(c->ops->split(c, 1, size - 1, &half));
    if (half)
        CHECK_OK(half->ops->split(half, size - 2, 1, &sub));
    for (uint64_t key = 0; key < 50; key++) {
        check_sum(c, 0, 576, key);
        if (half && size > 2)
            check_sum(half, 1, 576, key);
    }
    tlpi_comm_free(c);
    tlpi_comm_free(half);
    if (sub)
        CHECK_OK(meet(sub));
    drop(sub);
}

/* ==== messages =========================================================== */

/* Each rank adds one to what the previous sent. */
static void send_next(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);
    size_t most = 2 * MAX_FLOATS;
    float *x = malloc(most * sizeof *x);

    for (size_t i = 0; i <= TLPI_COUNT(sizes); i++) {
        size_t n = i < TLPI_COUNT(sizes) ? sizes[i] : most;
        if (rank > 0)
            CHECK_OK(c->ops->recv_prev(c, x, n));
        else
            fill(x, n, i, 0);
        for (size_t k = 0; k < n; k++)
            CHECK(x[k] == value(i, 0, k));
        if (rank < size - 1)
            CHECK_OK(c->ops->send_next(c, x, n));
        memset(x, 0, n * sizeof *x); /* the message must have left */
    }
    if (rank == 0)
        CHECK_FAILS(TLP_EINVAL, c->ops->recv_prev(c, x, 1), "first");
    if (rank == size - 1)
        CHECK_FAILS(TLP_EINVAL, c->ops->send_next(c, x, 1), "last");
    /* A message on its way is not in the way of sums. */
    if (rank < size - 1)
        CHECK_OK(c->ops->send_next(c, x, 576));
    check_sum(c, 0, 576, 1);
    if (rank > 0)
        CHECK_OK(c->ops->recv_prev(c, x, 576));
    CHECK(c->stats.seconds > 0 && c->stats.allreduces == 1);
    free(x);
    drop(c);
}

static char byte_at(int r, size_t i)
{
    return (char)(i * 7 + (size_t)r * 31 + i / 1000);
}

static void gather(void)
{
    static const size_t some[] = { 0, 1, 98304, 61409, 61408, 3000000, 7 };
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);

    for (size_t round = 0; round < TLPI_COUNT(some); round++) {
        size_t bytes[32], total = 0, at = 0;
        for (int r = 0; r < size; r++) {
            bytes[r] = some[(round + (size_t)r) % TLPI_COUNT(some)];
            total += bytes[r];
        }
        char *src = malloc(bytes[rank] + 1), *dst = malloc(total + 1);
        for (size_t i = 0; i < bytes[rank]; i++)
            src[i] = byte_at(rank, i);
        CHECK_OK(c->ops->gather(c, src, bytes, rank == 0 ? dst : NULL));
        for (int r = 0; r < size && rank == 0; at += bytes[r++])
            for (size_t i = 0; i < bytes[r]; i++)
                CHECK(dst[at + i] == byte_at(r, i));
        free(src);
        free(dst);
    }
    drop(c);
}

static void bcast(void)
{
    static const size_t some[] = { 0, 1, 352, 61408, 61409, 5000000 };
    tlpi_comm *c = make(TLP_WIRE_Q8, TIMEOUT_MS); /* not for bytes */

    for (size_t k = 0; k < TLPI_COUNT(some); k++) {
        char *buf = calloc(some[k] + 1, 1);
        for (size_t i = 0; i < some[k] && rank == 0; i++)
            buf[i] = byte_at(0, i);
        CHECK_OK(c->ops->bcast(c, buf, some[k], k % 2 == 0));
        for (size_t i = 0; i < some[k]; i++)
            CHECK(buf[i] == byte_at(0, i));
        free(buf);
    }
    drop(c);
}

/* Long after the deadline, and without taking the time from others. */
static void idle(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, 500);
    struct timespec cpu;
    int word = 0;

    if (rank == 0) {
        nap_ms(3000);
        word = 77;
    }
    CHECK_OK(c->ops->bcast(c, &word, sizeof word, true));
    CHECK(word == 77);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    CHECK(cpu.tv_sec < 1);
    CHECK(c->stats.seconds < 1);
    CHECK_OK(meet(c));
    drop(c);
}

/* Without a communicator, as ranks that get to know each other do. */
static void single(void)
{
    enum { TAG = 20000 };
    char text[64];
    size_t got = 99;
    char *big = calloc(1, TLPI_EAGER_BYTES + 1);

    if (rank == 0) {
        for (int i = 1; i < size; i++) {
            CHECK_OK(tlpi_peer_recv(ops, transport, TLPI_ANY_RANK, TAG, text,
                                    sizeof text, &got, 5));
            CHECK(got == 6 && memcmp(text, "hello", 6) == 0);
        }
        CHECK_FAILS(TLP_ETIMEDOUT,
                    tlpi_peer_recv(ops, transport, 1, TAG + 1, text,
                                   sizeof text, &got, 0.3),
                    "rank 1");
        CHECK(got == 0);
        for (int i = 1; i < size; i++)
            CHECK_OK(tlpi_peer_send(ops, transport, i, TAG, NULL, 0, 5));
        CHECK_FAILS(TLP_EINVAL,
                    tlpi_peer_send(ops, transport, 1, TAG, big,
                                   TLPI_EAGER_BYTES + 1, 5),
                    "at most");
    } else {
        CHECK_OK(tlpi_peer_send(ops, transport, 0, TAG, "hello", 6, 5));
        CHECK_OK(tlpi_peer_recv(ops, transport, 0, TAG, big, TLPI_EAGER_BYTES,
                                &got, 0));
        CHECK(got == 0);
    }
    free(big);
}

/* ==== failures =========================================================== */

/* What comes late may find that the others' messages, sent before they gave
 * up, are all there. */
static tlp_status meet_late(tlpi_comm *c)
{
    tlp_status st = meet(c);
    return st == TLP_OK ? meet(c) : st;
}

/* All fail alike from here on, and then work together again. */
static void check_broken(tlpi_comm *c)
{
    float x[576] = { 0 };
    size_t bytes[32] = { 0 };
    tlpi_comm *sub;

    CHECK_FAILS(TLP_ECOMM, meet(c), "rank");
    CHECK_FAILS(TLP_ECOMM, allreduce(c, x, 576, NULL), "rank");
    CHECK_FAILS(TLP_ECOMM, c->ops->gather(c, x, bytes, x), "rank");
    CHECK_FAILS(TLP_ECOMM, c->ops->bcast(c, x, 9, true), "rank");
    CHECK_FAILS(TLP_ECOMM, c->ops->split(c, 0, 1, &sub), "rank");
    CHECK(!sub);
    if (rank < size - 1)
        CHECK_FAILS(TLP_ECOMM, c->ops->send_next(c, x, 1), "rank");
    drop(c);
}

static void work_again(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);

    check_sum(c, 0, 576, 5);
    check_sum(c, 0, 99999, 6);
    drop(c);
}

static void mismatch(void)
{
    float *x = calloc(MAX_FLOATS, sizeof *x);
    size_t bytes[32] = { 16, 16, 16, 16 };
    double start = tlpi_now();

    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS); /* lengths */
    CHECK_FAILS(TLP_ECOMM, allreduce(c, x, rank == 0 ? 576 : 575, NULL),
                "rank 0", "rank ");
    check_broken(c);

    c = make(TLP_WIRE_F32, TIMEOUT_MS); /* long against short */
    CHECK_FAILS(TLP_ECOMM, allreduce(c, x, rank == 0 ? MAX_FLOATS : 1, NULL),
                "all-reduce", "rank 0");
    check_broken(c);

    c = make(TLP_WIRE_F32, TIMEOUT_MS); /* operations */
    if (rank == 0) /* of a gather, or of what a rank does after it */
        CHECK_FAILS(TLP_ECOMM, allreduce(c, x, 576, NULL), "out of step",
                    "rank 0: all-reduce 1.0 of 2304 bytes");
    else if (c->ops->gather(c, x, bytes, NULL) == TLP_OK) /* one way */
        CHECK_FAILS(TLP_ECOMM, meet(c), "rank 0");
    check_broken(c);

    c = make(rank == 0 ? TLP_WIRE_F32 : TLP_WIRE_BF16, TIMEOUT_MS);
    CHECK_FAILS(TLP_ECOMM, allreduce(c, x, 576, NULL), "rank 0");
    check_broken(c);

    c = make(TLP_WIRE_F32, TIMEOUT_MS); /* calls */
    if (rank == 0)
        CHECK_OK(c->ops->bcast(c, x, 4, false));
    CHECK_FAILS(TLP_ECOMM, meet(c), "rank 0");
    check_broken(c);

    CHECK(tlpi_now() - start < SOON);
    free(x);
    work_again();
}

static void *abort_later(void *arg)
{
    nap_ms(300);
    tlpi_comm_peer_set_reason(arg, "out of shelf space");
    ((tlpi_comm *)arg)->ops->abort(arg);
    return NULL;
}

/* One rank gives up, from another thread, while all wait for it or are idle;
 * the groups of its family go with it. */
static void abort_all(void)
{
    for (int round = 0; round < 2; round++) {
        tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS), *sub;
        int word = 0;
        double start;
        pthread_t thread;
        tlp_status st;

        CHECK_OK(c->ops->split(c, 0, size, &sub));
        start = tlpi_now();
        if (rank == 0)
            pthread_create(&thread, NULL, abort_later, c);
        if (rank == 0)
            pthread_join(thread, NULL);
        if (rank == 0 || round == 0)
            st = meet(sub);
        else
            st = sub->ops->bcast(sub, &word, sizeof word, true);
        CHECK_FAILS(TLP_ECOMM, st, "rank 0 gave up: out of shelf space");
        CHECK(tlpi_now() - start < SOON);
        tlpi_comm_free(sub);
        check_broken(c);
    }
    work_again();
}

/* The waiting rank itself is told to give up. */
static void abort_self(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);
    pthread_t thread;
    double start = tlpi_now();

    if (rank == 0) {
        pthread_create(&thread, NULL, abort_later, c);
        CHECK_FAILS(TLP_ECOMM, meet(c), "rank 0 gave up: out of shelf space");
        CHECK(tlpi_now() - start < SOON);
        pthread_join(thread, NULL);
    } else {
        nap_ms(1000);
        CHECK_FAILS(TLP_ECOMM, meet_late(c),
                    "rank 0 gave up: out of shelf space");
        CHECK(tlpi_now() - start < SOON);
    }
    check_broken(c);
    work_again();
}

/* Milliseconds by which a rank comes late.  The deadline of every other rank is
 * a quarter of LATE_MS: on a busy machine a punctual rank can need a second for
 * its turn. */
#define LATE_MS 8000

/* One rank does not come until long after the others' deadline.  Of those, who
 * began to wait first tells the rest. */
static void check_late(tlpi_comm *c, int who, double deadline)
{
    char name[32];
    double start = tlpi_now();

    snprintf(name, sizeof name, "rank %d did not answer", who);
    if (rank == who) {
        nap_ms(LATE_MS);
        CHECK_FAILS(TLP_ECOMM, meet_late(c), "gave up", name);
    } else {
        tlp_status st = meet(c);
        double took = tlpi_now() - start;
        CHECK(st == TLP_ETIMEDOUT || (size > 2 && st == TLP_ECOMM));
        CHECK(strstr(tlp_last_error(), name));
        CHECK((st == TLP_ECOMM || took >= deadline) &&
              took < LATE_MS * 1e-3 - 0.5);
    }
    check_broken(c);
    work_again();
}

/* The last rank does not come in time. */
static void late(void)
{
    check_late(make(TLP_WIRE_F32, LATE_MS / 4), size - 1, LATE_MS * 0.25e-3);
}

/* Whom the signals of the next scenarios go to. */
static pid_t pid_of(int r)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);
    pid_t pids[32] = { 0 }, own = getpid();
    size_t bytes[32];

    for (int i = 0; i < size; i++)
        bytes[i] = sizeof own;
    CHECK_OK(c->ops->gather(c, &own, bytes, pids));
    CHECK_OK(c->ops->bcast(c, pids, sizeof pids, false));
    drop(c);
    return pids[r];
}

static void *wake_later(void *arg)
{
    nap_ms(1000);
    kill(*(pid_t *)arg, SIGCONT);
    return NULL;
}

/* A rank is stopped for a second, in the middle of a sum. */
static void stopped(void)
{
    pid_t other = pid_of(1);
    tlpi_comm *c = make(TLP_WIRE_F32, 3000);
    pthread_t thread;
    double start;

    check_sum(c, 0, 576, 1);
    start = tlpi_now();
    if (rank == 0) {
        kill(other, SIGSTOP);
        pthread_create(&thread, NULL, wake_later, &other);
    }
    check_sum(c, 0, MAX_FLOATS, 2);
    CHECK(rank > 0 || tlpi_now() - start > 0.9);
    if (rank == 0)
        pthread_join(thread, NULL);
    check_sum(c, 0, 576, 3);
    drop(c);
}

/* The one who waits is stopped for longer than its deadline: it does not
 * blame the others. */
static void stopped_waiting(void)
{
    pid_t first = pid_of(0);
    tlpi_comm *c = make(TLP_WIRE_F32, rank == 0 ? 2000 : TIMEOUT_MS);

    CHECK_OK(meet(c));
    if (rank == 1) {
        nap_ms(100);
        kill(first, SIGSTOP);
        nap_ms(3000);
        kill(first, SIGCONT);
    }
    check_sum(c, 0, 576, 3);
    drop(c);
}

/* Rank 1 dies while the others wait for it. */
static void killed_while(bool idle_wait)
{
    tlpi_comm *c = make(TLP_WIRE_F32, TIMEOUT_MS);
    tlp_status st;
    int word = 0;

    CHECK_OK(meet(c));
    if (rank == 1) {
        nap_ms(200);
        raise(SIGKILL);
    }
    double start = tlpi_now();
    if (idle_wait && rank == 0)
        nap_ms(1000);
    if (idle_wait && rank > 1)
        st = c->ops->bcast(c, &word, sizeof word, true);
    else
        st = meet(c);
    CHECK_FAILS(TLP_ECOMM, st, "rank 1");
    CHECK(tlpi_now() - start < SOON);
    check_broken(c);
}

static void killed(void)
{
    killed_while(false);
}

static void killed_idle(void)
{
    killed_while(true);
}

/* Ranks that load say so, and are waited for; until they fall silent. */
static void patient(void)
{
    tlpi_comm *c = make(TLP_WIRE_F32, 1000);

    c->patient = true;
    for (int i = 0; i < 40 && rank == 1; i++) {
        c->ops->busy(c);
        nap_ms(50);
    }
    CHECK_OK(meet(c));
    check_late(c, 1, 1);
}

/* ==== one scenario ======================================================= */

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    { "sums", sums },
    { "wires", wires },
    { "groups", groups },
    { "send_next", send_next },
    { "gather", gather },
    { "bcast", bcast },
    { "idle", idle },
    { "single", single },
    { "mismatch", mismatch },
    { "abort_all", abort_all },
    { "abort_self", abort_self },
    { "late", late },
    { "stopped", stopped },
    { "stopped_waiting", stopped_waiting },
    { "killed", killed },
    { "killed_idle", killed_idle },
    { "patient", patient },
};

int main(int argc, char **argv)
{
    char err[256] = "";
    tlp_allocator hooks = mem_hooks(&heap);

    CHECK_OK(tlpi_env_init(&env, &hooks, NULL, NULL));
    CHECK_OK(tlpi_transport_load(&ops, TLP_COMM_MPI));
    if (ops->open(&transport, NULL, 20000, err, sizeof err) != TLP_OK) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    rank = transport->rank;
    size = transport->size;
    for (size_t i = 0; i < TLPI_COUNT(scenarios) && argc == 2; i++) {
        if (strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        scenarios[i].run();
        printf("rank %d: fine\n", rank);
        return 0;
    }
    fprintf(stderr, "usage: peer SCENARIO\n");
    return 1;
}
