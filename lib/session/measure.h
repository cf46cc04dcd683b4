/*
 * measure.h - timing a session's work and its link: tlp_session_measure.
 */
#ifndef TLPI_MEASURE_H
#define TLPI_MEASURE_H

#include "session/session.h"

/* What rank 0 gets; borrowed from the caller of tlp_session_measure. */
typedef struct tlpi_measure {
    tlp_link *link;
    double *stage; /* [n_stage] or NULL */
} tlpi_measure;

/* measure.c: every rank calls; out is NULL but on rank 0. */
tlp_status tlpi_measure_run(tlpi_rank *r, const tlpi_measure *out);

/* measure_link.c: the tables and link->command; every rank calls, link is
 * scratch but on rank 0.  Nothing is done for one rank. */
tlp_status tlpi_measure_link(tlpi_rank *r, tlp_link *link);

/* measure_work.c: the rates, with the tables already there, and stage (as in
 * tlpi_measure). */
tlp_status tlpi_measure_work(tlpi_rank *r, tlp_link *link, double *stage);

/* All ranks are here, with TLP_OK or short of memory: then TLP_ENOMEM on all.
 * TLP_ECANCELED on all if rank 0 was asked to stop. */
tlp_status tlpi_measure_meet(tlpi_rank *r, tlp_status st);

/* Tokens of the longest step that is timed: as many show what one of more
 * costs. */
static inline int tlpi_measure_tokens(const tlpi_rank *r)
{
    return TLPI_MIN(256, TLPI_MIN(r->cfg->n_batch, r->cfg->n_ctx));
}

/* A step of n_tok tokens of sequence 0 from position pos on. */
tlpi_step tlpi_measure_fill(tlpi_rank *r, int n_tok, int pos);

/* Logits of the last of n_tok tokens, and the best of them. */
tlp_status tlpi_measure_head(tlpi_rank *r, int n_tok, tlpi_candidate *best);

/* How often rank 0 finds that something which takes `seconds` goes into a
 * budget, from lo to hi times; the same on all ranks. */
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
/* The best rates of which none is negative. */
void tlpi_fit_solve(const tlpi_fit *f, double *rate);

#endif
