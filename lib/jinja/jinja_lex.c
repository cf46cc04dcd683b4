/*
 * jinja_lex.c - a template's text and tags as tokens, with the white space
 * rules of Jinja's lexer under trim_blocks and lstrip_blocks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "jinja/jinja_tree.h"

typedef struct jinja_lexer {
    tlpi_jx *x;
    const char *s;
    size_t n, at;
    bool line_starting; /* what was read last ended a line */
    tlpi_jtoken *token;
    size_t n_token, cap;
} jinja_lexer;

enum { MAX_BRACKETS = 200 };

/* ==== helpers ============================================================ */

static bool looking_at(const jinja_lexer *l, size_t at, const char *text)
{
    size_t n = strlen(text);

    return l->n - at >= n && memcmp(l->s + at, text, n) == 0;
}

static size_t skip_space(const jinja_lexer *l, size_t at)
{
    size_t bytes;

    while (at < l->n &&
           tlpi_jchar_is_space(tlpi_jchar_get(l->s + at, l->n - at, &bytes)))
        at += bytes;
    return at;
}

static void fail_at(jinja_lexer *l, size_t at, const char *text)
{
    l->x->at = at;
    tlpi_jx_fail(l->x, TLP_EFORMAT, "%s", text);
}

static tlpi_jtoken *add_token(jinja_lexer *l, tlpi_jtoken_kind kind, size_t at)
{
    if (l->n_token == l->cap) {
        size_t cap = 2 * l->cap + 64;
        tlpi_jtoken *t = tlpi_jx_alloc(l->x, cap * sizeof *t);
        if (!t)
            return NULL;
        if (l->n_token > 0)
            memcpy(t, l->token, l->n_token * sizeof *t);
        l->token = t;
        l->cap = cap;
    }
    tlpi_jtoken *t = &l->token[l->n_token++];
    t->kind = kind;
    t->at = at;
    return t;
}

static void set_text(jinja_lexer *l, tlpi_jtoken *t, const char *s, size_t n)
{
    tlpi_jstr whole = { .s = s, .n = n };

    if (t)
        t->value = tlpi_j_part(l->x, &whole, 0, n);
}

/* ==== text between tags ================================================== */

/* Bytes of s[0, n) without the white space at its end. */
static size_t strip_end(const char *s, size_t n)
{
    tlpi_jstr text = { .s = s, .n = n };
    size_t end = 0, bytes;

    for (size_t i = 0; i < text.n; i += bytes)
        if (!tlpi_jchar_is_space(tlpi_jchar_get(s + i, n - i, &bytes)))
            end = i + bytes;
    return end;
}

/* Where the last line of s[from, to) begins, if only white space, and some,
 * stands in it and a line really begins there; else `to`. */
static size_t strip_line(const jinja_lexer *l, size_t from, size_t to)
{
    size_t begin = to;

    while (begin > from && l->s[begin - 1] != '\n')
        begin--;
    if (begin == from && !l->line_starting)
        return to;
    return skip_space(l, begin) >= to ? begin : to;
}

/* Text [from, to) before a tag with that sign ('-', '+' or another). */
static void add_text(jinja_lexer *l, size_t from, size_t to, char sign,
                     bool lstrip)
{
    if (sign == '-')
        to = from + strip_end(l->s + from, to - from);
    else if (sign != '+' && lstrip)
        to = strip_line(l, from, to);
    if (to > from)
        set_text(l, add_token(l, TLPI_JT_TEXT, from), l->s + from, to - from);
}

/* After the end mark of a block or comment at `at`: "-" before it takes all
 * white space, "+" before it nothing, else a newline goes. */
static size_t after_end(const jinja_lexer *l, size_t at, char sign)
{
    if (sign == '-')
        return skip_space(l, at);
    return sign != '+' && at < l->n && l->s[at] == '\n' ? at + 1 : at;
}

static void move_to(jinja_lexer *l, size_t at)
{
    l->line_starting = at > 0 && l->s[at - 1] == '\n';
    l->at = at;
}

static void lex_comment(jinja_lexer *l)
{
    size_t begin = l->at - 2;
    size_t from = l->at + (l->at < l->n && strchr("-+", l->s[l->at]) != NULL);
    const char *end =
        from <= l->n ? memmem(l->s + from, l->n - from, "#}", 2) : NULL;

    if (!end) {
        fail_at(l, begin, "a comment does not end");
        return;
    }
    size_t at = (size_t)(end - l->s);
    char sign = at > from ? l->s[at - 1] : ' ';
    move_to(l, after_end(l, at + 2, sign));
}

/* ==== raw blocks ========================================================= */

/* The end of a tag {% WORD %} whose word is looked for at `at`; 0 for other
 * tags.  The sign before its end mark goes to *sign. */
static size_t match_word_tag(const jinja_lexer *l, size_t at, const char *word,
                             char *sign)
{
    at = skip_space(l, at);
    if (!looking_at(l, at, word))
        return 0;
    at = skip_space(l, at + strlen(word));
    *sign = at < l->n && (l->s[at] == '-' || l->s[at] == '+') ? l->s[at] : ' ';
    at += *sign != ' ';
    return looking_at(l, at, "%}") ? at + 2 : 0;
}

