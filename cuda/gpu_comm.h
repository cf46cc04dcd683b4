/*
 * gpu_comm.h - exchanges of activations between GPUs: what the files of the
 * communicator share.
 *
 * Two ways lead from GPU to GPU.  `oneshot` (comm_oneshot.cu) is our own: ranks
 * of one process write into each other's memory; the sum is formed in rank
 * order. `nccl` (comm_nccl.cu) is NVIDIA's library: between processes, and for
 * large vectors where it is faster.  Both only enqueue, so both can be recorded
 * into a graph.
 *
 * Failures show between steps.  All communicators that come from one root by
 * splitting share that root's failure.
 */
#ifndef TLPI_GPU_COMM_H
#define TLPI_GPU_COMM_H

#include "gpu.h"

/* ==== shared objects (shared_object.cu) ================================== */

/* The first member of such an object. */
typedef struct tlpi_shared_object tlpi_shared_object;
struct tlpi_shared_object {
    uint64_t id; /* never 0 */
    int refs;
    tlpi_shared_object *next;
    void (*destroy)(tlpi_shared_object *object);
};

/* The caller holds it; the last who puts it destroys it. */
void tlpi_shared_object_publish(tlpi_shared_object *object,
                                void (*destroy)(tlpi_shared_object *object));
tlpi_shared_object *tlpi_shared_object_get(uint64_t id); /* NULL: it is gone */
void tlpi_shared_object_put(tlpi_shared_object *object); /* NULL is fine */

/* ==== a communicator ===================================================== */

/* Ranks that write into each other's memory. */
enum { TLPI_ONESHOT_RANKS = 16 };

/* A rank's word for its root: 0, that it gave up, or 2 + the root rank that
 * it waited for too long. */
enum { TLPI_GAVE_UP = 1, TLPI_WAITED = 2 };

/*
 * What a root shares.  The words lie in host memory that devices reach: [0]
 * is 1 + the root rank that failed first, [1 + r] what root rank r reports.
 */
typedef struct tlpi_gpu_root {
    tlpi_shared_object shared;
    const tlpi_env *env;
    uint64_t *word; /* [1 + size] */
    int size;
} tlpi_gpu_root;

typedef struct tlpi_oneshot tlpi_oneshot;
typedef struct tlpi_nccl tlpi_nccl;

typedef struct tlpi_gpu_comm tlpi_gpu_comm;
struct tlpi_gpu_comm {
    tlpi_comm base;
    tlpi_comm *host;
    bool own_host; /* of a split */
    tlpi_gpu *g;
    tlpi_gpu_comm *next; /* of the same backend: g->check_arg is the first */
    tlpi_gpu_root *root;
    int first; /* root rank of rank 0 */
    int timeout_ms;
    tlpi_oneshot *oneshot; /* or NULL */
    tlpi_nccl *nccl;       /* or NULL */
    bool windows;          /* of NCCL's can be had; alike on all ranks */
};

static inline int tlpi_gpu_root_rank(const tlpi_gpu_comm *c)
{
    return c->first + c->base.rank;
}

/* Did all succeed?  st is this rank's; one that did hears of one that did not,
 * and whether it was for want of memory. (comm.cu) */
tlp_status tlpi_gpu_agree(tlpi_comm *host, tlp_status st);

/* ==== failures (comm_failure.cu) ========================================= */

tlp_status tlpi_gpu_root_create(tlpi_gpu_root **out, const tlpi_env *env,
                                int size);
tlpi_gpu_root *tlpi_gpu_root_get(uint64_t id); /* NULL: it is gone */
void tlpi_gpu_root_put(tlpi_gpu_root *root);   /* NULL is fine */

/* This rank reports `word`, and all of its root stop waiting. */
void tlpi_gpu_root_report(tlpi_gpu_root *root, int root_rank, uint64_t word);
bool tlpi_gpu_root_stopped(const tlpi_gpu_root *root);
/* What the root says to root rank `me`. */
tlp_status tlpi_gpu_root_check(const tlpi_gpu_root *root, int me,
                               int timeout_ms);

/* c->g looks after c while it waits. */
void tlpi_gpu_comm_attach(tlpi_gpu_comm *c);
void tlpi_gpu_comm_detach(tlpi_gpu_comm *c);

/* All ranks call: if some share a device, all wait until none has work on it,
 * unless this is being recorded. (comm.cu) */
