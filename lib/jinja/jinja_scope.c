/*
 * jinja_scope.c - names that the template itself sets.
 *
 * Jinja decides what a name means before it runs a template.  Where the first
 * thing that the top level does to a name is to set it, the name is the
 * template's: macros and loops that read it earlier see an undefined value,
 * and never a value of the caller.  Bodies of loops and macros do not count,
 * and a name that is first met inside of an `if` stays the caller's.
 */
#include "jinja/jinja_run.h"

enum { UNDECIDED, IS_CALLERS, IS_TEMPLATES };

typedef struct name_scan {
    tlpi_jx *x;
    tlpi_jdict *names; /* that the top level sets: one of the above */
    int depth;
} name_scan;

static void decide(name_scan *s, tlpi_jval name, int64_t what)
{
    tlpi_jval *state = tlpi_j_find(s->x, s->names, name);

    if (state && state->i == UNDECIDED)
        *state = tlpi_j_int(what);
}

/* Names in a list of expressions.  What nests too deep cannot run either. */
static void visit_expressions(name_scan *s, const tlpi_jnode *n)
{
    if (s->depth == TLPI_JINJA_MAX_DEPTH)
        return;
    s->depth++;
    for (; n && tlpi_jx_step(s->x, 1); n = n->next) {
        if (n->kind == TLPI_JN_NAME)
            decide(s, n->value, IS_CALLERS);
        visit_expressions(s, n->a);
        visit_expressions(s, n->b);
        visit_expressions(s, n->c);
    }
    s->depth--;
}

/* Names that are set: NAME, or a tuple of targets. */
static void visit_target(name_scan *s, const tlpi_jnode *n, int64_t what)
{
    if (n->kind == TLPI_JN_NAME)
        decide(s, n->value, what);
    else if (n->kind == TLPI_JN_ATTR)
        visit_expressions(s, n->a);
    else
        for (const tlpi_jnode *t = n->a; t; t = t->next)
            if (t->kind == TLPI_JN_NAME)
                decide(s, t->value, what);
}

static void visit_statements(name_scan *s, const tlpi_jnode *n, int64_t set);

static void visit_if(name_scan *s, const tlpi_jnode *n)
{
    if (s->depth == TLPI_JINJA_MAX_DEPTH)
        return;
    s->depth++;
    visit_expressions(s, n->a);
    visit_statements(s, n->b, IS_CALLERS);
    visit_statements(s, n->c, IS_CALLERS);
    s->depth--;
}

/* set: what a name is that is set here first. */
static void visit_statements(name_scan *s, const tlpi_jnode *n, int64_t set)
{
    for (; n && tlpi_jx_step(s->x, 1); n = n->next) {
        if (n->kind == TLPI_JN_IF) {
            visit_if(s, n);
        } else if (n->kind == TLPI_JN_PRINT) {
            visit_expressions(s, n->a);
        } else if (n->kind == TLPI_JN_FOR || n->kind == TLPI_JN_FILTER_BLOCK) {
            visit_expressions(s, n->b);
        } else if (n->kind == TLPI_JN_SET) {
            visit_expressions(s, n->b);
            visit_target(s, n->a, set);
        } else if (n->kind == TLPI_JN_SET_BLOCK) {
            visit_target(s, n->a, set);
        } else if (n->kind == TLPI_JN_MACRO) {
            decide(s, n->value, set);
        } else if (n->kind == TLPI_JN_WITH) {
            for (const tlpi_jnode *v = n->a; v; v = v->next)
                visit_expressions(s, v->b);
        }
    }
}

static void add_name(name_scan *s, const tlpi_jnode *n)
{
    if (n->kind == TLPI_JN_NAME && !tlpi_j_find(s->x, s->names, n->value))
        tlpi_j_set(s->x, s->names, n->value, tlpi_j_int(UNDECIDED));
}

/* Names that the top level sets outside of other statements. */
static void find_names(name_scan *s, const tlpi_jnode *n)
{
    for (; n && s->x->st == TLP_OK; n = n->next) {
        bool sets = n->kind == TLPI_JN_SET || n->kind == TLPI_JN_SET_BLOCK;
        if (sets && n->a->kind == TLPI_JN_TUPLE)
            for (const tlpi_jnode *t = n->a->a; t; t = t->next)
                add_name(s, t);
        else if (sets)
            add_name(s, n->a);
    }
}

void tlpi_jinja_claim_names(tlpi_jinterp *in, const tlpi_jnode *body)
{
    tlpi_jdict names = { 0 };
    name_scan s = { .x = &in->x, .names = &names };

    find_names(&s, body);
    if (names.n > 0)
        visit_statements(&s, body, IS_TEMPLATES);
    for (size_t i = 0; i < names.n && in->x.st == TLP_OK; i++)
        if (names.value[i].i == IS_TEMPLATES)
            tlpi_j_set(&in->x, &in->scope->vars, names.key[i],
                       tlpi_j_undefined(names.key[i].s));
}
