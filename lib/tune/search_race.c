/*
 * search_race.c - run candidates over more and more windows; a candidate that
 * is worse than the leader by more than chance explains drops out.
 */
#include "tune/search.h"

#include <string.h>

/* Candidates on the second window, and the least number on later windows. */
#define FIRST_PLACES 8
#define LAST_PLACES 3

tlp_status tlpi_candidate_list_add(tlpi_candidate_list *f, const char *variant,
                                   double estimate, int place, int letter)
{
    if (f->n == f->cap) {
        int cap = 2 * f->cap + 32;
        tlpi_search_candidate *grown =
            tlpi_realloc_array(f->env, f->item, (size_t)cap, sizeof(*grown));

        if (!grown)
            return tlpi_fail_nomem_for("a search");
        f->item = grown;
        f->cap = cap;
    }
    char *copy = tlpi_strndup(f->env, variant, strlen(variant));
    if (!copy)
        return tlpi_fail_nomem_for("a search");
    f->item[f->n++] =
        (tlpi_search_candidate){ copy, estimate, NULL, place, letter };
    return TLP_OK;
}

void tlpi_candidate_list_clear(tlpi_candidate_list *f)
{
    for (int i = 0; i < f->n; i++)
        tlpi_free(f->env, f->item[i].variant);
    tlpi_free(f->env, f->item);
    *f = (tlpi_candidate_list){ .env = f->env };
}

/* Sort by cost on the first n windows; equal costs keep their order. */
static void sort(const tlpi_scorer *s, const tlpi_score **x, int n,
                 int n_window)
{
    for (int i = 1; i < n; i++) {
        const tlpi_score *moved = x[i];
        double cost = tlpi_score_cost(s, moved, n_window);
        int j = i;

        for (; j > 0 && tlpi_score_cost(s, x[j - 1], n_window) > cost; j--)
            x[j] = x[j - 1];
        x[j] = moved;
    }
}

/* Drop candidates after n_window windows; gives the number that is left. */
static int drop(const tlpi_scorer *s, const tlpi_score **x, int n, int n_window)
{
    int places = TLPI_MAX(LAST_PLACES, FIRST_PLACES - 2 * (n_window - 1));
    int kept = 0;

    sort(s, x, n, n_window);
    for (int i = 0; i < n && kept < places; i++)
        if (i == 0 || !tlpi_score_is_worse(s, x[i], x[0], n_window))
            x[kept++] = x[i];
    return kept;
}

/* Different swaps can give one variant. */
static int add_once(const tlpi_score **x, int n, const tlpi_score *score)
{
    for (int i = 0; i < n; i++)
        if (x[i] == score)
            return n;
    x[n] = score;
    return n + 1;
}

tlp_status tlpi_race(tlpi_search *q, tlpi_candidate_list *f,
                     const char **winner)
{
    tlpi_scorer *s = q->scorer;
    const tlpi_score **x = tlpi_calloc(q->env, (size_t)f->n + 1, sizeof(*x));
    int n = 0;
    tlp_status st = TLP_OK;

    if (!x)
        return tlpi_fail_nomem_for("a search");
    for (int i = 0; i < f->n; i++)
        if (f->item[i].score)
            n = add_once(x, n, f->item[i].score);
    for (int w = 1; w <= q->n_race; w++) {
        for (int i = 0; i < n; i++)
            TLP_TRY(tlpi_scorer_run(s, x[i]->variant, w, &x[i]));
        n = drop(s, x, n, w);
    }
    *winner = x[0]->variant;
done:
    tlpi_free(q->env, x);
    return st;
}
