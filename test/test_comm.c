/*
 * test_comm.c - ranks in one process: sums, messages, groups, giving up.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "comm/comm.h"

#define MAX_RANK 5

/* An allocator that counts, and fails on demand. */
typedef struct meter {
    _Atomic long live;
    _Atomic long left; /* allocations that still succeed; < 0: all do */
} meter;

static meter heap;
static tlpi_env env;

static void *meter_alloc(size_t size, size_t align, void *data)
{
    meter *m = data;
    long left = m->left;
    if (left == 0)
        return NULL;
    if (left > 0)
        m->left--;
    m->live++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void meter_free(void *p, size_t size, void *data)
{
    meter *m = data;
    (void)size;
    m->live--;
    free(p);
}

static void init(void)
{
    tlp_allocator mem = { meter_alloc, meter_free, &heap };
    heap.live = 0;
    heap.left = -1;
    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
}

TestSuite(comm, .init = init, .timeout = 120);

/* ==== ranks in threads =================================================== */

typedef struct member member;
typedef void (*member_fn)(member *m);

/* One rank's thread.  Assertions belong to the main thread: the others note
 * the first line that went wrong. */
struct member {
    tlpi_comm *c;
    int rank, n;
    void *arg;
    member_fn fn;
    uint64_t rng;
    int bad_line;
    tlp_status st;
    char text[160];
    pthread_t thread;
};

#define CHECK(m, cond)                                                         \
    do {                                                                       \
        if (!(cond)) {                                                         \
            (m)->bad_line = __LINE__;                                          \
            (m)->c->ops->abort((m)->c);                                        \
            return;                                                            \
        }                                                                      \
    } while (0)

static uint64_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

static void nap_us(long us)
{
    struct timespec t = { us / 1000000, us % 1000000 * 1000 };
    nanosleep(&t, NULL);
}

/* Mostly none, sometimes short, rarely long enough for peers to sleep. */
static void dawdle(member *m)
{
    uint64_t dice = next(&m->rng) % 64;
    if (dice == 0)
        nap_us(500);
    else if (dice < 8)
        for (uint64_t i = next(&m->rng) % 2000; i > 0; i--)
            __asm__ __volatile__("");
}

static void *member_main(void *arg)
{
    member *m = arg;
    m->fn(m);
    return NULL;
}

static void start_ranks(member *m, tlpi_comm *const *c, int n, member_fn fn,
                        void *arg)
{
    for (int r = 0; r < n; r++) {
        m[r] = (member){ .c = c[r],
                         .rank = r,
                         .n = n,
                         .arg = arg,
                         .fn = fn,
                         .rng = (uint64_t)r * 77 + 1 };
        cr_assert_eq(tlpi_thread_start(&m[r].thread, member_main, &m[r]),
                     TLP_OK);
    }
}

static void join_ranks(member *m, int n)
{
    for (int r = 0; r < n; r++)
        pthread_join(m[r].thread, NULL);
    for (int r = 0; r < n; r++)
        cr_assert_eq(m[r].bad_line, 0, "rank %d of %d: line %d: %s", r, n,
                     m[r].bad_line, m[r].text);
}

static void make(tlpi_comm **c, int n, int timeout_ms)
{
    cr_assert_eq(tlpi_comm_threads_create(c, &env, n, n, timeout_ms), TLP_OK,
                 "%s", tlp_last_error());
    for (int r = 0; r < n; r++) {
        cr_assert_eq(c[r]->rank, r);
        cr_assert_eq(c[r]->size, n);
    }
}

static void drop(tlpi_comm **c, int n)
{
    for (int r = 0; r < n; r++)
        tlpi_comm_free(c[r]);
    cr_assert_eq(heap.live, 0);
}

static void run_ranks(int n, member_fn fn, void *arg)
{
    tlpi_comm *c[MAX_RANK];
    member m[MAX_RANK];

    make(c, n, 60000);
    start_ranks(m, c, n, fn, arg);
    join_ranks(m, n);
    drop(c, n);
}

/* ==== payloads =========================================================== */

/* Values of very different size, so that the order of a sum shows. */
static float value(uint64_t key, int rank, size_t i)
{
    uint64_t s = key * 1000003 + (uint64_t)rank * 7919 + i;
    next(&s);
    float v = (float)((int64_t)(next(&s) & 0xffffff) - 0x800000);
    static const float scale[] = { 1e-6f, 1e-3f, 1.0f, 1e4f };
    return v * scale[next(&s) % 4];
}

static void fill(float *x, size_t n, uint64_t key, int rank)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value(key, rank, i);
}

