/*
 * measure.c - measure the numbers of the cost model: all ranks time their work
 * and their link.
 */
#include "cost/measure.h"

#include <stdlib.h>

#include "rank/forward.h"

/* ==== what the parts share =============================================== */

tlp_status tlpi_measure_meet(tlpi_rank *r, tlp_status st)
{
    enum { STOP = 1, NO_MEMORY = 2 };
    uint32_t vote = r->abort && atomic_load(r->abort) ? STOP : 0;
    float none = 0;

    vote |= st != TLP_OK ? NO_MEMORY : 0;
    tlp_status comm = r->comm->ops->allreduce(r->comm, &none, 1, &vote);
    if (comm != TLP_OK)
        return comm;
    if (vote & NO_MEMORY)
        return tlpi_fail_nomem_for("measurements");
    if (vote & STOP)
        return tlpi_fail(TLP_ECANCELED, "measuring was aborted");
    return TLP_OK;
}

tlp_status tlpi_measure_repeats(tlpi_rank *r, double budget, double seconds,
                                int lo, int hi, int *n)
{
    int32_t times = lo;

    if (seconds * hi <= budget)
        times = hi;
    else if (seconds * lo < budget)
        times = (int32_t)(budget / seconds);
    tlp_status st = r->comm->ops->bcast(r->comm, &times, sizeof times, false);
    /* A peer says how often, but not beyond our tables. */
    *n = TLPI_MAX(lo, TLPI_MIN(times, hi));
    return st;
}

tlpi_step tlpi_measure_fill(tlpi_rank *r, int n_tok, int pos)
{
    const tlpi_step_arrays *a = &r->scratch.step;

    for (int i = 0; i < n_tok; i++) {
        a->id[i] = (i + 1) % r->model->hp.n_vocab;
        a->seq[i] = 0;
        a->pos[i] = pos + i;
    }
    return (tlpi_step){ n_tok, a->id, a->seq, a->pos };
}

tlp_status tlpi_measure_head(tlpi_rank *r, int n_tok, tlpi_candidate *best)
{
    int32_t row = n_tok - 1;

    tlpi_forward_head(r, &row, 1, r->scratch.logits);
    return r->b->ops->top(r->b, r->scratch.logits, 1,
                          r->store.vocab1 - r->store.vocab0, r->store.vocab0, 1,
                          best);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double tlpi_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

/* ==== all ranks ========================================================== */

tlp_status tlpi_measure_run(const tlpi_measure *m)
{
    tlpi_comm_stats stats = m->rank->comm->stats;
    tlp_status st = TLP_OK;

    if (m->token_only) {
        TLP_TRY(tlpi_measure_token(m));
    } else {
        TLP_TRY(tlpi_measure_link(m));
        TLP_TRY(tlpi_measure_work(m));
    }
done:
    m->rank->comm->stats = stats;
    return st;
}
