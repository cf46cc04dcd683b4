/*
 * cost.c - what a token costs under a plan: synchronisations and bytes.
 */
#include "plan/schedule.h"

/* bytes: [n_rank] payload of each rank */
static void count(tlp_plan_cost *cost, uint64_t *bytes, const tlpi_act *act,
                  uint64_t n_embd)
{
    int n_giver = act->span.count;

    if (act->kind == TLPI_ACT_SUM) {
        cost->allreduces++;
    } else if (act->kind == TLPI_ACT_INNER) {
        cost->inner_allreduces++;
    } else if (act->kind == TLPI_ACT_PASS) {
        n_giver--; /* the last one only receives */
        cost->sends += n_giver;
    }
    for (int i = 0; i < n_giver; i++)
        bytes[act->span.first + i] +=
            n_embd * (uint64_t)act->n_vector * sizeof(float);
}

static void add_rank_bytes(tlp_plan_cost *cost, const tlpi_shards *shards)
{
    for (int r = 0; r < shards->n_rank; r++) {
        uint64_t bytes = shards->rank_bytes[r];
        cost->sum_rank_bytes += bytes;
        cost->max_rank_bytes = TLPI_MAX(cost->max_rank_bytes, bytes);
    }
}

tlp_status tlp_plan_get_cost(const tlp_plan *plan, int n_rank,
                             tlp_plan_cost *out)
{
    tlp_plan_cost cost = { 0 };
    tlpi_shards *shards = NULL;
    uint64_t *bytes = NULL;
    tlpi_act *act = NULL;
    tlp_status st;

    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    const tlp_model *m = plan->model;
    TLP_TRY(tlpi_shards_create(&shards, plan, n_rank));
    bytes = tlpi_calloc(&m->env, (size_t)n_rank, sizeof *bytes);
    act =
        tlpi_alloc_array(&m->env, (size_t)tlpi_schedule_max(plan), sizeof *act);
    if (!bytes || !act)
        TLP_TRY(tlpi_fail_nomem());
    cost.n_rank = n_rank;
    cost.effective_depth = plan->n_stage;
    for (int i = 0; i < plan->n_stage; i++) {
        const tlpi_stage *s = &plan->stage[i];
        int n = n_rank > 1 ? tlpi_schedule_stage(plan, shards, i, act) : 0;

        cost.n_layer += s->mode == TLP_MODE_MERGE ? 1 : s->n_member;
        for (int j = 0; j < n; j++)
            count(&cost, bytes, &act[j], (uint64_t)m->hp.n_embd);
    }
    for (int r = 0; r < n_rank; r++)
        cost.comm_bytes = TLPI_MAX(cost.comm_bytes, bytes[r]);
    add_rank_bytes(&cost, shards);
    TLP_TRY(tlpi_struct_write(out, &cost, sizeof cost, "tlp_plan_cost"));
done:
    tlpi_free(&m->env, act);
    tlpi_free(&m->env, bytes);
    tlpi_shards_free(shards);
    return st;
}
