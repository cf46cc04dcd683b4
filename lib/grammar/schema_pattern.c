/*
 * schema_pattern.c - a regular expression of ECMA-262 as the text of a string.
 *
 * The expression is read by recursive descent and written at once.  A
 * character that JSON escapes is written as its escape.  An expression without
 * ^ or $ matches a part of the string, so any text may stand on that side.
 */
#include <string.h>

#include "grammar/gbnf_lex.h"
#include "grammar/schema.h"
#include "text/utf8.h"

enum { MAX_GROUP = 50, MAX_RANGE = 512, LAST = 0x10ffff };

typedef struct code_set {
    tlpi_code_range r[MAX_RANGE];
    size_t n;
} code_set;

typedef struct regex {
    tlpi_schema *s;
    const char *p, *end, *start;
    int depth;
    code_set set; /* of the symbol that is read */
} regex;

#define OUT(...) tlpi_text_printf(&x->s->out, __VA_ARGS__)

static tlp_status refuse(const regex *x, const char *what)
{
    return tlpi_schema_fail(x->s, TLP_ENOTSUP, "keyword pattern: byte %zu: %s",
                            x->p - x->start, what);
}

static char peek(const regex *x)
{
    return x->p < x->end ? *x->p : '\0';
}

static bool take(regex *x, const char *text)
{
    size_t n = strlen(text);

    if ((size_t)(x->end - x->p) < n || memcmp(x->p, text, n) != 0)
        return false;
    x->p += n;
    return true;
}

/* ==== sets of characters ================================================= */

static tlp_status add_range(regex *x, uint32_t lo, uint32_t hi)
{
    if (x->set.n == MAX_RANGE)
        return refuse(x, "a class of more than 512 ranges");
    x->set.r[x->set.n++] = (tlpi_code_range){ lo, hi };
    return TLP_OK;
}

/* Characters in a set, one of \d \w \s. */
static const tlpi_code_range digits[] = { { '0', '9' } };
static const tlpi_code_range words[] = {
    { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' }
};
static const tlpi_code_range blanks[] = {
    { 9, 13 },          { ' ', ' ' },       { 0xa0, 0xa0 },
    { 0x1680, 0x1680 }, { 0x2000, 0x200a }, { 0x2028, 0x2029 },
    { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 },
    { 0xfeff, 0xfeff }
};

/* Add sorted ranges, or with `other` all characters outside of them. */
static tlp_status add_ranges(regex *x, const tlpi_code_range *r, size_t n,
                             bool other)
{
    uint32_t lo = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < n; i++) {
        if (!other)
            TLP_TRY(add_range(x, r[i].lo, r[i].hi));
        else if (r[i].lo > lo)
            TLP_TRY(add_range(x, lo, r[i].lo - 1));
        lo = TLPI_MAX(lo, r[i].hi + 1);
    }
    if (other && lo <= LAST)
        st = add_range(x, lo, LAST);
done:
    return st;
}

/* Sort the ranges; ranges that meet become one. */
static void tidy(code_set *set)
{
    size_t kept = 0;

    for (size_t i = 1; i < set->n; i++) {
        tlpi_code_range r = set->r[i];
        size_t k = i;
        for (; k > 0 && set->r[k - 1].lo > r.lo; k--)
            set->r[k] = set->r[k - 1];
        set->r[k] = r;
    }
    for (size_t i = 0; i < set->n; i++) {
        tlpi_code_range r = set->r[i];
        if (kept > 0 && r.lo <= set->r[kept - 1].hi + 1)
            set->r[kept - 1].hi = TLPI_MAX(set->r[kept - 1].hi, r.hi);
        else
            set->r[kept++] = r;
    }
    set->n = kept;
}

static bool holds(const code_set *set, uint32_t code)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->r[i].lo <= code && code <= set->r[i].hi)
            return true;
    return false;
}

/* Characters that stand in a string as they are. */
static void write_plain(regex *x, uint32_t lo, uint32_t hi)
{
    OUT(lo == hi ? "\\U%08X" : "\\U%08X-\\U%08X", lo, hi);
}

/* [lo, hi] without controls, '"', '\\' and surrogates; returns if any are
 * left. */
static bool write_range(regex *x, uint32_t lo, uint32_t hi, bool open)
{
    static const tlpi_code_range out[] = { { 0, 0x1f },
                                           { '"', '"' },
                                           { '\\', '\\' },
                                           { 0x7f, 0x7f },
                                           { 0xd800, 0xdfff } };
    bool any = open;

    for (size_t i = 0; i < TLPI_COUNT(out) && lo <= hi; i++) {
        if (out[i].hi < lo || out[i].lo > hi)
            continue;
        if (out[i].lo > lo) {
            OUT(any ? "" : "[");
            write_plain(x, lo, out[i].lo - 1);
            any = true;
        }
        lo = out[i].hi + 1;
    }
    if (lo <= hi) {
        OUT(any ? "" : "[");
        write_plain(x, lo, hi);
        any = true;
    }
    return any;
}