/* Bits of x against the sum over ranks [first, first + count), in order. */
static bool is_sum(const float *x, size_t n, uint64_t key, int first, int count)
{
    for (size_t i = 0; i < n; i++) {
        float sum = value(key, first, i);
        for (int r = first + 1; r < first + count; r++)
            sum += value(key, r, i);
        if (memcmp(&sum, &x[i], sizeof sum) != 0)
            return false;
    }
    return true;
}

static tlp_status allreduce(tlpi_comm *c, float *x, size_t n, uint32_t *vote)
{
    return c->ops->allreduce(c, x, n, vote);
}

/* ==== all-reduce ========================================================= */

static const size_t sum_sizes[] = { 0,    1,    2,    3,    15,    16,
                                    17,   575,  576,  577,  4095,  4096,
                                    4097, 4111, 4112, 9999, 100000 };

static void sums(member *m)
{
    float *x = malloc(100000 * sizeof *x);

    for (size_t k = 0; k < TLPI_COUNT(sum_sizes); k++) {
        size_t n = sum_sizes[k];
        int rounds = n < 5000 ? 20 : 2;
        for (int i = 0; i < rounds; i++) {
            uint64_t key = k * 100 + (uint64_t)i;
            uint32_t vote = (i + m->rank) % 7 == 0 ? 1u << m->rank : 0;
            uint32_t votes = 0;
            for (int r = 0; r < m->n; r++)
                votes |= (i + r) % 7 == 0 ? 1u << r : 0;
            fill(x, n, key, m->rank);
            dawdle(m);
            CHECK(m, allreduce(m->c, x, n, &vote) == TLP_OK);
            CHECK(m, vote == votes);
            CHECK(m, is_sum(x, n, key, 0, m->n));
        }
    }
    CHECK(m, allreduce(m->c, x, 3, NULL) == TLP_OK);
    free(x);
}

Test(comm, sums_have_the_bits_of_rank_order)
{
    for (int n = 1; n <= MAX_RANK; n++)
        run_ranks(n, sums, NULL);
}

static void count_stats(member *m)
{
    float x[9000] = { 0 };
    tlpi_comm_stats *s = &m->c->stats;

    CHECK(m, s->allreduces == 0 && s->bytes == 0);
    CHECK(m, allreduce(m->c, x, 10, NULL) == TLP_OK);
    CHECK(m, allreduce(m->c, x, 9000, NULL) == TLP_OK);
    CHECK(m, s->allreduces == 2 && s->bytes == 4 * 9010);
    if (m->rank == 0) {
        nap_us(20000);
        CHECK(m, m->c->ops->send_next(m->c, x, 7) == TLP_OK);
        CHECK(m, s->bytes == 4 * 9017);
    } else {
        CHECK(m, m->c->ops->recv_prev(m->c, x, 7) == TLP_OK);
        CHECK(m, s->bytes == 4 * 9010);
        CHECK(m, s->seconds > 0.01 && s->seconds < 60);
    }
}

Test(comm, stats)
{
    run_ranks(2, count_stats, NULL);
}

/* ==== messages, gather, bcast ============================================ */

static const size_t mail_sizes[] = { 1, 576, 4096, 4097, 50000 };

