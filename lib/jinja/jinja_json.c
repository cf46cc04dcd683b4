/*
 * jinja_json.c - values from JSON, and to JSON as Python's json.dumps writes.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jinja/jinja_run.h"

/* ==== from JSON ========================================================== */

static bool is_plain_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z') ||
              (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || s[i] == '-'))
            return false;
    return true;
}

static tlpi_jval copy_text(tlpi_jx *x, const char *s, size_t n, uint8_t mark)
{
    tlpi_jbuf b = { .x = x };

    tlpi_jbuf_add_text(&b, s, n, mark);
    return tlpi_jbuf_value(&b);
}

/* The value of a key; the content of a message is known as such. */
static tlpi_jval from_member(tlpi_jx *x, const char *key, const json_t *v,
                             bool trusted)
{
    tlpi_jval out = tlpi_j_from_json(x, v, trusted);

    if (strcmp(key, "content") == 0 && out.kind == TLPI_J_NONE)
        out.b = true;
    if (strcmp(key, "content") == 0 && out.kind == TLPI_J_LIST)
        out.l->parts = true;
    return out;
}

static tlpi_jval from_object(tlpi_jx *x, const json_t *value, bool trusted)
{
    tlpi_jval d = tlpi_j_dict(x, TLPI_J_DICT);
    json_t *object = (json_t *)(uintptr_t)value; /* json_object_foreach reads */
    const char *key;
    json_t *v;

    json_object_foreach(object, key, v)
    {
        bool role = strcmp(key, "role") == 0 && json_is_string(v) &&
                    is_plain_word(json_string_value(v), json_string_length(v));
        if (x->st == TLP_OK)
            tlpi_j_set(x, d.d, copy_text(x, key, strlen(key), !trusted),
                       from_member(x, key, v, trusted || role));
    }
    return d;
}

tlpi_jval tlpi_j_from_json(tlpi_jx *x, const json_t *value, bool trusted)
{
    tlpi_jval l = tlpi_j_none();

    if (!tlpi_jx_step(x, 1) || !tlpi_jx_enter(x))
        return l;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        l = from_object(x, value, trusted);
        break;
    case JSON_ARRAY:
        l = tlpi_j_list(x, TLPI_J_PLAIN, 0);
        for (size_t i = 0; i < json_array_size(value) && x->st == TLP_OK; i++)
            tlpi_j_append(
                x, l, tlpi_j_from_json(x, json_array_get(value, i), trusted));
        break;
    case JSON_STRING:
        l = copy_text(x, json_string_value(value), json_string_length(value),
                      value == x->tail ? TLPI_JINJA_TAIL : !trusted);
        break;
    case JSON_INTEGER:
        l = tlpi_j_int(json_integer_value(value));
        break;
    case JSON_REAL:
        l = tlpi_j_float(json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        l = tlpi_j_bool(json_is_true(value));
        break;
    default:
        break;
    }
    tlpi_jx_leave(x);
    return l;
}

/* ==== to JSON ============================================================ */

typedef struct jinja_json_writer {
    tlpi_jbuf b;
    const tlpi_jstr *indent;     /* or NULL: one line */
    const tlpi_jstr *item, *key; /* separators */
    bool sort_keys;
    int level;
} jinja_json_writer;

static void write_value(jinja_json_writer *w, tlpi_jval v);

static void add(jinja_json_writer *w, const char *s)
{
    tlpi_jbuf_add_text(&w->b, s, strlen(s), false);
}

static void write_str(jinja_json_writer *w, const tlpi_jstr *s)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";

    add(w, "\"");
    for (size_t i = 0; i < s->n && w->b.x->st == TLP_OK; i++) {
        unsigned char c = (unsigned char)s->s[i];
        const char *p = c ? strchr(from, c) : NULL;
        char text[8];
        int n = 0;
        if (p)
            n = snprintf(text, sizeof text, "\\%c", to[p - from]);
        else if (c < 0x20)
            n = snprintf(text, sizeof text, "\\u%04x", c);
        if (n > 0)
            tlpi_jbuf_add_text(&w->b, text, (size_t)n, s->data && s->data[i]);
        else
            tlpi_jbuf_add(&w->b, s, i, 1);
    }
    add(w, "\"");
}

static void write_float(jinja_json_writer *w, double f)
{
    char text[40];

    if (isfinite(f))
        tlpi_jbuf_add_text(&w->b, text, tlpi_j_float_text(f, text), false);
    else
        add(w, isnan(f) ? "NaN" : f > 0 ? "Infinity" : "-Infinity");
}

static void new_line(jinja_json_writer *w)
{
    if (!w->indent)
        return;
    add(w, "\n");
    for (int i = 0; i < w->level; i++)
        tlpi_jbuf_add_str(&w->b, w->indent);
}

static void write_list(jinja_json_writer *w, const tlpi_jlist *l)
{
    if (l->n == 0) {
        add(w, "[]");
        return;
    }
    add(w, "[");
    w->level++;
    for (size_t i = 0; i < l->n && tlpi_jx_step(w->b.x, 1); i++) {
        if (i > 0)
            tlpi_jbuf_add_str(&w->b, w->item);
        new_line(w);
        write_value(w, l->item[i]);
    }
    w->level--;
    new_line(w);
    add(w, "]");
}

