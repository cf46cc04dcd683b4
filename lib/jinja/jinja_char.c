/*
 * jinja_char.c - characters as Python's str sees them.
 *
 * ASCII is decided here.  Beyond ASCII, classes and simple case mappings come
 * from the system's locale C.UTF-8, which does not depend on the process's
 * locale; where it is missing, characters beyond ASCII have no class.
 */
#include <langinfo.h>
#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <wctype.h>

#include "jinja/jinja_text.h"

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t unicode; /* set once; lives as long as the process */

static void open_locale(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t get_locale(void)
{
    pthread_once(&locale_once, open_locale);
    return unicode;
}

uint32_t tlpi_jchar_get(const char *s, size_t n, size_t *bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    static const uint32_t mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    size_t len = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

    if (len > n || (u[0] >= 0x80 && u[0] < 0xc2)) {
        *bytes = 1;
        return 0xfffd;
    }
    uint32_t c = u[0] & mask[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (u[i] & 0x3f);
    *bytes = len;
    return c;
}

size_t tlpi_jchar_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(lead[n] | c);
    return n;
}

static bool begins_char(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

size_t tlpi_jchar_count(const tlpi_jstr *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += begins_char(s->s[i]);
    return n;
}

size_t tlpi_jchar_offset(const tlpi_jstr *s, size_t i)
{
    size_t at = 0;

    while (at < s->n && (i > 0 || !begins_char(s->s[at])))
        i -= begins_char(s->s[at++]);
    return at;
}

bool tlpi_jchar_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 ||
           c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool tlpi_jchar_ends_line(uint32_t c)
{
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 ||
           c == 0x2028 || c == 0x2029;
}

/* Characters of Unicode's class Cf, which Python escapes in repr. */
static bool is_format_control(uint32_t c)
{
    return c == 0xad || (c >= 0x600 && c <= 0x605) || c == 0x61c ||
           c == 0x6dd || c == 0x70f || c == 0x180e ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || c == 0xe0001 ||
           (c >= 0xe0020 && c <= 0xe007f);
}

bool tlpi_jchar_is_printable(uint32_t c)
{
    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    locale_t l = get_locale();
    return l && !tlpi_jchar_is_space(c) && !is_format_control(c) &&
           iswprint_l((wint_t)c, l);
}

bool tlpi_jchar_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    locale_t l = get_locale();
    return l && iswalpha_l((wint_t)c, l);
}

bool tlpi_jchar_is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

bool tlpi_jchar_is_upper(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z';
    locale_t l = get_locale();
    return l && iswupper_l((wint_t)c, l);
}

bool tlpi_jchar_is_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z';
    locale_t l = get_locale();
    return l && iswlower_l((wint_t)c, l);
}

/* Characters whose case has several characters or depends on the word
 * (Unicode's SpecialCasing). */
static bool has_special_case(uint32_t c)
{
    return c == 0xdf || c == 0x130 || c == 0x149 || c == 0x1f0 || c == 0x345 ||
           c == 0x390 || c == 0x3a3 || c == 0x3b0 || c == 0x587 ||
           (c >= 0x1c4 && c <= 0x1cc) || (c >= 0x1f1 && c <= 0x1f3) ||
           (c >= 0x10d0 && c <= 0x10ff) || (c >= 0x1e96 && c <= 0x1e9e) ||
           (c >= 0x1f50 && c <= 0x1ffc) || (c >= 0xfb00 && c <= 0xfb17);
}

bool tlpi_jchar_to_upper(uint32_t c, uint32_t *out)
{
    if (c < 0x80) {
        *out = c >= 'a' && c <= 'z' ? c - 32 : c;
        return true;
    }
    locale_t l = get_locale();
    *out = l ? (uint32_t)towupper_l((wint_t)c, l) : c;
    return l && !has_special_case(c);
}

bool tlpi_jchar_to_lower(uint32_t c, uint32_t *out)
{
    if (c < 0x80) {
        *out = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return true;
    }
    locale_t l = get_locale();
    *out = l ? (uint32_t)towlower_l((wint_t)c, l) : c;
    return l && !has_special_case(c);
}