/* Each rank adds one to what the previous sent. */
static void pass_on(member *m)
{
    float *x = malloc(50000 * sizeof *x);

    for (int i = 0; i < 100; i++) {
        size_t n = mail_sizes[(size_t)i % TLPI_COUNT(mail_sizes)];
        dawdle(m);
        if (m->rank == 0)
            for (size_t k = 0; k < n; k++)
                x[k] = (float)(k + (size_t)i);
        else
            CHECK(m, m->c->ops->recv_prev(m->c, x, n) == TLP_OK);
        for (size_t k = 0; k < n; k++)
            CHECK(m, x[k] == (float)(k + (size_t)(i + m->rank)));
        for (size_t k = 0; k < n; k++)
            x[k] += 1;
        if (m->rank < m->n - 1)
            CHECK(m, m->c->ops->send_next(m->c, x, n) == TLP_OK);
        memset(x, 0, n * sizeof *x); /* the message must have left */
    }
    free(x);
}

Test(comm, messages_go_down_the_chain)
{
    for (int n = 2; n <= MAX_RANK; n++)
        run_ranks(n, pass_on, NULL);
}

/* The receiver comes only once the sender is back: a waiting send would hang
 * until the deadline. */
static void send_and_go(member *m)
{
    static _Atomic int gone;
    float x[576] = { 0 };

    if (m->rank == 0) {
        CHECK(m, m->c->ops->send_next(m->c, x, 576) == TLP_OK);
        gone = 1;
    } else {
        while (!gone)
            nap_us(100);
        CHECK(m, m->c->ops->recv_prev(m->c, x, 576) == TLP_OK);
    }
}

Test(comm, small_sends_do_not_wait)
{
    run_ranks(2, send_and_go, NULL);
}

static void ends_of_chain(member *m)
{
    float x = 0;
    if (m->rank == 0)
        CHECK(m, m->c->ops->recv_prev(m->c, &x, 1) == TLP_EINVAL);
    else
        CHECK(m, m->c->ops->send_next(m->c, &x, 1) == TLP_EINVAL);
}

Test(comm, ends_of_the_chain)
{
    run_ranks(2, ends_of_chain, NULL);
}

static unsigned char byte_at(int rank, int round, size_t i)
{
    return (unsigned char)(i * 7 + (size_t)rank * 31 + (size_t)round * 101);
}

static bool gather_round(member *m, int round, const size_t *bytes)
{
    size_t all = 0, at = 0, own = bytes[m->rank];
    for (int r = 0; r < m->n; r++)
        all += bytes[r];
    unsigned char *src = malloc(own + 1), *dst = NULL;
    if (m->rank == 0)
        dst = calloc(1, all + 1);
    for (size_t i = 0; i < own; i++)
        src[i] = byte_at(m->rank, round, i);
    bool ok = m->c->ops->gather(m->c, src, bytes, dst) == TLP_OK;
    memset(src, 0xee, own);
    free(src); /* must have been copied */
    if (m->rank == 0) {
        for (int r = 0; r < m->n; r++)
            for (size_t i = 0; i < bytes[r]; i++)
                ok = ok && dst[at++] == byte_at(r, round, i);
        ok = ok && dst[all] == 0;
        free(dst);
    }
    return ok;
}

static const size_t piece_sizes[] = { 0, 1, 63, 16384, 16385, 60000, 4000 };

static void gathers(member *m)
{
    for (int round = 0; round < 60; round++) {
        size_t bytes[MAX_RANK];
        for (int r = 0; r < m->n; r++)
            bytes[r] = round % 2 ? (size_t)(round * 10 + r)
                                 : piece_sizes[(size_t)(round + r * r) %
                                               TLPI_COUNT(piece_sizes)];
        dawdle(m);
        CHECK(m, gather_round(m, round, bytes));
    }
}

Test(comm, gather_uneven_pieces)
{
    for (int n = 1; n <= MAX_RANK; n++)
        run_ranks(n, gathers, NULL);
}

static bool bcast_round(member *m, int round, size_t n, bool idle)
{
    unsigned char *buf = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        buf[i] = m->rank == 0 ? byte_at(0, round, i) : 0;
    bool ok = m->c->ops->bcast(m->c, buf, n, idle) == TLP_OK;
    for (size_t i = 0; i < n; i++)
        ok = ok && buf[i] == byte_at(0, round, i);
    memset(buf, 0xee, n);
    free(buf);
    return ok;
}

