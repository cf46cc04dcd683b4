/*
 * test_link_delay.c - ranks of one process with a delay on their link: equal
 * results, lower bounds on the time, and how a wait for the link ends.
 *
 * No test has an upper bound on time that a busy machine can miss.
 */
#include <stdio.h>

#include "support/ranks.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

TestSuite(link_delay, .init = init_heap, .timeout = 120);

/* Run fn on n ranks whose link takes us microseconds. */
static void run_delayed(int n, int timeout_ms, int us, member_fn fn, void *arg)
{
    tlpi_comm *c[MAX_RANK];
    member m[MAX_RANK];

    make(c, n, timeout_ms);
    tlpi_comm_threads_set_delay(c[0], us * 1e-6);
    start_ranks(m, c, n, fn, arg);
    join_ranks(m, n);
    drop(c, n);
}

/* ==== results ============================================================ */

static void sums(member *m)
{
    /* In one phase, in a slot, in the slot's last float, beyond the slot. */
    static const size_t sizes[] = { 0, 1, 128, 129, 576, 4096, 4097, 20000 };
    float *x = malloc(20000 * sizeof *x);

    for (int i = 0; i < 64; i++) {
        size_t n = sizes[(size_t)i % TLPI_COUNT(sizes)];
        uint32_t vote = 1u << m->rank;

        fill(x, n, (uint64_t)i, m->rank);
        dawdle(m);
        CHECK(m, allreduce(m->c, x, n, &vote) == TLP_OK);
        CHECK(m, vote == (1u << m->n) - 1);
        CHECK(m, is_sum(x, n, (uint64_t)i, 0, m->n));
    }
    free(x);
}

static void sums_in_a_group(member *m)
{
    tlpi_comm *sub = NULL;

    CHECK(m, m->c->ops->split(m->c, 1, 2, &sub) == TLP_OK);
    for (int i = 0; i < 20 && sub; i++)
        CHECK(m, sub_sum(sub, (uint64_t)i, 1, m->rank, 576));
    tlpi_comm_free(sub);
}

Test(link_delay, sums_have_the_bits_of_rank_order)
{
    for (int n = 2; n <= MAX_RANK; n++) {
        run_delayed(n, 60000, 30, sums, NULL);
        run_delayed(n, 60000, 300, sums, NULL);
    }
    run_delayed(3, 60000, 100, sums_in_a_group, NULL);
}

/* ==== time =============================================================== */

enum { DELAY_US = 2000 };
#define DELAY (DELAY_US * 1e-6)

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/*
 * A rank's sum number i ends at least one delay after its peer's sum i - 1, and
 * that at least one delay after the rank's own sum i - 2.  So an even number of
 * sums takes at least one delay for each of them on every rank.
 */
static void time_sums(member *m)
{
    enum { TIMES = 20 };
    static const size_t sizes[] = { 1, 576, 9000 };
    static float x[2][9000];

    for (size_t k = 0; k < TLPI_COUNT(sizes); k++) {
        double start = tlpi_now(), cpu = cpu_seconds();

        for (int i = 0; i < TIMES; i++)
            CHECK(m, allreduce(m->c, x[m->rank], sizes[k], NULL) == TLP_OK);
        CHECK(m, tlpi_now() - start >= TIMES * DELAY);
        /* It slept most of that time. */
        CHECK(m, cpu_seconds() - cpu < TIMES * DELAY / 2);
    }
}

Test(link_delay, sums_take_a_delay_each)
{
    run_delayed(2, 60000, DELAY_US, time_sums, NULL);
}

/* The time at which a sender was about to send. */
static _Atomic double sent_at;

