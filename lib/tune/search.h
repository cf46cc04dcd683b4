/*
 * search.h - a greedy search for plans.  It starts from the serial plan.  Each
 * step joins one more place, the best one (search_join.c), and then swaps joins
 * at equal depth until no swap helps (search_swap.c).
 *
 * The search remembers what joining a place added to the cost in its last
 * trial.  This number changes slowly as groups grow, so it tells which places
 * to try first and when to stop.  All candidates run on one window.  A
 * candidate that may be the best runs on the next window too; it drops out when
 * the leader is better by more than chance explains (search_race.c).
 */
#ifndef TLPI_SEARCH_H
#define TLPI_SEARCH_H

#include "tune/scorer.h"

enum { TLPI_N_LETTER = 3 };

typedef struct tlpi_search {
    const tlpi_env *env;
    tlpi_scorer *scorer;        /* borrowed */
    char letter[TLPI_N_LETTER]; /* allowed modes, in the order of trials */
    int n_letter;
    int max_group; /* layers */
    int n_place;   /* n_layer - 1 */
    double *alone; /* [n_place][n_letter] cost that a join added where no group
                      touched the place; NaN: unknown */
    double *touching; /* [n_place][n_letter] where a group touched the place */
} tlpi_search;

typedef struct tlpi_search_candidate {
    char *variant;
    double estimate;         /* of the cost on the first window */
    const tlpi_score *score; /* NULL: not tried */
    int place, letter;       /* indices of the join; -1: not a single join */
} tlpi_search_candidate;

typedef struct tlpi_candidate_list {
    const tlpi_env *env;
    tlpi_search_candidate *item;
    int n, cap;
} tlpi_candidate_list;

tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group);
void tlpi_search_clear(tlpi_search *q);

/* variant becomes the best variant with one more join.  TLP_EUNREACHED when no
 * place is left to join. */
tlp_status tlpi_search_deepen(tlpi_search *q, char *variant);

/* variant becomes a better variant of equal depth if swaps find a better one.
 * Afterwards all windows of variant have scores. */
tlp_status tlpi_search_swap(tlpi_search *q, char *variant);

/* An estimate of the cost that a join adds; -inf: unknown. */
double tlpi_search_estimate(const tlpi_search *q, const char *variant,
                            int place, int letter);
/* Estimates are uncertain: a candidate is passed over only if this share of its
 * estimate is too high. */
#define TLPI_TRUST 0.8

bool tlpi_search_may_join(const tlpi_search *q, const char *variant, int place);

/* search_race.c */
tlp_status tlpi_candidate_list_add(tlpi_candidate_list *f, const char *variant,
                                   double estimate, int place, int letter);
void tlpi_candidate_list_clear(tlpi_candidate_list *f);
/* Run the candidates with a score on more windows until one of them is the best
 * on all windows. */
tlp_status tlpi_race(tlpi_search *q, tlpi_candidate_list *f,
                     const char **winner);

#endif
