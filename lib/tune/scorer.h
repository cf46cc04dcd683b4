/*
 * scorer.h - how far a variant is from the serial model on calibration text.
 *
 * The text is cut into windows, each evaluated from position 0; a window of n
 * tokens gives n - 1 predictions.  Scores are kept: a variant is evaluated on a
 * window once.  Sums go by blocks of neighbouring predictions, so that two
 * variants can be compared block by block.
 *
 * Search moves from a variant to variants near it.  The residual stream of one,
 * the base, is kept before each of its stages, and what shares its first stages
 * begins there.
 */
#ifndef TLPI_SCORER_H
#define TLPI_SCORER_H

#include "base/pool.h"
#include "tune/plan_runner.h"
#include "tune/variant.h"

/* Predictions in a block. */
#define TLPI_SCORE_BLOCK 32

typedef struct tlpi_score {
    char *variant;
    int n_done;       /* windows that are scored: the first so many */
    double *kl, *nll; /* [n_window][n_block] sums, nats */
    double *top1;     /* [n_window] sums */
} tlpi_score;

typedef struct tlpi_window {
    const int32_t *ids; /* [n], borrowed */
    int n;
    float *last;      /* [n][d] the serial model's stream at the end */
    float *reference; /* [n-1][n_vocab] its logits; NULL: made again */
    float *stream;    /* [n_layer+1][n][d] the base's stream before each stage,
                         and at the end; NULL: candidates begin at the
                         beginning */
} tlpi_window;

/* What a scorer is made of; all but the callback must stay valid. */
typedef struct tlpi_scorer_setup {
    tlp_model *model;
    const int32_t *tokens;
    size_t n;
    const tlpi_session_config *cfg; /* one rank; n_ctx: tokens of a window */
    uint64_t seed;                  /* of the windows' order */
    int objective;                  /* TLP_OBJECTIVE_* */
    size_t budget; /* bytes for what only saves time: streams, reference */
    /* After each window that was evaluated; not TLP_OK ends the call. */
    tlp_status (*tick)(void *arg);
    void *arg;
} tlpi_scorer_setup;

typedef struct tlpi_scorer {
    tlpi_scorer_setup set;
    const tlpi_env *env;
    int n_window, n_block;
    tlpi_window *window; /* [n_window] in the order of evaluation */
    tlpi_runner serial;  /* makes the reference; keeps the weights packed */
    char *base;
    tlpi_score **score; /* [n_score] in the order of their first window */
    size_t n_score, cap_score;
    uint64_t n_run; /* windows evaluated by this scorer */
    tlpi_pool *pool;
    float *rows;        /* [2][TLPI_LOGIT_CHUNK][n_vocab]: reference, variant */
    int32_t *seq, *pos; /* [n_ctx] 0; 0, 1, ... */
} tlpi_scorer;

tlp_status tlpi_scorer_create(tlpi_scorer **out, const tlpi_scorer_setup *set);
void tlpi_scorer_free(tlpi_scorer *s); /* NULL is fine */

/* Keep this variant's streams from now on. */
tlp_status tlpi_scorer_rebase(tlpi_scorer *s, const char *variant);

/* Evaluate the first n_window windows that are not yet. */
tlp_status tlpi_scorer_run(tlpi_scorer *s, const char *variant, int n_window,
                           const tlpi_score **out);

/* ==== score.c ============================================================ */

/* The variant's score, made empty if it has none. */
tlp_status tlpi_score_find(tlpi_scorer *s, const char *variant,
                           tlpi_score **out);
void tlpi_score_free(const tlpi_env *env, tlpi_score *score);

int tlpi_window_blocks(const tlpi_window *w);
int tlpi_window_predictions(const tlpi_scorer *s, int n_window);

/* Means over the predictions of the first n_window windows. */
double tlpi_score_kl(const tlpi_scorer *s, const tlpi_score *x, int n_window);
double tlpi_score_nll(const tlpi_scorer *s, const tlpi_score *x, int n_window);
double tlpi_score_top1(const tlpi_scorer *s, const tlpi_score *x, int n_window);

/* What a search makes small; differences of it count. */
double tlpi_score_cost(const tlpi_scorer *s, const tlpi_score *x, int n_window);

/* Is a's cost greater than b's, beyond doubt, going by these windows? */
bool tlpi_score_is_worse(const tlpi_scorer *s, const tlpi_score *a,
                         const tlpi_score *b, int n_window);

#endif
