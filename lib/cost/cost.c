/*
 * cost.c - count the exchanges and bytes of a token under a plan, by a dry run
 * of its step on every rank.
 */
#include "cost/dry_run.h"

/* Add a rank's exchanges; the payload in bytes is the payload of its exchanges.
 * A sum is counted by the first of its ranks. */
static uint64_t count_trace(tlp_plan_cost *cost, const tlpi_trace *t, int rank)
{
    uint64_t bytes = 0;

    for (int i = 0; i < t->n_act; i++) {
        const tlpi_comm_event *e = &t->act[i].exchange;

        if (!tlpi_act_is_exchange(&t->act[i]))
            continue;
        if (e->kind == TLPI_COMM_SUM && rank == e->first)
            (*(e->split ? &cost->inner_allreduces : &cost->allreduces))++;
        else if (e->kind == TLPI_COMM_SEND)
            cost->sends++;
        if (e->kind != TLPI_COMM_RECV)
            bytes += e->n * sizeof(float);
    }
    return bytes;
}

static void count_run(tlp_plan_cost *cost, const tlpi_dry_run *run)
{
    for (int r = 0; r < run->n_rank; r++) {
        uint64_t sent = count_trace(cost, &run->rank[r], r);
        uint64_t weights = run->shards->rank_bytes[r];

        cost->comm_bytes = TLPI_MAX(cost->comm_bytes, sent);
        cost->sum_rank_bytes += weights;
        cost->max_rank_bytes = TLPI_MAX(cost->max_rank_bytes, weights);
    }
}

tlp_status tlp_plan_get_cost(tlp_plan_cost *out, const tlp_plan *plan,
                             int n_rank)
{
    tlp_plan_cost cost = { .n_rank = n_rank };
    tlpi_dry_run run = { 0 };
    tlp_status st = TLP_OK;

    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    TLP_TRY(tlpi_struct_check(out, sizeof cost, "tlp_plan_cost"));
    TLP_TRY(tlpi_dry_run_create(&run, plan, n_rank));
    cost.effective_depth = plan->n_stage;
    for (int i = 0; i < plan->n_stage; i++) {
        const tlpi_stage *s = &plan->stage[i];
        cost.n_layer += s->mode == TLP_MODE_MERGE ? 1 : s->n_member;
    }
    count_run(&cost, &run);
    TLP_TRY(tlpi_dry_run_exchanges(&run, &cost.exchanges));
    TLP_TRY(tlpi_struct_write(out, &cost, sizeof cost, "tlp_plan_cost"));
done:
    tlpi_dry_run_free(&run);
    return st;
}
