/*
 * rank.h - one rank of a session: its backend, its store of weights and caches,
 * the programs over the store, its scratch.  A rank reaches the other ranks
 * only through its communicator and its exchange.
 */
#ifndef TLPI_RANK_H
#define TLPI_RANK_H

#include <stdatomic.h>

#include "rank/exchange.h"
#include "rank/program.h"
#include "rank/rank_config.h"
#include "rank/scratch.h"
#include "rank/store.h"
#include "rank/tap.h"

typedef struct tlpi_rank {
    const tlpi_env *env;
    const tlp_model *model;
    const tlpi_session_config *cfg;
    const _Atomic int *abort; /* rank 0: the session's flag; else NULL */
    const tlpi_probe *probe;  /* or NULL; borrowed, the caller's to set */
    int rank;
    int n_thread, n_prefill; /* as in cfg, or as a command changed them */
    tlpi_comm *comm;         /* owned; commands and results, host memory */
    tlpi_backend *b;
    tlpi_exchange exchange;
    tlpi_scratch scratch;
    tlpi_store store;
    tlpi_program program[TLPI_MAX_PROGRAM];
    int n_program;
} tlpi_rank;

/* A plan and its cut for the ranks of a session, both borrowed.  All plans of a
 * rank are of one model, and all cuts are for one number of ranks, so that they
 * divide the output head alike. */
typedef struct tlpi_program_spec {
    const tlp_plan *plan;
    const tlpi_shards *shards;
} tlpi_program_spec;

typedef struct tlpi_rank_setup {
    const tlp_plan *plan; /* the first program's, as is shards */
    const tlpi_shards *shards;
    const tlpi_program_spec *more; /* [n_more] of other programs, or NULL */
    int n_more;
    const tlpi_session_config *cfg;
    tlpi_comm *comm;   /* taken over, also on failure */
    tlpi_backend *dry; /* NULL; of a dry rank (dry_rank.h): its backend, taken
                          over, also on failure */
    const tlpi_cores *cores; /* bind threads to these; NULL = do not bind */
    const _Atomic int *abort;
    tlp_progress_fn progress; /* or NULL */
    void *progress_data;
} tlpi_rank_setup;

/*
 * Every rank calls.  A rank gets TLP_OK only if all ranks are built; a rank
 * that fails gives up.  total (or NULL): the memory of all ranks, set on rank
 * 0.
 */
tlp_status tlpi_rank_create(tlpi_rank **out, const tlpi_rank_setup *setup,
                            tlpi_rank_sizes *total);
void tlpi_rank_free(tlpi_rank *r); /* NULL and half-built are fine */

/* Memory of the rank: weights and buffers that it holds now, and all pages. */
tlpi_rank_sizes tlpi_rank_bytes(const tlpi_rank *r);

void tlpi_rank_sizes_add(tlpi_rank_sizes *sum, const tlpi_rank_sizes *a);

/* A rank failed with st, and tlp_last_error() says why: end the waits of all
 * ranks.  They get the text, unless it only says that a peer failed. */
void tlpi_rank_give_up(const tlpi_session_config *cfg, tlpi_comm *c,
                       tlp_status st);

/* Give up for a rank that is built, or partly built: its exchanges of
 * activations end too. */
void tlpi_rank_abort(tlpi_rank *r, tlp_status st);

static inline float *tlpi_rank_logits(const tlpi_rank *r, int row)
{
    return r->scratch.logits + (size_t)row * (size_t)r->scratch.logit_cols;
}

/* Floats of the residual stream of a step. */
static inline size_t tlpi_n_stream(const tlpi_rank *r, const tlpi_step *step)
{
    return (size_t)step->n_tok * (size_t)r->model->hp.n_embd;
}

#endif
