/*
 * search.h - from the serial model to deeper cuts, one joined place at a time:
 * the best addition (search_join.c), then swaps at the same depth until none
 * helps (search_swap.c).
 *
 * What joining a place added to the cost when it was last tried tells which
 * places to try first, and when to stop trying: it changes slowly as the plan
 * grows.  Candidates meet on one window; those that may be best go on to the
 * next, and drop out when the leader is better beyond doubt (search_race.c).
 */
#ifndef TLPI_SEARCH_H
#define TLPI_SEARCH_H

#include "tune/scorer.h"

enum { TLPI_N_LETTER = 3 };

typedef struct tlpi_search {
    const tlpi_env *env;
    tlpi_scorer *scorer;        /* borrowed */
    char letter[TLPI_N_LETTER]; /* modes allowed; the first is tried first */
    int n_letter;
    int max_group; /* layers */
    int n_place;   /* n_layer - 1 */
    double *alone; /* [n_place][n_letter] cost that joining added where no group
                      touched the place; NaN unknown */
    double *touching; /* likewise where one did */
} tlpi_search;

typedef struct tlpi_search_candidate {
    char *variant;
    double estimate;         /* of its cost on the first window */
    const tlpi_score *score; /* NULL: not tried */
    int place, letter;       /* index; -1 where it is no addition */
} tlpi_search_candidate;

typedef struct tlpi_candidate_list { /* of candidates */
    const tlpi_env *env;
    tlpi_search_candidate *item;
    int n, cap;
} tlpi_candidate_list;

tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group);
void tlpi_search_clear(tlpi_search *q);

/* variant becomes the best that joins one place more; TLP_ERANGE when there is
 * no place left to join. */
tlp_status tlpi_search_deepen(tlpi_search *q, char *variant);

/* variant becomes a better one of the same depth, as far as swaps find one.
 * Its windows are all scored afterwards. */
tlp_status tlpi_search_swap(tlpi_search *q, char *variant);

/* What joining a place would add, as far as is known: -inf if nothing is. */
double tlpi_search_estimate(const tlpi_search *q, const char *variant,
                            int place, int letter);
/* How much of an estimate is counted on when candidates are passed over. */
#define TLPI_TRUST 0.8

bool tlpi_search_may_join(const tlpi_search *q, const char *variant, int place);

/* search_race.c */
tlp_status tlpi_candidate_list_add(tlpi_candidate_list *f, const char *variant,
                                   double estimate, int place, int letter);
void tlpi_candidate_list_clear(tlpi_candidate_list *f);
/* Scores tried candidates on more windows until one is the best on all. */
tlp_status tlpi_race(tlpi_search *q, tlpi_candidate_list *f,
                     const char **winner);

#endif
