/*
 * start.c - starting MPI if the program did not, locking its calls, and ending
 * it at exit if the plug-in started it.
 *
 * MPI_Init_thread waits for all processes of the job without a deadline, so it
 * runs in a thread that can be abandoned.
 */
#include "mpi_transport.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/number.h"

enum { START_NONE, START_RUNNING, START_READY, START_FAILED };

/* Seconds to wait for the peers at exit.  Rank 0 waits briefly, because its
 * peers have nothing left to do.  The other ranks wait longer, because rank 0
 * may still work and mpirun would end it if they left. */
#define EXIT_SECONDS_FIRST 5.0
#define EXIT_SECONDS_OTHER 60.0

tlpi_mpi_process tlpi_mpi = {
    .opening = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .keyval = MPI_KEYVAL_INVALID,
};

tlp_status tlpi_mpi_fail(char *err, size_t cap, tlp_status status,
                         const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tlpi_locale l = tlpi_locale_begin();
    if (cap > 0)
        vsnprintf(err, cap, fmt, args);
    tlpi_locale_end(l);
    va_end(args);
    return status;
}

tlp_status tlpi_mpi_check(char *err, size_t cap, int rc, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n;

    if (rc == MPI_SUCCESS)
        return TLP_OK;
    MPI_Error_string(rc, text, &n);
    return tlpi_mpi_fail(err, cap, TLP_ECOMM, "%s: %s", what, text);
}

double tlpi_mpi_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void tlpi_mpi_nap(long microseconds)
{
    nanosleep(&(struct timespec){ 0, microseconds * 1000 }, NULL);
}

/* ==== leaving ============================================================ */

static void leave(void)
{
    if (atomic_exchange(&tlpi_mpi.ended, true))
        return;
    for (tlpi_endpoint *e = atomic_load(&tlpi_mpi.endpoints); e; e = e->next)
        if (e->state == TLPI_RENDEZVOUS_READY)
            tlpi_liveness_leave(&e->liveness);
}

/* MPI_Finalize first deletes the attributes of MPI_COMM_SELF. */
static int on_finalize(MPI_Comm comm, int keyval, void *value, void *state)
{
    (void)comm, (void)keyval, (void)value, (void)state;
    leave();
    return MPI_SUCCESS;
}

/* Wait until all processes have reached their exit; false if one does not. */
static bool all_leave(tlpi_endpoint *world)
{
    double patience =
        world->base.rank == 0 ? EXIT_SECONDS_FIRST : EXIT_SECONDS_OTHER;
    double deadline = tlpi_mpi_now() + patience;
    MPI_Request request;
    int done = 0;

    if (MPI_Ibarrier(world->comm, &request) != MPI_SUCCESS)
        return false;
    for (;;) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return false;
        if (done)
            return true;
        if (tlpi_mpi_now() > deadline ||
            tlpi_liveness_peer_lost(&world->liveness))
            return false;
        tlpi_mpi_nap(200);
    }
}

/*
 * MPI_Finalize would wait for ever for a process that has ended early.  Then
 * it is not called, and mpirun reports the failure.
 */
static void at_exit(void)
{
    tlpi_endpoint *world = atomic_load(&tlpi_mpi.endpoints);
    int finalized;

    MPI_Finalized(&finalized);
    if (finalized || getpid() != tlpi_mpi.pid)
        return;
    leave();
    while (world && !world->is_world)
        world = world->next;
    if (!world || world->state != TLPI_RENDEZVOUS_READY)
        return;
    /* A thread that is inside an MPI call may never return. */
    for (int i = 0; pthread_mutex_trylock(&tlpi_mpi.lock) != 0; i++) {
        if (i == 100)
            return;
        tlpi_mpi_nap(1000);
    }
    if (all_leave(world))
        MPI_Finalize();
    pthread_mutex_unlock(&tlpi_mpi.lock);
}

/* ==== starting =========================================================== */

static void *start_mpi(void *arg)
{
    int level = MPI_THREAD_SINGLE;
    int rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);

    (void)arg;
    if (rc == MPI_SUCCESS && level >= MPI_THREAD_SERIALIZED) {
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
        MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
        atomic_store(&tlpi_mpi.start, START_READY);
    } else {
        atomic_store(&tlpi_mpi.start, START_FAILED);
    }
    return NULL;
}

