/*
 * automaton.h - a grammar as automata over bytes, one for each rule, which call
 * each other.
 *
 * A character is read as its bytes in UTF-8, so that a token may end inside a
 * character.  A call at the end of a rule is a jump, and small rules without
 * recursion stand in place of their calls.
 */
#ifndef TLPI_AUTOMATON_H
#define TLPI_AUTOMATON_H

#include "grammar/rule_facts.h"

/* Most positions of an automaton, with all repetitions written out. */
enum { TLPI_AUTOMATON_MAX = 1 << 19 };

typedef enum tlpi_position_kind {
    TLPI_AT_END,   /* the rule is complete; position 0 alone */
    TLPI_AT_FORK,  /* go on at a and, unless it is -1, at b, reading nothing */
    TLPI_AT_GOTO,  /* go on at the start of rule b, reading nothing */
    TLPI_AT_BYTES, /* read a byte from lo to hi, then go on at a */
    TLPI_AT_CALL,  /* read what rule b matches, then go on at a */
    TLPI_AT_TOKEN, /* read the token b, then go on at a */
    TLPI_AT_NOT    /* read any token but b, then go on at a */
} tlpi_position_kind;

typedef struct tlpi_position {
    uint8_t kind; /* tlpi_position_kind */
    uint8_t lo, hi;
    int32_t a, b;
} tlpi_position;

typedef struct tlpi_automaton {
    const tlpi_env *env;
    tlpi_position *at; /* [n] */
    /* [n] a position from which the next `depth` bytes can go on in the same
     * ways: the same one, or one of an earlier repetition */
    int32_t *twin;
    size_t n, cap;
    int32_t *start; /* [n_rule] first position, by the place of the rule in the
                       order of calls (rule_facts.h) */
    int32_t n_rule, root;
    uint8_t class_of[256]; /* bytes of one class are read by one position or by
                              none */
    uint8_t member[256];   /* [n_class] one byte of each class */
    int n_class;
    uint32_t depth;
} tlpi_automaton;

/* Make the automata of a grammar.  depth: bytes of the longest token.  Free
 * after a failure too. */
tlp_status tlpi_automaton_make(tlpi_automaton *m, const tlpi_tree *t,
                               const tlpi_rule_facts *f, uint32_t depth);
void tlpi_automaton_free(tlpi_automaton *m);

/* Add a position; -1 when out of memory or of bounds. */
int32_t tlpi_automaton_add(tlpi_automaton *m, tlpi_position p);

/* Add positions that read one character of the ranges and go on at `next`;
 * returns the first one, -1 when out of memory or of bounds
 * (automaton_class.c). */
int32_t tlpi_automaton_class(tlpi_automaton *m, const tlpi_code_range *range,
                             size_t n, int32_t next);

#endif
