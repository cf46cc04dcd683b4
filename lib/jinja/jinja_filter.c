/*
 * jinja_filter.c - filters of texts, numbers and whole values.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "jinja/jinja_filter.h"

#define FILTER(name)                                                           \
    static tlpi_jval name(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args)

static bool given(tlpi_jval v)
{
    return v.kind != TLPI_J_UNDEFINED;
}

/* ==== texts ============================================================== */

static tlpi_jval change_case(tlpi_jinterp *in, tlpi_jval v,
                             const tlpi_jargs *args, tlpi_jcase to)
{
    if (!tlpi_jargs_read(&in->x, "a change of case", args, "", NULL))
        return v;
    return tlpi_jstr_case(&in->x, tlpi_j_str(&in->x, v), to);
}

FILTER(filter_upper)
{
    return change_case(in, v, args, TLPI_JC_UPPER);
}

FILTER(filter_lower)
{
    return change_case(in, v, args, TLPI_JC_LOWER);
}

FILTER(filter_capitalize)
{
    return change_case(in, v, args, TLPI_JC_CAPITALIZE);
}

FILTER(filter_title)
{
    return change_case(in, v, args, TLPI_JC_HEADING);
}

FILTER(filter_trim)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "trim", args, "chars=", a))
        return v;
    return tlpi_jstr_strip(&in->x, tlpi_j_str(&in->x, v),
                           a[0].kind == TLPI_J_STR ? a[0].s : NULL, 3);
}

FILTER(filter_string)
{
    if (!tlpi_jargs_read(&in->x, "string", args, "", NULL))
        return v;
    return (tlpi_jval){ .kind = TLPI_J_STR, .s = tlpi_j_str(&in->x, v) };
}

/* The text itself; joining it with another one would escape that one. */
FILTER(filter_safe)
{
    if (!tlpi_jargs_read(&in->x, "safe", args, "", NULL))
        return v;
    const tlpi_jstr *s = tlpi_j_str(&in->x, v);
    tlpi_jval out = tlpi_j_part(&in->x, s, 0, s->n);
    if (out.kind == TLPI_J_STR)
        ((tlpi_jstr *)(uintptr_t)out.s)->safe = true;
    return out;
}

FILTER(filter_replace)
{
    int64_t max = -1;
    tlpi_jval a[3];

    if (!tlpi_jargs_read(&in->x, "replace", args, "old new count=", a))
        return v;
    if (given(a[2]) && a[2].kind != TLPI_J_NONE && !tlpi_j_as_int(a[2], &max))
        tlpi_jx_fail(&in->x, TLP_EINVAL, "replace: count is no integer");
    return tlpi_jstr_replace(&in->x, tlpi_j_str(&in->x, v),
                             tlpi_j_str(&in->x, a[0]), tlpi_j_str(&in->x, a[1]),
                             max);
}

/* The indention: a text, or a number of blanks. */
static const tlpi_jstr *indention(tlpi_jx *x, tlpi_jval width)
{
    tlpi_jbuf b = { .x = x };
    int64_t n = 4;

    if (width.kind == TLPI_J_STR)
        return width.s;
    if (given(width) && !tlpi_j_as_int(width, &n))
        tlpi_jx_fail(x, TLP_EINVAL, "indent: width is no integer");
    for (int64_t i = 0; i < n && tlpi_jx_step(x, 1); i++)
        tlpi_jbuf_add_text(&b, " ", 1, false);
    return tlpi_j_str(x, tlpi_jbuf_value(&b));
}

FILTER(filter_indent)
{
    tlpi_jx *x = &in->x;
    tlpi_jbuf b = { .x = x }, out = { .x = x };
    tlpi_jval a[3];

    if (!tlpi_jargs_read(x, "indent", args, "width= first= blank=", a))
        return v;
    if (v.kind != TLPI_J_STR) {
        tlpi_jx_fail(x, TLP_EINVAL, "indent: a text expected, %s found",
                     tlpi_j_type(v));
        return v;
    }
    const tlpi_jstr *by = indention(x, a[0]);
    bool blank = tlpi_j_true(a[2]);
    tlpi_jbuf_add_str(&b, v.s);
    tlpi_jbuf_add_text(&b, "\n", 1, false);
    tlpi_jval lines =
        tlpi_jstr_lines(x, tlpi_j_str(x, tlpi_jbuf_value(&b)), false);
    for (size_t i = 0; x->st == TLP_OK && i < lines.l->n; i++) {
        const tlpi_jstr *line = lines.l->item[i].s;
        if (i > 0)
            tlpi_jbuf_add_text(&out, "\n", 1, false);
        if (i == 0 ? tlpi_j_true(a[1]) : line->n > 0 || blank)
            tlpi_jbuf_add_str(&out, by);
        tlpi_jbuf_add_str(&out, line);
    }
    return tlpi_jbuf_value(&out);
}

