/*
 * jinja_filter_list.c - filters of lists.
 */
#include <string.h>

#include "jinja/jinja_filter.h"

static bool given(tlpi_jval v)
{
    return v.kind != TLPI_J_UNDEFINED;
}

/* "a.b.0" of v: attributes and indices, one after the other. */
static tlpi_jval get_path(tlpi_jx *x, tlpi_jval v, tlpi_jval path)
{
    size_t from = 0;

    if (path.kind != TLPI_J_STR)
        return tlpi_jop_item(x, v, path);
    while (from <= path.s->n && x->st == TLP_OK) {
        const char *dot = memchr(path.s->s + from, '.', path.s->n - from);
        size_t n = dot ? (size_t)(dot - path.s->s) - from : path.s->n - from;
        tlpi_jval key = tlpi_j_part(x, path.s, from, n);
        if (key.kind == TLPI_J_STR && n > 0 && n < 9 &&
            strspn(key.s->s, "0123456789") >= n) {
            int64_t i = 0;
            for (size_t j = 0; j < n; j++)
                i = i * 10 + (key.s->s[j] - '0');
            key = tlpi_j_int(i);
        }
        v = tlpi_jop_item(x, v, key);
        from += n + 1;
    }
    return v;
}

static const tlpi_jlist *walk(tlpi_jinterp *in, tlpi_jval v)
{
    return tlpi_j_iterate(&in->x, v);
}

/* ==== choosing and mapping =============================================== */

/* The arguments from the i-th on. */
static tlpi_jargs rest_of(const tlpi_jargs *args, size_t i)
{
    tlpi_jargs rest = *args;

    i = TLPI_MIN(i, args->n_pos);
    rest.pos += i;
    rest.n_pos -= i;
    return rest;
}

/* A filter's or a test's name given as a value. */
static const tlpi_jnamed *find_by_value(tlpi_jinterp *in, tlpi_jval name,
                                        bool test)
{
    const tlpi_jnamed *f = NULL;

    if (name.kind == TLPI_J_STR)
        f = test ? tlpi_jinja_test(name.s) : tlpi_jinja_filter(name.s);
    if (f && f->fn)
        return f;
    tlpi_jx_fail(&in->x, TLP_ENOTSUP, "the %s %.*s is not supported",
                 test ? "test" : "filter",
                 name.kind == TLPI_J_STR ? (int)TLPI_MIN(name.s->n, (size_t)60)
                                         : 1,
                 name.kind == TLPI_J_STR ? name.s->s : "?");
    return NULL;
}

/* select, reject: by a test of the item; selectattr, rejectattr: by one of
 * an attribute.  Without a test: by truth. */
static tlpi_jval choose(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args,
                        bool by_attr, bool keep)
{
    tlpi_jval out = tlpi_j_list(&in->x, TLPI_J_GENERATOR, 0);
    size_t at = by_attr ? 1 : 0;
    tlpi_jargs rest = rest_of(args, at + 1);
    const tlpi_jnamed *test = NULL;

    if (by_attr && args->n_pos == 0)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "the name of an attribute is missing");
    if (args->n_pos > at)
        test = find_by_value(in, args->pos[at], true);
    if (in->x.st != TLP_OK || !given(v))
        return out;
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && tlpi_jx_step(&in->x, 1); i++) {
        tlpi_jval item =
            by_attr ? get_path(&in->x, l->item[i], args->pos[0]) : l->item[i];
        if (test)
            item = test->fn(in, item, &rest);
        if (tlpi_j_true(item) == keep)
            tlpi_j_append(&in->x, out, l->item[i]);
    }
    return out;
}

TLPI_JFILTER(select)
{
    return choose(in, v, args, false, true);
}

TLPI_JFILTER(reject)
{
    return choose(in, v, args, false, false);
}

TLPI_JFILTER(selectattr)
{
    return choose(in, v, args, true, true);
}

TLPI_JFILTER(rejectattr)
{
    return choose(in, v, args, true, false);
}

static const tlpi_jval *named(const tlpi_jargs *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (args->name[i]->n == strlen(name) &&
            memcmp(args->name[i]->s, name, args->name[i]->n) == 0)
            return &args->named[i];
    return NULL;
}

/* map(attribute="name", default=value), or map("filter", arguments...). */
TLPI_JFILTER(map)
{
    tlpi_jval out = tlpi_j_list(&in->x, TLPI_J_GENERATOR, 0);
    const tlpi_jval *attr = named(args, "attribute");
    const tlpi_jval *none = named(args, "default");
    tlpi_jargs rest = rest_of(args, 1);
    const tlpi_jnamed *filter = NULL;

    if (attr ? args->n_pos > 0 || args->n_named != 1u + (none != NULL)
             : args->n_pos == 0)
        tlpi_jx_fail(&in->x, TLP_EINVAL,
                     "map: a filter or an attribute expected");
    else if (!attr)
        filter = find_by_value(in, args->pos[0], false);
    if (in->x.st != TLP_OK || !given(v))
        return out;
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && tlpi_jx_step(&in->x, 1); i++) {
        tlpi_jval item = attr ? get_path(&in->x, l->item[i], *attr)
                              : filter->fn(in, l->item[i], &rest);
        if (attr && none && !given(item))
            item = *none;
        tlpi_j_append(&in->x, out, item);
    }
    return out;
}

