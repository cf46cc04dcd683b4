/*
 * jinja_parse.c - statements, and the steps of the parser.
 */
#include <string.h>

#include "jinja/jinja_tree.h"

/* ==== steps ============================================================== */

tlpi_jnode *tlpi_jp_node(tlpi_jparser *p, tlpi_jnode_kind kind)
{
    tlpi_jnode *n = tlpi_jx_alloc(p->x, sizeof *n);

    if (n) {
        n->kind = kind;
        n->at = p->token->at;
    }
    return n;
}

bool tlpi_jp_is_op(const tlpi_jparser *p, const char *op)
{
    return p->token->kind == TLPI_JT_OP && strcmp(p->token->op, op) == 0;
}

bool tlpi_jp_is_name(const tlpi_jparser *p, const char *name)
{
    return p->token->kind == TLPI_JT_NAME &&
           tlpi_j_is_text(p->token->value, name);
}

bool tlpi_jp_skip_op(tlpi_jparser *p, const char *op)
{
    bool is = tlpi_jp_is_op(p, op);

    p->token += is;
    return is;
}

bool tlpi_jp_skip_name(tlpi_jparser *p, const char *name)
{
    bool is = tlpi_jp_is_name(p, name);

    p->token += is;
    return is;
}

bool tlpi_jp_want_op(tlpi_jparser *p, const char *op)
{
    if (p->x->st == TLP_OK && tlpi_jp_skip_op(p, op))
        return true;
    tlpi_jp_unexpected(p, op);
    return false;
}

void tlpi_jp_unexpected(tlpi_jparser *p, const char *wanted)
{
    const tlpi_jtoken *t = p->token;
    static const char *const kinds[] = {
        [TLPI_JT_END] = "the end of the template",
        [TLPI_JT_TEXT] = "text",
        [TLPI_JT_PRINT_BEGIN] = "{{",
        [TLPI_JT_PRINT_END] = "}}",
        [TLPI_JT_BLOCK_BEGIN] = "{%",
        [TLPI_JT_BLOCK_END] = "%}",
        [TLPI_JT_STRING] = "a string",
        [TLPI_JT_INT] = "a number",
        [TLPI_JT_FLOAT] = "a number",
    };

    p->x->at = t->at;
    if (t->kind == TLPI_JT_NAME)
        tlpi_jx_fail(p->x, TLP_EFORMAT, "%s expected, %.*s found", wanted,
                     (int)TLPI_MIN(t->value.s->n, (size_t)60), t->value.s->s);
    else
        tlpi_jx_fail(p->x, TLP_EFORMAT, "%s expected, %s found", wanted,
                     t->kind == TLPI_JT_OP ? t->op : kinds[t->kind]);
}

static void end_block(tlpi_jparser *p)
{
    if (p->x->st != TLP_OK)
        return;
    if (p->token->kind == TLPI_JT_BLOCK_END)
        p->token++;
    else
        tlpi_jp_unexpected(p, "%}");
}

/* ==== statements ========================================================= */

/* Statements up to a block tag with one of the names, which is left at its
 * name.  `ends` is a list of names, ended by NULL; empty: up to the end. */
static tlpi_jnode *parse_body(tlpi_jparser *p, const char *const *ends);

/* A body that {% end %} ends, with that tag. */
static tlpi_jnode *parse_until(tlpi_jparser *p, const char *end)
{
    const char *ends[] = { end, NULL };

    end_block(p);
    tlpi_jnode *body = parse_body(p, ends);
    tlpi_jp_skip_name(p, end);
    end_block(p);
    return body;
}

static tlpi_jnode *parse_if(tlpi_jparser *p)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_IF);

    if (!n || !tlpi_jx_enter(p->x))
        return NULL;
    n->a = tlpi_jp_tuple(p, false, NULL);
    end_block(p);
    n->b = parse_body(p, ends);
    if (tlpi_jp_skip_name(p, "elif"))
        n->c = parse_if(p);
    else if (tlpi_jp_skip_name(p, "else"))
        n->c = parse_until(p, "endif");
    else if (tlpi_jp_skip_name(p, "endif"))
        end_block(p);
    tlpi_jx_leave(p->x);
    return n;
}

