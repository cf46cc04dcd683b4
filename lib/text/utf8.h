/*
 * utf8.h - walk over bytes that may be UTF-8.
 */
#ifndef TLPI_UTF8_H
#define TLPI_UTF8_H

#include <stddef.h>

typedef enum tlpi_utf8 {
    TLPI_UTF8_CHAR, /* a whole character */
    TLPI_UTF8_CUT,  /* all that is left begins a character but ends inside */
    TLPI_UTF8_BAD   /* no character begins so */
} tlpi_utf8;

/*
 * What stands at s, n >= 1 bytes left; returns its bytes.  For BAD these are
 * the longest run that one U+FFFD stands for (Unicode 3.9, "maximal subpart").
 * Surrogates, overlong forms and codes past U+10FFFF are BAD.
 */
size_t tlpi_utf8_next(const char *s, size_t n, tlpi_utf8 *what);

#endif
