/*
 * jinja_run.c - statements, names, macros.
 */
#include <string.h>

#include "jinja/jinja_run.h"

/* ==== names ============================================================== */

bool tlpi_jinja_push(tlpi_jinterp *in, tlpi_jscope *parent)
{
    tlpi_jscope *s = tlpi_jx_alloc(&in->x, sizeof *s);

    if (!s)
        return false;
    s->parent = parent;
    in->scope = s;
    return true;
}

static void set_attribute(tlpi_jinterp *in, const tlpi_jnode *n,
                          tlpi_jval value)
{
    tlpi_jval object = tlpi_jinja_eval(in, n->a);

    in->x.at = n->at;
    if (object.kind != TLPI_J_NAMESPACE)
        tlpi_jx_fail(&in->x, TLP_EINVAL,
                     "attributes can be set on a namespace only, not on a "
                     "value of type %s",
                     tlpi_j_type(object));
    else
        tlpi_j_set(&in->x, object.d, n->value, value);
}

static void assign_tuple(tlpi_jinterp *in, const tlpi_jnode *target,
                         tlpi_jval value)
{
    const tlpi_jlist *l = tlpi_j_iterate(&in->x, value);
    size_t n = 0, i = 0;

    for (const tlpi_jnode *t = target->a; t; t = t->next)
        n++;
    if (!l)
        return;
    in->x.at = target->at;
    if (l->n != n) {
        tlpi_jx_fail(&in->x, TLP_EINVAL, "%zu values for %zu names", l->n, n);
        return;
    }
    for (const tlpi_jnode *t = target->a; t; t = t->next)
        tlpi_jinja_assign(in, t, l->item[i++]);
}

void tlpi_jinja_assign(tlpi_jinterp *in, const tlpi_jnode *target,
                       tlpi_jval value)
{
    if (in->x.st != TLP_OK)
        return;
    if (target->kind == TLPI_JN_TUPLE)
        assign_tuple(in, target, value);
    else if (target->kind == TLPI_JN_ATTR)
        set_attribute(in, target, value);
    else
        tlpi_j_set(&in->x, &in->scope->vars, target->value, value);
}

/* ==== loops ============================================================== */

/* Items for which the loop's condition holds. */
static const tlpi_jlist *choose_items(tlpi_jinterp *in, const tlpi_jnode *n,
                                      const tlpi_jlist *all)
{
    tlpi_jscope *outside = in->scope;
    tlpi_jval chosen = tlpi_j_list(&in->x, TLPI_J_PLAIN, 0);

    for (size_t i = 0; i < all->n && tlpi_jx_step(&in->x, 1); i++) {
        if (!tlpi_jinja_push(in, outside))
            break;
        tlpi_jinja_assign(in, n->a, all->item[i]);
        if (tlpi_j_true(tlpi_jinja_eval(in, n->d)))
            tlpi_j_append(&in->x, chosen, all->item[i]);
    }
    in->scope = outside;
    return in->x.st == TLP_OK ? chosen.l : NULL;
}

/* Did a pass reach the end of the body? */
static bool run_loop(tlpi_jinterp *in, const tlpi_jnode *n,
                     const tlpi_jlist *items)
{
    tlpi_jscope *outside = in->scope;
    tlpi_jloop *loop = tlpi_jx_alloc(&in->x, sizeof *loop);
    tlpi_jval name = tlpi_j_text(&in->x, "loop");
    bool any = false;

    if (!loop)
        return false;
    loop->items = items;
    for (; loop->i < items->n && tlpi_jx_step(&in->x, 1); loop->i++) {
        if (!tlpi_jinja_push(in, outside))
            break;
        tlpi_j_set(&in->x, &in->scope->vars, name,
                   (tlpi_jval){ .kind = TLPI_J_LOOP, .loop = loop });
        tlpi_jinja_assign(in, n->a, items->item[loop->i]);
        tlpi_jinja_run(in, n->c);
        tlpi_jflow flow = in->flow;
        in->flow = TLPI_J_GO_ON;
        any |= flow == TLPI_J_GO_ON;
        if (flow == TLPI_J_BROKEN)
            break;
    }
    in->scope = outside;
    return any;
}

/* Jinja runs the else part unless a pass reached the end of the body: also
 * where break or continue ended every pass. */
static void run_for(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jval v = tlpi_jinja_eval(in, n->b);

    in->x.at = n->b->at;
    const tlpi_jlist *items = tlpi_j_iterate(&in->x, v);
    if (items && n->d)
        items = choose_items(in, n, items);
    if (!items || in->x.st != TLP_OK || run_loop(in, n, items))
        return;
    if (n->e) {
        tlpi_jscope *outside = in->scope;
        if (tlpi_jinja_push(in, outside))
            tlpi_jinja_run(in, n->e);
        in->scope = outside;
    }
}

/* ==== macros ============================================================= */

static void define_macro(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jcall *m = tlpi_jx_alloc(&in->x, sizeof *m);

    if (!m)
        return;
    m->name = "macro";
    m->macro = n;
    m->scope = in->scope;
    tlpi_j_set(&in->x, &in->scope->vars, n->value,
               (tlpi_jval){ .kind = TLPI_J_CALLABLE, .call = m });
}

static const tlpi_jval *find_named(const tlpi_jargs *args,
                                   const tlpi_jstr *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (args->name[i]->n == name->n &&
            memcmp(args->name[i]->s, name->s, name->n) == 0)
            return &args->named[i];
    return NULL;
}

