/*
 * gbnf.h - inside the reader of grammars: gbnf_parse.c reads rules, and
 * gbnf_class.c classes of characters.
 */
#ifndef TLPI_GBNF_H
#define TLPI_GBNF_H

#include "grammar/gbnf_lex.h"

typedef struct tlpi_gbnf {
    tlpi_gbnf_lex x;
    tlpi_tree *t;
    const tlpi_gbnf_vocab *vocab;
    int depth;     /* of groups */
    int32_t *slot; /* [mask + 1] rules by the hash of their names; -1 = free */
    size_t mask;
} tlpi_gbnf;

/* Add a node to the tree; *out is its index. */
tlp_status tlpi_gbnf_add(tlpi_gbnf *g, int32_t *out, tlpi_tree_kind kind,
                         uint32_t a, uint32_t b);
/* A class at its '[', and any character at its '.'. */
tlp_status tlpi_gbnf_class(tlpi_gbnf *g, int32_t *out);
tlp_status tlpi_gbnf_any(tlpi_gbnf *g, int32_t *out);

#endif
