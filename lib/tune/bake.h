/*
 * bake.h - which hidden units each track of a plan gets.
 *
 * A plan that leaves out the exchange after an attention lets each track's
 * feed-forward part read a stream of its own.  The sites of a plan are the
 * layers with such a feed-forward part.  The units of a site can be dealt out
 * to the tracks freely: the serial model does not change.
 */
#ifndef TLPI_BAKE_H
#define TLPI_BAKE_H

#include "model/convert.h"
#include "tlp_tune.h"
#include "tune/teacher.h"

/* The matrices with hidden units: gate, up and down. */
enum { TLPI_N_UNIT_TENSOR = 3 };

typedef struct tlpi_bake_site {
    int stage, layer;
    int block;     /* units that move together */
    int *track;    /* [n_ff] the track of each place */
    double *cost;  /* [n_track][n_ff] a unit's error on each track */
    int32_t *unit; /* [n_ff] the unit that each place gets */
    bool moves;    /* `unit` is not the order that the layer has */
    bool chosen;   /* the file gets the order `unit` */
    tlpi_tensor twin[TLPI_N_UNIT_TENSOR]; /* in that order; data owned */
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
    double done, total; /* progress, in windows run */
} tlpi_bake;

/* Means over the predictions of the held-out windows. */
typedef struct tlpi_bake_score {
    double kl, nll, top1;
} tlpi_bake_score;

/* bake_cost.c: the costs of all sites, on the windows that are not held out. */
tlp_status tlpi_bake_measure(tlpi_bake *b);

/* bake_order.c: the cheapest order of a site's units in which each track has as
 * many as the even cut gives it.  n: units; block: units that move together;
 * track [n]: of each place; cost [n_track][n].  Sets unit [n]. */
tlp_status tlpi_bake_order(const tlpi_env *env, int n, int block, int n_track,
                           const int *track, const double *cost, int32_t *unit);

/* bake_choose.c: the sites whose new order lowers the KL divergence of the plan
 * on the held-out windows. */
tlp_status tlpi_bake_choose(tlpi_bake *b, tlpi_bake_score *before,
                            tlpi_bake_score *after);

/* bake_twin.c: a model with a twin behind its layers for each site, with the
 * site's units in the new order.  It borrows from b->model and lives until
 * tlpi_bake_twins_free. */
tlp_status tlpi_bake_twins_create(tlp_model **out, tlpi_bake *b);
void tlpi_bake_twins_free(tlp_model *m); /* NULL is fine */

#endif
