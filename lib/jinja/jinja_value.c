/*
 * jinja_value.c - values of Python's types: making, finding, comparing.
 */
#include <math.h>
#include <string.h>

#include "jinja/jinja_text.h"

/* ==== making ============================================================= */

tlpi_jval tlpi_j_undefined(const tlpi_jstr *name)
{
    return (tlpi_jval){ .kind = TLPI_J_UNDEFINED, .s = name };
}

tlpi_jval tlpi_j_none(void)
{
    return (tlpi_jval){ .kind = TLPI_J_NONE };
}

tlpi_jval tlpi_j_bool(bool b)
{
    return (tlpi_jval){ .kind = TLPI_J_BOOL, .b = b };
}

tlpi_jval tlpi_j_int(int64_t i)
{
    return (tlpi_jval){ .kind = TLPI_J_INT, .i = i };
}

tlpi_jval tlpi_j_float(double f)
{
    return (tlpi_jval){ .kind = TLPI_J_FLOAT, .f = f };
}

static tlpi_jval make_str(tlpi_jx *x, tlpi_jstr s)
{
    tlpi_jstr *p = tlpi_jx_alloc(x, sizeof *p);

    if (!p)
        return tlpi_j_undefined(NULL);
    *p = s;
    return (tlpi_jval){ .kind = TLPI_J_STR, .s = p };
}

tlpi_jval tlpi_j_text(tlpi_jx *x, const char *s)
{
    return make_str(x, (tlpi_jstr){ .s = s, .n = strlen(s) });
}

tlpi_jval tlpi_j_part(tlpi_jx *x, const tlpi_jstr *s, size_t from, size_t n)
{
    return make_str(x, (tlpi_jstr){ .s = s->s + from,
                                    .data = s->data ? s->data + from : NULL,
                                    .n = n,
                                    .safe = s->safe });
}

/* Memory for cap elements, of which n are copied from old. */
static tlpi_jval *grow(tlpi_jx *x, const tlpi_jval *old, size_t n, size_t cap)
{
    tlpi_jval *p = tlpi_jx_alloc(x, cap * sizeof *p);

    if (p && n > 0)
        memcpy(p, old, n * sizeof *p);
    return p;
}

tlpi_jval tlpi_j_list(tlpi_jx *x, tlpi_jflavour flavour, size_t cap)
{
    tlpi_jlist *l = tlpi_jx_alloc(x, sizeof *l);

    if (!l)
        return tlpi_j_undefined(NULL);
    l->flavour = flavour;
    if (cap > 0) {
        l->item = grow(x, NULL, 0, cap);
        l->cap = l->item ? cap : 0;
    }
    return (tlpi_jval){ .kind = TLPI_J_LIST, .l = l };
}

tlpi_jval tlpi_j_dict(tlpi_jx *x, tlpi_jkind kind)
{
    tlpi_jdict *d = tlpi_jx_alloc(x, sizeof *d);

    return d ? (tlpi_jval){ .kind = kind, .d = d } : tlpi_j_undefined(NULL);
}

bool tlpi_j_append(tlpi_jx *x, tlpi_jval list, tlpi_jval item)
{
    if (list.kind != TLPI_J_LIST || !tlpi_jx_step(x, 1))
        return false;
    tlpi_jlist *l = list.l;
    if (l->n == l->cap) {
        size_t cap = 2 * l->cap + 4;
        tlpi_jval *p = grow(x, l->item, l->n, cap);
        if (!p)
            return false;
        l->item = p;
        l->cap = cap;
    }
    l->item[l->n++] = item;
    return true;
}

tlpi_jval *tlpi_j_find(tlpi_jx *x, const tlpi_jdict *d, tlpi_jval key)
{
    if (!tlpi_jx_step(x, 1 + d->n / 8))
        return NULL;
    for (size_t i = 0; i < d->n; i++)
        if (tlpi_j_equal(x, d->key[i], key))
            return &d->value[i];
    return NULL;
}

bool tlpi_j_can_be_key(tlpi_jx *x, tlpi_jval key)
{
    bool tuple = key.kind == TLPI_J_LIST && key.l->flavour == TLPI_J_TUPLE;

    if (key.kind == TLPI_J_DICT || (key.kind == TLPI_J_LIST && !tuple))
        tlpi_jx_fail(x, TLP_EINVAL, "a value of type %s cannot be a key",
                     tlpi_j_type(key));
    return x->st == TLP_OK;
}

