/*
 * rule_facts.c - which symbols match the empty text, which rules match no text,
 * and which rules call each other.
 */
#include "grammar/rule_facts.h"

#include <string.h>

/* Tables of a search over a grammar. */
typedef struct fact_search {
    const tlpi_tree *t;
    tlpi_rule_facts *f;
    int32_t *parent;    /* [n_node] -1: the node is the root of a rule */
    int32_t *rule_of;   /* [n_node] of a rule's root: the rule */
    int32_t *first_ref; /* [n_rule] references to a rule, linked by next_ref */
    int32_t *next_ref;  /* [n_node] */
    uint32_t *missing;  /* [n_node] children that lack the property */
    int32_t *stack;     /* [n_node + n_rule] */
    uint8_t *mark;      /* [n_node] nodes that match some finite text */
    uint8_t *state;     /* [n_rule] of a walk: 0 new, 1 open, 2 done */
    size_t *edge;       /* [n_rule + 1] where the calls of a rule begin */
    int32_t *call;      /* [n_node] rules that are called, by caller */
    size_t *at;         /* [n_rule] next call of an open rule */
} fact_search;

/* ==== properties that climb from symbols to rules ======================== */

static bool holds_alone(const tlpi_tree_node *n, bool empty)
{
    switch (n->kind) {
    case TLPI_TREE_SEQ:
        return n->child < 0;
    case TLPI_TREE_REPEAT:
        return n->a == 0;
    case TLPI_TREE_TEXT:
        return !empty || n->b == 0;
    case TLPI_TREE_CLASS:
    case TLPI_TREE_TOKEN:
    case TLPI_TREE_NOT:
        return !empty;
    default:
        return false;
    }
}

/* A node got the property: push what gets the property by it. */
static size_t climb(fact_search *s, uint8_t *has, int32_t i, size_t n_stack)
{
    const tlpi_tree *t = s->t;
    int32_t p = s->parent[i];

    if (p < 0) { /* a whole rule */
        int32_t ref = s->first_ref[s->rule_of[i]];
        for (; ref >= 0; ref = s->next_ref[ref])
            if (!has[ref]) {
                has[ref] = 1;
                s->stack[n_stack++] = ref;
            }
        return n_stack;
    }
    bool all = t->node[p].kind == TLPI_TREE_SEQ;
    if (all && --s->missing[p] > 0)
        return n_stack;
    if (!has[p]) {
        has[p] = 1;
        s->stack[n_stack++] = p;
    }
    return n_stack;
}

/* has[i] = node i matches the empty text (`empty`), or some finite text. */
static void spread(fact_search *s, uint8_t *has, bool empty)
{
    const tlpi_tree *t = s->t;
    size_t n_stack = 0;

    memset(s->missing, 0, t->n_node * sizeof *s->missing);
    for (size_t i = 0; i < t->n_node; i++)
        if (s->parent[i] >= 0)
            s->missing[s->parent[i]]++;
    for (size_t i = 0; i < t->n_node; i++) {
        has[i] = holds_alone(&t->node[i], empty);
        if (has[i])
            s->stack[n_stack++] = (int32_t)i;
    }
    while (n_stack > 0) {
        int32_t i = s->stack[--n_stack];
        n_stack = climb(s, has, i, n_stack);
    }
}

/* ==== walks over rules =================================================== */

/* Append the rules that a node calls; with `left`, only before it has read
 * anything. */
static void find_calls(fact_search *s, int32_t i, bool left, size_t *n)
{
    const tlpi_tree_node *node = &s->t->node[i];

    if (node->kind == TLPI_TREE_RULE)
        s->call[(*n)++] = (int32_t)node->a;
    if (node->kind == TLPI_TREE_REPEAT && node->b == 0)
        return;
    for (int32_t c = node->child; c >= 0; c = s->t->node[c].next) {
        find_calls(s, c, left, n);
        if (left && node->kind == TLPI_TREE_SEQ && !s->f->empty[c])
            return;
    }
}

static void find_edges(fact_search *s, bool left)
{
    size_t n = 0;

    for (size_t r = 0; r < s->t->n_rule; r++) {
        s->edge[r] = n;
        find_calls(s, s->t->rule[r].node, left, &n);
    }
    s->edge[s->t->n_rule] = n;
}

/* What a walk does when it finds a call of an open rule, and when it has
 * finished a rule. */
typedef struct walk_rules {
    tlp_status (*on_circle)(fact_search *s, int32_t from, int32_t to);
    void (*on_done)(fact_search *s, int32_t rule);
} walk_rules;

