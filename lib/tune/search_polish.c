/*
 * search_polish.c - swaps at the target.  The estimates of a search come from
 * one window and from earlier variants.  Here every exchange is tried again in
 * the variant, made and left out, and swaps are judged on more windows.
 *
 * The best of many trials is partly luck, so a swap counts only if its gain on
 * all windows is more than chance explains.
 */
#include "tune/search.h"

#include <string.h>

typedef struct polish {
    tlpi_search *q;
    const char *variant;
    double cost; /* of variant */
    int n_window;
    char *other; /* another variant */
} polish;

/* The cost of the other variant less that of the variant. */
static tlp_status try_other(const polish *w, double *added)
{
    const tlpi_score *x;
    tlp_status st;

    TLP_TRY(tlpi_scorer_run(w->q->scorer, w->other, w->n_window, &x));
    *added = tlpi_score_cost(w->q->scorer, x, w->n_window) - w->cost;
done:
    return st;
}

/* Try the other state of an exchange, and remember what leaving it out adds. */
static tlp_status refresh_exchange(const polish *w, int place)
{
    tlpi_search *q = w->q;
    bool is_out = w->variant[place] == TLPI_VARIANT_NOSYNC;
    double added;
    tlp_status st = TLP_OK;

    if (!is_out && !tlpi_search_may_set(q, w->variant, place, q->n_letter - 1))
        return TLP_OK;
    memcpy(w->other, w->variant, (size_t)q->n_place);
    w->other[place] = is_out ? TLPI_VARIANT_SERIAL : TLPI_VARIANT_NOSYNC;
    TLP_TRY(try_other(w, &added));
    *tlpi_search_known(q, w->variant, place, q->n_letter - 1) =
        is_out ? -added : added;
done:
    return st;
}

/* Try the groups at a place that save as many exchanges as they make again, and
 * make some again.  Exchanges may cost less one by one than together, so that
 * sums of their costs are poor estimates. */
static tlp_status refresh_groups(const polish *w, int place)
{
    tlpi_search *q = w->q;
    int size = tlpi_search_size(q, w->variant);
    tlp_status st = TLP_OK;

    for (int i = 0; i < q->n_letter - 1; i++) {
        double *added = tlpi_search_known(q, w->variant, place, i);

        if (!tlpi_search_may_set(q, w->variant, place, i) ||
            added == q->alone + place * q->n_letter + i)
            continue;
        memcpy(w->other, w->variant, (size_t)q->n_place);
        tlpi_variant_set(w->other, place, q->letter[i]);
        if (tlpi_search_size(q, w->other) <= size)
            TLP_TRY(try_other(w, added));
    }
done:
    return st;
}

static tlp_status refresh(tlpi_search *q, const char *variant, int n_window)
{
    polish w = { .q = q,
                 .variant = variant,
                 .n_window = n_window,
                 .other = tlpi_strndup(q->env, variant, (size_t)q->n_place) };
    const tlpi_score *now;
    tlp_status st;

    if (!w.other)
        return tlpi_fail_nomem_for("a search");
    TLP_TRY(tlpi_scorer_run(q->scorer, variant, n_window, &now));
    w.cost = tlpi_score_cost(q->scorer, now, n_window);
    for (int p = 0; p < q->n_place; p++) {
        TLP_TRY(refresh_exchange(&w, p));
        TLP_TRY(refresh_groups(&w, p));
    }
done:
    tlpi_free(q->env, w.other);
    return st;
}

tlp_status tlpi_search_polish(tlpi_search *q, char *variant)
{
    int n_window = q->scorer->n_window;
    const tlpi_swap_effort effort = { .n_try = 24,
                                      .n_seen = TLPI_MIN(2, n_window),
                                      .n_race = TLPI_MIN(8, n_window),
                                      .n_round = 8,
                                      .sure = true };
    tlp_status st;

    TLP_TRY(tlpi_scorer_rebase(q->scorer, variant));
    TLP_TRY(refresh(q, variant, effort.n_seen));
    st = tlpi_search_swap_with(q, &effort, variant);
done:
    return st;
}
