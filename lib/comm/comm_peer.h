/*
 * comm_peer.h - ranks in several processes: comm.h's operations over a
 * transport.
 *
 * A message is a header and at most TLPI_EAGER_BYTES - sizeof header bytes;
 * longer payloads are cut into several messages, all on their way at once.
 * The header says what the message is part of, so that ranks out of step get
 * TLP_ECOMM and not wrong numbers.
 *
 *   all-reduce  small (or two ranks): everybody sends everybody its vector, and
 *               all sum in rank order: one latency.  Large: rank r sums piece r
 *               in rank order and sends it round: two latencies, less traffic.
 *               Either way the sum is ((x0 + x1) + x2) + ..., the same bits as
 *               comm_threads gives.
 *   bcast       rank 0 sends to each
 *   gather      each sends to rank 0
 *   split       a vote, whether all have the memory; a sub-group is a range of
 *               ranks
 *   abort       a message on a tag of its own, which every wait looks for
 *
 * A wait ends when the peer answers, when one is gone (TLP_ECOMM), when one
 * aborted (TLP_ECOMM, with its text), or after the deadline (TLP_ETIMEDOUT,
 * naming the rank that did not answer).  After a failure the communicator and
 * its sub-groups give TLP_ECOMM; the transport can be used for new ones.
 */
#ifndef TLPI_COMM_PEER_H
#define TLPI_COMM_PEER_H

#include "comm/comm.h"
#include "comm/transport.h"

typedef struct tlpi_peer_setup {
    const tlpi_transport_ops *ops;
    tlpi_transport *transport; /* borrowed; outlives the communicator */
    int channel;               /* the same on all ranks */
    int wire;                  /* TLP_WIRE_*, of all-reduces and sends */
    size_t max_floats;         /* of one all-reduce, as a rule: those of longer
                                  vectors go in several rounds */
    int n_thread;              /* of this rank, for the waiting policy */
    int timeout_ms;
} tlpi_peer_setup;

tlp_status tlpi_comm_peer_create(tlpi_comm **out, const tlpi_env *env,
                                 const tlpi_peer_setup *setup);

/*
 * The text of the failure that this rank gives up with; sent by abort().
 * Without it abort says "rank N gave up".
 */
void tlpi_comm_peer_set_reason(tlpi_comm *c, const char *text);

/*
 * Single messages of at most TLPI_EAGER_BYTES outside a communicator, for
 * shaking hands; `seconds` is the deadline from now on, 0 = none (until a peer
 * is gone).  from: a rank or TLPI_ANY_RANK.
 */
tlp_status tlpi_peer_send(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int to, int tag, const void *data, size_t bytes,
                          double seconds);
tlp_status tlpi_peer_recv(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int from, int tag, void *data, size_t cap,
                          size_t *got, double seconds);

#endif
