/*
 * program.h - one plan as one rank runs it: the stages over the rank's store.
 *
 * Norms, biases, gains and corrections belong to the program, since a plan may
 * change them; matrices and KV caches are the store's.
 */
#ifndef TLPI_PROGRAM_H
#define TLPI_PROGRAM_H

#include "plan/adjust.h"
#include "rank/scratch.h"
#include "rank/stage.h"
#include "rank/store.h"

/* Programs of a rank. */
enum { TLPI_MAX_PROGRAM = 4 };

typedef struct tlpi_program {
    tlpi_store *store;     /* borrowed, as are scratch, plan and shards */
    tlpi_scratch *scratch; /* wide enough for every program of the rank */
    const tlp_plan *plan;
    const tlpi_shards *shards;
    int rank;
    tlpi_rank_stage *stage; /* [plan->n_stage] */
    /* Data that the backend reads in place, of weights that only this program
     * has; owned. */
    void **own;
    size_t n_own;
    uint32_t version; /* tlpi_want; no two programs have one version */
    /* Devices: exchanges of a step of one token, by communicator as in
     * tlpi_exchange_comm. */
    tlpi_comm_stats *step_stats;
    tlpi_rank_sizes bytes; /* of what is not the store's */
} tlpi_program;

/* How far a rank is with its loading: `done` of `total` steps. */
typedef struct tlpi_loading {
    tlp_progress_fn fn; /* or NULL */
    void *arg;
    int done, total;
} tlpi_loading;

/* Say how far it is; TLP_ECANCELED if the listener wants it to end. */
tlp_status tlpi_loading_say(const tlpi_loading *l);

/* The fields store to rank are set and the other fields are zero.  Stages are
 * loaded one after another.  After a failure the caller frees the program. */
tlp_status tlpi_program_load(tlpi_program *p, tlpi_loading *loading);
void tlpi_program_free(tlpi_program *p); /* zeroes are fine */

/* From now on, steps that a device has recorded of p are not replayed. */
static inline void tlpi_program_renew(tlpi_program *p)
{
    p->version = ++p->store->version;
}

/* A weight of this program alone, from a tensor whose data the function takes
 * over, also on failure. */
tlp_status tlpi_program_own_weight(tlpi_program *p, const tlpi_tensor *t,
                                   tlpi_slice s, tlpi_weight **out);

/* program_lora.c: a part's slices of the LoRA of a layer's matrices; the plan's
 * and the adapter's are one. */
tlp_status tlpi_program_load_lora(tlpi_program *p, int layer, tlpi_half half,
                                  const tlpi_part *part,
                                  tlpi_rank_tensors *out);
void tlpi_program_free_lora(tlpi_program *p, tlpi_rank_tensors *t);
/* Columns of scratch.low that the LoRA of a stage needs. */
int tlpi_program_lora_cols(const tlpi_rank_stage *s);
/* The longest row of any x of LoRA: the largest rank. */
int tlpi_program_lora_rank(const tlp_plan *plan,
                           const tlpi_session_config *cfg);

/* program_rows.c: which rows the parts of a stage are parts of, in models that
 * normalise whole rows of queries and keys. */
void tlpi_program_set_rows(tlpi_program *p, int stage);

/* program_adjust.c: other adjustments for a stage than the plan's, from the
 * next step on; NULL: none.  All is copied.  On failure the stage is as before.
 */
tlp_status tlpi_program_adjust_stage(tlpi_program *p, int stage,
                                     const tlpi_stage_adjust *adjust);
void tlpi_program_adjust_free(tlpi_program *p, tlpi_rank_stage *s);

/* Which member's attention sum this rank forms in delta, or -1. */
int tlpi_rank_carried(int rank, const tlpi_rank_stage *s);

/* merge.c: the element-wise mean of one tensor over a stage's layers, as F32.
 * out->data is the caller's to free. */
tlp_status tlpi_merge_tensor(const tlp_model *m, const tlpi_stage *stage,
                             tlpi_layer_id id, tlpi_tensor *out);

#endif
