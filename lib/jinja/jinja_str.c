/*
 * jinja_str.c - pieces of strings that methods and filters share.
 */
#include <string.h>

#include "jinja/jinja_run.h"

/* ==== finding, stripping, replacing ====================================== */

size_t tlpi_jstr_find(const tlpi_jstr *s, const tlpi_jstr *part, size_t from)
{
    const char *p = from <= s->n && s->n - from >= part->n
                        ? memmem(s->s + from, s->n - from, part->s, part->n)
                        : NULL;

    return p ? (size_t)(p - s->s) : s->n + 1;
}

size_t tlpi_jstr_rfind(const tlpi_jstr *s, const tlpi_jstr *part, size_t end)
{
    for (size_t i = end + 1; i-- > 0;)
        if (i + part->n <= end && memcmp(s->s + i, part->s, part->n) == 0)
            return i;
    return s->n + 1;
}

/* Does the character at s belong to those that are stripped? */
static bool is_stripped(const tlpi_jstr *chars, const char *s, size_t bytes,
                        uint32_t c)
{
    size_t n;

    if (!chars)
        return tlpi_jchar_is_space(c);
    for (size_t i = 0; i < chars->n; i += n) {
        tlpi_jchar_get(chars->s + i, chars->n - i, &n);
        if (n == bytes && memcmp(chars->s + i, s, n) == 0)
            return true;
    }
    return false;
}

tlpi_jval tlpi_jstr_strip(tlpi_jx *x, const tlpi_jstr *s,
                          const tlpi_jstr *chars, int sides)
{
    size_t from = 0, to = 0, bytes;
    bool begun = !(sides & 1);

    for (size_t i = 0; i < s->n; i += bytes) {
        uint32_t c = tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        if (is_stripped(chars, s->s + i, bytes, c))
            continue;
        if (!begun)
            from = i;
        begun = true;
        to = i + bytes;
    }
    if (!(sides & 2))
        to = s->n;
    if (!begun)
        from = to = s->n;
    tlpi_jx_step(x, s->n / 64);
    return tlpi_j_part(x, s, from, TLPI_MAX(from, to) - from);
}

/* Replacing nothing puts the new text between all characters. */
static void spread(tlpi_jbuf *b, const tlpi_jstr *s, const tlpi_jstr *with,
                   int64_t max)
{
    size_t bytes;

    for (size_t i = 0; i < s->n && b->x->st == TLP_OK; i += bytes) {
        tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        if (max-- != 0)
            tlpi_jbuf_add_str(b, with);
        else
            max = 0;
        tlpi_jbuf_add(b, s, i, bytes);
    }
    if (max != 0)
        tlpi_jbuf_add_str(b, with);
}

tlpi_jval tlpi_jstr_replace(tlpi_jx *x, const tlpi_jstr *s,
                            const tlpi_jstr *old, const tlpi_jstr *with,
                            int64_t max)
{
    tlpi_jbuf b = { .x = x };
    size_t at = 0;

    if (old->n == 0) {
        spread(&b, s, with, max < 0 ? INT64_MAX : max);
        return tlpi_jbuf_value(&b);
    }
    while (max != 0 && tlpi_jx_step(x, 1)) {
        size_t i = tlpi_jstr_find(s, old, at);
        if (i > s->n)
            break;
        tlpi_jbuf_add(&b, s, at, i - at);
        tlpi_jbuf_add_str(&b, with);
        at = i + old->n;
        max -= max > 0;
    }
    tlpi_jbuf_add(&b, s, at, s->n - at);
    return tlpi_jbuf_value(&b);
}

tlpi_jval tlpi_jstr_lines(tlpi_jx *x, const tlpi_jstr *s, bool keep_ends)
{
    tlpi_jval l = tlpi_j_list(x, TLPI_J_PLAIN, 0);
    size_t from = 0, bytes;

    for (size_t i = 0; i < s->n && x->st == TLP_OK; i += bytes) {
        uint32_t c = tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        if (!tlpi_jchar_ends_line(c))
            continue;
        if (c == '\r' && i + 1 < s->n && s->s[i + 1] == '\n')
            bytes = 2;
        size_t end = keep_ends ? i + bytes : i;
        tlpi_j_append(x, l, tlpi_j_part(x, s, from, end - from));
        from = i + bytes;
    }
    if (from < s->n)
        tlpi_j_append(x, l, tlpi_j_part(x, s, from, s->n - from));
    return l;
}

/* ==== case =============================================================== */

static bool begins_word(tlpi_jcase to, bool first, uint32_t before)
{
    if (to == TLPI_JC_CAPITALIZE)
        return first;
    if (to == TLPI_JC_TITLE)
        return first || !tlpi_jchar_is_letter(before);
    return first || tlpi_jchar_is_space(before) ||
           (before < 0x80 && before && strchr("-({[<", (int)before));
}

tlpi_jval tlpi_jstr_case(tlpi_jx *x, const tlpi_jstr *s, tlpi_jcase to)
{
    tlpi_jbuf b = { .x = x };
    uint32_t before = ' ';
    size_t bytes;

    for (size_t i = 0; i < s->n && tlpi_jx_step(x, 1); i += bytes) {
        uint32_t c = tlpi_jchar_get(s->s + i, s->n - i, &bytes), mapped;
        bool upper = to == TLPI_JC_UPPER ||
                     (to != TLPI_JC_LOWER && begins_word(to, i == 0, before));
        char text[4];
        if (!(upper ? tlpi_jchar_to_upper(c, &mapped)
                    : tlpi_jchar_to_lower(c, &mapped)))
            tlpi_jx_fail(x, TLP_ENOTSUP,
                         "the case of the character U+%04X is not supported",
                         (unsigned)c);
        tlpi_jbuf_add_text(&b, text, tlpi_jchar_put(mapped, text),
                           s->data && s->data[i]);
        before = c;
    }
    return tlpi_jbuf_value(&b);
}
