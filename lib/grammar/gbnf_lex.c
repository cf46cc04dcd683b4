/*
 * gbnf_lex.c - blanks, names, numbers and characters of a grammar's text.
 */
#include "grammar/gbnf_lex.h"

#include <string.h>

#include "text/utf8.h"

/* ==== failures =========================================================== */

tlp_status tlpi_gbnf_fail(const tlpi_gbnf_lex *x, tlp_status status,
                          const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(text, sizeof text, fmt, args);
    va_end(args);
    if (x->n_rule == 0)
        return tlpi_fail(status, "grammar: line %d: %s", x->line, text);
    return tlpi_fail(status, "grammar: line %d: rule %.*s: %s", x->line,
                     (int)TLPI_MIN(x->n_rule, (size_t)64), x->rule, text);
}

tlp_status tlpi_gbnf_expect(const tlpi_gbnf_lex *x, const char *expected)
{
    tlpi_utf8 what;

    if (x->s == x->end)
        return tlpi_gbnf_fail(x, TLP_EFORMAT, "the text ends, %s expected",
                              expected);
    if (*x->s == '\n' || *x->s == '\r')
        return tlpi_gbnf_fail(x, TLP_EFORMAT, "the line ends, %s expected",
                              expected);
    size_t n = tlpi_utf8_next(x->s, (size_t)(x->end - x->s), &what);
    return tlpi_gbnf_fail(x, TLP_EFORMAT, "\"%.*s\", %s expected", (int)n, x->s,
                          expected);
}

/* ==== blanks, names, numbers ============================================= */

void tlpi_gbnf_blanks(tlpi_gbnf_lex *x, bool lines)
{
    for (; x->s < x->end; x->s++) {
        char c = *x->s;

        if (c == '#') {
            while (x->s + 1 < x->end && x->s[1] != '\n' && x->s[1] != '\r')
                x->s++;
            continue;
        }
        if (c == '\n' && lines)
            x->line++;
        else if (c != ' ' && c != '\t' && !(c == '\r' && lines))
            return;
    }
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

size_t tlpi_gbnf_name(const tlpi_gbnf_lex *x)
{
    const char *s = x->s;

    while (s < x->end && is_word(*s))
        s++;
    return (size_t)(s - x->s);
}

tlp_status tlpi_gbnf_number(tlpi_gbnf_lex *x, uint32_t max, uint32_t *out)
{
    uint64_t value = 0;
    const char *start = x->s;

    for (; x->s < x->end && *x->s >= '0' && *x->s <= '9'; x->s++) {
        value = value * 10 + (uint64_t)(*x->s - '0');
        if (value > max)
            return tlpi_gbnf_fail(x, TLP_EFORMAT,
                                  "a number above %u, at most %u expected", max,
                                  max);
    }
    if (x->s == start)
        return tlpi_gbnf_expect(x, "a number");
    *out = (uint32_t)value;
    return TLP_OK;
}

/* ==== characters ========================================================= */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static tlp_status read_hex(tlpi_gbnf_lex *x, int digits, uint32_t *code)
{
    uint32_t value = 0;

    for (int i = 0; i < digits; i++, x->s++) {
        int digit = hex_value(tlpi_gbnf_peek(x));
        if (digit < 0)
            return tlpi_gbnf_expect(x, digits == 2   ? "2 hexadecimal digits"
                                       : digits == 4 ? "4 hexadecimal digits"
                                                     : "8 hexadecimal digits");
        value = value << 4 | (uint32_t)digit;
    }
    if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return tlpi_gbnf_fail(x, TLP_EFORMAT,
                              "U+%04X, a code point that is no surrogate "
                              "expected",
                              value);
    *code = value;
    return TLP_OK;
}

/* What follows a backslash. */
static tlp_status read_escape(tlpi_gbnf_lex *x, uint32_t *code)
{
    char c = tlpi_gbnf_peek(x);

    if (c == '\0')
        return tlpi_gbnf_expect(x, "an escape");
    x->s++;
    switch (c) {
    case 'x':
        return read_hex(x, 2, code);
    case 'u':
        return read_hex(x, 4, code);
    case 'U':
        return read_hex(x, 8, code);
    case 't':
        *code = '\t';
        return TLP_OK;
    case 'r':
        *code = '\r';
        return TLP_OK;
    case 'n':
        *code = '\n';
        return TLP_OK;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
        *code = (uint32_t)c;
        return TLP_OK;
    default:
        x->s--;
        return tlpi_gbnf_expect(
            x, "one of \\x \\u \\U \\t \\r \\n \\\\ \\\" \\[ \\] \\-");
    }
}

static uint32_t decode(const char *s, size_t n)
{
    static const uint8_t lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t code = (uint8_t)s[0] & lead[n];

    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((uint8_t)s[i] & 0x3f);
    return code;
}

tlp_status tlpi_gbnf_char(tlpi_gbnf_lex *x, uint32_t *code)
{
    tlpi_utf8 what;

    if (x->s == x->end)
        return tlpi_gbnf_expect(x, "a character");
    if (*x->s == '\\') {
        x->s++;
        return read_escape(x, code);
    }
    size_t n = tlpi_utf8_next(x->s, (size_t)(x->end - x->s), &what);
    if (what != TLPI_UTF8_CHAR)
        return tlpi_gbnf_fail(x, TLP_EFORMAT, "byte 0x%02x is no UTF-8",
                              (uint8_t)*x->s);
    *code = decode(x->s, n);
    x->line += *x->s == '\n';
    x->s += n;
    return TLP_OK;
}

int tlpi_utf8_encode(uint32_t code, char out[4])
{
    static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    int n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (int i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(code | lead[n]);
    return n;
}
