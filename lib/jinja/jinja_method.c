/*
 * jinja_method.c - Python's methods of str.
 */
#include <string.h>

#include "jinja/jinja_run.h"

#define METHOD(name)                                                           \
    static tlpi_jval name(tlpi_jinterp *in, tlpi_jval self,                    \
                          const tlpi_jargs *args)

static bool want_str(tlpi_jx *x, const char *what, tlpi_jval v)
{
    if (v.kind != TLPI_J_STR)
        tlpi_jx_fail(x, TLP_EINVAL, "%s: a text expected, %s found", what,
                     tlpi_j_type(v));
    return v.kind == TLPI_J_STR;
}

/* A text, or NULL for None and what is left out. */
static bool optional_str(tlpi_jx *x, const char *what, tlpi_jval v,
                         const tlpi_jstr **out)
{
    *out = v.kind == TLPI_J_STR ? v.s : NULL;
    return v.kind == TLPI_J_NONE || v.kind == TLPI_J_UNDEFINED ||
           want_str(x, what, v);
}

/* An integer; `none` where it is left out. */
static int64_t optional_int(tlpi_jx *x, const char *what, tlpi_jval v,
                            int64_t none)
{
    int64_t i = none;

    if (v.kind != TLPI_J_UNDEFINED && !tlpi_j_as_int(v, &i))
        tlpi_jx_fail(x, TLP_EINVAL, "%s: an integer expected, %s found", what,
                     tlpi_j_type(v));
    return v.kind == TLPI_J_UNDEFINED ? none : i;
}

static tlpi_jval strip(tlpi_jinterp *in, tlpi_jval self, const tlpi_jargs *args,
                       int sides)
{
    const tlpi_jstr *chars;
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "strip", args, "chars=", a) ||
        !optional_str(&in->x, "strip", a[0], &chars))
        return self;
    return tlpi_jstr_strip(&in->x, self.s, chars, sides);
}

METHOD(str_strip)
{
    return strip(in, self, args, 3);
}

METHOD(str_lstrip)
{
    return strip(in, self, args, 1);
}

METHOD(str_rstrip)
{
    return strip(in, self, args, 2);
}

/* Words between white space; after max words the rest. */
static void split_words(tlpi_jx *x, const tlpi_jstr *s, int64_t max,
                        tlpi_jval l)
{
    size_t i = 0, bytes, from;

    while (x->st == TLP_OK) {
        while (i < s->n &&
               tlpi_jchar_is_space(tlpi_jchar_get(s->s + i, s->n - i, &bytes)))
            i += bytes;
        if (i == s->n)
            return;
        if (max-- == 0) {
            tlpi_j_append(x, l, tlpi_j_part(x, s, i, s->n - i));
            return;
        }
        from = i;
        while (i < s->n &&
               !tlpi_jchar_is_space(tlpi_jchar_get(s->s + i, s->n - i, &bytes)))
            i += bytes;
        tlpi_j_append(x, l, tlpi_j_part(x, s, from, i - from));
    }
}

static void split_by(tlpi_jx *x, const tlpi_jstr *s, const tlpi_jstr *sep,
                     int64_t max, tlpi_jval l)
{
    size_t at = 0;

    while (max != 0 && tlpi_jx_step(x, 1)) {
        size_t i = tlpi_jstr_find(s, sep, at);
        if (i > s->n)
            break;
        tlpi_j_append(x, l, tlpi_j_part(x, s, at, i - at));
        at = i + sep->n;
        max -= max > 0;
    }
    tlpi_j_append(x, l, tlpi_j_part(x, s, at, s->n - at));
}

static void rsplit_by(tlpi_jx *x, const tlpi_jstr *s, const tlpi_jstr *sep,
                      int64_t max, tlpi_jval l)
{
    tlpi_jval back = tlpi_j_list(x, TLPI_J_PLAIN, 0);
    size_t end = s->n;

    while (max != 0 && tlpi_jx_step(x, 1 + end / 64)) {
        size_t i = tlpi_jstr_rfind(s, sep, end);
        if (i > s->n)
            break;
        tlpi_j_append(x, back, tlpi_j_part(x, s, i + sep->n, end - i - sep->n));
        end = i;
        max -= max > 0;
    }
    tlpi_j_append(x, back, tlpi_j_part(x, s, 0, end));
    for (size_t i = back.kind == TLPI_J_LIST ? back.l->n : 0; i-- > 0;)
        tlpi_j_append(x, l, back.l->item[i]);
}

static tlpi_jval split(tlpi_jinterp *in, tlpi_jval self, const tlpi_jargs *args,
                       bool right)
{
    tlpi_jx *x = &in->x;
    const tlpi_jstr *sep;
    tlpi_jval a[2], l = tlpi_j_list(x, TLPI_J_PLAIN, 0);

    if (!tlpi_jargs_read(x, "split", args, "sep= maxsplit=", a) ||
        !optional_str(x, "split", a[0], &sep))
        return l;
    int64_t max = optional_int(x, "split", a[1], -1);
    if (sep && sep->n == 0)
        tlpi_jx_fail(x, TLP_EINVAL, "split: the separator is empty");
    else if (!sep && right && max >= 0)
        tlpi_jx_fail(x, TLP_ENOTSUP,
                     "rsplit with a number of splits and no separator");
    else if (!sep)
        split_words(x, self.s, max, l);
    else if (right)
        rsplit_by(x, self.s, sep, max, l);
    else
        split_by(x, self.s, sep, max, l);
    return l;
}

