/*
 * mask.c - masks by walks over the trie of the tokens' bytes.
 */
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

/* An open node of a walk: the state behind its bytes, and its end. */
typedef struct tlpi_walk_level {
    uint32_t end;
    int32_t state;
} tlpi_walk_level;

tlp_status tlpi_mask_maker_init(tlpi_mask_maker *k, const tlpi_env *env,
                                const tlpi_vocab *vocab,
                                const tlpi_piece_trie *trie,
                                tlpi_mask_cache *cache)
{
    memset(k, 0, sizeof *k);
    k->env = k->exits.env = k->pairs.env = k->row.env = env;
    k->vocab = vocab;
    k->trie = trie;
    k->cache = cache;
    k->n_word = ((size_t)tlpi_vocab_size(vocab) + 31) / 32;
    k->bits = tlpi_alloc_array(env, k->n_word, sizeof *k->bits);
    k->level = tlpi_alloc_array(env, (size_t)trie->depth + 1, sizeof *k->level);
    return k->bits && k->level ? TLP_OK : tlpi_fail_nomem_for("a matcher");
}

void tlpi_mask_maker_free(tlpi_mask_maker *k)
{
    tlpi_free(k->env, k->bits);
    tlpi_free(k->env, k->level);
    tlpi_free(k->env, k->exits.data);
    tlpi_free(k->env, k->pairs.data);
    tlpi_free(k->env, k->row.data);
}

/* ==== walks ============================================================== */

static void set_tokens(const tlpi_piece_trie *t, const tlpi_piece_node *n,
                       uint32_t *bits)
{
    for (uint32_t i = 0; i < n->n_token; i++)
        tlpi_bit_set(bits, t->order[n->token + i]);
}

/* Set the bits of all tokens below a node of the trie that a state reads.  With
 * `exits`, note the nodes behind which the open frame follows. */
static void walk(tlpi_mask_maker *k, tlpi_chart *c, uint32_t root,
                 int32_t state, uint32_t *bits, tlpi_ints *exits)
{
    const tlpi_piece_trie *t = k->trie;
    const uint8_t *class_of = c->m->class_of;
    tlpi_walk_level *top = k->level;
    uint32_t i = root + 1, end = t->node[root].end;

    *top = (tlpi_walk_level){ end, state };
    while (i < end) {
        const tlpi_piece_node *n = &t->node[i];
        while (i >= top->end)
            top--;
        int32_t next = tlpi_chart_step(c, top->state, class_of[n->byte]);
        if (next < 0) {
            i = n->end;
            continue;
        }
        set_tokens(t, n, bits);
        if (n->end > i + 1) {
            *++top = (tlpi_walk_level){ n->end, next };
            int32_t node = (int32_t)i;
            if (exits && (tlpi_chart_flags(c, next) & TLPI_STATE_EXIT) &&
                tlpi_ints_add(exits, &node, 1) < 0)
                tlpi_chart_fail(c, tlpi_fail_nomem_for("a mask of tokens"));
        }
        i++;
    }
}

/* ==== tokens of a local set ============================================== */

static void set_all_but(const tlpi_vocab *v, int32_t but, uint32_t *bits)
{
    for (int32_t id = 0; id < tlpi_vocab_size(v); id++)
        if (id != but && !tlpi_vocab_is_end(v, id) &&
            tlpi_vocab_text(v, id).n > 0)
            tlpi_bit_set(bits, id);
}

/* Tokens that a local set names. */
static void set_named(tlpi_mask_maker *k, const tlpi_chart *c, int32_t local)
{
    size_t n;
    const int32_t *row = tlpi_interner_row(&c->locals, local, &n);

    for (size_t i = 0; i < n; i++) {
        const tlpi_position *p = &c->m->at[row[i]];
        if (p->kind == TLPI_AT_TOKEN)
            tlpi_bit_set(k->bits, p->b);
        else if (p->kind == TLPI_AT_NOT)
            set_all_but(k->vocab, p->b, k->bits);
    }
}

static size_t count_bits(const uint32_t *bits, size_t n_word)
{
    size_t n = 0;

    for (size_t i = 0; i < n_word; i++)
        n += (size_t)__builtin_popcount(bits[i]);
    return n;
}

