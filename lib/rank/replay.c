/*
 * replay.c - counting the exchanges of steps that a device replays.
 *
 * A replayed step makes no calls, so its exchanges are counted as those of the
 * last step that made them: as many, with bytes in proportion to the tokens.
 */
#include "rank/rank.h"

tlp_status tlpi_replay_create(tlpi_rank *r)
{
    if (!r->cfg->device)
        return TLP_OK;
    r->pass = tlpi_calloc(r->env, (size_t)tlpi_exchange_n_comm(&r->exchange),
                          sizeof(*r->pass));
    return r->pass ? TLP_OK : tlpi_fail_nomem();
}

void tlpi_replay_before(tlpi_rank *r)
{
    for (int i = 0; r->pass && i < tlpi_exchange_n_comm(&r->exchange); i++)
        if (tlpi_exchange_comm(&r->exchange, i))
            r->pass[i] = tlpi_exchange_comm(&r->exchange, i)->stats;
}

void tlpi_replay_after(tlpi_rank *r, int n_tok)
{
    for (int i = 0; r->pass && i < tlpi_exchange_n_comm(&r->exchange); i++) {
        if (!tlpi_exchange_comm(&r->exchange, i))
            continue;
        const tlpi_comm_stats *now =
            &tlpi_exchange_comm(&r->exchange, i)->stats;
        r->pass[i].allreduces = now->allreduces - r->pass[i].allreduces;
        r->pass[i].bytes = now->bytes - r->pass[i].bytes;
    }
    r->pass_tok = n_tok;
}

void tlpi_replay_count(tlpi_rank *r, int n_tok)
{
    for (int i = 0; r->pass && i < tlpi_exchange_n_comm(&r->exchange); i++) {
        if (!tlpi_exchange_comm(&r->exchange, i))
            continue;
        tlpi_comm_stats *now = &tlpi_exchange_comm(&r->exchange, i)->stats;
        now->allreduces += r->pass[i].allreduces;
        now->bytes +=
            r->pass[i].bytes / (uint64_t)r->pass_tok * (uint64_t)n_tok;
    }
}