/* Small messages and large ones; small ones do not hold their sender. */
static void time_messages(member *m)
{
    static const size_t sizes[] = { 1, 576, 4096, 4097, 9000 };
    static float x[2][9000], gathered[9001];

    for (size_t k = 0; k < TLPI_COUNT(sizes); k++) {
        size_t bytes[] = { 4, 4 * sizes[k] };
        int64_t word = 0;

        if (m->rank == 0) {
            sent_at = tlpi_now();
            CHECK(m, m->c->ops->send_next(m->c, x[0], sizes[k]) == TLP_OK);
        } else {
            CHECK(m, m->c->ops->recv_prev(m->c, x[1], sizes[k]) == TLP_OK);
            CHECK(m, tlpi_now() - sent_at >= DELAY);
            sent_at = tlpi_now();
        }
        CHECK(m,
              m->c->ops->gather(m->c, x[m->rank], bytes, gathered) == TLP_OK);
        if (m->rank == 0) {
            CHECK(m, tlpi_now() - sent_at >= DELAY);
            sent_at = tlpi_now();
        }
        CHECK(m, m->c->ops->bcast(m->c, &word, sizeof word, true) == TLP_OK);
        if (m->rank == 1)
            CHECK(m, tlpi_now() - sent_at >= DELAY);
        CHECK(m, allreduce(m->c, x[m->rank], 1, NULL) == TLP_OK);
    }
}

Test(link_delay, messages_take_a_delay)
{
    run_delayed(2, 60000, DELAY_US, time_messages, NULL);
}

/* ==== ends =============================================================== */

/* Rank 1's message is on the link for a minute when rank 1 gives up. */
static void abort_on_the_link(member *m)
{
    static _Atomic int is_published;
    float x[576] = { 0 };
    double start = tlpi_now();

    if (m->rank == 1) {
        CHECK(m, m->c->ops->send_next(m->c, x, 576) == TLP_OK);
        is_published = 1;
        nap_us(20000);
        m->c->ops->abort(m->c);
    } else if (m->rank == 2) {
        while (!is_published)
            nap_us(100);
        CHECK(m, m->c->ops->recv_prev(m->c, x, 576) == TLP_ECOMM);
        CHECK(m, strcmp(tlp_last_error(), "rank 1 gave up") == 0);
        CHECK(m, tlpi_now() - start < 30);
    }
}

Test(link_delay, abort_wakes_a_rank)
{
    run_delayed(3, 100000, 60 * 1000 * 1000, abort_on_the_link, NULL);
}

static void outlast_the_timeout(member *m)
{
    float x[4] = { 0 };
    double start = tlpi_now();
    tlp_status st = allreduce(m->c, x, 4, NULL);

    CHECK(m, st == TLP_ETIMEDOUT || st == TLP_ECOMM);
    CHECK(m, tlpi_now() - start < 30);
    if (st == TLP_ETIMEDOUT)
        ++*(_Atomic int *)m->arg;
}

Test(link_delay, longer_than_the_timeout)
{
    _Atomic int n_timeout = 0;

    run_delayed(2, 60, 60 * 1000 * 1000, outlast_the_timeout, &n_timeout);
    cr_assert_geq(n_timeout, 1);
}

/* ==== sessions =========================================================== */

static const struct {
    const char *plan;
    int n_rank, allreduces; /* a token's; even */
} steps[] = {
    { "serial", 2, 10 },
    { "par:0-1,2-3", 2, 4 },
    { "asym:0-1,3-4", 2, 4 },
    { "serial", 3, 10 },
};

Test(link_delay, steps)
{
    tiny_spec spec = tiny_default(); /* five layers */
    const char *path = tiny_make(&spec);
    int32_t ids[12];

    for (size_t i = 0; i < TLPI_COUNT(steps); i++) {
        tlp_session_options o = rig_f32(steps[i].n_rank, 1);
        rig plain = rig_open(path, steps[i].plan, &o);

        o.link_delay_us = DELAY_US;
        rig slow = rig_open(path, steps[i].plan, &o);
        rig_tokens(ids, 12, plain.n_vocab, i);
        for (int t = 0; t < 12; t += 4 - 3 * (t > 0)) {
            int n = t > 0 ? 1 : 4;
            float *a = rig_eval(&plain, 0, ids + t, n);
            double start = tlpi_now();
            float *b = rig_eval(&slow, 0, ids + t, n);

            cr_assert_geq(tlpi_now() - start, steps[i].allreduces * DELAY);
            cr_assert_arr_eq(a, b, (size_t)n * plain.n_vocab * sizeof *a,
                             "%s on %d ranks, token %d", steps[i].plan,
                             steps[i].n_rank, t);
            free(a);
            free(b);
        }
        rig_close(&slow);
        rig_close(&plain);
    }
}

