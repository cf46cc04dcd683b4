/*
 * number.h - numbers and messages as text, whatever the locale of the process
 * is.  A host may set any locale, at any time, for the process or for a thread.
 *
 * Everything that formats or reads a number with a decimal point, asks the
 * system for a message, or calls a library that does, goes through these
 * functions.  `make check-house` refuses the C library's own in lib/.
 */
#ifndef TLPI_NUMBER_H
#define TLPI_NUMBER_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#if defined(__GNUC__) || defined(__clang__)
#define TLPI_NUMBER_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TLPI_NUMBER_PRINTF(fmt, args)
#endif

/* printf in the locale "C". */
int tlpi_snprintf(char *buf, size_t cap, const char *fmt, ...)
    TLPI_NUMBER_PRINTF(3, 4);
int tlpi_vsnprintf(char *buf, size_t cap, const char *fmt, va_list args)
    TLPI_NUMBER_PRINTF(3, 0);

/* strtod in the locale "C". */
double tlpi_strtod(const char *s, char **end);

/* The system's text for an errno, in English.  It is valid until the next call
 * on the thread. */
const char *tlpi_strerror(int error);

/* strftime with the English names of days and months. */
size_t tlpi_strftime(char *buf, size_t cap, const char *fmt,
                     const struct tm *tm);

/* ==== calls of other libraries =========================================== */

typedef struct tlpi_locale {
    locale_t c, old;
} tlpi_locale;

/*
 * Between begin and end the calling thread is in the locale "C"; other threads
 * see no change.  Inline, because plug-ins use them too.
 */
static inline tlpi_locale tlpi_locale_begin(void)
{
    tlpi_locale l;

    l.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    l.old = uselocale(l.c);
    return l;
}

static inline void tlpi_locale_end(tlpi_locale l)
{
    (void)uselocale(l.old);
    if (l.c)
        freelocale(l.c);
}

#endif