bool tlpi_j_set(tlpi_jx *x, tlpi_jdict *d, tlpi_jval key, tlpi_jval value)
{
    if (!tlpi_j_can_be_key(x, key))
        return false;
    tlpi_jval *place = tlpi_j_find(x, d, key);
    if (place) {
        *place = value;
        return true;
    }
    if (d->n == d->cap) {
        size_t cap = 2 * d->cap + 4;
        tlpi_jval *keys = grow(x, d->key, d->n, cap);
        tlpi_jval *values = grow(x, d->value, d->n, cap);
        if (!keys || !values)
            return false;
        d->key = keys;
        d->value = values;
        d->cap = cap;
    }
    if (x->st != TLP_OK)
        return false;
    d->key[d->n] = key;
    d->value[d->n++] = value;
    return true;
}

/* ==== asking ============================================================= */

const char *tlpi_j_type(tlpi_jval v)
{
    static const char *const list[] = { "list", "tuple", "range", "dict view",
                                        "generator" };
    static const char *const names[] = { "undefined", "NoneType", "bool",
                                         "int",       "float",    "str",
                                         "list",      "dict",     "namespace",
                                         "loop",      "function" };

    return v.kind == TLPI_J_LIST ? list[v.l->flavour] : names[v.kind];
}

bool tlpi_j_true(tlpi_jval v)
{
    switch (v.kind) {
    case TLPI_J_UNDEFINED:
    case TLPI_J_NONE:
        return false;
    case TLPI_J_BOOL:
        return v.b;
    case TLPI_J_INT:
        return v.i != 0;
    case TLPI_J_FLOAT:
        return v.f != 0;
    case TLPI_J_STR:
        return v.s->n > 0;
    case TLPI_J_LIST:
        return v.l->n > 0 || v.l->flavour == TLPI_J_GENERATOR;
    case TLPI_J_DICT:
        return v.d->n > 0;
    default:
        return true;
    }
}

bool tlpi_j_is_text(tlpi_jval v, const char *text)
{
    return v.kind == TLPI_J_STR && v.s->n == strlen(text) &&
           memcmp(v.s->s, text, v.s->n) == 0;
}

bool tlpi_j_as_int(tlpi_jval v, int64_t *out)
{
    *out = v.kind == TLPI_J_BOOL ? v.b : v.kind == TLPI_J_INT ? v.i : 0;
    return v.kind == TLPI_J_BOOL || v.kind == TLPI_J_INT;
}

bool tlpi_j_as_float(tlpi_jval v, double *out)
{
    int64_t i;
    bool whole = tlpi_j_as_int(v, &i);

    *out = whole ? (double)i : v.kind == TLPI_J_FLOAT ? v.f : 0;
    return whole || v.kind == TLPI_J_FLOAT;
}

bool tlpi_j_length(tlpi_jval v, size_t *out)
{
    switch (v.kind) {
    case TLPI_J_UNDEFINED:
        *out = 0;
        return true;
    case TLPI_J_STR:
        *out = tlpi_jchar_count(v.s);
        return true;
    case TLPI_J_LIST:
        *out = v.l->n;
        return v.l->flavour != TLPI_J_GENERATOR;
    case TLPI_J_DICT:
        *out = v.d->n;
        return true;
    default:
        return false;
    }
}

/* ==== comparing ========================================================== */

static bool is_number(tlpi_jval v)
{
    return v.kind == TLPI_J_BOOL || v.kind == TLPI_J_INT ||
           v.kind == TLPI_J_FLOAT;
}

/* -1, 0 or 1; 2 where a number is a NaN, which has no order.  Exact also where
 * an int has more digits than a double. */
static int order_numbers(tlpi_jval a, tlpi_jval b)
{
    int64_t i, j;
    double f, g;

    if (tlpi_j_as_int(a, &i) && tlpi_j_as_int(b, &j))
        return i < j ? -1 : i > j;
    (void)tlpi_j_as_float(a, &f);
    (void)tlpi_j_as_float(b, &g);
    if (f == g && tlpi_j_as_int(a, &i) && fabs(g) < 0x1p62)
        return i < (int64_t)g ? -1 : i > (int64_t)g;
    if (f == g && tlpi_j_as_int(b, &j) && fabs(f) < 0x1p62)
        return (int64_t)f < j ? -1 : (int64_t)f > j;
    return f < g ? -1 : f > g ? 1 : f == g ? 0 : 2; /* 2: a NaN */
}

static int order_bytes(const tlpi_jstr *a, const tlpi_jstr *b)
{
    int c = memcmp(a->s, b->s, TLPI_MIN(a->n, b->n));

    if (c != 0)
        return c < 0 ? -1 : 1;
    return a->n < b->n ? -1 : a->n > b->n;
}

static bool equal_lists(tlpi_jx *x, const tlpi_jlist *a, const tlpi_jlist *b)
{
    if (a == b)
        return true;
    if (a->flavour != b->flavour || a->n != b->n ||
        a->flavour == TLPI_J_GENERATOR || !tlpi_jx_enter(x))
        return false;
    bool equal = true;
    for (size_t i = 0; i < a->n && equal && tlpi_jx_step(x, 1); i++)
        equal = tlpi_j_equal(x, a->item[i], b->item[i]);
    tlpi_jx_leave(x);
    return equal;
}

