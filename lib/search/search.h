/*
 * search.h - from the serial model to deeper cuts, one joined place at a time:
 * the best addition (search.c), then exchanges at the same depth until none
 * helps (exchange.c).
 *
 * What joining a place added to the cost when it was last tried tells which
 * places to try first, and when to stop trying: it changes slowly as the plan
 * grows.  Candidates meet on one window; those that may be best go on to the
 * next, and drop out when the leader is better beyond doubt (race.c).
 */
#ifndef TLPI_SEARCH_H
#define TLPI_SEARCH_H

#include "search/scorer.h"

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

typedef struct tlpi_candidate_draft {
    char *draft;
    double estimate;         /* of its cost on the first window */
    const tlpi_score *score; /* NULL: not tried */
    int place, letter;       /* index; -1 where it is no addition */
} tlpi_candidate_draft;

typedef struct tlpi_field { /* of candidates */
    const tlpi_env *env;
    tlpi_candidate_draft *item;
    int n, cap;
} tlpi_field;

tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group);
void tlpi_search_clear(tlpi_search *q);

/* draft becomes the best that joins one place more; TLP_ERANGE when there is
 * no place left to join. */
tlp_status tlpi_search_deepen(tlpi_search *q, char *draft);

/* draft becomes a better one of the same depth, as far as exchanges find one.
 * Its windows are all scored afterwards. */
tlp_status tlpi_search_exchange(tlpi_search *q, char *draft);

/* What joining a place would add, as far as is known: -inf if nothing is. */
double tlpi_search_estimate(const tlpi_search *q, const char *draft, int place,
                            int letter);
/* How much of an estimate is counted on when candidates are passed over. */
#define TLPI_TRUST 0.8

bool tlpi_search_may_join(const tlpi_search *q, const char *draft, int place);

/* race.c */
tlp_status tlpi_field_add(tlpi_field *f, const char *draft, double estimate,
                          int place, int letter);
void tlpi_field_clear(tlpi_field *f);
/* Scores tried candidates on more windows until one is the best on all. */
tlp_status tlpi_race(tlpi_search *q, tlpi_field *f, const char **winner);

#endif
