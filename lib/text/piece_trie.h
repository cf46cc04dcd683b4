/*
 * piece_trie.h - the bytes of all tokens that are text, as a trie.
 *
 * A walk over the trie with the state of a grammar finds all tokens that the
 * grammar allows, and looks at a common beginning of tokens once.
 */
#ifndef TLPI_PIECE_TRIE_H
#define TLPI_PIECE_TRIE_H

#include "text/vocab.h"

/* Nodes stand in the order of a walk: a node, then all nodes below it. */
typedef struct tlpi_piece_node {
    uint32_t end;   /* the first node that is not below this node */
    uint32_t token; /* place in `order` of the tokens that end here */
    uint32_t n_token : 24;
    uint32_t byte : 8;
} tlpi_piece_node;

/* Control tokens, tokens that end a text, and tokens without bytes are left
 * out. */
typedef struct tlpi_piece_trie {
    tlpi_piece_node *node; /* [n_node] node 0 is the root */
    uint32_t n_node;
    int32_t *order; /* [n_order] ids of tokens, sorted by their bytes */
    uint32_t n_order;
    uint32_t depth; /* bytes of the longest token */
} tlpi_piece_trie;

/* The trie of a vocabulary, made on first use and borrowed from it.  Any number
 * of threads may ask for it. */
tlp_status tlpi_vocab_pieces(const tlpi_piece_trie **out, const tlpi_vocab *v);

/* Is the token part of a text, so that its bytes may match a grammar? */
bool tlpi_vocab_is_text(const tlpi_vocab *v, int32_t id);

#endif