/* Depth first, from each rule. */
static tlp_status walk(fact_search *s, const walk_rules *w)
{
    size_t n_stack = 0;
    tlp_status st = TLP_OK;

    memset(s->state, 0, s->t->n_rule);
    for (size_t start = 0; start < s->t->n_rule; start++) {
        if (s->state[start])
            continue;
        s->stack[n_stack++] = (int32_t)start;
        s->state[start] = 1;
        s->at[start] = s->edge[start];
        while (n_stack > 0) {
            int32_t r = s->stack[n_stack - 1];
            if (s->at[r] == s->edge[r + 1]) {
                w->on_done(s, r);
                s->state[r] = 2;
                n_stack--;
                continue;
            }
            int32_t to = s->call[s->at[r]++];
            if (s->state[to] == 1)
                TLP_TRY(w->on_circle(s, r, to));
            if (s->state[to] != 0)
                continue;
            s->state[to] = 1;
            s->at[to] = s->edge[to];
            s->stack[n_stack++] = to;
        }
    }
done:
    return st;
}

/* ==== left recursion, and the order of calls ============================= */

static tlp_status refuse_left(fact_search *s, int32_t from, int32_t to)
{
    const tlpi_tree_rule *a = &s->t->rule[to], *b = &s->t->rule[from];

    if (from == to)
        return tlpi_fail(TLP_ENOTSUP,
                         "grammar: line %d: rule %.*s: left recursion, the "
                         "rule begins with itself",
                         a->line, (int)TLPI_MIN(a->n, (size_t)64), a->name);
    return tlpi_fail(
        TLP_ENOTSUP,
        "grammar: line %d: rule %.*s: left recursion, the rule begins with "
        "itself through rule %.*s of line %d",
        a->line, (int)TLPI_MIN(a->n, (size_t)64), a->name,
        (int)TLPI_MIN(b->n, (size_t)64), b->name, b->line);
}

/* A rule is finished after all rules that it calls; it gets the place before
 * them.  missing[0] counts finished rules. */
static void place_rule(fact_search *s, int32_t r)
{
    s->f->order[r] = (int32_t)(s->t->n_rule - 1 - s->missing[0]++);
}

/* ==== sizes ============================================================== */

