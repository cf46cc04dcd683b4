/*
 * recompute.c - evaluate again what a sequence holds as tokens alone.
 *
 * A token's keys and values have equal bits in any step, so the sequence goes
 * on as if it had kept its pages.
 */
#include <string.h>

#include "session/session.h"

tlp_status tlpi_session_run_held(tlp_session *s, int32_t seq, int32_t at, int n)
{
    tlpi_step_arrays *a = &s->rank0->scratch.step;
    tlpi_command cmd = { .op = TLPI_OP_STEP, .n_tok = n };
    tlp_status st = TLP_OK;

    for (int i = 0; i < n; i++) {
        a->id[i] = tlpi_session_history(s, seq)[at + i];
        a->seq[i] = seq;
        a->pos[i] = at + i;
    }
    tlpi_cache_plan(s);
    tlpi_cache_write(s, seq, at, at + n);
    TLP_TRY(tlpi_cache_fit(s));
    TLP_TRY(tlpi_session_command(s, &cmd, NULL));
    s->stats.n_step++;
    s->stats.n_prefill += (uint64_t)n;
done:
    return st;
}

tlp_status tlpi_session_recompute(tlp_session *s, int32_t seq)
{
    tlp_status st = TLP_OK;

    for (int32_t at = 0; at < s->pos[seq] && st == TLP_OK; at += s->cfg.n_batch)
        st = tlpi_session_run_held(s, seq, at,
                                   TLPI_MIN(s->cfg.n_batch, s->pos[seq] - at));
    if (st == TLP_OK)
        s->cache.seq[seq].lost = false;
    return st;
}
