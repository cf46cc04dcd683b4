/*
 * search_swap.c - find better variants of equal or smaller size: a group gets
 * another mode, or one place is changed back and another place is changed.
 * Where changes save different numbers of exchanges, more places are changed or
 * changed back until the size fits.
 */
#include "tune/search.h"

#include <math.h>
#include <string.h>

#include "tlp_tune.h"

/* What one search for swaps works on. */
typedef struct swapping {
    tlpi_search *q;
    const char *variant; /* and its size, and its cost on the first windows */
    int size;
    double cost;
    int n_seen; /* first windows */
    char *opened, *scratch;
    tlpi_candidate_list list;
} swapping;

static tlp_status add(swapping *w, const char *variant, double estimate)
{
    const tlpi_search_candidate c = { .estimate = estimate, .saved = 1 };

    return tlpi_candidate_list_add(&w->list, variant, &c);
}

/* A change of mode without an estimate gets the cost of the variant, which puts
 * it among the first trials. */
static tlp_status list_modes(swapping *w)
{
    const tlpi_search *q = w->q;
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place && st == TLP_OK; p++) {
        if (!tlpi_variant_is_joined(w->variant, p) ||
            tlpi_variant_is_joined(w->variant, p - 2))
            continue;
        int group = tlpi_variant_group(w->variant, p);
        const double *change = q->alone + p * q->n_letter;
        double now = NAN;

        for (int i = 0; i < q->n_letter; i++)
            if (q->letter[i] == w->variant[p])
                now = change[i];
        for (int i = 0; i < q->n_letter && st == TLP_OK; i++) {
            double diff = group == 2 ? change[i] - now : NAN;

            if (q->letter[i] == w->variant[p] ||
                q->letter[i] == TLPI_VARIANT_NOSYNC)
                continue;
            memcpy(w->scratch, w->variant, (size_t)q->n_place);
            tlpi_variant_set(w->scratch, p, q->letter[i]);
            if (tlpi_search_size(q, w->scratch) <= w->size)
                st = add(w, w->scratch, isnan(diff) ? w->cost : w->cost + diff);
        }
    }
    return st;
}

/* Leave out the exchange that is estimated to add least to the cost; false if
 * there is none. */
static bool leave_out_one(const swapping *w, double *cost)
{
    const tlpi_search *q = w->q;
    int nosync = q->n_letter - 1, best = -1;
    double least = INFINITY;

    for (int p = 0; p < q->n_place; p++) {
        if (!tlpi_search_may_set(q, w->scratch, p, nosync))
            continue;
        double added = tlpi_search_estimate(q, w->scratch, p, nosync);

        if (!isinf(added) && added < least) {
            least = added;
            best = p;
        }
    }
    if (best < 0)
        return false;
    w->scratch[best] = TLPI_VARIANT_NOSYNC;
    *cost += least;
    return true;
}

/* Make the exchange again that is estimated to take most off the cost. */
static bool make_one(const swapping *w, double *cost)
{
    const tlpi_search *q = w->q;
    int best = -1;
    double most = -INFINITY;

    for (int p = 0; p < q->n_place; p++) {
        if (w->scratch[p] != TLPI_VARIANT_NOSYNC)
            continue;
        double added = tlpi_search_estimate(q, w->scratch, p, q->n_letter - 1);

        if (added > most) {
            most = added;
            best = p;
        }
    }
    if (best < 0)
        return false;
    w->scratch[best] = TLPI_VARIANT_SERIAL;
    *cost -= most;
    return true;
}

/* Bring scratch to the size of the variant, as far as estimates are known.
 * cost: an estimate of its cost, which changes.  False if it stays larger, or
 * is the variant. */
static bool fit_size(const swapping *w, double *cost)
{
    if (!w->q->nosync)
        return true;
    while (tlpi_search_size(w->q, w->scratch) > w->size)
        if (!leave_out_one(w, cost))
            return false;
    while (tlpi_search_size(w->q, w->scratch) < w->size)
        if (!make_one(w, cost))
            break;
    return tlpi_search_size(w->q, w->scratch) <= w->size &&
           strcmp(w->scratch, w->variant) != 0;
}

/* opened: the variant without the change at `place`, or the variant itself
 * (place -1); cost: of opened. */
static tlp_status list_joins(swapping *w, int place, double cost)
{
    const tlpi_search *q = w->q;
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place; p++)
        for (int i = 0; i < q->n_letter; i++) {
            double added = tlpi_search_estimate(q, w->opened, p, i);
            double swapped = cost + added;

            if ((p == place &&
                 (!q->nosync || q->letter[i] == w->variant[place])) ||
                !tlpi_search_may_set(q, w->opened, p, i) || isinf(added))
                continue;
            memcpy(w->scratch, w->opened, (size_t)q->n_place);
            tlpi_variant_set(w->scratch, p, q->letter[i]);
            if (fit_size(w, &swapped) &&
                swapped - (1 - TLPI_TRUST) * added < w->cost)
                TLP_TRY(add(w, w->scratch, swapped));
        }
done:
    return st;
}

/* The cost on the first windows of opened, which is the variant without the
 * change at a place.  Many exchanges are left out, and what each of them added
 * is known from its trial. */
