/*
 * handshake.h - how the ranks of a session in several processes agree on one.
 *
 *   rank 0                               every other rank
 *   hello: what the session is,    --->  checks it, makes its communicator
 *     on tag 0
 *                                  <---  busy: hashes its model
 *                                  <---  manifest, if the model's digest is
 *                                        not rank 0's
 *   reads all verdicts             <---  verdict: a status and a text
 *   busy: another rank hashes      --->
 *   decision: the first failure,   --->  goes on, or returns the decision
 *     by rank, or "go on"
 *   the plan's adjustments and     --->  checks their hashes
 *     the adapter, if there are any
 *
 * All but the hello travels on a tag of the session's channel, as texts, so
 * that ranks of any byte order understand why they do not fit.  Every rank
 * hashes its own file before it answers (model/digest.h).  That takes as long
 * as its disk needs; a word of progress moves the deadline of every wait.
 * Rank 0 compares the manifest with its own and names the tensor that differs.
 * Adjustments and the adapter are the first broadcasts of the session's
 * communicator.
 */
#ifndef TLPI_HANDSHAKE_H
#define TLPI_HANDSHAKE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/sha256.h"
#include "plan/plan.h"
#include "group/config.h"

/* ==== hellos (hello.c) =================================================== */

/* Version of the protocol, which must be equal on all ranks.  Raise it when
 * messages of ranks, or the order of their collectives, change. */
#define TLPI_PROTOCOL 8

/* What the ranks will do together. */
enum tlpi_task { TLPI_TASK_SESSION, TLPI_TASK_TRAINING };

typedef struct tlpi_hello {
    int protocol;
    char version[32];
    char byte_order[8];
    int channel;
    char fingerprint[TLPI_HASH_TEXT];
    char digest[TLPI_HASH_TEXT]; /* or TLPI_NO_DIGEST */
    char types[256];             /* "F32:61,Q4_1:210" */
    int task;                    /* enum tlpi_task */
    int n_rank, n_ctx, n_seq, n_batch;
    int n_page, kv_ahead; /* as in tlpi_session_config; rank 0's */
    int backend, compute, kv_type, wire; /* TLP_*; unknown names become -1 */
    int timeout_ms;                      /* rank 0's */
    char adapter[TLPI_HASH_TEXT];        /* or TLPI_NO_ADAPTER */
    char adapter_scale[24];
    /* by which routers are computed; "any" for models without experts, whose
     * ranks need not have equal bits */
    char kernels[16];
    const char *plan; /* JSON; borrowed */
} tlpi_hello;

/* Digest of a rank that trusts the fingerprint. */
#define TLPI_NO_DIGEST "none"
/* Hash of an adapter that is not there. */
#define TLPI_NO_ADAPTER "none"

/* Rank 0's hello; digest is the model's, "" if it trusts the fingerprint; plan
 * is JSON text. */
void tlpi_hello_init(tlpi_hello *hello, const tlp_model *model,
                     const char *digest, const char *plan,
                     const tlpi_session_config *cfg, int channel);

void tlpi_hello_write(const tlpi_hello *hello, tlpi_text *out);

/*
 * Read a hello from n bytes of a peer, which have room for a NUL behind them;
 * the hello borrows them.  One of another protocol is read up to its channel.
 * TLP_ECOMM when it is none.
 */
tlp_status tlpi_hello_read(tlpi_hello *hello, char *text, size_t n);

/*
 * Does a rank with this digest ("": it trusts the fingerprint) and these
 * options fit rank 0's hello?  TLP_EMISMATCH names the first field that does
 * not, and both values.  Options that are 0 fit.  Fingerprints count only where
 * one of both ranks has no digest.
 */
tlp_status tlpi_hello_check(const tlpi_hello *hello, const tlp_model *model,
                            const char *digest, const tlp_session_options *o);

/* The scale of the hello's adapter; false if the text is no number. */
bool tlpi_hello_scale(const tlpi_hello *hello, float *scale);

/* Of one protocol, and both with digests, which differ? */
bool tlpi_hello_other_bytes(const tlpi_hello *hello, const char *digest);

/* The plan of the hello; `own`, if it is not NULL, must be an equal plan.  The
 * hello has only the hash of adjustments, so this hash is compared. */
