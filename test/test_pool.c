/*
 * test_pool.c - regions of the thread pool, on its own threads and on threads
 * of the host.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"

#ifdef __SANITIZE_THREAD__
#define WITHOUT_SIGNALS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITHOUT_SIGNALS 1
#endif
#endif

static tlpi_env env;

static void init_env(void)
{
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
}

TestSuite(pool, .init = init_env, .timeout = 60);

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ==== regions ============================================================ */

#define MAX_THREAD 9
#define MAX_TASK 400

typedef struct tally {
    tlpi_pool *pool;
    int n_task;
    struct {
        alignas(64) long calls;
        atomic_int inside;
    } slot[TLPI_MAX_THREAD];
    int done[MAX_TASK]; /* no atomics: the pool must order all accesses */
    atomic_int bad;
    double nap; /* seconds of a task of slots above 0 */
} tally;

static tlpi_pool *make(int n)
{
    tlpi_pool *pool = NULL;
    tlpi_pool_options o = { .n_thread = n, .n_machine = n };
    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_OK, "%s",
                 tlp_last_error());
    cr_assert_eq(tlpi_pool_size(pool), n);
    cr_assert_eq(tlpi_pool_in_use(pool), n);
    return pool;
}

/* Counts every task, and that no slot is used twice at once. */
static void count(void *arg, tlpi_turn *turn)
{
    tally *t = arg;
    int slot = turn->slot;

    if (slot < 0 || slot >= tlpi_pool_size(t->pool) ||
        atomic_exchange(&t->slot[slot].inside, 1))
        atomic_store(&t->bad, 1);
    do {
        if (turn->task < 0 || turn->task >= t->n_task)
            atomic_store(&t->bad, 2);
        else
            t->done[turn->task]++;
        t->slot[slot].calls++;
        if (slot > 0 && t->nap > 0)
            nap_ms((long)(t->nap * 1000));
    } while (tlpi_turn_next(turn));
    if (!atomic_exchange(&t->slot[slot].inside, 0))
        atomic_store(&t->bad, 3);
}

/* Run a region of n tasks; every task was done once, by a slot in use. */
static void region(tally *t, int n)
{
    long before = 0, after = 0;

    for (int i = 0; i < TLPI_MAX_THREAD; i++)
        before += t->slot[i].calls;
    t->n_task = n;
    memset(t->done, 0, sizeof t->done);
    tlpi_pool_run(t->pool, n, count, t);
    for (int i = 0; i < MAX_TASK; i++)
        cr_assert_eq(t->done[i], i < n, "task %d of %d", i, n);
    for (int i = 0; i < TLPI_MAX_THREAD; i++)
        after += t->slot[i].calls;
    cr_assert_eq(after - before, n);
    cr_assert_eq(t->bad, 0);
}

Test(pool, every_task_is_done_once)
{
    const int n_task[] = { 0, 1, 2, 3, 7, 64, 65, MAX_TASK };

    for (int n = 1; n <= MAX_THREAD; n++) {
        tally t = { .pool = make(n) };
        for (int i = 0; i < 300; i++)
            region(&t, n_task[i % (int)TLPI_COUNT(n_task)]);
        tlpi_pool_free(t.pool);
    }
}

/* Slots in more than one word of the set of open slots. */
Test(pool, many_threads)
{
    for (int n = 63; n <= 130; n += 67) {
        tally t = { .pool = make(n) };
        for (int i = 0; i < 20; i++)
            region(&t, MAX_TASK - i);
        tlpi_pool_free(t.pool);
    }
}

/* Far more threads than cores, so that the system pushes threads off their
 * cores in the middle of tasks and of claims, and regions without a pause. */
Test(pool, crowded)
{
    tally t = { .pool = make(16) };

    for (int i = 0; i < 3000; i++)
        region(&t, 1 + i % MAX_TASK);
    tlpi_pool_free(t.pool);
}

