/*
 * gpu_comm.h - exchanges of activations between GPUs: declarations shared by
 * the files of the communicator.
 *
 * There are two methods.  `oneshot` (comm_oneshot.cu) is our own: ranks of one
 * process write into each other's memory, and every rank forms the sum in rank
 * order.  `nccl` (comm_nccl.cu) is NVIDIA's library: between processes, and
 * for large vectors, where it is faster.  Both only enqueue work, so both can
 * be recorded into a graph.
 *
 * Failures are reported between steps.  A root is a communicator that was not
 * split from another, with all communicators split from it; they fail
 * together.
 */
#ifndef TLPI_GPU_COMM_H
#define TLPI_GPU_COMM_H

#include "gpu.h"

/* ==== shared objects (shared_object.cu) ================================== */

/* First member of every shared object. */
typedef struct tlpi_shared_object tlpi_shared_object;
struct tlpi_shared_object {
    uint64_t id; /* never 0 */
    int refs;
    tlpi_shared_object *next;
    void (*destroy)(tlpi_shared_object *object);
};

/* Publish an object; the caller holds a reference.  The last put destroys
 * it. */
void tlpi_shared_object_publish(tlpi_shared_object *object,
                                void (*destroy)(tlpi_shared_object *object));
/* NULL: it was destroyed */
tlpi_shared_object *tlpi_shared_object_get(uint64_t id);
void tlpi_shared_object_put(tlpi_shared_object *object); /* NULL is allowed */

/* ==== a communicator ===================================================== */

/* Most ranks that write into each other's memory. */
enum { TLPI_ONESHOT_RANKS = 16 };

/* Word that a rank reports to its root: 0 no failure, 1 the rank gave up, 2 +
 * r the rank waited too long for root rank r. */
enum { TLPI_GAVE_UP = 1, TLPI_WAITED = 2 };

/*
 * Failure state that the communicators of a root share.  The words are host
 * memory that devices can access: [0] is 1 + the root rank that failed first,
 * [1 + r] is the report of root rank r.
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
    bool own_host; /* this communicator was split, and frees host */
    tlpi_gpu *g;
    /* next communicator of the backend; g->check_arg is the first */
    tlpi_gpu_comm *next;
    tlpi_gpu_root *root;
    int first; /* root rank of rank 0 */
    int timeout_ms;
    tlpi_oneshot *oneshot; /* or NULL */
    tlpi_nccl *nccl;       /* or NULL */
    bool windows;          /* NCCL has symmetric windows; equal on all ranks */
};

static inline int tlpi_gpu_root_rank(const tlpi_gpu_comm *c)
{
    return c->first + c->base.rank;
}

/* Exchange the results of all ranks.  Returns st if it is a failure, else a
 * failure if any rank failed; TLP_ENOMEM if memory was the only reason.
 * (comm.cu) */
tlp_status tlpi_gpu_agree(tlpi_comm *host, tlp_status st);

/* ==== failures (comm_failure.cu) ========================================= */

tlp_status tlpi_gpu_root_create(tlpi_gpu_root **out, const tlpi_env *env,
                                int size);
tlpi_gpu_root *tlpi_gpu_root_get(uint64_t id); /* NULL: it was destroyed */
void tlpi_gpu_root_put(tlpi_gpu_root *root);   /* NULL is allowed */

/* Report `word` for this rank; all waits of the root's communicators end. */
void tlpi_gpu_root_report(tlpi_gpu_root *root, int root_rank, uint64_t word);
bool tlpi_gpu_root_stopped(const tlpi_gpu_root *root);
/* The root's failure as seen by root rank `me`. */
tlp_status tlpi_gpu_root_check(const tlpi_gpu_root *root, int me,
                               int timeout_ms);

/* While c is attached, waits of c->g check it for failures. */
void tlpi_gpu_comm_attach(tlpi_gpu_comm *c);
void tlpi_gpu_comm_detach(tlpi_gpu_comm *c);

/* All ranks call.  If ranks share a device, wait until none has work on it;
 * returns at once while a graph is recorded. (comm.cu) */
tlp_status tlpi_gpu_rendezvous(tlpi_gpu_comm *c);