static void bcasts(member *m)
{
    for (int round = 0; round < 140; round++) {
        dawdle(m);
        CHECK(m,
              bcast_round(m, round,
                          piece_sizes[(size_t)round % TLPI_COUNT(piece_sizes)],
                          round % 3 == 0));
    }
}

Test(comm, bcast)
{
    for (int n = 1; n <= MAX_RANK; n++)
        run_ranks(n, bcasts, NULL);
}

static void idle_wait(member *m)
{
    for (int round = 0; round < 3; round++) {
        if (m->rank == 0)
            nap_us(150000); /* three times the timeout */
        CHECK(m, bcast_round(m, round, 64, true));
    }
}

Test(comm, idle_ranks_wait_beyond_the_timeout)
{
    tlpi_comm *c[3];
    member m[3];

    make(c, 3, 50);
    start_ranks(m, c, 3, idle_wait, NULL);
    join_ranks(m, 3);
    cr_assert_lt(c[1]->stats.seconds, 0.1); /* idling is no communication */
    drop(c, 3);
}

/* ==== groups ============================================================= */

static bool sub_sum(tlpi_comm *sub, uint64_t key, int first, int root_rank,
                    size_t n)
{
    float *x = malloc(n * sizeof *x);
    uint32_t vote = 1u << root_rank, votes = 0;
    for (int r = first; r < first + sub->size; r++)
        votes |= 1u << r;
    if (sub->size == 1)
        votes = vote;
    fill(x, n, key, root_rank);
    bool ok = allreduce(sub, x, n, &vote) == TLP_OK && vote == votes &&
              is_sum(x, n, key, first, sub->size);
    free(x);
    return ok;
}

/* All spans of the root, sums in them mixed with sums in the root. */
static void spans(member *m)
{
    uint64_t key = 1;

    for (int first = 0; first < m->n; first++) {
        for (int count = 1; first + count <= m->n; count++) {
            tlpi_comm *sub = m->c;
            dawdle(m);
            CHECK(m, m->c->ops->split(m->c, first, count, &sub) == TLP_OK);
            bool in = m->rank >= first && m->rank < first + count;
            CHECK(m, (sub != NULL) == in);
            for (int i = 0; i < 6; i++, key++) {
                size_t n = i % 3 == 2 ? 5000 : 100;
                dawdle(m);
                if (in)
                    CHECK(m, sub_sum(sub, key, first, m->rank, n));
                if (i % 2)
                    CHECK(m, sub_sum(m->c, key, 0, m->rank, n));
            }
            CHECK(m,
                  !in || (sub->size == count && sub->rank == m->rank - first));
            tlpi_comm_free(sub);
        }
    }
}

Test(comm, sums_inside_spans)
{
    for (int n = 1; n <= 4; n++)
        run_ranks(n, spans, NULL);
}

static void nested(member *m)
{
    tlpi_comm *upper = NULL, *pair = NULL;
    float x = 1;

    CHECK(m, m->c->ops->split(m->c, 1, 4, &upper) == TLP_OK);
    if (m->rank == 0)
        return;
    CHECK(m, upper->ops->split(upper, 2, 2, &pair) == TLP_OK); /* 3 and 4 */
    CHECK(m, (pair != NULL) == (m->rank >= 3));
    tlpi_comm_free(upper); /* parents may go first */
    if (!pair)
        return;
    CHECK(m, sub_sum(pair, 5, 3, m->rank, 700));
    if (m->rank == 4)
        CHECK(m, pair->ops->recv_prev(pair, &x, 1) == TLP_OK && x == 3);
    x = 3;
    if (m->rank == 3)
        CHECK(m, pair->ops->send_next(pair, &x, 1) == TLP_OK);
    tlpi_comm_free(pair);
}

Test(comm, split_of_a_split)
{
    run_ranks(5, nested, NULL);
}

