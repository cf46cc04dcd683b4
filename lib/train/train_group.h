/*
 * train_group.h - a training on several ranks, which are processes: every rank
 * has the whole net, takes windows of its own in each step, and takes the step
 * with the sum of all gradients.
 *
 *   rank 0                           every other rank (train_serve.c)
 *   brief: options, then tokens ---> builds its trainer
 *   order, with windows         ---> carries it out, as rank 0 does
 *     STEP:   gradients are summed; losses go to rank 0
 *     SCORE:  losses of held-out windows go to rank 0
 *     STATE:  values and moments come from rank 0
 *     END
 *
 * Sums are formed in the order of ranks, so that all ranks have equal bits.  A
 * rank that fails gives up with its reason, and all other ranks get TLP_ECOMM.
 */
#ifndef TLPI_TRAIN_GROUP_H
#define TLPI_TRAIN_GROUP_H

#include <pthread.h>
#include <stdatomic.h>

#include "group/config.h"
#include "train/train_head.h"

typedef struct tlpi_train_group {
    tlpi_comm *comm;         /* NULL: one rank */
    tlpi_session_config cfg; /* of the ranks */
    float *buffer;           /* of sums */
    pthread_t beat;          /* tells other ranks that this rank works */
    bool beats;
    atomic_bool stop;
} tlpi_train_group;

static inline int tlpi_train_rank(const tlpi_train_group *g)
{
    return g->comm ? g->comm->rank : 0;
}

static inline int tlpi_train_n_rank(const tlpi_train_group *g)
{
    return g->comm ? g->comm->size : 1;
}

/* Options of rank 0 on which the work of all ranks depends; equal byte order
 * and layout are the hello's matter. */
typedef struct tlpi_train_brief {
    int32_t n_ctx, n_accum, full, rank, norms, gains, corrections, unused;
    int64_t n_id, n_token, n_local_token, n_held_out_token;
    uint64_t seed, max_bytes;
    double seconds, rate, warm_up, weight_decay, clip, text_share, held_out;
} tlpi_train_brief;

enum tlpi_train_op {
    TLPI_TRAIN_END,
    TLPI_TRAIN_STEP,
    TLPI_TRAIN_SCORE,
    TLPI_TRAIN_STATE
};

typedef struct tlpi_train_order {
    int32_t op;
    int32_t n;     /* STEP: windows of all ranks */
    int32_t local; /* STEP: the loss is local */
    int32_t fresh; /* STEP: moments begin at zero */
    double rate;   /* STEP */
    int64_t step;  /* STATE: of AdamW */
} tlpi_train_order;

/* Take over a communicator, also on failure. */
tlp_status tlpi_train_group_join(tlpi_train_group *g, tlpi_comm *comm,
                                 const tlpi_session_config *cfg);

/* Rank 0: meet the processes of the session options and agree on the plan.
 * TLP_ESTATE on another rank. */
tlp_status tlpi_train_group_lead(tlpi_train_group *g, tlp_plan *plan,
                                 const tlp_session_options *o);

/* Leave: a failure other than the peers' own tells them why. */
void tlpi_train_group_leave(tlpi_train_group *g, tlp_status st);

/* From rank 0 to all; one rank: nothing. */
tlp_status tlpi_train_share(const tlpi_train_group *g, void *data, size_t n);
/* Other ranks wait as long as it takes. */
tlp_status tlpi_train_share_order(const tlpi_train_group *g,
                                  tlpi_train_order *order);
/* Values and moments of what is trained. */
tlp_status tlpi_train_share_params(const tlpi_train_group *g,
                                   const tlpi_train_params *list);

/* Every gradient becomes the sum over ranks. */
tlp_status tlpi_train_sum_grads(const tlpi_train_group *g,
                                const tlpi_train_params *list);

/* n losses are dealt out to the ranks one by one: `own` has those of this rank,
 * and on rank 0 all [n] become all of them.  all: NULL on other ranks. */
tlp_status tlpi_train_collect(const tlpi_train_group *g, int n,
                              const tlpi_train_loss *own, tlpi_train_loss *all);

#endif
