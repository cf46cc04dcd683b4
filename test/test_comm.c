/*
 * test_comm.c - ranks in one process: sums, messages, groups.
 */
#include "support/ranks.h"

TestSuite(comm, .init = init_heap, .timeout = 120);

/* ==== all-reduce ========================================================= */

static const size_t sum_sizes[] = { 0,   1,    2,    3,    15,   16,    17,
                                    127, 128,  129,  143,  144,  145,   575,
                                    576, 1023, 2049, 4096, 9999, 100000 };

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
    const size_t sizes[] = { 1, 100, 576, 4097, 8000 };
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
