/*
 * jinja_primary.c - operands: names, literals, what follows them in .x [x] (x),
 * filters and tests.
 */
#include <string.h>

#include "jinja/jinja_run.h"

tlpi_jnode *tlpi_jp_make(tlpi_jparser *p, tlpi_jnode_kind kind, size_t at,
                         tlpi_jnode *a, tlpi_jnode *b)
{
    tlpi_jnode *n = tlpi_jp_node(p, kind);

    if (n) {
        n->at = at;
        n->a = a;
        n->b = b;
    }
    return n;
}

/* ==== lists of arguments and items ======================================= */

static bool starts_keyword(const tlpi_jparser *p)
{
    return p->token->kind == TLPI_JT_NAME && p->token[1].kind == TLPI_JT_OP &&
           strcmp(p->token[1].op, "=") == 0;
}

/* The arguments behind "(", with the ")". */
static tlpi_jnode *parse_arguments(tlpi_jparser *p)
{
    tlpi_jnode *first = NULL, **end = &first;
    bool named = false;

    while (p->x->st == TLP_OK && !tlpi_jp_is_op(p, ")")) {
        if (first && !tlpi_jp_want_op(p, ","))
            return NULL;
        if (first && tlpi_jp_is_op(p, ")"))
            break;
        if (tlpi_jp_is_op(p, "*") || tlpi_jp_is_op(p, "**")) {
            p->x->at = p->token->at;
            tlpi_jx_fail(p->x, TLP_ENOTSUP,
                         "arguments by * and ** are not supported");
            return NULL;
        }
        if (starts_keyword(p)) {
            tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_KEYWORD);
            if (!n)
                return NULL;
            n->value = p->token->value;
            p->token += 2;
            n->a = tlpi_jp_expression(p, true);
            *end = n;
            named = true;
        } else {
            if (named)
                tlpi_jp_unexpected(p, "an argument with a name");
            *end = tlpi_jp_expression(p, true);
        }
        if (!*end)
            return NULL;
        end = &(*end)->next;
    }
    tlpi_jp_want_op(p, ")");
    return first;
}

/* Items behind an opening bracket up to `close`; with keys for a dict. */
static tlpi_jnode *parse_items(tlpi_jparser *p, const char *close, bool keys)
{
    tlpi_jnode *first = NULL, **end = &first;

    while (p->x->st == TLP_OK && !tlpi_jp_is_op(p, close)) {
        if (first && !tlpi_jp_want_op(p, ","))
            return NULL;
        if (tlpi_jp_is_op(p, close))
            break;
        for (int i = 0; i < 1 + keys; i++) {
            if (i == 1 && !tlpi_jp_want_op(p, ":"))
                return NULL;
            *end = tlpi_jp_expression(p, true);
            if (!*end)
                return NULL;
            end = &(*end)->next;
        }
    }
    tlpi_jp_want_op(p, close);
    return first;
}

/* ==== primary and postfix ================================================ */

static tlpi_jnode *parse_constant(tlpi_jparser *p)
{
    static const char *const names[] = { "true",  "True", "false",
                                         "False", "none", "None" };
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_CONST);

    if (!n)
        return NULL;
    for (size_t i = 0; i < TLPI_COUNT(names); i++)
        if (tlpi_jp_is_name(p, names[i])) {
            n->value = i < 4 ? tlpi_j_bool(i < 2) : tlpi_j_none();
            p->token++;
            return n;
        }
    n->value = p->token++->value;
    return n;
}

/* Neighbouring strings are one. */
static tlpi_jnode *parse_string(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_CONST);
    tlpi_jbuf b = { .x = p->x };

    for (; p->token->kind == TLPI_JT_STRING && p->x->st == TLP_OK; p->token++)
        tlpi_jbuf_add_str(&b, p->token->value.s);
    if (n)
        n->value = tlpi_jbuf_value(&b);
    return n;
}

