/*
 * dry_rank.c - a rank over the dry pair, and the exchanges of its step.
 */
#include "rank/dry_rank.h"

#include "rank/forward.h"

tlp_status tlpi_dry_rank_create(tlpi_dry_rank *out, const tlpi_dry_setup *setup)
{
    const tlpi_env *env = &setup->plan->model->env;
    tlpi_rank_setup s = { .plan = setup->plan,
                          .shards = setup->shards,
                          .more = setup->more,
                          .n_more = setup->n_more,
                          .cfg = &out->cfg };
    tlp_status st = TLP_OK;

    *out = (tlpi_dry_rank){ .cfg = *setup->cfg };
    out->cfg.device = NULL;
    out->cfg.remote = false;
    TLP_TRY(tlpi_backend_dry_create(&s.dry, env, &setup->dry));
    st = tlpi_comm_record_create(&s.comm, env, setup->rank,
                                 setup->shards->n_rank, setup->see, setup->arg);
    if (st != TLP_OK) {
        s.dry->ops->free(s.dry);
        return st;
    }
    st = tlpi_rank_create(&out->rank, &s, NULL);
done:
    return st;
}

void tlpi_dry_rank_free(tlpi_dry_rank *d)
{
    tlpi_rank_free(d->rank);
    d->rank = NULL;
}

tlpi_step tlpi_dry_rank_step(const tlpi_dry_rank *d)
{
    const tlpi_step_arrays *a = &d->rank->scratch.step;

    a->id[0] = a->seq[0] = a->pos[0] = 0;
    return (tlpi_step){ 1, a->id, a->seq, a->pos };
}

/* ==== steps that a device replays ======================================== */

tlp_status tlpi_rank_count_step(tlpi_rank *r, tlpi_program *p)
{
    tlpi_dry_setup setup = {
        .plan = p->plan, .shards = p->shards, .cfg = r->cfg, .rank = r->rank
    };
    tlpi_dry_rank dry = { .rank = NULL };
    int n = tlpi_exchange_n_comm(&r->exchange);
    tlp_status st = TLP_OK;

    p->step_stats = tlpi_calloc(r->env, (size_t)n, sizeof(*p->step_stats));
    if (!p->step_stats)
        return tlpi_fail_nomem_for("counters of exchanges");
    TLP_TRY(tlpi_dry_rank_create(&dry, &setup));
    tlpi_step step = tlpi_dry_rank_step(&dry);
    TLP_TRY(tlpi_forward(dry.rank, dry.rank->program, &step));
    for (int i = 0; i < n; i++) {
        const tlpi_comm *c = tlpi_exchange_comm(&dry.rank->exchange, i);
        if (c)
            p->step_stats[i] = c->stats;
    }
done:
    tlpi_dry_rank_free(&dry);
    return st;
}

void tlpi_rank_count_replayed(tlpi_rank *r, const tlpi_program *p, int n_tok)
{
    for (int i = 0; i < tlpi_exchange_n_comm(&r->exchange); i++) {
        tlpi_comm *c = tlpi_exchange_comm(&r->exchange, i);

        if (!c)
            continue;
        c->stats.allreduces += p->step_stats[i].allreduces;
        c->stats.bytes += p->step_stats[i].bytes * (uint64_t)n_tok;
    }
}
