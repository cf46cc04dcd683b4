/*
 * search.h - a greedy search for plans.  It starts from the serial plan.  Each
 * step changes one more place, the best one (search_join.c): it joins the
 * layers around the place, or leaves out the exchange there.  Then the search
 * swaps changed places for other places until no swap helps (search_swap.c).
 *
 * The search remembers what a change of a place added to the cost in its last
 * trial.  This number changes slowly as groups grow, so it tells which places
 * to try first and when to stop.  All candidates run on one window.  A
 * candidate that may be the best runs on the next window too; it drops out when
 * the leader is better by more than chance explains (search_race.c).
 */
#ifndef TLPI_SEARCH_H
#define TLPI_SEARCH_H

#include "tune/scorer.h"

enum { TLPI_N_LETTER = 3 };

/* Windows on which candidates for left-out exchanges race. */
enum { TLPI_RACE_WINDOWS = 4 };

typedef struct tlpi_search {
    const tlpi_env *env;
    tlpi_scorer *scorer;        /* borrowed */
    char letter[TLPI_N_LETTER]; /* allowed modes, in the order of trials; or
                                   TLPI_VARIANT_NOSYNC alone */
    int n_letter;
    int max_group;    /* layers */
    int n_place;      /* the length of variants */
    int n_race;       /* windows on which candidates race, at most */
    double *alone;    /* [n_place][n_letter] cost that a change added where
                         nothing touched the place; NaN: unknown */
    double *touching; /* [n_place][n_letter] where something touched the place:
                         tlpi_variant_touches */
} tlpi_search;

typedef struct tlpi_search_candidate {
    char *variant;
    double estimate;         /* of the cost on the first window */
    const tlpi_score *score; /* NULL: not tried */
    int place, letter;       /* indices of the change; -1: not a single one */
} tlpi_search_candidate;

typedef struct tlpi_candidate_list {
    const tlpi_env *env;
    tlpi_search_candidate *item;
    int n, cap;
} tlpi_candidate_list;

/* modes: bits 1 << TLP_MODE_LP, _PAR, _ASYM; or TLP_MAKE_NOSYNC alone. */
tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group);
void tlpi_search_clear(tlpi_search *q);

/* variant becomes the best variant with one more change.  TLP_EUNREACHED when
 * no place is left to change. */
tlp_status tlpi_search_deepen(tlpi_search *q, char *variant);

/* variant becomes a better variant with an equal number of changes if swaps
 * find a better one.
 * Afterwards all windows of variant have scores. */
tlp_status tlpi_search_swap(tlpi_search *q, char *variant);

/* An estimate of the cost that a change adds; -inf: unknown. */
double tlpi_search_estimate(const tlpi_search *q, const char *variant,
                            int place, int letter);
/* Estimates are uncertain: a candidate is passed over only if this share of its
 * estimate is too high. */
#define TLPI_TRUST 0.8

/* May the place take the letter of this index? */
bool tlpi_search_may_set(const tlpi_search *q, const char *variant, int place,
                         int letter);

/* search_race.c */
tlp_status tlpi_candidate_list_add(tlpi_candidate_list *f, const char *variant,
                                   double estimate, int place, int letter);
void tlpi_candidate_list_clear(tlpi_candidate_list *f);
/* Run the candidates with a score on more windows, up to q->n_race, until one
 * of them is the best on all of these windows. */
tlp_status tlpi_race(tlpi_search *q, tlpi_candidate_list *f,
                     const char **winner);

#endif