/* ==== ends, order ======================================================== */

TLPI_JFILTER(first)
{
    tlpi_jlist *g = v.kind == TLPI_J_LIST ? v.l : NULL;

    if (!tlpi_jargs_read(&in->x, "first", args, "", NULL))
        return v;
    if (g && g->flavour == TLPI_J_GENERATOR)
        return g->taken < g->n ? g->item[g->taken++] : tlpi_j_undefined(NULL);
    const tlpi_jlist *l = walk(in, v);
    return l && l->n > 0 ? l->item[0] : tlpi_j_undefined(NULL);
}

TLPI_JFILTER(last)
{
    if (!tlpi_jargs_read(&in->x, "last", args, "", NULL))
        return v;
    if (v.kind == TLPI_J_LIST && v.l->flavour == TLPI_J_GENERATOR) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "a generator has no last item");
        return v;
    }
    const tlpi_jlist *l = walk(in, v);
    return l && l->n > 0 ? l->item[l->n - 1] : tlpi_j_undefined(NULL);
}

static tlpi_jval as_list(tlpi_jinterp *in, tlpi_jval v, tlpi_jflavour flavour)
{
    tlpi_jval out = tlpi_j_list(&in->x, flavour, 0);
    const tlpi_jlist *l = walk(in, v);

    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++)
        tlpi_j_append(&in->x, out, l->item[i]);
    return out;
}

TLPI_JFILTER(list)
{
    if (!tlpi_jargs_read(&in->x, "list", args, "", NULL))
        return v;
    return as_list(in, v, TLPI_J_PLAIN);
}

static void turn(tlpi_jlist *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        tlpi_jval t = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = t;
    }
}

TLPI_JFILTER(reverse)
{
    tlpi_jbuf b = { .x = &in->x };

    if (!tlpi_jargs_read(&in->x, "reverse", args, "", NULL))
        return v;
    tlpi_jval l = as_list(in, v, TLPI_J_GENERATOR);
    if (in->x.st != TLP_OK)
        return v;
    turn(l.l);
    if (v.kind != TLPI_J_STR)
        return l;
    for (size_t i = 0; i < l.l->n; i++)
        tlpi_jbuf_add_str(&b, l.l->item[i].s);
    return tlpi_jbuf_value(&b);
}

/* What an item is compared by: an attribute, in lower case. */
static tlpi_jval sort_key(tlpi_jinterp *in, tlpi_jval v, tlpi_jval attr,
                          bool keep_case)
{
    if (given(attr) && attr.kind != TLPI_J_NONE)
        v = get_path(&in->x, v, attr);
    if (v.kind == TLPI_J_STR && !keep_case)
        v = tlpi_jstr_case(&in->x, v.s, TLPI_JC_LOWER);
    return v;
}

/* Stable; keys and items move together. */
static void insertion_sort(tlpi_jinterp *in, tlpi_jlist *l, tlpi_jval *key,
                           bool down)
{
    for (size_t i = 1; i < l->n; i++) {
        tlpi_jval item = l->item[i], k = key[i];
        size_t j = i;
        while (j > 0 && tlpi_jx_step(&in->x, 1)) {
            int order = tlpi_j_order(&in->x, key[j - 1], k);
            if (down ? order >= 0 : order <= 0)
                break;
            l->item[j] = l->item[j - 1];
            key[j] = key[j - 1];
            j--;
        }
        l->item[j] = item;
        key[j] = k;
    }
}

static tlpi_jval sorted(tlpi_jinterp *in, tlpi_jval l, tlpi_jval attr,
                        bool keep_case, bool down)
{
    if (in->x.st != TLP_OK)
        return l;
    tlpi_jval *key = tlpi_jx_alloc(&in->x, l.l->n * sizeof *key);
    for (size_t i = 0; key && i < l.l->n; i++)
        key[i] = sort_key(in, l.l->item[i], attr, keep_case);
    if (in->x.st == TLP_OK)
        insertion_sort(in, l.l, key, down);
    return l;
}

TLPI_JFILTER(sort)
{
    tlpi_jval a[3];

    if (!tlpi_jargs_read(&in->x, "sort", args,
                         "reverse= case_sensitive= attribute=", a))
        return v;
    return sorted(in, as_list(in, v, TLPI_J_PLAIN), a[2], tlpi_j_true(a[1]),
                  tlpi_j_true(a[0]));
}

