/*
 * plan_runner.c - a rank without a session around it.
 */
#include "tune/plan_runner.h"

#include "rank/forward.h"
#include "group/config.h"

tlp_status tlpi_runner_config(tlpi_session_config *out, const tlp_model *model,
                              const tlp_session_options *o)
{
    tlpi_process_group group = { .n_rank = 1, .n_local = 1 };
    const tlp_session_options window = { .n_ctx = o->n_ctx,
                                         .n_batch = o->n_ctx,
                                         .n_thread = o->n_thread,
                                         .n_thread_prefill =
                                             o->n_thread_prefill,
                                         .spin_us = o->spin_us,
                                         .pool = o->pool,
                                         .compute = o->compute,
                                         .kv_type = o->kv_type,
                                         .isa = o->isa };
    tlp_status st;

    TLP_TRY(tlpi_config_check(&window));
    tlpi_config_init(out, &window, model, &group);
done:
    return st;
}

tlp_status tlpi_runner_create(tlpi_runner *out, tlp_plan *plan,
                              const tlpi_session_config *cfg)
{
    tlpi_runner r = { .plan = tlpi_plan_retain(plan) };
    tlpi_rank_setup setup = { .plan = plan, .cfg = cfg };
    tlp_status st;

    *out = (tlpi_runner){ 0 };
    TLP_TRY(tlpi_shards_create(&r.shards, plan, 1));
    TLP_TRY(tlpi_comm_self_create(&setup.comm, &plan->model->env));
    setup.shards = r.shards;
    TLP_TRY(tlpi_rank_create(&r.rank, &setup, NULL));
    *out = r;
    r = (tlpi_runner){ 0 };
done:
    tlpi_runner_free(&r);
    return st;
}

void tlpi_runner_free(tlpi_runner *r)
{
    tlpi_rank_free(r->rank);
    tlpi_shards_free(r->shards);
    tlp_plan_free(r->plan);
    *r = (tlpi_runner){ 0 };
}

tlp_status tlpi_runner_pool(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_session_config *cfg, int n_thread)
{
    const tlpi_pool_options threads = { .n_thread = n_thread,
                                        .n_machine = cfg->n_machine,
                                        .n_core = cfg->n_core,
                                        .spin_us = cfg->spin_us,
                                        .host = cfg->host };

    return tlpi_pool_create(out, env, &threads);
}

void tlpi_runner_rows(const tlpi_runner *r, int at, int n, float *host)
{
    tlpi_rank *rank = r->rank;
    int32_t rows[TLPI_LOGIT_CHUNK];

    for (int i = 0; i < n; i++)
        rows[i] = at + i;
    tlpi_forward_head(rank, rows, n, rank->scratch.logits);
    /* Runners work on the CPU, where reading cannot fail. */
    (void)rank->b->ops->read(rank->b, host, rank->scratch.logits,
                             (size_t)n * (size_t)rank->model->hp.n_vocab);
}
