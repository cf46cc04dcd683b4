/*
 * endpoint.c - rendezvous on a communicator: duplicate it, exchange addresses,
 * connect the sockets.
 *
 * Every step waits with a deadline.  A call after a missed deadline continues
 * in the state that the endpoint has reached, because the peers may already
 * have arrived there.
 */
#include "mpi_transport.h"

#include <stdlib.h>
#include <string.h>

static tlp_status fail_nomem(char *err, size_t cap)
{
    return tlpi_mpi_fail(err, cap, TLP_ENOMEM, "out of memory");
}

/* Make errors on the program's own communicator return while the plug-in uses
 * it; by default they end the process. */
static MPI_Errhandler return_errors(MPI_Comm comm)
{
    MPI_Errhandler before;

    MPI_Comm_get_errhandler(comm, &before);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    return before;
}

static void restore(MPI_Comm comm, MPI_Errhandler before)
{
    MPI_Comm_set_errhandler(comm, before);
    MPI_Errhandler_free(&before);
}

/* ==== the states ========================================================= */

static tlp_status create(tlpi_endpoint **out, MPI_Comm comm, char *err,
                         size_t cap)
{
    tlpi_endpoint *e = calloc(1, sizeof *e);
    int between, same = MPI_UNEQUAL;
    tlp_status st = TLP_OK;

    if (!e)
        return fail_nomem(err, cap);

    MPI_Errhandler before = return_errors(comm);

    TLP_TRY(tlpi_mpi_check(err, cap, MPI_Comm_test_inter(comm, &between),
                           "MPI_Comm_test_inter"));
    if (between)
        TLP_TRY(tlpi_mpi_fail(err, cap, TLP_EINVAL,
                              "comm_handle is an inter-communicator"));
    MPI_Comm_rank(comm, &e->base.rank);
    MPI_Comm_size(comm, &e->base.size);
    MPI_Comm_compare(comm, MPI_COMM_WORLD, &same);
    e->is_world = same == MPI_IDENT;

    size_t n = (size_t)e->base.size;

    e->addresses = calloc(n, sizeof *e->addresses);
    e->made = calloc(n, 1);
    e->theirs = calloc(n, 1);
    if (!e->addresses || !e->made || !e->theirs)
        TLP_TRY(fail_nomem(err, cap));
    TLP_TRY(tlpi_mpi_check(err, cap, MPI_Comm_idup(comm, &e->comm, &e->request),
                           "MPI_Comm_idup"));
    /* From here on the request needs the endpoint. */
    st = tlpi_mpi_check(err, cap, MPI_Comm_set_attr(comm, tlpi_mpi.keyval, e),
                        "MPI_Comm_set_attr");
    e->next = atomic_load(&tlpi_mpi.endpoints);
    atomic_store(&tlpi_mpi.endpoints, e);
    restore(comm, before);
    *out = e;
    return st;
done:
    restore(comm, before);
    free(e->addresses);
    free(e->made);
    free(e->theirs);
    free(e);
    return st;
}

static tlp_status exchange_addresses(tlpi_endpoint *e, char *err, size_t cap)
{
    MPI_Comm_set_errhandler(e->comm, MPI_ERRORS_RETURN);
    tlpi_address_fill(&e->address);
    tlpi_liveness_open(&e->liveness, e->base.rank, e->base.size, &e->address);
    e->state = TLPI_RENDEZVOUS_ADDRESSES;
    return tlpi_mpi_check(
        err, cap,
        MPI_Iallgather(&e->address, sizeof e->address, MPI_BYTE, e->addresses,
                       sizeof e->address, MPI_BYTE, e->comm, &e->request),
        "MPI_Iallgather");
}

static tlp_status check_addresses(tlpi_endpoint *e, char *err, size_t cap)
{
    e->base.n_local = e->base.local_rank = 0;
    for (int r = 0; r < e->base.size; r++) {
        if (!tlpi_address_check(&e->addresses[r]))
            return tlpi_mpi_fail(err, cap, TLP_EMISMATCH,
                                 "rank %d has another version of the MPI "
                                 "plug-in",
                                 r);
        if (!tlpi_address_same_machine(&e->addresses[r], &e->address))
            continue;
        e->base.n_local++;
        e->base.local_rank += r < e->base.rank;
    }
    return TLP_OK;
}

/* Let MPI make progress with messages that other ranks still need. */
static void progress(void *arg)
{
    tlpi_endpoint *e = arg;
    char none[1];
    int flag;

    if (tlpi_mpi_enter(none, 0) != TLP_OK)
        return;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, e->comm, &flag, MPI_STATUS_IGNORE);
    tlpi_mpi_exit();
}

/* Exchange the lists of connections.  A connection counts only if both sides
 * have it; otherwise one side would take the other's close for its end. */
static tlp_status agree(tlpi_endpoint *e, char *err, size_t cap)
{
    e->state = TLPI_RENDEZVOUS_AGREE;
    return tlpi_mpi_check(err, cap,
                          MPI_Ialltoall(e->made, 1, MPI_BYTE, e->theirs, 1,
                                        MPI_BYTE, e->comm, &e->request),
                          "MPI_Ialltoall");
}

/* ==== rendezvous ========================================================= */

