/*
 * bake_swap.c - exchange hidden units between tracks, two at a time, where the
 * cost depends on pairs of units.
 *
 * The best swap of two tracks is taken among the CANDIDATES units of each that
 * cost least to give away, until no swap lowers the cost.  The cost falls with
 * every swap, so this ends.
 */
#include <stdlib.h>

#include "tune/bake.h"

enum { CANDIDATES = 64 };

/* A fall within rounding does not count. */
#define LEAST_FALL 1e-9

/* A lot that its track gives to another. */
typedef struct gift {
    double cost;
    int lot;
} gift;

typedef struct swapper {
    tlpi_lots *lots;
    double *lack;  /* [n_track][n] sums of a row of the track's pair costs over
                      the lots that the track lacks */
    gift *from[2]; /* [n] of the two tracks */
    int n_from[2];
    double least; /* a fall that counts */
} swapper;

static const double *row_of(const tlpi_lots *l, int track, int lot)
{
    size_t n = (size_t)l->n;

    return l->pair + ((size_t)track * n + (size_t)lot) * n;
}

static double *lack_of(const swapper *w, int track)
{
    return w->lack + (size_t)track * (size_t)w->lots->n;
}

/* Fill `lack`; returns the cost of all pairs. */
static double measure(const swapper *w)
{
    const tlpi_lots *l = w->lots;
    double sum = 0;

    for (int t = 0; t < l->n_track; t++)
        for (int i = 0; i < l->n; i++) {
            const double *row = row_of(l, t, i);
            double lack = 0;

            for (int j = 0; j < l->n; j++)
                lack += l->owner[j] == t ? 0 : row[j];
            lack_of(w, t)[i] = lack;
            sum += l->owner[i] == t ? 0 : lack;
        }
    return sum;
}

/* Smallest cost first. */
static int compare_gifts(const void *x, const void *y)
{
    const gift *a = x, *b = y;

    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    return a->lot - b->lot;
}

/* What each lot of track s costs if track t gets it: s lacks it, t no longer
 * does. */
static void list_gifts(swapper *w, int s, int t, int side)
{
    const tlpi_lots *l = w->lots;
    const double *cost_s = l->cost + (size_t)s * (size_t)l->n;
    const double *cost_t = l->cost + (size_t)t * (size_t)l->n;
    int n = 0;

    for (int i = 0; i < l->n; i++) {
        double own = row_of(l, s, i)[i] + row_of(l, t, i)[i];

        if (l->owner[i] != s)
            continue;
        w->from[side][n++] =
            (gift){ cost_t[i] - cost_s[i] + own +
                        2 * (lack_of(w, s)[i] - lack_of(w, t)[i]),
                    i };
    }
    qsort(w->from[side], (size_t)n, sizeof(gift), compare_gifts);
    w->n_from[side] = TLPI_MIN(n, CANDIDATES);
}

static void swap(swapper *w, int s, int i, int t, int j)
{
    const tlpi_lots *l = w->lots;

    for (int k = 0; k < l->n; k++) {
        lack_of(w, s)[k] += row_of(l, s, i)[k] - row_of(l, s, j)[k];
        lack_of(w, t)[k] += row_of(l, t, j)[k] - row_of(l, t, i)[k];
    }
    w->lots->owner[i] = t;
    w->lots->owner[j] = s;
}

/* Take the best swap of tracks s and t, if one lowers the cost. */
static bool swap_best(swapper *w, int s, int t)
{
    double best = -w->least;
    int give = -1, take = -1;

    list_gifts(w, s, t, 0);
    list_gifts(w, t, s, 1);
    for (int a = 0; a < w->n_from[0]; a++)
        for (int b = 0; b < w->n_from[1]; b++) {
            const gift *x = &w->from[0][a], *y = &w->from[1][b];
            double both = row_of(w->lots, s, x->lot)[y->lot] +
                          row_of(w->lots, t, x->lot)[y->lot];
            double cost = x->cost + y->cost - 2 * both;

            if (cost < best) {
                best = cost;
                give = x->lot;
                take = y->lot;
            }
        }
    if (give < 0)
        return false;
    swap(w, s, give, t, take);
    return true;
}

static void swap_all(swapper *w)
{
    for (bool fell = true; fell;) {
        fell = false;
        for (int s = 0; s < w->lots->n_track; s++)
            for (int t = s + 1; t < w->lots->n_track; t++)
                while (swap_best(w, s, t))
                    fell = true;
    }
}

/* Make both kinds of cost equally large in the order that the layer has. */
static void balance(const tlpi_lots *l, double pairs)
{
    double sum = 0;

    for (int i = 0; i < l->n; i++)
        sum += l->cost[(size_t)l->owner[i] * (size_t)l->n + (size_t)i];
    if (!(sum > 0))
        return;
    for (int i = 0; i < l->n_track * l->n; i++)
        l->cost[i] *= pairs / sum;
}

tlp_status tlpi_bake_swap(const tlpi_env *env, tlpi_lots *l)
{
    swapper w = { .lots = l };
    size_t n = (size_t)l->n;
    tlp_status st = TLP_OK;

    w.lack = tlpi_alloc_array(env, n * (size_t)l->n_track, sizeof *w.lack);
    w.from[0] = tlpi_alloc_array(env, n, sizeof(gift));
    w.from[1] = tlpi_alloc_array(env, n, sizeof(gift));
    if (!w.lack || !w.from[0] || !w.from[1]) {
        st = tlpi_fail_nomem_for("an order of hidden units");
        goto done;
    }
    double pairs = measure(&w);
    balance(l, pairs);
    w.least = LEAST_FALL * pairs;
    if (pairs > 0)
        swap_all(&w);
done:
    tlpi_free(env, w.from[1]);
    tlpi_free(env, w.from[0]);
    tlpi_free(env, w.lack);
    return st;
}