tlp_status tlpi_gpu_rendezvous(tlpi_gpu_comm *c);

/* ==== which way (comm_choose.cu) ========================================= */

/* Ranks of a communicator. */
enum { TLPI_GPU_RANKS = 64 };

/* One or both of the first two; windows of NCCL's with the second. */
enum { TLPI_ONE_SHOT = 1, TLPI_BY_NCCL = 2, TLPI_WINDOWS = 4 };

typedef struct tlpi_nccl_id {
    char bytes[128];
} tlpi_nccl_id;

/* What rank 0 decides. */
typedef struct tlpi_gpu_decision {
    int32_t st; /* tlp_status */
    int32_t ways;
    uint64_t root; /* of ranks in one process; 0: in several */
    tlpi_nccl_id id;
    char text[224];
} tlpi_gpu_decision;

/* Tell rank 0, hear what it decided; c->root is then set. */
tlp_status tlpi_gpu_choose(tlpi_gpu_comm *c, tlpi_gpu_decision *d);

/* ==== one-shot exchanges (comm_oneshot.cu) =============================== */

/* All ranks of c->host call; fails on all if it does on one. */
tlp_status tlpi_oneshot_create(tlpi_gpu_comm *c);
/* After the rank's own work is done. */
void tlpi_oneshot_free(tlpi_gpu_comm *c);

/* Do two of the ranks share a device?  False without one-shot exchanges. */
bool tlpi_oneshot_shares(const tlpi_gpu_comm *c);

void tlpi_oneshot_allreduce(tlpi_gpu_comm *c, float *x, size_t n);
/* The sum of delta, and add_norm of it, in one kernel; can it do so many? */
bool tlpi_oneshot_can_norm(int n_tok, int cols, int n_norm);
void tlpi_oneshot_allreduce_add_norm(tlpi_gpu_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps);
void tlpi_oneshot_send(tlpi_gpu_comm *c, const float *x, size_t n);
void tlpi_oneshot_recv(tlpi_gpu_comm *c, float *x, size_t n);

/* ==== NCCL (comm_nccl.cu) ================================================ */

/* The library's version (23007 for 2.30.7), loading it first; TLP_ENOTSUP with
 * the reason when it is missing or too old. */
tlp_status tlpi_nccl_open(int *version);
tlp_status tlpi_nccl_new_id(tlpi_nccl_id *id);

/* Whether this NCCL has symmetric windows. */
bool tlpi_nccl_has_windows(void);

/* All ranks call at once.  split: of parent, into ranks of one color; -1: this
 * rank is in none, c is then NULL. */
tlp_status tlpi_nccl_create(tlpi_gpu_comm *c, const tlpi_nccl_id *id);
tlp_status tlpi_nccl_split(tlpi_gpu_comm *parent, tlpi_gpu_comm *c, int color);
void tlpi_nccl_free(tlpi_gpu_comm *c);

tlp_status tlpi_nccl_allreduce(tlpi_gpu_comm *c, float *x, size_t n);
tlp_status tlpi_nccl_send(tlpi_gpu_comm *c, const float *x, size_t n, int to);
tlp_status tlpi_nccl_recv(tlpi_gpu_comm *c, float *x, size_t n, int from);

/* Memory that is a window of c's from now on, NULL where NCCL cannot make it
 * one: all ranks call, for as many bytes.  close: nothing if c has failed. */
typedef struct ncclWindow_vidmem *tlpi_nccl_win;
tlp_status tlpi_nccl_open_window(tlpi_gpu_comm *c, void *memory, size_t bytes,
                                 tlpi_nccl_win *out);
void tlpi_nccl_close_window(tlpi_gpu_comm *c, tlpi_nccl_win win);

/* What went wrong since; without waiting. */
tlp_status tlpi_nccl_check(tlpi_gpu_comm *c);
/* Operations that have ended since the last call, true if any. */
bool tlpi_nccl_progress(tlpi_gpu_comm *c);
/* End what is running for any of a backend's communicators, so that the stream
 * does. */
void tlpi_nccl_abort_all(tlpi_gpu_comm *list);

/* ==== memory for exchanges (nccl_window.cu) ============================== */

/* Close all windows of c; their memory stays. */
void tlpi_gpu_close_windows(tlpi_gpu_comm *c);

#endif
