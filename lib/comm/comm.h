/*
 * comm.h - ranks that work on one session: the operations between them.
 *
 * Every rank of a communicator makes the same calls in the same order.  Sums
 * are formed in rank order, so that all ranks hold the same bits, whoever came
 * first.
 *
 * A vote rides on every all-reduce: each rank gives a word, all get the OR of
 * all words.  That is how a wish to stop (abort, failure) reaches every rank
 * at the same place of the same step without a message of its own.
 */
#ifndef TLPI_COMM_H
#define TLPI_COMM_H

#include "base/base.h"

typedef struct tlpi_comm tlpi_comm;

typedef struct tlpi_comm_stats {
    uint64_t allreduces; /* sub-communicators count for themselves */
    uint64_t bytes;      /* payload of this rank's all-reduces and sends */
    double seconds;      /* in calls, waiting included but for idle bcasts */
} tlpi_comm_stats;

typedef struct tlpi_comm_ops {
    /* x[i] = sum over ranks of x[i]; *vote (or NULL: 0) = OR over ranks of
     * *vote.  On failure x is undefined. */
    tlp_status (*allreduce)(tlpi_comm *c, float *x, size_t n, uint32_t *vote);

    /* One-way message to the next rank (rank + 1), from the previous one.
     * The last rank cannot send, rank 0 not receive: TLP_EINVAL. */
    tlp_status (*send_next)(tlpi_comm *c, const float *x, size_t n);
    tlp_status (*recv_prev)(tlpi_comm *c, float *x, size_t n);

    /* Rank r's `bytes[r]` bytes at src go to dst on rank 0, in rank order;
     * bytes is the same on all ranks, dst is NULL on ranks other than 0. */
    tlp_status (*gather)(tlpi_comm *c, const void *src, const size_t *bytes,
                         void *dst);

    /* From rank 0.  `idle`: the others may wait for hours; no deadline. */
    tlp_status (*bcast)(tlpi_comm *c, void *buf, size_t bytes, bool idle);

    /* A communicator of ranks [first, first + count) of c; every rank of c
     * calls, those outside get NULL.  On TLP_ENOMEM, which all ranks get, c
     * stays usable. */
    tlp_status (*split)(tlpi_comm *c, int first, int count, tlpi_comm **out);

    /* Called now and then while a rank loads its weights: those who wait for
     * it in `patient` mode go on waiting.  NULL where nobody has to be told. */
    void (*busy)(tlpi_comm *c);

    /* This rank gives up: all calls of all ranks, now and later, give
     * TLP_ECOMM, in this communicator and in all that share a root with it by
     * splitting.  Any thread. */
    void (*abort)(tlpi_comm *c);

    void (*free)(tlpi_comm *c);
} tlpi_comm_ops;

struct tlpi_comm { /* first member of every implementation's struct */
    const tlpi_comm_ops *ops;
    const tlpi_env *env;
    int rank, size;
    /* Set by the user of the communicator while ranks may be loading: a wait
     * ends only by a failure, or when no peer was busy for the timeout. */
    bool patient;
    tlpi_comm_stats stats;
};

/* One rank alone: everything is a no-op that succeeds. */
tlp_status tlpi_comm_self_create(tlpi_comm **out, const tlpi_env *env);

/*
 * n ranks in one process: fills out[0..n), one handle for each rank's thread.
 * Free each with ops->free, in any order, from any thread.
 *   n_machine   threads of ours at work at once, for the waiting policy
 *   timeout_ms  a collective waits so long for a peer: TLP_ETIMEDOUT (and the
 *               communicator is aborted)
 */
tlp_status tlpi_comm_threads_create(tlpi_comm **out, const tlpi_env *env, int n,
                                    int n_machine, int timeout_ms);

/*
 * Give the link between the ranks of such a communicator, and of the groups
 * that are split from it, a delay: a message reaches other ranks `seconds`
 * after its sender published it.  Call it on one handle before the ranks start.
 */
void tlpi_comm_threads_set_delay(tlpi_comm *c, double seconds);

static inline void tlpi_comm_free(tlpi_comm *c)
{
    if (c)
        c->ops->free(c);
}

#endif
