/*
 * thread.c - starting a thread of the library.
 */
#include <signal.h>

#include "base/pool.h"

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
