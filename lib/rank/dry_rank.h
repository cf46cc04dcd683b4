/*
 * dry_rank.h - a rank that computes nothing: it is built and runs like any
 * other rank, over the backend that counts (backend/dry.h) and the
 * communicator that records (comm/comm_record.h).
 */
#ifndef TLPI_DRY_RANK_H
#define TLPI_DRY_RANK_H

#include "backend/dry.h"
#include "comm/comm_record.h"
#include "rank/rank.h"

typedef struct tlpi_dry_setup {
    const tlp_plan *plan;
    const tlpi_shards *shards;
    const tlpi_session_config *cfg; /* its device is not used */
    int rank;
    tlpi_dry_options dry;
    tlpi_comm_event_fn see; /* or NULL; of the communicator of activations */
    void *arg;
    const tlpi_program_spec *more; /* [n_more], as of tlpi_rank_setup */
    int n_more;
} tlpi_dry_setup;

/* Stays where it was created. */
typedef struct tlpi_dry_rank {
    tlpi_session_config cfg;
    tlpi_rank *rank;
} tlpi_dry_rank;

tlp_status tlpi_dry_rank_create(tlpi_dry_rank *out,
                                const tlpi_dry_setup *setup);
void tlpi_dry_rank_free(tlpi_dry_rank *d); /* zeroes are fine */

/* A step of one token. */
tlpi_step tlpi_dry_rank_step(const tlpi_dry_rank *d);

/* Set p->step_stats by a dry run. */
tlp_status tlpi_rank_count_step(tlpi_rank *r, tlpi_program *p);

/* A device replayed a step of n_tok tokens, which made no calls: count its
 * exchanges. */
void tlpi_rank_count_replayed(tlpi_rank *r, const tlpi_program *p, int n_tok);

#endif
