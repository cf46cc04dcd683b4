/*
 * comm_peer.h - ranks in several processes: comm.h's operations over a
 * transport.
 *
 * A message is a header and at most TLPI_EAGER_BYTES - sizeof header bytes.
 * Longer payloads are cut into several messages, which travel at once.  The
 * header names the operation, group and part of a message, so that ranks out
 * of step get TLP_ECOMM and not wrong numbers.
 *
 *   all-reduce  Small vectors, or two ranks: every rank sends its vector to
 *               every rank, and each rank sums in rank order (one latency).
 *               Large vectors: rank r sums piece r in rank order and sends it
 *               to all (two latencies, less traffic).  Both ways form
 *               ((x0 + x1) + x2) + ..., the bits of comm_threads.
 *   bcast       rank 0 sends to each rank
 *   gather      each rank sends to rank 0
 *   split       a vote on whether all ranks have the memory; a sub-group is a
 *               range of ranks
 *   abort       a message with its own tag, which every wait polls
 *
 * A wait ends in one of four ways: the peer answers; a peer is gone
 * (TLP_ECOMM); a peer aborted (TLP_ECOMM, with the peer's text); or the
 * deadline passes (TLP_ETIMEDOUT, naming the rank that did not answer).  After
 * a failure the communicator and its sub-groups give TLP_ECOMM.  The transport
 * stays usable for new communicators.
 */
#ifndef TLPI_COMM_PEER_H
#define TLPI_COMM_PEER_H

#include "comm/comm.h"
#include "comm/transport.h"

typedef struct tlpi_peer_setup {
    const tlpi_transport_ops *ops;
    tlpi_transport *transport; /* borrowed; outlives the communicator */
    int channel;               /* equal on all ranks */
    int wire;                  /* TLP_WIRE_*, for all-reduces and send_next */
    size_t max_floats; /* usual length of an all-reduce; longer vectors take
                          several rounds */
    int n_thread;      /* of this rank, for the waiting policy */
    bool never_spin;   /* a wait yields its core at once */
    int timeout_ms;
} tlpi_peer_setup;

tlp_status tlpi_comm_peer_create(tlpi_comm **out, const tlpi_env *env,
                                 const tlpi_peer_setup *setup);

/*
 * Set the text that abort() sends as the reason why this rank gives up.
 * Without it abort says "rank N gave up".
 */
void tlpi_comm_peer_set_reason(tlpi_comm *c, const char *text);

/*
 * Send or receive one message of at most TLPI_EAGER_BYTES outside a
 * communicator, for handshakes.  `seconds`: deadline from now, 0 = none (until
 * a peer is gone).  `from`: a rank or TLPI_ANY_RANK.
 */
tlp_status tlpi_peer_send(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int to, int tag, const void *data, size_t bytes,
                          double seconds);
tlp_status tlpi_peer_recv(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int from, int tag, void *data, size_t cap,
                          size_t *got, double seconds);

#endif
