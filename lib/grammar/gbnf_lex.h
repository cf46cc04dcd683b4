/*
 * gbnf_lex.h - a place in a grammar's text, and the smallest things that stand
 * there: blanks, names, numbers, characters with escapes.
 */
#ifndef TLPI_GBNF_LEX_H
#define TLPI_GBNF_LEX_H

#include "grammar/grammar_tree.h"

typedef struct tlpi_gbnf_lex {
    const char *s, *end;
    int line;
    const char *rule; /* name of the rule that is read, for texts of failures */
    size_t n_rule;
} tlpi_gbnf_lex;

/* Record a failure "grammar: line L: rule R: " + text. */
tlp_status tlpi_gbnf_fail(const tlpi_gbnf_lex *x, tlp_status status,
                          const char *fmt, ...) TLPI_PRINTF(3, 4);
/* The failure that `expected` is missing here. */
tlp_status tlpi_gbnf_expect(const tlpi_gbnf_lex *x, const char *expected);

/* The next byte; NUL at the end.  No text holds NUL bytes. */
static inline char tlpi_gbnf_peek(const tlpi_gbnf_lex *x)
{
    return x->s < x->end ? *x->s : '\0';
}

/* Skip blanks and comments; with `lines`, ends of lines too. */
void tlpi_gbnf_blanks(tlpi_gbnf_lex *x, bool lines);
/* The length of the name that begins here; 0: none. */
size_t tlpi_gbnf_name(const tlpi_gbnf_lex *x);
/* A number of decimal digits, at most max. */
tlp_status tlpi_gbnf_number(tlpi_gbnf_lex *x, uint32_t max, uint32_t *out);
/* A character of a text or a class, which may be an escape. */
tlp_status tlpi_gbnf_char(tlpi_gbnf_lex *x, uint32_t *code);
/* Append the UTF-8 of a code point; returns its bytes, at most 4. */
int tlpi_utf8_encode(uint32_t code, char out[4]);

#endif
