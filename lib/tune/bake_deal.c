/*
 * bake_deal.c - deal the hidden units of a layer out to tracks, lot by lot.
 *
 * For two tracks the least sum of costs is found by sorting: the units with the
 * largest difference of costs go to the track that needs them.  More tracks
 * take turns in pairs: two tracks deal the units that they hold out between
 * them, until no pair gains.  The sum falls in every turn, so this ends.  Costs
 * of pairs of units come last (bake_swap.c).
 */
#include <math.h>
#include <stdlib.h>

#include "tune/bake.h"

/* The most lots for which costs of pairs are kept. */
enum { MOST_LOTS = 4096 };

/* A lot, as two tracks see it. */
typedef struct unit_lot {
    double gain; /* cost on the second track less cost on the first */
    int lot;
} unit_lot;

typedef struct dealer {
    tlpi_lots lots;
    unit_lot *lot; /* [n] of one pair */
} dealer;

/* Largest gain first. */
static int compare_lots(const void *x, const void *y)
{
    const unit_lot *a = x, *b = y;

    if (a->gain != b->gain)
        return a->gain > b->gain ? -1 : 1;
    return a->lot - b->lot;
}

/* Deal the lots of tracks s and t out between them.  Returns whether the sum of
 * costs fell; a fall within rounding does not count. */
static bool deal_pair(dealer *d, int s, int t)
{
    const tlpi_lots *l = &d->lots;
    const double *cost_s = l->cost + (size_t)s * (size_t)l->n;
    const double *cost_t = l->cost + (size_t)t * (size_t)l->n;
    double now = 0, then = 0, scale = 0;
    int n = 0, n_s = 0;

    for (int i = 0; i < l->n; i++) {
        double gain = cost_t[i] - cost_s[i];

        if (l->owner[i] != s && l->owner[i] != t)
            continue;
        d->lot[n++] = (unit_lot){ gain, i };
        n_s += l->owner[i] == s;
        now += l->owner[i] == s ? gain : 0;
        scale += fabs(gain);
    }
    qsort(d->lot, (size_t)n, sizeof *d->lot, compare_lots);
    for (int i = 0; i < n_s; i++)
        then += d->lot[i].gain;
    if (!(then - now > 1e-12 * scale))
        return false;
    for (int i = 0; i < n; i++)
        l->owner[d->lot[i].lot] = i < n_s ? s : t;
    return true;
}

static void deal(dealer *d)
{
    for (bool fell = true; fell;) {
        fell = false;
        for (int s = 0; s < d->lots.n_track; s++)
            for (int t = s + 1; t < d->lots.n_track; t++)
                fell |= deal_pair(d, s, t);
    }
}

/* The places of each track get its lots, in the order that the layer has. */
static void place_lots(const tlpi_lots *l, int size, const int *track,
                       int32_t *unit)
{
    for (int t = 0; t < l->n_track; t++) {
        int place = 0;

        for (int i = 0; i < l->n; i++) {
            if (l->owner[i] != t)
                continue;
            while (track[place * size] != t)
                place++;
            for (int j = 0; j < size; j++)
                unit[place * size + j] = i * size + j;
            place++;
        }
    }
}

/* Do lots of that size end where tracks end? */
static bool fits(const tlpi_deal *d, int size)
{
    if (d->n % size)
        return false;
    for (int i = 0; i < d->n; i++)
        if (d->track[i] != d->track[i - i % size])
            return false;
    return true;
}

int tlpi_deal_lot(const tlpi_deal *d)
{
    int size = d->block;

    while (size <= d->n && (d->n / size > MOST_LOTS || !fits(d, size)))
        size += d->block;
    return size <= d->n ? size : d->block;
}

static tlp_status alloc_dealer(const tlpi_env *env, dealer *d)
{
    size_t n = (size_t)d->lots.n;

    d->lots.cost =
        tlpi_calloc(env, (size_t)d->lots.n_track * n, sizeof *d->lots.cost);
    d->lots.owner = tlpi_alloc_array(env, n, sizeof *d->lots.owner);
    d->lot = tlpi_alloc_array(env, n, sizeof *d->lot);
    return d->lots.cost && d->lots.owner && d->lot
               ? TLP_OK
               : tlpi_fail_nomem_for("an order of hidden units");
}

tlp_status tlpi_deal_out(const tlpi_env *env, const tlpi_deal *by,
                         int32_t *unit)
{
    int size = by->pair ? tlpi_deal_lot(by) : by->block;
    dealer d = {
        .lots = { .n = by->n / size, .n_track = by->n_track, .pair = by->pair }
    };
    size_t n = (size_t)by->n;
    tlp_status st;

    TLP_TRY(alloc_dealer(env, &d));
    for (int i = 0; i < d.lots.n; i++)
        d.lots.owner[i] = by->track[i * size];
    for (int t = 0; t < by->n_track && by->cost; t++)
        for (int i = 0; i < by->n; i++)
            d.lots.cost[t * d.lots.n + i / size] +=
                by->cost[(size_t)t * n + (size_t)i];
    if (by->pair)
        TLP_TRY(tlpi_bake_swap(env, &d.lots));
    else
        deal(&d);
    place_lots(&d.lots, size, by->track, unit);
done:
    tlpi_free(env, d.lot);
    tlpi_free(env, d.lots.owner);
    tlpi_free(env, d.lots.cost);
    return st;
}
