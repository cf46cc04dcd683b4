/*
 * automaton.c - make the automata of a grammar's rules, from the end of each
 * rule to its start.
 */
#include "grammar/automaton.h"

#include <string.h>

/*
 * A rule of at most this many positions stands in place of its calls: of any
 * call, or of a call inside a repetition and of a rule that ends in one.  Masks
 * of tokens are kept for positions (mask.h), without what follows their rule.
 * A rule that may end in many places of a token makes that of little use, and
 * another large rule is better made once.
 */
enum { INLINE_ANY = 24, INLINE_LOOP = 400 };

/* No rules are written out beyond this number of positions. */
enum { INLINE_TOTAL = 1 << 16 };

typedef struct emission {
    tlpi_automaton *m;
    const tlpi_tree *t;
    const tlpi_rule_facts *f;
    const tlpi_tree_rule *rule; /* that is being made */
    int line;
    bool in_loop;
    int32_t *row; /* [n_node] children of the sequences that are being made */
    size_t n_row;
} emission;

/* ==== positions ========================================================== */

int32_t tlpi_automaton_add(tlpi_automaton *m, tlpi_position p)
{
    if (m->n == TLPI_AUTOMATON_MAX)
        return -1;
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 256;
        tlpi_position *at = tlpi_realloc_array(m->env, m->at, cap, sizeof *at);
        if (!at)
            return -1;
        m->at = at;
        int32_t *twin = tlpi_realloc_array(m->env, m->twin, cap, sizeof *twin);
        if (!twin)
            return -1;
        m->twin = twin;
        m->cap = cap;
    }
    m->at[m->n] = p;
    m->twin[m->n] = (int32_t)m->n;
    return (int32_t)m->n++;
}

static int32_t fork_at(emission *e, int32_t a, int32_t b)
{
    if (a < 0)
        return -1;
    return tlpi_automaton_add(e->m,
                              (tlpi_position){ TLPI_AT_FORK, 0, 0, a, b });
}

/* ==== repetitions ======================================================== */

static int32_t emit(emission *e, int32_t node, int32_t next);

/* Copies of one symbol, one behind the other. */
typedef struct copies {
    size_t size; /* positions of a copy; 0: copies differ */
    uint32_t count;
} copies;

static bool is_like(const tlpi_position *a, const tlpi_position *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].kind != b[i].kind)
            return false;
    return true;
}

/* Positions [from, m->n) are one more copy.  A copy with more than `depth`
 * copies behind it is a twin of the copy before it in memory: the next `depth`
 * bytes do not reach the end. */
static void note_copy(tlpi_automaton *m, copies *c, size_t from)
{
    size_t size = m->n - from;

    if (c->count == 0)
        c->size = size;
    else if (c->size != size ||
             !is_like(m->at + from, m->at + from - size, size))
        c->size = 0;
    if (c->count++ <= m->depth + 1 || c->size == 0)
        return;
    for (size_t i = from; i < m->n; i++)
        m->twin[i] = m->twin[i - size];
}

/* `times` copies of a symbol before next; with `optional`, each may be the end
 * of them. */
static int32_t emit_copies(emission *e, int32_t child, uint32_t times,
                           bool optional, int32_t next)
{
    int32_t at = next;
    copies c = { 0 };

    for (uint32_t i = 0; i < times && at >= 0; i++) {
        size_t from = e->m->n;
        int32_t body = emit(e, child, at);

        if (e->m->n == from) /* any number of nothing is nothing */
            return body;
        at = optional ? fork_at(e, body, next) : body;
        if (at >= 0 && !e->f->empty[child])
            note_copy(e->m, &c, from);
    }
    return at;
}

static int32_t emit_repeat(emission *e, const tlpi_tree_node *n, int32_t next)
{
    bool outer = e->in_loop;
    int32_t at = next;

    e->in_loop = outer || n->b > 1;
    if (n->b == TLPI_FOREVER) {
        at = fork_at(e, 0, next);
        int32_t body = at >= 0 ? emit(e, n->child, at) : -1;
        if (body < 0)
            at = -1;
        else
            e->m->at[at].a = body;
    } else {
        at = emit_copies(e, n->child, n->b - n->a, true, next);
    }
    at = at < 0 ? -1 : emit_copies(e, n->child, n->a, false, at);
    e->in_loop = outer;
    return at;
}

/* ==== symbols ============================================================ */

static int32_t emit_rule(emission *e, uint32_t rule, int32_t next)
{
    const tlpi_tree *t = e->t;
    int32_t node = t->rule[rule].node, place = e->f->order[rule];
    bool loop = e->in_loop || e->f->loops[rule];
    uint32_t most = loop ? INLINE_LOOP : INLINE_ANY;

    if (e->f->size[rule] <= most && e->m->n < INLINE_TOTAL)
        return emit(e, node, next);
    if (next == 0)
        return tlpi_automaton_add(
            e->m, (tlpi_position){ TLPI_AT_GOTO, 0, 0, -1, place });
    int32_t at = tlpi_automaton_add(
        e->m, (tlpi_position){ TLPI_AT_CALL, 0, 0, next, place });
    return e->f->empty[node] ? fork_at(e, at, next) : at;
}

