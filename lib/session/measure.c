/*
 * measure.c - tlp_session_measure: what the cost model is made from.
 */
#include "session/measure.h"

#include <stdio.h>
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
        return tlpi_fail_nomem();
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
    return r->b->ops->top(r->b, r->scratch.logits, 1, r->vocab1 - r->vocab0,
                          r->vocab0, 1, best);
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

tlp_status tlpi_measure_run(tlpi_rank *r, const tlpi_measure *out)
{
    tlp_link mine = { 0 }, *link = out ? out->link : &mine;
    tlpi_comm_stats stats = r->comm->stats;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_measure_link(r, link));
    TLP_TRY(tlpi_measure_work(r, link, out ? out->stage : NULL));
done:
    r->comm->stats = stats;
    return st;
}

/* ==== public ============================================================= */

static tlp_status measure(tlp_session *s, tlp_link *out, double *stage)
{
    tlp_link link = { .struct_size = sizeof link,
                      .n_rank = s->cfg.n_rank,
                      .n_thread = s->cfg.n_thread,
                      .n_batch = s->cfg.n_batch };
    tlpi_measure m = { &link, stage };
    tlpi_results res = { .measure = &m };
    tlpi_command cmd = { .op = TLPI_OP_MEASURE };
    tlp_status st = TLP_OK;

    s->n_row = 0; /* the ranks' rows are overwritten */
    snprintf(link.fingerprint, sizeof link.fingerprint, "%s",
             tlpi_model_fingerprint(s->plan->model));
    TLP_TRY(tlpi_session_command(s, &cmd, &res));
    TLP_TRY(tlpi_struct_write(out, &link, sizeof link, "tlp_link"));
done:
    return st;
}

tlp_status tlp_session_measure(tlp_session *s, tlp_link *out, double *stage)
{
    tlp_link probe = { 0 };
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    /* Before the seconds are spent. */
    TLP_TRY(tlpi_struct_write(out, &probe, sizeof probe, "tlp_link"));
    if (s->cfg.device)
        return tlpi_fail(TLP_ENOTSUP, "sessions on devices are not measured");
    if (s->pos[0] > 0)
        return tlpi_fail(TLP_ESTATE,
                         "sequence 0 holds %d positions, none expected",
                         s->pos[0]);
    st = measure(s, out, stage);
done:
    return st;
}