/* If the tag whose inside begins at l->at is {% raw %}: text up to endraw. */
static bool lex_raw(jinja_lexer *l)
{
    char sign = ' ';
    size_t from = match_word_tag(l, l->at, "raw", &sign);

    if (from == 0 || sign == '+')
        return false;
    if (sign == '-')
        from = skip_space(l, from);
    move_to(l, from);
    for (size_t i = from; i + 1 < l->n; i++) {
        if (!looking_at(l, i, "{%"))
            continue;
        char first = i + 2 < l->n ? l->s[i + 2] : ' ';
        size_t inside = i + 2 + (first == '-' || first == '+');
        size_t end = match_word_tag(l, inside, "endraw", &sign);
        if (end == 0)
            continue;
        add_text(l, from, i, first, true);
        move_to(l, after_end(l, end, sign));
        return true;
    }
    fail_at(l, l->at, "a raw block does not end");
    return true;
}

/* ==== inside tags ======================================================== */

static uint32_t read_hex(const char *s, size_t n, bool *ok)
{
    uint32_t c = 0;

    for (size_t i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef";
        const char *p = s[i] ? strchr(digits, s[i] | 0x20) : NULL;
        *ok = *ok && p && s[i] != ' ';
        c = c * 16 + (p ? (uint32_t)(p - digits) : 0);
    }
    return c;
}

static const char escapes[][2] = {
    { 'n', '\n' }, { 't', '\t' }, { 'r', '\r' }, { '\\', '\\' }, { '\'', '\'' },
    { '"', '"' },  { 'a', '\a' }, { 'b', '\b' }, { 'f', '\f' },  { 'v', '\v' },
};

/* One escape at s (behind the backslash), n bytes left; its bytes, 0 where it
 * is not supported. */
