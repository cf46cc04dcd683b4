/*
 * json.c - print JSON: always valid, on one line.
 */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bytes of the UTF-8 character at s, of which `left` bytes follow; 0 if it is
 * invalid. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xc2 ? 0
               : s[0] < 0xe0 ? 2
               : s[0] < 0xf0 ? 3
               : s[0] < 0xf5 ? 4
                             : 0;

    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || /* overlong */
        (s[0] == 0xed && s[1] > 0x9f) || /* a surrogate */
        (s[0] == 0xf0 && s[1] < 0x90) || /* overlong */
        (s[0] == 0xf4 && s[1] > 0x8f))   /* above U+10FFFF */
        return 0;
    return n;
}

static void put_string(FILE *f, const char *text, size_t n_text)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + n_text;

    putc('"', f);
    while (s < end) {
        size_t n = utf8_length(s, (size_t)(end - s));

        if (n == 0)
            fputs("\\ufffd", f);
        else if (*s < ' ' || *s == 0x7f)
            fprintf(f, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
    putc('"', f);
}

static void put_key(json *j, const char *key)
{
    if (j->follows)
        putc(',', j->file);
    j->follows = true;
    if (key) {
        put_string(j->file, key, strlen(key));
        putc(':', j->file);
    }
}

void json_open(json *j, const char *key, char bracket)
{
    put_key(j, key);
    putc(bracket, j->file);
    j->follows = false;
}

void json_close(json *j, char bracket)
{
    putc(bracket, j->file);
    j->follows = true;
}

void json_text(json *j, const char *key, const char *value)
{
    json_bytes(j, key, value, strlen(value));
}

void json_bytes(json *j, const char *key, const char *value, size_t n)
{
    put_key(j, key);
    put_string(j->file, value, n);
}

void json_int(json *j, const char *key, int64_t value)
{
    put_key(j, key);
    fprintf(j->file, "%" PRId64, value);
}

void json_number(json *j, const char *key, double value)
{
    put_key(j, key);
    if (isfinite(value))
        fprintf(j->file, "%.9g", value);
    else
        fputs("null", j->file);
}

void json_key(json *j, const char *key, size_t n)
{
    put_key(j, NULL);
    put_string(j->file, key, n);
    putc(':', j->file);
    j->follows = false;
}

void json_flag(json *j, const char *key, bool value)
{
    put_key(j, key);
    fputs(value ? "true" : "false", j->file);
}

void json_nothing(json *j, const char *key)
{
    put_key(j, key);
    fputs("null", j->file);
}

bool json_is_utf8(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;

    for (size_t at = 0, k; at < n; at += k)
        if ((k = utf8_length(s + at, n - at)) == 0)
            return false;
    return true;
}
