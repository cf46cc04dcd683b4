/*
 * replay.c - counting the exchanges of steps that a device replays.
 *
 * A replayed step makes no calls, so its exchanges are counted as those of the
 * last step that made them: as many, with bytes in proportion to the tokens.
 */
#include "session/forward.h"

static int n_comm(const tlpi_rank *r)
{
    return 1 + r->cfg->n_rank * (r->cfg->n_rank + 1);
}

static tlpi_comm *comm_at(const tlpi_rank *r, int i)
{
    return i == 0 ? r->data : r->span_comm[i - 1];
}

tlp_status tlpi_replay_create(tlpi_rank *r)
{
    if (!r->cfg->device)
        return TLP_OK;
    r->pass = tlpi_calloc(r->env, (size_t)n_comm(r), sizeof(*r->pass));
    return r->pass ? TLP_OK : tlpi_fail_nomem();
}

void tlpi_replay_before(tlpi_rank *r)
{
    for (int i = 0; r->pass && i < n_comm(r); i++)
        if (comm_at(r, i))
            r->pass[i] = comm_at(r, i)->stats;
}

void tlpi_replay_after(tlpi_rank *r, int n_tok)
{
    for (int i = 0; r->pass && i < n_comm(r); i++) {
        if (!comm_at(r, i))
            continue;
        const tlpi_comm_stats *now = &comm_at(r, i)->stats;
        r->pass[i].allreduces = now->allreduces - r->pass[i].allreduces;
        r->pass[i].bytes = now->bytes - r->pass[i].bytes;
    }
    r->pass_tok = n_tok;
}

void tlpi_replay_count(tlpi_rank *r, int n_tok)
{
    for (int i = 0; r->pass && i < n_comm(r); i++) {
        if (!comm_at(r, i))
            continue;
        tlpi_comm_stats *now = &comm_at(r, i)->stats;
        now->allreduces += r->pass[i].allreduces;
        now->bytes +=
            r->pass[i].bytes / (uint64_t)r->pass_tok * (uint64_t)n_tok;
    }
}
