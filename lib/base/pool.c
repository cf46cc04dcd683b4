/*
 * pool.c - dispatch and join of a region with one counter for each thread.
 *
 * The counter (word) of a thread counts the points that the thread has passed:
 * the start of a region (the caller publishes, the workers wait), barriers
 * (all threads publish and wait), and the end of a region (the workers
 * publish, the caller waits).  All threads of a region pass the same points in
 * the same order, so each thread knows the count to wait for without any
 * message.
 */
#include "base/pool.h"

#include <signal.h>
#include <stdalign.h>

#include "base/wait.h"

typedef struct pool_thread {
    /* First cache line: written by this thread, read by the other threads. */
    alignas(64) tlpi_word word;
    /* of thread 0: the region's function; NULL = workers leave */
    tlpi_pool_fn fn;
    void *arg;
    /* Second cache line: used by this thread only, after creation. */
    alignas(64) uint32_t passed; /* points passed, published or not */
    int ith;
    tlpi_pool *pool;
} pool_thread;

struct tlpi_pool {
    const tlpi_env *env;
    int n_thread;
    int n_started;       /* workers */
    uint32_t spin_ns;    /* while waiting */
    pthread_t *workers;  /* [n_thread-1]; worker i is thread i+1 */
    pool_thread *thread; /* [n_thread] */
};

static void publish(pool_thread *t)
{
    t->passed++;
    tlpi_word_add(
        &t->word,
        t->passed - atomic_load_explicit(&t->word.count, memory_order_relaxed));
}

static void await(tlpi_pool *pool, int ith, uint32_t point)
{
    tlpi_word_wait(&pool->thread[ith].word, point, pool->spin_ns, 0);
}

static void *work(void *arg)
{
    pool_thread *self = arg;
    tlpi_pool *pool = self->pool;
    const pool_thread *lead = &pool->thread[0];

    for (;;) {
        self->passed++;
        await(pool, 0, self->passed);
        if (!lead->fn)
            return NULL;
        lead->fn(lead->arg, self->ith, pool->n_thread);
        publish(self);
    }
}

tlp_status tlpi_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    static const int faults[] = { SIGSEGV, SIGBUS,  SIGFPE,
                                  SIGILL,  SIGTRAP, SIGABRT };
    sigset_t blocked, before;

    sigfillset(&blocked);
    for (size_t i = 0; i < TLPI_COUNT(faults); i++)
        sigdelset(&blocked, faults[i]);
    /* the new threads inherit the mask */
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int err = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return tlpi_fail(TLP_ENOMEM, "cannot start a thread (error %d)", err);
    return TLP_OK;
}

tlp_status tlpi_pool_create(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_pool_options *opts)
{
    tlp_status st = TLP_OK;
    tlpi_pool *pool = NULL;
    int n = opts->n_thread;

    *out = NULL;
    if (n < 1)
        return tlpi_fail(TLP_EINVAL, "n_thread %d: at least 1 expected", n);
    pool = tlpi_calloc(env, 1, sizeof *pool);
    if (!pool)
        return tlpi_fail_nomem();
    pool->env = env;
    pool->n_thread = n;
    pool->spin_ns = tlpi_spin_ns(TLPI_MAX(n, opts->n_machine));
    pool->workers = tlpi_calloc(env, (size_t)n, sizeof *pool->workers);
    pool->thread = tlpi_calloc(env, (size_t)n, sizeof *pool->thread);
    if (!pool->workers || !pool->thread)
        TLP_TRY(tlpi_fail_nomem());

    for (int i = 0; i < n; i++) {
        pool->thread[i].ith = i;
        pool->thread[i].pool = pool;
    }
    for (int i = 1; i < n; i++) {
        TLP_TRY(
            tlpi_thread_start(&pool->workers[i - 1], work, &pool->thread[i]));
        pool->n_started++;
    }
    if (opts->pin && n > 1)
        tlpi_pin_threads(env, pool->workers, n - 1, opts->first_core + 1);
    *out = pool;
    pool = NULL;
done:
    tlpi_pool_free(pool);
    return st;
}

void tlpi_pool_free(tlpi_pool *pool)
{
    if (!pool)
        return;
    if (pool->n_started > 0) {
        pool->thread[0].fn = NULL;
        publish(&pool->thread[0]);
    }
    for (int i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i], NULL);
    tlpi_free(pool->env, pool->thread);
    tlpi_free(pool->env, pool->workers);
    tlpi_free(pool->env, pool);
}

int tlpi_pool_size(const tlpi_pool *pool)
{
    return pool->n_thread;
}

void tlpi_pool_run(tlpi_pool *pool, tlpi_pool_fn fn, void *arg)
{
    int n = pool->n_thread;

    if (n == 1) {
        fn(arg, 0, 1);
        return;
    }
    pool_thread *self = &pool->thread[0];
    self->fn = fn;
    self->arg = arg;
    publish(self);
    fn(arg, 0, n);
    self->passed++; /* the workers publish the end */
    for (int i = 1; i < n; i++)
        await(pool, i, self->passed);
}

void tlpi_pool_barrier(tlpi_pool *pool, int ith)
{
    if (pool->n_thread == 1)
        return;
    pool_thread *self = &pool->thread[ith];
    publish(self);
    for (int i = 0; i < pool->n_thread; i++)
        if (i != ith)
            await(pool, i, self->passed);
}