static uint32_t add_size(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint32_t class_size(const tlpi_tree *t, const tlpi_tree_node *n)
{
    const tlpi_code_range *last = &t->range[n->a + n->b - 1];

    return n->b + (last->hi >= 0x80 ? 20 : 0);
}

static uint32_t node_size(const fact_search *s, int32_t i)
{
    const tlpi_tree_node *node = &s->t->node[i];
    uint64_t times = 1;
    uint32_t sum = 1;

    if (node->kind == TLPI_TREE_RULE)
        return s->f->size[node->a];
    if (node->kind == TLPI_TREE_TEXT)
        return add_size(node->b, 1);
    if (node->kind == TLPI_TREE_CLASS)
        return class_size(s->t, node);
    for (int32_t c = node->child; c >= 0; c = s->t->node[c].next)
        sum = add_size(sum, node_size(s, c));
    if (node->kind == TLPI_TREE_REPEAT)
        times = node->b == TLPI_FOREVER ? (uint64_t)node->a + 1 : node->b;
    if (sum == UINT32_MAX || times * sum > UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)times * sum;
}

/* The size of an open rule is still UINT32_MAX, and so is that of every rule
 * that calls it. */
static tlp_status accept_circle(fact_search *s, int32_t from, int32_t to)
{
    (void)s, (void)from, (void)to;
    return TLP_OK;
}

/* May what a node matches end behind a repetition? */
static bool ends_in_loop(const fact_search *s, int32_t i)
{
    const tlpi_tree_node *node = &s->t->node[i];
    bool loops = node->kind == TLPI_TREE_REPEAT && node->b > 1;

    if (node->kind == TLPI_TREE_RULE)
        return s->f->loops[node->a];
    for (int32_t c = node->child; c >= 0; c = s->t->node[c].next) {
        bool last = ends_in_loop(s, c);
        /* In a sequence, a symbol that must match ends what is before it. */
        if (node->kind == TLPI_TREE_SEQ && !s->f->empty[c])
            loops = false;
        loops = loops || last;
    }
    return loops;
}

static void measure_rule(fact_search *s, int32_t r)
{
    s->f->loops[r] = ends_in_loop(s, s->t->rule[r].node);
    s->f->size[r] = node_size(s, s->t->rule[r].node);
}

/* ==== all ================================================================ */

static tlp_status alloc_search(fact_search *s)
{
    const tlpi_env *env = s->t->env;
    size_t n = s->t->n_node, n_rule = s->t->n_rule;
    tlpi_rule_facts *f = s->f;

    f->env = env;
    f->empty = tlpi_alloc_array(env, n, sizeof *f->empty);
    f->order = tlpi_alloc_array(env, n_rule, sizeof *f->order);
    f->loops = tlpi_calloc(env, n_rule, sizeof *f->loops);
    f->size = tlpi_alloc_array(env, n_rule, sizeof *f->size);
    s->parent = tlpi_alloc_array(env, n, sizeof *s->parent);
    s->rule_of = tlpi_alloc_array(env, n, sizeof *s->rule_of);
    s->first_ref = tlpi_alloc_array(env, n_rule, sizeof *s->first_ref);
    s->next_ref = tlpi_alloc_array(env, n, sizeof *s->next_ref);
    s->missing = tlpi_alloc_array(env, n, sizeof *s->missing);
    s->stack = tlpi_alloc_array(env, n + n_rule, sizeof *s->stack);
    s->mark = tlpi_alloc_array(env, n, sizeof *s->mark);
    s->state = tlpi_alloc_array(env, n_rule, sizeof *s->state);
    s->edge = tlpi_alloc_array(env, n_rule + 1, sizeof *s->edge);
    s->call = tlpi_alloc_array(env, n, sizeof *s->call);
    s->at = tlpi_alloc_array(env, n_rule, sizeof *s->at);
    return f->empty && f->order && f->loops && f->size && s->parent &&
                   s->rule_of && s->first_ref && s->next_ref && s->missing &&
                   s->stack && s->mark && s->state && s->edge && s->call &&
                   s->at
               ? TLP_OK
               : tlpi_fail_nomem_for("a grammar");
}

static void free_search(fact_search *s)
{
    void *all[] = { s->parent,  s->rule_of, s->first_ref, s->next_ref,
                    s->missing, s->stack,   s->mark,      s->state,
                    s->edge,    s->call,    s->at };

    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(s->t->env, all[i]);
}

static void link_nodes(fact_search *s)
{
    const tlpi_tree *t = s->t;

    memset(s->parent, 0xff, t->n_node * sizeof *s->parent);
    memset(s->first_ref, 0xff, t->n_rule * sizeof *s->first_ref);
    for (size_t i = 0; i < t->n_node; i++) {
        for (int32_t c = t->node[i].child; c >= 0; c = t->node[c].next)
            s->parent[c] = (int32_t)i;
        if (t->node[i].kind != TLPI_TREE_RULE)
            continue;
        s->next_ref[i] = s->first_ref[t->node[i].a];
        s->first_ref[t->node[i].a] = (int32_t)i;
    }
    for (size_t r = 0; r < t->n_rule; r++)
        s->rule_of[t->rule[r].node] = (int32_t)r;
}

static tlp_status check_finite(const fact_search *s)
{
    for (size_t r = 0; r < s->t->n_rule; r++) {
        const tlpi_tree_rule *rule = &s->t->rule[r];
        if (!s->mark[rule->node])
            return tlpi_fail(TLP_EFORMAT,
                             "grammar: line %d: rule %.*s matches no finite "
                             "text: it always calls itself again",
                             rule->line, (int)TLPI_MIN(rule->n, (size_t)64),
                             rule->name);
    }
    return TLP_OK;
}

tlp_status tlpi_rule_facts_find(tlpi_rule_facts *f, const tlpi_tree *t)
{
    static const walk_rules left = { refuse_left, place_rule };
    static const walk_rules any = { accept_circle, measure_rule };
    fact_search s = { .t = t, .f = f };
    tlp_status st = TLP_OK;

    memset(f, 0, sizeof *f);
    TLP_TRY(alloc_search(&s));
    link_nodes(&s);
    spread(&s, f->empty, true);
    spread(&s, s.mark, false);
    TLP_TRY(check_finite(&s));
    find_edges(&s, true);
    s.missing[0] = 0;
    TLP_TRY(walk(&s, &left));
    find_edges(&s, false);
    memset(f->size, 0xff, t->n_rule * sizeof *f->size);
    TLP_TRY(walk(&s, &any));
done:
    free_search(&s);
    return st;
}

void tlpi_rule_facts_free(tlpi_rule_facts *f)
{
    tlpi_free(f->env, f->empty);
    tlpi_free(f->env, f->order);
    tlpi_free(f->env, f->loops);
    tlpi_free(f->env, f->size);
}