static tlpi_jnode *parse_for(tlpi_jparser *p)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_FOR);

    if (!n)
        return NULL;
    n->a = tlpi_jp_target(p, false);
    if (p->x->st == TLP_OK && !tlpi_jp_skip_name(p, "in"))
        tlpi_jp_unexpected(p, "in");
    n->b = tlpi_jp_tuple(p, false, "recursive");
    if (p->x->st == TLP_OK && tlpi_jp_skip_name(p, "if"))
        n->d = tlpi_jp_expression(p, true);
    if (tlpi_jp_is_name(p, "recursive")) {
        p->x->at = p->token->at;
        tlpi_jx_fail(p->x, TLP_ENOTSUP, "recursive loops are not supported");
    }
    end_block(p);
    p->n_loop++;
    n->c = parse_body(p, ends);
    p->n_loop--;
    if (tlpi_jp_skip_name(p, "else"))
        n->e = parse_until(p, "endfor");
    else if (tlpi_jp_skip_name(p, "endfor"))
        end_block(p);
    return n;
}

static tlpi_jnode *parse_set(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_SET);

    if (!n)
        return NULL;
    n->a = tlpi_jp_target(p, true);
    if (tlpi_jp_skip_op(p, "=")) {
        n->b = tlpi_jp_tuple(p, true, NULL);
        end_block(p);
        return n;
    }
    n->kind = TLPI_JN_SET_BLOCK;
    if (tlpi_jp_skip_op(p, "|"))
        n->b = tlpi_jp_filters(p);
    n->c = parse_until(p, "endset");
    return n;
}

/* NAME = default, ... behind "(", with the ")". */
static tlpi_jnode *parse_parameters(tlpi_jparser *p)
{
    tlpi_jnode *first = NULL, **end = &first;

    while (p->x->st == TLP_OK && !tlpi_jp_is_op(p, ")")) {
        if (first && !tlpi_jp_want_op(p, ","))
            return NULL;
        if (p->token->kind != TLPI_JT_NAME) {
            tlpi_jp_unexpected(p, "the name of a parameter");
            return NULL;
        }
        tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_NAME);
        if (!n)
            return NULL;
        n->value = p->token++->value;
        if (tlpi_jp_skip_op(p, "="))
            n->b = tlpi_jp_expression(p, true);
        *end = n;
        end = &n->next;
    }
    tlpi_jp_want_op(p, ")");
    return first;
}

static tlpi_jnode *parse_macro(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_MACRO);
    int n_loop = p->n_loop;

    if (!n)
        return NULL;
    if (p->token->kind != TLPI_JT_NAME) {
        tlpi_jp_unexpected(p, "the name of a macro");
        return NULL;
    }
    n->value = p->token++->value;
    if (tlpi_jp_want_op(p, "("))
        n->a = parse_parameters(p);
    p->n_loop = 0;
    n->c = parse_until(p, "endmacro");
    p->n_loop = n_loop;
    return n;
}

static tlpi_jnode *parse_with(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_WITH);

    if (!n)
        return NULL;
    tlpi_jnode **end = &n->a;
    while (p->x->st == TLP_OK && p->token->kind != TLPI_JT_BLOCK_END) {
        if (n->a && !tlpi_jp_want_op(p, ","))
            return NULL;
        tlpi_jnode *set = tlpi_jp_node(p, TLPI_JN_SET);
        if (!set)
            return NULL;
        set->a = tlpi_jp_target(p, false);
        tlpi_jp_want_op(p, "=");
        set->b = tlpi_jp_expression(p, true);
        *end = set;
        end = &set->next;
    }
    n->c = parse_until(p, "endwith");
    return n;
}

static tlpi_jnode *parse_filter_block(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_FILTER_BLOCK);

    if (!n)
        return NULL;
    n->b = tlpi_jp_filters(p);
    n->c = parse_until(p, "endfilter");
    return n;
}

/* The answer's place, which is marked for training: its names are its own. */
static tlpi_jnode *parse_generation(tlpi_jparser *p)
{
    tlpi_jnode *n = tlpi_jp_node(p, TLPI_JN_SCOPE);

    if (n)
        n->c = parse_until(p, "endgeneration");
    return n;
}

