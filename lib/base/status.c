/*
 * status.c - names of statuses, and the text of the last failure.
 *
 * The text is the library's only mutable state outside its handles: one line
 * of valid UTF-8 for each thread.
 */
#include <stdalign.h>
#include <string.h>

#include "base/base.h"

#define ERROR_CAP 512

/* Aligned: session_call.c uses bit 0 of its address. */
static _Thread_local alignas(8) char last_error[ERROR_CAP];

const char *tlp_status_name(tlp_status status)
{
#define CASE(name)                                                             \
    case name:                                                                 \
        return #name
    switch (status) {
        CASE(TLP_OK);
        CASE(TLP_ERROR);
        CASE(TLP_EINVAL);
        CASE(TLP_ENOMEM);
        CASE(TLP_EIO);
        CASE(TLP_EFORMAT);
        CASE(TLP_ENOTSUP);
        CASE(TLP_EFULL);
        CASE(TLP_EBUFS);
        CASE(TLP_ESTATE);
        CASE(TLP_ECANCELED);
        CASE(TLP_EDEVICE);
        CASE(TLP_ECOMM);
        CASE(TLP_EABI);
        CASE(TLP_ETIMEDOUT);
        CASE(TLP_EMISMATCH);
        CASE(TLP_EUNREACHED);
        CASE(TLP_ENOGAIN);
        CASE(TLP_ECLOSED);
        CASE(TLP_EBUSY);
    }
#undef CASE
    return "TLP_E?";
}

const char *tlp_status_text(tlp_status status)
{
    switch (status) {
    case TLP_OK:
        return "success";
    case TLP_ERROR:
        return "unspecified failure";
    case TLP_EINVAL:
        return "invalid argument";
    case TLP_ENOMEM:
        return "out of memory";
    case TLP_EIO:
        return "read or write failed";
    case TLP_EFORMAT:
        return "malformed file or text";
    case TLP_ENOTSUP:
        return "not supported";
    case TLP_EFULL:
        return "context is full";
    case TLP_EBUFS:
        return "buffer too small";
    case TLP_ESTATE:
        return "call out of order";
    case TLP_ECANCELED:
        return "canceled";
    case TLP_EDEVICE:
        return "device fault";
    case TLP_ECOMM:
        return "a peer rank failed";
    case TLP_EABI:
        return "struct is newer than the library";
    case TLP_ETIMEDOUT:
        return "a peer rank did not answer in time";
    case TLP_EMISMATCH:
        return "things that must agree do not";
    case TLP_EUNREACHED:
        return "target out of reach";
    case TLP_ENOGAIN:
        return "no adjustment helps";
    case TLP_ECLOSED:
        return "nothing more will come";
    case TLP_EBUSY:
        return "no room at the moment";
    }
    return "unknown status";
}

const char *tlp_last_error(void)
{
    return last_error;
}

tlp_status tlpi_fail(tlp_status status, const char *fmt, ...)
{
    /* The arguments may point into last_error, so format into a copy first. */
    char line[ERROR_CAP];
    va_list args;

    va_start(args, fmt);
    size_t n = tlpi_format_line(line, sizeof line, fmt, args);
    va_end(args);
    memcpy(last_error, line, n + 1);
    return status;
}

static tlp_status fail_nomem(const char *purpose)
{
    size_t n = tlpi_alloc_take_missing();

    if (n == SIZE_MAX)
        return tlpi_fail(
            TLP_ENOMEM,
            "out of memory: more bytes than can be addressed for %s", purpose);
    if (n > 0)
        return tlpi_fail(TLP_ENOMEM, "out of memory: %zu bytes for %s", n,
                         purpose);
    return tlpi_fail(TLP_ENOMEM, "out of memory for %s", purpose);
}

tlp_status tlpi_fail_nomem_for(const char *fmt, ...)
{
    char purpose[ERROR_CAP];
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(purpose, sizeof purpose, fmt, args);
    va_end(args);
    return fail_nomem(purpose);
}

tlp_status tlpi_fail_prefix(tlp_status status, const char *fmt, ...)
{
    char prefix[ERROR_CAP];
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(prefix, sizeof prefix, fmt, args);
    va_end(args);
    return tlpi_fail(status, "%s%s", prefix, last_error);
}
