/*
 * fail_io.h - failures of the system's file calls.
 */
#ifndef TLPI_FAIL_IO_H
#define TLPI_FAIL_IO_H

#include <errno.h>

#include "base/base.h"
#include "base/number.h"

/* TLP_EIO with the text of errno. */
static inline tlp_status tlpi_fail_io(const char *path)
{
    return tlpi_fail(TLP_EIO, "%s: %s", path, tlpi_strerror(errno));
}

#endif
