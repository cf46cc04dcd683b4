/*
 * search_join.c - find the best place to join, or exchange to leave out, next.
 */
#include "tune/search.h"

#include <math.h>
#include <string.h>

#include "tlp_tune.h"

/* At one place, an untried mode adds at least this share of the cost that the
 * first mode added. */
#define OTHER_MODE 0.5

tlp_status tlpi_search_init(tlpi_search *q, tlpi_scorer *scorer, uint32_t modes,
                            int max_group)
{
    static const int by_promise[] = { TLP_MODE_PAR, TLP_MODE_ASYM,
                                      TLP_MODE_LP };
    tlp_status st = TLP_OK;

    *q = (tlpi_search){ .env = scorer->env,
                        .scorer = scorer,
                        .nosync = modes & TLP_MAKE_NOSYNC,
                        .max_group = max_group,
                        .n_place = (int)strlen(scorer->base),
                        .n_race = scorer->n_window };
    for (size_t i = 0; i < TLPI_COUNT(by_promise); i++)
        if (modes >> by_promise[i] & 1)
            q->letter[q->n_letter++] = tlpi_variant_letter(by_promise[i]);
    if (q->nosync) {
        q->letter[q->n_letter++] = TLPI_VARIANT_NOSYNC;
        q->n_race = TLPI_MIN(TLPI_RACE_WINDOWS, scorer->n_window);
    }

    size_t n = (size_t)q->n_place * (size_t)q->n_letter;

    TLP_TRY(tlpi_search_size_init(q));
    q->alone = tlpi_alloc_array(q->env, n, sizeof(double));
    q->touching = tlpi_alloc_array(q->env, n, sizeof(double));
    if (!q->alone || !q->touching)
        return tlpi_fail_nomem_for("a search");
    for (size_t i = 0; i < n; i++)
        q->alone[i] = q->touching[i] = NAN;
done:
    return st;
}

void tlpi_search_clear(tlpi_search *q)
{
    tlpi_free(q->env, q->saved);
    tlpi_free(q->env, q->alone);
    tlpi_free(q->env, q->touching);
}

/* ==== estimates ========================================================== */

double *tlpi_search_known(const tlpi_search *q, const char *variant, int place,
                          int letter)
{
    bool is_replaced = q->letter[letter] != TLPI_VARIANT_NOSYNC &&
                       variant[place] == TLPI_VARIANT_NOSYNC;
    bool touches = is_replaced || tlpi_variant_touches(variant, place);

    return (touches ? q->touching : q->alone) + place * q->n_letter + letter;
}

/* What the exchanges that a group at the place makes again take off the cost.
 */
static double regained(const tlpi_search *q, const char *variant, int place)
{
    double sum = 0;

    for (int p = TLPI_MAX(0, place - 2); p <= place + 2 && variant[p]; p++) {
        if (variant[p] != TLPI_VARIANT_NOSYNC)
            continue;
        double added = tlpi_search_estimate(q, variant, p, q->n_letter - 1);
        sum += isinf(added) ? 0 : added;
    }
    return sum;
}

double tlpi_search_estimate(const tlpi_search *q, const char *variant,
                            int place, int letter)
{
    double added = *tlpi_search_known(q, variant, place, letter);
    double alone = q->alone[place * q->n_letter + letter];
    bool is_group = q->letter[letter] != TLPI_VARIANT_NOSYNC;

    if (is_group && q->nosync)
        added = fmin(added, alone - regained(q, variant, place));
    else if (isnan(added))
        added = alone;
    if (!isnan(added))
        return added;
    return letter > 0 && is_group
               ? OTHER_MODE * tlpi_search_estimate(q, variant, place, 0)
               : -INFINITY;
}

/* Does a half-layer on a side of the place belong to a group? */
static bool is_beside_group(const char *variant, int place)
{
    for (int p = place - 2; p <= place + 2; p++)
        if (tlpi_variant_is_joined(variant, p))
            return true;
    return false;
}

bool tlpi_search_may_set(const tlpi_search *q, const char *variant, int place,
                         int letter)
{
    int n = 2;

    if (q->letter[letter] == TLPI_VARIANT_NOSYNC)
        return variant[place] == TLPI_VARIANT_SERIAL &&
               !is_beside_group(variant, place);
    if (!tlpi_variant_is_between(place) ||
        tlpi_variant_is_joined(variant, place))
        return false;
    if (tlpi_variant_is_joined(variant, place - 2))
        n += tlpi_variant_group(variant, place - 2) - 1;
    if (tlpi_variant_is_joined(variant, place + 2))
        n += tlpi_variant_group(variant, place + 2) - 1;
    return n <= q->max_group;
}