static void sum_tasks(void *arg, int i, int n)
{
    long *at = arg;
    at[i] = 1000L * n + i;
}

Test(pool, map)
{
    long at[100];
    tlpi_pool *pool = make(3);

    for (int n = 0; n <= 100; n++) {
        memset(at, 0, sizeof at);
        tlpi_pool_map(pool, n, sum_tasks, at);
        for (int i = 0; i < 100; i++)
            cr_assert_eq(at[i], i < n ? 1000L * n + i : 0);
    }
    tlpi_pool_free(pool);
}

/* Worker 1 stands still in its first task of the gate until the caller has
 * done all other tasks: its own range too. */
typedef struct gate {
    atomic_int n_done, entered;
    int n_task;
} gate;

static void wait_for_others(void *arg, tlpi_turn *turn)
{
    gate *g = arg;

    do {
        if (turn->slot == 1 && !atomic_exchange(&g->entered, 1))
            while (atomic_load(&g->n_done) < g->n_task - 1)
                nap_ms(1);
        else if (turn->slot == 0 && !atomic_load(&g->entered) &&
                 atomic_load(&g->n_done) == g->n_task - 2)
            nap_ms(1); /* leave the worker its chance */
        atomic_fetch_add(&g->n_done, 1);
    } while (tlpi_turn_next(turn));
}

Test(pool, a_thread_that_stands_still_holds_one_task)
{
    tlpi_pool *pool = make(2);

    for (int i = 0; i < 50; i++) {
        gate g = { .n_task = 40 };
        tlpi_pool_run(pool, g.n_task, wait_for_others, &g);
        cr_assert_eq(g.n_done, g.n_task);
    }
    tlpi_pool_free(pool);
}

/* All workers are kept from arriving: the caller does the region alone, and
 * does not wait for them. */
static atomic_int held, let_go;

static void hold_worker(int sig)
{
    (void)sig;
    atomic_fetch_add(&held, 1);
    while (!atomic_load(&let_go))
        nap_ms(1);
}

static void remember(void *arg, tlpi_turn *turn)
{
    pthread_t *self = arg;

    do
        if (turn->slot > 0)
            self[turn->slot] = pthread_self();
        else
            nap_ms(1);
    while (tlpi_turn_next(turn));
}

Test(pool, a_region_does_not_wait_for_threads_that_never_arrive)
{
#ifdef WITHOUT_SIGNALS
    cr_skip_test("TSan delivers no signal to a thread that waits");
#endif
    enum { N = 4 };
    pthread_t self[N] = { 0 };
    tally t = { .pool = make(N) };
    struct sigaction act = { .sa_handler = hold_worker };

    sigaction(SIGTRAP, &act, NULL); /* one of those that workers accept */
    for (int n = 0; n < N - 1;) {
        tlpi_pool_run(t.pool, 50, remember, self);
        n = 0;
        for (int i = 1; i < N; i++)
            n += self[i] != 0;
    }
    for (int i = 1; i < N; i++)
        pthread_kill(self[i], SIGTRAP);
    while (atomic_load(&held) < N - 1)
        nap_ms(1);
    for (int i = 0; i < 20; i++)
        region(&t, 1 + 13 * i);
    for (int i = 1; i < N; i++)
        cr_assert_eq(t.slot[i].calls, 0);
    atomic_store(&let_go, 1);
    for (int i = 0; i < 200; i++) /* the late threads find an open region */
        region(&t, 100);
    tlpi_pool_free(t.pool);
}

/* A worker that holds up a region is set aside, and comes back. */
Test(pool, slow_workers_are_set_aside)
{
    tally t = { .pool = make(3), .nap = 0.002 };
    long all = 0;

    for (int i = 0; i < 200; i++)
        region(&t, 30);
    t.nap = 0;
    for (long before = t.slot[1].calls + t.slot[2].calls; all == 0;) {
        nap_ms(10);
        region(&t, MAX_TASK);
        all = t.slot[1].calls + t.slot[2].calls - before;
    }
    tlpi_pool_free(t.pool);
}

