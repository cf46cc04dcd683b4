/*
 * rule_facts.h - facts about the rules of a grammar that its automaton needs.
 *
 * All functions take time in proportion to the grammar, and do not recurse over
 * rules, so that a grammar cannot exhaust time or stack.
 */
#ifndef TLPI_RULE_FACTS_H
#define TLPI_RULE_FACTS_H

#include "grammar/grammar_tree.h"

typedef struct tlpi_rule_facts {
    const tlpi_env *env;
    uint8_t *empty; /* [n_node] does the node match the empty text? */
    int32_t *order; /* [n_rule] place of a rule: a rule that another rule calls
                       before it has read anything comes later */
    uint8_t *loops; /* [n_rule] may the rule end behind a repetition? */
    uint32_t *size; /* [n_rule] about the positions of its automaton, with the
                       rules that it calls; UINT32_MAX where it calls itself
                       or a rule that does */
} tlpi_rule_facts;

/*
 * Find the facts.  TLP_ENOTSUP for left recursion (a rule that calls itself
 * before it has read anything) and TLP_EFORMAT for a rule that matches no
 * finite text; the text names line and rule.  Free after a failure too.
 */
tlp_status tlpi_rule_facts_find(tlpi_rule_facts *f, const tlpi_tree *t);
void tlpi_rule_facts_free(tlpi_rule_facts *f);

#endif
