/*
 * jinja_ops.c - Python's operators.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jinja/jinja_run.h"

static tlpi_jval refuse(tlpi_jx *x, const char *op, tlpi_jval a, tlpi_jval b)
{
    tlpi_jval u = a.kind == TLPI_J_UNDEFINED ? a : b;

    if (u.kind == TLPI_J_UNDEFINED && u.s)
        tlpi_jx_fail(x, TLP_EINVAL, "%.*s is undefined",
                     (int)TLPI_MIN(u.s->n, (size_t)60), u.s->s);
    else
        tlpi_jx_fail(x, TLP_EINVAL, "no operator %s for %s and %s", op,
                     tlpi_j_type(a), tlpi_j_type(b));
    return tlpi_j_undefined(NULL);
}

/* ==== numbers ============================================================ */

static tlpi_jval too_large(tlpi_jx *x)
{
    tlpi_jx_fail(x, TLP_ENOTSUP, "an integer beyond 64 bits");
    return tlpi_j_undefined(NULL);
}

static tlpi_jval by_zero(tlpi_jx *x)
{
    tlpi_jx_fail(x, TLP_EINVAL, "division by zero");
    return tlpi_j_undefined(NULL);
}

/* Python rounds towards minus infinity. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static tlpi_jval int_power(tlpi_jx *x, int64_t a, int64_t b)
{
    int64_t y = 1;

    if (b < 0)
        return a == 0 ? by_zero(x) : tlpi_j_float(pow((double)a, (double)b));
    for (; b > 0 && tlpi_jx_step(x, 1); b--) {
        if (__builtin_mul_overflow(y, a, &y))
            return too_large(x);
        if (y == 0 || (y == 1 && a == 1))
            break;
    }
    return tlpi_j_int(y);
}

static tlpi_jval int_op(tlpi_jx *x, const char *op, int64_t a, int64_t b)
{
    int64_t y = 0;
    bool over = false;

    if (strcmp(op, "**") == 0)
        return int_power(x, a, b);
    switch (*op) {
    case '+':
        over = __builtin_add_overflow(a, b, &y);
        break;
    case '-':
        over = __builtin_sub_overflow(a, b, &y);
        break;
    case '*':
        over = __builtin_mul_overflow(a, b, &y);
        break;
    default:
        if (b == 0)
            return by_zero(x);
        if (strcmp(op, "/") == 0)
            return tlpi_j_float((double)a / (double)b);
        if (a == INT64_MIN && b == -1)
            return *op == '/' ? too_large(x) : tlpi_j_int(0);
        y = *op == '/' ? floor_div(a, b) : a - floor_div(a, b) * b;
    }
    return over ? too_large(x) : tlpi_j_int(y);
}

static tlpi_jval float_op(tlpi_jx *x, const char *op, double a, double b)
{
    if (strcmp(op, "**") == 0)
        return tlpi_j_float(pow(a, b));
    switch (*op) {
    case '+':
        return tlpi_j_float(a + b);
    case '-':
        return tlpi_j_float(a - b);
    case '*':
        return tlpi_j_float(a * b);
    default:
        if (b == 0)
            return by_zero(x);
        if (strcmp(op, "/") == 0)
            return tlpi_j_float(a / b);
        double m = fmod(a, b);
        m += m != 0 && (m < 0) != (b < 0) ? b : 0;
        return tlpi_j_float(*op == '%' ? m : floor((a - m) / b + 0.5));
    }
}

/* ==== strings and lists ================================================== */

static tlpi_jval join_two(tlpi_jx *x, const tlpi_jstr *a, const tlpi_jstr *b)
{
    tlpi_jbuf buf = { .x = x };

    if (a->safe || b->safe) {
        tlpi_jx_fail(x, TLP_ENOTSUP,
                     "joining a text that went through the filter safe");
        return tlpi_j_undefined(NULL);
    }
    tlpi_jbuf_add_str(&buf, a);
    tlpi_jbuf_add_str(&buf, b);
    return tlpi_jbuf_value(&buf);
}

static tlpi_jval join_lists(tlpi_jx *x, const tlpi_jlist *a,
                            const tlpi_jlist *b)
{
    tlpi_jval l = tlpi_j_list(x, a->flavour, a->n + b->n);

    for (size_t i = 0; i < a->n; i++)
        tlpi_j_append(x, l, a->item[i]);
    for (size_t i = 0; i < b->n; i++)
        tlpi_j_append(x, l, b->item[i]);
    return l;
}

static tlpi_jval repeat(tlpi_jx *x, tlpi_jval v, int64_t n)
{
    tlpi_jbuf b = { .x = x };
    tlpi_jval l = tlpi_j_undefined(NULL);

    if (v.kind == TLPI_J_STR) {
        for (int64_t i = 0; v.s->n && i < n && tlpi_jx_step(x, 1); i++)
            tlpi_jbuf_add_str(&b, v.s);
        return tlpi_jbuf_value(&b);
    }
    l = tlpi_j_list(x, v.l->flavour, 0);
    for (int64_t i = 0; v.l->n && i < n && x->st == TLP_OK; i++)
        for (size_t j = 0; j < v.l->n; j++)
            tlpi_j_append(x, l, v.l->item[j]);
    return l;
}

