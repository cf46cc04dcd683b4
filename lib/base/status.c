/*
 * status.c - names of statuses, and the text of the last failure.
 *
 * The text is the library's only mutable state outside its handles: one line
 * of valid UTF-8 for each thread.
 */
#include <string.h>

#include "base/base.h"

#define ERROR_CAP 512

static _Thread_local char last_error[ERROR_CAP];

const char *tlp_status_name(tlp_status status)
{
    switch (status) {
#define X(name, value, text)                                                   \
    case TLP_##name:                                                           \
        return "TLP_" #name;
        TLP_STATUS_MAP(X)
#undef X
    }
    return "TLP_E?";
}

const char *tlp_status_text(tlp_status status)
{
    switch (status) {
#define X(name, value, text)                                                   \
    case TLP_##name:                                                           \
        return text;
        TLP_STATUS_MAP(X)
#undef X
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

tlp_status tlpi_fail_nomem(void)
{
    static const char text[] = "out of memory";

    memcpy(last_error, text, sizeof text);
    return TLP_ENOMEM;
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
