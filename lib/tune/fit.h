/*
 * fit.h - what closed-form fits of one correction are made of.
 *
 * A fit explains what is missing, target - present, by features f, weighted by
 * w a token.  Sums over tokens ("moments") are taken once; a fit for any
 * regularisation, and its error on other tokens, come from them.
 *
 * Choices are made where moments of held-out tokens are given, else those that
 * were made before are followed.
 */
#ifndef TLPI_FIT_H
#define TLPI_FIT_H

#include "plan/adjust.h"
#include "tune/linear.h"
#include "tune/tick.h"

/* Of the features' mean squares; tried in this order. */
enum { TLPI_N_RIDGE = 5 };
extern const double tlpi_ridge[TLPI_N_RIDGE];

/* What helps less on held-out tokens is not kept: error relative to that
 * without the correction.  Missing parts below NOISE of the target's square
 * are rounding, which nothing is fitted to. */
#define TLPI_HELPS 0.999
#define TLPI_NOISE 1e-10

typedef struct tlpi_fitter {
    const tlpi_env *env;
    tlpi_pool *pool;
    tlpi_tick tick;
} tlpi_fitter;

/* rank 0: nothing helps.  1 where there is no rank. */
typedef struct tlpi_choice {
    double ridge;
    int rank;
} tlpi_choice;

/* Tokens of a window. */
typedef struct tlpi_rows {
    int n_tok, d, n_feature;
    const float *const *feature;   /* [n_feature] of [n_tok][d] */
    const float *target, *present; /* [n_tok][d] */
    const float *weight;           /* [n_tok]; NULL: 1 */
} tlpi_rows;

/* ==== fit_moments.c ==========================================================
 */

typedef struct tlpi_moments {
    const tlpi_env *env;
    int n, d;               /* n: d times the number of features */
    double *s;              /* [n][n] sum of w f f' */
    double *c;              /* [d][n] sum of w missing f' */
    double missing, target; /* sums of their squares, weighted */
} tlpi_moments;

tlp_status tlpi_moments_create(tlpi_moments *m, const tlpi_env *env, int d,
                               int n_feature);
void tlpi_moments_free(tlpi_moments *m); /* zeroes are fine */
tlp_status tlpi_moments_add(tlpi_moments *m, tlpi_pool *pool,
                            const tlpi_rows *rows);

/* ==== fit_lowrank.c ==========================================================
 */

/* down [rank][n], up [d][rank].  Moments of held-out tokens or NULL. */
tlp_status tlpi_fit_lowrank(const tlpi_fitter *f, const tlpi_moments *m,
                            const tlpi_moments *held, int max_rank,
                            tlpi_choice *choice, tlpi_fitted_lowrank *out);
void tlpi_fitted_lowrank_free(const tlpi_env *env, tlpi_fitted_lowrank *x);

/* ==== fit_gains.c ============================================================
 */

/* Numbers that the features, which are parts of what is present, are
 * multiplied by. */
enum { TLPI_MAX_GAIN = 64 };

typedef struct tlpi_gain_moments {
    int n;
    double s[TLPI_MAX_GAIN][TLPI_MAX_GAIN]; /* sum of w f_i . f_j */
    double c[TLPI_MAX_GAIN];                /* sum of w missing . f_i */
    double missing, target;
} tlpi_gain_moments;

void tlpi_gains_add(tlpi_gain_moments *m, const tlpi_rows *rows);
tlp_status tlpi_fit_gains(const tlpi_fitter *f, const tlpi_gain_moments *m,
                          const tlpi_gain_moments *held, tlpi_choice *choice,
                          float *gain);

/* ==== fit_norms.c ============================================================
 */

/* Numbers by column for the one feature, which is what is present. */
typedef struct tlpi_norm_moments {
    const tlpi_env *env;
    int d;
    double *s, *c; /* [d] */
    double missing, target;
} tlpi_norm_moments;

tlp_status tlpi_norms_create(tlpi_norm_moments *m, const tlpi_env *env, int d);
void tlpi_norms_free(tlpi_norm_moments *m);
void tlpi_norms_add(tlpi_norm_moments *m, const tlpi_rows *rows);
void tlpi_fit_norms(const tlpi_norm_moments *m, const tlpi_norm_moments *held,
                    tlpi_choice *choice, float *scale);

#endif