static bool is_sequence(tlpi_jval v)
{
    return v.kind == TLPI_J_STR ||
           (v.kind == TLPI_J_LIST && v.l->flavour <= TLPI_J_TUPLE);
}

static tlpi_jval sequence_op(tlpi_jx *x, const char *op, tlpi_jval a,
                             tlpi_jval b)
{
    int64_t n;

    if (strcmp(op, "+") == 0 && a.kind == b.kind && is_sequence(a) &&
        is_sequence(b)) {
        if (a.kind == TLPI_J_STR)
            return join_two(x, a.s, b.s);
        if (a.l->flavour == b.l->flavour)
            return join_lists(x, a.l, b.l);
    }
    if (strcmp(op, "*") == 0 && is_sequence(a) && tlpi_j_as_int(b, &n))
        return repeat(x, a, n);
    if (strcmp(op, "*") == 0 && is_sequence(b) && tlpi_j_as_int(a, &n))
        return repeat(x, b, n);
    if (strcmp(op, "%") == 0 && a.kind == TLPI_J_STR)
        return tlpi_jop_format(x, a.s, b);
    return refuse(x, op, a, b);
}

tlpi_jval tlpi_jop_binary(tlpi_jx *x, const char *op, tlpi_jval a, tlpi_jval b)
{
    int64_t i, j;
    double f, g;

    if (strcmp(op, "~") == 0)
        return join_two(x, tlpi_j_str(x, a), tlpi_j_str(x, b));
    if (tlpi_j_as_int(a, &i) && tlpi_j_as_int(b, &j))
        return int_op(x, op, i, j);
    if (tlpi_j_as_float(a, &f) && tlpi_j_as_float(b, &g))
        return float_op(x, op, f, g);
    return sequence_op(x, op, a, b);
}

tlpi_jval tlpi_jop_unary(tlpi_jx *x, const char *op, tlpi_jval a)
{
    int64_t i;

    if (tlpi_j_as_int(a, &i))
        return i == INT64_MIN && *op == '-' ? too_large(x)
                                            : tlpi_j_int(*op == '-' ? -i : i);
    if (a.kind == TLPI_J_FLOAT)
        return tlpi_j_float(*op == '-' ? -a.f : a.f);
    return refuse(x, op, a, a);
}

/* ==== comparing ========================================================== */

bool tlpi_jop_in(tlpi_jx *x, tlpi_jval needle, tlpi_jval where)
{
    if (where.kind == TLPI_J_STR) {
        if (needle.kind != TLPI_J_STR) {
            refuse(x, "in", needle, where);
            return false;
        }
        return tlpi_jx_step(x, where.s->n / 64) &&
               tlpi_jstr_find(where.s, needle.s, 0) <= where.s->n;
    }
    if (where.kind == TLPI_J_DICT)
        return tlpi_j_can_be_key(x, needle) &&
               tlpi_j_find(x, where.d, needle) != NULL;
    const tlpi_jlist *l = tlpi_j_iterate(x, where);
    for (size_t i = 0; l && i < l->n && tlpi_jx_step(x, 1); i++)
        if (tlpi_j_equal(x, l->item[i], needle))
            return true;
    return false;
}

bool tlpi_jop_compare(tlpi_jx *x, const char *op, tlpi_jval a, tlpi_jval b)
{
    if (strcmp(op, "==") == 0 || strcmp(op, "!=") == 0)
        return tlpi_j_equal(x, a, b) == (*op == '=');
    if (strcmp(op, "i") == 0)
        return tlpi_jop_in(x, a, b);
    if (strcmp(op, "!i") == 0)
        return !tlpi_jop_in(x, a, b);
    if (a.kind == TLPI_J_UNDEFINED || b.kind == TLPI_J_UNDEFINED) {
        refuse(x, op, a, b);
        return false;
    }
    int order = tlpi_j_order(x, a, b);
    if (order == 2) /* a NaN */
        return false;
    if (op[1] == '=' && order == 0)
        return true;
    return *op == '<' ? order < 0 : order > 0;
}

/* ==== attributes and items =============================================== */

static tlpi_jval bind_method(tlpi_jx *x, const tlpi_jnamed *m, tlpi_jval self)
{
    tlpi_jcall *c;

    if (!m->fn) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "%s.%s is not supported",
                     tlpi_j_type(self), m->name);
        return tlpi_j_undefined(NULL);
    }
    c = tlpi_jx_alloc(x, sizeof *c);
    if (!c)
        return tlpi_j_undefined(NULL);
    c->name = m->name;
    c->fn = m->fn;
    c->self = self;
    return (tlpi_jval){ .kind = TLPI_J_CALLABLE, .call = c };
}

static const tlpi_jnamed *find_method(tlpi_jval v, const tlpi_jstr *name)
{
    if (v.kind == TLPI_J_STR)
        return tlpi_jinja_str_method(name);
    if (v.kind == TLPI_J_LIST)
        return tlpi_jinja_list_method(name);
    if (v.kind == TLPI_J_DICT)
        return tlpi_jinja_dict_method(name);
    return NULL;
}

