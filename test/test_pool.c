/*
 * test_pool.c - waiting on words, regions and barriers of the thread pool.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"
#include "base/wait.h"
#include "support/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static tlpi_env env;

static void init_env(void)
{
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
}

TestSuite(pool, .init = init_env, .timeout = 60);
TestSuite(wait, .init = init_env, .timeout = 60);

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ==== words ============================================================== */

Test(wait, reached_at_once)
{
    static tlpi_word w;

    tlpi_word_add(&w, 7);
    cr_assert(tlpi_word_wait(&w, 7, 0, 0));
    cr_assert(tlpi_word_wait(&w, 3, 0, 0));
    cr_assert_not(tlpi_word_wait(&w, 8, 0, tlpi_now() + 1e-3));
}

Test(wait, count_wraps)
{
    static tlpi_word w;

    tlpi_word_add(&w, UINT32_MAX - 1);
    cr_assert_not(tlpi_word_wait(&w, 2, 0, tlpi_now() + 1e-3));
    tlpi_word_add(&w, 4); /* now 2, past the end */
    cr_assert(tlpi_word_wait(&w, 2, 0, 0));
    cr_assert(tlpi_word_wait(&w, UINT32_MAX, 0, 0));
}

Test(wait, deadline_is_kept)
{
    static tlpi_word w;
    const uint32_t all[] = { 0, 1000, 100000 };

    for (size_t i = 0; i < TLPI_COUNT(all); i++) {
        double start = tlpi_now();
        cr_assert_not(tlpi_word_wait(&w, 1, all[i], start + 0.05));
        double took = tlpi_now() - start;
        cr_assert(took >= 0.05 && took < 5, "%g s", took);
        cr_assert_eq(w.sleepers, 0);
    }
}

static tlpi_word ping, pong;

static void *answer(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= 2000; i++) {
        tlpi_word_wait(&ping, i, 0, 0);
        tlpi_word_add(&pong, 1);
    }
    return NULL;
}

/* Without spinning nearly every wait goes to sleep: a lost wake-up would
 * hang. */
Test(wait, no_wakeup_is_lost)
{
    pthread_t t;

    cr_assert_eq(tlpi_thread_start(&t, answer, NULL), TLP_OK);
    for (uint32_t i = 1; i <= 2000; i++) {
        tlpi_word_add(&ping, 1);
        tlpi_word_wait(&pong, i, 0, 0);
    }
    pthread_join(t, NULL);
    cr_assert_eq(ping.sleepers, 0);
    cr_assert_eq(pong.sleepers, 0);
}

Test(wait, crowded_machines_spin_less)
{
    int n = tlpi_n_cores();

    cr_assert_gt(n, 0);
    cr_assert_gt(tlpi_spin_ns(n), tlpi_spin_ns(n + 1));
}

/* ==== regions ============================================================ */

#define MAX_THREAD 9

typedef struct tally {
    tlpi_pool *pool;
    struct {
        alignas(64) int calls;
        long sum;
    } by[MAX_THREAD]; /* no atomics: the pool must order all accesses */
    int nth;
    long total;
    long seen[MAX_THREAD];
} tally;

static tlpi_pool *make(int n, bool pin)
{
    tlpi_pool *pool = NULL;
    tlpi_pool_options o = { .n_thread = n, .n_machine = n, .pin = pin };
    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_OK, "%s",
                 tlp_last_error());
    cr_assert_eq(tlpi_pool_size(pool), n);
    return pool;
}

static void count(void *arg, int ith, int nth)
{
    tally *t = arg;
    t->by[ith].calls++;
    if (ith == 0)
        t->nth = nth;
}

Test(pool, every_thread_runs_every_region)
{
    for (int n = 1; n <= MAX_THREAD; n++) {
        tally t = { .pool = make(n, false) };
        for (int i = 1; i <= 300; i++) {
            tlpi_pool_run(t.pool, count, &t);
            for (int k = 0; k < MAX_THREAD; k++)
                cr_assert_eq(t.by[k].calls, k < n ? i : 0);
        }
        cr_assert_eq(t.nth, n);
        tlpi_pool_free(t.pool);
    }
}

/* Three phases; each reads what all threads wrote in the one before. */
static void phases(void *arg, int ith, int nth)
{
    tally *t = arg;

    t->by[ith].sum = ith + 1;
    tlpi_pool_barrier(t->pool, ith);
    if (ith == nth - 1) {
        t->total = 0;
        for (int i = 0; i < nth; i++)
            t->total += t->by[i].sum;
    }
    tlpi_pool_barrier(t->pool, ith);
    t->seen[ith] = t->total;
}

Test(pool, barriers_order_phases)
{
    for (int n = 1; n <= 5; n++) {
        tally t = { .pool = make(n, false) };
        for (int i = 0; i < 500; i++) {
            memset(t.seen, 0, sizeof t.seen);
            tlpi_pool_run(t.pool, phases, &t);
            for (int k = 0; k < n; k++)
                cr_assert_eq(t.seen[k], (long)n * (n + 1) / 2);
            tlpi_pool_run(t.pool, count, &t); /* a region without barriers */
        }
        tlpi_pool_free(t.pool);
    }
}

Test(pool, sleeping_workers_wake)
{
    tally t = { .pool = make(3, false) };
    for (int i = 1; i <= 5; i++) {
        nap_ms(10); /* far beyond their patience */
        tlpi_pool_run(t.pool, count, &t);
        cr_assert_eq(t.by[2].calls, i);
    }
    nap_ms(10);
    tlpi_pool_free(t.pool); /* asleep */
}