/* The cost model measures the delay, and predicts a step with it. */
Test(link_delay, is_measured_and_predicted)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    tlp_link l = { .struct_size = sizeof l };
    tlp_prediction p = { .struct_size = sizeof p };

    o.link_delay_us = DELAY_US;
    o.n_batch = 8;
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    double seconds = 0;
    CHECK_OK(tlp_session_measure_link(&seconds, r.session));
    cr_assert_geq(seconds, DELAY);
    CHECK_OK(tlp_session_measure(&l, NULL, r.session));
    for (int i = 0; i < l.n_size; i++)
        cr_assert_geq(l.allreduce[i], DELAY, "%lld floats: %g s",
                      (long long)l.size[i], l.allreduce[i]);
    cr_assert_geq(l.command, DELAY);
    CHECK_OK(tlp_plan_predict(&p, r.plan, &l, 2, 1, 0));
    cr_assert_geq(p.seconds, 10 * DELAY);
    rig_close(&r);
}

/* One all-reduce is measured at any time, and leaves all as it was. */
Test(link_delay, the_link_alone_is_measured_within_a_session)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);

    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        rig r = rig_open(path, "par:2-3", &o);
        tlp_session_stats before = { .struct_size = sizeof before };
        tlp_session_stats after = before;
        const float *row;
        double seconds = -1;
        int32_t ids[4] = { 1, 2, 3, 4 };

        CHECK_OK(tlp_session_prefill(r.session, ids, 4));
        CHECK_OK(tlp_session_logits(&row, r.session, 0));
        float first = row[0];
        CHECK_OK(tlp_session_get_stats(&before, r.session));
        CHECK_OK(tlp_session_measure_link(&seconds, r.session));
        CHECK_OK(tlp_session_get_stats(&after, r.session));
        cr_assert_eq(before.allreduces, after.allreduces);
        cr_assert_eq(before.comm_bytes, after.comm_bytes);
        cr_assert_str_eq(after.link, ranks > 1 ? "threads" : "none");
        cr_assert(ranks > 1 ? seconds > 0 : seconds == 0, "%g s", seconds);
        CHECK_OK(tlp_session_logits(&row, r.session, 0));
        cr_assert_eq(row[0], first);
        cr_assert_eq(tlp_session_pos(r.session, 0), 4);
        CHECK_FAILS(TLP_EINVAL, tlp_session_measure_link(NULL, r.session));
        CHECK_FAILS(TLP_EINVAL, tlp_session_measure_link(&seconds, NULL));
        rig_close(&r);
    }
}

Test(link_delay, misuse_is_refused)
{
    static const struct {
        int us, comm, backend;
        const char *text;
    } bad[] = {
        { -1, TLP_COMM_THREADS, TLP_BACKEND_CPU,
          "session option link_delay_us: -1 is outside 0 to 1000000" },
        { 1000001, TLP_COMM_THREADS, TLP_BACKEND_CPU,
          "session option link_delay_us: 1000001 is outside 0 to 1000000" },
        { 5, TLP_COMM_MPI, TLP_BACKEND_CPU,
          "session option link_delay_us: 5, but ranks in several processes "
          "have a link of their own" },
        { 5, TLP_COMM_THREADS, TLP_BACKEND_CUDA,
          "session option link_delay_us: 5 is not for backend cuda" },
    };
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    tlp_session *session = NULL;

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        o = rig_f32(2, 1);
        o.link_delay_us = bad[i].us;
        o.comm = bad[i].comm;
        o.backend = bad[i].backend;
        CHECK_FAILS(TLP_EINVAL, tlp_session_create(&session, r.plan, &o));
        cr_assert_str_eq(tlp_last_error(), bad[i].text);
    }
    rig_close(&r);
}
