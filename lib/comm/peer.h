/*
 * peer.h - declarations shared by the files of comm_peer.
 *
 * A group is one communicator, a range of the transport's ranks.  A root is a
 * group that was not split from another, with all groups split from it.  The
 * groups of a root share its tags and its memory, because a rank is in one
 * call at a time, and they fail together.
 *
 * Messages are built and read in slots of TLPI_EAGER_BYTES.  The transport
 * never gets the user's memory, so a call that fails may return at once.
 */
#ifndef TLPI_PEER_H
#define TLPI_PEER_H

#include <pthread.h>
#include <stdatomic.h>

#include "comm/comm_peer.h"

#define TLPI_PEER_TEXT 256 /* bytes of an error text, NUL included */

/* Seconds to wait after a peer is gone, since the last message.  The peer's
 * last messages or its reason may still be on their way, or this call may not
 * need the peer. */
#define TLPI_PEER_GRACE 0.5

/* Tags of a root, from 4 * channel on. */
enum {
    TLPI_PEER_TAG_CALL,      /* collectives */
    TLPI_PEER_TAG_SEND_NEXT, /* send_next */
    TLPI_PEER_TAG_ABORT,     /* a reason, as text */
    TLPI_PEER_N_TAG = 4
};

enum {
    TLPI_PEER_ALLREDUCE = 1,
    TLPI_PEER_SUM, /* the sum of a piece, from the rank that formed it */
    TLPI_PEER_GATHER,
    TLPI_PEER_BCAST,
    TLPI_PEER_SEND_NEXT,
    TLPI_PEER_SPLIT
};

/* A payload of bytes; an alternative to TLP_WIRE_*. */
#define TLPI_PEER_RAW (-1)

/* Start of every message.  The receiver knows all fields but the vote in
 * advance. */
typedef struct tlpi_peer_header {
    uint32_t op;    /* TLPI_PEER_* */
    uint32_t group; /* id that only the group's ranks compute */
    uint32_t seq;   /* number of the group's collective, or of its send_next */
    /* number among this call's messages from one rank to another */
    uint32_t part;
    uint64_t bytes; /* length of the user's whole vector */
    int32_t wire;   /* TLP_WIRE_* or TLPI_PEER_RAW */
    uint32_t vote;
} tlpi_peer_header;

_Static_assert(sizeof(tlpi_peer_header) == 32, "no padding; floats aligned");

#define TLPI_PEER_PAYLOAD (TLPI_EAGER_BYTES - sizeof(tlpi_peer_header))

typedef struct tlpi_peer_root {
    const tlpi_env *env;
    const tlpi_transport_ops *ops;
    tlpi_transport *t;
    int size; /* ranks of the root */
    int tag;  /* first of TLPI_PEER_N_TAG tags */
    int wire;
    int timeout_ms;
    bool oversubscribed; /* more threads of the library than cores */
    size_t max_round;    /* most floats of one all-reduce round */
    int n_handle;        /* handles not freed; protected by lock */

    /* Send slots, receive slots, then two texts. */
    char *memory;
    int n_send, n_recv;
    char *abort_in, *abort_out;
    tlpi_xfer **xfer; /* [n_xfer] all transfers that use the memory: */
    int n_xfer;
    tlpi_xfer **sends;       /* [n_send][size] */
    tlpi_xfer **recvs;       /* [n_recv] */
    tlpi_xfer **abort_recv;  /* [1] receives another rank's abort */
    tlpi_xfer **abort_sends; /* [size] send this rank's abort */

    double next_look; /* time of the next check for aborts and lost peers */
    double gone_at;   /* time when a peer was first seen to be gone; 0: never */

    pthread_mutex_t lock;
    _Atomic bool failed;         /* text does not change once this is set */
    char text[TLPI_PEER_TEXT];   /* of the first failure */
    char reason[TLPI_PEER_TEXT]; /* for abort(); "" = none */
} tlpi_peer_root;

