/*
 * dry_run.h - a step of one token as every rank goes through it: the acts of
 * forward.c, recorded while it runs over the dry pair (rank/dry_rank.h).
 */
#ifndef TLPI_DRY_RUN_H
#define TLPI_DRY_RUN_H

#include "comm/comm_record.h"
#include "plan/shard.h"

typedef enum tlpi_act_kind {
    TLPI_ACT_ATTN, /* work: attention of all parts */
    TLPI_ACT_FFN,  /* work: feed-forward of all parts */
    TLPI_ACT_EXCHANGE
} tlpi_act_kind;

typedef struct tlpi_act {
    tlpi_act_kind kind;
    int stage;
    double bytes;        /* work: of the weights that a token reads */
    double expert_bytes; /* work: of all experts, of which `bytes` has the
                            share that a token reads */
    double expert_share;
    int n_head;               /* work: query heads */
    tlpi_comm_event exchange; /* EXCHANGE; floats of one token */
} tlpi_act;

/* The acts of one rank in a step.  If the rank holds no part of a half of a
 * stage, this half is no act.  A single rank has exchanges as acts too; they
 * take no time. */
typedef struct tlpi_trace {
    const tlpi_env *env;
    tlpi_act *act;
    int n_act, cap;
    double head_bytes; /* of its rows of the output head */
} tlpi_trace;

tlp_status tlpi_trace_create(tlpi_trace *out, const tlp_plan *plan,
                             const tlpi_shards *shards, int rank);
void tlpi_trace_free(tlpi_trace *t); /* zeroes are fine */

/* All ranks. */
typedef struct tlpi_dry_run {
    const tlpi_env *env;
    tlpi_shards *shards;
    int n_rank;
    tlpi_trace *rank; /* [n_rank] */
} tlpi_dry_run;

tlp_status tlpi_dry_run_create(tlpi_dry_run *out, const tlp_plan *plan,
                               int n_rank);
void tlpi_dry_run_free(tlpi_dry_run *run); /* zeroes are fine */

/* Exchanges on the longest chain of a step in which each waits for the exchange
 * before (predict.c): the time of the step if an exchange takes 1 and work
 * nothing. */
tlp_status tlpi_dry_run_exchanges(const tlpi_dry_run *run, int *out);

/* Bytes of the weights that n tokens read, if each token chooses its experts at
 * random. */
double tlpi_act_bytes(const tlpi_act *a, double n_tok);

/* Does the act take place between ranks? */
static inline bool tlpi_act_is_exchange(const tlpi_act *a)
{
    return a->kind == TLPI_ACT_EXCHANGE && a->exchange.count > 1;
}

#endif
