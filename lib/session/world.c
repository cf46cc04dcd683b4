/*
 * world.c - which processes there are, and which of them this one is.
 */
#include "session/config.h"

tlp_status tlpi_world_find(tlpi_world *out, const tlp_session_options *o)
{
    char text[256] = "";
    tlpi_world w = { .n_rank = tlpi_config_ranks(o), .n_local = 1 };
    tlp_status st = TLP_OK;

    if (o->comm == TLP_COMM_THREADS) {
        *out = w;
        return TLP_OK;
    }
    TLP_TRY(tlpi_transport_load(&w.ops, o->comm));
    st = w.ops->open(&w.transport, o->comm_handle, tlpi_config_timeout(o), text,
                     sizeof(text));
    if (st != TLP_OK)
        return tlpi_fail(st, "%s: %s", w.ops->name, text);
    w.rank = w.transport->rank;
    w.n_rank = w.transport->size;
    w.n_local = TLPI_MAX(1, w.transport->n_local);
    w.local_rank = w.transport->local_rank;
    if (w.n_rank > TLPI_MAX_RANK)
        return tlpi_fail(TLP_EINVAL, "%s: %d processes, %d ranks at most",
                         w.ops->name, w.n_rank, TLPI_MAX_RANK);
    *out = w;
done:
    return st;
}

tlp_status tlpi_world_check(const tlpi_world *w, const tlp_session_options *o)
{
    if (o->n_rank == 0 || o->n_rank == w->n_rank)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "session option n_rank: %d, but there are %d processes",
                     o->n_rank, w->n_rank);
}

tlp_status tlp_comm_rank(int32_t *rank, int32_t *n_rank,
                         const tlp_session_options *opts)
{
    tlp_session_options o = { 0 };
    tlpi_world w = { 0 };
    tlp_status st = TLP_OK;

    if (!rank || !n_rank)
        return tlpi_fail(TLP_EINVAL, "rank and n_rank are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_session_options"));
    TLP_TRY(tlpi_config_check(&o));
    TLP_TRY(tlpi_world_find(&w, &o));
    TLP_TRY(tlpi_world_check(&w, &o));
    *rank = w.rank;
    *n_rank = w.n_rank;
done:
    return st;
}
