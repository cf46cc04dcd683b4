/*
 * comm_record.h - one rank's communicator without the other ranks: it shows
 * every operation to a function, and waits for nobody.
 */
#ifndef TLPI_COMM_RECORD_H
#define TLPI_COMM_RECORD_H

#include "comm/comm.h"

typedef enum tlpi_comm_kind {
    TLPI_COMM_SUM,  /* allreduce */
    TLPI_COMM_SEND, /* send_next */
    TLPI_COMM_RECV  /* recv_prev */
} tlpi_comm_kind;

typedef struct tlpi_comm_event {
    tlpi_comm_kind kind;
    int first, count; /* ranks of the communicator, counted in its root */
    bool split;       /* the communicator was split from another one */
    size_t n;         /* floats */
} tlpi_comm_event;

/* Not TLP_OK: the operation fails with this status. */
typedef tlp_status (*tlpi_comm_event_fn)(void *arg, const tlpi_comm_event *e);

/*
 * Rank `rank` of `size`.  `see` (or NULL) is called in every operation of the
 * communicator and of those split from it.  Operations succeed and leave x as
 * it is; gather and bcast, which need the other ranks' data, are refused.
 * Counters are those of a communicator with ranks: one rank alone counts none.
 */
tlp_status tlpi_comm_record_create(tlpi_comm **out, const tlpi_env *env,
                                   int rank, int size, tlpi_comm_event_fn see,
                                   void *arg);

#endif