static tlpi_jnode *parse_jump(tlpi_jparser *p, tlpi_jnode_kind kind)
{
    tlpi_jnode *n = tlpi_jp_node(p, kind);

    if (p->n_loop == 0)
        tlpi_jx_fail(p->x, TLP_EFORMAT, "break or continue outside of a loop");
    end_block(p);
    return n;
}

static tlpi_jnode *parse_block(tlpi_jparser *p)
{
    p->x->at = p->token->at;
    if (p->token->kind != TLPI_JT_NAME) {
        tlpi_jp_unexpected(p, "the name of a statement");
        return NULL;
    }
    if (tlpi_jp_skip_name(p, "if"))
        return parse_if(p);
    if (tlpi_jp_skip_name(p, "for"))
        return parse_for(p);
    if (tlpi_jp_skip_name(p, "set"))
        return parse_set(p);
    if (tlpi_jp_skip_name(p, "macro"))
        return parse_macro(p);
    if (tlpi_jp_skip_name(p, "with"))
        return parse_with(p);
    if (tlpi_jp_skip_name(p, "filter"))
        return parse_filter_block(p);
    if (tlpi_jp_skip_name(p, "generation"))
        return parse_generation(p);
    if (tlpi_jp_skip_name(p, "break"))
        return parse_jump(p, TLPI_JN_BREAK);
    if (tlpi_jp_skip_name(p, "continue"))
        return parse_jump(p, TLPI_JN_CONTINUE);
    tlpi_jx_fail(p->x, TLP_ENOTSUP, "the statement %.*s is not supported here",
                 (int)TLPI_MIN(p->token->value.s->n, (size_t)60),
                 p->token->value.s->s);
    return NULL;
}

static bool is_end(const tlpi_jparser *p, const char *const *ends)
{
    for (int i = 0; ends[i]; i++)
        if (tlpi_jp_is_name(p, ends[i]))
            return true;
    return false;
}

/* The name that ends the whole statement stands last. */
static const char *last_of(const char *const *ends)
{
    while (ends[1])
        ends++;
    return ends[0];
}

static tlpi_jnode *parse_statement(tlpi_jparser *p)
{
    tlpi_jnode *n;

    if (p->token->kind == TLPI_JT_TEXT) {
        n = tlpi_jp_node(p, TLPI_JN_TEXT);
        if (n)
            n->value = p->token->value;
        p->token++;
        return n;
    }
    if (p->token->kind == TLPI_JT_PRINT_BEGIN) {
        n = tlpi_jp_node(p, TLPI_JN_PRINT);
        p->token++;
        if (n)
            n->a = tlpi_jp_tuple(p, true, NULL);
        if (p->x->st == TLP_OK && p->token->kind != TLPI_JT_PRINT_END)
            tlpi_jp_unexpected(p, "}}");
        p->token++;
        return n;
    }
    p->token++; /* {% */
    return parse_block(p);
}

static tlpi_jnode *parse_body(tlpi_jparser *p, const char *const *ends)
{
    tlpi_jnode *first = NULL, **end = &first;

    if (p->x->st != TLP_OK || !tlpi_jx_enter(p->x))
        return NULL;
    while (tlpi_jx_step(p->x, 1)) {
        if (p->token->kind == TLPI_JT_END) {
            if (ends[0])
                tlpi_jp_unexpected(p, last_of(ends));
            break;
        }
        if (p->token->kind == TLPI_JT_BLOCK_BEGIN) {
            tlpi_jparser inside = *p;
            inside.token++;
            if (is_end(&inside, ends)) {
                *p = inside;
                break;
            }
        }
        *end = parse_statement(p);
        if (!*end)
            break;
        end = &(*end)->next;
    }
    tlpi_jx_leave(p->x);
    return first;
}

tlpi_jnode *tlpi_jinja_parse(tlpi_jx *x, const tlpi_jtoken *tokens)
{
    static const char *const none[] = { NULL };
    tlpi_jparser p = { .x = x, .token = tokens };

    return parse_body(&p, none);
}
