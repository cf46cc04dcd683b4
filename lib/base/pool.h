/*
 * pool.h - a pool of threads that run one function together.
 *
 * The caller is thread 0 of n.  A region costs about a microsecond while the
 * workers are awake; they spin for a while after each region and then sleep.
 */
#ifndef TLPI_POOL_H
#define TLPI_POOL_H

#include <pthread.h>

#include "base/base.h"

typedef struct tlpi_pool tlpi_pool;

/* ith in [0, nth).  Work must be split by ith alone: results then do not
 * depend on scheduling. */
typedef void (*tlpi_pool_fn)(void *arg, int ith, int nth);

typedef struct tlpi_pool_options {
    int n_thread;   /* including the caller, >= 1 */
    int n_machine;  /* threads of all ranks together, for the waiting policy */
    int first_core; /* core of thread 0 when pinning; workers follow it */
    bool pin;       /* bind the workers (never the caller) through hwloc */
} tlpi_pool_options;

tlp_status tlpi_pool_create(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_pool_options *opts);
void tlpi_pool_free(tlpi_pool *pool); /* NULL is fine; joins the workers */

int tlpi_pool_size(const tlpi_pool *pool);

/* Run fn on every thread; returns when all are done. */
void tlpi_pool_run(tlpi_pool *pool, tlpi_pool_fn fn, void *arg);

/* Inside a region: wait until all n threads are here.  Every thread of the
 * region calls it equally often. */
void tlpi_pool_barrier(tlpi_pool *pool, int ith);

/* Start a thread of the library: the host's signals stay with the host's
 * threads, only faults of the thread itself are delivered to it. */
tlp_status tlpi_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

/* Bind n threads to cores first, first + 1, ... (counted over the cores this
 * process may use, modulo their number).  Best effort: failing is logged, not
 * an error. */
void tlpi_pin_threads(const tlpi_env *env, const pthread_t *threads, int n,
                      int first);

/* The same for the calling thread. */
void tlpi_pin_self(const tlpi_env *env, int core);

/* Cores this process may use, at least 1 (affinity mask respected; bindings
 * made by this library do not count). */
int tlpi_n_cores(void);

#endif