tlp_status tlpi_hello_plan(const tlpi_hello *hello, tlp_model *model,
                           const tlp_plan *own, tlp_plan **out);

/* Options of this rank with what the hello says; to be checked for ranges. */
void tlpi_hello_adopt(const tlpi_hello *hello, tlp_session_options *o);

/* ==== the exchange (handshake.c) ========================================= */

/* Rank 0: agree with all other ranks on a session or a training (enum
 * tlpi_task); *out is its communicator.  The plan's adjustments and the adapter
 * have been sent. */
tlp_status tlpi_handshake_lead(tlpi_comm **out, const tlpi_process_group *w,
                               const tlp_plan *plan,
                               const tlpi_session_config *cfg, int task);

/* Bytes of the longest hello. */
#define TLPI_HELLO_BYTES TLPI_EAGER_BYTES

/*
 * Another rank: wait for a hello of at most TLPI_HELLO_BYTES.  TLP_ECLOSED
 * when rank 0 has left.
 */
tlp_status tlpi_handshake_await(const tlpi_process_group *w, char *text,
                                size_t *n);

/* Another rank, between hello and verdict: `done` bytes are hashed, more than
 * in an earlier call. */
tlp_status tlpi_handshake_busy(const tlpi_process_group *w,
                               const tlpi_hello *hello, uint64_t done,
                               int timeout_ms);

/* Another rank, before a verdict TLP_EMISMATCH: the manifest of its model, so
 * that rank 0 can say what differs. */
tlp_status tlpi_handshake_show_manifest(const tlpi_process_group *w,
                                        const tlpi_hello *hello,
                                        const tlp_model *model, int timeout_ms);

/*
 * Send this rank's verdict, st and tlp_last_error(), and wait for the decision,
 * whose text becomes tlp_last_error().  On failure nobody knows what rank 0
 * decided.
 */
tlp_status tlpi_handshake_answer(const tlpi_process_group *w,
                                 const tlpi_hello *hello, tlp_status verdict,
                                 int timeout_ms, tlp_status *decision);

/* A communicator of all processes, on the hello's channel. */
tlp_status tlpi_handshake_comm(tlpi_comm **out, const tlpi_process_group *w,
                               const tlp_plan *plan,
                               const tlpi_session_config *cfg, int channel);

/* Another rank, when its session's communicator has been used for nothing yet:
 * what a plan of the hello lacks, from rank 0. */
tlp_status tlpi_handshake_take_adjust(tlpi_comm *c, tlp_plan *plan);

/* Then: the adapter of the hello, or NULL, which the caller frees; *scale gets
 * its scale. */
tlp_status tlpi_handshake_take_adapter(tlpi_comm *c, const tlpi_hello *hello,
                                       tlp_model *model, tlp_adapter **out,
                                       float *scale);

/* ==== a worker (worker.c) ================================================ */

/* The part of another rank in a training.  It takes the communicator, also on
 * failure; the session options have rank 0's values. */
typedef tlp_status (*tlpi_train_fn)(tlpi_comm *comm, tlp_plan *plan,
                                    const tlpi_session_config *cfg,
                                    const tlp_session_options *session);

/* tlp_worker_run for sessions, and for trainings by `train`. */
tlp_status tlpi_worker_run(tlp_model *model, tlp_plan *plan,
                           const tlp_session_options *opts,
                           tlpi_train_fn train);

/* ==== hashing beside it (hash_ahead.c) =================================== */

/* A thread that computes the digest of a worker's model while the worker waits
 * for a hello. */
typedef struct tlpi_hash_ahead {
    const tlp_model *model;
    pthread_t thread;
    bool started;
    atomic_bool done, stop;
    tlp_status st;
    const char *digest; /* of the model; "" if it trusts its fingerprint */
    char text[512];     /* of a failure */
} tlpi_hash_ahead;

/* Begin; call tlpi_hash_ahead_end in any case. */
void tlpi_hash_ahead_begin(tlpi_hash_ahead *h, const tlp_model *model);

/* Wait for the digest, and tell rank 0 about progress. */
tlp_status tlpi_hash_ahead_wait(tlpi_hash_ahead *h, const tlpi_process_group *w,
                                const tlpi_hello *hello, int timeout_ms);

/* Stop hashing, if it goes on; a struct of zeros is allowed. */
void tlpi_hash_ahead_end(tlpi_hash_ahead *h);

#endif