METHOD(str_split)
{
    return split(in, self, args, false);
}

METHOD(str_rsplit)
{
    return split(in, self, args, true);
}

METHOD(str_splitlines)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "splitlines", args, "keepends=", a))
        return self;
    return tlpi_jstr_lines(&in->x, self.s, tlpi_j_true(a[0]));
}

static bool has_affix(const tlpi_jstr *s, const tlpi_jstr *part, bool end)
{
    return s->n >= part->n &&
           memcmp(s->s + (end ? s->n - part->n : 0), part->s, part->n) == 0;
}

/* startswith and endswith take a text or a tuple of texts. */
static tlpi_jval test_affix(tlpi_jinterp *in, tlpi_jval self,
                            const tlpi_jargs *args, bool end)
{
    const char *what = end ? "endswith" : "startswith";
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, what, args, "prefix", a))
        return self;
    if (a[0].kind == TLPI_J_LIST && a[0].l->flavour == TLPI_J_TUPLE) {
        bool any = false;
        for (size_t i = 0; i < a[0].l->n && !any; i++) {
            tlpi_jval v = a[0].l->item[i];
            any = want_str(&in->x, what, v) && has_affix(self.s, v.s, end);
        }
        return tlpi_j_bool(any);
    }
    return tlpi_j_bool(want_str(&in->x, what, a[0]) &&
                       has_affix(self.s, a[0].s, end));
}

METHOD(str_startswith)
{
    return test_affix(in, self, args, false);
}

METHOD(str_endswith)
{
    return test_affix(in, self, args, true);
}

static tlpi_jval remove_affix(tlpi_jinterp *in, tlpi_jval self,
                              const tlpi_jargs *args, bool end)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "removeprefix", args, "prefix", a) ||
        !want_str(&in->x, "removeprefix", a[0]) ||
        !has_affix(self.s, a[0].s, end))
        return self;
    size_t n = a[0].s->n;
    return tlpi_j_part(&in->x, self.s, end ? 0 : n, self.s->n - n);
}

METHOD(str_removeprefix)
{
    return remove_affix(in, self, args, false);
}

METHOD(str_removesuffix)
{
    return remove_affix(in, self, args, true);
}

METHOD(str_replace)
{
    tlpi_jval a[3];

    if (!tlpi_jargs_read(&in->x, "replace", args, "old new count=", a) ||
        !want_str(&in->x, "replace", a[0]) ||
        !want_str(&in->x, "replace", a[1]))
        return self;
    return tlpi_jstr_replace(&in->x, self.s, a[0].s, a[1].s,
                             optional_int(&in->x, "replace", a[2], -1));
}

static tlpi_jval change_case(tlpi_jinterp *in, tlpi_jval self,
                             const tlpi_jargs *args, tlpi_jcase to)
{
    if (!tlpi_jargs_read(&in->x, "a change of case", args, "", NULL))
        return self;
    return tlpi_jstr_case(&in->x, self.s, to);
}

METHOD(str_upper)
{
    return change_case(in, self, args, TLPI_JC_UPPER);
}

METHOD(str_lower)
{
    return change_case(in, self, args, TLPI_JC_LOWER);
}

METHOD(str_title)
{
    return change_case(in, self, args, TLPI_JC_TITLE);
}

METHOD(str_capitalize)
{
    return change_case(in, self, args, TLPI_JC_CAPITALIZE);
}

/* Characters before a byte offset; -1 for "not found". */
static tlpi_jval found_at(const tlpi_jstr *s, size_t at)
{
    tlpi_jstr before = { .s = s->s, .n = at };

    return tlpi_j_int(at > s->n ? -1 : (int64_t)tlpi_jchar_count(&before));
}

static tlpi_jval find(tlpi_jinterp *in, tlpi_jval self, const tlpi_jargs *args,
                      bool right, bool must)
{
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "find", args, "sub", a) ||
        !want_str(&in->x, "find", a[0]) ||
        !tlpi_jx_step(&in->x, 1 + self.s->n / 64))
        return self;
    size_t at = right ? tlpi_jstr_rfind(self.s, a[0].s, self.s->n)
                      : tlpi_jstr_find(self.s, a[0].s, 0);
    if (must && at > self.s->n)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "index: the text is not there");
    return found_at(self.s, at);
}

METHOD(str_find)
{
    return find(in, self, args, false, false);
}

METHOD(str_rfind)
{
    return find(in, self, args, true, false);
}

METHOD(str_index)
{
    return find(in, self, args, false, true);
}