static int32_t emit_text(emission *e, const tlpi_tree_node *n, int32_t next)
{
    for (uint32_t i = n->b; i-- > 0 && next >= 0;) {
        uint8_t c = (uint8_t)e->t->text.data[n->a + i];
        next = tlpi_automaton_add(
            e->m, (tlpi_position){ TLPI_AT_BYTES, c, c, next, -1 });
    }
    return next;
}

static int32_t emit_alternatives(emission *e, int32_t child, int32_t next)
{
    int32_t at = emit(e, child, next);

    for (child = e->t->node[child].next; child >= 0 && at >= 0;
         child = e->t->node[child].next) {
        int32_t other = emit(e, child, next);
        at = other < 0 ? -1 : fork_at(e, at, other);
    }
    return at;
}

/* Children of a sequence are linked forwards and made backwards. */
static int32_t emit_sequence(emission *e, int32_t child, int32_t next)
{
    size_t first = e->n_row;

    for (; child >= 0; child = e->t->node[child].next)
        e->row[e->n_row++] = child;
    while (e->n_row > first && next >= 0)
        next = emit(e, e->row[--e->n_row], next);
    e->n_row = first;
    return next;
}

/* Positions that match a node and go on at next; the first one, or -1. */
static int32_t emit(emission *e, int32_t node, int32_t next)
{
    const tlpi_tree_node *n = &e->t->node[node];

    e->line = n->line;
    switch (n->kind) {
    case TLPI_TREE_SEQ:
        return emit_sequence(e, n->child, next);
    case TLPI_TREE_ALT:
        return emit_alternatives(e, n->child, next);
    case TLPI_TREE_REPEAT:
        return emit_repeat(e, n, next);
    case TLPI_TREE_TEXT:
        return emit_text(e, n, next);
    case TLPI_TREE_CLASS:
        return tlpi_automaton_class(e->m, e->t->range + n->a, n->b, next);
    case TLPI_TREE_RULE:
        return emit_rule(e, n->a, next);
    default:
        return tlpi_automaton_add(
            e->m, (tlpi_position){ n->kind == TLPI_TREE_TOKEN ? TLPI_AT_TOKEN
                                                              : TLPI_AT_NOT,
                                   0, 0, next, (int32_t)n->a });
    }
}

/* ==== all ================================================================ */

/* Bytes between which no position tells are one class. */
static void find_classes(tlpi_automaton *m)
{
    bool begins[257] = { false };

    for (size_t i = 0; i < m->n; i++)
        if (m->at[i].kind == TLPI_AT_BYTES) {
            begins[m->at[i].lo] = true;
            begins[m->at[i].hi + 1] = true;
        }
    m->n_class = 0;
    for (int c = 0; c < 256; c++) {
        if (c == 0 || begins[c])
            m->member[m->n_class++] = (uint8_t)c;
        m->class_of[c] = (uint8_t)(m->n_class - 1);
    }
}

static tlp_status emit_rules(emission *e)
{
    tlpi_automaton *m = e->m;

    for (size_t r = 0; r < e->t->n_rule; r++) {
        int32_t end = 0, at;
        e->rule = &e->t->rule[r];
        at = emit(e, e->rule->node, end);
        if (at < 0 && m->n == TLPI_AUTOMATON_MAX)
            return tlpi_fail(TLP_ENOTSUP,
                             "grammar: line %d: rule %.*s: with repetitions "
                             "written out, the grammar has more than %d "
                             "positions",
                             e->line, (int)TLPI_MIN(e->rule->n, (size_t)64),
                             e->rule->name, TLPI_AUTOMATON_MAX);
        if (at < 0)
            return tlpi_fail_nomem_for("a grammar");
        m->start[e->f->order[r]] = at;
    }
    return TLP_OK;
}

tlp_status tlpi_automaton_make(tlpi_automaton *m, const tlpi_tree *t,
                               const tlpi_rule_facts *f, uint32_t depth)
{
    emission e = { .m = m, .t = t, .f = f };
    tlp_status st = TLP_OK;

    memset(m, 0, sizeof *m);
    m->env = t->env;
    m->depth = depth;
    m->n_rule = (int32_t)t->n_rule;
    m->root = f->order[t->root];
    m->start = tlpi_alloc_array(m->env, t->n_rule, sizeof *m->start);
    e.row = tlpi_alloc_array(m->env, t->n_node, sizeof *e.row);
    if (!m->start || !e.row ||
        tlpi_automaton_add(m, (tlpi_position){ TLPI_AT_END, 0, 0, -1, -1 }) < 0)
        TLP_TRY(tlpi_fail_nomem_for("a grammar"));
    TLP_TRY(emit_rules(&e));
    find_classes(m);
done:
    tlpi_free(m->env, e.row);
    return st;
}

void tlpi_automaton_free(tlpi_automaton *m)
{
    tlpi_free(m->env, m->at);
    tlpi_free(m->env, m->twin);
    tlpi_free(m->env, m->start);
}