static size_t unescape(tlpi_jbuf *b, const char *s, size_t n)
{
    size_t digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
    bool ok = n > digits;
    char text[4];

    if (*s == '\n')
        return 1;
    for (size_t i = 0; i < TLPI_COUNT(escapes); i++)
        if (*s == escapes[i][0]) {
            tlpi_jbuf_add_text(b, &escapes[i][1], 1, false);
            return 1;
        }
    if (digits > 0) {
        uint32_t c = ok ? read_hex(s + 1, digits, &ok) : 0;
        if (!ok || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return 0;
        tlpi_jbuf_add_text(b, text, tlpi_jchar_put(c, text), false);
        return digits + 1;
    }
    if (*s == 'N' || (*s >= '0' && *s <= '7'))
        return 0;
    tlpi_jbuf_add_text(b, s - 1, 2, false); /* Python keeps the backslash */
    return 1;
}

static void lex_string(jinja_lexer *l)
{
    tlpi_jbuf b = { .x = l->x };
    size_t begin = l->at, i = begin + 1;
    char quote = l->s[begin];

    while (i < l->n && l->s[i] != quote && l->x->st == TLP_OK) {
        size_t n = 1;
        if (l->s[i] == '\\' && i + 1 < l->n) {
            n = unescape(&b, l->s + i + 1, l->n - i - 1);
            if (n == 0) {
                fail_at(l, i, "an escape that is not supported");
                return;
            }
            i++;
        } else {
            tlpi_jbuf_add_text(&b, l->s + i, 1, false);
        }
        i += n;
    }
    if (i >= l->n) {
        fail_at(l, begin, "a string does not end");
        return;
    }
    tlpi_jtoken *t = add_token(l, TLPI_JT_STRING, begin);
    if (t)
        t->value = tlpi_jbuf_value(&b);
    l->at = i + 1;
}

static bool is_name_char(char c, bool first)
{
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

static size_t count_digits(const jinja_lexer *l, size_t at)
{
    size_t i = at;

    while (i < l->n &&
           ((l->s[i] >= '0' && l->s[i] <= '9') || (l->s[i] == '_' && i > at)))
        i++;
    return i - at;
}

/* Digits, then a fraction and an exponent if digits follow them. */
static void lex_number(jinja_lexer *l)
{
    char text[64];
    size_t begin = l->at, i = begin + count_digits(l, begin), n = 0;
    bool whole = true;

    if (i + 1 < l->n && l->s[i] == '.' && count_digits(l, i + 1) > 0) {
        i += 1 + count_digits(l, i + 1);
        whole = false;
    }
    if (i < l->n && (l->s[i] | 0x20) == 'e') {
        size_t sign = i + 1 < l->n && strchr("+-", l->s[i + 1]) ? 1 : 0;
        size_t digits = i + 1 + sign < l->n ? count_digits(l, i + 1 + sign) : 0;
        i += digits > 0 ? 1 + sign + digits : 0;
        whole = whole && digits == 0;
    }
    for (size_t j = begin; j < i; j++)
        if (l->s[j] != '_' && n + 1 < sizeof text)
            text[n++] = l->s[j];
    text[n] = '\0';
    if ((i < l->n && is_name_char(l->s[i], false)) || n + 1 == sizeof text ||
        (whole && n > 1 && text[0] == '0')) {
        fail_at(l, begin, "a number that is not supported");
        return;
    }
    tlpi_jtoken *t = add_token(l, whole ? TLPI_JT_INT : TLPI_JT_FLOAT, begin);
    errno = 0;
    if (t)
        t->value = whole ? tlpi_j_int(strtoll(text, NULL, 10))
                         : tlpi_j_float(tlpi_strtod(text, NULL));
    if (errno == ERANGE) {
        fail_at(l, begin, "a number is too large");
        return;
    }
    l->at = i;
}

static void lex_op(jinja_lexer *l, char *open, size_t *n_open)
{
    static const char *const ops[] = { "//", "**", "==", "!=", ">=", "<=", "+",
                                       "-",  "*",  "/",  "%",  "~",  "[",  "]",
                                       "(",  ")",  "{",  "}",  ">",  "<",  "=",
                                       ".",  ":",  "|",  "," };
    static const char brackets[] = "([{)]}";

    for (size_t i = 0; i < TLPI_COUNT(ops); i++) {
        if (!looking_at(l, l->at, ops[i]))
            continue;
        const char *p = strchr(brackets, ops[i][0]);
        if (p && p < brackets + 3) {
            if (*n_open == MAX_BRACKETS) {
                fail_at(l, l->at, "too many brackets are open");
                return;
            }
            open[(*n_open)++] = p[3];
        } else if (p && (*n_open == 0 || open[--*n_open] != *p)) {
            fail_at(l, l->at, "a bracket closes that is not open");
            return;
        }
        tlpi_jtoken *t = add_token(l, TLPI_JT_OP, l->at);
        if (t)
            strcpy(t->op, ops[i]);
        l->at += strlen(ops[i]);
        return;
    }
    fail_at(l, l->at, "a character that no expression has");
}

/* Is the end of the tag here?  Then go behind it. */
static bool lex_tag_end(jinja_lexer *l, bool block)
{
    const char *mark = block ? "%}" : "}}";
    char sign = l->at < l->n ? l->s[l->at] : ' ';
    bool signed_end = (sign == '-' || (sign == '+' && block)) &&
                      looking_at(l, l->at + 1, mark);

    if (!signed_end && !looking_at(l, l->at, mark))
        return false;
    add_token(l, block ? TLPI_JT_BLOCK_END : TLPI_JT_PRINT_END, l->at);
    size_t end = l->at + (signed_end ? 3 : 2);
    if (!signed_end)
        sign = ' ';
    if (block)
        end = after_end(l, end, sign);
    else if (sign == '-')
        end = skip_space(l, end);
    move_to(l, end);
    return true;
}

static void lex_tag(jinja_lexer *l, size_t begin, bool block)
{
    char open[MAX_BRACKETS];
    size_t n_open = 0;

    add_token(l, block ? TLPI_JT_BLOCK_BEGIN : TLPI_JT_PRINT_BEGIN, begin);
    while (l->x->st == TLP_OK) {
        l->at = skip_space(l, l->at);
        if (l->at >= l->n) {
            fail_at(l, begin, "a tag does not end");
            return;
        }
        if (n_open == 0 && lex_tag_end(l, block))
            return;
        char c = l->s[l->at];
        if (is_name_char(c, true)) {
            size_t i = l->at;
            while (i < l->n && is_name_char(l->s[i], false))
                i++;
            set_text(l, add_token(l, TLPI_JT_NAME, l->at), l->s + l->at,
                     i - l->at);
            l->at = i;
        } else if (c == '"' || c == '\'') {
            lex_string(l);
        } else if (c >= '0' && c <= '9') {
            lex_number(l);
        } else {
            lex_op(l, open, &n_open);
        }
    }
}

/* ==== the whole ========================================================== */

/* The next "{{", "{%" or "{#" from `at` on; l->n where there is none. */
static size_t find_tag(const jinja_lexer *l, size_t at)
{
    for (; at + 1 < l->n; at++)
        if (l->s[at] == '{' && strchr("{%#", l->s[at + 1]) && l->s[at + 1])
            return at;
    return l->n;
}

tlpi_jtoken *tlpi_jinja_lex(tlpi_jx *x, size_t *n)
{
    jinja_lexer l = {
        .x = x, .s = x->source, .n = x->n_source, .line_starting = true
    };

    while (l.at < l.n && x->st == TLP_OK) {
        size_t from = l.at, tag = find_tag(&l, from);
        char kind = tag < l.n ? l.s[tag + 1] : ' ';
        char sign = tag + 2 < l.n ? l.s[tag + 2] : ' ';

        add_text(&l, from, tag, tag < l.n ? sign : '+', kind != '{');
        l.at = TLPI_MIN(tag + 2, l.n);
        if (kind == '#') {
            lex_comment(&l);
        } else if (kind != ' ') {
            l.at += sign == '-' || sign == '+';
            if (kind == '{' || !lex_raw(&l))
                lex_tag(&l, tag, kind == '%');
        }
    }
    add_token(&l, TLPI_JT_END, l.n);
    *n = l.n_token;
    return x->st == TLP_OK ? l.token : NULL;
}