static void bad_spans(member *m)
{
    static const int span[][2] = { { -1, 1 }, { 0, 0 }, { 0, 4 },
                                   { 3, 1 },  { 1, 3 }, { 2, INT32_MAX } };
    for (size_t i = 0; i < TLPI_COUNT(span); i++) {
        tlpi_comm *sub = m->c;
        tlp_status st = m->c->ops->split(m->c, span[i][0], span[i][1], &sub);
        CHECK(m, st == TLP_EINVAL && !sub);
    }
    CHECK(m, sub_sum(m->c, 1, 0, m->rank, 10)); /* still in step */
}

Test(comm, spans_out_of_range)
{
    run_ranks(3, bad_spans, NULL);
}

/* Everything in a random order that is the same on all ranks. */
static void medley(member *m)
{
    const size_t sizes[] = { 1, 576, 4096, 4097, 8000 };
    uint64_t plan = 42 + (uint64_t)m->n;
    tlpi_comm *sub = NULL;
    int count = m->n - 1;

    CHECK(m, m->c->ops->split(m->c, 1, count, &sub) == TLP_OK);
    for (int i = 0; i < 600; i++) {
        size_t n = sizes[next(&plan) % TLPI_COUNT(sizes)];
        float x[8000];
        size_t bytes[MAX_RANK];
        dawdle(m);
        switch (next(&plan) % 6) {
        case 0:
        case 1:
            CHECK(m, sub_sum(m->c, (uint64_t)i, 0, m->rank, n));
            break;
        case 2:
            if (sub)
                CHECK(m, sub_sum(sub, (uint64_t)i, 1, m->rank, n));
            break;
        case 3:
            CHECK(m, bcast_round(m, i, 4 * n, i % 2));
            break;
        case 4:
            for (int r = 0; r < m->n; r++)
                bytes[r] = 4 * n / (size_t)(r + 1);
            CHECK(m, gather_round(m, i, bytes));
            break;
        case 5:
            fill(x, n, (uint64_t)i, m->rank);
            if (m->rank < m->n - 1)
                CHECK(m, m->c->ops->send_next(m->c, x, n) == TLP_OK);
            if (m->rank > 0) {
                CHECK(m, m->c->ops->recv_prev(m->c, x, n) == TLP_OK);
                CHECK(m, is_sum(x, n, (uint64_t)i, m->rank - 1, 1));
            }
            break;
        }
    }
    tlpi_comm_free(sub);
}

Test(comm, medley)
{
    for (int n = 2; n <= MAX_RANK; n++)
        run_ranks(n, medley, NULL);
}

/* ==== giving up ========================================================== */

static void note(member *m, tlp_status st)
{
    m->st = st;
    strncpy(m->text, st ? tlp_last_error() : "", sizeof m->text - 1);
}

typedef struct stuck {
    tlpi_comm *sub[4]; /* of ranks 2 and 3 */
    _Atomic int n_waiting;
    bool sleepy; /* give them the time to fall asleep */
} stuck;

static void split_first(member *m)
{
    stuck *s = m->arg;
    CHECK(m, m->c->ops->split(m->c, 2, 2, &s->sub[m->rank]) == TLP_OK);
}

/* Four kinds of waiting: for a message, a sum, a bcast, in a sub-group. */
static void wait_in_vain(member *m)
{
    stuck *s = m->arg;
    float x[8000] = { 0 };

    s->n_waiting++;
    if (m->rank == 0)
        note(m, m->c->ops->send_next(m->c, x, 8000));
    else if (m->rank == 1)
        note(m, m->c->ops->bcast(m->c, x, 8, true));
    else if (m->rank == 2)
        note(m, allreduce(s->sub[2], x, 8000, NULL));
    /* rank 3 is the one that is missing */
}