/* k->bits and k->exits as a mask, in the form that is shorter. */
static tlpi_mask *pack(tlpi_mask_maker *k)
{
    size_t n_bit = count_bits(k->bits, k->n_word), n_exit = k->exits.n;
    tlpi_mask *m = tlpi_calloc(k->env, 1, sizeof *m);
    bool few = n_bit < k->n_word;

    if (!m)
        return NULL;
    m->refs = 1;
    m->bytes = sizeof *m + 4 * (n_exit + TLPI_MIN(n_bit, k->n_word));
    m->exit = tlpi_alloc_array(k->env, n_exit, sizeof *m->exit);
    if (few)
        m->id = tlpi_alloc_array(k->env, n_bit, sizeof *m->id);
    else
        m->bits = tlpi_alloc_array(k->env, k->n_word, sizeof *m->bits);
    if (!m->exit || !(few ? (void *)m->id : (void *)m->bits)) {
        tlpi_mask_release(k->env, m);
        return NULL;
    }
    for (size_t i = 0; i < n_exit; i++)
        m->exit[m->n_exit++] = (uint32_t)k->exits.data[i];
    if (!few)
        memcpy(m->bits, k->bits, k->n_word * sizeof *m->bits);
    for (size_t i = 0; few && i < k->n_word; i++)
        for (uint32_t left = k->bits[i]; left; left &= left - 1)
            m->id[m->n_id++] = (int32_t)(32 * i) + __builtin_ctz(left);
    return m;
}

static int compare(const void *pa, const void *pb)
{
    const int32_t *a = pa, *b = pb;

    return (*a > *b) - (*a < *b);
}

/* The local set's positions, or earlier ones from which tokens go on alike:
 * k->row. */
static int32_t find_twin(tlpi_mask_maker *k, tlpi_chart *c, int32_t local)
{
    size_t n, kept = 0;
    const int32_t *row = tlpi_interner_row(&c->locals, local, &n);
    tlpi_ints *r = &k->row;

    r->n = 0;
    if (tlpi_ints_add(r, row, n) < 0) {
        tlpi_chart_fail(c, tlpi_fail_nomem_for("a mask of tokens"));
        return TLPI_DEAD;
    }
    for (size_t i = 0; i < n; i++)
        r->data[i] = c->m->twin[r->data[i]];
    qsort(r->data, n, sizeof *r->data, compare);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || r->data[kept - 1] != r->data[i])
            r->data[kept++] = r->data[i];
    r->n = kept;
    return tlpi_local_intern(c, r->data, r->n);
}

/* The mask of a local set, which the chart keeps; NULL on failure. */
static const tlpi_mask *mask_of(tlpi_mask_maker *k, tlpi_chart *c,
                                int32_t local)
{
    tlpi_mask *m = c->local[local].mask;

    if (m)
        return m;
    int32_t twin = find_twin(k, c, local);
    if (twin < 0)
        return NULL;
    m = tlpi_mask_cache_find(k->cache, k->row.data, k->row.n);
    if (!m) {
        int32_t alone = tlpi_chart_alone(c, twin);
        memset(k->bits, 0, k->n_word * sizeof *k->bits);
        k->exits.n = 0;
        set_named(k, c, twin);
        if (alone >= 0)
            walk(k, c, 0, alone, k->bits, &k->exits);
        if (c->st != TLP_OK)
            return NULL;
        m = pack(k);
        if (!m) {
            tlpi_chart_fail(c, tlpi_fail_nomem_for("a mask of tokens"));
            return NULL;
        }
        tlpi_mask_cache_put(k->cache, k->row.data, k->row.n, m);
    }
    c->local[local].mask = m;
    return m;
}

/* ==== masks of states ==================================================== */

static void add_mask(const tlpi_mask *m, size_t n_word, uint32_t *bits)
{
    for (size_t i = 0; m->bits && i < n_word; i++)
        bits[i] |= m->bits[i];
    for (size_t i = 0; i < m->n_id; i++)
        tlpi_bit_set(bits, m->id[i]);
}

static void add_run_mask(tlpi_mask_maker *k, tlpi_chart *c, int32_t local,
                         int32_t frame, uint32_t *bits)
{
    const tlpi_mask *m = mask_of(k, c, local);

    if (!m)
        return;
    add_mask(m, k->n_word, bits);
    if (m->n_exit == 0)
        return;
    int32_t behind = tlpi_chart_popped(c, frame);
    for (size_t i = 0; i < m->n_exit && behind >= 0; i++)
        walk(k, c, m->exit[i], behind, bits, NULL);
}

tlp_status tlpi_mask_make(tlpi_mask_maker *k, tlpi_chart *c, int32_t state,
                          uint32_t *bits)
{
    size_t n;
    const int32_t *pair = tlpi_chart_runs(c, state, &n);

    memset(bits, 0, k->n_word * sizeof *bits);
    k->pairs.n = 0; /* states move while masks are made */
    if (tlpi_ints_add(&k->pairs, pair, 2 * n) < 0)
        return tlpi_fail_nomem_for("a mask of tokens");
    for (size_t i = 0; i < 2 * n && c->st == TLP_OK; i += 2)
        add_run_mask(k, c, k->pairs.data[i + 1], k->pairs.data[i], bits);
    return c->st;
}
