/*
 * jinja_expr.c - expressions, by the precedence of Jinja's own parser:
 *
 *   b if a else c;  or;  and;  not;  == != < <= > >= in, not in;  + -;  ~;
 *   * / // %;  **;  unary + -;  x.y  x[y]  x(y);  x|filter  x is test
 */
#include <string.h>

#include "jinja/jinja_run.h"

static tlpi_jnode *parse_or(tlpi_jparser *p);

/* ==== operators ========================================================== */

static tlpi_jnode *parse_unary(tlpi_jparser *p, bool with_filter)
{
    const tlpi_jtoken *t = p->token;
    tlpi_jnode *n;

    if (!tlpi_jx_enter(p->x))
        return NULL;
    if (tlpi_jp_skip_op(p, "-") || tlpi_jp_skip_op(p, "+")) {
        n = tlpi_jp_make(p, TLPI_JN_UNARY, t->at, parse_unary(p, false), NULL);
        if (n)
            strcpy(n->op, t->op);
    } else {
        n = tlpi_jp_primary(p);
    }
    n = tlpi_jp_postfix(p, n);
    if (with_filter)
        n = tlpi_jp_filters_and_tests(p, n);
    tlpi_jx_leave(p->x);
    return p->x->st == TLP_OK ? n : NULL;
}

/* The operators of a level, and what stands below it. */
typedef struct jinja_level {
    const char *op[5];
} jinja_level;

static const jinja_level levels[] = {
    { { "+", "-" } },
    { { "~" } },
    { { "*", "/", "//", "%" } },
    { { "**" } },
};

static const char *skip_level_op(tlpi_jparser *p, const jinja_level *l)
{
    for (int i = 0; l->op[i]; i++)
        if (tlpi_jp_skip_op(p, l->op[i]))
            return l->op[i];
    return NULL;
}

/* Left-associative, ** too, as in Jinja.  A chain of ~ is one node. */
static tlpi_jnode *parse_level(tlpi_jparser *p, size_t level)
{
    if (level == TLPI_COUNT(levels))
        return parse_unary(p, true);
    tlpi_jnode *n = parse_level(p, level + 1);
    const char *op;
    size_t at = p->token->at;

    while (n && tlpi_jx_step(p->x, 1) &&
           (op = skip_level_op(p, &levels[level]))) {
        tlpi_jnode *right = parse_level(p, level + 1);
        n = tlpi_jp_make(p, TLPI_JN_BINARY, at, n, right);
        if (n)
            strcpy(n->op, op);
        at = p->token->at;
    }
    return n;
}

static const char *skip_comparison(tlpi_jparser *p)
{
    static const char *const ops[] = { "==", "!=", "<=", ">=", "<", ">" };

    for (size_t i = 0; i < TLPI_COUNT(ops); i++)
        if (tlpi_jp_skip_op(p, ops[i]))
            return ops[i];
    if (tlpi_jp_skip_name(p, "in"))
        return "i";
    if (tlpi_jp_is_name(p, "not") && p->token[1].kind == TLPI_JT_NAME &&
        tlpi_j_is_text(p->token[1].value, "in")) {
        p->token += 2;
        return "!i";
    }
    return NULL;
}

static tlpi_jnode *parse_compare(tlpi_jparser *p)
{
    size_t at = p->token->at;
    tlpi_jnode *n = parse_level(p, 0), *first = NULL, **end = &first;
    const char *op;

    while (n && p->x->st == TLP_OK && (op = skip_comparison(p))) {
        *end = tlpi_jp_make(p, TLPI_JN_OPERAND, p->token->at, parse_level(p, 0),
                            NULL);
        if (!*end)
            return NULL;
        strcpy((*end)->op, op);
        end = &(*end)->next;
    }
    return first ? tlpi_jp_make(p, TLPI_JN_COMPARE, at, n, first) : n;
}

static tlpi_jnode *parse_not(tlpi_jparser *p)
{
    size_t at = p->token->at;

    if (!tlpi_jp_is_name(p, "not"))
        return parse_compare(p);
    if (!tlpi_jx_enter(p->x))
        return NULL;
    p->token++;
    tlpi_jnode *n = tlpi_jp_make(p, TLPI_JN_NOT, at, parse_not(p), NULL);
    tlpi_jx_leave(p->x);
    return n;
}

