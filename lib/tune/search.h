/*
 * search.h - a greedy search for plans.  It starts from the serial plan.  Each
 * step changes one more place, the best one (search_join.c): it joins the
 * layers around the place, or leaves out the exchange there.  Then the search
 * swaps changed places for other places until no swap helps (search_swap.c).
 * At the target, it swaps again with fresh estimates on more windows
 * (search_polish.c).
 *
 * The size of a variant is its depth or, where exchanges may be left out, the
 * exchanges that a token waits for (search_size.c).  Changes save different
 * numbers of exchanges, so a step takes the change with the least price: the
 * added cost for each exchange that it saves.
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

enum { TLPI_N_LETTER = 4 };

/* Windows on which candidates race where exchanges may be left out. */
enum { TLPI_RACE_WINDOWS = 4 };

typedef struct tlpi_search {
    const tlpi_env *env;
    tlpi_scorer *scorer;        /* borrowed */
    char letter[TLPI_N_LETTER]; /* allowed, modes before TLPI_VARIANT_NOSYNC,
                                   in the order of trials */
    int n_letter;
    bool nosync;      /* TLPI_VARIANT_NOSYNC is allowed */
    int max_group;    /* layers */
    int serial;       /* exchanges of the serial plan, if nosync */
    bool rows;        /* a layer alone has an exchange for the norms of its
                         queries and keys, which tracks do without */
    int *saved;       /* [n_letter][max_group + 1] exchanges that a group of n
                         layers saves, if nosync */
    int target;       /* size; savings beyond it have no worth; 0: none */
    int n_place;      /* the length of variants */
    int n_race;       /* windows on which candidates race, at most */
    double *alone;    /* [n_place][n_letter] cost that a change added where
                         nothing touched or was replaced; NaN: unknown */
    double *touching; /* [n_place][n_letter] elsewhere: tlpi_variant_touches */
} tlpi_search;

typedef struct tlpi_search_candidate {
    char *variant;
    double estimate;         /* of the price or the cost on the first windows */
    const tlpi_score *score; /* NULL: not tried */
    int saved;               /* size that the race divides the cost by */
    int place, letter;       /* indices of the change, if it is a single one */
} tlpi_search_candidate;

typedef struct tlpi_candidate_list {
    const tlpi_env *env;
    tlpi_search_candidate *item;
    int n, cap;
} tlpi_candidate_list;

/* modes: bits 1 << TLP_MODE_LP, _PAR, _ASYM, and TLP_MAKE_NOSYNC.  max_group:
 * at most the layers of the model. */
tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group);
void tlpi_search_clear(tlpi_search *q);

/* variant becomes the variant with the least price of one more change.
 * All windows of variant have scores.  TLP_EUNREACHED when no place is left to
 * change. */
tlp_status tlpi_search_deepen(tlpi_search *q, char *variant);

/* variant becomes a better variant of equal or smaller size if swaps find a
 * better one.
 * Afterwards all windows of variant have scores. */
tlp_status tlpi_search_swap(tlpi_search *q, char *variant);

/* As tlpi_search_swap, with more effort, for variants that may leave out
 * exchanges. */
tlp_status tlpi_search_polish(tlpi_search *q, char *variant);

/* The last cost that a change of the place added: where something touched the
 * place or a group replaces a left-out exchange there, or elsewhere. */
double *tlpi_search_known(const tlpi_search *q, const char *variant, int place,
                          int letter);
/* An estimate of the cost that a change adds; -inf: unknown. */
double tlpi_search_estimate(const tlpi_search *q, const char *variant,
                            int place, int letter);
/* Estimates are uncertain: a candidate is passed over only if this share of its
 * estimate is too high. */
#define TLPI_TRUST 0.8

/* May the place take the letter of this index? */
bool tlpi_search_may_set(const tlpi_search *q, const char *variant, int place,
                         int letter);

/* search_size.c */
tlp_status tlpi_search_size_init(tlpi_search *q);
int tlpi_search_size(const tlpi_search *q, const char *variant);

/* search_swap.c */
typedef struct tlpi_swap_effort {
    int n_try;  /* swaps that a round tries on the first windows */
    int n_seen; /* these windows, of which estimates are too */
    int n_race; /* windows on which those that are not worse race */
    int n_round;
    bool sure; /* a swap counts only if chance does not explain its gain */
} tlpi_swap_effort;
tlp_status tlpi_search_swap_with(tlpi_search *q, const tlpi_swap_effort *effort,
                                 char *variant);

/* search_race.c */

/* Copies the variant, and all other fields of like. */
tlp_status tlpi_candidate_list_add(tlpi_candidate_list *f, const char *variant,
                                   const tlpi_search_candidate *like);
void tlpi_candidate_list_clear(tlpi_candidate_list *f);
/* Run the candidates with a score on more windows, up to n_window, until one of
 * them has the least price over the base on all of these windows. */
tlp_status tlpi_race(tlpi_search *q, const tlpi_candidate_list *f,
                     const tlpi_score *base, int n_window, const char **winner);

#endif
