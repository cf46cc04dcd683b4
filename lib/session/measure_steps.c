/*
 * measure_steps.c - what whole steps take beyond the sum of their parts.
 *
 * Ranks that were timed one piece at a time are never as level in a real step:
 * each has its own interrupts, cache misses, neighbours on the machine, and
 * every all-reduce waits for whoever was unlucky.  What is left over of a real
 * step is shared out over its all-reduces.
 */
#include "session/measure.h"

#include <math.h>

enum { BLOCK = 4, MAX_BLOCKS = 32, MAX_RANK = 64 };

#define BUDGET 1.0 /* seconds for a kind of step */

/* All that happens between a command and the best candidates of all ranks. */
static tlp_status run_step(tlpi_rank *r, int n_tok, int pos)
{
    tlpi_command cmd = { .op = TLPI_OP_MEASURE };
    tlpi_candidate mine, all[MAX_RANK];
    const _Atomic int *abort = r->abort;
    tlp_status st = TLP_OK;

    TLP_TRY(r->comm->ops->bcast(r->comm, &cmd, sizeof cmd, true));
    tlpi_step step = tlpi_measure_fill(r, n_tok, pos);
    r->abort = NULL; /* looked at between blocks */
    st = tlpi_forward(r, &step);
    r->abort = abort;
    if (st != TLP_OK)
        return st;
    mine = tlpi_measure_head(r, n_tok);
    for (int i = 0; i < r->cfg->n_rank; i++)
        r->gather_bytes[i] = sizeof mine;
    st = r->comm->ops->gather(r->comm, &mine, r->gather_bytes,
                              r->rank == 0 ? all : NULL);
done:
    return st;
}

static tlp_status run_block(tlpi_rank *r, int n_tok, int pos, double *seconds)
{
    int n = n_tok == 1 ? BLOCK : 1;
    double start = tlpi_now();
    tlp_status st = TLP_OK;

    for (int i = 0; i < n && st == TLP_OK; i++)
        st = run_step(r, n_tok, pos);
    *seconds = (tlpi_now() - start) / n;
    return st;
}

static tlp_status time_steps(tlpi_rank *r, int n_tok, int pos, double *median)
{
    double seconds[MAX_BLOCKS];
    int n_block = 1;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_block; i++) {
        TLP_TRY(tlpi_measure_meet(r, TLP_OK));
        TLP_TRY(run_block(r, n_tok, pos, &seconds[i]));
        if (i == 0)
            TLP_TRY(tlpi_measure_repeats(
                r, BUDGET, n_tok == 1 ? BLOCK * seconds[0] : seconds[0], 2,
                MAX_BLOCKS, &n_block));
    }
    *median = tlpi_median(seconds, n_block);
done:
    return st;
}

/* Seconds per token and all-reduce that the model lacks. */
static tlp_status find_stall(const tlpi_rank *r, const tlp_link *link,
                             int n_tok, int pos, double seconds, double *stall)
{
    int n_rank = r->cfg->n_rank;
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    tlp_prediction p = { .struct_size = sizeof p };
    tlp_status st = TLP_OK;

    TLP_TRY(tlp_plan_get_cost(r->plan, n_rank, &cost));
    TLP_TRY(tlp_plan_predict(r->plan, link, n_rank, n_tok, pos, &p));
    int n = cost.allreduces + cost.inner_allreduces;
    *stall = fmax(0, seconds - p.seconds) / n_tok / n;
done:
    return st;
}

tlp_status tlpi_measure_steps(tlpi_rank *r, tlp_link *link)
{
    int n_tok = tlpi_measure_tokens(r);
    double one = 0, many = 0;
    tlp_status st = TLP_OK;

    if (r->comm->size == 1)
        return TLP_OK;
    TLP_TRY(time_steps(r, n_tok, 0, &many));
    TLP_TRY(time_steps(r, 1, n_tok - 1, &one));
    if (r->rank > 0)
        return TLP_OK;
    TLP_TRY(find_stall(r, link, n_tok, 0, many, &link->prefill.stall));
    TLP_TRY(find_stall(r, link, 1, n_tok - 1, one, &link->decode.stall));
done:
    return st;
}
