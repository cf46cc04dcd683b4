/*
 * gbnf_parse.c - read the rules of a grammar's text into trees.
 *
 *     name ::= sequence | sequence ...
 *
 * A rule ends with its line, except behind '|' and inside parentheses.
 */
#include <string.h>

#include "grammar/gbnf.h"

tlp_status tlpi_gbnf_add(tlpi_gbnf *g, int32_t *out, tlpi_tree_kind kind,
                         uint32_t a, uint32_t b)
{
    *out = tlpi_tree_add(
        g->t, (tlpi_tree_node){ (uint8_t)kind, -1, -1, a, b, g->x.line });
    if (*out >= 0)
        return TLP_OK;
    if (g->t->n_node == TLPI_GBNF_MAX_NODE)
        return tlpi_gbnf_fail(&g->x, TLP_ENOTSUP,
                              "the grammar has more than %d symbols",
                              TLPI_GBNF_MAX_NODE);
    return tlpi_fail_nomem_for("a grammar");
}

/* ==== names ============================================================== */

static size_t hash_name(const char *s, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
    return (size_t)((h ^ (h >> 32)) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* The rule of the name that stands here; a new one if there is none yet. */
static tlp_status find_rule(tlpi_gbnf *g, int32_t *out)
{
    tlpi_tree *t = g->t;
    const char *s = g->x.s;
    size_t n = tlpi_gbnf_name(&g->x);

    if (n == 0)
        return tlpi_gbnf_expect(&g->x, "the name of a rule");
    if (n > TLPI_GBNF_MAX_NAME)
        return tlpi_gbnf_fail(&g->x, TLP_ENOTSUP,
                              "a name of %zu bytes, at most %d expected", n,
                              TLPI_GBNF_MAX_NAME);
    g->x.s += n;
    size_t i = hash_name(s, n) & g->mask;
    for (; g->slot[i] >= 0; i = (i + 1) & g->mask) {
        const tlpi_tree_rule *r = &t->rule[g->slot[i]];
        if (r->n == n && memcmp(r->name, s, n) == 0) {
            *out = g->slot[i];
            return TLP_OK;
        }
    }
    if (t->n_rule == TLPI_GBNF_MAX_RULE)
        return tlpi_gbnf_fail(&g->x, TLP_ENOTSUP,
                              "the grammar has more than %d rules",
                              TLPI_GBNF_MAX_RULE);
    if (!tlpi_tree_reserve(t->env, (void **)&t->rule, t->n_rule, &t->cap_rule,
                           sizeof *t->rule))
        return tlpi_fail_nomem_for("a grammar");
    t->rule[t->n_rule] = (tlpi_tree_rule){ s, n, -1, g->x.line };
    *out = g->slot[i] = (int32_t)t->n_rule++;
    return TLP_OK;
}

/* ==== symbols ============================================================ */

/* A text in quotes. */
static tlp_status read_text(tlpi_gbnf *g, int32_t *out)
{
    tlpi_text *text = &g->t->text;
    size_t at = text->len;
    uint32_t code;
    char utf8[4];
    tlp_status st = TLP_OK;

    for (g->x.s++; tlpi_gbnf_peek(&g->x) != '"';) {
        if (g->x.s == g->x.end)
            return tlpi_gbnf_expect(&g->x, "\" at the end of a text");
        TLP_TRY(tlpi_gbnf_char(&g->x, &code));
        tlpi_text_add(text, utf8, (size_t)tlpi_utf8_encode(code, utf8));
    }
    g->x.s++;
    if (text->failed)
        return tlpi_fail_nomem_for("a grammar");
    st = tlpi_gbnf_add(g, out, TLPI_TREE_TEXT, (uint32_t)at,
                       (uint32_t)(text->len - at));
done:
    return st;
}

/* <[id]> or <text>, behind an optional '!'. */
static tlp_status read_token(tlpi_gbnf *g, int32_t *out)
{
    tlpi_gbnf_lex *x = &g->x;
    const char *start;
    uint32_t id = 0;
    tlp_status st = TLP_OK;

    bool other = *x->s == '!';
    x->s += other;
    if (tlpi_gbnf_peek(x) != '<')
        return tlpi_gbnf_expect(x, "a token");
    start = x->s++;
    if (tlpi_gbnf_peek(x) == '[') {
        x->s++;
        TLP_TRY(tlpi_gbnf_number(x, (uint32_t)g->vocab->n_token - 1, &id));
        if (x->end - x->s < 2 || memcmp(x->s, "]>", 2) != 0)
            return tlpi_gbnf_expect(x, "]>");
        x->s += 2;
    } else {
        while (x->s < x->end && *x->s != '>' && *x->s != '\n')
            x->s++;
        if (tlpi_gbnf_peek(x) != '>')
            return tlpi_gbnf_expect(x, "> at the end of a token");
        size_t n = (size_t)(++x->s - start);
        int32_t found = g->vocab->find(g->vocab->arg, start, n);
        if (found < 0)
            return tlpi_gbnf_fail(x, TLP_EINVAL,
                                  "%.*s is no token of the vocabulary",
                                  (int)TLPI_MIN(n, (size_t)64), start);
        id = (uint32_t)found;
    }
    st = tlpi_gbnf_add(g, out, other ? TLPI_TREE_NOT : TLPI_TREE_TOKEN, id, 0);
done:
    return st;
}

/* ==== sequences ========================================================== */

static tlp_status read_alternatives(tlpi_gbnf *g, int32_t *out);

static tlp_status read_group(tlpi_gbnf *g, int32_t *out)
{
    tlpi_gbnf_lex *x = &g->x;
    tlp_status st = TLP_OK;

    if (g->depth == TLPI_GBNF_MAX_DEPTH)
        return tlpi_gbnf_fail(x, TLP_ENOTSUP, "groups nested deeper than %d",
                              TLPI_GBNF_MAX_DEPTH);
    g->depth++;
    x->s++;
    tlpi_gbnf_blanks(x, true);
    TLP_TRY(read_alternatives(g, out));
    if (tlpi_gbnf_peek(x) != ')')
        return tlpi_gbnf_expect(x, ") at the end of a group");
    x->s++;
    g->depth--;
done:
    return st;
}

/* Bounds in braces. */
static tlp_status read_bounds(tlpi_gbnf *g, uint32_t *min, uint32_t *max)
{
    tlpi_gbnf_lex *x = &g->x;
    tlp_status st = TLP_OK;

    x->s++;
    tlpi_gbnf_blanks(x, g->depth > 0);
    TLP_TRY(tlpi_gbnf_number(x, INT32_MAX, min));
    *max = *min;
    tlpi_gbnf_blanks(x, g->depth > 0);
    if (tlpi_gbnf_peek(x) == ',') {
        x->s++;
        *max = TLPI_FOREVER;
        tlpi_gbnf_blanks(x, g->depth > 0);
        if (tlpi_gbnf_peek(x) != '}')
            TLP_TRY(tlpi_gbnf_number(x, INT32_MAX, max));
        tlpi_gbnf_blanks(x, g->depth > 0);
    }
    if (tlpi_gbnf_peek(x) != '}')
        return tlpi_gbnf_expect(x, "} at the end of bounds");
    x->s++;
    if (*max < *min)
        st = tlpi_gbnf_fail(x, TLP_EFORMAT,
                            "bounds {%u,%u}: the second below the first", *min,
                            *max);
done:
    return st;
}

/* The operators * + ? {} behind a symbol. */
static tlp_status read_repeats(tlpi_gbnf *g, int32_t *node)
{
    tlpi_gbnf_lex *x = &g->x;
    tlp_status st = TLP_OK;

    for (int n = 0;; n++) {
        uint32_t min = 0, max = TLPI_FOREVER;
        int32_t child = *node;
        char c = tlpi_gbnf_peek(x);

        if (c == '{')
            TLP_TRY(read_bounds(g, &min, &max));
        else if (c == '*' || c == '+' || c == '?')
            x->s++;
        else
            return TLP_OK;
        if (n == TLPI_GBNF_MAX_OPERATOR)
            return tlpi_gbnf_fail(x, TLP_ENOTSUP,
                                  "more than %d operators behind one symbol",
                                  TLPI_GBNF_MAX_OPERATOR);
        min = c == '+' ? 1 : min;
        max = c == '?' ? 1 : max;
        TLP_TRY(tlpi_gbnf_add(g, node, TLPI_TREE_REPEAT, min, max));
        g->t->node[*node].child = child;
        tlpi_gbnf_blanks(x, g->depth > 0);
    }
done:
    return st;
}

/* One symbol; *out stays -1 where a sequence ends. */
static tlp_status read_symbol(tlpi_gbnf *g, int32_t *out)
{
    tlpi_gbnf_lex *x = &g->x;
    tlp_status st = TLP_OK;
    int32_t rule;

    *out = -1;
    switch (tlpi_gbnf_peek(x)) {
    case '"':
        return read_text(g, out);
    case '[':
        return tlpi_gbnf_class(g, out);
    case '.':
        return tlpi_gbnf_any(g, out);
    case '<':
    case '!':
        return read_token(g, out);
    case '(':
        return read_group(g, out);
    default:
        if (tlpi_gbnf_name(x) == 0)
            return TLP_OK;
        TLP_TRY(find_rule(g, &rule));
        st = tlpi_gbnf_add(g, out, TLPI_TREE_RULE, (uint32_t)rule, 0);
    }
done:
    return st;
}

static tlp_status read_sequence(tlpi_gbnf *g, int32_t *out)
{
    int32_t last = -1, node;
    tlp_status st = tlpi_gbnf_add(g, out, TLPI_TREE_SEQ, 0, 0);

    while (st == TLP_OK) {
        TLP_TRY(read_symbol(g, &node));
        if (node < 0)
            break;
        tlpi_gbnf_blanks(&g->x, g->depth > 0);
        TLP_TRY(read_repeats(g, &node));
        if (last < 0)
            g->t->node[*out].child = node;
        else
            g->t->node[last].next = node;
        last = node;
    }
done:
    return st;
}

static tlp_status read_alternatives(tlpi_gbnf *g, int32_t *out)
{
    tlpi_gbnf_lex *x = &g->x;
    int32_t last = -1, node;
    tlp_status st = tlpi_gbnf_add(g, out, TLPI_TREE_ALT, 0, 0);

    while (st == TLP_OK) {
        TLP_TRY(read_sequence(g, &node));
        if (last < 0)
            g->t->node[*out].child = node;
        else
            g->t->node[last].next = node;
        last = node;
        if (tlpi_gbnf_peek(x) != '|')
            break;
        x->s++;
        tlpi_gbnf_blanks(x, true);
    }
done:
    return st;
}

/* ==== rules ============================================================== */

static tlp_status read_rule(tlpi_gbnf *g)
{
    tlpi_gbnf_lex *x = &g->x;
    const char *name = x->s;
    int32_t rule, node, line = x->line;
    tlp_status st = TLP_OK;

    x->n_rule = 0;
    TLP_TRY(find_rule(g, &rule));
    x->rule = name;
    x->n_rule = g->t->rule[rule].n;
    tlpi_gbnf_blanks(x, false);
    if (x->end - x->s < 3 || memcmp(x->s, "::=", 3) != 0)
        return tlpi_gbnf_expect(x, "::=");
    if (g->t->rule[rule].node >= 0)
        return tlpi_gbnf_fail(x, TLP_EFORMAT, "defined twice, first in line %d",
                              g->t->rule[rule].line);
    x->s += 3;
    tlpi_gbnf_blanks(x, true);
    TLP_TRY(read_alternatives(g, &node));
    g->t->rule[rule].node = node;
    g->t->rule[rule].line = line;
    if (x->s < x->end && *x->s != '\n' && *x->s != '\r')
        return tlpi_gbnf_expect(x, "a symbol or the end of the line");
    tlpi_gbnf_blanks(x, true);
done:
    return st;
}

static tlp_status check_rules(const tlpi_gbnf *g)
{
    const tlpi_tree *t = g->t;

    if (t->root < 0)
        return tlpi_fail(TLP_EFORMAT, "grammar: no rule root");
    for (size_t i = 0; i < t->n_rule; i++)
        if (t->rule[i].node < 0)
            return tlpi_fail(
                TLP_EFORMAT, "grammar: line %d: rule %.*s is not defined",
                t->rule[i].line, (int)TLPI_MIN(t->rule[i].n, (size_t)64),
                t->rule[i].name);
    return TLP_OK;
}

static tlp_status read_all(tlpi_gbnf *g)
{
    tlp_status st = TLP_OK;

    tlpi_gbnf_blanks(&g->x, true);
    while (g->x.s < g->x.end)
        TLP_TRY(read_rule(g));
    g->t->root = -1;
    for (size_t i = 0; i < g->t->n_rule; i++)
        if (g->t->rule[i].n == 4 && memcmp(g->t->rule[i].name, "root", 4) == 0)
            g->t->root = (int32_t)i;
    st = check_rules(g);
done:
    return st;
}

tlp_status tlpi_gbnf_parse(tlpi_tree *t, const char *text, size_t n,
                           const tlpi_gbnf_vocab *vocab)
{
    tlpi_gbnf g = { .x = { .s = text, .end = text + n, .line = 1 },
                    .t = t,
                    .vocab = vocab,
                    .mask = 2 * TLPI_GBNF_MAX_RULE - 1 };

    if (n > TLPI_GBNF_MAX_BYTES)
        return tlpi_fail(TLP_ENOTSUP, "grammar: %zu bytes, at most %d expected",
                         n, TLPI_GBNF_MAX_BYTES);
    g.slot = tlpi_alloc_array(t->env, g.mask + 1, sizeof *g.slot);
    if (!g.slot)
        return tlpi_fail_nomem_for("a grammar");
    memset(g.slot, 0xff, (g.mask + 1) * sizeof *g.slot);
    tlp_status st = read_all(&g);
    tlpi_free(t->env, g.slot);
    return st;
}
