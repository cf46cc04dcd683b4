/*
 * grammar_tree.h - a grammar as it is written: rules, each a tree of
 * alternatives, sequences, repetitions, texts and classes of characters.
 */
#ifndef TLPI_GRAMMAR_TREE_H
#define TLPI_GRAMMAR_TREE_H

#include "base/base.h"

/* Bounds on a grammar's text; a text beyond them is refused. */
enum {
    TLPI_GBNF_MAX_BYTES = 16 << 20,
    TLPI_GBNF_MAX_RULE = 1 << 14,
    TLPI_GBNF_MAX_NAME = 256,
    TLPI_GBNF_MAX_DEPTH = 200,   /* of groups */
    TLPI_GBNF_MAX_OPERATOR = 8,  /* behind one symbol */
    TLPI_GBNF_MAX_NODE = 1 << 21 /* of the tree */
};

typedef enum tlpi_tree_kind {
    TLPI_TREE_SEQ,    /* all children in order; without children: nothing */
    TLPI_TREE_ALT,    /* one of the children */
    TLPI_TREE_REPEAT, /* the child, a to b times; b = TLPI_FOREVER: no bound */
    TLPI_TREE_TEXT,   /* b bytes at a in `text` */
    TLPI_TREE_CLASS,  /* a character of one of b ranges at a in `range` */
    TLPI_TREE_RULE,   /* the rule a */
    TLPI_TREE_TOKEN,  /* the token a */
    TLPI_TREE_NOT     /* one token other than a */
} tlpi_tree_kind;

#define TLPI_FOREVER UINT32_MAX

typedef struct tlpi_tree_node {
    uint8_t kind;        /* tlpi_tree_kind */
    int32_t child, next; /* first child; sibling; -1 = none */
    uint32_t a, b;
    int32_t line;
} tlpi_tree_node;

/* Code points lo to hi. */
typedef struct tlpi_code_range {
    uint32_t lo, hi;
} tlpi_code_range;

typedef struct tlpi_tree_rule {
    const char *name; /* n bytes in the grammar's text */
    size_t n;
    int32_t node; /* -1: the rule is only referred to */
    int32_t line; /* of its definition, or of the first reference */
} tlpi_tree_rule;

/* The elements of each array follow its count and its capacity. */
typedef struct tlpi_tree {
    const tlpi_env *env;
    tlpi_tree_node *node;
    size_t n_node, cap_node;
    tlpi_code_range *range;
    size_t n_range, cap_range;
    tlpi_tree_rule *rule;
    size_t n_rule, cap_rule;
    tlpi_text text; /* bytes of TLPI_TREE_TEXT */
    int32_t root;   /* rule */
} tlpi_tree;

/* Add a node; returns its index, or -1 when out of memory or of bounds. */
int32_t tlpi_tree_add(tlpi_tree *t, tlpi_tree_node node);
void tlpi_tree_free(tlpi_tree *t);
/* Room for one more element of an array; false when out of memory. */
bool tlpi_tree_reserve(const tlpi_env *env, void **array, size_t n, size_t *cap,
                       size_t size);

/* What a token in a grammar means: n bytes of its text with the angle brackets;
 * -1 if the vocabulary has no such token. */
typedef int32_t (*tlpi_token_fn)(const void *arg, const char *s, size_t n);

/*
 * Read a grammar in the form of llama.cpp (GBNF).  The names of rules point
 * into text.  n_token bounds the ids of tokens.  The tree is for the caller to
 * free, also after a failure.
 */
typedef struct tlpi_gbnf_vocab {
    tlpi_token_fn find;
    const void *arg;
    int32_t n_token;
} tlpi_gbnf_vocab;
tlp_status tlpi_gbnf_parse(tlpi_tree *t, const char *text, size_t n,
                           const tlpi_gbnf_vocab *vocab);

#endif
