/*
 * utf8.c - walk over bytes that may be UTF-8.
 */
#include <stdint.h>

#include "text/utf8.h"

/* The length that a lead byte announces (0: not a lead byte), and the range of
 * the second byte, which depends on the lead byte. */
static size_t lead(uint8_t c, uint8_t *lo, uint8_t *hi)
{
    *lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    *hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t tlpi_utf8_next(const char *s, size_t n, tlpi_utf8 *what)
{
    uint8_t lo, hi;
    size_t len = lead((uint8_t)s[0], &lo, &hi);

    *what = TLPI_UTF8_BAD;
    if (len == 0)
        return 1;
    for (size_t i = 1; i < len; i++) {
        if (i == n) {
            *what = TLPI_UTF8_CUT;
            return n;
        }
        uint8_t c = (uint8_t)s[i];
        if (c < lo || c > hi)
            return i;
        lo = 0x80;
        hi = 0xbf;
    }
    *what = TLPI_UTF8_CHAR;
    return len;
}
