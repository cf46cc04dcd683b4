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
                                   const tlpi_search_candidate *like)
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
    f->item[f->n] = *like;
    f->item[f->n++].variant = copy;
    return TLP_OK;
}

void tlpi_candidate_list_clear(tlpi_candidate_list *f)
{
    for (int i = 0; i < f->n; i++)
        tlpi_free(f->env, f->item[i].variant);
    tlpi_free(f->env, f->item);
    *f = (tlpi_candidate_list){ .env = f->env };
}

/* Sort by price on the first n windows; equal prices keep their order. */
static void sort(const tlpi_scorer *s, tlpi_price *x, int n, int n_window)
{
    for (int i = 1; i < n; i++) {
        tlpi_price moved = x[i];
        double price = tlpi_price_mean(s, &moved, n_window);
        int j = i;

        for (; j > 0 && tlpi_price_mean(s, &x[j - 1], n_window) > price; j--)
            x[j] = x[j - 1];
        x[j] = moved;
    }
}

/* Drop candidates after n_window windows; gives the number that is left. */
static int drop(const tlpi_scorer *s, tlpi_price *x, int n, int n_window)
{
    int places = TLPI_MAX(LAST_PLACES, FIRST_PLACES - 2 * (n_window - 1));
    int kept = 0;

    sort(s, x, n, n_window);
    for (int i = 0; i < n && kept < places; i++)
        if (i == 0 || !tlpi_price_is_worse(s, &x[i], &x[0], n_window))
            x[kept++] = x[i];
    return kept;
}

/* Different swaps can give one variant. */
static int add_once(tlpi_price *x, int n, const tlpi_price *price)
{
    for (int i = 0; i < n; i++)
        if (x[i].score == price->score)
            return n;
    x[n] = *price;
    return n + 1;
}

tlp_status tlpi_race(tlpi_search *q, const tlpi_candidate_list *f,
                     const tlpi_score *base, int n_window, const char **winner)
{
    tlpi_scorer *s = q->scorer;
    tlpi_price *x = tlpi_calloc(q->env, (size_t)f->n + 1, sizeof(*x));
    int n = 0;
    tlp_status st = TLP_OK;

    if (!x)
        return tlpi_fail_nomem_for("a search");
    for (int i = 0; i < f->n; i++) {
        tlpi_price price = { f->item[i].score, base, f->item[i].saved };

        if (price.score)
            n = add_once(x, n, &price);
    }
    for (int w = 1; w <= n_window; w++) {
        for (int i = 0; i < n; i++)
            TLP_TRY(tlpi_scorer_run(s, x[i].score->variant, w, &x[i].score));
        n = drop(s, x, n, w);
    }
    *winner = x[0].score->variant;
done:
    tlpi_free(q->env, x);
    return st;
}
