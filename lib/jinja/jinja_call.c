/*
 * jinja_call.c - arguments, global functions, and methods of lists, dicts and
 * loops.
 */
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "jinja/jinja_run.h"

#define BUILTIN(name)                                                          \
    static tlpi_jval name(tlpi_jinterp *in, tlpi_jval self,                    \
                          const tlpi_jargs *args)

const tlpi_jnamed *tlpi_jinja_find(const tlpi_jnamed *table, size_t n,
                                   const tlpi_jstr *name)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(table[i].name) == name->n &&
            memcmp(table[i].name, name->s, name->n) == 0)
            return &table[i];
    return NULL;
}

/* ==== arguments ========================================================== */

enum { MAX_PARAMETER = 4 };

typedef struct jinja_parameter {
    const char *name;
    size_t n;
    bool optional;
} jinja_parameter;

static size_t read_signature(const char *s, jinja_parameter *p)
{
    size_t n = 0;

    while (*s) {
        size_t len = strcspn(s, " ");
        bool optional = s[len - 1] == '=';
        p[n++] = (jinja_parameter){ s, len - optional, optional };
        s += len + (s[len] == ' ');
    }
    return n;
}

static size_t find_parameter(const jinja_parameter *p, size_t n,
                             const tlpi_jstr *name)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].n == name->n && memcmp(p[i].name, name->s, name->n) == 0)
            return i;
    return n;
}

bool tlpi_jargs_read(tlpi_jx *x, const char *what, const tlpi_jargs *args,
                     const char *signature, tlpi_jval *out)
{
    jinja_parameter p[MAX_PARAMETER];
    bool set[MAX_PARAMETER] = { false };
    size_t n = read_signature(signature, p);

    if (args->n_pos > n)
        tlpi_jx_fail(x, TLP_EINVAL, "%s: %zu arguments, at most %zu expected",
                     what, args->n_pos, n);
    for (size_t i = 0; i < n; i++) {
        set[i] = i < args->n_pos;
        out[i] = set[i] ? args->pos[i] : tlpi_j_undefined(NULL);
    }
    for (size_t i = 0; i < args->n_named && x->st == TLP_OK; i++) {
        size_t k = find_parameter(p, n, args->name[i]);
        if (k == n || set[k]) {
            tlpi_jx_fail(x, TLP_EINVAL, "%s: no use for the argument %.*s",
                         what, (int)TLPI_MIN(args->name[i]->n, (size_t)60),
                         args->name[i]->s);
            break;
        }
        set[k] = true;
        out[k] = args->named[i];
    }
    for (size_t i = 0; i < n && x->st == TLP_OK; i++)
        if (!set[i] && !p[i].optional)
            tlpi_jx_fail(x, TLP_EINVAL, "%s: the argument %.*s is missing",
                         what, (int)p[i].n, p[i].name);
    return x->st == TLP_OK;
}

/* ==== global functions =================================================== */

BUILTIN(call_raise)
{
    tlpi_jval a[1];

    if (tlpi_jargs_read(&in->x, "raise_exception", args, "message", a)) {
        const tlpi_jstr *s = tlpi_j_str(&in->x, a[0]);
        tlpi_jx_fail(&in->x, TLP_EINVAL, "the template refuses: %.*s",
                     (int)TLPI_MIN(s->n, (size_t)300), s->s);
    }
    return self;
}

BUILTIN(call_range)
{
    int64_t v[3] = { 0, 0, 1 };
    tlpi_jval l = tlpi_j_list(&in->x, TLPI_J_RANGE, 0);

    (void)self;
    if (args->n_named > 0 || args->n_pos < 1 || args->n_pos > 3)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "range: 1 to 3 integers expected");
    for (size_t i = 0; i < args->n_pos && in->x.st == TLP_OK; i++)
        if (!tlpi_j_as_int(args->pos[i], &v[args->n_pos == 1 ? 1 : i]))
            tlpi_jx_fail(&in->x, TLP_EINVAL,
                         "range: an integer expected, %s "
                         "found",
                         tlpi_j_type(args->pos[i]));
    if (v[2] == 0)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "range: the step is 0");
    for (int64_t i = v[0];
         in->x.st == TLP_OK && (v[2] > 0 ? i < v[1] : i > v[1]);) {
        tlpi_j_append(&in->x, l, tlpi_j_int(i));
        if (__builtin_add_overflow(i, v[2], &i))
            break;
    }
    return l;
}