tlpi_jval tlpi_jop_fail_undefined(tlpi_jx *x, tlpi_jval v)
{
    tlpi_jx_fail(x, TLP_EINVAL, "%.*s is undefined",
                 v.s ? (int)TLPI_MIN(v.s->n, (size_t)60) : 9,
                 v.s ? v.s->s : "the value");
    return tlpi_j_undefined(NULL);
}

/* Attributes that Python's numbers have. */
static bool is_number_attribute(tlpi_jval v, const tlpi_jstr *name)
{
    static const char *const names[] = {
        "as_integer_ratio", "bit_count",   "bit_length",
        "conjugate",        "denominator", "from_bytes",
        "fromhex",          "hex",         "imag",
        "is_integer",       "numerator",   "real",
        "to_bytes",
    };
    tlpi_jval text = { .kind = TLPI_J_STR, .s = name };

    if (v.kind != TLPI_J_INT && v.kind != TLPI_J_FLOAT && v.kind != TLPI_J_BOOL)
        return false;
    for (size_t i = 0; i < TLPI_COUNT(names); i++)
        if (tlpi_j_is_text(text, names[i]))
            return true;
    return false;
}

/* Is it a method of a string, list or dict?  All attributes of such a method
 * begin with __. */
static bool is_value_method(const tlpi_jcall *c)
{
    return c->self.kind != TLPI_J_UNDEFINED && c->self.kind != TLPI_J_LOOP;
}

/* What Python's getattr gives; false where it finds nothing. */
static bool get_attribute(tlpi_jx *x, tlpi_jval v, const tlpi_jstr *name,
                          tlpi_jval *out)
{
    if (name->n >= 2 && memcmp(name->s, "__", 2) == 0) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "attributes that begin with __");
        return true;
    }
    const tlpi_jnamed *m = find_method(v, name);
    if (m) {
        *out = bind_method(x, m, v);
        return true;
    }
    if (v.kind == TLPI_J_LOOP) {
        *out = tlpi_jinja_loop_attr(x, v.loop, name);
        return true;
    }
    if (v.kind == TLPI_J_NAMESPACE) {
        tlpi_jval key = { .kind = TLPI_J_STR, .s = name };
        const tlpi_jval *value = tlpi_j_find(x, v.d, key);
        if (value)
            *out = *value;
        return value != NULL;
    }
    if ((v.kind == TLPI_J_CALLABLE && !is_value_method(v.call)) ||
        is_number_attribute(v, name)) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "attributes of a value of type %s",
                     tlpi_j_type(v));
        return true;
    }
    return false;
}

tlpi_jval tlpi_jop_attr(tlpi_jx *x, tlpi_jval v, const tlpi_jstr *name)
{
    tlpi_jval out = tlpi_j_undefined(name);

    if (v.kind == TLPI_J_UNDEFINED)
        return tlpi_jop_fail_undefined(x, v);
    if (!get_attribute(x, v, name, &out) && v.kind == TLPI_J_DICT) {
        tlpi_jval key = { .kind = TLPI_J_STR, .s = name };
        const tlpi_jval *value = tlpi_j_find(x, v.d, key);
        if (value)
            out = *value;
    }
    return out;
}

bool tlpi_j_is_indexed(tlpi_jval v)
{
    return v.kind == TLPI_J_STR ||
           (v.kind == TLPI_J_LIST && v.l->flavour <= TLPI_J_RANGE);
}

static tlpi_jval item_at(tlpi_jx *x, tlpi_jval v, int64_t i)
{
    size_t n = 0, bytes;

    tlpi_j_length(v, &n);
    i += i < 0 ? (int64_t)n : 0;
    if (i < 0 || (uint64_t)i >= n)
        return tlpi_j_undefined(NULL);
    if (v.kind == TLPI_J_LIST)
        return v.l->item[i];
    tlpi_jx_step(x, v.s->n / 64);
    size_t at = tlpi_jchar_offset(v.s, (size_t)i);
    tlpi_jchar_get(v.s->s + at, v.s->n - at, &bytes);
    return tlpi_j_part(x, v.s, at, bytes);
}

tlpi_jval tlpi_jop_item(tlpi_jx *x, tlpi_jval v, tlpi_jval index)
{
    tlpi_jval out = tlpi_j_undefined(index.kind == TLPI_J_STR ? index.s : NULL);
    int64_t i;

    if (x->st != TLP_OK)
        return out;
    if (v.kind == TLPI_J_UNDEFINED)
        return tlpi_jop_fail_undefined(x, v);
    if (tlpi_j_is_indexed(v) && tlpi_j_as_int(index, &i))
        return item_at(x, v, i);
    if (v.kind == TLPI_J_DICT && index.kind != TLPI_J_UNDEFINED) {
        const tlpi_jval *value = tlpi_j_find(x, v.d, index);
        if (value)
            return *value;
    }
    if (index.kind == TLPI_J_STR)
        get_attribute(x, v, index.s, &out);
    return out;
}
