/*
 * search_swap.c - find better variants with an equal number of changes: a group
 * gets another mode, or one place is changed back and another place is changed.
 */
#include "tune/search.h"

#include <math.h>
#include <string.h>

/* Swaps that a round tries on the first window, and rounds. */
#define MAX_TRIES 12
#define MAX_ROUNDS 4

/* A change of mode without an estimate gets the cost of the variant, which puts
 * it among the first trials. */
static tlp_status list_modes(tlpi_search *q, const char *variant, double cost,
                             char *scratch, tlpi_candidate_list *f)
{
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place && st == TLP_OK; p++) {
        if (!tlpi_variant_is_joined(variant, p) ||
            tlpi_variant_is_joined(variant, p - 2))
            continue;
        int group = tlpi_variant_group(variant, p);
        double change[TLPI_N_LETTER], now = 0;

        for (int i = 0; i < q->n_letter; i++) {
            change[i] = q->alone[p * q->n_letter + i];
            if (q->letter[i] == variant[p])
                now = change[i];
        }
        for (int i = 0; i < q->n_letter && st == TLP_OK; i++) {
            double diff = group == 2 ? change[i] - now : NAN;

            if (q->letter[i] == variant[p])
                continue;
            memcpy(scratch, variant, (size_t)q->n_place);
            tlpi_variant_set(scratch, p, q->letter[i]);
            st = tlpi_candidate_list_add(
                f, scratch, isnan(diff) ? cost : cost + diff, -1, -1);
        }
    }
    return st;
}

/* opened: the variant without the join at `place`; cost: of opened. */
static tlp_status list_joins(tlpi_search *q, const char *opened, int place,
                             double cost, double bar, char *scratch,
                             tlpi_candidate_list *f)
{
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place; p++) {
        if (p == place)
            continue;
        for (int i = 0; i < q->n_letter; i++) {
            double added = tlpi_search_estimate(q, opened, p, i);

            if (!tlpi_search_may_set(q, opened, p, i) || isinf(added) ||
                cost + TLPI_TRUST * added >= bar)
                continue;
            memcpy(scratch, opened, (size_t)q->n_place);
            tlpi_variant_set(scratch, p, q->letter[i]);
            TLP_TRY(tlpi_candidate_list_add(f, scratch, cost + added, p, i));
        }
    }
done:
    return st;
}

/* The cost on the first window of a variant without the change at a place.
 * cost: with it.  Many exchanges are left out, and what each of them added is
 * known from its trial. */
static tlp_status cost_of_opened(tlpi_search *q, const char *opened, int place,
                                 double cost, double *less)
{
    const tlpi_score *score;
    tlp_status st = TLP_OK;

    if (q->letter[0] == TLPI_VARIANT_NOSYNC) {
        *less = cost - tlpi_search_estimate(q, opened, place, 0);
        return TLP_OK;
    }
    TLP_TRY(tlpi_scorer_run(q->scorer, opened, 1, &score));
    *less = tlpi_score_cost(q->scorer, score, 1);
done:
    return st;
}

static tlp_status list_swaps(tlpi_search *q, const char *variant, double cost,
                             tlpi_candidate_list *f)
{
    size_t n = (size_t)q->n_place;
    char *opened = tlpi_strndup(q->env, variant, n);
    char *scratch = tlpi_strndup(q->env, variant, n);
    double less;
    tlp_status st = TLP_OK;

    if (!opened || !scratch)
        TLP_TRY(tlpi_fail_nomem_for("a search"));
    TLP_TRY(list_modes(q, variant, cost, scratch, f));
    for (int p = 0; p < q->n_place; p++) {
        if (variant[p] == TLPI_VARIANT_SERIAL)
            continue;
        memcpy(opened, variant, n);
        opened[p] = TLPI_VARIANT_SERIAL;
        TLP_TRY(cost_of_opened(q, opened, p, cost, &less));
        TLP_TRY(list_joins(q, opened, p, less, cost, scratch, f));
    }
done:
    tlpi_free(q->env, scratch);
    tlpi_free(q->env, opened);
    return st;
}

/* Run the swaps with the lowest estimates on the first window.  A swap that is
 * worse than the variant by more than chance explains gets no score and does
 * not take part in the race. */
static tlp_status try_swaps(tlpi_search *q, const tlpi_score *now,
                            tlpi_candidate_list *f)
{
    tlp_status st = TLP_OK;

    for (int tries = 0; tries < MAX_TRIES; tries++) {
        int best = -1;

        for (int i = 0; i < f->n; i++)
            if (!isnan(f->item[i].estimate) &&
                (best < 0 || f->item[i].estimate < f->item[best].estimate))
                best = i;
        if (best < 0)
            break;
        tlpi_search_candidate *c = &f->item[best];
        const tlpi_score *score;

        c->estimate = NAN; /* tried */
        TLP_TRY(tlpi_scorer_run(q->scorer, c->variant, 1, &score));
        if (!tlpi_score_is_worse(q->scorer, score, now, 1))
            c->score = score;
    }
done:
    return st;
}

static tlp_status swap_once(tlpi_search *q, char *variant, bool *better)
{
    tlpi_candidate_list f = { .env = q->env };
    const tlpi_score *now;
    const char *winner = NULL;
    tlp_status st;

    *better = false;
    TLP_TRY(tlpi_scorer_rebase(q->scorer, variant));
    TLP_TRY(tlpi_scorer_run(q->scorer, variant, q->scorer->n_window, &now));
    TLP_TRY(list_swaps(q, variant, tlpi_score_cost(q->scorer, now, 1), &f));
    TLP_TRY(try_swaps(q, now, &f));
    TLP_TRY(tlpi_candidate_list_add(&f, variant, 0, -1, -1));
    f.item[f.n - 1].score = now;
    TLP_TRY(tlpi_race(q, &f, &winner));
    const tlpi_score *best = now;
    TLP_TRY(tlpi_scorer_run(q->scorer, winner, q->scorer->n_window, &best));
    *better = tlpi_score_cost(q->scorer, best, q->scorer->n_window) <
              tlpi_score_cost(q->scorer, now, q->scorer->n_window);
    if (*better)
        memcpy(variant, winner, (size_t)q->n_place);
done:
    tlpi_candidate_list_clear(&f);
    return st;
}

tlp_status tlpi_search_swap(tlpi_search *q, char *variant)
{
    bool better = true;
    tlp_status st = TLP_OK;

    for (int i = 0; i < MAX_ROUNDS && better && st == TLP_OK; i++)
        st = swap_once(q, variant, &better);
    return st;
}