/* A namespace or a dict from arguments with names, on top of a dict. */
static tlpi_jval make_dict(tlpi_jinterp *in, const tlpi_jargs *args,
                           tlpi_jkind kind)
{
    tlpi_jval out = tlpi_j_dict(&in->x, kind);

    if (in->x.st != TLP_OK)
        return out;
    if (args->n_pos > 1 ||
        (args->n_pos == 1 && args->pos[0].kind != TLPI_J_DICT)) {
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "a dict from these arguments");
        return out;
    }
    for (size_t i = 0; args->n_pos == 1 && i < args->pos[0].d->n; i++)
        tlpi_j_set(&in->x, out.d, args->pos[0].d->key[i],
                   args->pos[0].d->value[i]);
    for (size_t i = 0; i < args->n_named; i++) {
        tlpi_jval key = { .kind = TLPI_J_STR, .s = args->name[i] };
        tlpi_j_set(&in->x, out.d, key, args->named[i]);
    }
    return out;
}

BUILTIN(call_namespace)
{
    (void)self;
    return make_dict(in, args, TLPI_J_NAMESPACE);
}

BUILTIN(call_dict)
{
    (void)self;
    return make_dict(in, args, TLPI_J_DICT);
}

static bool has_data(const tlpi_jstr *s)
{
    for (size_t i = 0; s->data && i < s->n; i++)
        if (s->data[i])
            return true;
    return false;
}

/* A format that holds data makes the whole date data. */
BUILTIN(call_strftime_now)
{
    tlpi_jbuf b = { .x = &in->x };
    char format[128], text[256];
    struct tm tm;
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "strftime_now", args, "format", a))
        return self;
    const tlpi_jstr *s = tlpi_j_str(&in->x, a[0]);
    if (s->n >= sizeof format || memchr(s->s, '\0', s->n) ||
        !localtime_r(&in->x.now, &tm)) {
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "strftime_now: the format");
        return self;
    }
    memcpy(format, s->s, s->n);
    format[s->n] = '\0';
    size_t n = tlpi_strftime(text, sizeof text, format, &tm);
    if (n == 0 && s->n > 0)
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "strftime_now: the format");
    tlpi_jbuf_add_text(&b, text, n, has_data(s) ? TLPI_JINJA_DATA : 0);
    return tlpi_jbuf_value(&b);
}

static const tlpi_jnamed globals[] = {
    { "raise_exception", call_raise },
    { "range", call_range },
    { "namespace", call_namespace },
    { "dict", call_dict },
    { "strftime_now", call_strftime_now },
    { "cycler", NULL },
    { "joiner", NULL },
    { "lipsum", NULL },
    /* the template itself, and the further arguments of a macro */
    { "self", NULL },
    { "varargs", NULL },
    { "kwargs", NULL },
};

const tlpi_jnamed *tlpi_jinja_global(const tlpi_jstr *name)
{
    return tlpi_jinja_find(globals, TLPI_COUNT(globals), name);
}

/* ==== lists ============================================================== */

static tlpi_jval look_for(tlpi_jinterp *in, tlpi_jval self,
                          const tlpi_jargs *args, bool count)
{
    tlpi_jval a[1];
    int64_t n = 0;

    if (self.l->flavour > TLPI_J_RANGE)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "a %s has no such method",
                     tlpi_j_type(self));
    if (!tlpi_jargs_read(&in->x, "a search", args, "value", a))
        return self;
    for (size_t i = 0; i < self.l->n && tlpi_jx_step(&in->x, 1); i++) {
        bool equal = tlpi_j_equal(&in->x, self.l->item[i], a[0]);
        if (equal && !count)
            return tlpi_j_int((int64_t)i);
        n += equal;
    }
    if (!count)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "index: the value is not there");
    return tlpi_j_int(n);
}

BUILTIN(list_index)
{
    return look_for(in, self, args, false);
}

BUILTIN(list_count)
{
    return look_for(in, self, args, true);
}

/* Jinja's sandbox refuses what changes a list or a dict. */
static const tlpi_jnamed list_methods[] = {
    { "index", list_index }, { "count", list_count }, { "append", NULL },
    { "clear", NULL },       { "copy", NULL },        { "extend", NULL },
    { "insert", NULL },      { "pop", NULL },         { "remove", NULL },
    { "reverse", NULL },     { "sort", NULL },
};

const tlpi_jnamed *tlpi_jinja_list_method(const tlpi_jstr *name)
{
    return tlpi_jinja_find(list_methods, TLPI_COUNT(list_methods), name);
}

/* ==== dicts ============================================================== */

BUILTIN(dict_get)
{
    tlpi_jval a[2];

    if (!tlpi_jargs_read(&in->x, "get", args, "key default=", a))
        return self;
    const tlpi_jval *v = tlpi_j_find(&in->x, self.d, a[0]);
    if (v)
        return *v;
    return a[1].kind == TLPI_J_UNDEFINED ? tlpi_j_none() : a[1];
}

