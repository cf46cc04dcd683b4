/*
 * piece_trie.c - build the trie of the tokens' bytes from the sorted tokens.
 */
#include "text/piece_trie.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocab_impl.h"

struct tlpi_pieces {
    pthread_mutex_t lock;  /* held while the trie is made */
    tlpi_piece_trie *trie; /* NULL: not made yet */
};

/* A token to be sorted. */
typedef struct sorted_piece {
    tlpi_str s;
    int32_t id;
} sorted_piece;

/* The nodes that are open while tokens are added in order. */
typedef struct trie_build {
    tlpi_piece_trie *t;
    uint32_t *open; /* [depth + 1] the node of each prefix of the last token */
    uint32_t n_open;
} trie_build;

bool tlpi_vocab_is_text(const tlpi_vocab *v, int32_t id)
{
    return id >= 0 && !tlpi_vocab_is_control(v, id) &&
           !tlpi_vocab_is_end(v, id) && tlpi_vocab_piece(v, id, 0).n > 0;
}

static int compare(const void *pa, const void *pb)
{
    const sorted_piece *a = pa, *b = pb;
    int diff = memcmp(a->s.s, b->s.s, TLPI_MIN(a->s.n, b->s.n));

    if (diff != 0)
        return diff;
    if (a->s.n != b->s.n)
        return a->s.n < b->s.n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Length of the common beginning. */
static size_t common(tlpi_str a, tlpi_str b)
{
    size_t n = TLPI_MIN(a.n, b.n), i = 0;

    while (i < n && a.s[i] == b.s[i])
        i++;
    return i;
}

/* Close the nodes of the last token below its first n bytes. */
static void close_below(trie_build *b, size_t n)
{
    while (b->n_open > n + 1)
        b->t->node[b->open[--b->n_open]].end = b->t->n_node;
}

static void add_token(trie_build *b, tlpi_str s, size_t shared, uint32_t place)
{
    tlpi_piece_trie *t = b->t;

    close_below(b, shared);
    for (size_t i = shared; i < s.n; i++) {
        b->open[b->n_open++] = t->n_node;
        t->node[t->n_node++] =
            (tlpi_piece_node){ .byte = (unsigned char)s.s[i] };
    }
    tlpi_piece_node *last = &t->node[b->open[s.n]];
    if (last->n_token == 0)
        last->token = place;
    last->n_token++;
}

static size_t count_nodes(const sorted_piece *p, size_t n)
{
    size_t nodes = 1;

    for (size_t i = 0; i < n; i++)
        nodes += p[i].s.n - (i > 0 ? common(p[i - 1].s, p[i].s) : 0);
    return nodes;
}

static tlp_status build(tlpi_piece_trie *t, const tlpi_env *env,
                        const sorted_piece *p, size_t n)
{
    size_t n_node = count_nodes(p, n);
    trie_build b = { .t = t, .n_open = 1 };

    for (size_t i = 0; i < n; i++)
        t->depth = TLPI_MAX(t->depth, (uint32_t)p[i].s.n);
    if (n_node > UINT32_MAX / 2)
        return tlpi_fail(TLP_ENOTSUP,
                         "a vocabulary of %zu bytes: at most %u "
                         "expected for a grammar",
                         n_node, UINT32_MAX / 2);
    t->node = tlpi_alloc_array(env, n_node, sizeof *t->node);
    t->order = tlpi_alloc_array(env, n, sizeof *t->order);
    b.open = tlpi_alloc_array(env, (size_t)t->depth + 1, sizeof *b.open);
    if (!t->node || !t->order || !b.open) {
        tlpi_free(env, b.open);
        return tlpi_fail_nomem_for("the bytes of all tokens");
    }
    t->node[t->n_node++] = (tlpi_piece_node){ 0 };
    b.open[0] = 0;
    for (size_t i = 0; i < n; i++) {
        t->order[i] = p[i].id;
        add_token(&b, p[i].s, i > 0 ? common(p[i - 1].s, p[i].s) : 0,
                  (uint32_t)i);
    }
    t->n_order = (uint32_t)n;
    close_below(&b, 0);
    t->node[0].end = t->n_node;
    tlpi_free(env, b.open);
    return TLP_OK;
}

static void free_trie(const tlpi_env *env, tlpi_piece_trie *t)
{
    if (!t)
        return;
    tlpi_free(env, t->node);
    tlpi_free(env, t->order);
    tlpi_free(env, t);
}

static tlp_status make_trie(tlpi_piece_trie **out, const tlpi_vocab *v)
{
    size_t n = 0, n_vocab = (size_t)v->n_vocab;
    tlp_status st = TLP_OK;
    tlpi_piece_trie *t = tlpi_calloc(v->env, 1, sizeof *t);
    sorted_piece *p = tlpi_alloc_array(v->env, n_vocab, sizeof *p);

    if (!t || !p)
        TLP_TRY(tlpi_fail_nomem_for("the bytes of all tokens"));
    for (int32_t id = 0; id < v->n_vocab; id++)
        if (tlpi_vocab_is_text(v, id))
            p[n++] = (sorted_piece){ tlpi_vocab_piece(v, id, 0), id };
    qsort(p, n, sizeof *p, compare);
    TLP_TRY(build(t, v->env, p, n));
    *out = t;
    t = NULL;
done:
    tlpi_free(v->env, p);
    free_trie(v->env, t);
    return st;
}

/* ==== one trie for a vocabulary ========================================== */

tlp_status tlpi_pieces_create(tlpi_vocab *v)
{
    tlpi_pieces *p = tlpi_calloc(v->env, 1, sizeof *p);

    if (!p)
        return tlpi_fail_nomem_for("a vocabulary");
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        tlpi_free(v->env, p);
        return tlpi_fail_nomem_for("a vocabulary");
    }
    v->pieces = p;
    return TLP_OK;
}

void tlpi_pieces_free(tlpi_vocab *v)
{
    if (!v->pieces)
        return;
    free_trie(v->env, v->pieces->trie);
    pthread_mutex_destroy(&v->pieces->lock);
    tlpi_free(v->env, v->pieces);
}

tlp_status tlpi_vocab_pieces(const tlpi_piece_trie **out, const tlpi_vocab *v)
{
    tlpi_pieces *p = v->pieces;
    tlp_status st = TLP_OK;

    pthread_mutex_lock(&p->lock);
    if (!p->trie)
        st = make_trie(&p->trie, v);
    *out = p->trie;
    pthread_mutex_unlock(&p->lock);
    return st;
}
