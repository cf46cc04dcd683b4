/*
 * schedule.h - what the ranks do in a stage, act after act, and how much of it
 * falls to each: forward.c's equations as a cost model sees them.
 */
#ifndef TLPI_SCHEDULE_H
#define TLPI_SCHEDULE_H

#include "plan/shard.h"

typedef enum tlpi_act_kind {
    TLPI_ACT_ATTN,  /* attention of all members, on every rank */
    TLPI_ACT_FFN,   /* feed-forward of all members, on every rank */
    TLPI_ACT_SUM,   /* all-reduce over all ranks */
    TLPI_ACT_INNER, /* all-reduce over the ranks of a span */
    TLPI_ACT_PASS   /* each rank of a span waits for the one before it */
} tlpi_act_kind;

typedef struct tlpi_act {
    tlpi_act_kind kind;
    tlpi_span span; /* SUM, INNER, PASS */
    int n_vector;   /* SUM, INNER, PASS: n_embd floats a token, so often */
} tlpi_act;

/* Room for the acts of any stage of the plan. */
int tlpi_schedule_max(const tlp_plan *plan);

/* The acts of a stage, their number.  Exchanges stand in it for one rank too,
 * where they are nothing. */
int tlpi_schedule_stage(const tlp_plan *plan, const tlpi_shards *shards,
                        int stage, tlpi_act *out);

/* A rank's part of a stage. */
typedef struct tlpi_work {
    double attn_bytes, ffn_bytes; /* of weights */
    int n_head;                   /* query heads */
} tlpi_work;

tlpi_work tlpi_schedule_work(const tlp_plan *plan, const tlpi_shards *shards,
                             int stage, int rank);

/* Bytes of the output head that a rank holds. */
double tlpi_schedule_head(const tlp_plan *plan, const tlpi_shards *shards,
                          int rank);

#endif
