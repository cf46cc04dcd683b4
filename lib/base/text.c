/*
 * text.c - growing text.
 */
#include <string.h>

#include "base/base.h"
#include "base/number.h"

/* Make room for n more bytes and a NUL. */
static bool reserve(tlpi_text *t, size_t n)
{
    size_t need;

    if (t->failed || !tlpi_add(t->len, n, &need) || !tlpi_add(need, 1, &need)) {
        t->failed = true;
        return false;
    }
    if (need <= t->cap)
        return true;
    size_t cap = TLPI_MAX(need, TLPI_MAX(t->cap + t->cap / 2, 64));
    char *data = tlpi_realloc_array(t->env, t->data, cap, 1);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void tlpi_text_add(tlpi_text *t, const char *s, size_t n)
{
    if (!reserve(t, n))
        return;
    if (n > 0)
        memcpy(t->data + t->len, s, n);
    t->len += n;
    t->data[t->len] = '\0';
}

void tlpi_text_printf(tlpi_text *t, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    int n = tlpi_vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        t->failed = true;
    else if (reserve(t, (size_t)n)) {
        tlpi_vsnprintf(t->data + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void tlpi_text_free(tlpi_text *t)
{
    tlpi_free(t->env, t->data);
    t->data = NULL;
    t->len = t->cap = 0;
}
