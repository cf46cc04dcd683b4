/*
 * bake.h - which hidden units each track of a plan gets.
 *
 * A plan that leaves out the exchange after an attention lets each track's
 * feed-forward part read a stream of its own.  A plan that leaves out the
 * exchange after a feed-forward part lets each track's next attention read the
 * units of that track alone.  The sites of a plan are the layers with either.
 * The units of a site can be dealt out to the tracks freely: the serial model
 * does not change.
 */
#ifndef TLPI_BAKE_H
#define TLPI_BAKE_H

#include "model/convert.h"
#include "tlp_tune.h"
#include "tune/teacher.h"

/* The matrices with hidden units: gate, up and down. */
enum { TLPI_N_UNIT_TENSOR = 3 };

/* Orders that a site can get: by the cost of one of the halves, or by both.  A
 * site with one left-out exchange has one of them. */
enum {
    TLPI_ORDER_OLD = 0,
    TLPI_ORDER_ATTN = TLP_NOSYNC_ATTN,
    TLPI_ORDER_FFN = TLP_NOSYNC_FFN,
    TLPI_ORDER_BOTH = TLP_NOSYNC_ATTN | TLP_NOSYNC_FFN,
    TLPI_N_ORDER
};

/* The hidden units of a layer in another order. */
typedef struct tlpi_bake_order {
    int32_t *unit; /* [n_ff] the unit that each place gets; NULL: the site has
                      no such order, or it is the order of the layer */
    tlpi_tensor twin[TLPI_N_UNIT_TENSOR]; /* in that order; data owned */
} tlpi_bake_order;

typedef struct tlpi_bake_site {
    int stage, layer;
    int half;     /* TLP_NOSYNC_* of the exchanges that are left out */
    int block;    /* units that move together */
    int *track;   /* [n_ff] the track of each place */
    double *cost; /* [n_track][n_ff] a unit's error on each track; NULL: the
                     exchange after the attention is not left out */
    tlpi_bake_order order[TLPI_N_ORDER];
    int chosen; /* the order that the file gets */
} tlpi_bake_site;

typedef struct tlpi_bake {
    const tlpi_env *env;
    tlp_plan_bake_options o;     /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlp_quantize_options file;   /* of writing */
    tlpi_session_config cfg;
    tlp_model *model;
    tlp_plan *plan;    /* owned copy */
    tlpi_windows text; /* with held-out windows */
    tlpi_teacher teacher;
    tlpi_tick tick;
    tlpi_bake_site *site; /* [n_site], in the order of layers */
    int n_site;
    int n_attn_site, n_ffn_site; /* sites with each half */
    double done, total;          /* progress, in windows run */
    double tick_size;            /* windows run between two ticks */
} tlpi_bake;

/* Means over the predictions of the held-out windows. */
typedef struct tlpi_bake_score {
    double kl, nll, top1;
} tlpi_bake_score;

/* bake_cost.c: the costs of sites with a left-out exchange after attention, on
 * the windows that are not held out. */
tlp_status tlpi_bake_measure(tlpi_bake *b);

/* bake_pairs.c: the new orders of every site, on those windows. */
tlp_status tlpi_bake_order_sites(tlpi_bake *b);

/* Plans that tlpi_bake_choose runs to choose the order of a site. */
static inline int tlpi_bake_n_trial(const tlpi_bake_site *s)
{
    return s->half == TLPI_ORDER_BOTH ? 3 : 1;
}

/* The units of a layer, and the cost of each unit on each track. */
typedef struct tlpi_deal {
    int n, block, n_track; /* units; units that move together; tracks */
    const int *track;      /* [n] of each place */
    const double *cost;    /* [n_track][n] of a unit on a track; NULL: none */
    double *pair; /* [n_track][n_lot][n_lot] of two lots that the track lacks,
                     symmetric; NULL: none */
} tlpi_deal;

/* Units of a lot: whole blocks that end where tracks end. */
int tlpi_deal_lot(const tlpi_deal *d);

/* bake_deal.c: a cheap order in which each track has as many units as the even
 * cut gives it.  Without costs of pairs, two tracks get the cheapest order.
 * Sets unit [n]. */
tlp_status tlpi_deal_out(const tlpi_env *env, const tlpi_deal *d,
                         int32_t *unit);

/* Lots of units on tracks. */
typedef struct tlpi_lots {
    int n, n_track;
    double *cost;       /* [n_track][n] of a lot on a track */
    const double *pair; /* as in tlpi_deal */
    int *owner;         /* [n] the track that has it */
} tlpi_lots;

/* bake_swap.c: swap lots between tracks while that lowers the cost.  Both kinds
 * of cost become equally large first. */
tlp_status tlpi_bake_swap(const tlpi_env *env, tlpi_lots *l);

/* bake_choose.c: the orders of sites that lower the KL divergence of the plan
 * on the held-out windows. */
tlp_status tlpi_bake_choose(tlpi_bake *b, tlpi_bake_score *before,
                            tlpi_bake_score *after);

/* bake_twin.c: a model with twins behind its layers, one for each order of each
 * site, with the site's units in that order.  It borrows from b->model and
 * lives until tlpi_bake_twins_free. */
tlp_status tlpi_bake_twins_create(tlp_model **out, tlpi_bake *b);
void tlpi_bake_twins_free(tlp_model *m); /* NULL is fine */

/* The twin of a site in that order, or the site's layer. */
int tlpi_bake_twin(const tlpi_bake *b, int site, int order);

#endif
