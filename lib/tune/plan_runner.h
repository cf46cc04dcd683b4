/*
 * plan_runner.h - one rank that runs a plan alone, without a session: stage by
 * stage, from and to activations that the caller keeps.
 */
#ifndef TLPI_PLAN_RUNNER_H
#define TLPI_PLAN_RUNNER_H

#include "base/pool.h"
#include "rank/rank.h"

/* Options of one rank that takes a window of n_ctx tokens in one step.  Of *o
 * it reads n_ctx, n_thread, n_thread_prefill, spin_us, pool, compute, kv_type
 * and isa. */
tlp_status tlpi_runner_config(tlpi_session_config *out, const tlp_model *model,
                              const tlp_session_options *o);

typedef struct tlpi_runner {
    tlp_plan *plan; /* retained */
    tlpi_shards *shards;
    tlpi_rank *rank;
} tlpi_runner;

/* Packed weights come from the model's weight cache, so a second runner of the
 * model costs little.  cfg is borrowed and has one rank. */
tlp_status tlpi_runner_create(tlpi_runner *out, tlp_plan *plan,
                              const tlpi_session_config *cfg);
void tlpi_runner_free(tlpi_runner *r); /* zeroes are fine */

/* A pool of n_thread threads for work beside the runners of cfg. */
tlp_status tlpi_runner_pool(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_session_config *cfg, int n_thread);

/* Logits of tokens [at, at + n) of the step that the runner began or ran last;
 * n <= TLPI_LOGIT_CHUNK. */
void tlpi_runner_rows(const tlpi_runner *r, int at, int n, float *host);

#endif