/* ==== choice of the method (comm_choose.cu) ============================== */

/* Most ranks of a communicator. */
enum { TLPI_GPU_RANKS = 64 };

/* One or both methods; windows only with NCCL. */
enum { TLPI_ONE_SHOT = 1, TLPI_BY_NCCL = 2, TLPI_WINDOWS = 4 };

typedef struct tlpi_nccl_id {
    char bytes[128];
} tlpi_nccl_id;

/* The decision of rank 0. */
typedef struct tlpi_gpu_decision {
    int32_t st; /* tlp_status */
    int32_t ways;
    uint64_t root; /* id of the root if all ranks are in one process, else 0 */
    tlpi_nccl_id id;
    char text[224];
} tlpi_gpu_decision;

/* Send capabilities to rank 0 and receive its decision; sets c->root. */
tlp_status tlpi_gpu_choose(tlpi_gpu_comm *c, tlpi_gpu_decision *d);

/* ==== one-shot exchanges (comm_oneshot.cu) =============================== */

/* All ranks of c->host call; a failure on one rank fails all. */
tlp_status tlpi_oneshot_create(tlpi_gpu_comm *c);
/* Call after the rank's own work has finished. */
void tlpi_oneshot_free(tlpi_gpu_comm *c);

/* Whether two ranks share a device; false without one-shot exchanges. */
bool tlpi_oneshot_shares(const tlpi_gpu_comm *c);

void tlpi_oneshot_allreduce(tlpi_gpu_comm *c, float *x, size_t n);
/* The sum of delta and its add_norm in one kernel; can_norm: the sizes fit. */
bool tlpi_oneshot_can_norm(int n_tok, int cols, int n_norm);
void tlpi_oneshot_allreduce_add_norm(tlpi_gpu_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps);
void tlpi_oneshot_send(tlpi_gpu_comm *c, const float *x, size_t n);
void tlpi_oneshot_recv(tlpi_gpu_comm *c, float *x, size_t n);

/* ==== NCCL (comm_nccl.cu) ================================================ */

/* The library's version (23007 for 2.30.7); loads it first.  TLP_ENOTSUP with
 * the reason when it is missing or too old. */
tlp_status tlpi_nccl_open(int *version);
tlp_status tlpi_nccl_new_id(tlpi_nccl_id *id);

/* Whether this NCCL has symmetric windows. */
bool tlpi_nccl_has_windows(void);

/* All ranks call at once.  split: makes c from the ranks of parent with one
 * color; color -1: this rank gets none and c is NULL. */
tlp_status tlpi_nccl_create(tlpi_gpu_comm *c, const tlpi_nccl_id *id);
tlp_status tlpi_nccl_split(tlpi_gpu_comm *parent, tlpi_gpu_comm *c, int color);
void tlpi_nccl_free(tlpi_gpu_comm *c);

tlp_status tlpi_nccl_allreduce(tlpi_gpu_comm *c, float *x, size_t n);
tlp_status tlpi_nccl_send(tlpi_gpu_comm *c, const float *x, size_t n, int to);
tlp_status tlpi_nccl_recv(tlpi_gpu_comm *c, float *x, size_t n, int from);

/* Make memory a window of c; NULL where NCCL cannot.  All ranks call with one
 * size.  close does nothing if c has failed. */
typedef struct ncclWindow_vidmem *tlpi_nccl_win;
tlp_status tlpi_nccl_open_window(tlpi_gpu_comm *c, void *memory, size_t bytes,
                                 tlpi_nccl_win *out);
void tlpi_nccl_close_window(tlpi_gpu_comm *c, tlpi_nccl_win win);

/* Failures since the last call, without waiting. */
tlp_status tlpi_nccl_check(tlpi_gpu_comm *c);
/* True if an operation has ended since the last call. */
bool tlpi_nccl_progress(tlpi_gpu_comm *c);
/* Abort the running operations of all communicators of a backend, so that its
 * stream ends. */
void tlpi_nccl_abort_all(tlpi_gpu_comm *list);

/* ==== memory for exchanges (nccl_window.cu) ============================== */

/* Close all windows of c; their memory stays allocated. */
void tlpi_gpu_close_windows(tlpi_gpu_comm *c);

#endif
