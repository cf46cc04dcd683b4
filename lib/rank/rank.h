/*
 * rank.h - one rank of a session: its backend, its shard of the weights, its
 * part of the KV cache, its buffers.  A rank reaches the other ranks only
 * through its communicator and its exchange.
 */
#ifndef TLPI_RANK_H
#define TLPI_RANK_H

#include <stdatomic.h>

#include "backend/weight_cache.h"
#include "plan/adjust.h"
#include "rank/exchange.h"
#include "rank/rank_config.h"
#include "rank/scratch.h"
#include "rank/stage.h"
#include "rank/tap.h"

/* Memory that ranks hold. */
typedef struct tlpi_rank_sizes {
    uint64_t weights, kv, buffers;
} tlpi_rank_sizes;

typedef struct tlpi_rank {
    const tlpi_env *env;
    const tlp_plan *plan; /* borrowed from the session */
    const tlp_model *model;
    const tlpi_shards *shards; /* borrowed from the session */
    const tlpi_session_config *cfg;
    const _Atomic int *abort; /* rank 0: the session's flag; else NULL */
    const tlpi_probe *probe;  /* or NULL; borrowed, the caller's to set */
    int rank;
    tlpi_comm *comm; /* owned; commands and results, host memory */
    tlpi_backend *b;
    bool dry; /* nothing is computed, and no tensor's data is read */
    tlpi_exchange exchange;
    tlpi_scratch scratch;
    uint32_t version; /* tlpi_want */
    /* Devices: exchanges of a step of one token, by communicator as in
     * tlpi_exchange_comm. */
    tlpi_comm_stats *step_stats;
    tlpi_rope *rope;
    tlpi_rank_stage *stage; /* [plan->n_stage] */
    float *output_norm;
    tlpi_weight *embd; /* [n_vocab][d] of devices, else NULL */
    tlpi_weight *head; /* [vocab1 - vocab0][d] */
    int vocab0, vocab1;
    void **merged; /* averaged weights that the backend reads in place, owned */
    size_t n_merged;
    tlpi_rank_sizes bytes; /* of weights, caches and vectors */
} tlpi_rank;

typedef struct tlpi_rank_setup {
    const tlp_plan *plan;
    const tlpi_shards *shards;
    const tlpi_session_config *cfg;
    tlpi_comm *comm;   /* taken over, also on failure */
    tlpi_backend *dry; /* NULL; of a dry rank (dry_rank.h): its backend, taken
                          over, also on failure */
    const _Atomic int *abort;
    tlp_progress_fn progress; /* or NULL */
    void *progress_data;
} tlpi_rank_setup;

/*
 * Every rank calls, and gets TLP_OK only if all are built; one that fails gives
 * up.  total (or NULL): the memory of all ranks, filled in on rank 0.
 */
tlp_status tlpi_rank_create(tlpi_rank **out, const tlpi_rank_setup *setup,
                            tlpi_rank_sizes *total);
void tlpi_rank_free(tlpi_rank *r); /* NULL and half-built are fine */

/* Memory that the rank holds now. */
tlpi_rank_sizes tlpi_rank_bytes(const tlpi_rank *r);

/* A rank failed with st, and tlp_last_error() says why: wake the others, who
 * get to read it unless it only says that a peer failed. */
void tlpi_rank_give_up(const tlpi_session_config *cfg, tlpi_comm *c,
                       tlp_status st);

/* Give up for a rank that is built, or partly built: its exchanges of
 * activations end too. */
void tlpi_rank_abort(tlpi_rank *r, tlp_status st);

/* The others may be waiting for this rank to load: it is at work. */
void tlpi_rank_busy(tlpi_rank *r);

/* rank_weights.c: load this rank's parts of every stage, and the head. */
tlp_status tlpi_rank_load(tlpi_rank *r, tlp_progress_fn progress,
                          void *progress_data);
void tlpi_rank_unload(tlpi_rank *r);

/* rank_adjust.c: other adjustments for a stage than the plan's, from the next
 * step on; NULL: none.  All is copied.  On failure the stage is as before. */
tlp_status tlpi_rank_adjust_stage(tlpi_rank *r, int stage,
                                  const tlpi_stage_adjust *adjust);
void tlpi_rank_adjust_free(tlpi_rank *r, tlpi_rank_stage *s);

/* Which member's attention sum this rank forms in delta, or -1. */
int tlpi_rank_carried(const tlpi_rank *r, const tlpi_rank_stage *s);

/* merge.c: the element-wise mean of one tensor over a stage's layers, as F32.
 * out->data is the caller's to free. */
tlp_status tlpi_merge_tensor(const tlp_model *m, const tlpi_stage *stage,
                             tlpi_layer_id id, tlpi_tensor *out);

static inline float *tlpi_rank_logits(const tlpi_rank *r, int row)
{
    return r->scratch.logits + (size_t)row * (size_t)(r->vocab1 - r->vocab0);
}

/* Floats of the residual stream of a step. */
static inline size_t tlpi_n_stream(const tlpi_rank *r, const tlpi_step *step)
{
    return (size_t)step->n_tok * (size_t)r->model->hp.n_embd;
}

#endif
