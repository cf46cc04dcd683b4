/*
 * number.c - numbers and messages as text, in the locale "C".
 */
#include "base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tlpi_vsnprintf(char *buf, size_t cap, const char *fmt, va_list args)
{
    tlpi_locale l = tlpi_locale_begin();
    int n = vsnprintf(buf, cap, fmt, args);

    tlpi_locale_end(l);
    return n;
}

int tlpi_snprintf(char *buf, size_t cap, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int n = tlpi_vsnprintf(buf, cap, fmt, args);
    va_end(args);
    return n;
}

double tlpi_strtod(const char *s, char **end)
{
    tlpi_locale l = tlpi_locale_begin();
    double value = strtod(s, end);

    tlpi_locale_end(l);
    return value;
}

const char *tlpi_strerror(int error)
{
    tlpi_locale l = tlpi_locale_begin();
    const char *text = strerror_l(error, l.c ? l.c : l.old);

    tlpi_locale_end(l);
    return text;
}

size_t tlpi_strftime(char *buf, size_t cap, const char *fmt,
                     const struct tm *tm)
{
    tlpi_locale l = tlpi_locale_begin();
    size_t n = strftime(buf, cap, fmt, tm);

    tlpi_locale_end(l);
    return n;
}