bool tlpi_jp_is_constant(const tlpi_jparser *p)
{
    return tlpi_jp_is_name(p, "true") || tlpi_jp_is_name(p, "True") ||
           tlpi_jp_is_name(p, "false") || tlpi_jp_is_name(p, "False") ||
           tlpi_jp_is_name(p, "none") || tlpi_jp_is_name(p, "None");
}

tlpi_jnode *tlpi_jp_primary(tlpi_jparser *p)
{
    const tlpi_jtoken *t = p->token;
    tlpi_jnode *n = NULL;

    if (t->kind == TLPI_JT_STRING)
        return parse_string(p);
    if (t->kind == TLPI_JT_INT || t->kind == TLPI_JT_FLOAT ||
        tlpi_jp_is_constant(p))
        return parse_constant(p);
    if (t->kind == TLPI_JT_NAME) {
        n = tlpi_jp_node(p, TLPI_JN_NAME);
        if (n)
            n->value = t->value;
        p->token++;
    } else if (tlpi_jp_skip_op(p, "(")) {
        if (tlpi_jp_skip_op(p, ")"))
            return tlpi_jp_make(p, TLPI_JN_TUPLE, t->at, NULL, NULL);
        n = tlpi_jp_tuple(p, true, NULL);
        tlpi_jp_want_op(p, ")");
    } else if (tlpi_jp_skip_op(p, "[")) {
        n = tlpi_jp_make(p, TLPI_JN_LIST, t->at, NULL, NULL);
        if (n)
            n->a = parse_items(p, "]", false);
    } else if (tlpi_jp_skip_op(p, "{")) {
        n = tlpi_jp_make(p, TLPI_JN_DICT, t->at, NULL, NULL);
        if (n)
            n->a = parse_items(p, "}", true);
    } else {
        tlpi_jp_unexpected(p, "an expression");
    }
    return n;
}

/* One index, or start:stop:step. */
static tlpi_jnode *parse_index(tlpi_jparser *p)
{
    tlpi_jnode *part[3] = { NULL, NULL, NULL };
    size_t at = p->token->at;
    int n = 0;

    if (!tlpi_jp_is_op(p, ":"))
        part[0] = tlpi_jp_expression(p, true);
    if (p->x->st == TLP_OK && !tlpi_jp_is_op(p, ":"))
        return part[0];
    while (p->x->st == TLP_OK && n < 2 && tlpi_jp_skip_op(p, ":")) {
        n++;
        if (!tlpi_jp_is_op(p, ":") && !tlpi_jp_is_op(p, "]"))
            part[n] = tlpi_jp_expression(p, true);
    }
    tlpi_jnode *s = tlpi_jp_make(p, TLPI_JN_SLICE, at, part[0], part[1]);
    if (s)
        s->c = part[2];
    return s;
}

tlpi_jnode *tlpi_jp_attr(tlpi_jparser *p, tlpi_jnode *n)
{
    tlpi_jnode *attr = tlpi_jp_make(p, TLPI_JN_ATTR, p->token->at, n, NULL);

    if (p->token->kind == TLPI_JT_NAME && attr) {
        attr->value = p->token++->value;
    } else if (p->token->kind == TLPI_JT_INT && attr) { /* x.0 is x[0] */
        attr->kind = TLPI_JN_ITEM;
        attr->b = parse_constant(p);
    } else {
        tlpi_jp_unexpected(p, "a name");
    }
    return attr;
}

static tlpi_jnode *parse_call(tlpi_jparser *p, tlpi_jnode *n, size_t at)
{
    tlpi_jnode *call = tlpi_jp_make(p, TLPI_JN_CALL, at, n, NULL);

    if (call)
        call->b = parse_arguments(p);
    return call;
}

tlpi_jnode *tlpi_jp_postfix(tlpi_jparser *p, tlpi_jnode *n)
{
    while (n && tlpi_jx_step(p->x, 1)) {
        size_t at = p->token->at;
        if (tlpi_jp_skip_op(p, ".")) {
            n = tlpi_jp_attr(p, n);
        } else if (tlpi_jp_skip_op(p, "[")) {
            n = tlpi_jp_make(p, TLPI_JN_ITEM, at, n, parse_index(p));
            tlpi_jp_want_op(p, "]");
        } else if (tlpi_jp_skip_op(p, "(")) {
            n = parse_call(p, n, at);
        } else {
            return n;
        }
    }
    return n;
}