/* (key, value) pairs of a dict as tuples. */
static tlpi_jval pairs(tlpi_jinterp *in, tlpi_jval v, tlpi_jflavour flavour)
{
    tlpi_jval out = tlpi_j_list(&in->x, flavour, 0);

    if (v.kind != TLPI_J_DICT && (given(v) || flavour == TLPI_J_PLAIN)) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "a dict expected, %s found",
                     tlpi_j_type(v));
        return out;
    }
    for (size_t i = 0; given(v) && i < v.d->n && in->x.st == TLP_OK; i++) {
        tlpi_jval pair = tlpi_j_list(&in->x, TLPI_J_TUPLE, 2);
        tlpi_j_append(&in->x, pair, v.d->key[i]);
        tlpi_j_append(&in->x, pair, v.d->value[i]);
        tlpi_j_append(&in->x, out, pair);
    }
    return out;
}

TLPI_JFILTER(items)
{
    if (!tlpi_jargs_read(&in->x, "items", args, "", NULL))
        return v;
    return pairs(in, v, TLPI_J_GENERATOR);
}

TLPI_JFILTER(dictsort)
{
    tlpi_jval a[3];

    if (!tlpi_jargs_read(&in->x, "dictsort", args,
                         "case_sensitive= by= reverse=", a))
        return v;
    bool by_value = tlpi_j_is_text(a[1], "value");
    return sorted(in, pairs(in, v, TLPI_J_PLAIN), tlpi_j_int(by_value),
                  tlpi_j_true(a[0]), tlpi_j_true(a[2]));
}

/* ==== one value from many ================================================ */

TLPI_JFILTER(join)
{
    tlpi_jbuf b = { .x = &in->x };
    tlpi_jval a[2];

    if (!tlpi_jargs_read(&in->x, "join", args, "d= attribute=", a))
        return v;
    const tlpi_jstr *between = tlpi_j_str(&in->x, a[0]);
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++) {
        tlpi_jval item = l->item[i];
        if (given(a[1]) && a[1].kind != TLPI_J_NONE)
            item = get_path(&in->x, item, a[1]);
        if (i > 0)
            tlpi_jbuf_add_str(&b, between);
        tlpi_jbuf_add_value(&b, item);
    }
    return tlpi_jbuf_value(&b);
}

TLPI_JFILTER(sum)
{
    tlpi_jval a[2], sum = tlpi_j_int(0);

    if (!tlpi_jargs_read(&in->x, "sum", args, "attribute= start=", a))
        return v;
    if (given(a[1]))
        sum = a[1];
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++) {
        tlpi_jval item = l->item[i];
        if (given(a[0]) && a[0].kind != TLPI_J_NONE)
            item = get_path(&in->x, item, a[0]);
        if (in->x.st == TLP_OK)
            sum = tlpi_jop_binary(&in->x, "+", sum, item);
    }
    return sum;
}

static tlpi_jval extreme(tlpi_jinterp *in, tlpi_jval v, const tlpi_jargs *args,
                         bool largest)
{
    tlpi_jval a[2], best_key = tlpi_j_undefined(NULL), best = best_key;

    if (!tlpi_jargs_read(&in->x, "min and max", args,
                         "case_sensitive= attribute=", a))
        return v;
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++) {
        tlpi_jval key = sort_key(in, l->item[i], a[1], tlpi_j_true(a[0]));
        int order = i > 0 ? tlpi_j_order(&in->x, key, best_key) : 0;
        if (i == 0 || (largest ? order > 0 : order < 0)) {
            best = l->item[i];
            best_key = key;
        }
    }
    return best;
}

TLPI_JFILTER(min)
{
    return extreme(in, v, args, false);
}

TLPI_JFILTER(max)
{
    return extreme(in, v, args, true);
}

TLPI_JFILTER(unique)
{
    tlpi_jval a[2], out = tlpi_j_list(&in->x, TLPI_J_GENERATOR, 0);
    tlpi_jval seen = tlpi_j_list(&in->x, TLPI_J_PLAIN, 0);

    if (!tlpi_jargs_read(&in->x, "unique", args,
                         "case_sensitive= attribute=", a))
        return v;
    const tlpi_jlist *l = walk(in, v);
    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++) {
        tlpi_jval key = sort_key(in, l->item[i], a[1], tlpi_j_true(a[0]));
        if (in->x.st != TLP_OK || !tlpi_j_can_be_key(&in->x, key) ||
            tlpi_jop_in(&in->x, key, seen))
            continue;
        tlpi_j_append(&in->x, seen, key);
        tlpi_j_append(&in->x, out, l->item[i]);
    }
    return out;
}