static void slow_worker(void *arg, int ith, int nth)
{
    (void)nth;
    if (ith != 0)
        nap_ms(5);
    count(arg, ith, nth);
}

Test(pool, sleeping_caller_wakes)
{
    tally t = { .pool = make(2, false) };
    for (int i = 1; i <= 5; i++) {
        tlpi_pool_run(t.pool, slow_worker, &t);
        cr_assert_eq(t.by[1].calls, i);
    }
    tlpi_pool_free(t.pool);
}

typedef struct thread_facts {
    pthread_t self[MAX_THREAD];
    sigset_t mask[MAX_THREAD];
    int n_core[MAX_THREAD];
} thread_facts;

static void look_around(void *arg, int ith, int nth)
{
    thread_facts *f = arg;
    (void)nth;
    f->self[ith] = pthread_self();
    pthread_sigmask(SIG_BLOCK, NULL, &f->mask[ith]);
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0)
        f->n_core[ith] = CPU_COUNT(&set);
}

Test(pool, signals_stay_with_the_host)
{
    thread_facts f = { 0 };
    sigset_t before, after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    tlpi_pool *pool = make(2, false);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    tlpi_pool_run(pool, look_around, &f);
    tlpi_pool_free(pool);

    const int host[] = { SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGCHLD };
    for (size_t i = 0; i < TLPI_COUNT(host); i++) {
        cr_assert_eq(sigismember(&f.mask[1], host[i]), 1);
        cr_assert_eq(sigismember(&after, host[i]),
                     sigismember(&before, host[i]));
    }
    cr_assert_eq(sigismember(&f.mask[1], SIGSEGV), 0);
    cr_assert(pthread_equal(f.self[0], pthread_self()));
    cr_assert_not(pthread_equal(f.self[1], pthread_self()));
}

Test(pool, pinning_binds_workers_only)
{
    thread_facts f = { 0 };
    int n_core = tlpi_n_cores();
    tlpi_pool *pool = make(3, true);

    tlpi_pool_run(pool, look_around, &f);
    tlpi_pool_free(pool);
    cr_assert_eq(f.n_core[0], n_core);
    if (n_core < 2)
        cr_skip_test("one core: bound and unbound threads look alike");
    cr_assert_lt(f.n_core[1], n_core);
    cr_assert_lt(f.n_core[2], n_core);
}

static void *pin_me(void *arg)
{
    cpu_set_t set;
    int *n = arg;
    tlpi_pin_self(&env, 1000003); /* modulo the cores there are */
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0)
        n[0] = CPU_COUNT(&set);
    n[1] = tlpi_n_cores();
    return NULL;
}

Test(pool, pinned_threads_still_see_all_cores)
{
    int n[2] = { 0, 0 }, n_core = tlpi_n_cores();
    pthread_t t;

    cr_assert_eq(tlpi_thread_start(&t, pin_me, n), TLP_OK);
    pthread_join(t, NULL);
    cr_assert_eq(n[1], n_core);
    if (n_core < 2)
        cr_skip_test("one core: bound and unbound threads look alike");
    cr_assert_lt(n[0], n_core);
}

/* ==== failing ============================================================ */

Test(pool, out_of_memory)
{
    mem m = { .fail_after = true };
    tlp_allocator hooks = mem_hooks(&m);
    tlpi_env e;
    tlpi_pool_options o = { .n_thread = 3, .n_machine = 3 };
    tlpi_pool *pool = NULL;

    cr_assert_eq(tlpi_env_init(&e, &hooks, NULL, NULL), TLP_OK);
    for (m.fail_at = 1; m.fail_at < 20; m.fail_at++) {
        m.calls = 0;
        pool = (tlpi_pool *)&m;
        tlp_status st = tlpi_pool_create(&pool, &e, &o);
        if (st == TLP_OK)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert_null(pool);
        cr_assert_eq(m.live, 0);
    }
    cr_assert(m.fail_at > 1 && m.fail_at < 20);
    tlpi_pool_free(pool);
    cr_assert_eq(m.live, 0);
}

Test(pool, arguments)
{
    tlpi_pool *pool = NULL;
    tlpi_pool_options o = { .n_thread = 0 };

    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_EINVAL);
    cr_assert_null(pool);
    cr_assert(strstr(tlp_last_error(), "n_thread 0"));
    tlpi_pool_free(NULL);
}

static long address_space(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Room for a few stacks only: some workers start, a later one cannot. */
Test(pool, threads_run_out_half_way)
{
#ifdef SANITIZED
    cr_skip_test("sanitizers need the address space");
#endif
    long now = address_space();
    if (now == 0)
        cr_skip_test("no /proc/self/statm");
    struct rlimit old, low;
    cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)now + ((rlim_t)256 << 20);
    cr_assert_eq(setrlimit(RLIMIT_AS, &low), 0);

    tlpi_pool *pool = (tlpi_pool *)&low;
    tlpi_pool_options o = { .n_thread = 400, .n_machine = 400 };
    tlp_status st = tlpi_pool_create(&pool, &env, &o);
    setrlimit(RLIMIT_AS, &old);
    cr_assert_eq(st, TLP_ENOMEM);
    cr_assert_null(pool);
    cr_assert(strstr(tlp_last_error(), "thread"));
    tlpi_pool_free(make(4, false)); /* nothing was left behind */
}
