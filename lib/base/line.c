/*
 * line.c - formatted text that is safe to print: one line, valid UTF-8, cut
 * between characters.
 *
 * Messages quote hostile input (keys, names, paths).  No quoted byte may break
 * a log line or control a terminal.
 */
#include <string.h>

#include "base/base.h"
#include "base/number.h"

/*
 * Length in bytes of the UTF-8 character at s (n >= 1 bytes are left), 0 if
 * the bytes are not a character.  Surrogates, overlong forms and codes past
 * U+10FFFF do not count as characters.
 */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    unsigned lo = 0x80, hi = 0xbf; /* of the second byte */
    size_t len;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        len = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        len = 3;
        lo = s[0] == 0xe0 ? 0xa0 : lo;
        hi = s[0] == 0xed ? 0x9f : hi;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        len = 4;
        lo = s[0] == 0xf0 ? 0x90 : lo;
        hi = s[0] == 0xf4 ? 0x8f : hi;
    } else {
        return 0;
    }
    if (n < len || s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* C0 and C1 controls, DEL, and the Unicode line and paragraph separators. */
static bool is_control(const unsigned char *s, size_t len)
{
    if (len == 1)
        return s[0] < 0x20 || s[0] == 0x7f;
    if (len == 2)
        return s[0] == 0xc2 && s[1] < 0xa0;
    return len == 3 && s[0] == 0xe2 && s[1] == 0x80 &&
           (s[2] == 0xa8 || s[2] == 0xa9);
}

size_t tlpi_clean_line(char *text, size_t n, bool cut)
{
    unsigned char *s = (unsigned char *)text;
    size_t out = 0;

    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(s + i, n - i);
        /* A lead byte near the end of a cut text is the start of a cut
         * character. */
        if (len == 0 && cut && n - i < 4 && s[i] >= 0xc2)
            break;
        if (len == 0 || is_control(s + i, len)) {
            i += len ? len : 1;
            s[out++] = '?';
            continue;
        }
        memmove(s + out, s + i, len);
        out += len;
        i += len;
    }
    s[out] = '\0';
    return out;
}

size_t tlpi_format_line(char *buf, size_t cap, const char *fmt, va_list args)
{
    buf[0] = '\0';
    int need = tlpi_vsnprintf(buf, cap, fmt, args);
    if (need < 0)
        return 0;
    bool cut = (size_t)need >= cap;
    return tlpi_clean_line(buf, cut ? cap - 1 : (size_t)need, cut);
}
