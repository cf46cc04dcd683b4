/*
 * utf8.h - walk over bytes that may be UTF-8.
 */
#ifndef TLPI_UTF8_H
#define TLPI_UTF8_H

#include <stddef.h>

typedef enum tlpi_utf8 {
    TLPI_UTF8_CHAR, /* a whole character */
    TLPI_UTF8_CUT,  /* the bytes left begin a character and end inside it */
    TLPI_UTF8_BAD   /* no character begins with these bytes */
} tlpi_utf8;

/*
 * Look at s, where n >= 1 bytes are left; returns the length of this character
 * or these bytes. BAD bytes are the longest run that one U+FFFD replaces
 * (Unicode 3.9, "maximal subpart"). Surrogates, overlong forms and codes past
 * U+10FFFF are BAD.
 */
size_t tlpi_utf8_next(const char *s, size_t n, tlpi_utf8 *what);

#endif
