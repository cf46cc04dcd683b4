/*
 * process_group.c - which processes there are, and which of them this one is.
 */
#include "group/config.h"

tlp_status tlpi_process_group_find(tlpi_process_group *out,
                                   const tlp_session_options *o)
{
    char text[256] = "";
    tlpi_process_group group = { .n_rank = tlpi_config_ranks(o), .n_local = 1 };
    tlp_status st = TLP_OK;

    if (o->comm == TLP_COMM_THREADS) {
        *out = group;
        return TLP_OK;
    }
    TLP_TRY(tlpi_transport_load(&group.ops, o->comm));
    st = group.ops->open(&group.transport, o->comm_handle,
                         tlpi_config_timeout(o), text, sizeof(text));
    if (st != TLP_OK)
        return tlpi_fail(st, "%s: %s", group.ops->name, text);
    group.rank = group.transport->rank;
    group.n_rank = group.transport->size;
    group.n_local = TLPI_MAX(1, group.transport->n_local);
    group.local_rank = group.transport->local_rank;
    if (group.n_rank > TLPI_MAX_RANK)
        return tlpi_fail(TLP_EINVAL, "%s: %d processes, %d ranks at most",
                         group.ops->name, group.n_rank, TLPI_MAX_RANK);
    *out = group;
done:
    return st;
}

tlp_status tlpi_process_group_check(const tlpi_process_group *group,
                                    const tlp_session_options *o)
{
    if (o->n_rank == 0 || o->n_rank == group->n_rank)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "session option n_rank: %d, but the job has %d process%s",
                     o->n_rank, group->n_rank, group->n_rank == 1 ? "" : "es");
}

tlp_status tlp_comm_rank(int32_t *rank, int32_t *n_rank,
                         const tlp_session_options *opts)
{
    tlp_session_options o = { 0 };
    tlpi_process_group group = { 0 };
    tlp_status st = TLP_OK;

    if (!rank || !n_rank)
        return tlpi_fail(TLP_EINVAL, "rank and n_rank are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_session_options"));
    TLP_TRY(tlpi_config_check(&o));
    TLP_TRY(tlpi_process_group_find(&group, &o));
    TLP_TRY(tlpi_process_group_check(&group, &o));
    *rank = group.rank;
    *n_rank = group.n_rank;
done:
    return st;
}
