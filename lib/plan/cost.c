/*
 * cost.c - what a token costs under a plan: synchronisations and bytes.
 *
 * The counts are those that forward.c makes: with more than one rank a serial,
 * lp or merged stage ends its attention and its FFN with an all-reduce each; a
 * par stage has one at its end, and one inside each member that several ranks
 * share; an asym stage has one at its end, and hands the attention sum on from
 * rank to rank, or, when ranks share a member, all-reduces the members' sums
 * side by side.
 */
#include "plan/shard.h"

typedef struct tally {
    tlp_plan_cost *cost;
    uint64_t *bytes; /* [n_rank] payload */
    int n_rank;
} tally;

static void add_allreduce(tally *t, uint64_t n_float)
{
    t->cost->allreduces++;
    for (int r = 0; r < t->n_rank; r++)
        t->bytes[r] += n_float * sizeof(float);
}

static void add_inner(tally *t, tlpi_span span, uint64_t n_float)
{
    t->cost->inner_allreduces++;
    for (int r = span.first; r < span.first + span.count; r++)
        t->bytes[r] += n_float * sizeof(float);
}

static void add_asym(tally *t, const tlpi_span *span, int n_member,
                     uint64_t n_embd)
{
    bool shared = false;

    for (int i = 0; i < n_member; i++)
        shared = shared || span[i].count > 1;
    if (shared) {
        add_allreduce(t, n_embd * (uint64_t)n_member);
        return;
    }
    for (int r = span[0].first; r < span[n_member - 1].first; r++) {
        t->cost->sends++;
        t->bytes[r] += n_embd * sizeof(float);
    }
}

static void add_stage(tally *t, const tlpi_stage *stage, const tlpi_span *span,
                      uint64_t n_embd)
{
    add_allreduce(t, n_embd);
    if (stage->mode == TLP_MODE_ASYM) {
        add_asym(t, span, stage->n_member, n_embd);
    } else if (stage->mode == TLP_MODE_PAR) {
        for (int i = 0; i < stage->n_member; i++) {
            if (span[i].count > 1)
                add_inner(t, span[i], n_embd);
        }
    } else {
        add_allreduce(t, n_embd);
    }
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
    tally t = { &cost, NULL, n_rank };
    tlp_status st;

    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    const tlp_model *m = plan->model;
    TLP_TRY(tlpi_shards_create(&shards, plan, n_rank));
    t.bytes = tlpi_calloc(&m->env, (size_t)n_rank, sizeof *t.bytes);
    if (!t.bytes)
        TLP_TRY(tlpi_fail_nomem());
    cost.n_rank = n_rank;
    cost.effective_depth = plan->n_stage;
    for (int i = 0; i < plan->n_stage; i++) {
        const tlpi_stage *s = &plan->stage[i];
        cost.n_layer += s->mode == TLP_MODE_MERGE ? 1 : s->n_member;
        if (n_rank > 1)
            add_stage(&t, s, shards->span[i], (uint64_t)m->hp.n_embd);
    }
    for (int r = 0; r < n_rank; r++)
        cost.comm_bytes = TLPI_MAX(cost.comm_bytes, t.bytes[r]);
    add_rank_bytes(&cost, shards);
    TLP_TRY(tlpi_struct_write(out, &cost, sizeof cost, "tlp_plan_cost"));
done:
    tlpi_shards_free(shards);
    if (t.bytes)
        tlpi_free(&m->env, t.bytes);
    return st;
}
