/*
 * grammar.h - grammars and matchers behind the handles of tlp.h.
 */
#ifndef TLPI_GRAMMAR_H
#define TLPI_GRAMMAR_H

#include "grammar/mask.h"
#include "model/model.h"

struct tlp_grammar {
    _Atomic int refs;
    tlp_model *model; /* retained */
    char *text;       /* GBNF */
    size_t n_text;
    tlpi_automaton m;
    const tlpi_piece_trie *trie; /* the vocabulary's */
    tlpi_mask_cache masks;
    int32_t *end; /* [n_end] tokens that end a text */
    size_t n_end;
};

/* Make a grammar of GBNF in its own words (grammar.c). */
tlp_status tlpi_grammar_make(tlp_grammar **out, tlp_model *model,
                             const char *text, size_t n);
tlp_grammar *tlpi_grammar_retain(tlp_grammar *g);

static inline const tlp_model *tlpi_grammar_model(const tlp_grammar *g)
{
    return g->model;
}

/* Does the vocabulary have a token that ends a text? */
static inline bool tlpi_grammar_has_end(const tlp_grammar *g)
{
    return g->n_end > 0;
}

/* The tokens that a matcher allows next, as bits (tlp_matcher_get_mask);
 * borrowed until the next call on the matcher. */
tlp_status tlpi_matcher_mask(const uint32_t **bits, tlp_matcher *m);

#endif