/* One character of the set, as JSON writes it. */
static tlp_status write_set(regex *x)
{
    static const struct {
        uint32_t code;
        const char *text;
    } escapes[] = { { '"', "\\\\\\\"" }, { '\\', "\\\\\\\\" },
                    { '\n', "\\\\n" },   { '\t', "\\\\t" },
                    { '\r', "\\\\r" },   { '\f', "\\\\f" },
                    { '\b', "\\\\b" } };
    bool any = false, written = false;

    tidy(&x->set);
    OUT("(");
    for (size_t i = 0; i < x->set.n; i++)
        any = write_range(x, x->set.r[i].lo, x->set.r[i].hi, any);
    if (any)
        OUT("]");
    written = any;
    for (size_t i = 0; i < TLPI_COUNT(escapes); i++) {
        if (!holds(&x->set, escapes[i].code))
            continue;
        OUT("%s\"%s\"", written ? " | " : "", escapes[i].text);
        written = true;
    }
    OUT(")");
    return written ? TLP_OK : refuse(x, "no character that JSON can hold");
}

/* ==== characters ========================================================= */

static tlp_status read_hex(regex *x, int n, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < n; i++, x->p++) {
        char c = peek(x);
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0)
            return refuse(x, "a hexadecimal digit expected");
        *code = *code << 4 | (uint32_t)v;
    }
    if (*code >= 0xd800 && *code <= 0xdfff)
        return refuse(x, "a surrogate");
    return TLP_OK;
}

/* A class behind a backslash: \d \D \w \W \s \S. */
static bool is_class(char c)
{
    return c != '\0' && strchr("dDwWsS", c);
}

static tlp_status add_class(regex *x, char c)
{
    bool other = c < 'a';

    x->p++;
    if (c == 'd' || c == 'D')
        return add_ranges(x, digits, TLPI_COUNT(digits), other);
    if (c == 'w' || c == 'W')
        return add_ranges(x, words, TLPI_COUNT(words), other);
    return add_ranges(x, blanks, TLPI_COUNT(blanks), other);
}

/* A character, which may be an escape behind its backslash. */
static tlp_status read_escape(regex *x, bool in_class, uint32_t *code)
{
    static const char from[] = "nrtfv", to[] = "\n\r\t\f\v";
    char c = peek(x);
    const char *known = c ? strchr(from, c) : NULL;

    if (c == '\0')
        return refuse(x, "a character behind the backslash expected");
    if (c == 'x' || c == 'u') {
        x->p++;
        return read_hex(x, c == 'x' ? 2 : 4, code);
    }
    if (known) {
        *code = (uint32_t)to[known - from];
    } else if (in_class && c == 'b') {
        *code = '\b';
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c >= '0' && c <= '9') || (unsigned char)c >= 0x80) {
        return refuse(x, "an escape that is not supported");
    } else {
        *code = (uint32_t)c;
    }
    x->p++;
    return TLP_OK;
}

static tlp_status read_code(regex *x, bool in_class, uint32_t *code)
{
    tlpi_gbnf_lex lex = { .s = x->p, .end = x->end };

    if (take(x, "\\"))
        return read_escape(x, in_class, code);
    tlp_status st = tlpi_gbnf_char(&lex, code);
    x->p = lex.s;
    return st;
}

static tlp_status read_set(regex *x)
{
    bool other = take(x, "^");
    tlp_status st = TLP_OK;

    x->set.n = 0;
    while (!take(x, "]")) {
        uint32_t lo, hi;
        if (x->p == x->end)
            return refuse(x, "] expected");
        if (x->end - x->p > 1 && *x->p == '\\' && is_class(x->p[1])) {
            x->p++;
            TLP_TRY(add_class(x, *x->p));
            continue;
        }
        TLP_TRY(read_code(x, true, &lo));
        hi = lo;
        if (peek(x) == '-' && x->end - x->p > 1 && x->p[1] != ']') {
            x->p++;
            if (x->end - x->p > 1 && *x->p == '\\' && is_class(x->p[1]))
                return refuse(x, "a class at the end of a range");
            TLP_TRY(read_code(x, true, &hi));
        }
        if (hi < lo)
            return refuse(x, "a range that ends before it begins");
        TLP_TRY(add_range(x, lo, hi));
    }
    if (other) {
        code_set copy;
        tidy(&x->set);
        copy = x->set;
        x->set.n = 0;
        TLP_TRY(add_ranges(x, copy.r, copy.n, true));
    }
    st = write_set(x);
done:
    return st;
}

/* ==== expressions ======================================================== */