/* One rank's handle of a group. */
typedef struct tlpi_comm_peer {
    tlpi_comm base;
    tlpi_peer_root *root;
    int first;               /* root rank of rank 0 */
    uint32_t id;             /* header.group */
    uint32_t seq;            /* collectives begun */
    uint32_t sent, received; /* send_next messages */
} tlpi_comm_peer;

/* State of one call of an operation. */
typedef struct tlpi_peer_call {
    tlpi_comm_peer *c;
    tlpi_peer_header head;
    int tag;
    bool idle;    /* peers may be silent for hours; no deadline */
    double start; /* tlpi_now() at the start */
    double since; /* time of a peer's last answer */
    double now;   /* time of the last reading of the clock */
} tlpi_peer_call;

static inline tlpi_comm_peer *tlpi_peer_of(tlpi_comm *c)
{
    return (tlpi_comm_peer *)c;
}

/* A rank's number in the root, which is the transport's; error texts name
 * it. */
static inline int tlpi_peer_root_rank(const tlpi_comm_peer *c, int rank)
{
    return c->first + rank;
}

/* ==== waiting and failing (peer_wait.c) ================================== */

/* TLP_ECOMM with the text of the first failure, if there was one. */
tlp_status tlpi_peer_check(const tlpi_peer_root *root);

/* This rank fails with `st` and the text recorded on this thread.  The first
 * failure of the root is also sent to the other ranks.  Returns st. */
tlp_status tlpi_peer_fail(tlpi_peer_root *root, tlp_status st);

/* Any thread may call. */
void tlpi_peer_abort(tlpi_comm_peer *c);

/* Wait until a transfer from or to a rank of the group is done. */
tlp_status tlpi_peer_finish(tlpi_peer_call *call, tlpi_xfer **x, int rank,
                            size_t *got);

/* Give the core away during a wait that has lasted `waited` seconds.
 * `oversubscribed`: other threads need the core; `idle`: the wait is not
 * urgent. */
void tlpi_peer_relax(double waited, bool oversubscribed, bool idle);

/* ==== messages (peer_message.c) ========================================== */

/* Begin a call; `bytes` and `wire` are those of the header. */
tlp_status tlpi_peer_begin(tlpi_peer_call *call, tlpi_comm_peer *c, uint32_t op,
                           size_t bytes, int wire);

/* Elements (floats or bytes) in one message, in whole wire blocks. */
size_t tlpi_peer_room(int wire);
/* Messages for n elements, at least 1. */
size_t tlpi_peer_parts(int wire, size_t n);

char *tlpi_peer_send_slot(const tlpi_peer_root *root, size_t slot);
char *tlpi_peer_recv_slot(const tlpi_peer_root *root, size_t slot);

/* Send a slot whose payload is in place. */
tlp_status tlpi_peer_post_send(tlpi_peer_call *call, size_t slot, int to,
                               size_t payload);
/* Wait for all sends from the first n slots. */
tlp_status tlpi_peer_wait_sends(tlpi_peer_call *call, size_t n);

/* Start receiving into a slot. */
tlp_status tlpi_peer_post_recv(tlpi_peer_call *call, size_t slot, int from);
/* Wait for a posted receive.  TLP_ECOMM unless the message's header equals
 * head in all fields but the vote, which is ORed into *vote. */
tlp_status tlpi_peer_wait_recv(tlpi_peer_call *call, size_t slot, int from,
                               const tlpi_peer_header *head, size_t payload,
                               uint32_t *vote);

/* Send n elements at src to each of ranks [to, to + count). */
tlp_status tlpi_peer_push(tlpi_peer_call *call, int to, int count,
                          const void *src, size_t n);
/* Receive n elements from a rank. */
tlp_status tlpi_peer_pull(tlpi_peer_call *call, int from, void *dst, size_t n);

/* ==== all-reduce (peer_reduce.c) ========================================= */

/* Slots that a rank needs for vectors of n floats. */
void tlpi_peer_reduce_slots(int size, size_t n, int *n_send, int *n_recv);

/* x[i] = sum over ranks, n <= max_round; *votes = OR over ranks. */
tlp_status tlpi_peer_reduce(tlpi_peer_call *call, float *x, size_t n,
                            uint32_t *votes);

#endif
