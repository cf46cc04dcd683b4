/*
 * pool.h - a pool of threads that claim the tasks of a region.
 *
 * The caller is one of n threads.  A region is a list of tasks.  Every thread
 * begins with a range of its own, and then claims tasks from the ranges of
 * other threads.  A region ends when all tasks are done by any of the threads,
 * so a thread that the system keeps off its core delays only the tasks that it
 * has claimed.  A region costs about a microsecond while the workers are awake.
 *
 * A worker that keeps a claimed task for long, while the caller has nothing
 * left to do, is set aside for some milliseconds: its core is needed elsewhere.
 */
#ifndef TLPI_POOL_H
#define TLPI_POOL_H

#include <pthread.h>

#include "base/base.h"
#include "base/cores.h"

typedef struct tlpi_pool tlpi_pool;

/* What a thread is doing in a region.  The fields are read only. */
typedef struct tlpi_turn {
    int task; /* in [0, n_task), claimed by this thread alone */
    int slot; /* in [0, n_thread); no other thread has it meanwhile */
    int n_claimed;
    int n_alone;     /* tasks of a region on the caller alone */
    tlpi_pool *pool; /* NULL: on the caller alone */
} tlpi_turn;

/*
 * Do the task of the turn, and the tasks that tlpi_turn_next claims after it.
 * Any thread may do any task, in any order, so a result must not depend on who
 * does a task.  Memory of a thread is found by its slot.
 */
typedef void (*tlpi_turn_fn)(void *arg, tlpi_turn *turn);

/* Do task i of n. */
typedef void (*tlpi_task_fn)(void *arg, int i, int n);

typedef struct tlpi_pool_options {
    int n_thread;            /* including the caller, 1 to TLPI_MAX_THREAD */
    int n_machine;           /* threads of all ranks on this machine, for the
                                waiting policy */
    int n_core;              /* cores for them; 0 = tlpi_n_cores() */
    int spin_us;             /* tlpi_spin_make */
    const tlpi_cores *cores; /* bind the workers (never the caller) to these;
                                NULL = do not bind */
    int first_core;          /* core of the caller; workers follow it */
    tlp_pool host;           /* threads of the host program; run = NULL: the
                                pool starts its own */
} tlpi_pool_options;

tlp_status tlpi_pool_create(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_pool_options *opts);
void tlpi_pool_free(tlpi_pool *pool); /* joins the workers; NULL is allowed */

/* Threads of the pool, and those that regions use now. */
int tlpi_pool_size(const tlpi_pool *pool);
int tlpi_pool_in_use(const tlpi_pool *pool);

/* Use the first n threads from the next region on; at first all are used.  The
 * other threads sleep. */
void tlpi_pool_use(tlpi_pool *pool, int n);

/* Run a region of n_task tasks; returns when all tasks are done. */
void tlpi_pool_run(tlpi_pool *pool, int n_task, tlpi_turn_fn fn, void *arg);

/* Claim the turn's next task; false when no task is left. */
bool tlpi_turn_next(tlpi_turn *turn);

/* Run a region whose tasks need no memory of their thread. */
void tlpi_pool_map(tlpi_pool *pool, int n_task, tlpi_task_fn fn, void *arg);

/* Start a thread of the library.  It blocks the host program's signals and
 * accepts only signals for its own faults. */
tlp_status tlpi_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
