/*
 * pool.h - a pool of threads that run one function together.
 *
 * The caller is thread 0 of n.  A region costs about a microsecond while the
 * workers are awake.  Workers spin for a while after each region, then sleep.
 */
#ifndef TLPI_POOL_H
#define TLPI_POOL_H

#include <pthread.h>

#include "base/base.h"

typedef struct tlpi_pool tlpi_pool;

/* ith in [0, nth).  Split work by ith alone: results then do not depend on
 * scheduling. */
typedef void (*tlpi_pool_fn)(void *arg, int ith, int nth);

typedef struct tlpi_pool_options {
    int n_thread;   /* including the caller, >= 1 */
    int n_machine;  /* threads of all ranks on this machine, for the waiting
                       policy */
    int first_core; /* core of thread 0 when pinning; workers follow it */
    bool pin;       /* bind the workers (never the caller) through hwloc */
} tlpi_pool_options;

tlp_status tlpi_pool_create(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_pool_options *opts);
void tlpi_pool_free(tlpi_pool *pool); /* joins the workers; NULL is allowed */

int tlpi_pool_size(const tlpi_pool *pool);

/* Run fn on every thread; returns when all threads have finished. */
void tlpi_pool_run(tlpi_pool *pool, tlpi_pool_fn fn, void *arg);

/* Inside a region: wait until all n threads have called this.  Every thread of
 * the region makes the same number of calls. */
void tlpi_pool_barrier(tlpi_pool *pool, int ith);

/* Start a thread of the library.  It blocks the host program's signals and
 * accepts only signals for its own faults. */
tlp_status tlpi_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

/* Bind n threads to cores first, first + 1, ... counted over the cores that
 * this process may use, modulo their number.  A failure is logged and
 * ignored. */
void tlpi_pin_threads(const tlpi_env *env, const pthread_t *threads, int n,
                      int first);

/* Bind the calling thread to a core, counted as in tlpi_pin_threads. */
void tlpi_pin_self(const tlpi_env *env, int core);

/* Number of cores that this process may use, at least 1.  The affinity mask
 * counts; bindings made by this library do not. */
int tlpi_n_cores(void);

#endif
