/*
 * peer.h - what the files of comm_peer share.
 *
 * A group is one communicator, a range of the transport's ranks.  Groups that
 * come from one root by splitting belong to it: they share its tags and its
 * memory, since a rank is in one call at a time, and they fail together.
 *
 * Messages are made and read in slots of TLPI_EAGER_BYTES; the user's memory
 * is never the transport's, so that a call that fails may return at once.
 */
#ifndef TLPI_PEER_H
#define TLPI_PEER_H

#include <pthread.h>
#include <stdatomic.h>

#include "comm/comm_peer.h"

#define TLPI_PEER_TEXT 256 /* bytes of a failure's text, NUL included */

/* Seconds to go on waiting, since the last sign of life, once somebody is gone:
 * what it sent, or why it left, may be on its way, or it was not needed. */
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
    TLPI_PEER_SUM, /* of a piece, by the rank that formed it */
    TLPI_PEER_GATHER,
    TLPI_PEER_BCAST,
    TLPI_PEER_SEND_NEXT,
    TLPI_PEER_SPLIT
};

/* Payloads that are bytes and no floats; beside TLP_WIRE_*. */
#define TLPI_PEER_RAW (-1)

/* What every message begins with: all but the vote is known beforehand. */
typedef struct tlpi_peer_header {
    uint32_t op;    /* TLPI_PEER_* */
    uint32_t group; /* a number that its ranks alone have arrived at */
    uint32_t seq;   /* of the group's collectives, or of its mail */
    uint32_t part;  /* of this op's messages from one rank to another */
    uint64_t bytes; /* of the user's whole vector */
    int32_t wire;   /* TLP_WIRE_* or TLPI_PEER_RAW */
    uint32_t vote;
} tlpi_peer_header;

_Static_assert(sizeof(tlpi_peer_header) == 32, "no padding; floats aligned");

#define TLPI_PEER_PAYLOAD (TLPI_EAGER_BYTES - sizeof(tlpi_peer_header))

typedef struct tlpi_peer_root {
    const tlpi_env *env;
    const tlpi_transport_ops *ops;
    tlpi_transport *t;
    int size; /* of the root */
    int tag;  /* the first of TLPI_PEER_N_TAG */
    int wire;
    int timeout_ms;
    bool oversubscribed; /* more threads of ours than cores */
    size_t max_round;    /* floats that an all-reduce takes at once */
    int n_handle;        /* not freed; by lock */

    /* Slots to send from, then those to receive into, then two texts. */
    char *memory;
    int n_send, n_recv;
    char *abort_in, *abort_out;
    tlpi_xfer **xfer; /* [n_xfer] all that use the memory: */
    int n_xfer;
    tlpi_xfer **sends;       /* [n_send][size] */
    tlpi_xfer **recvs;       /* [n_recv] */
    tlpi_xfer **abort_recv;  /* [1] another rank's abort */
    tlpi_xfer **abort_sends; /* [size] this rank's */

    double next_look; /* at who aborted and who is alive */
    double gone_at;   /* when somebody was first seen to be gone; 0: never */

    pthread_mutex_t lock;
    _Atomic bool failed;         /* text stands still from then on */
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
    uint32_t sent, received; /* mail */
} tlpi_comm_peer;

/* A call of an operation. */
typedef struct tlpi_peer_call {
    tlpi_comm_peer *c;
    tlpi_peer_header head;
    int tag;
    bool idle;    /* peers may be silent for hours */
    double start; /* tlpi_now()'s */
    double since; /* when a peer last answered */
    double now;   /* the last look at the clock */
} tlpi_peer_call;

static inline tlpi_comm_peer *tlpi_peer_of(tlpi_comm *c)
{
    return (tlpi_comm_peer *)c;
}

/* The rank's number in the root, which is the transport's: what texts name. */
static inline int tlpi_peer_root_rank(const tlpi_comm_peer *c, int rank)
{
    return c->first + rank;
}

/* ==== waiting and failing (peer_wait.c) ================================== */

/* TLP_ECOMM with the text of the first failure, once there was one. */
tlp_status tlpi_peer_check(const tlpi_peer_root *f);

/* This rank fails with `st` and the text recorded on this thread: the others
 * are told, unless there was a failure before.  Gives st. */
tlp_status tlpi_peer_fail(tlpi_peer_root *f, tlp_status st);

/* Any thread. */
void tlpi_peer_abort(tlpi_comm_peer *c);

/* Wait until a transfer from or to a rank of the group is done. */
tlp_status tlpi_peer_finish(tlpi_peer_call *call, tlpi_xfer **x, int rank,
                            size_t *got);

/* Let others have the core, in a wait that has lasted for so many seconds;
 * `oversubscribed`: they need it; `idle`: nothing is urgent. */
void tlpi_peer_relax(double waited, bool oversubscribed, bool idle);

/* ==== messages (peer_message.c) ========================================== */

/* Begin a call; `bytes` and `wire` as in the header. */
tlp_status tlpi_peer_begin(tlpi_peer_call *call, tlpi_comm_peer *c, uint32_t op,
                           size_t bytes, int wire);

/* Elements, floats or bytes, that one message takes; whole wire blocks. */
size_t tlpi_peer_room(int wire);
/* Messages for n of them: at least one. */
size_t tlpi_peer_parts(int wire, size_t n);

char *tlpi_peer_send_slot(const tlpi_peer_root *f, size_t slot);
char *tlpi_peer_recv_slot(const tlpi_peer_root *f, size_t slot);

/* Send a slot, whose payload is in place, to a rank. */
tlp_status tlpi_peer_post_send(tlpi_peer_call *call, size_t slot, int to,
                               size_t payload);
/* Wait for all sends from the first n slots. */
tlp_status tlpi_peer_wait_sends(tlpi_peer_call *call, size_t n);

/* Begin to receive into a slot. */
tlp_status tlpi_peer_post_recv(tlpi_peer_call *call, size_t slot, int from);
/* Wait for it; the message must be what head says, but for the vote, which is
 * added to *vote. */
tlp_status tlpi_peer_wait_recv(tlpi_peer_call *call, size_t slot, int from,
                               const tlpi_peer_header *head, size_t payload,
                               uint32_t *vote);

/* n elements at src to each of ranks [to, to + count). */
tlp_status tlpi_peer_push(tlpi_peer_call *call, int to, int count,
                          const void *src, size_t n);
/* n elements from a rank. */
tlp_status tlpi_peer_pull(tlpi_peer_call *call, int from, void *dst, size_t n);

/* ==== all-reduce (peer_reduce.c) ========================================= */

/* Slots that a rank needs for vectors of n floats at once. */
void tlpi_peer_reduce_slots(int size, size_t n, int *n_send, int *n_recv);

/* x[i] = sum over ranks, n <= max_round; *votes = OR over ranks. */
tlp_status tlpi_peer_reduce(tlpi_peer_call *call, float *x, size_t n,
                            uint32_t *votes);

#endif
