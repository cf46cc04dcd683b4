/*
 * place.h - what a plan pays for one change at one place, and which measures
 * foretell it: for each exchange that can be left out and each pair of
 * neighbouring layers, errors beside the serial model's values and the KL
 * divergence.
 *
 * Half-layer k is the attention (k even) or the feed-forward part (k odd) of
 * layer k / 2.  The exchange of place k (tune/variant.h) comes after it; f is
 * what half-layer k adds to the stream x, f_t the part of track t, g the
 * half-layer k + 1.  A pair joins the layers i and i + 1; f is what layer i
 * adds to the stream x, g the layer i + 1.  Where the model normalises outputs,
 * f is the norm of the sum over the tracks, and f_t the norm of a track's own
 * part, divided by the root of the number of tracks.
 *
 * The first token of a window is left out of all measures but the KL
 * divergence. Attention of later tokens rests on it, its stream is larger than
 * theirs by orders of magnitude, and noise on this one token can cost several
 * times what noise on all other tokens costs.
 */
#ifndef TLPI_PLACE_H
#define TLPI_PLACE_H

#include "tlp_tune.h"
#include "tune/scorer.h"

/* Size of the noise that measures how sensitive a stream is, over the size of
 * the stream. */
#define TLPI_PLACE_NOISE 0.05

/* Sums over tokens, except the first of each window, of squares of ratios. */
typedef struct tlpi_place_sums {
    double step; /* |f|² / |x + f|² */
    double own;  /* mean |f_t|² / |f|² over the tracks, or over both layers */
    double change; /* |g(x + f) - g(x)|² / |g(x + f)|² */
    double error;  /* |plan's stream - serial model's|² / |serial model's|²,
                      behind g */
} tlpi_place_sums;

typedef struct tlpi_place_study {
    const tlpi_env *env;
    tlp_model *model;
    tlp_study_options o;         /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlpi_session_config cfg;
    tlpi_windows text;
    tlpi_teacher teacher;
    tlpi_scorer *scorer;
    tlpi_runner tracks; /* a plan that makes no exchange but the last */
    tlpi_runner serial;
    char *variant;             /* of the place that is shown */
    tlpi_place_sums *exchange; /* [2 n_layer - 1] by place */
    tlpi_place_sums *pair;     /* [n_layer - 1] by the first layer */
    double *noise; /* [2 n_layer] by half-layer: sums over predictions of the
                      KL divergence with noise on the stream behind it */
    float *post;   /* [2 n_layer][n_embd] norms of the half-layers' outputs, or
                      NULL */
    double done, total; /* progress, in windows run */
} tlpi_place_study;

/* place_measure.c: fill the sums, with all windows. */
tlp_status tlpi_place_measure(tlpi_place_study *s);

/*
 * place_noise.c: add to s->noise[half].  x [w->n][n_embd]: the stream behind
 * the half-layer, which gets noise; g: what the half-layer added.  x is lost,
 * and so is parts [n_track + 1][w->n][n_embd].
 */
tlp_status tlpi_place_disturb(tlpi_place_study *s, int window, int half,
                              float *x, const float *g, float *parts);

/* What a half-layer adds to one stream: parts [n_track + 1][n_tok][n_embd], f_t
 * of the tracks, and f. */
tlp_status tlpi_place_half(const tlpi_place_study *s, int half,
                           const tlpi_step *step, const float *x, float *parts);

#endif
