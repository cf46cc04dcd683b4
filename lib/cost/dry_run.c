/*
 * dry_run.c - record the acts of ranks in a step; see dry_run.h.
 *
 * Each rank is built and run on its own.  Stages run one by one, so that every
 * act gets the number of its stage; together the calls are the calls of a whole
 * step.
 */
#include "cost/dry_run.h"

#include <math.h>

#include "rank/dry_rank.h"
#include "rank/forward.h"

typedef struct recorder {
    tlpi_trace *trace;
    tlpi_rank *rank; /* NULL while the rank is built */
    int stage;
} recorder;

static tlp_status push(recorder *r, tlpi_act act)
{
    tlpi_trace *t = r->trace;

    if (t->n_act == t->cap) {
        int cap = t->cap ? 2 * t->cap : 128;
        tlpi_act *grown =
            tlpi_realloc_array(t->env, t->act, (size_t)cap, sizeof(*grown));
        if (!grown)
            return tlpi_fail_nomem_for("a dry run");
        t->act = grown;
        t->cap = cap;
    }
    act.stage = r->stage;
    t->act[t->n_act++] = act;
    return TLP_OK;
}

/* The work since the exchange before.  What has no main operation is the
 * correction of a stage's output on a rank without feed-forward parts. */
static tlp_status push_work(recorder *r)
{
    tlpi_dry_work w = tlpi_dry_take_work(r->rank->b);
    double ffn = w.ffn_bytes + w.other_bytes;
    tlp_status st = TLP_OK;

    if (w.n_attn || w.n_square)
        TLP_TRY(push(r, (tlpi_act){ .kind = TLPI_ACT_ATTN,
                                    .bytes = w.attn_bytes,
                                    .n_head = w.n_head }));
    if (w.n_ffn || w.other_bytes > 0)
        TLP_TRY(push(r, (tlpi_act){ .kind = TLPI_ACT_FFN,
                                    .bytes = ffn,
                                    .expert_bytes = w.expert_bytes,
                                    .expert_share = w.expert_share }));
done:
    return st;
}

static tlp_status see_exchange(void *arg, const tlpi_comm_event *e)
{
    recorder *r = arg;
    tlp_status st = TLP_OK;

    if (!r->rank)
        return TLP_OK;
    TLP_TRY(push_work(r));
    TLP_TRY(push(r, (tlpi_act){ .kind = TLPI_ACT_EXCHANGE, .exchange = *e }));
done:
    return st;
}

static tlp_status run_step(recorder *r, const tlpi_dry_rank *dry)
{
    tlpi_step step = tlpi_dry_rank_step(dry);
    int32_t row = 0;
    tlp_status st = TLP_OK;

    r->rank = dry->rank;
    tlpi_forward_begin(r->rank, &step, NULL);
    for (r->stage = 0; r->stage < r->rank->program->plan->n_stage; r->stage++)
        TLP_TRY(tlpi_forward_stages(r->rank, r->rank->program, &step, r->stage,
                                    r->stage + 1));
    tlpi_forward_head(r->rank, &row, 1, r->rank->scratch.logits);
    r->trace->head_bytes = tlpi_dry_take_work(r->rank->b).other_bytes;
done:
    return st;
}

tlp_status tlpi_trace_create(tlpi_trace *out, const tlp_plan *plan,
                             const tlpi_shards *shards, int rank)
{
    tlpi_session_config cfg = {
        .n_ctx = 1, .n_seq = 1, .n_batch = 1, .n_rank = shards->n_rank
    };
    recorder r = { .trace = out };
    tlpi_dry_setup setup = { .plan = plan,
                             .shards = shards,
                             .cfg = &cfg,
                             .rank = rank,
                             .see = see_exchange,
                             .arg = &r };
    tlpi_dry_rank dry = { .rank = NULL };
    tlp_status st = TLP_OK;

    *out = (tlpi_trace){ .env = &plan->model->env };
    TLP_TRY(tlpi_dry_rank_create(&dry, &setup));
    TLP_TRY(run_step(&r, &dry));
done:
    tlpi_dry_rank_free(&dry);
    if (st != TLP_OK)
        tlpi_trace_free(out);
    return st;
}

double tlpi_act_bytes(const tlpi_act *a, double n_tok)
{
    double missed = 1 - a->expert_share; /* of the experts, by one token */

    return a->bytes + a->expert_bytes * (missed - pow(missed, n_tok));
}

void tlpi_trace_free(tlpi_trace *t)
{
    if (t->env)
        tlpi_free(t->env, t->act);
    *t = (tlpi_trace){ 0 };
}

tlp_status tlpi_dry_run_create(tlpi_dry_run *out, const tlp_plan *plan,
                               int n_rank)
{
    const tlpi_env *env = &plan->model->env;
    tlp_status st = TLP_OK;

    *out = (tlpi_dry_run){ .env = env };
    TLP_TRY(tlpi_shards_create(&out->shards, plan, n_rank));
    out->rank = tlpi_calloc(env, (size_t)n_rank, sizeof(*out->rank));
    if (!out->rank)
        TLP_TRY(tlpi_fail_nomem_for("a dry run"));
    out->n_rank = n_rank;
    for (int r = 0; r < n_rank; r++)
        TLP_TRY(tlpi_trace_create(&out->rank[r], plan, out->shards, r));
done:
    if (st != TLP_OK)
        tlpi_dry_run_free(out);
    return st;
}

void tlpi_dry_run_free(tlpi_dry_run *run)
{
    for (int r = 0; r < run->n_rank; r++)
        tlpi_trace_free(&run->rank[r]);
    if (run->env)
        tlpi_free(run->env, run->rank);
    tlpi_shards_free(run->shards);
    *run = (tlpi_dry_run){ 0 };
}