/* Parameters in the macro's scope; later defaults see earlier parameters. */
static void bind_parameters(tlpi_jinterp *in, const tlpi_jnode *macro,
                            const tlpi_jargs *args)
{
    size_t i = 0, n_named = 0;

    for (const tlpi_jnode *p = macro->a; p && in->x.st == TLP_OK; p = p->next) {
        const tlpi_jval *named = find_named(args, p->value.s);
        tlpi_jval v = tlpi_j_undefined(p->value.s);
        n_named += named != NULL;
        if (i < args->n_pos && named)
            tlpi_jx_fail(&in->x, TLP_EINVAL,
                         "an argument of a macro is given twice");
        if (i < args->n_pos)
            v = args->pos[i];
        else if (named)
            v = *named;
        else if (p->b) {
            tlpi_jinja_assign(in, p, v); /* a default never sees its name */
            v = tlpi_jinja_eval(in, p->b);
        }
        tlpi_jinja_assign(in, p, v);
        i++;
    }
    if (args->n_pos > i || n_named < args->n_named)
        tlpi_jx_fail(&in->x, TLP_EINVAL,
                     "a macro has no parameter for an argument");
}

tlpi_jval tlpi_jinja_call_macro(tlpi_jinterp *in, const tlpi_jcall *m,
                                const tlpi_jargs *args)
{
    tlpi_jscope *caller = in->scope;
    tlpi_jval v = tlpi_j_undefined(NULL);

    if (tlpi_jx_enter(&in->x)) {
        if (tlpi_jinja_push(in, m->scope)) {
            bind_parameters(in, m->macro, args);
            v = tlpi_jinja_capture(in, m->macro->c);
        }
        tlpi_jx_leave(&in->x);
    }
    in->scope = caller;
    return v;
}

/* ==== statements ========================================================= */

tlpi_jval tlpi_jinja_capture(tlpi_jinterp *in, const tlpi_jnode *list)
{
    tlpi_jbuf b = { .x = &in->x }, *out = in->out;

    in->out = &b;
    tlpi_jinja_run(in, list);
    in->out = out;
    return tlpi_jbuf_value(&b);
}

/* What a block writes, in a scope of its own, through a filter. */
static tlpi_jval filtered_block(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jscope *outside = in->scope;
    tlpi_jval v = tlpi_j_undefined(NULL);

    if (tlpi_jinja_push(in, outside))
        v = tlpi_jinja_capture(in, n->c);
    if (n->b)
        v = tlpi_jinja_apply(in, n->b, v);
    in->scope = outside;
    return v;
}

static void run_with(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jscope *outside = in->scope, *inside;

    if (!tlpi_jinja_push(in, outside))
        return;
    inside = in->scope;
    for (const tlpi_jnode *s = n->a; s && in->x.st == TLP_OK; s = s->next) {
        in->scope = outside; /* values do not see the names beside them */
        tlpi_jval v = tlpi_jinja_eval(in, s->b);
        in->scope = inside;
        tlpi_jinja_assign(in, s->a, v);
    }
    tlpi_jinja_run(in, n->c);
    in->scope = outside;
}

static void run_scope(tlpi_jinterp *in, const tlpi_jnode *n)
{
    tlpi_jscope *outside = in->scope;

    if (tlpi_jinja_push(in, outside))
        tlpi_jinja_run(in, n->c);
    in->scope = outside;
}

static void run_one(tlpi_jinterp *in, const tlpi_jnode *n)
{
    switch (n->kind) {
    case TLPI_JN_TEXT:
        tlpi_jbuf_add_str(in->out, n->value.s);
        break;
    case TLPI_JN_PRINT: {
        tlpi_jval v = tlpi_jinja_eval(in, n->a);
        in->x.at = n->at;
        tlpi_jbuf_add_value(in->out, v);
        break;
    }
    case TLPI_JN_IF: {
        bool yes = tlpi_j_true(tlpi_jinja_eval(in, n->a));
        tlpi_jinja_run(in, yes ? n->b : n->c);
        break;
    }
    case TLPI_JN_FOR:
        run_for(in, n);
        break;
    case TLPI_JN_SET:
        tlpi_jinja_assign(in, n->a, tlpi_jinja_eval(in, n->b));
        break;
    case TLPI_JN_SET_BLOCK:
        tlpi_jinja_assign(in, n->a, filtered_block(in, n));
        break;
    case TLPI_JN_FILTER_BLOCK:
        tlpi_jbuf_add_value(in->out, filtered_block(in, n));
        break;
    case TLPI_JN_MACRO:
        define_macro(in, n);
        break;
    case TLPI_JN_WITH:
        run_with(in, n);
        break;
    case TLPI_JN_SCOPE:
        run_scope(in, n);
        break;
    case TLPI_JN_BREAK:
        in->flow = TLPI_J_BROKEN;
        break;
    default:
        in->flow = TLPI_J_CONTINUED;
    }
}

void tlpi_jinja_run(tlpi_jinterp *in, const tlpi_jnode *list)
{
    if (!tlpi_jx_enter(&in->x))
        return;
    for (const tlpi_jnode *n = list;
         n && in->flow == TLPI_J_GO_ON && tlpi_jx_step(&in->x, 1); n = n->next)
        run_one(in, n);
    tlpi_jx_leave(&in->x);
}
