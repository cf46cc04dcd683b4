/*
 * fail_io.h - failures of the system's file calls.
 */
#ifndef TLPI_FAIL_IO_H
#define TLPI_FAIL_IO_H

#include <errno.h>
#include <string.h>

#include "base/base.h"

/* TLP_EIO with the text of errno. */
static inline tlp_status tlpi_fail_io(const char *path)
{
    char text[128];
    int error = errno;

    return tlpi_fail(TLP_EIO, "%s: %s", path,
                     strerror_r(error, text, sizeof text));
}

#endif