Test(pool, threads_in_use)
{
    tally t = { .pool = make(5) };

    for (int round = 0; round < 200; round++) {
        int n = 1 + round * 3 % 5;
        tlpi_pool_use(t.pool, n);
        cr_assert_eq(tlpi_pool_in_use(t.pool), n);
        /* a late worker may still take part in the next region */
        region(&t, 50);
        region(&t, 7);
    }
    tlpi_pool_use(t.pool, 99);
    cr_assert_eq(tlpi_pool_in_use(t.pool), 5);
    tlpi_pool_use(t.pool, 1);
    nap_ms(10);
    long before = t.slot[0].calls;
    region(&t, 50);
    cr_assert_eq(t.slot[0].calls - before, 50, "the caller alone");
    tlpi_pool_free(t.pool); /* the workers are parked */
}

Test(pool, sleeping_workers_wake)
{
    tally t = { .pool = make(3) };

    for (int i = 0; i < 5; i++) {
        nap_ms(10); /* far beyond their patience */
        region(&t, 50);
    }
    nap_ms(10);
    tlpi_pool_free(t.pool); /* asleep */
}

Test(pool, sleeping_caller_wakes)
{
    tally t = { .pool = make(2), .nap = 0.005 };

    for (int i = 0; i < 5; i++)
        region(&t, 4);
    tlpi_pool_free(t.pool);
}

/* ==== threads of the host ================================================ */

enum { FORWARD, BACKWARD, TWICE, NONE, SOME, AT_ONCE, WILD, N_MANNER };

typedef struct lent {
    int manner;
    int n_run;
} lent;

typedef struct one_call {
    tlp_work_fn fn;
    void *arg;
    int32_t i;
} one_call;

static void *call_one(void *arg)
{
    const one_call *c = arg;
    c->fn(c->arg, c->i);
    return NULL;
}

static void run_at_once(int32_t n, tlp_work_fn fn, void *arg)
{
    pthread_t thread[MAX_THREAD];
    one_call call[MAX_THREAD];

    for (int32_t i = 0; i < n; i++) {
        call[i] = (one_call){ fn, arg, i };
        if (pthread_create(&thread[i], NULL, call_one, &call[i]) != 0)
            abort();
    }
    for (int32_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

static void run_lent(int32_t n, tlp_work_fn fn, void *arg, void *user)
{
    lent *l = user;

    l->n_run++;
    for (int32_t i = 0; i < n; i++)
        switch (l->manner) {
        case TWICE:
            fn(arg, i); /* fall through */
        case FORWARD:
            fn(arg, i);
            break;
        case BACKWARD:
            fn(arg, n - 1 - i);
            break;
        case SOME:
            if (i % 2)
                fn(arg, i);
            break;
        case WILD:
            fn(arg, -1 - i);
            fn(arg, n + 1000 + i);
            break;
        default: /* NONE, AT_ONCE */
            break;
        }
    if (l->manner == AT_ONCE)
        run_at_once(n, fn, arg);
}

Test(pool, threads_of_the_host)
{
    for (lent l = { 0 }; l.manner < N_MANNER; l.manner++) {
        tlpi_pool_options o = { .n_thread = 4,
                                .host = { sizeof o.host, run_lent, &l } };
        tally t = { 0 };
        cr_assert_eq(tlpi_pool_create(&t.pool, &env, &o), TLP_OK);
        for (int i = 0; i < 40; i++) {
            int before = l.n_run;
            region(&t, 2 + i);
            cr_assert_eq(l.n_run, before + 1);
        }
        tlpi_pool_use(t.pool, 2);
        region(&t, 30);
        tlpi_pool_use(t.pool, 4);
        region(&t, 1); /* one task needs no thread */
        tlpi_pool_free(t.pool);
    }
}
