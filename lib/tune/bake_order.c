/*
 * bake_order.c - deal the hidden units of a layer out to tracks.
 *
 * For two tracks the least sum of costs is found by sorting: the units with the
 * largest difference of costs go to the track that needs them.  More tracks
 * take turns in pairs: two tracks deal the units that they hold out between
 * them, until no pair gains.  The sum falls in every turn, so this ends.
 */
#include <math.h>
#include <stdlib.h>

#include "tune/bake.h"

/* A block of units, as two tracks see it. */
typedef struct unit_lot {
    double gain; /* cost on the second track less cost on the first */
    int block;
} unit_lot;

typedef struct dealer {
    int n; /* blocks */
    int n_track;
    double *cost;  /* [n_track][n] */
    int *owner;    /* [n] */
    unit_lot *lot; /* [n] of one pair */
} dealer;

/* Largest gain first. */
static int compare_lots(const void *x, const void *y)
{
    const unit_lot *a = x, *b = y;

    if (a->gain != b->gain)
        return a->gain > b->gain ? -1 : 1;
    return a->block - b->block;
}

/* Deal the blocks of tracks s and t out between them.  Returns whether the sum
 * of costs fell; a fall within rounding does not count. */
static bool deal_pair(dealer *d, int s, int t)
{
    const double *cost_s = d->cost + (size_t)s * (size_t)d->n;
    const double *cost_t = d->cost + (size_t)t * (size_t)d->n;
    double now = 0, then = 0, scale = 0;
    int n = 0, n_s = 0;

    for (int i = 0; i < d->n; i++) {
        double gain = cost_t[i] - cost_s[i];

        if (d->owner[i] != s && d->owner[i] != t)
            continue;
        d->lot[n++] = (unit_lot){ gain, i };
        n_s += d->owner[i] == s;
        now += d->owner[i] == s ? gain : 0;
        scale += fabs(gain);
    }
    qsort(d->lot, (size_t)n, sizeof *d->lot, compare_lots);
    for (int i = 0; i < n_s; i++)
        then += d->lot[i].gain;
    if (!(then - now > 1e-12 * scale))
        return false;
    for (int i = 0; i < n; i++)
        d->owner[d->lot[i].block] = i < n_s ? s : t;
    return true;
}

static void deal(dealer *d)
{
    for (bool fell = true; fell;) {
        fell = false;
        for (int s = 0; s < d->n_track; s++)
            for (int t = s + 1; t < d->n_track; t++)
                fell |= deal_pair(d, s, t);
    }
}

/* The places of each track get its blocks, in the order that the layer has. */
static void place_blocks(const dealer *d, int block, const int *track,
                         int32_t *unit)
{
    for (int t = 0; t < d->n_track; t++) {
        int place = 0;

        for (int i = 0; i < d->n; i++) {
            if (d->owner[i] != t)
                continue;
            while (track[place * block] != t)
                place++;
            for (int j = 0; j < block; j++)
                unit[place * block + j] = i * block + j;
            place++;
        }
    }
}

tlp_status tlpi_bake_order(const tlpi_env *env, int n, int block, int n_track,
                           const int *track, const double *cost, int32_t *unit)
{
    dealer d = { .n = n / block, .n_track = n_track };
    tlp_status st = TLP_OK;

    d.cost = tlpi_calloc(env, (size_t)n_track * (size_t)d.n, sizeof *d.cost);
    d.owner = tlpi_alloc_array(env, (size_t)d.n, sizeof *d.owner);
    d.lot = tlpi_alloc_array(env, (size_t)d.n, sizeof *d.lot);
    if (!d.cost || !d.owner || !d.lot) {
        st = tlpi_fail_nomem_for("an order of hidden units");
        goto done;
    }
    for (int i = 0; i < d.n; i++)
        d.owner[i] = track[i * block];
    for (int t = 0; t < n_track; t++)
        for (int i = 0; i < n; i++)
            d.cost[t * d.n + i / block] +=
                cost[(size_t)t * (size_t)n + (size_t)i];
    deal(&d);
    place_blocks(&d, block, track, unit);
done:
    tlpi_free(env, d.lot);
    tlpi_free(env, d.owner);
    tlpi_free(env, d.cost);
    return st;
}