/* Keys (1), values (2) or pairs of both (3). */
static tlpi_jval view(tlpi_jinterp *in, tlpi_jval self, const tlpi_jargs *args,
                      int what)
{
    tlpi_jval out = tlpi_j_list(&in->x, TLPI_J_VIEW, 0);

    if (!tlpi_jargs_read(&in->x, "a view of a dict", args, "", NULL))
        return out;
    for (size_t i = 0; i < self.d->n && in->x.st == TLP_OK; i++) {
        tlpi_jval pair = tlpi_j_list(&in->x, TLPI_J_TUPLE, 2);
        tlpi_j_append(&in->x, pair, self.d->key[i]);
        tlpi_j_append(&in->x, pair, self.d->value[i]);
        tlpi_j_append(&in->x, out,
                      what == 1   ? self.d->key[i]
                      : what == 2 ? self.d->value[i]
                                  : pair);
    }
    return out;
}

BUILTIN(dict_keys)
{
    return view(in, self, args, 1);
}

BUILTIN(dict_values)
{
    return view(in, self, args, 2);
}

BUILTIN(dict_items)
{
    return view(in, self, args, 3);
}

static const tlpi_jnamed dict_methods[] = {
    { "get", dict_get },     { "keys", dict_keys }, { "values", dict_values },
    { "items", dict_items }, { "clear", NULL },     { "copy", NULL },
    { "fromkeys", NULL },    { "pop", NULL },       { "popitem", NULL },
    { "setdefault", NULL },  { "update", NULL },
};

const tlpi_jnamed *tlpi_jinja_dict_method(const tlpi_jstr *name)
{
    return tlpi_jinja_find(dict_methods, TLPI_COUNT(dict_methods), name);
}

/* ==== loops ==============================================================
 * The depth counts recursive loops, which are not supported: it is always 1. */

BUILTIN(loop_cycle)
{
    if (args->n_pos == 0) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "cycle: no values");
        return self;
    }
    return args->pos[self.loop->i % args->n_pos];
}

BUILTIN(loop_changed)
{
    tlpi_jval now = tlpi_j_list(&in->x, TLPI_J_TUPLE, 0);
    tlpi_jloop *loop = self.loop;

    for (size_t i = 0; i < args->n_pos; i++)
        tlpi_j_append(&in->x, now, args->pos[i]);
    bool changed = !loop->has_changed_args ||
                   !tlpi_j_equal(&in->x, loop->changed_args, now);
    loop->has_changed_args = true;
    loop->changed_args = now;
    return tlpi_j_bool(changed);
}

static tlpi_jval loop_method(tlpi_jx *x, tlpi_jloop *loop, const char *name,
                             tlpi_jbuiltin fn)
{
    tlpi_jcall *c = tlpi_jx_alloc(x, sizeof *c);

    if (!c)
        return tlpi_j_undefined(NULL);
    c->name = name;
    c->fn = fn;
    c->self = (tlpi_jval){ .kind = TLPI_J_LOOP, .loop = loop };
    return (tlpi_jval){ .kind = TLPI_J_CALLABLE, .call = c };
}

tlpi_jval tlpi_jinja_loop_attr(tlpi_jx *x, tlpi_jloop *loop,
                               const tlpi_jstr *name)
{
    tlpi_jval v = { .kind = TLPI_J_STR, .s = name };
    int64_t i = (int64_t)loop->i, n = (int64_t)loop->items->n;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = { { "index", i + 1 },    { "index0", i },
                    { "revindex", n - i }, { "revindex0", n - i - 1 },
                    { "length", n },       { "depth", 1 },
                    { "depth0", 0 } };

    for (size_t k = 0; k < TLPI_COUNT(numbers); k++)
        if (tlpi_j_is_text(v, numbers[k].name))
            return tlpi_j_int(numbers[k].value);
    if (tlpi_j_is_text(v, "first"))
        return tlpi_j_bool(i == 0);
    if (tlpi_j_is_text(v, "last"))
        return tlpi_j_bool(i + 1 == n);
    if (tlpi_j_is_text(v, "previtem"))
        return i > 0 ? loop->items->item[i - 1] : tlpi_j_undefined(name);
    if (tlpi_j_is_text(v, "nextitem"))
        return i + 1 < n ? loop->items->item[i + 1] : tlpi_j_undefined(name);
    if (tlpi_j_is_text(v, "cycle"))
        return loop_method(x, loop, "cycle", loop_cycle);
    if (tlpi_j_is_text(v, "changed"))
        return loop_method(x, loop, "changed", loop_changed);
    return tlpi_j_undefined(name);
}