/* The key of the next pair in order, after `done` pairs. */
static size_t next_key(jinja_json_writer *w, const tlpi_jdict *d, bool *used,
                       size_t done)
{
    size_t best = d->n;

    if (!w->sort_keys)
        return done;
    for (size_t i = 0; i < d->n && tlpi_jx_step(w->b.x, 1); i++)
        if (!used[i] &&
            (best == d->n || tlpi_j_order(w->b.x, d->key[i], d->key[best]) < 0))
            best = i;
    if (best < d->n)
        used[best] = true;
    return TLPI_MIN(best, d->n - 1);
}

/* Keys that are no texts become texts of JSON's. */
static void write_key(jinja_json_writer *w, tlpi_jval key)
{
    bool scalar = key.kind == TLPI_J_NONE || key.kind == TLPI_J_BOOL ||
                  key.kind == TLPI_J_INT || key.kind == TLPI_J_FLOAT;

    if (key.kind == TLPI_J_STR) {
        write_str(w, key.s);
        return;
    }
    if (!scalar) {
        tlpi_jx_fail(w->b.x, TLP_EINVAL, "tojson: a key of type %s",
                     tlpi_j_type(key));
        return;
    }
    add(w, "\"");
    write_value(w, key);
    add(w, "\"");
}

static void write_dict(jinja_json_writer *w, const tlpi_jdict *d)
{
    if (d->n == 0) {
        add(w, "{}");
        return;
    }
    bool *used = tlpi_jx_alloc(w->b.x, d->n);
    if (!used)
        return;
    add(w, "{");
    w->level++;
    for (size_t i = 0; i < d->n && tlpi_jx_step(w->b.x, 1); i++) {
        size_t k = next_key(w, d, used, i);
        if (i > 0)
            tlpi_jbuf_add_str(&w->b, w->item);
        new_line(w);
        write_key(w, d->key[k]);
        tlpi_jbuf_add_str(&w->b, w->key);
        write_value(w, d->value[k]);
    }
    w->level--;
    new_line(w);
    add(w, "}");
}

static void write_value(jinja_json_writer *w, tlpi_jval v)
{
    if (!tlpi_jx_enter(w->b.x))
        return;
    if (v.kind == TLPI_J_STR)
        write_str(w, v.s);
    else if (v.kind == TLPI_J_DICT)
        write_dict(w, v.d);
    else if (v.kind == TLPI_J_LIST && v.l->flavour <= TLPI_J_TUPLE)
        write_list(w, v.l);
    else if (v.kind == TLPI_J_NONE)
        add(w, "null");
    else if (v.kind == TLPI_J_BOOL)
        add(w, v.b ? "true" : "false");
    else if (v.kind == TLPI_J_INT)
        tlpi_jbuf_add_value(&w->b, v);
    else if (v.kind == TLPI_J_FLOAT)
        write_float(w, v.f);
    else
        tlpi_jx_fail(w->b.x, TLP_EINVAL,
                     "tojson: a value of type %s is not of JSON",
                     tlpi_j_type(v));
    tlpi_jx_leave(w->b.x);
}

/* indent: a number of blanks or a text. */
static const tlpi_jstr *read_indent(tlpi_jx *x, tlpi_jval v)
{
    tlpi_jbuf b = { .x = x };
    int64_t n;

    if (v.kind == TLPI_J_UNDEFINED || v.kind == TLPI_J_NONE)
        return NULL;
    if (v.kind == TLPI_J_STR)
        return v.s;
    if (!tlpi_j_as_int(v, &n) || n > 100)
        tlpi_jx_fail(x, TLP_EINVAL, "tojson: indent is no small integer");
    for (int64_t i = 0; i < n && x->st == TLP_OK; i++)
        tlpi_jbuf_add_text(&b, " ", 1, false);
    return tlpi_j_str(x, tlpi_jbuf_value(&b));
}

tlpi_jval tlpi_jinja_tojson(tlpi_jinterp *in, tlpi_jval v,
                            const tlpi_jargs *args)
{
    static const tlpi_jstr comma = { .s = ",", .n = 1 };
    static const tlpi_jstr comma_blank = { .s = ", ", .n = 2 };
    static const tlpi_jstr colon_blank = { .s = ": ", .n = 2 };
    jinja_json_writer w = { .b = { .x = &in->x }, .key = &colon_blank };
    tlpi_jval a[4];

    if (!tlpi_jargs_read(&in->x, "tojson", args,
                         "ensure_ascii= indent= separators= sort_keys=", a))
        return v;
    if (tlpi_j_true(a[0]))
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "tojson: ensure_ascii");
    w.indent = read_indent(&in->x, a[1]);
    w.item = w.indent ? &comma : &comma_blank;
    w.sort_keys = tlpi_j_true(a[3]);
    if (a[2].kind == TLPI_J_LIST && a[2].l->n == 2 &&
        a[2].l->item[0].kind == TLPI_J_STR &&
        a[2].l->item[1].kind == TLPI_J_STR) {
        w.item = a[2].l->item[0].s;
        w.key = a[2].l->item[1].s;
    } else if (a[2].kind != TLPI_J_UNDEFINED && a[2].kind != TLPI_J_NONE) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "tojson: separators");
    }
    if (in->x.st == TLP_OK)
        write_value(&w, v);
    return tlpi_jbuf_value(&w.b);
}
