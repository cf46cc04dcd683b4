/*
 * jinja_tree.h - tokens, the tree of a template, and its parser.
 */
#ifndef TLPI_JINJA_TREE_H
#define TLPI_JINJA_TREE_H

#include "jinja/jinja_text.h"

/* ==== the tree (jinja_lex.c, jinja_parse.c, jinja_expr.c) ================ */

typedef enum tlpi_jtoken_kind {
    TLPI_JT_END,
    TLPI_JT_TEXT,
    TLPI_JT_PRINT_BEGIN, /* {{ */
    TLPI_JT_PRINT_END,
    TLPI_JT_BLOCK_BEGIN, /* {% */
    TLPI_JT_BLOCK_END,
    TLPI_JT_NAME,
    TLPI_JT_STRING,
    TLPI_JT_INT,
    TLPI_JT_FLOAT,
    TLPI_JT_OP
} tlpi_jtoken_kind;

typedef struct tlpi_jtoken {
    tlpi_jtoken_kind kind;
    size_t at;       /* offset in the source */
    char op[3];      /* OP: "+", "==", ... */
    tlpi_jval value; /* TEXT, NAME, STRING: a string; INT, FLOAT */
} tlpi_jtoken;

/* The template's tokens; NULL on failure. */
tlpi_jtoken *tlpi_jinja_lex(tlpi_jx *x, size_t *n);

typedef enum tlpi_jnode_kind {
    /* expressions */
    TLPI_JN_CONST,   /* value */
    TLPI_JN_NAME,    /* value: its text */
    TLPI_JN_LIST,    /* items in list a */
    TLPI_JN_TUPLE,   /* items in list a */
    TLPI_JN_DICT,    /* list a: key, value, key, ... */
    TLPI_JN_ATTR,    /* a . value */
    TLPI_JN_ITEM,    /* a [ b ] */
    TLPI_JN_SLICE,   /* start a, stop b, step c; each may be NULL */
    TLPI_JN_CALL,    /* a ( arguments in list b ) */
    TLPI_JN_KEYWORD, /* an argument: value = a */
    TLPI_JN_FILTER,  /* a | value ( arguments in list b ) */
    TLPI_JN_TEST,    /* a is value ( arguments in list b ) */
    TLPI_JN_UNARY,   /* op a */
    TLPI_JN_BINARY,  /* a op b */
    TLPI_JN_COMPARE, /* a, then list b of OPERANDs */
    TLPI_JN_OPERAND, /* op a */
    TLPI_JN_AND,
    TLPI_JN_OR,
    TLPI_JN_NOT,
    TLPI_JN_COND, /* b if a else c */
    /* statements; bodies are lists */
    TLPI_JN_TEXT,  /* value */
    TLPI_JN_PRINT, /* a */
    TLPI_JN_IF,    /* if a: b else: c */
    TLPI_JN_FOR,   /* for a in b: c; only items with d; e if there were none */
    TLPI_JN_SET,   /* a = b */
    TLPI_JN_SET_BLOCK,    /* a = output of c, through the filter in b */
    TLPI_JN_MACRO,        /* value ( list a of NAME with default b ): c */
    TLPI_JN_WITH,         /* list a of SET: c */
    TLPI_JN_FILTER_BLOCK, /* output of c through the filter in b */
    TLPI_JN_SCOPE,        /* c, with names of its own */
    TLPI_JN_BREAK,
    TLPI_JN_CONTINUE
} tlpi_jnode_kind;

typedef struct tlpi_jnode {
    tlpi_jnode_kind kind;
    size_t at;
    char op[3]; /* "not" is "!", "not in" is "!i", "in" is "i" */
    tlpi_jval value;
    const void *fn; /* FILTER, TEST: what runs it */
    struct tlpi_jnode *a, *b, *c, *d, *e;
    struct tlpi_jnode *next; /* in a list */
} tlpi_jnode;

typedef struct tlpi_jparser {
    tlpi_jx *x;
    const tlpi_jtoken *token; /* the current one */
    int n_loop;               /* loops around it, for break and continue */
} tlpi_jparser;

/* jinja_parse.c: the whole template as a list of statements. */
tlpi_jnode *tlpi_jinja_parse(tlpi_jx *x, const tlpi_jtoken *tokens);

tlpi_jnode *tlpi_jp_node(tlpi_jparser *p, tlpi_jnode_kind kind);
bool tlpi_jp_is_op(const tlpi_jparser *p, const char *op);
bool tlpi_jp_is_name(const tlpi_jparser *p, const char *name);
bool tlpi_jp_skip_op(tlpi_jparser *p, const char *op);
bool tlpi_jp_skip_name(tlpi_jparser *p, const char *name);
bool tlpi_jp_want_op(tlpi_jparser *p, const char *op);
void tlpi_jp_unexpected(tlpi_jparser *p, const char *wanted);

/* jinja_primary.c */
tlpi_jnode *tlpi_jp_make(tlpi_jparser *p, tlpi_jnode_kind kind, size_t at,
                         tlpi_jnode *a, tlpi_jnode *b);
bool tlpi_jp_is_constant(const tlpi_jparser *p); /* true, None, ... */
tlpi_jnode *tlpi_jp_primary(tlpi_jparser *p);
/* What follows the operand n: .x [x] (x). */
tlpi_jnode *tlpi_jp_postfix(tlpi_jparser *p, tlpi_jnode *n);
tlpi_jnode *tlpi_jp_attr(tlpi_jparser *p, tlpi_jnode *n); /* behind the dot */
tlpi_jnode *tlpi_jp_filters_and_tests(tlpi_jparser *p, tlpi_jnode *n);
/* Filters without a value in front: a|b(c); the innermost one has no a. */
tlpi_jnode *tlpi_jp_filters(tlpi_jparser *p);

/* jinja_expr.c */
tlpi_jnode *tlpi_jp_expression(tlpi_jparser *p, bool with_condition);
/* One expression, or several with commas as a tuple; `stop` (or NULL): a name
 * that ends it. */
tlpi_jnode *tlpi_jp_tuple(tlpi_jparser *p, bool with_condition,
                          const char *stop);
/* Names, tuples of names; with `dotted` also NAME.NAME. */
tlpi_jnode *tlpi_jp_target(tlpi_jparser *p, bool dotted);

#endif