static tlp_status cost_of_opened(const swapping *w, int place, double *less)
{
    tlpi_search *q = w->q;
    const tlpi_score *score;
    tlp_status st = TLP_OK;

    if (w->variant[place] == TLPI_VARIANT_NOSYNC) {
        *less = w->cost -
                tlpi_search_estimate(q, w->opened, place, q->n_letter - 1);
        return TLP_OK;
    }
    TLP_TRY(tlpi_scorer_run(q->scorer, w->opened, w->n_seen, &score));
    *less = tlpi_score_cost(q->scorer, score, w->n_seen);
done:
    return st;
}

static tlp_status list_swaps(swapping *w)
{
    const tlpi_search *q = w->q;
    double less;
    tlp_status st;

    TLP_TRY(list_modes(w));
    /* A group may take the places of all exchanges that it makes again. */
    if (q->nosync && q->n_letter > 1)
        TLP_TRY(list_joins(w, -1, w->cost));
    for (int p = 0; p < q->n_place; p++) {
        if (w->variant[p] == TLPI_VARIANT_SERIAL)
            continue;
        memcpy(w->opened, w->variant, (size_t)q->n_place);
        w->opened[p] = TLPI_VARIANT_SERIAL;
        TLP_TRY(cost_of_opened(w, p, &less));
        TLP_TRY(list_joins(w, p, less));
    }
done:
    return st;
}

/* The untried swap with the lowest estimate, or NULL.  Swaps with an equal
 * variant count as tried too. */
static tlpi_search_candidate *take_best(tlpi_candidate_list *f)
{
    tlpi_search_candidate *best = NULL;

    for (int i = 0; i < f->n; i++)
        if (!isnan(f->item[i].estimate) &&
            (!best || f->item[i].estimate < best->estimate))
            best = &f->item[i];
    for (int i = 0; best && i < f->n; i++)
        if (strcmp(f->item[i].variant, best->variant) == 0)
            f->item[i].estimate = NAN;
    return best;
}

/* Run the swaps with the lowest estimates on the first windows.  A swap that is
 * worse than the variant by more than chance explains gets no score and does
 * not take part in the race. */
static tlp_status try_swaps(swapping *w, const tlpi_score *now, int n_try)
{
    tlpi_scorer *s = w->q->scorer;
    const tlpi_price zero = { now, now, 1 };
    tlpi_search_candidate *c;
    tlp_status st = TLP_OK;

    for (int tries = 0; tries < n_try && (c = take_best(&w->list)); tries++) {
        tlpi_price price = { .base = now, .saved = 1 };

        TLP_TRY(tlpi_scorer_run(s, c->variant, w->n_seen, &price.score));
        if (!tlpi_price_is_worse(s, &price, &zero, w->n_seen))
            c->score = price.score;
    }
done:
    return st;
}

/* Is the winner better on all windows? */
static bool is_better(const tlpi_scorer *s, const tlpi_score *winner,
                      const tlpi_score *now, bool sure)
{
    const tlpi_price a = { winner, now, 1 }, b = { now, now, 1 };

    return sure ? tlpi_price_is_worse(s, &b, &a, s->n_window)
                : tlpi_price_mean(s, &a, s->n_window) < 0;
}

static tlp_status swap_once(tlpi_search *q, const tlpi_swap_effort *effort,
                            char *variant, bool *better)
{
    size_t n = (size_t)q->n_place;
    tlpi_scorer *s = q->scorer;
    swapping w = { .q = q,
                   .variant = variant,
                   .size = tlpi_search_size(q, variant),
                   .n_seen = effort->n_seen,
                   .opened = tlpi_strndup(q->env, variant, n),
                   .scratch = tlpi_strndup(q->env, variant, n),
                   .list = { .env = q->env } };
    tlpi_search_candidate stay = { .saved = 1 };
    const tlpi_score *best;
    const char *winner = NULL;
    tlp_status st;

    *better = false;
    if (!w.opened || !w.scratch)
        TLP_TRY(tlpi_fail_nomem_for("a search"));
    TLP_TRY(tlpi_scorer_rebase(s, variant));
    TLP_TRY(tlpi_scorer_run(s, variant, s->n_window, &stay.score));
    w.cost = tlpi_score_cost(s, stay.score, w.n_seen);
    TLP_TRY(list_swaps(&w));
    TLP_TRY(try_swaps(&w, stay.score, effort->n_try));
    TLP_TRY(tlpi_candidate_list_add(&w.list, variant, &stay));
    TLP_TRY(tlpi_race(q, &w.list, stay.score, effort->n_race, &winner));
    TLP_TRY(tlpi_scorer_run(s, winner, s->n_window, &best));
    *better = is_better(s, best, stay.score, effort->sure);
    if (*better)
        memcpy(variant, winner, n);
done:
    tlpi_candidate_list_clear(&w.list);
    tlpi_free(q->env, w.scratch);
    tlpi_free(q->env, w.opened);
    return st;
}

tlp_status tlpi_search_swap_with(tlpi_search *q, const tlpi_swap_effort *effort,
                                 char *variant)
{
    bool better = true;
    tlp_status st = TLP_OK;

    for (int i = 0; i < effort->n_round && better && st == TLP_OK; i++)
        st = swap_once(q, effort, variant, &better);
    return st;
}

tlp_status tlpi_search_swap(tlpi_search *q, char *variant)
{
    const tlpi_swap_effort effort = {
        .n_try = 12, .n_seen = 1, .n_race = q->n_race, .n_round = 4
    };

    return tlpi_search_swap_with(q, &effort, variant);
}
