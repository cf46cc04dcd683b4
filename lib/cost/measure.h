/*
 * measure.h - timing the ranks' work and the link between them, for
 * tlp_session_measure.
 */
#ifndef TLPI_MEASURE_H
#define TLPI_MEASURE_H

#include "rank/rank.h"
#include "tlp_tune.h"

typedef struct tlpi_measure {
    tlpi_rank *rank;
    void *command; /* a command as ranks receive it, to be sent again */
    size_t command_bytes;
    tlp_link *link;  /* the result on rank 0; scratch on the other ranks */
    double *stage;   /* [n_stage] the result on rank 0, or NULL */
    bool token_only; /* time the all-reduce of one token's activations alone */
} tlpi_measure;

/* measure.c: every rank calls. */
tlp_status tlpi_measure_run(const tlpi_measure *m);

/* measure_link.c: the tables and link->command.  Nothing is done for one rank.
 */
tlp_status tlpi_measure_link(const tlpi_measure *m);

/* The time of an all-reduce of one token's activations, in link->allreduce[0].
 */
tlp_status tlpi_measure_token(const tlpi_measure *m);

/* measure_work.c: the rates and stage; the tables are there already. */
tlp_status tlpi_measure_work(const tlpi_measure *m);

/* Wait for all ranks.  TLP_ENOMEM on all ranks if st is not TLP_OK on one of
 * them, TLP_ECANCELED on all ranks if rank 0 was asked to stop. */
tlp_status tlpi_measure_meet(tlpi_rank *r, tlp_status st);

/* Tokens of the longest step that is timed; longer steps cost no less a token.
 */
static inline int tlpi_measure_tokens(const tlpi_rank *r)
{
    return TLPI_MIN(256, TLPI_MIN(r->cfg->n_batch, r->cfg->n_ctx));
}

/* A step of n_tok tokens of sequence 0 from position pos on. */
tlpi_step tlpi_measure_fill(tlpi_rank *r, int n_tok, int pos);

/* Compute the logits of the last of n_tok tokens, and the best of these. */
tlp_status tlpi_measure_head(tlpi_rank *r, int n_tok, tlpi_candidate *best);

/* How many times a call of `seconds` fits into a budget, from lo to hi times.
 * Rank 0 decides, and all ranks get its number. */
tlp_status tlpi_measure_repeats(tlpi_rank *r, double budget, double seconds,
                                int lo, int hi, int *n);

double tlpi_median(double *x, int n); /* sorts x; n > 0 */

/* ==== fitting (fit.c) ==================================================== */

#define TLPI_N_RATE 3

/*
 * Least squares: y = sum_i x[i] * rate[i], as sums over samples, which can be
 * added up.
 */
typedef struct tlpi_fit {
    double xx[TLPI_N_RATE][TLPI_N_RATE];
    double xy[TLPI_N_RATE];
} tlpi_fit;

void tlpi_fit_add(tlpi_fit *f, const double *x, double y);
void tlpi_fit_merge(tlpi_fit *f, const tlpi_fit *other);
/* The best rates that are not negative. */
void tlpi_fit_solve(const tlpi_fit *f, double *rate);

#endif
