/*
 * jinja_buffer.c - growing text that remembers which bytes are data, and
 * Python's str() and repr().
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "jinja/jinja_text.h"

/* ==== growing ============================================================ */

static bool reserve(tlpi_jbuf *b, size_t n)
{
    if (b->x->st != TLP_OK)
        return false;
    if (b->n + n <= b->cap)
        return true;
    size_t cap = TLPI_MAX(b->n + n, 2 * b->cap + 64);
    char *s = tlpi_jx_alloc(b->x, cap);
    uint8_t *data = b->data ? tlpi_jx_alloc(b->x, cap) : NULL;
    if (!s || (b->data && !data))
        return false;
    if (b->n > 0)
        memcpy(s, b->s, b->n);
    if (data && b->n > 0)
        memcpy(data, b->data, b->n);
    b->s = s;
    b->data = data;
    b->cap = cap;
    return true;
}

/* From here on bytes may be data. */
static bool begin_data(tlpi_jbuf *b)
{
    if (!b->data)
        b->data = tlpi_jx_alloc(b->x, TLPI_MAX(b->cap, 1));
    return b->data != NULL;
}

static void add(tlpi_jbuf *b, const char *s, const uint8_t *data, uint8_t all,
                size_t n)
{
    if (n == 0 || !tlpi_jx_step(b->x, n / 64) || !reserve(b, n) ||
        ((data || all) && !begin_data(b)))
        return;
    memcpy(b->s + b->n, s, n);
    if (b->data && data)
        memcpy(b->data + b->n, data, n);
    else if (b->data)
        memset(b->data + b->n, all, n);
    b->n += n;
}

void tlpi_jbuf_add(tlpi_jbuf *b, const tlpi_jstr *s, size_t from, size_t n)
{
    add(b, s->s + from, s->data ? s->data + from : NULL, 0, n);
}

void tlpi_jbuf_add_str(tlpi_jbuf *b, const tlpi_jstr *s)
{
    tlpi_jbuf_add(b, s, 0, s->n);
}

void tlpi_jbuf_add_text(tlpi_jbuf *b, const char *s, size_t n, uint8_t mark)
{
    add(b, s, NULL, mark, n);
}

tlpi_jval tlpi_jbuf_value(const tlpi_jbuf *b)
{
    tlpi_jstr *s = tlpi_jx_alloc(b->x, sizeof *s);

    if (!s)
        return tlpi_j_undefined(NULL);
    *s = (tlpi_jstr){ .s = b->n ? b->s : "", .data = b->data, .n = b->n };
    return (tlpi_jval){ .kind = TLPI_J_STR, .s = s };
}

/* ==== str and repr ======================================================= */

static void add_text(tlpi_jbuf *b, const char *s)
{
    tlpi_jbuf_add_text(b, s, strlen(s), false);
}

/* The shortest digits that read back as f: d.ddde+xx */
static void shortest(double f, char out[40])
{
    for (int digits = 0; digits < 17; digits++) {
        tlpi_snprintf(out, 40, "%.*e", digits, f);
        if (tlpi_strtod(out, NULL) == f)
            break;
    }
}

