/*
 * test_pool_threads.c - the threads of a pool: what they inherit, where they
 * run, what happens where they cannot start.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"
#include "support/mem.h"

#define MAX_THREAD 3

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

TestSuite(pool_threads, .init = init_env, .timeout = 60);

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static tlpi_pool *make(int n)
{
    tlpi_pool *pool = NULL;
    tlpi_pool_options o = { .n_thread = n, .n_machine = n };
    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_OK, "%s",
                 tlp_last_error());
    return pool;
}

/* ==== what a thread inherits ============================================= */

typedef struct thread_facts {
    pthread_t self[MAX_THREAD];
    sigset_t mask[MAX_THREAD];
    cpu_set_t cpus[MAX_THREAD];
    atomic_int n;
} thread_facts;

/* Every thread waits for the others, so each has one task. */
static void look_around(void *arg, tlpi_turn *turn)
{
    thread_facts *f = arg;
    int i = turn->slot, n = tlpi_pool_size(turn->pool);

    f->self[i] = pthread_self();
    pthread_sigmask(SIG_BLOCK, NULL, &f->mask[i]);
    pthread_getaffinity_np(pthread_self(), sizeof f->cpus[i], &f->cpus[i]);
    atomic_fetch_add(&f->n, 1);
    while (atomic_load(&f->n) < n)
        nap_ms(1);
}

static void look_at(tlpi_pool *pool, thread_facts *f)
{
    memset(f, 0, sizeof *f);
    tlpi_pool_run(pool, tlpi_pool_size(pool), look_around, f);
}

Test(pool_threads, signals_stay_with_the_host)
{
    static thread_facts f;
    sigset_t before, after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    tlpi_pool *pool = make(2);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    look_at(pool, &f);
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

Test(pool_threads, pinning_binds_workers_only)
{
    static thread_facts f;
    tlpi_pool *pool = NULL;
    tlpi_cores *cores = NULL;
    cpu_set_t mine, both;

    cr_assert_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    cr_assert_eq(tlpi_cores_create(&cores, &env), TLP_OK);
    if (!cores)
        cr_skip_test("no topology");
    tlpi_pool_options o = { .n_thread = 3, .n_machine = 3, .cores = cores };
    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_OK);
    look_at(pool, &f);
    tlpi_pool_free(pool);
    tlpi_cores_free(cores);
    cr_assert(CPU_EQUAL(&f.cpus[0], &mine));
    for (int i = 1; i < 3; i++) {
        CPU_AND(&both, &f.cpus[i], &mine);
        cr_assert(CPU_EQUAL(&both, &f.cpus[i]), "within the mask");
    }
    if (CPU_COUNT(&mine) < 2)
        cr_skip_test("one core: bound and unbound threads look alike");
    cr_assert_lt(CPU_COUNT(&f.cpus[1]), CPU_COUNT(&mine));
    cr_assert_lt(CPU_COUNT(&f.cpus[2]), CPU_COUNT(&mine));
    cr_assert(!CPU_EQUAL(&f.cpus[1], &f.cpus[2]));
}

/* ==== failing ============================================================ */

Test(pool_threads, out_of_memory)
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

Test(pool_threads, arguments)
{
    tlpi_pool *pool = NULL;
    tlpi_pool_options o = { .n_thread = 0 };

    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_EINVAL);
    cr_assert_null(pool);
    cr_assert(strstr(tlp_last_error(), "n_thread 0"));
    o.n_thread = TLPI_MAX_THREAD + 1;
    cr_assert_eq(tlpi_pool_create(&pool, &env, &o), TLP_EINVAL);
    cr_assert(strstr(tlp_last_error(), "n_thread 257"));
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
Test(pool_threads, threads_run_out_half_way)
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
    low.rlim_cur = (rlim_t)now + ((rlim_t)128 << 20);
    cr_assert_eq(setrlimit(RLIMIT_AS, &low), 0);

    tlpi_pool *pool = (tlpi_pool *)&low;
    tlpi_pool_options o = { .n_thread = 256, .n_machine = 256 };
    tlp_status st = tlpi_pool_create(&pool, &env, &o);
    setrlimit(RLIMIT_AS, &old);
    cr_assert_eq(st, TLP_ENOMEM);
    cr_assert_null(pool);
    cr_assert(strstr(tlp_last_error(), "thread"));
    tlpi_pool_free(make(4)); /* nothing was left behind */
}