static tlp_status await(tlpi_endpoint *e, double deadline, char *err,
                        size_t cap)
{
    long nap = 10;

    for (;;) {
        int done = 0;
        tlp_status st = tlpi_mpi_enter(err, cap);

        if (st != TLP_OK)
            return st;
        st = tlpi_mpi_check(err, cap,
                            MPI_Test(&e->request, &done, MPI_STATUS_IGNORE),
                            "meeting");
        tlpi_mpi_exit();
        if (done || st != TLP_OK)
            return st;
        if (tlpi_mpi_now() > deadline)
            return tlpi_mpi_fail(err, cap, TLP_ETIMEDOUT,
                                 "not all %d processes of the communicator "
                                 "have come",
                                 e->base.size);
        tlpi_mpi_nap(nap);
        nap = TLPI_MIN(2 * nap, 1000);
    }
}

/* The request of the current state has finished: begin the next state. */
static tlp_status advance(tlpi_endpoint *e, double deadline, char *err,
                          size_t cap)
{
    tlp_status st = TLP_OK;

    if (e->state == TLPI_RENDEZVOUS_ADDRESSES) {
        TLP_TRY(check_addresses(e, err, cap));
        tlpi_liveness_connect(&e->liveness, e->addresses, deadline, progress, e,
                              e->made);
    }
    if (e->state == TLPI_RENDEZVOUS_AGREE) {
        tlpi_liveness_settle(&e->liveness, e->theirs);
        e->state = TLPI_RENDEZVOUS_READY;
        return TLP_OK;
    }
    TLP_TRY(tlpi_mpi_enter(err, cap));
    st = e->state == TLPI_RENDEZVOUS_ADDRESSES
             ? agree(e, err, cap)
             : exchange_addresses(e, err, cap);
    tlpi_mpi_exit();
done:
    return st;
}

static tlp_status rendezvous(tlpi_endpoint *e, double deadline, char *err,
                             size_t cap)
{
    while (e->state != TLPI_RENDEZVOUS_READY) {
        if (e->state == TLPI_RENDEZVOUS_FAILED)
            return tlpi_mpi_fail(err, cap, TLP_ECOMM,
                                 "an earlier attempt to connect on this "
                                 "communicator failed");

        tlp_status st = await(e, deadline, err, cap);

        if (st == TLP_OK)
            st = advance(e, deadline, err, cap);
        if (st != TLP_OK) {
            if (st != TLP_ETIMEDOUT)
                e->state = TLPI_RENDEZVOUS_FAILED;
            return st;
        }
    }
    return TLP_OK;
}

static tlp_status find(tlpi_endpoint **out, MPI_Comm comm, char *err,
                       size_t cap)
{
    tlpi_endpoint *e;
    int found = 0;
    tlp_status st = tlpi_mpi_enter(err, cap);

    if (st != TLP_OK)
        return st;
    TLP_TRY(tlpi_mpi_check(err, cap,
                           MPI_Comm_get_attr(comm, tlpi_mpi.keyval, &e, &found),
                           "comm_handle"));
    if (found)
        *out = e;
    else
        st = create(out, comm, err, cap);
done:
    tlpi_mpi_exit();
    return st;
}

tlp_status tlpi_mpi_open(tlpi_transport **out, const void *handle,
                         int timeout_ms, char *err, size_t cap)
{
    double deadline = tlpi_mpi_now() + 1e-3 * timeout_ms;
    tlpi_endpoint *e = NULL;
    tlp_status st;

    *out = NULL;
    pthread_mutex_lock(&tlpi_mpi.opening);
    TLP_TRY(tlpi_mpi_start(deadline, err, cap));

    MPI_Comm comm = handle ? *(const MPI_Comm *)handle : MPI_COMM_WORLD;

    if (comm == MPI_COMM_NULL)
        TLP_TRY(tlpi_mpi_fail(err, cap, TLP_EINVAL,
                              "comm_handle is MPI_COMM_NULL"));
    TLP_TRY(find(&e, comm, err, cap));
    TLP_TRY(rendezvous(e, deadline, err, cap));
    *out = &e->base;
done:
    pthread_mutex_unlock(&tlpi_mpi.opening);
    return st;
}

/* ==== what the plug-in exports =========================================== */

static int new_channel(tlpi_transport *t)
{
    tlpi_endpoint *e = (tlpi_endpoint *)t;

    return 1 + (int)(atomic_fetch_add(&e->channel, 1) % (TLPI_TAG_END / 4 - 1));
}

static int gone(tlpi_transport *t, char *err, size_t cap)
{
    return tlpi_liveness_gone(&((tlpi_endpoint *)t)->liveness, err, cap);
}

static void busy(tlpi_transport *t)
{
    tlpi_liveness_busy(&((tlpi_endpoint *)t)->liveness);
}

static double last_busy(tlpi_transport *t)
{
    return tlpi_liveness_last_busy(&((tlpi_endpoint *)t)->liveness);
}

const tlpi_transport_ops *tlpi_transport_v1(void)
{
    static const tlpi_transport_ops ops = {
        .abi = TLPI_TRANSPORT_ABI,
        .name = "mpi",
        .open = tlpi_mpi_open,
        .send = tlpi_mpi_send,
        .recv = tlpi_mpi_recv,
        .poll = tlpi_mpi_poll,
        .alloc = tlpi_mpi_alloc,
        .retire = tlpi_mpi_retire,
        .new_channel = new_channel,
        .gone = gone,
        .busy = busy,
        .last_busy = last_busy,
    };

    return &ops;
}
