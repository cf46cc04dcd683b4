/*
 * comm.h - operations between the ranks of one session.
 *
 * Every rank of a communicator makes the same calls in the same order.  Sums
 * are formed in rank order, so all ranks hold the same bits in every run.
 *
 * A vote is part of every all-reduce: each rank gives a word, and all ranks
 * get the OR of all words.  A request to stop (abort, failure) thus reaches
 * every rank at one place of one step, without a message of its own.
 */
#ifndef TLPI_COMM_H
#define TLPI_COMM_H

#include "base/base.h"

typedef struct tlpi_comm tlpi_comm;

typedef struct tlpi_comm_stats {
    uint64_t allreduces; /* those of sub-communicators are in their own stats */
    uint64_t bytes;      /* payload of this rank's all-reduces and sends */
    /* in calls, with waiting; without the wait of an idle bcast */
    double seconds;
} tlpi_comm_stats;

typedef struct tlpi_comm_ops {
    /* x[i] = sum over ranks of x[i]; *vote (or NULL: 0) = OR over ranks of
     * *vote.  On failure x is undefined. */
    tlp_status (*allreduce)(tlpi_comm *c, float *x, size_t n, uint32_t *vote);

    /* One-way message to the next rank (rank + 1), received from the previous
     * rank.  TLP_EINVAL when the last rank sends or rank 0 receives. */
    tlp_status (*send_next)(tlpi_comm *c, const float *x, size_t n);
    tlp_status (*recv_prev)(tlpi_comm *c, float *x, size_t n);

    /* Collect on rank 0: the `bytes[r]` bytes at src of every rank r go to dst
     * in rank order.  `bytes` is equal on all ranks; dst is NULL except on
     * rank 0. */
    tlp_status (*gather)(tlpi_comm *c, const void *src, const size_t *bytes,
                         void *dst);

    /* Send from rank 0 to all ranks.  `idle`: the receiving ranks may wait for
     * hours, without a deadline. */
    tlp_status (*bcast)(tlpi_comm *c, void *buf, size_t bytes, bool idle);

    /* Make a communicator of ranks [first, first + count) of c.  Every rank of
     * c calls; ranks outside the range get NULL.  If one rank is out of
     * memory, all ranks get TLP_ENOMEM and c stays usable. */
    tlp_status (*split)(tlpi_comm *c, int first, int count, tlpi_comm **out);

    /* A rank calls this now and then while it loads weights; ranks that wait
     * for it with `patient` set continue to wait.  NULL where no rank needs
     * it. */
    void (*busy)(tlpi_comm *c);

    /* This rank gives up.  All present and later calls of all ranks give
     * TLP_ECOMM, in this communicator and in all communicators split from the
     * same root.  Any thread may call. */
    void (*abort)(tlpi_comm *c);

    void (*free)(tlpi_comm *c);
} tlpi_comm_ops;

struct tlpi_comm { /* first member of every implementation's struct */
    const tlpi_comm_ops *ops;
    const tlpi_env *env;
    int rank, size;
    const char *link; /* what carries the messages; lives as long as the code */
    /* Set by the user of the communicator while ranks may be loading.  A
     * wait then ends by a failure, or when no peer has called busy for the
     * timeout. */
    bool patient;
    tlpi_comm_stats stats;
};

/* A single rank: every operation succeeds and does nothing. */
tlp_status tlpi_comm_self_create(tlpi_comm **out, const tlpi_env *env);

/*
 * Ranks in one process.  Fills out[0..n) with one handle for each rank's
 * thread.  Free each handle with ops->free, in any order, from any thread.
 *   n_machine   threads of the library that run at once on this machine, for
 *               the waiting policy
 *   timeout_ms  longest wait of a collective for a peer; then the call gives
 *               TLP_ETIMEDOUT and the communicator is aborted
 */
tlp_status tlpi_comm_threads_create(tlpi_comm **out, const tlpi_env *env, int n,
                                    int n_machine, int timeout_ms);

/* Choose how the ranks' waits spin (tlpi_spin_make), in place of 0: adapting.
 * Call it on one handle before the ranks start. */
void tlpi_comm_threads_set_spin(tlpi_comm *c, int spin_us);

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
