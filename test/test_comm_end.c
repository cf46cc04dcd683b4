/*
 * test_comm_end.c - how ranks in one process end: giving up, time-outs, lack
 * of memory, freeing.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ranks.h"

TestSuite(comm_end, .init = init_heap, .timeout = 120);

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

Test(comm_end, abort_wakes_sleeping_ranks)
{
    abort_while_stuck(false, true);
    abort_while_stuck(true, true);
}

Test(comm_end, abort_wakes_spinning_ranks)
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

Test(comm_end, memory_is_ours_again_after_a_failure)
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
    CHECK(m, took < 10);
    CHECK(m, took > 0.05 || m->st == TLP_ECOMM); /* came late itself */
}

Test(comm_end, missing_peers_time_out)
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

/* Rank 1 waits for rank 0, which says so and then has work to do. */
static void wait_while_stopped(member *m)
{
    float x[10] = { 0 };

    if (m->rank == 0) {
        CHECK(m, write(*(const int *)m->arg, "w", 1) == 1);
        for (int i = 0; i < 50; i++)
            nap_us(5000);
    }
    note(m, allreduce(m->c, x, 10, NULL));
}

static int run_until_stopped(int out)
{
    tlpi_comm *c[2];
    member m[2];

    make(c, 2, 2000);
    start_ranks(m, c, 2, wait_while_stopped, &out);
    join_ranks(m, 2);
    int st = m[0].st != TLP_OK ? m[0].st : m[1].st;
    drop(c, 2);
    return -st;
}

/* The process is stopped for longer than the deadline. */
Test(comm_end, a_stopped_process_blames_no_peer)
{
    int fds[2], state = 0;
    char byte = 0;

    cr_assert_eq(pipe(fds), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(run_until_stopped(fds[1]));
    cr_assert_eq(read(fds[0], &byte, 1), 1);
    nap_us(50000);
    cr_assert_eq(kill(child, SIGSTOP), 0);
    cr_assert_eq(waitpid(child, &state, WUNTRACED), child);
    cr_assert(WIFSTOPPED(state));
    nap_us(2500000);
    cr_assert_eq(kill(child, SIGCONT), 0);
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0, "%#x", state);
    close(fds[0]);
    close(fds[1]);
}

/* Longer than the deadline, in all that waits. */
static void load_slowly(member *m)
{
    int word = 0;
    float x = 1;
    size_t bytes[] = { 4, 4, 4 };
    char all[12];

    m->c->patient = true;
    if (m->rank == m->n - 1)
        nap_us(200000);
    CHECK(m, allreduce(m->c, &x, 1, NULL) == TLP_OK);
    if (m->rank == 0)
        nap_us(200000);
    CHECK(m, m->c->ops->bcast(m->c, &word, sizeof word, false) == TLP_OK);
    if (m->rank == m->n - 1)
        nap_us(200000);
    CHECK(m, m->c->ops->gather(m->c, &x, bytes, all) == TLP_OK);
    CHECK(m, allreduce(m->c, &x, 1, NULL) == TLP_OK);
    if (m->rank == 1) { /* nobody waits for ever */
        nap_us(200000);
        m->c->ops->abort(m->c);
    }
    note(m, allreduce(m->c, &x, 1, NULL));
    CHECK(m, m->st == TLP_ECOMM);
    CHECK(m, strcmp(m->text, "rank 1 gave up") == 0);
}

Test(comm_end, patient_ranks_have_no_deadline)
{
    tlpi_comm *c[3];
    member m[3];

    make(c, 3, 60);
    start_ranks(m, c, 3, load_slowly, NULL);
    join_ranks(m, 3);
    drop(c, 3);
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

Test(comm_end, ranks_out_of_step_are_told)
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

Test(comm_end, freed_in_any_order)
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

Test(comm_end, handles_nobody_took_are_freed)
{
    tlpi_comm *c[2];
    member m[2];

    make(c, 2, 60000);
    start_ranks(m, c, 2, split_alone, NULL);
    join_ranks(m, 2);
    c[1]->ops->abort(c[1]);
    drop(c, 2);
}

Test(comm_end, out_of_memory_on_creation)
{
    tlpi_comm *c[3];
    int n = 0;

    for (; n < 20; n++) {
        for (int r = 0; r < 3; r++)
            c[r] = (tlpi_comm *)&heap;
        ration(n);
        tlp_status st = tlpi_comm_threads_create(c, &env, 3, 3, 1000);
        if (st == TLP_OK)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert(!c[0] && !c[1] && !c[2]);
        cr_assert_eq(heap.live, 0);
    }
    cr_assert(n > 0 && n < 20);
    drop(c, 3);

    ration(0);
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

Test(comm_end, out_of_memory_on_splitting)
{
    tlpi_comm *c[3];
    member m[3];
    int n = 0;

    make(c, 3, 60000);
    for (; n < 20; n++) {
        ration(n);
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

Test(comm_end, arguments)
{
    tlpi_comm *c[1] = { (tlpi_comm *)&heap };
    cr_assert_eq(tlpi_comm_threads_create(c, &env, 0, 1, 1000), TLP_EINVAL);
    cr_assert_eq(tlpi_comm_threads_create(c, &env, 1, 1, 0), TLP_EINVAL);
    cr_assert_null(c[0]);
    tlpi_comm_free(NULL);
}