static void check_given_up(tlpi_comm *const *c, stuck *s, const member *m,
                           const char *text)
{
    float x[2] = { 0 };
    size_t bytes[4] = { 1, 1, 1, 1 };
    tlpi_comm *sub;

    for (int r = 0; r < 3; r++) {
        cr_assert_eq(m[r].st, TLP_ECOMM, "rank %d: %d", r, m[r].st);
        cr_assert(strcmp(m[r].text, text) == 0, "%s", m[r].text);
    }
    for (int r = 0; r < 4; r++) { /* and it stays so */
        const tlpi_comm_ops *ops = c[r]->ops;
        cr_assert_eq(ops->allreduce(c[r], x, 2, NULL), TLP_ECOMM);
        cr_assert_eq(ops->send_next(c[r], x, 2), TLP_ECOMM);
        cr_assert_eq(ops->recv_prev(c[r], x, 2), TLP_ECOMM);
        cr_assert_eq(ops->gather(c[r], x, bytes, x), TLP_ECOMM);
        cr_assert_eq(ops->bcast(c[r], x, 4, false), TLP_ECOMM);
        cr_assert_eq(ops->split(c[r], 0, 1, &sub), TLP_ECOMM);
        cr_assert_null(sub);
    }
    for (int r = 2; r < 4; r++)
        cr_assert_eq(allreduce(s->sub[r], x, 2, NULL), TLP_ECOMM);
}

static void abort_while_stuck(bool by_sub, bool sleepy)
{
    tlpi_comm *c[4];
    member m[4];
    stuck s = { .sleepy = sleepy };

    make(c, 4, 60000);
    start_ranks(m, c, 4, split_first, &s);
    join_ranks(m, 4);
    start_ranks(m, c, 4, wait_in_vain, &s);
    while (s.n_waiting < 4)
        nap_us(10);
    if (sleepy)
        nap_us(20000);
    double start = tlpi_now();
    tlpi_comm *who = by_sub ? s.sub[3] : c[3]; /* from a thread of no rank */
    who->ops->abort(who);
    join_ranks(m, 4);
    cr_assert_lt(tlpi_now() - start, 10);
    check_given_up(c, &s, m, "rank 3 gave up");
    tlpi_comm_free(s.sub[2]);
    tlpi_comm_free(s.sub[3]);
    drop(c, 4);
}

Test(comm, abort_wakes_sleeping_ranks)
{
    abort_while_stuck(false, true);
    abort_while_stuck(true, true);
}

Test(comm, abort_wakes_spinning_ranks)
{
    for (int i = 0; i < 20; i++)
        abort_while_stuck(i % 2, false);
}

/* What was lent to peers is freed at once after a failure: sanitizers see a
 * peer that is still in it. */
static void lend_until_abort(member *m)
{
    enum { N = 30000 };
    int rounds = *(int *)m->arg;
    size_t bytes[MAX_RANK];

    for (int r = 0; r < m->n; r++)
        bytes[r] = N * sizeof(float);
    for (int i = 0; m->st == TLP_OK; i++) {
        float *x = calloc(N, sizeof *x);
        float *dst = calloc((size_t)m->n * N, sizeof *dst);
        if (i == rounds && m->rank == m->n - 1)
            m->c->ops->abort(m->c);
        if (i % 3 == 0)
            m->st = allreduce(m->c, x, N, NULL);
        else if (i % 3 == 1)
            m->st = m->c->ops->gather(m->c, x, bytes, dst);
        else
            m->st = m->c->ops->bcast(m->c, x, bytes[0], false);
        free(dst);
        free(x);
    }
}

Test(comm, memory_is_ours_again_after_a_failure)
{
    for (int rounds = 0; rounds < 60; rounds++) {
        tlpi_comm *c[3];
        member m[3];
        make(c, 3, 60000);
        start_ranks(m, c, 3, lend_until_abort, &rounds);
        join_ranks(m, 3);
        for (int r = 0; r < 3; r++)
            cr_assert_eq(m[r].st, TLP_ECOMM);
        drop(c, 3);
    }
}

static void miss_a_peer(member *m)
{
    float x[10] = { 0 };
    if (m->rank == m->n - 1)
        return;
    double start = tlpi_now();
    note(m, allreduce(m->c, x, 10, NULL));
    double took = tlpi_now() - start;
    CHECK(m, took > 0.05 && took < 10);
}