static tlpi_jnode *parse_and(tlpi_jparser *p)
{
    tlpi_jnode *n = parse_not(p);

    while (n && tlpi_jx_step(p->x, 1) && tlpi_jp_skip_name(p, "and"))
        n = tlpi_jp_make(p, TLPI_JN_AND, n->at, n, parse_not(p));
    return n;
}

static tlpi_jnode *parse_or(tlpi_jparser *p)
{
    tlpi_jnode *n = parse_and(p);

    while (n && tlpi_jx_step(p->x, 1) && tlpi_jp_skip_name(p, "or"))
        n = tlpi_jp_make(p, TLPI_JN_OR, n->at, n, parse_and(p));
    return n;
}

tlpi_jnode *tlpi_jp_expression(tlpi_jparser *p, bool with_condition)
{
    if (!tlpi_jx_enter(p->x))
        return NULL;
    tlpi_jnode *n = parse_or(p);
    while (n && with_condition && tlpi_jx_step(p->x, 1) &&
           tlpi_jp_skip_name(p, "if")) {
        tlpi_jnode *cond = tlpi_jp_make(p, TLPI_JN_COND, n->at, parse_or(p), n);
        if (cond && tlpi_jp_skip_name(p, "else"))
            cond->c = tlpi_jp_expression(p, true);
        n = cond;
    }
    tlpi_jx_leave(p->x);
    return p->x->st == TLP_OK ? n : NULL;
}

/* ==== tuples and targets ================================================= */

static bool ends_tuple(const tlpi_jparser *p, const char *stop)
{
    return p->token->kind == TLPI_JT_PRINT_END ||
           p->token->kind == TLPI_JT_BLOCK_END || tlpi_jp_is_op(p, ")") ||
           tlpi_jp_is_op(p, "=") || (stop && tlpi_jp_is_name(p, stop));
}

tlpi_jnode *tlpi_jp_tuple(tlpi_jparser *p, bool with_condition,
                          const char *stop)
{
    size_t at = p->token->at;
    tlpi_jnode *first = tlpi_jp_expression(p, with_condition), *last = first;

    if (!first || !tlpi_jp_is_op(p, ","))
        return first;
    while (p->x->st == TLP_OK && tlpi_jp_skip_op(p, ",")) {
        if (ends_tuple(p, stop))
            break;
        last->next = tlpi_jp_expression(p, with_condition);
        if (!last->next)
            return NULL;
        last = last->next;
    }
    return tlpi_jp_make(p, TLPI_JN_TUPLE, at, first, NULL);
}

static tlpi_jnode *parse_one_target(tlpi_jparser *p, bool dotted)
{
    tlpi_jnode *n = NULL;

    if (tlpi_jp_skip_op(p, "(")) {
        n = tlpi_jp_target(p, false);
        tlpi_jp_want_op(p, ")");
        return n;
    }
    if (p->token->kind != TLPI_JT_NAME || tlpi_jp_is_constant(p)) {
        tlpi_jp_unexpected(p, "a name");
        return NULL;
    }
    n = tlpi_jp_node(p, TLPI_JN_NAME);
    if (n)
        n->value = p->token->value;
    p->token++;
    return dotted && tlpi_jp_skip_op(p, ".") ? tlpi_jp_attr(p, n) : n;
}

tlpi_jnode *tlpi_jp_target(tlpi_jparser *p, bool dotted)
{
    size_t at = p->token->at;

    if (!tlpi_jx_enter(p->x))
        return NULL;
    tlpi_jnode *first = parse_one_target(p, dotted), *last = first;
    bool tuple = first && tlpi_jp_is_op(p, ",");
    while (last && p->x->st == TLP_OK && tlpi_jp_skip_op(p, ",") &&
           (p->token->kind == TLPI_JT_NAME || tlpi_jp_is_op(p, "(")) &&
           !tlpi_jp_is_name(p, "in")) {
        last->next = parse_one_target(p, false);
        last = last->next;
    }
    tlpi_jx_leave(p->x);
    return tuple ? tlpi_jp_make(p, TLPI_JN_TUPLE, at, first, NULL) : first;
}
