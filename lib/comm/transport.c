/*
 * transport.c - the transport's plug-in.
 */
#include "comm/transport.h"

#include "base/plugin.h"

static const void *enter(void *symbol)
{
    tlpi_transport_entry entry;

    /* POSIX lets an object pointer from dlsym hold a function's address; ISO C
     * has no cast for this. */
    *(void **)&entry = symbol;
    return entry();
}

tlp_status tlpi_transport_load(const tlpi_transport_ops **out, int comm)
{
    static const tlpi_plugin mpi = {
        .file = "libtlp_mpi.so",
        .what = "MPI",
        .symbol = TLPI_TRANSPORT_SYMBOL,
        .abi = TLPI_TRANSPORT_ABI,
        .enter = enter,
    };
    const void *table = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (comm != TLP_COMM_MPI)
        return tlpi_fail(TLP_ENOTSUP, "comm %d has no plug-in", comm);
    TLP_TRY(tlpi_plugin_load(&table, &mpi));
    *out = table;
done:
    return st;
}