/* Block the program's signals in this thread. */
static tlp_status launch(char *err, size_t cap)
{
    sigset_t all, before;
    pthread_t thread;

    tlpi_mpi.ours = true;
    tlpi_mpi.pid = getpid();
    atomic_store(&tlpi_mpi.start, START_RUNNING);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    int rc = pthread_create(&thread, NULL, start_mpi, NULL);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        atomic_store(&tlpi_mpi.start, START_NONE);
        return tlpi_mpi_fail(err, cap, TLP_ERROR,
                             "thread to start MPI: error %d", rc);
    }
    pthread_detach(thread);
    return TLP_OK;
}

static tlp_status await_start(double deadline, char *err, size_t cap)
{
    while (atomic_load(&tlpi_mpi.start) == START_RUNNING) {
        if (tlpi_mpi_now() > deadline) {
            const char *n = getenv("OMPI_COMM_WORLD_SIZE");

            return tlpi_mpi_fail(err, cap, TLP_ETIMEDOUT,
                                 "MPI has not started: not all %s processes of "
                                 "the job have come to start it",
                                 n ? n : "");
        }
        tlpi_mpi_nap(1000);
    }
    if (atomic_load(&tlpi_mpi.start) == START_FAILED)
        return tlpi_mpi_fail(err, cap, TLP_ENOTSUP,
                             "MPI_Init_thread failed, or this MPI has no "
                             "MPI_THREAD_SERIALIZED");
    return TLP_OK;
}

/* Set up attributes once, after MPI was started by the program or here. */
static tlp_status prepare(char *err, size_t cap)
{
    int self;

    if (tlpi_mpi.keyval != MPI_KEYVAL_INVALID)
        return TLP_OK;
    if (tlpi_mpi.ours && atexit(at_exit) != 0)
        return tlpi_mpi_fail(err, cap, TLP_ENOMEM, "out of memory");

    int rc =
        MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize, &self, NULL);

    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_set_attr(MPI_COMM_SELF, self, &tlpi_mpi);
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN,
                                    MPI_COMM_NULL_DELETE_FN, &tlpi_mpi.keyval,
                                    NULL);
    return tlpi_mpi_check(err, cap, rc, "MPI_Comm_create_keyval");
}

/* Find the threads that may call when the program has started MPI. */
static tlp_status check_threads(char *err, size_t cap)
{
    int level, is_main;

    MPI_Query_thread(&level);
    if (level >= MPI_THREAD_SERIALIZED)
        return TLP_OK;
    MPI_Is_thread_main(&is_main);
    if (!is_main)
        return tlpi_mpi_fail(err, cap, TLP_ENOTSUP,
                             "MPI was started without MPI_THREAD_SERIALIZED: "
                             "only its main thread may call");
    tlpi_mpi.one_thread = true;
    tlpi_mpi.main = pthread_self();
    return TLP_OK;
}

tlp_status tlpi_mpi_start(double deadline, char *err, size_t cap)
{
    int initialized, finalized;
    tlp_status st = TLP_OK;

    if (tlpi_mpi.pid && tlpi_mpi.pid != getpid())
        return tlpi_mpi_fail(err, cap, TLP_ESTATE,
                             "MPI belongs to process %d, of which this is a "
                             "child",
                             (int)tlpi_mpi.pid);
    MPI_Finalized(&finalized);
    if (finalized || atomic_load(&tlpi_mpi.ended))
        return tlpi_mpi_fail(err, cap, TLP_ENOTSUP, "MPI has been finalized");
    MPI_Initialized(&initialized);
    if (atomic_load(&tlpi_mpi.start) == START_NONE && initialized) {
        tlpi_mpi.pid = getpid();
        atomic_store(&tlpi_mpi.start, START_READY);
    }
    if (atomic_load(&tlpi_mpi.start) == START_NONE)
        TLP_TRY(launch(err, cap));
    TLP_TRY(await_start(deadline, err, cap));
    TLP_TRY(check_threads(err, cap));
    TLP_TRY(prepare(err, cap));
done:
    return st;
}

tlp_status tlpi_mpi_enter(char *err, size_t cap)
{
    if (tlpi_mpi.one_thread && !pthread_equal(pthread_self(), tlpi_mpi.main))
        return tlpi_mpi_fail(err, cap, TLP_ENOTSUP,
                             "MPI was started without MPI_THREAD_SERIALIZED: "
                             "only its main thread may call");
    pthread_mutex_lock(&tlpi_mpi.lock);
    if (!atomic_load_explicit(&tlpi_mpi.ended, memory_order_relaxed))
        return TLP_OK;
    pthread_mutex_unlock(&tlpi_mpi.lock);
    return tlpi_mpi_fail(err, cap, TLP_ECOMM, "MPI has been finalized");
}