/* ==== additions ========================================================== */

static tlp_status list_additions(tlpi_search *q, const char *variant,
                                 tlpi_candidate_list *f)
{
    char *next = tlpi_strndup(q->env, variant, strlen(variant));
    int size = tlpi_search_size(q, variant);
    int worth = q->target > 0 ? size - q->target : size;
    tlp_status st = next ? TLP_OK : tlpi_fail_nomem_for("a search");

    for (int i = 0; i < q->n_letter; i++)
        for (int p = 0; p < q->n_place && st == TLP_OK; p++) {
            if (!tlpi_search_may_set(q, variant, p, i))
                continue;
            memcpy(next, variant, (size_t)q->n_place);
            tlpi_variant_set(next, p, q->letter[i]);
            int saved = size - tlpi_search_size(q, next);
            const tlpi_search_candidate c = { .saved = TLPI_MIN(saved, worth),
                                              .place = p,
                                              .letter = i };
            if (saved > 0)
                st = tlpi_candidate_list_add(f, next, &c);
        }
    tlpi_free(q->env, next);
    return st;
}

/* The untried candidate with the lowest estimate, or NULL. */
static tlpi_search_candidate *
most_promising(tlpi_search *q, const char *variant, tlpi_candidate_list *f)
{
    tlpi_search_candidate *best = NULL;

    for (int i = 0; i < f->n; i++) {
        tlpi_search_candidate *c = &f->item[i];

        if (c->score)
            continue;
        c->estimate =
            tlpi_search_estimate(q, variant, c->place, c->letter) / c->saved;
        if (!best || c->estimate < best->estimate)
            best = c;
    }
    return best;
}

/* Run candidates on the first window while an untried candidate may be better
 * than the best so far. */
static tlp_status try_additions(tlpi_search *q, const char *variant,
                                tlpi_candidate_list *f)
{
    const tlpi_score *score;
    double least = INFINITY;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_scorer_run(q->scorer, variant, 1, &score));
    double before = tlpi_score_cost(q->scorer, score, 1);

    for (;;) {
        tlpi_search_candidate *c = most_promising(q, variant, f);

        if (!c || TLPI_TRUST * c->estimate > least)
            break;
        TLP_TRY(tlpi_scorer_run(q->scorer, c->variant, 1, &c->score));
        double added = tlpi_score_cost(q->scorer, c->score, 1) - before;
        *tlpi_search_known(q, variant, c->place, c->letter) = added;
        least = fmin(least, added / c->saved);
    }
done:
    return st;
}

static tlp_status fail_at_end(const tlpi_search *q, const char *variant)
{
    if (q->nosync && q->n_letter == 1)
        return tlpi_fail(TLP_EUNREACHED, "no exchange is left to leave out");
    if (q->nosync)
        return tlpi_fail(TLP_EUNREACHED,
                         "no exchange is left to leave out and no layer to "
                         "join at %d exchanges, with groups of at most %d",
                         tlpi_search_size(q, variant), q->max_group);
    return tlpi_fail(TLP_EUNREACHED,
                     "no layer is left to join at depth %d, with groups of at "
                     "most %d",
                     tlpi_variant_depth(variant), q->max_group);
}

tlp_status tlpi_search_deepen(tlpi_search *q, char *variant)
{
    tlpi_candidate_list f = { .env = q->env };
    const tlpi_score *base;
    const char *winner = NULL;
    tlp_status st;

    TLP_TRY(tlpi_scorer_rebase(q->scorer, variant));
    TLP_TRY(tlpi_scorer_run(q->scorer, variant, q->n_race, &base));
    TLP_TRY(list_additions(q, variant, &f));
    if (f.n == 0)
        TLP_TRY(fail_at_end(q, variant));
    TLP_TRY(try_additions(q, variant, &f));
    TLP_TRY(tlpi_race(q, &f, base, q->n_race, &winner));
    memcpy(variant, winner, (size_t)q->n_place);
done:
    tlpi_candidate_list_clear(&f);
    return st;
}
