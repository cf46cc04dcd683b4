/*
 * jinja_test.c - tests: x is NAME.
 */
#include <string.h>

#include "jinja/jinja_run.h"

#define TEST(name)                                                             \
    static tlpi_jval name(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args)

static tlpi_jval plain(tlpi_jinterp *in, const tlpi_jargs *args, bool yes)
{
    (void)tlpi_jargs_read(&in->x, "a test", args, "", NULL);
    return tlpi_j_bool(yes);
}

TEST(is_defined)
{
    return plain(in, args, v.kind != TLPI_J_UNDEFINED);
}

TEST(is_undefined)
{
    return plain(in, args, v.kind == TLPI_J_UNDEFINED);
}

TEST(is_none)
{
    return plain(in, args, v.kind == TLPI_J_NONE);
}

TEST(is_boolean)
{
    return plain(in, args, v.kind == TLPI_J_BOOL);
}

TEST(is_true)
{
    return plain(in, args, v.kind == TLPI_J_BOOL && v.b);
}

TEST(is_false)
{
    return plain(in, args, v.kind == TLPI_J_BOOL && !v.b);
}

TEST(is_integer)
{
    return plain(in, args, v.kind == TLPI_J_INT);
}

TEST(is_float)
{
    return plain(in, args, v.kind == TLPI_J_FLOAT);
}

TEST(is_number)
{
    double f;

    return plain(in, args, tlpi_j_as_float(v, &f));
}

TEST(is_string)
{
    return plain(in, args, v.kind == TLPI_J_STR);
}

TEST(is_mapping)
{
    return plain(in, args, v.kind == TLPI_J_DICT);
}

/* What has a length and can be indexed; Jinja's undefined value pretends to. */
TEST(is_sequence)
{
    bool list = v.kind == TLPI_J_LIST && v.l->flavour <= TLPI_J_RANGE;

    return plain(in, args,
                 list || v.kind == TLPI_J_STR || v.kind == TLPI_J_DICT ||
                     v.kind == TLPI_J_UNDEFINED);
}

TEST(is_iterable)
{
    return plain(in, args,
                 v.kind == TLPI_J_LIST || v.kind == TLPI_J_STR ||
                     v.kind == TLPI_J_DICT || v.kind == TLPI_J_UNDEFINED ||
                     v.kind == TLPI_J_LOOP);
}

TEST(is_callable)
{
    return plain(in, args,
                 v.kind == TLPI_J_CALLABLE || v.kind == TLPI_J_UNDEFINED);
}

static tlpi_jval by_case(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args,
                         bool upper)
{
    const tlpi_jstr *s = tlpi_j_str(&in->x, v);
    bool any = false, other = false;
    size_t bytes;

    for (size_t i = 0; i < s->n; i += bytes) {
        uint32_t c = tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        any |= upper ? tlpi_jchar_is_upper(c) : tlpi_jchar_is_lower(c);
        other |= upper ? tlpi_jchar_is_lower(c) : tlpi_jchar_is_upper(c);
    }
    return plain(in, args, any && !other);
}

TEST(is_upper)
{
    return by_case(in, v, args, true);
}

TEST(is_lower)
{
    return by_case(in, v, args, false);
}

/* ==== with an argument =================================================== */

static tlpi_jval compare(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args,
                         const char *op)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "a test", args, "other", a))
        return v;
    return tlpi_j_bool(tlpi_jop_compare(&in->x, op, v, a[0]));
}

TEST(is_eq)
{
    return compare(in, v, args, "==");
}

TEST(is_ne)
{
    return compare(in, v, args, "!=");
}

TEST(is_lt)
{
    return compare(in, v, args, "<");
}

TEST(is_le)
{
    return compare(in, v, args, "<=");
}

TEST(is_gt)
{
    return compare(in, v, args, ">");
}

TEST(is_ge)
{
    return compare(in, v, args, ">=");
}

TEST(is_in)
{
    return compare(in, v, args, "i");
}

/* Only values that exist once in Python can be told apart by identity. */
TEST(is_sameas)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "sameas", args, "other", a))
        return v;
    bool single = a[0].kind == TLPI_J_NONE || a[0].kind == TLPI_J_BOOL;
    if (!single && v.kind == a[0].kind)
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "sameas for values of type %s",
                     tlpi_j_type(v));
    return tlpi_j_bool(v.kind == a[0].kind && tlpi_j_equal(&in->x, v, a[0]));
}

static tlpi_jval remainder_is(tlpi_jinterp *in, tlpi_jval v, int64_t by,
                              int64_t rest)
{
    tlpi_jval m = tlpi_jop_binary(&in->x, "%", v, tlpi_j_int(by));

    return tlpi_j_bool(in->x.st == TLP_OK &&
                       tlpi_j_equal(&in->x, m, tlpi_j_int(rest)));
}

TEST(is_odd)
{
    return plain(in, args, remainder_is(in, v, 2, 1).b);
}

TEST(is_even)
{
    return plain(in, args, remainder_is(in, v, 2, 0).b);
}

TEST(is_divisibleby)
{
    int64_t by;
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "divisibleby", args, "num", a))
        return v;
    if (!tlpi_j_as_int(a[0], &by)) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "divisibleby: no integer");
        return v;
    }
    return remainder_is(in, v, by, 0);
}

TEST(is_filter)
{
    const tlpi_jnamed *f = v.kind == TLPI_J_STR ? tlpi_jinja_filter(v.s) : NULL;

    return plain(in, args, f != NULL);
}

TEST(is_test)
{
    const tlpi_jnamed *f = v.kind == TLPI_J_STR ? tlpi_jinja_test(v.s) : NULL;

    return plain(in, args, f != NULL);
}

static const tlpi_jnamed tests[] = {
    { "boolean", is_boolean },
    { "callable", is_callable },
    { "defined", is_defined },
    { "divisibleby", is_divisibleby },
    { "eq", is_eq },
    { "equalto", is_eq },
    { "even", is_even },
    { "false", is_false },
    { "filter", is_filter },
    { "float", is_float },
    { "ge", is_ge },
    { "greaterthan", is_gt },
    { "gt", is_gt },
    { "in", is_in },
    { "integer", is_integer },
    { "iterable", is_iterable },
    { "le", is_le },
    { "lessthan", is_lt },
    { "lower", is_lower },
    { "lt", is_lt },
    { "mapping", is_mapping },
    { "ne", is_ne },
    { "none", is_none },
    { "number", is_number },
    { "odd", is_odd },
    { "sameas", is_sameas },
    { "sequence", is_sequence },
    { "string", is_string },
    { "test", is_test },
    { "true", is_true },
    { "undefined", is_undefined },
    { "upper", is_upper },
};

const tlpi_jnamed *tlpi_jinja_test(const tlpi_jstr *name)
{
    return tlpi_jinja_find(tests, TLPI_COUNT(tests), name);
}
