/*
 * jinja_eval.c - the values of expressions.
 */
#include <string.h>

#include "jinja/jinja_run.h"

/* ==== names and literals ================================================= */

static tlpi_jval look_up(tlpi_jinterp *in, const tlpi_jstr *name)
{
    tlpi_jval key = { .kind = TLPI_J_STR, .s = name };

    for (tlpi_jscope *s = in->scope; s && in->x.st == TLP_OK; s = s->parent) {
        const tlpi_jval *v = tlpi_j_find(&in->x, &s->vars, key);
        if (v)
            return *v;
    }
    const tlpi_jnamed *global = tlpi_jinja_global(name);
    if (!global)
        return tlpi_j_undefined(name);
    if (!global->fn) {
        tlpi_jx_fail(&in->x, TLP_ENOTSUP, "the name %s is not supported",
                     global->name);
        return tlpi_j_undefined(name);
    }
    tlpi_jcall *c = tlpi_jx_alloc(&in->x, sizeof *c);
    if (!c)
        return tlpi_j_undefined(name);
    c->name = global->name;
    c->fn = global->fn;
    return (tlpi_jval){ .kind = TLPI_J_CALLABLE, .call = c };
}

static tlpi_jval eval_list(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval l = tlpi_j_list(
        &in->x, n->kind == TLPI_JN_LIST ? TLPI_J_PLAIN : TLPI_J_TUPLE, 0);

    for (const tlpi_jnode *i = n->a; i && in->x.st == TLP_OK; i = i->next)
        tlpi_j_append(&in->x, l, tlpi_jinja_eval(in, i));
    return l;
}

static tlpi_jval eval_dict(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval d = tlpi_j_dict(&in->x, TLPI_J_DICT);

    for (const tlpi_jnode *i = n->a; i && in->x.st == TLP_OK;
         i = i->next->next) {
        tlpi_jval key = tlpi_jinja_eval(in, i);
        tlpi_jval value = tlpi_jinja_eval(in, i->next);
        if (in->x.st == TLP_OK)
            tlpi_j_set(&in->x, d.d, key, value);
    }
    return d;
}

/* ==== calls ============================================================== */

static bool eval_arguments(tlpi_jinterp *in, const tlpi_jnode *list,
                           tlpi_jargs *out)
{
    size_t n_pos = 0, n_named = 0;

    *out = (tlpi_jargs){ 0 };
    for (const tlpi_jnode *a = list; a; a = a->next) {
        n_pos += a->kind != TLPI_JN_KEYWORD;
        n_named += a->kind == TLPI_JN_KEYWORD;
    }
    out->pos = tlpi_jx_alloc(&in->x, n_pos * sizeof *out->pos);
    out->named = tlpi_jx_alloc(&in->x, n_named * sizeof *out->named);
    out->name = tlpi_jx_alloc(&in->x, n_named * sizeof *out->name);
    for (const tlpi_jnode *a = list; a && in->x.st == TLP_OK; a = a->next) {
        if (a->kind != TLPI_JN_KEYWORD) {
            out->pos[out->n_pos++] = tlpi_jinja_eval(in, a);
            continue;
        }
        out->name[out->n_named] = a->value.s;
        out->named[out->n_named++] = tlpi_jinja_eval(in, a->a);
    }
    return in->x.st == TLP_OK;
}

tlpi_jval tlpi_jinja_call(tlpi_jinterp *in, tlpi_jval callee,
                          const tlpi_jargs *args)
{
    if (callee.kind == TLPI_J_UNDEFINED)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "%.*s is undefined",
                     callee.s ? (int)TLPI_MIN(callee.s->n, (size_t)60) : 11,
                     callee.s ? callee.s->s : "the callable");
    else if (callee.kind != TLPI_J_CALLABLE)
        tlpi_jx_fail(&in->x, TLP_EINVAL, "a value of type %s cannot be called",
                     tlpi_j_type(callee));
    if (!tlpi_jx_step(&in->x, 1))
        return tlpi_j_undefined(NULL);
    if (callee.call->macro)
        return tlpi_jinja_call_macro(in, callee.call, args);
    return callee.call->fn(in, callee.call->self, args);
}

static tlpi_jval eval_call(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval callee = tlpi_jinja_eval(in, n->a);
    tlpi_jargs args;

    if (!eval_arguments(in, n->b, &args))
        return tlpi_j_undefined(NULL);
    in->x.at = n->at;
    return tlpi_jinja_call(in, callee, &args);
}

/* ==== filters and tests ================================================== */

/* Run a filter or a test on v. */
static tlpi_jval run_named(tlpi_jinterp *in, const tlpi_jnode *n, tlpi_jval v)
{
    const tlpi_jnamed *named = n->fn;
    tlpi_jargs args;

    if (!eval_arguments(in, n->b, &args))
        return tlpi_j_undefined(NULL);
    in->x.at = n->at;
    return named->fn(in, v, &args);
}

