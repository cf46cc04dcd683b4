/*
 * quiet_write.h - writing to a file without ending the host.
 */
#ifndef TLPI_QUIET_WRITE_H
#define TLPI_QUIET_WRITE_H

#include <stddef.h>
#include <sys/types.h>

/* write() without SIGXFSZ: a file beyond the limit of file sizes (RLIMIT_FSIZE)
 * gives EFBIG, whatever the host does with the signal. */
ssize_t tlpi_quiet_write(int fd, const void *data, size_t n);

#endif