Test(comm, missing_peers_time_out)
{
    for (int n = 2; n <= 4; n++) {
        tlpi_comm *c[4];
        member m[4];
        char text[80];
        float x[10] = { 0 };
        int n_timeout = 0;

        make(c, n, 60);
        start_ranks(m, c, n, miss_a_peer, NULL);
        join_ranks(m, n);
        for (int r = 0; r < n - 1; r++) {
            if (m[r].st != TLP_ETIMEDOUT) {
                cr_assert_eq(m[r].st, TLP_ECOMM);
                continue;
            }
            n_timeout++;
            snprintf(text, sizeof text,
                     "rank %d did not answer rank %d within 60 ms", n - 1, r);
            cr_assert(strcmp(m[r].text, text) == 0, "%s", m[r].text);
        }
        cr_assert_geq(n_timeout, 1);
        cr_assert_eq(allreduce(c[n - 1], x, 10, NULL), TLP_ECOMM);
        drop(c, n);
    }
}

static void disagree(member *m)
{
    float x[20] = { 0 };
    int how = *(int *)m->arg;
    size_t bytes[2] = { 1, 1 };

    if (how == 0)
        note(m, allreduce(m->c, x, m->rank ? 10 : 11, NULL));
    else if (how == 1 && m->rank == 0)
        note(m, m->c->ops->gather(m->c, x, bytes, x));
    else if (how == 1)
        note(m, allreduce(m->c, x, 10, NULL));
    else if (m->rank == 0)
        note(m, m->c->ops->send_next(m->c, x, 20));
    else
        note(m, m->c->ops->recv_prev(m->c, x, 10));
}

Test(comm, ranks_out_of_step_are_told)
{
    const char *text[] = { "all-reduce of 4", "rank 1: all-reduce of 40 bytes",
                           "rank 0 sent 80 bytes, rank 1 expected 40" };
    for (int how = 0; how < 3; how++) {
        tlpi_comm *c[2];
        member m[2];
        bool told = false;

        make(c, 2, 60000);
        start_ranks(m, c, 2, disagree, &how);
        join_ranks(m, 2);
        for (int r = 0; r < 2; r++)
            told =
                told || (m[r].st == TLP_ECOMM && strstr(m[r].text, text[how]));
        cr_assert(told, "%s / %s", m[0].text, m[1].text);
        drop(c, 2);
    }
}

/* ==== life =============================================================== */

static void split_lower(member *m)
{
    tlpi_comm **sub = m->arg;
    CHECK(m, m->c->ops->split(m->c, 0, 2, &sub[m->rank]) == TLP_OK);
}

Test(comm, freed_in_any_order)
{
    uint64_t rng = 9;

    for (int round = 0; round < 40; round++) {
        tlpi_comm *all[6] = { NULL }; /* 3 of the root, 2 of a sub-group */
        member m[3];
        make(all, 3, 60000);
        start_ranks(m, all, 3, split_lower, all + 3);
        join_ranks(m, 3);
        cr_assert_null(all[5]);
        for (size_t left = 6; left > 0; left--) {
            size_t i = next(&rng) % left;
            cr_assert_gt(heap.live, 0);
            tlpi_comm_free(all[i]);
            all[i] = all[left - 1];
            if (left == 2 && !all[0]) /* the NULL is last */
                break;
        }
        cr_assert_eq(heap.live, 0, "round %d: %ld", round, (long)heap.live);
    }
}

static void split_alone(member *m)
{
    tlpi_comm *sub = NULL;
    if (m->rank != 0)
        return;
    CHECK(m, m->c->ops->split(m->c, 0, 2, &sub) == TLP_OK);
    tlpi_comm_free(sub);
}

Test(comm, handles_nobody_took_are_freed)
{
    tlpi_comm *c[2];
    member m[2];

    make(c, 2, 60000);
    start_ranks(m, c, 2, split_alone, NULL);
    join_ranks(m, 2);
    c[1]->ops->abort(c[1]);
    drop(c, 2);
}