static tlp_status read_any(regex *x)
{
    static const tlpi_code_range lines[] = { { '\n', '\n' },
                                             { '\r', '\r' },
                                             { 0x2028, 0x2029 } };

    x->set.n = 0;
    tlp_status st = add_ranges(x, lines, TLPI_COUNT(lines), true);
    return st == TLP_OK ? write_set(x) : st;
}

static tlp_status read_alternatives(regex *x);

static tlp_status read_group(regex *x)
{
    tlp_status st;

    if (!take(x, "?:") && peek(x) == '?')
        return refuse(x, "a group of this kind is not supported");
    if (x->depth == MAX_GROUP)
        return refuse(x, "groups nested deeper than 50");
    x->depth++;
    OUT("(");
    st = read_alternatives(x);
    if (st == TLP_OK && !take(x, ")"))
        st = refuse(x, ") expected");
    OUT(")");
    x->depth--;
    return st;
}

static tlp_status read_symbol(regex *x)
{
    uint32_t code;
    tlp_status st = TLP_OK;

    if (take(x, "("))
        return read_group(x);
    if (take(x, "["))
        return read_set(x);
    if (take(x, "."))
        return read_any(x);
    if (strchr("^$*+?{}]", peek(x)))
        return refuse(x, "a symbol that is not supported here");
    x->set.n = 0;
    if (x->end - x->p > 1 && *x->p == '\\' && is_class(x->p[1])) {
        x->p++;
        TLP_TRY(add_class(x, *x->p));
    } else {
        TLP_TRY(read_code(x, false, &code));
        TLP_TRY(add_range(x, code, code));
        if (code < 0x20 && !strchr("\b\t\n\f\r", (int)code))
            return refuse(x, "a control that JSON has no short escape for");
    }
    st = write_set(x);
done:
    return st;
}

/* The length of {m}, {m,} or {m,n} here; 0: none. */
static size_t bounds_length(const regex *x)
{
    const char *p = x->p;
    int commas = 0, n_digit = 0;

    if (peek(x) != '{')
        return 0;
    for (p++; p < x->end && *p != '}'; p++) {
        if (*p == ',' && n_digit > 0)
            commas++;
        else if (*p >= '0' && *p <= '9')
            n_digit++;
        else
            return 0;
    }
    return p < x->end && n_digit > 0 && commas <= 1 ? (size_t)(p + 1 - x->p)
                                                    : 0;
}

/* A repetition that takes as little as it can matches the same strings. */
static void read_repeat(regex *x)
{
    size_t n = bounds_length(x);
    char c = peek(x);

    if (n == 0 && (c == '*' || c == '+' || c == '?'))
        n = 1;
    OUT("%.*s", (int)n, x->p);
    x->p += n;
    if (n > 0)
        (void)take(x, "?");
}

static tlp_status read_alternatives(regex *x)
{
    tlp_status st = TLP_OK;

    for (;;) {
        while (x->p < x->end && *x->p != '|' && *x->p != ')' &&
               !(*x->p == '$' && x->depth == 0 && x->p + 1 == x->end)) {
            TLP_TRY(read_symbol(x));
            read_repeat(x);
            OUT(" ");
        }
        if (!take(x, "|"))
            break;
        OUT(" | ");
    }
done:
    return st;
}

/* Is there a '|' outside of all groups?  Then ^ and $ are parts of one
 * alternative. */
static bool has_bar(const char *p, const char *end)
{
    int depth = 0;
    bool in_class = false;

    for (; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '[' || *p == ']')
            in_class = *p == '[' || (in_class && *p != ']');
        else if (!in_class && (*p == '(' || *p == ')'))
            depth += *p == '(' ? 1 : -1;
        else if (!in_class && depth == 0 && *p == '|')
            return true;
    }
    return false;
}

tlp_status tlpi_schema_pattern(tlpi_schema *s, const char *pattern, size_t n)
{
    regex state = {
        .s = s, .p = pattern, .start = pattern, .end = pattern + n
    };
    regex *x = &state;
    bool from_start = take(x, "^");
    tlp_status st = TLP_OK;

    if (n != strlen(pattern))
        return refuse(x, "a NUL");
    OUT("\"\\\"\" ");
    if (!from_start) {
        tlpi_schema_base(s, TLPI_BASE_CHAR);
        OUT("* ");
    }
    OUT("(");
    TLP_TRY(read_alternatives(x));
    OUT(") ");
    bool to_end = take(x, "$");
    if (x->p < x->end)
        return refuse(x, "a symbol that is not supported here");
    if ((from_start || to_end) && has_bar(pattern, pattern + n))
        return refuse(x, "^ or $ beside |: a group around the alternatives "
                         "expected");
    if (!to_end) {
        tlpi_schema_base(s, TLPI_BASE_CHAR);
        OUT("* ");
    }
    OUT("\"\\\"\"");
done:
    return st;
}
