/*
 * mask.h - which tokens may come next, as bits.
 *
 * A token is allowed if its bytes lead from the state of a text to any state:
 * from every state some text completes the grammar.  Most of a mask depends on
 * the local sets of a state alone, not on the frames around them.  So the
 * tokens that a local set can read without leaving its rule are found once for
 * each grammar, together with the places in the trie where the rule may end; a
 * mask is the union of these tokens and of what the frames read below these
 * places.
 */
#ifndef TLPI_MASK_H
#define TLPI_MASK_H

#include <pthread.h>

#include "grammar/chart.h"
#include "text/piece_trie.h"

/* Tokens that a local set reads.  Immutable, counted, shared by threads. */
typedef struct tlpi_mask {
    _Atomic int refs;
    uint32_t *bits; /* [n_word], or NULL: */
    int32_t *id;    /* [n_id] tokens */
    size_t n_id;
    uint32_t *exit; /* [n_exit] nodes of the trie where the rule may end */
    size_t n_exit;
    size_t bytes;
} tlpi_mask;

void tlpi_mask_release(const tlpi_env *env, tlpi_mask *m); /* NULL is fine */

/* Masks by the positions of local sets.  Any number of threads. */
typedef struct tlpi_mask_cache {
    const tlpi_env *env;
    pthread_mutex_t lock;
    tlpi_interner key;
    tlpi_mask **mask; /* [key.n] */
    size_t cap, bytes;
    bool has_lock;
} tlpi_mask_cache;

tlp_status tlpi_mask_cache_init(tlpi_mask_cache *c, const tlpi_env *env);
void tlpi_mask_cache_free(tlpi_mask_cache *c);
/* The mask of a row of positions, retained; NULL if there is none. */
tlpi_mask *tlpi_mask_cache_find(tlpi_mask_cache *c, const int32_t *row,
                                size_t n);
/* Keep a mask.  When memory is short, it is not kept. */
void tlpi_mask_cache_put(tlpi_mask_cache *c, const int32_t *row, size_t n,
                         tlpi_mask *m);

/* What masks are made from, and the memory for it. */
typedef struct tlpi_mask_maker {
    const tlpi_env *env;
    const tlpi_piece_trie *trie;
    const tlpi_vocab *vocab;
    tlpi_mask_cache *cache;
    size_t n_word;                 /* words of a mask */
    uint32_t *bits;                /* [n_word] scratch */
    struct tlpi_walk_level *level; /* [trie->depth + 1] */
    tlpi_ints exits, pairs, row;
} tlpi_mask_maker;

tlp_status tlpi_mask_maker_init(tlpi_mask_maker *k, const tlpi_env *env,
                                const tlpi_vocab *vocab,
                                const tlpi_piece_trie *trie,
                                tlpi_mask_cache *cache);
void tlpi_mask_maker_free(tlpi_mask_maker *k);

/* bits[n_word] = the tokens that a state allows, without tokens that end a
 * text. */
tlp_status tlpi_mask_make(tlpi_mask_maker *k, tlpi_chart *c, int32_t state,
                          uint32_t *bits);

static inline void tlpi_bit_set(uint32_t *bits, int32_t i)
{
    bits[(uint32_t)i / 32] |= UINT32_C(1) << ((uint32_t)i % 32);
}

static inline bool tlpi_bit_get(const uint32_t *bits, int32_t i)
{
    return bits[(uint32_t)i / 32] >> ((uint32_t)i % 32) & 1;
}

#endif
