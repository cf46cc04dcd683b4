/*
 * transport.h - messages between processes, as a plug-in offers them.
 *
 * A transport carries bytes and knows who is alive; what the bytes mean, sums,
 * deadlines and sub-groups are the core's (comm_peer.c).  A plug-in is a shared
 * object that exports tlpi_transport_v1 and uses nothing of the core, not even
 * its allocator: failures come back as a status and a text in (err, cap).
 *
 * An endpoint is this process among its peers.  It is opened once for each
 * communicator of the host program, shared by all sessions on it, and lives as
 * long as the process.  Functions may be called from any thread.
 *
 * Messages between two ranks with the same tag arrive in the order in which
 * they were sent.  Those of up to TLPI_EAGER_BYTES travel at once between
 * hosts, whether or not the receiver has asked for them; on one host the send
 * of a few KB may be done only when it has.
 */
#ifndef TLPI_TRANSPORT_H
#define TLPI_TRANSPORT_H

#include <stdint.h>

#include "base/base.h"

#define TLPI_TRANSPORT_ABI 2

#define TLPI_EAGER_BYTES ((size_t)60 * 1024)

#define TLPI_ANY_RANK (-1)

/* Tags below this one may be used; 0 is for hellos. */
#define TLPI_TAG_END 32768

/* Implementations put this first in their own struct. */
typedef struct tlpi_transport {
    int rank, size;
    int n_local;    /* ranks that share this machine's cores, this one too */
    int local_rank; /* lower ranks among them */
} tlpi_transport;

typedef struct tlpi_xfer tlpi_xfer; /* a message on its way */

typedef struct tlpi_transport_ops {
    uint32_t abi;     /* TLPI_TRANSPORT_ABI */
    const char *name; /* "mpi" */

    /*
     * The endpoint of a communicator: what tlp_session_options.comm_handle
     * points to, NULL for all processes that were started together.  All of
     * them call; waits for them at most timeout_ms.
     */
    tlp_status (*open)(tlpi_transport **out, const void *handle, int timeout_ms,
                       char *err, size_t cap);

    /*
     * Begin to send `bytes` bytes, or to receive at most so many.  The memory
     * is the transport's until poll gives 1, or retire has taken it.  A text
     * of a failure is that of the next poll.
     */
    tlp_status (*send)(tlpi_transport *t, tlpi_xfer **out, int to, int tag,
                       const void *data, size_t bytes, char *err, size_t cap);
    tlp_status (*recv)(tlpi_transport *t, tlpi_xfer **out, int from, int tag,
                       void *data, size_t bytes, char *err, size_t cap);

    /* 1 *x is done and NULL; 0 not yet; or a negative status, *x NULL. *got (or
     * NULL): bytes received, *from (or NULL): from whom. */
    int (*poll)(tlpi_transport *t, tlpi_xfer **x, size_t *got, int *from,
                char *err, size_t cap);

    /* Memory for messages, 64-byte aligned; NULL when out of memory. */
    void *(*alloc)(tlpi_transport *t, size_t bytes);
    /* Give memory back, with the n transfers (some may be NULL) that still use
     * it: receives are called off, sends may go on; it is freed when none is
     * left. */
    void (*retire)(tlpi_transport *t, void *memory, tlpi_xfer **x, int n);

    /* A number for a new session, never the same twice until TLPI_TAG_END / 4
     * have been given out; from 1 on, below TLPI_TAG_END / 4. */
    int (*new_channel)(tlpi_transport *t);

    /* The rank that was first known to have ended, or else the lowest that has
     * left, with a text about it; or -1.  Cheap: may be called in every turn of
     * a waiting loop.  What the rank sent last may still be on its way. */
    int (*gone)(tlpi_transport *t, char *err, size_t cap);

    /* Tell all peers that this rank is at work, though silent; and when one of
     * them last told so (tlpi_now's clock, CLOCK_MONOTONIC; 0: never). */
    void (*busy)(tlpi_transport *t);
    double (*last_busy)(tlpi_transport *t);
} tlpi_transport_ops;

/* What a plug-in exports. */
typedef const tlpi_transport_ops *(*tlpi_transport_entry)(void);
#define TLPI_TRANSPORT_SYMBOL "tlpi_transport_v1"

/*
 * The transport of TLP_COMM_MPI, libtlp_mpi.so (base/plugin.h).  TLP_ENOTSUP
 * with the reason when there is none or it is of another version.
 */
tlp_status tlpi_transport_load(const tlpi_transport_ops **out, int comm);

#endif
