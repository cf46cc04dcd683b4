/*
 * rank_threads.h - the ranks of this process, each on a thread.
 */
#ifndef TLPI_RANK_THREADS_H
#define TLPI_RANK_THREADS_H

#include "rank/rank.h"

typedef struct tlpi_rank_threads tlpi_rank_threads;

/*
 * Build all ranks at once, rank 0 on the caller's thread.  With a communicator
 * in the setup the other ranks are processes of their own; with NULL they are
 * threads of this process.  After a failure, status and text come from the rank
 * that failed first.
 */
tlp_status tlpi_rank_threads_create(tlpi_rank_threads **out, tlpi_rank **rank0,
                                    const tlpi_rank_setup *setup);
/* End and join the threads of the other ranks, then free rank 0. */
void tlpi_rank_threads_free(tlpi_rank_threads *threads);

/* A command failed: end the other ranks; the status and text of the rank
 * behind it, where st only says that a peer failed. */
tlp_status tlpi_rank_threads_fail(tlpi_rank_threads *threads, tlp_status st);

/* Memory of all ranks as they were built. */
const tlpi_rank_sizes *
tlpi_rank_threads_sizes(const tlpi_rank_threads *threads);

#endif