static bool equal_dicts(tlpi_jx *x, const tlpi_jdict *a, const tlpi_jdict *b)
{
    if (a->n != b->n || !tlpi_jx_enter(x))
        return false;
    bool equal = true;
    for (size_t i = 0; i < a->n && equal && x->st == TLP_OK; i++) {
        const tlpi_jval *other = tlpi_j_find(x, b, a->key[i]);
        equal = other && tlpi_j_equal(x, a->value[i], *other);
    }
    tlpi_jx_leave(x);
    return equal;
}

bool tlpi_j_equal(tlpi_jx *x, tlpi_jval a, tlpi_jval b)
{
    if (is_number(a) && is_number(b))
        return order_numbers(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case TLPI_J_UNDEFINED:
    case TLPI_J_NONE:
        return true;
    case TLPI_J_STR:
        return a.s->n == b.s->n && memcmp(a.s->s, b.s->s, a.s->n) == 0;
    case TLPI_J_LIST:
        return equal_lists(x, a.l, b.l);
    case TLPI_J_DICT:
        return a.d == b.d || equal_dicts(x, a.d, b.d);
    case TLPI_J_NAMESPACE:
        return a.d == b.d;
    case TLPI_J_LOOP:
        return a.loop == b.loop;
    default:
        return a.call == b.call;
    }
}

static int order_lists(tlpi_jx *x, const tlpi_jlist *a, const tlpi_jlist *b)
{
    for (size_t i = 0; i < a->n && i < b->n && tlpi_jx_step(x, 1); i++)
        if (!tlpi_j_equal(x, a->item[i], b->item[i]))
            return tlpi_j_order(x, a->item[i], b->item[i]);
    return a->n < b->n ? -1 : a->n > b->n;
}

int tlpi_j_order(tlpi_jx *x, tlpi_jval a, tlpi_jval b)
{
    int order = 0;

    if (is_number(a) && is_number(b))
        return order_numbers(a, b);
    if (a.kind == TLPI_J_STR && b.kind == TLPI_J_STR)
        return order_bytes(a.s, b.s);
    if (a.kind == TLPI_J_LIST && b.kind == TLPI_J_LIST &&
        a.l->flavour == b.l->flavour && a.l->flavour <= TLPI_J_TUPLE) {
        if (tlpi_jx_enter(x)) {
            order = order_lists(x, a.l, b.l);
            tlpi_jx_leave(x);
        }
        return order;
    }
    tlpi_jx_fail(x, TLP_EINVAL, "%s and %s have no order", tlpi_j_type(a),
                 tlpi_j_type(b));
    return order;
}

/* ==== walking ============================================================ */

static const tlpi_jlist *characters(tlpi_jx *x, const tlpi_jstr *s)
{
    tlpi_jval l = tlpi_j_list(x, TLPI_J_PLAIN, 0);
    size_t bytes;

    for (size_t i = 0; i < s->n && x->st == TLP_OK; i += bytes) {
        tlpi_jchar_get(s->s + i, s->n - i, &bytes);
        tlpi_j_append(x, l, tlpi_j_part(x, s, i, bytes));
    }
    return x->st == TLP_OK ? l.l : NULL;
}

/* What is left of a generator, which is empty afterwards. */
static const tlpi_jlist *take_rest(tlpi_jx *x, tlpi_jlist *l)
{
    tlpi_jval rest = tlpi_j_list(x, TLPI_J_PLAIN, 0);

    for (; l->taken < l->n && x->st == TLP_OK; l->taken++)
        tlpi_j_append(x, rest, l->item[l->taken]);
    return x->st == TLP_OK ? rest.l : NULL;
}

const tlpi_jlist *tlpi_j_iterate(tlpi_jx *x, tlpi_jval v)
{
    tlpi_jval l;

    switch (v.kind) {
    case TLPI_J_STR:
        return characters(x, v.s);
    case TLPI_J_LIST:
        return v.l->flavour == TLPI_J_GENERATOR ? take_rest(x, v.l) : v.l;
    case TLPI_J_UNDEFINED:
    case TLPI_J_DICT:
        l = tlpi_j_list(x, TLPI_J_PLAIN, 0);
        for (size_t i = 0; v.kind == TLPI_J_DICT && i < v.d->n; i++)
            tlpi_j_append(x, l, v.d->key[i]);
        return x->st == TLP_OK ? l.l : NULL;
    default:
        tlpi_jx_fail(x, TLP_EINVAL, "a value of type %s has no items",
                     tlpi_j_type(v));
        return NULL;
    }
}
