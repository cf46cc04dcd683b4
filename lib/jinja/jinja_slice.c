/*
 * jinja_slice.c - slices of texts and sequences.
 */
#include "jinja/jinja_run.h"

/* A bound of a slice, as Python clips it. */
static int64_t clip(tlpi_jx *x, tlpi_jval v, int64_t none, int64_t n, bool back)
{
    int64_t i;

    if (v.kind == TLPI_J_NONE)
        return none;
    if (!tlpi_j_as_int(v, &i)) {
        tlpi_jx_fail(x, TLP_EINVAL, "a slice by a value of type %s",
                     tlpi_j_type(v));
        return 0;
    }
    i += i < 0 ? n : 0;
    return TLPI_MAX(back ? -1 : 0, TLPI_MIN(i, back ? n - 1 : n));
}

static tlpi_jval slice_str(tlpi_jx *x, const tlpi_jstr *s, int64_t from,
                           int64_t to, int64_t step)
{
    tlpi_jbuf b = { .x = x };
    size_t bytes;

    if (step == 1) {
        size_t begin = tlpi_jchar_offset(s, (size_t)from);
        size_t end = tlpi_jchar_offset(s, (size_t)TLPI_MAX(from, to));
        tlpi_jx_step(x, s->n / 64);
        return tlpi_j_part(x, s, begin, end - begin);
    }
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
        size_t at = tlpi_jchar_offset(s, (size_t)i);
        if (!tlpi_jx_step(x, 1 + s->n / 64))
            break;
        tlpi_jchar_get(s->s + at, s->n - at, &bytes);
        tlpi_jbuf_add(&b, s, at, bytes);
    }
    return tlpi_jbuf_value(&b);
}

tlpi_jval tlpi_jop_slice(tlpi_jx *x, tlpi_jval v, tlpi_jslice s)
{
    int64_t step = 1;
    size_t n = 0;

    if (x->st != TLP_OK)
        return tlpi_j_undefined(NULL);
    if (v.kind == TLPI_J_UNDEFINED)
        return tlpi_jop_fail_undefined(x, v);
    if (!tlpi_j_is_indexed(v)) {
        tlpi_jx_fail(x, TLP_EINVAL, "a value of type %s has no slices",
                     tlpi_j_type(v));
        return tlpi_j_undefined(NULL);
    }
    if (s.step.kind != TLPI_J_NONE &&
        (!tlpi_j_as_int(s.step, &step) || step == 0 || step == INT64_MIN)) {
        tlpi_jx_fail(x, TLP_EINVAL, "a slice by this step");
        return tlpi_j_undefined(NULL);
    }
    tlpi_j_length(v, &n);
    step = TLPI_MAX(TLPI_MIN(step, (int64_t)n + 1), -(int64_t)n - 1);
    bool back = step < 0;
    int64_t len = (int64_t)n;
    int64_t from = clip(x, s.start, back ? len - 1 : 0, len, back);
    int64_t to = clip(x, s.stop, back ? -1 : len, len, back);
    if (x->st != TLP_OK)
        return tlpi_j_undefined(NULL);
    if (v.kind == TLPI_J_STR)
        return slice_str(x, v.s, from, to, step);
    tlpi_jval l = tlpi_j_list(x, v.l->flavour, 0);
    for (int64_t i = from; (back ? i > to : i < to) && x->st == TLP_OK;
         i += step)
        tlpi_j_append(x, l, v.l->item[i]);
    return l;
}