FILTER(filter_format)
{
    tlpi_jval values = tlpi_j_list(&in->x, TLPI_J_TUPLE, 0);

    if (args->n_named > 0) {
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "format: arguments by name");
        return v;
    }
    for (size_t i = 0; i < args->n_pos; i++)
        tlpi_j_append(&in->x, values, args->pos[i]);
    return tlpi_jop_format(&in->x, tlpi_j_str(&in->x, v), values);
}

/* ==== numbers ============================================================ */

/* A text as Python's int() or float() reads it, without the blanks around it;
 * 0 where it is longer than a number. */
static size_t number_text(tlpi_jx *x, const tlpi_jstr *s, char out[64])
{
    tlpi_jval v = tlpi_jstr_strip(x, s, NULL, 3);
    size_t n = 0;

    if (v.kind != TLPI_J_STR || v.s->n >= 64)
        return 0;
    for (size_t i = 0; i < v.s->n; i++) {
        bool between = i > 0 && i + 1 < v.s->n && v.s->s[i - 1] != '_' &&
                       v.s->s[i + 1] != '_';
        if (v.s->s[i] != '_' || !between)
            out[n++] = v.s->s[i];
    }
    out[n] = '\0';
    return n;
}

static bool text_as_float(tlpi_jx *x, const tlpi_jstr *s, double *out)
{
    char text[64], *end;

    if (number_text(x, s, text) == 0 || strpbrk(text, "xXpP("))
        return false;
    *out = tlpi_strtod(text, &end);
    return *end == '\0';
}

static bool text_as_int(tlpi_jx *x, const tlpi_jstr *s, int64_t *out)
{
    char text[64], *end;

    if (number_text(x, s, text) == 0)
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno == ERANGE)
        tlpi_jx_fail(x, TLP_ENOTSUP, "an integer beyond 64 bits");
    return *end == '\0';
}

static bool value_as_float(tlpi_jx *x, tlpi_jval v, double *out)
{
    return v.kind == TLPI_J_STR ? text_as_float(x, v.s, out)
                                : tlpi_j_as_float(v, out);
}

FILTER(filter_int)
{
    tlpi_jval a[2];
    double f;
    int64_t i;

    if (!tlpi_jargs_read(&in->x, "int", args, "default= base=", a))
        return v;
    if (given(a[1]) && !(tlpi_j_as_int(a[1], &i) && i == 10))
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "int: a base other than 10");
    if (v.kind == TLPI_J_UNDEFINED)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "int: the value is undefined");
    if (tlpi_j_as_int(v, &i) ||
        (v.kind == TLPI_J_STR && text_as_int(&in->x, v.s, &i)))
        return tlpi_j_int(i);
    if (value_as_float(&in->x, v, &f) && fabs(f) < 0x1p63)
        return tlpi_j_int((int64_t)f);
    return given(a[0]) ? a[0] : tlpi_j_int(0);
}

FILTER(filter_float)
{
    tlpi_jval a[1];
    double f;

    if (!tlpi_jargs_read(&in->x, "float", args, "default=", a))
        return v;
    if (v.kind == TLPI_J_UNDEFINED)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "float: the value is undefined");
    if (value_as_float(&in->x, v, &f))
        return tlpi_j_float(f);
    return given(a[0]) ? a[0] : tlpi_j_float(0);
}

FILTER(filter_abs)
{
    int64_t i;

    if (!tlpi_jargs_read(&in->x, "abs", args, "", NULL))
        return v;
    if (tlpi_j_as_int(v, &i) && i != INT64_MIN)
        return tlpi_j_int(i < 0 ? -i : i);
    if (v.kind == TLPI_J_FLOAT)
        return tlpi_j_float(fabs(v.f));
    tlpi_jx_fail(&in->x, TLP_EINVAL, "abs: no number but %s", tlpi_j_type(v));
    return v;
}