tlpi_jval tlpi_jinja_apply(tlpi_jinterp *in, const tlpi_jnode *n, tlpi_jval v)
{
    if (n->a)
        v = tlpi_jinja_apply(in, n->a, v);
    return run_named(in, n, v);
}

/* ==== operators ========================================================== */

static tlpi_jval eval_binary(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval a = tlpi_jinja_eval(in, n->a), b = tlpi_jinja_eval(in, n->b);

    in->x.at = n->at;
    return in->x.st == TLP_OK ? tlpi_jop_binary(&in->x, n->op, a, b) : a;
}

/* a < b < c holds if a < b and b < c. */
static tlpi_jval eval_compare(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval left = tlpi_jinja_eval(in, n->a);
    bool yes = true;

    for (const tlpi_jnode *o = n->b; o && yes && in->x.st == TLP_OK;
         o = o->next) {
        tlpi_jval right = tlpi_jinja_eval(in, o->a);
        in->x.at = n->at;
        yes =
            in->x.st == TLP_OK && tlpi_jop_compare(&in->x, o->op, left, right);
        left = right;
    }
    return tlpi_j_bool(yes);
}

static tlpi_jval eval_slice(tlpi_jinterp *in, const tlpi_jnode *n, tlpi_jval v)
{
    const tlpi_jnode *part[] = { n->a, n->b, n->c };
    tlpi_jval at[3];

    for (int i = 0; i < 3; i++)
        at[i] = part[i] ? tlpi_jinja_eval(in, part[i]) : tlpi_j_none();
    in->x.at = n->at;
    return tlpi_jop_slice(&in->x, v, (tlpi_jslice){ at[0], at[1], at[2] });
}

static tlpi_jval eval_item(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval v = tlpi_jinja_eval(in, n->a);

    if (n->b->kind == TLPI_JN_SLICE)
        return eval_slice(in, n->b, v);
    tlpi_jval index = tlpi_jinja_eval(in, n->b);
    in->x.at = n->at;
    return tlpi_jop_item(&in->x, v, index);
}

static tlpi_jval eval_attr(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval v = tlpi_jinja_eval(in, n->a);

    in->x.at = n->at;
    return tlpi_jop_attr(&in->x, v, n->value.s);
}

static tlpi_jval eval_cond(tlpi_jinterp *in, const tlpi_jnode *n)
{
    if (tlpi_j_true(tlpi_jinja_eval(in, n->a)))
        return tlpi_jinja_eval(in, n->b);
    return n->c ? tlpi_jinja_eval(in, n->c) : tlpi_j_undefined(NULL);
}

static tlpi_jval eval_unary(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval v = tlpi_jinja_eval(in, n->a);

    in->x.at = n->at;
    return tlpi_jop_unary(&in->x, n->op, v);
}

static tlpi_jval eval_logic(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval a = tlpi_jinja_eval(in, n->a);

    if (n->kind == TLPI_JN_NOT)
        return tlpi_j_bool(!tlpi_j_true(a));
    return tlpi_j_true(a) == (n->kind == TLPI_JN_OR)
               ? a
               : tlpi_jinja_eval(in, n->b);
}

static tlpi_jval eval(tlpi_jinterp *in, const tlpi_jnode *n)
{
    switch (n->kind) {
    case TLPI_JN_CONST:
        return n->value;
    case TLPI_JN_NAME:
        in->x.at = n->at;
        return look_up(in, n->value.s);
    case TLPI_JN_LIST:
    case TLPI_JN_TUPLE:
        return eval_list(in, n);
    case TLPI_JN_DICT:
        return eval_dict(in, n);
    case TLPI_JN_ATTR:
        return eval_attr(in, n);
    case TLPI_JN_ITEM:
        return eval_item(in, n);
    case TLPI_JN_CALL:
        return eval_call(in, n);
    case TLPI_JN_FILTER:
    case TLPI_JN_TEST:
        return run_named(in, n, tlpi_jinja_eval(in, n->a));
    case TLPI_JN_UNARY:
        return eval_unary(in, n);
    case TLPI_JN_BINARY:
        return eval_binary(in, n);
    case TLPI_JN_COMPARE:
        return eval_compare(in, n);
    case TLPI_JN_COND:
        return eval_cond(in, n);
    default:
        return eval_logic(in, n);
    }
}

tlpi_jval tlpi_jinja_eval(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval v = tlpi_j_undefined(NULL);

    if (!tlpi_jx_step(&in->x, 1) || !tlpi_jx_enter(&in->x))
        return v;
    v = eval(in, n);
    tlpi_jx_leave(&in->x);
    return in->x.st == TLP_OK ? v : tlpi_j_undefined(NULL);
}
