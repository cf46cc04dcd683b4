/*
 * quiet_write.c - writing to a file without ending the host.
 */
#include "file/quiet_write.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

/* The signal goes to the thread that writes, so that blocking it there and
 * taking it away is enough.  A signal of the host's that waits already stays.
 */
ssize_t tlpi_quiet_write(int fd, const void *data, size_t n)
{
    const struct timespec now = { 0 };
    sigset_t xfsz, before, pending;

    sigemptyset(&xfsz);
    sigaddset(&xfsz, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &xfsz, &before);
    sigpending(&pending);
    ssize_t put = write(fd, data, n);
    bool too_big = put < 0 && errno == EFBIG;
    if (too_big && !sigismember(&pending, SIGXFSZ))
        (void)sigtimedwait(&xfsz, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (too_big)
        errno = EFBIG;
    return put;
}
