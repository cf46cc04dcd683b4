/*
 * runner.c - one rank under a draft's plan: packed weights come from the
 * model's shelf, so that making it is cheap while another one lives.
 */
#include "search/scorer.h"

tlp_status tlpi_runner_create(tlpi_runner *out, tlp_model *model,
                              const tlpi_session_config *cfg, const char *draft)
{
    tlpi_runner r = { 0 };
    tlpi_rank_setup setup = { .cfg = cfg };
    tlp_status st;

    *out = r;
    TLP_TRY(tlpi_draft_build(&r.plan, model, draft, NULL));
    TLP_TRY(tlpi_shards_create(&r.shards, r.plan, 1));
    TLP_TRY(tlpi_comm_self_create(&setup.comm, &model->env));
    setup.plan = r.plan;
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