METHOD(str_count)
{
    tlpi_jval a[1];
    int64_t n = 0;

    if (!tlpi_jargs_read(&in->x, "count", args, "sub", a) ||
        !want_str(&in->x, "count", a[0]))
        return self;
    if (a[0].s->n == 0)
        return tlpi_j_int((int64_t)tlpi_jchar_count(self.s) + 1);
    for (size_t at = 0; tlpi_jx_step(&in->x, 1); n++) {
        size_t i = tlpi_jstr_find(self.s, a[0].s, at);
        if (i > self.s->n)
            break;
        at = i + a[0].s->n;
    }
    return tlpi_j_int(n);
}

METHOD(str_join)
{
    tlpi_jbuf b = { .x = &in->x };
    tlpi_jval a[1];

    if (!tlpi_jargs_read(&in->x, "join", args, "iterable", a))
        return self;
    const tlpi_jlist *l = tlpi_j_iterate(&in->x, a[0]);
    for (size_t i = 0; l && i < l->n && in->x.st == TLP_OK; i++) {
        if (i > 0)
            tlpi_jbuf_add_str(&b, self.s);
        if (want_str(&in->x, "join", l->item[i]))
            tlpi_jbuf_add_str(&b, l->item[i].s);
    }
    return tlpi_jbuf_value(&b);
}

/* Is the text not empty, and do all its characters pass? */
static tlpi_jval all_chars(tlpi_jinterp *in, tlpi_jval self,
                           const tlpi_jargs *args, bool (*pass)(uint32_t))
{
    bool all = self.s->n > 0;
    size_t bytes;

    if (!tlpi_jargs_read(&in->x, "a question to a text", args, "", NULL))
        return self;
    for (size_t i = 0; i < self.s->n && all; i += bytes)
        all = pass(tlpi_jchar_get(self.s->s + i, self.s->n - i, &bytes));
    tlpi_jx_step(&in->x, self.s->n / 64);
    return tlpi_j_bool(all);
}

METHOD(str_isspace)
{
    return all_chars(in, self, args, tlpi_jchar_is_space);
}

METHOD(str_isdigit)
{
    return all_chars(in, self, args, tlpi_jchar_is_digit);
}

METHOD(str_isalpha)
{
    return all_chars(in, self, args, tlpi_jchar_is_letter);
}

static bool is_alnum(uint32_t c)
{
    return tlpi_jchar_is_letter(c) || tlpi_jchar_is_digit(c);
}

METHOD(str_isalnum)
{
    return all_chars(in, self, args, is_alnum);
}

/* Letters with case: all of one, and at least one. */
static tlpi_jval has_case(tlpi_jinterp *in, tlpi_jval self,
                          const tlpi_jargs *args, bool upper)
{
    bool any = false, other = false;
    size_t bytes;

    if (!tlpi_jargs_read(&in->x, "isupper", args, "", NULL))
        return self;
    for (size_t i = 0; i < self.s->n; i += bytes) {
        uint32_t c = tlpi_jchar_get(self.s->s + i, self.s->n - i, &bytes);
        any |= upper ? tlpi_jchar_is_upper(c) : tlpi_jchar_is_lower(c);
        other |= upper ? tlpi_jchar_is_lower(c) : tlpi_jchar_is_upper(c);
    }
    return tlpi_j_bool(any && !other);
}

METHOD(str_isupper)
{
    return has_case(in, self, args, true);
}

METHOD(str_islower)
{
    return has_case(in, self, args, false);
}

static const tlpi_jnamed str_methods[] = {
    { "strip", str_strip },
    { "lstrip", str_lstrip },
    { "rstrip", str_rstrip },
    { "split", str_split },
    { "rsplit", str_rsplit },
    { "splitlines", str_splitlines },
    { "startswith", str_startswith },
    { "endswith", str_endswith },
    { "removeprefix", str_removeprefix },
    { "removesuffix", str_removesuffix },
    { "replace", str_replace },
    { "upper", str_upper },
    { "lower", str_lower },
    { "title", str_title },
    { "capitalize", str_capitalize },
    { "find", str_find },
    { "rfind", str_rfind },
    { "index", str_index },
    { "count", str_count },
    { "join", str_join },
    { "isspace", str_isspace },
    { "isdigit", str_isdigit },
    { "isalpha", str_isalpha },
    { "isalnum", str_isalnum },
    { "isupper", str_isupper },
    { "islower", str_islower },
    { "casefold", NULL },
    { "center", NULL },
    { "encode", NULL },
    { "expandtabs", NULL },
    { "format", NULL },
    { "format_map", NULL },
    { "isascii", NULL },
    { "isdecimal", NULL },
    { "isidentifier", NULL },
    { "isnumeric", NULL },
    { "isprintable", NULL },
    { "istitle", NULL },
    { "ljust", NULL },
    { "maketrans", NULL },
    { "partition", NULL },
    { "rindex", NULL },
    { "rjust", NULL },
    { "rpartition", NULL },
    { "swapcase", NULL },
    { "translate", NULL },
    { "zfill", NULL },
};

const tlpi_jnamed *tlpi_jinja_str_method(const tlpi_jstr *name)
{
    return tlpi_jinja_find(str_methods, TLPI_COUNT(str_methods), name);
}
