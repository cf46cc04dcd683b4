/*
 * fit.h - fits of one correction in closed form.
 *
 * A fit explains the missing part, target - present, by features f, with a
 * weight w for each token.  Sums over tokens ("moments") are computed once. The
 * moments of one set of tokens give a fit for any regularisation; the moments
 * of another set give the error of that fit there.
 *
 * A fit that gets moments of held-out tokens makes a choice.  A fit without
 * them follows the choice that it is given.
 */
#ifndef TLPI_FIT_H
#define TLPI_FIT_H

#include "plan/adjust.h"
#include "tune/linear.h"
#include "tune/tick.h"

/* Ridges, relative to the mean squares of the features, in the order of their
 * trials. */
enum { TLPI_N_RIDGE = 5 };
extern const double tlpi_ridge[TLPI_N_RIDGE];

/* A correction is kept if it lowers the error on held-out tokens to HELPS times
 * the error without it, or less.  A missing part below NOISE times the square
 * of the target is rounding, and gets no fit. */
#define TLPI_HELPS 0.999
#define TLPI_NOISE 1e-10

typedef struct tlpi_fitter {
    const tlpi_env *env;
    tlpi_pool *pool;
    tlpi_tick tick;
} tlpi_fitter;

/* rank 0: no correction.  A kind of fit without a rank has rank 1. */
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

/* ==== fit_moments.c ====================================================== */

typedef struct tlpi_moments {
    const tlpi_env *env;
    int n, d;               /* n: d times the number of features */
    double *s;              /* [n][n] sum of w f f' */
    double *c;              /* [d][n] sum of w missing f' */
    double missing, target; /* weighted sums of squares */
} tlpi_moments;

tlp_status tlpi_moments_create(tlpi_moments *m, const tlpi_env *env, int d,
                               int n_feature);
void tlpi_moments_free(tlpi_moments *m); /* zeroes are fine */
tlp_status tlpi_moments_add(tlpi_moments *m, tlpi_pool *pool,
                            const tlpi_rows *rows);

/* ==== fit_lowrank.c ====================================================== */

/* down [rank][n], up [d][rank].  held: moments of held-out tokens, or NULL. */
tlp_status tlpi_fit_lowrank(const tlpi_fitter *f, const tlpi_moments *m,
                            const tlpi_moments *held, int max_rank,
                            tlpi_choice *choice, tlpi_fitted_lowrank *out);
void tlpi_fitted_lowrank_free(const tlpi_env *env, tlpi_fitted_lowrank *x);

/* ==== fit_gains.c ======================================================== */

/* Factors of the features, which are parts of `present`. */
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

/* ==== fit_columns.c ====================================================== */

/* Factors of the columns of each feature; features are parts of `present`. */
typedef struct tlpi_column_moments {
    const tlpi_env *env;
    int d, n;
    double *s; /* [d][n][n] sum of w f_i f_j of a column */
    double *c; /* [d][n] sum of w missing f_i */
    double missing, target;
} tlpi_column_moments;

tlp_status tlpi_columns_create(tlpi_column_moments *m, const tlpi_env *env,
                               int d, int n);
void tlpi_columns_free(tlpi_column_moments *m); /* zeroes are fine */
void tlpi_columns_add(tlpi_column_moments *m, const tlpi_rows *rows);
/* factor [n][d] */
tlp_status tlpi_fit_columns(const tlpi_fitter *f, const tlpi_column_moments *m,
                            const tlpi_column_moments *held,
                            tlpi_choice *choice, float *factor);

/* ==== fit_norms.c ======================================================== */

/* Factors of the columns of the one feature, which is `present`. */
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
