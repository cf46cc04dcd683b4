/*
 * messages.h - counting the broadcasts and gathers of a session's rank 0.
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "session/session.h"

static int n_bcast, n_gather;
static const tlpi_comm_ops *uncounted;
static tlpi_comm_ops counted;

static inline tlp_status count_bcast(tlpi_comm *c, void *buf, size_t bytes,
                                     bool idle)
{
    n_bcast++;
    return uncounted->bcast(c, buf, bytes, idle);
}

static inline tlp_status count_gather(tlpi_comm *c, const void *src,
                                      const size_t *bytes, void *dst)
{
    n_gather++;
    return uncounted->gather(c, src, bytes, dst);
}

/* Start counting from zero; one session at a time. */
static inline void count_messages(tlp_session *s)
{
    uncounted = s->rank0->comm->ops;
    counted = *uncounted;
    counted.bcast = count_bcast;
    counted.gather = count_gather;
    s->rank0->comm->ops = &counted;
    n_bcast = n_gather = 0;
}

#endif
