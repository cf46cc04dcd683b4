/*
 * transport.h - messages between processes: the interface of a transport
 * plug-in.
 *
 * A transport carries bytes and knows which processes are alive.  The meaning
 * of the bytes, sums, deadlines and sub-groups belong to the core
 * (comm_peer.c).  A plug-in is a shared object that exports tlpi_transport_v1
 * and uses nothing of the core, not even its allocator: a failure is a status
 * and a text in (err, cap).
 *
 * An endpoint is this process among its peers.  It is opened once for each
 * communicator of the host program, is shared by all sessions on it, and lives
 * as long as the process.  Functions may be called from any thread.
 *
 * Messages between two ranks with one tag arrive in the order of sending.
 * Between hosts a message of up to TLPI_EAGER_BYTES travels at once, also
 * before its receive is posted.  On one host the send of a message of a few KB
 * may complete only after the receive is posted.
 */
#ifndef TLPI_TRANSPORT_H
#define TLPI_TRANSPORT_H

#include <stdint.h>

#include "base/base.h"

#define TLPI_TRANSPORT_ABI 2

#define TLPI_EAGER_BYTES ((size_t)60 * 1024)

#define TLPI_ANY_RANK (-1)

/* Upper end of the tags; tag 0 is for hellos. */
#define TLPI_TAG_END 32768

/* First member of every implementation's struct. */
typedef struct tlpi_transport {
    int rank, size;
    int n_local;    /* ranks that share this machine's cores, with this rank */
    int local_rank; /* number of lower ranks on this machine */
} tlpi_transport;

typedef struct tlpi_xfer tlpi_xfer; /* a transfer: a message on its way */

typedef struct tlpi_transport_ops {
    uint32_t abi;     /* TLPI_TRANSPORT_ABI */
    const char *name; /* "mpi" */

    /*
     * Open the endpoint of a communicator: tlp_session_options.comm_handle
     * points to it; NULL means all processes that were started together.  All
     * its processes call, and each waits at most timeout_ms.
     */
    tlp_status (*open)(tlpi_transport **out, const void *handle, int timeout_ms,
                       char *err, size_t cap);

    /*
     * Start sending `bytes` bytes, or receiving at most `bytes`.  The memory
     * belongs to the transport until poll returns 1 or retire has taken it.  A
     * failure that comes later is reported by the next poll.
     */
    tlp_status (*send)(tlpi_transport *t, tlpi_xfer **out, int to, int tag,
                       const void *data, size_t bytes, char *err, size_t cap);
    tlp_status (*recv)(tlpi_transport *t, tlpi_xfer **out, int from, int tag,
                       void *data, size_t bytes, char *err, size_t cap);

    /* Returns 1 when *x is done (*x becomes NULL), 0 when not yet, or a
     * negative status (*x becomes NULL).  *got (or NULL): bytes received;
     * *from (or NULL): the sender. */
    int (*poll)(tlpi_transport *t, tlpi_xfer **x, size_t *got, int *from,
                char *err, size_t cap);

    /* Memory for messages, 64-byte aligned; NULL when out of memory. */
    void *(*alloc)(tlpi_transport *t, size_t bytes);
    /* Give memory back, with the n transfers that still use it (entries may be
     * NULL).  Receives are cancelled, sends may continue; the memory is freed
     * after the last transfer. */
    void (*retire)(tlpi_transport *t, void *memory, tlpi_xfer **x, int n);

    /* A number for a new session, 1 <= number < TLPI_TAG_END / 4.  A number is
     * repeated only after all have been used. */
    int (*new_channel)(tlpi_transport *t);

    /* The rank that was first known to have ended, else the lowest rank
     * that has left, with a text about it; -1: none.  Cheap enough for
     * every turn of a waiting loop.  The rank's last messages may still be
     * on their way. */
    int (*gone)(tlpi_transport *t, char *err, size_t cap);

    /* Tell all peers that this rank is at work, though silent. last_busy: time
     * when a peer last told this (tlpi_now's clock, CLOCK_MONOTONIC; 0:
     * never). */
    void (*busy)(tlpi_transport *t);
    double (*last_busy)(tlpi_transport *t);
} tlpi_transport_ops;

/* The symbol that a plug-in exports. */
typedef const tlpi_transport_ops *(*tlpi_transport_entry)(void);
#define TLPI_TRANSPORT_SYMBOL "tlpi_transport_v1"

/*
 * Load the transport of TLP_COMM_MPI, libtlp_mpi.so (base/plugin.h).
 * TLP_ENOTSUP with the reason when there is no plug-in or its version differs.
 */
tlp_status tlpi_transport_load(const tlpi_transport_ops **out, int comm);

#endif
