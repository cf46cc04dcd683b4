/*
 * memory.h - estimate, before loading, the device memory that a rank will need.
 */
#ifndef TLPI_MEMORY_H
#define TLPI_MEMORY_H

#include "rank/rank.h"

tlpi_needs tlpi_memory_needs(const tlpi_rank *r);

/*
 * What rank r will hold: its parts of the weights and its KV cache, as its
 * backend lays them out; its buffers.  Weights that the model's
 * cache has in the layout of r->b are not counted (r->b NULL: all weights are
 * counted).  Of r only plan, model, shards, cfg, rank and b are read.
 */
tlp_status tlpi_memory_estimate(const tlpi_rank *r, tlpi_rank_sizes *out);

/* The sum over all ranks, without looking at the model's cache. */
tlp_status tlpi_memory_estimate_all(const tlpi_session_config *cfg,
                                    const tlp_plan *plan,
                                    const tlpi_shards *shards,
                                    tlpi_rank_sizes *out);

/* Facts of a rank before it loads. */
typedef struct tlpi_memory_note {
    int device;
    uint64_t free;        /* bytes of it */
    tlpi_rank_sizes need; /* the rank's */
    char name[128];       /* of the device */
} tlpi_memory_note;

/*
 * Do all fit?  Ranks on one device share its free memory, the least of the
 * values that they found; `apart`: each rank's devices are its own.  TLP_ENOMEM
 * for the first device that is too small, with its name, the sums and the
 * ranks.
 */
tlp_status tlpi_memory_judge(const tlpi_memory_note *note, int n_rank,
                             bool apart);

/* Every rank calls before it loads anything; on the CPU nothing is checked. */
tlp_status tlpi_memory_check(tlpi_rank *r);

#endif