size_t tlpi_j_float_text(double f, char out[40])
{
    char e[40], digits[24];
    size_t n = 0, len = 0;

    if (!isfinite(f))
        return (size_t)snprintf(out, 40, "%s",
                                isnan(f) ? "nan"
                                : f > 0  ? "inf"
                                         : "-inf");
    shortest(f, e);
    int exponent = atoi(strchr(e, 'e') + 1);
    for (const char *s = e; *s != 'e'; s++)
        if (*s >= '0' && *s <= '9')
            digits[n++] = *s;
    if (signbit(f))
        out[len++] = '-';
    if (exponent < -4 || exponent >= 16) {
        out[len++] = digits[0];
        if (n > 1)
            out[len++] = '.';
        memcpy(out + len, digits + 1, n - 1);
        len += n - 1;
        return len + (size_t)snprintf(out + len, 40 - len, "e%c%02d",
                                      exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        len += (size_t)snprintf(out + len, 40 - len, "0.%.*s", -exponent - 1,
                                "000");
        memcpy(out + len, digits, n);
        return len + n;
    }
    size_t whole = (size_t)exponent + 1;
    for (size_t i = 0; i < TLPI_MAX(whole, n); i++) {
        if (i == whole)
            out[len++] = '.';
        out[len++] = i < n ? digits[i] : '0';
    }
    if (n <= whole) {
        out[len++] = '.';
        out[len++] = '0';
    }
    return len;
}

static void add_number(tlpi_jbuf *b, tlpi_jval v)
{
    char text[40];
    size_t n = v.kind == TLPI_J_FLOAT
                   ? tlpi_j_float_text(v.f, text)
                   : (size_t)snprintf(text, sizeof text, "%" PRId64, v.i);

    tlpi_jbuf_add_text(b, text, n, false);
}

static void add_repr_char(tlpi_jbuf *b, const tlpi_jstr *s, size_t at,
                          size_t bytes, uint32_t c, char quote)
{
    char text[16];
    bool data = s->data && s->data[at];
    int n = 0;

    if (c == (uint32_t)quote || c == '\\')
        n = snprintf(text, sizeof text, "\\%c", (int)c);
    else if (c == '\n' || c == '\r' || c == '\t')
        n = snprintf(text, sizeof text, "\\%c",
                     c == '\n'   ? 'n'
                     : c == '\r' ? 'r'
                                 : 't');
    else if (tlpi_jchar_is_printable(c)) {
        tlpi_jbuf_add(b, s, at, bytes);
        return;
    } else if (c < 0x100)
        n = snprintf(text, sizeof text, "\\x%02x", (unsigned)c);
    else
        n = snprintf(text, sizeof text, c < 0x10000 ? "\\u%04x" : "\\U%08x",
                     (unsigned)c);
    tlpi_jbuf_add_text(b, text, (size_t)n, data);
}

static void add_repr_str(tlpi_jbuf *b, const tlpi_jstr *s)
{
    bool single = memchr(s->s, '\'', s->n), twice = memchr(s->s, '"', s->n);
    char quote = single && !twice ? '"' : '\'';
    size_t bytes;

    tlpi_jbuf_add_text(b, &quote, 1, false);
    for (size_t i = 0; i < s->n && b->x->st == TLP_OK; i += bytes) {
        uint32_t c = tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        add_repr_char(b, s, i, bytes, c, quote);
    }
    tlpi_jbuf_add_text(b, &quote, 1, false);
}

static void add_items(tlpi_jbuf *b, const tlpi_jlist *l)
{
    for (size_t i = 0; i < l->n && b->x->st == TLP_OK; i++) {
        if (i > 0)
            add_text(b, ", ");
        tlpi_jbuf_add_repr(b, l->item[i]);
    }
}

/* Python writes such a value in its own notation, which no model knows. */
static void fail_content(tlpi_jbuf *b, const char *what)
{
    tlpi_jx_fail(b->x, TLP_ENOTSUP,
                 "a message's content is %s, and the template writes it as it "
                 "is: it expects a string",
                 what);
}

static void add_list(tlpi_jbuf *b, const tlpi_jlist *l)
{
    if (l->parts)
        fail_content(b, "a list of parts");
    else if (l->flavour == TLPI_J_PLAIN) {
        add_text(b, "[");
        add_items(b, l);
        add_text(b, "]");
    } else if (l->flavour == TLPI_J_TUPLE) {
        add_text(b, "(");
        add_items(b, l);
        add_text(b, l->n == 1 ? ",)" : ")");
    } else {
        tlpi_jx_fail(b->x, TLP_ENOTSUP,
                     "writing a %s as text is not supported: use |list",
                     l->flavour == TLPI_J_RANGE  ? "range"
                     : l->flavour == TLPI_J_VIEW ? "view of a dict"
                                                 : "generator");
    }
}

static void add_dict(tlpi_jbuf *b, const tlpi_jdict *d)
{
    add_text(b, "{");
    for (size_t i = 0; i < d->n && b->x->st == TLP_OK; i++) {
        if (i > 0)
            add_text(b, ", ");
        tlpi_jbuf_add_repr(b, d->key[i]);
        add_text(b, ": ");
        tlpi_jbuf_add_repr(b, d->value[i]);
    }
    add_text(b, "}");
}

void tlpi_jbuf_add_repr(tlpi_jbuf *b, tlpi_jval v)
{
    if (!tlpi_jx_enter(b->x))
        return;
    switch (v.kind) {
    case TLPI_J_STR:
        add_repr_str(b, v.s);
        break;
    case TLPI_J_UNDEFINED:
        add_text(b, "Undefined");
        break;
    default:
        tlpi_jbuf_add_value(b, v);
    }
    tlpi_jx_leave(b->x);
}

void tlpi_jbuf_add_value(tlpi_jbuf *b, tlpi_jval v)
{
    switch (v.kind) {
    case TLPI_J_UNDEFINED:
        break;
    case TLPI_J_NONE:
        if (v.b)
            fail_content(b, "null");
        add_text(b, "None");
        break;
    case TLPI_J_BOOL:
        add_text(b, v.b ? "True" : "False");
        break;
    case TLPI_J_INT:
    case TLPI_J_FLOAT:
        add_number(b, v);
        break;
    case TLPI_J_STR:
        tlpi_jbuf_add_str(b, v.s);
        break;
    case TLPI_J_LIST:
        add_list(b, v.l);
        break;
    case TLPI_J_DICT:
        add_dict(b, v.d);
        break;
    default:
        tlpi_jx_fail(b->x, TLP_ENOTSUP,
                     "writing a value of type %s as text is not supported",
                     tlpi_j_type(v));
    }
}

const tlpi_jstr *tlpi_j_str(tlpi_jx *x, tlpi_jval v)
{
    static const tlpi_jstr empty = { .s = "" };
    tlpi_jbuf b = { .x = x };

    if (v.kind == TLPI_J_STR)
        return v.s;
    tlpi_jbuf_add_value(&b, v);
    v = tlpi_jbuf_value(&b);
    return v.kind == TLPI_J_STR ? v.s : &empty;
}
