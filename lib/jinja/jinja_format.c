/*
 * jinja_format.c - Python's format % values: %s, %d, %i and %%.
 */
#include "jinja/jinja_run.h"

static void format_one(tlpi_jx *x, tlpi_jbuf *b, char kind, tlpi_jval v)
{
    int64_t i;

    if (kind == 's') {
        tlpi_jbuf_add_value(b, v);
    } else if ((kind == 'd' || kind == 'i') && tlpi_j_as_int(v, &i)) {
        tlpi_jbuf_add_value(b, tlpi_j_int(i));
    } else {
        tlpi_jx_fail(x, TLP_ENOTSUP,
                     "a format with %%%c for a value of type %s", kind,
                     tlpi_j_type(v));
    }
}

tlpi_jval tlpi_jop_format(tlpi_jx *x, const tlpi_jstr *format, tlpi_jval values)
{
    bool tuple =
        values.kind == TLPI_J_LIST && values.l->flavour == TLPI_J_TUPLE;
    size_t n = tuple ? values.l->n : 1, used = 0;
    tlpi_jbuf b = { .x = x };

    for (size_t i = 0; i < format->n && x->st == TLP_OK; i++) {
        if (format->s[i] != '%') {
            tlpi_jbuf_add(&b, format, i, 1);
            continue;
        }
        char kind = ++i < format->n ? format->s[i] : ' ';
        if (kind == '%') {
            tlpi_jbuf_add(&b, format, i, 1);
        } else if (used == n) {
            tlpi_jx_fail(x, TLP_EINVAL, "too few values for a format");
        } else {
            format_one(x, &b, kind, tuple ? values.l->item[used] : values);
            used++;
        }
    }
    if (used < n)
        tlpi_jx_fail(x, TLP_EINVAL, "too many values for a format");
    return tlpi_jbuf_value(&b);
}