/* ==== filters and tests ================================================== */

static tlpi_jnode *parse_filter(tlpi_jparser *p, tlpi_jnode *n)
{
    tlpi_jnode *f = tlpi_jp_make(p, TLPI_JN_FILTER, p->token->at, n, NULL);

    if (!f)
        return NULL;
    if (p->token->kind != TLPI_JT_NAME) {
        tlpi_jp_unexpected(p, "the name of a filter");
        return NULL;
    }
    f->value = p->token++->value;
    p->x->at = f->at;
    const tlpi_jnamed *named = tlpi_jinja_filter(f->value.s);
    if (!named || !named->fn) {
        tlpi_jx_fail(p->x, TLP_ENOTSUP, "the filter %.*s is not supported",
                     (int)TLPI_MIN(f->value.s->n, (size_t)60), f->value.s->s);
        return NULL;
    }
    f->fn = named;
    if (tlpi_jp_skip_op(p, "("))
        f->b = parse_arguments(p);
    return f;
}

tlpi_jnode *tlpi_jp_filters(tlpi_jparser *p)
{
    tlpi_jnode *n = parse_filter(p, NULL);

    while (n && tlpi_jp_skip_op(p, "|"))
        n = parse_filter(p, n);
    return n;
}

/* A test may have one argument without brackets: x is divisibleby 3. */
static bool starts_argument(const tlpi_jparser *p)
{
    tlpi_jtoken_kind kind = p->token->kind;

    if (kind == TLPI_JT_NAME)
        return !tlpi_jp_is_name(p, "else") && !tlpi_jp_is_name(p, "or") &&
               !tlpi_jp_is_name(p, "and") && !tlpi_jp_is_name(p, "is");
    return kind == TLPI_JT_STRING || kind == TLPI_JT_INT ||
           kind == TLPI_JT_FLOAT || tlpi_jp_is_op(p, "[") ||
           tlpi_jp_is_op(p, "{");
}

static tlpi_jnode *parse_test(tlpi_jparser *p, tlpi_jnode *n)
{
    size_t at = p->token->at;
    bool negated = tlpi_jp_skip_name(p, "not");
    tlpi_jnode *t = tlpi_jp_make(p, TLPI_JN_TEST, at, n, NULL);

    if (!t)
        return NULL;
    if (p->token->kind != TLPI_JT_NAME) {
        tlpi_jp_unexpected(p, "the name of a test");
        return NULL;
    }
    t->value = p->token++->value;
    p->x->at = at;
    const tlpi_jnamed *named = tlpi_jinja_test(t->value.s);
    if (!named || !named->fn) {
        tlpi_jx_fail(p->x, TLP_ENOTSUP, "the test %.*s is not supported",
                     (int)TLPI_MIN(t->value.s->n, (size_t)60), t->value.s->s);
        return NULL;
    }
    t->fn = named;
    if (tlpi_jp_skip_op(p, "("))
        t->b = parse_arguments(p);
    else if (starts_argument(p))
        t->b = tlpi_jp_postfix(p, tlpi_jp_primary(p));
    return negated ? tlpi_jp_make(p, TLPI_JN_NOT, at, t, NULL) : t;
}

tlpi_jnode *tlpi_jp_filters_and_tests(tlpi_jparser *p, tlpi_jnode *n)
{
    while (n && tlpi_jx_step(p->x, 1)) {
        size_t at = p->token->at;
        if (tlpi_jp_skip_op(p, "|"))
            n = parse_filter(p, n);
        else if (tlpi_jp_skip_name(p, "is"))
            n = parse_test(p, n);
        else if (tlpi_jp_skip_op(p, "("))
            n = parse_call(p, n, at);
        else
            return n;
    }
    return n;
}