Test(comm, out_of_memory_on_creation)
{
    tlpi_comm *c[3];
    int n = 0;

    for (; n < 20; n++) {
        for (int r = 0; r < 3; r++)
            c[r] = (tlpi_comm *)&heap;
        heap.left = n;
        tlp_status st = tlpi_comm_threads_create(c, &env, 3, 3, 1000);
        if (st == TLP_OK)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert(!c[0] && !c[1] && !c[2]);
        cr_assert_eq(heap.live, 0);
    }
    cr_assert(n > 0 && n < 20);
    drop(c, 3);

    heap.left = 0;
    cr_assert_eq(tlpi_comm_self_create(c, &env), TLP_ENOMEM);
    cr_assert_null(c[0]);
}

static void split_again(member *m)
{
    tlpi_comm *sub = m->c;
    note(m, m->c->ops->split(m->c, 1, 2, &sub));
    CHECK(m, m->st == TLP_OK || !sub);
    CHECK(m, sub_sum(m->c, 3, 0, m->rank, 600)); /* the root goes on */
    if (m->st == TLP_OK && sub)
        CHECK(m, sub_sum(sub, 3, 1, m->rank, 600));
    if (m->st == TLP_OK)
        tlpi_comm_free(sub);
}

Test(comm, out_of_memory_on_splitting)
{
    tlpi_comm *c[3];
    member m[3];
    int n = 0;

    make(c, 3, 60000);
    for (; n < 20; n++) {
        heap.left = n;
        start_ranks(m, c, 3, split_again, NULL);
        join_ranks(m, 3);
        cr_assert_eq(m[1].st, m[0].st);
        cr_assert_eq(m[2].st, m[0].st);
        if (m[0].st == TLP_OK)
            break;
        cr_assert_eq(m[0].st, TLP_ENOMEM);
    }
    cr_assert(n > 0 && n < 20);
    drop(c, 3);
}

Test(comm, arguments)
{
    tlpi_comm *c[1] = { (tlpi_comm *)&heap };
    cr_assert_eq(tlpi_comm_threads_create(c, &env, 0, 1, 1000), TLP_EINVAL);
    cr_assert_eq(tlpi_comm_threads_create(c, &env, 1, 1, 0), TLP_EINVAL);
    cr_assert_null(c[0]);
    tlpi_comm_free(NULL);
}

/* ==== one rank =========================================================== */

static void check_alone(tlpi_comm *c)
{
    float x[3] = { 1, 2, 3 }, y[3] = { 0 };
    uint32_t vote = 5;
    size_t bytes = sizeof x;
    tlpi_comm *sub = NULL;

    cr_assert_eq(c->rank, 0);
    cr_assert_eq(c->size, 1);
    cr_assert_eq(allreduce(c, x, 3, &vote), TLP_OK);
    cr_assert(x[0] == 1 && x[1] == 2 && x[2] == 3 && vote == 5);
    cr_assert_eq(c->ops->send_next(c, x, 3), TLP_OK);
    cr_assert_eq(c->ops->recv_prev(c, x, 3), TLP_OK);
    cr_assert_eq(c->ops->bcast(c, x, sizeof x, true), TLP_OK);
    cr_assert_eq(c->ops->gather(c, x, &bytes, y), TLP_OK);
    cr_assert(memcmp(x, y, sizeof x) == 0 && x[2] == 3);
    cr_assert_eq(c->ops->gather(c, x, &bytes, x), TLP_OK);
    cr_assert_eq(c->stats.allreduces, 0);
    cr_assert_eq(c->stats.bytes, 0);
    cr_assert_eq(c->ops->split(c, 0, 2, &sub), TLP_EINVAL);
    cr_assert_null(sub);
    cr_assert_eq(c->ops->split(c, 0, 1, &sub), TLP_OK);
    cr_assert_eq(sub->size, 1);
    tlpi_comm_free(sub);
    tlpi_comm_free(c);
    cr_assert_eq(heap.live, 0);
}

Test(comm, self)
{
    tlpi_comm *c = NULL;
    cr_assert_eq(tlpi_comm_self_create(&c, &env), TLP_OK);
    check_alone(c);
}

Test(comm, a_single_thread_is_like_self)
{
    tlpi_comm *c[1];
    make(c, 1, 1000);
    check_alone(c[0]);
}
