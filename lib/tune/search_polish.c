/*
 * search_polish.c - swaps at the target.  The estimates of a search come from
 * one window and from earlier variants.  Here every exchange is tried again in
 * the variant, made and left out, and swaps are judged on more windows.
 */
#include "tune/search.h"

#include <string.h>

/* Try the other state of each exchange, and remember what leaving it out
 * adds. */
static tlp_status refresh(tlpi_search *q, const char *variant, int n_window)
{
    int nosync = q->n_letter - 1;
    char *other = tlpi_strndup(q->env, variant, (size_t)q->n_place);
    const tlpi_score *now, *x;
    tlp_status st;

    if (!other)
        return tlpi_fail_nomem_for("a search");
    TLP_TRY(tlpi_scorer_run(q->scorer, variant, n_window, &now));
    double cost = tlpi_score_cost(q->scorer, now, n_window);

    for (int p = 0; p < q->n_place; p++) {
        bool is_out = variant[p] == TLPI_VARIANT_NOSYNC;

        if (!is_out && !tlpi_search_may_set(q, variant, p, nosync))
            continue;
        other[p] = is_out ? TLPI_VARIANT_SERIAL : TLPI_VARIANT_NOSYNC;
        TLP_TRY(tlpi_scorer_run(q->scorer, other, n_window, &x));
        double added = tlpi_score_cost(q->scorer, x, n_window) - cost;

        *tlpi_search_known(q, variant, p, nosync) = is_out ? -added : added;
        other[p] = variant[p];
    }
done:
    tlpi_free(q->env, other);
    return st;
}

tlp_status tlpi_search_polish(tlpi_search *q, char *variant)
{
    int n_window = q->scorer->n_window;
    const tlpi_swap_effort effort = { .n_try = 24,
                                      .n_seen = TLPI_MIN(2, n_window),
                                      .n_race = TLPI_MIN(8, n_window),
                                      .n_round = 8 };
    tlp_status st;

    TLP_TRY(tlpi_scorer_rebase(q->scorer, variant));
    TLP_TRY(refresh(q, variant, effort.n_seen));
    st = tlpi_search_swap_with(q, &effort, variant);
done:
    return st;
}
