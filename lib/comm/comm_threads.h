/*
 * comm_threads.h - memory that the ranks of one process share.
 *
 * A group is one communicator.  A root is a group that was not split from
 * another, with all groups split from it: they abort together.
 */
#ifndef TLPI_COMM_THREADS_H
#define TLPI_COMM_THREADS_H

#include <pthread.h>
#include <stdalign.h>

#include "base/wait.h"
#include "comm/comm.h"

/* Payloads up to this size are copied through slots.  Larger payloads are read
 * from the sender's memory while the sender waits. */
#define TLPI_SLOT_BYTES ((size_t)16 * 1024)

/* An abort adds this to all words.  Nobody waits for more than two phases, so
 * every wait for a word ends. */
#define TLPI_ABORT_STEP (UINT32_C(1) << 30)

enum { TLPI_OP_ALLREDUCE = 1, TLPI_OP_GATHER, TLPI_OP_BCAST, TLPI_OP_SPLIT };

/* Message that a rank publishes with a phase. */
typedef struct tlpi_message {
    int op; /* TLPI_OP_* */
    uint32_t vote;
    size_t bytes;
    void *ptr;  /* a large payload, or a group */
    double due; /* when a link with a delay has delivered it; 0 = at once */
} tlpi_message;

typedef struct tlpi_mailbox_slot {
    alignas(64) tlpi_message message;
    alignas(64) float data[TLPI_SLOT_BYTES / sizeof(float)];
} tlpi_mailbox_slot;

/* Memory of one rank of a group that the other ranks read and write. */
typedef struct tlpi_mailbox {
    alignas(64) tlpi_word phase; /* phases published */
    alignas(64) tlpi_word sent;  /* messages written to to_next */
    _Atomic int accessing; /* 1 while this rank accesses other ranks' memory */
    alignas(64) tlpi_word taken; /* messages that the next rank has taken */
    tlpi_mailbox_slot slot[2];   /* phase p uses slot[p % 2] */
    tlpi_mailbox_slot to_next;   /* message to the next rank */
} tlpi_mailbox;

typedef struct tlpi_group tlpi_group;

/* One rank's handle, used by that rank's thread alone. */
typedef struct tlpi_comm_threads {
    alignas(64) tlpi_comm base;
    tlpi_group *group;
    uint32_t phase;    /* phases this rank has published */
    uint32_t sent;     /* to the next rank */
    uint32_t received; /* from the previous rank */
    double lost;       /* seconds by which the deadline of the running call
                          moves: this thread could not run */
    tlpi_spin spin;    /* of this rank's thread, in waits of this group */
} tlpi_comm_threads;

typedef struct tlpi_comm_root {
    const tlpi_env *env;
    int n_machine;  /* threads that run at once, for the waiting policy */
    tlpi_spin spin; /* of a rank at its start */
    int timeout_ms;
    double link_delay;       /* seconds that a message takes; 0 = none */
    _Atomic int failed_rank; /* root rank that gave up + 1; 0 = none */
    pthread_mutex_t lock;
    int n_handle;       /* handles given out and not freed */
    tlpi_group *groups; /* all groups that are not freed */
} tlpi_comm_root;

struct tlpi_group {
    tlpi_comm_root *root;
    tlpi_group *next;
    int first; /* root rank of rank 0 */
    int size;
    int n_left;                /* handles not freed, with those never taken */
    tlpi_mailbox *mailbox;     /* [size] */
    tlpi_comm_threads *handle; /* [size] */
};

/* ==== groups and roots (comm_group.c) ==================================== */

/* Create a root and its first group, without giving out a handle. */
tlp_status tlpi_comm_root_create(tlpi_group **root, const tlpi_env *env,
                                 int size, int n_machine, int timeout_ms,
                                 const tlpi_comm_ops *ops);

/* Create a group of `size` ranks, from root rank `first` on. */
tlp_status tlpi_group_create(tlpi_group **out, tlpi_comm_root *root, int first,
                             int size, const tlpi_comm_ops *ops);

/* Give out a rank's handle, once; the rank owns it then. */
tlpi_comm *tlpi_group_take(tlpi_group *g, int rank);

/* Free a handle.  The last handle of a group frees the group; the last handle
 * of a root frees the root. */
void tlpi_group_put(tlpi_comm_threads *c);

/* Root rank `rank` gives up; all waits in the root's groups end. */
void tlpi_comm_root_abort(tlpi_comm_root *root, int rank);

/* ==== phases (comm_phase.c) ============================================== */

/* A rank's number in the root.  Error texts name it, because users know it. */
int tlpi_root_rank(const tlpi_comm_threads *c, int rank);

/* TLP_ECOMM if a rank has given up. */
tlp_status tlpi_phase_check(const tlpi_comm_threads *c);
void tlpi_phase_give_up(tlpi_comm_threads *c);

/* Wait for a word of `rank`; deadline 0 = none.  Time in which this thread
 * could not run, as in a stopped process, does not count.  When this or a later
 * function here fails, no other rank accesses this rank's memory any more, and
 * it may be freed. */
tlp_status tlpi_phase_await(tlpi_comm_threads *c, tlpi_word *w, uint32_t target,
                            int rank, double deadline);

/* Wait until all ranks have published as many phases as this rank. */
tlp_status tlpi_phase_await_all(tlpi_comm_threads *c, double deadline);

/* Publish n phases without a message. */
void tlpi_phase_pass(tlpi_comm_threads *c, uint32_t n);

/* Write a message into the slot of the next phase, with message.bytes of data
 * unless data is NULL, and publish the phase. */
tlp_status tlpi_phase_publish(tlpi_comm_threads *c, tlpi_message message,
                              const void *data, double deadline);

/* The time at which a message that is published now reaches other ranks. */
double tlpi_phase_due(const tlpi_comm_threads *c);

/* Wait until a message of `rank` has crossed the link.  `count` is a count
 * that `w` has reached by now; an abort ends the wait through `w`. */
tlp_status tlpi_phase_await_link(tlpi_comm_threads *c,
                                 const tlpi_message *message, tlpi_word *w,
                                 uint32_t count, int rank, double deadline);

/* A rank's slot of a phase that the rank has published. */
const tlpi_mailbox_slot *tlpi_phase_slot(const tlpi_comm_threads *c, int rank,
                                         uint32_t phase);

/* Call before and after accessing memory that another rank's message points
 * to.  Begin gives TLP_ECOMM, without access, if a rank has given up. */
tlp_status tlpi_phase_begin_access(tlpi_comm_threads *c);
void tlpi_phase_end_access(tlpi_comm_threads *c);

/* Wait for a rank's slot of a phase.  TLP_ECOMM if its message has another
 * operation or size. */
tlp_status tlpi_phase_receive(tlpi_comm_threads *c, int rank, uint32_t phase,
                              int op, size_t bytes, double deadline,
                              const tlpi_mailbox_slot **out);

#endif
