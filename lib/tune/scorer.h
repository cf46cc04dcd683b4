/*
 * scorer.h - how far a variant is from the serial model on calibration text.
 *
 * A scorer evaluates a variant on a window once and keeps the score.  The sums
 * of a score go by blocks of neighbouring predictions, so that two variants can
 * be compared block by block.
 *
 * A search moves from a variant to variants near it.  For one of them, the
 * base, the scorer keeps the residual stream before each stage as far as the
 * memory budget reaches.  A variant that shares its first stages with the base
 * is evaluated from the first stage that differs.  Where the tracks begin that
 * stage with streams of their own, the evaluation starts at an earlier stage,
 * the last that all tracks begin with one stream.
 *
 * The scorer also keeps the packed weights of each layer that a variant has cut
 * into tracks, so that no layer is packed again for a later variant.
 */
#ifndef TLPI_SCORER_H
#define TLPI_SCORER_H

#include "tune/teacher.h"
#include "tune/variant.h"

/* Predictions in a block. */
#define TLPI_SCORE_BLOCK 32

typedef struct tlpi_score {
    char *variant;
    int n_done;       /* windows with a score: the first n_done */
    double *kl, *nll; /* [n_window][n_block] sums, nats */
    double *top1;     /* [n_window] sums */
} tlpi_score;

typedef struct tlpi_scorer {
    const tlpi_env *env;
    tlpi_teacher *teacher;    /* borrowed, at the end of its layers */
    const tlpi_windows *text; /* the teacher's */
    int objective;            /* TLP_OBJECTIVE_* */
    int n_track;              /* of variants that leave out exchanges */
    int n_window, n_block;
    char *base;
    float **stream;         /* [n_window] of [n_layer+1][n][n_embd]: the stream
                               before each stage of the base, and at the end;
                               NULL: variants start at the embeddings.  Unused
                               where the base leaves out the exchange before */
    tlpi_kept_weights kept; /* packed weights of layers in tracks */
    bool *is_kept;          /* [n_layer] */
    size_t kept_budget;     /* bytes left for them */
    tlpi_score **score;     /* [n_score] in the order of creation */
    size_t n_score, cap_score;
    tlpi_token_score *token; /* [n_ctx] of the window that was run last */
} tlpi_scorer;

typedef struct tlpi_scorer_setup {
    tlpi_teacher *teacher;
    int objective, n_track;
    bool nosync;   /* variants leave out exchanges */
    int n_stream;  /* windows, from the first, that keep streams if they can */
    size_t budget; /* bytes for weights, streams and the teacher's logits */
} tlpi_scorer_setup;

/* Takes the teacher, which is at its embeddings, to its end; the base is the
 * serial model. */
tlp_status tlpi_scorer_create(tlpi_scorer **out,
                              const tlpi_scorer_setup *setup);
void tlpi_scorer_free(tlpi_scorer *s); /* NULL is fine */

/* Make a variant the base. */
tlp_status tlpi_scorer_rebase(tlpi_scorer *s, const char *variant);

/* Evaluate the first n_window windows, except those with a score. */
tlp_status tlpi_scorer_run(tlpi_scorer *s, const char *variant, int n_window,
                           const tlpi_score **out);

/* ==== score.c ============================================================ */

/* The score of a variant; a new one is empty. */
tlp_status tlpi_score_find(tlpi_scorer *s, const char *variant,
                           tlpi_score **out);
void tlpi_score_free(const tlpi_env *env, tlpi_score *score);

int tlpi_score_blocks(const tlpi_window *w);

/* Means over the predictions of the first n_window windows. */
double tlpi_score_kl(const tlpi_scorer *s, const tlpi_score *x, int n_window);
double tlpi_score_nll(const tlpi_scorer *s, const tlpi_score *x, int n_window);
double tlpi_score_top1(const tlpi_scorer *s, const tlpi_score *x, int n_window);

/* The objective that a search minimizes.  Its zero has no meaning; differences
 * do. */
double tlpi_score_cost(const tlpi_scorer *s, const tlpi_score *x, int n_window);

/* What each unit of size that a variant saves adds to the cost of a base. */
typedef struct tlpi_price {
    const tlpi_score *score, *base;
    int saved;
} tlpi_price;

double tlpi_price_mean(const tlpi_scorer *s, const tlpi_price *p, int n_window);

/* Is price a above price b on these windows, by more than chance explains? */
bool tlpi_price_is_worse(const tlpi_scorer *s, const tlpi_price *a,
                         const tlpi_price *b, int n_window);

#endif