/* Decimal rounding, half to even of the exact value, as Python's round. */
static double round_decimal(double f, int64_t digits)
{
    char text[400];

    tlpi_snprintf(text, sizeof text, "%.*f", (int)digits, f);
    return tlpi_strtod(text, NULL);
}

FILTER(filter_round)
{
    int64_t digits = 0;
    tlpi_jval a[2];
    double f, unit = 1;

    if (!tlpi_jargs_read(&in->x, "round", args, "precision= method=", a))
        return v;
    if (given(a[0]) && !tlpi_j_as_int(a[0], &digits))
        tlpi_jx_fail(&in->x, TLP_EINVAL, "round: precision is no integer");
    if (digits < 0 || digits > 15 || !tlpi_j_as_float(v, &f)) {
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "round: precision %lld of %s",
                     (long long)digits, tlpi_j_type(v));
        return v;
    }
    for (int64_t i = 0; i < digits; i++)
        unit *= 10;
    if (!given(a[1]) || tlpi_j_is_text(a[1], "common"))
        return v.kind == TLPI_J_FLOAT ? tlpi_j_float(round_decimal(f, digits))
                                      : tlpi_j_int((int64_t)f);
    if (tlpi_j_is_text(a[1], "ceil"))
        return tlpi_j_float(ceil(f * unit) / unit);
    if (tlpi_j_is_text(a[1], "floor"))
        return tlpi_j_float(floor(f * unit) / unit);
    tlpi_jx_fail(&in->x, TLP_EINVAL, "round: method is no known one");
    return v;
}

/* ==== whole values ======================================================= */

FILTER(filter_default)
{
    tlpi_jval a[2];

    if (!tlpi_jargs_read(&in->x, "default", args, "value= boolean=", a))
        return v;
    if (given(v) && (!tlpi_j_true(a[1]) || tlpi_j_true(v)))
        return v;
    return given(a[0]) ? a[0] : tlpi_j_text(&in->x, "");
}

FILTER(filter_length)
{
    size_t n;

    if (!tlpi_jargs_read(&in->x, "length", args, "", NULL))
        return v;
    if (!tlpi_j_length(v, &n)) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "a value of type %s has no length",
                     tlpi_j_type(v));
        return v;
    }
    return tlpi_j_int((int64_t)n);
}

static const tlpi_jnamed filters[] = {
    { "abs", filter_abs },
    { "capitalize", filter_capitalize },
    { "count", filter_length },
    { "d", filter_default },
    { "default", filter_default },
    { "dictsort", tlpi_jfilter_dictsort },
    { "first", tlpi_jfilter_first },
    { "float", filter_float },
    { "format", filter_format },
    { "indent", filter_indent },
    { "int", filter_int },
    { "items", tlpi_jfilter_items },
    { "join", tlpi_jfilter_join },
    { "last", tlpi_jfilter_last },
    { "length", filter_length },
    { "list", tlpi_jfilter_list },
    { "lower", filter_lower },
    { "map", tlpi_jfilter_map },
    { "max", tlpi_jfilter_max },
    { "min", tlpi_jfilter_min },
    { "reject", tlpi_jfilter_reject },
    { "rejectattr", tlpi_jfilter_rejectattr },
    { "replace", filter_replace },
    { "reverse", tlpi_jfilter_reverse },
    { "round", filter_round },
    { "safe", filter_safe },
    { "select", tlpi_jfilter_select },
    { "selectattr", tlpi_jfilter_selectattr },
    { "sort", tlpi_jfilter_sort },
    { "string", filter_string },
    { "sum", tlpi_jfilter_sum },
    { "title", filter_title },
    { "tojson", tlpi_jinja_tojson },
    { "trim", filter_trim },
    { "unique", tlpi_jfilter_unique },
    { "upper", filter_upper },
};

const tlpi_jnamed *tlpi_jinja_filter(const tlpi_jstr *name)
{
    return tlpi_jinja_find(filters, TLPI_COUNT(filters), name);
}
