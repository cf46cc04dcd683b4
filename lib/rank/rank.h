/*
 * rank.h - one rank of a session: its backend, its shard of the weights, its
 * part of the KV cache, its buffers.  A rank never sees the others but through
 * its communicator.
 *
 * Shapes: T tokens of a step (<= n_batch), d = n_embd, h = head_dim.
 */
#ifndef TLPI_RANK_H
#define TLPI_RANK_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/weight_cache.h"
#include "comm/comm.h"
#include "device/device.h"
#include "plan/adjust.h"
#include "plan/plan.h"
#include "plan/shard.h"

/* Session options after defaults and checks.  device_of, n_thread, isa,
 * timeout_ms and pin are each process's own, the rest is the same on every
 * rank. */
typedef struct tlpi_session_config {
    int n_ctx, n_seq, n_batch, n_rank, n_thread;
    int n_machine; /* threads of the session's ranks on this machine */
    bool remote;   /* the other ranks are other processes */
    int backend, wire, compute, kv_type, isa, timeout_ms;
    bool pin;
    const tlpi_device_ops *device; /* NULL: ranks work on the CPU */
    int device_of[TLPI_MAX_RANK];  /* the device of each rank of this process */
} tlpi_session_config;

/* Attention of some heads of one member; a member can have several such parts
 * on one rank. */
typedef struct tlpi_rank_attn {
    int member;
    int n_head, n_head_kv;
    tlpi_weight *q, *k, *v;          /* [n_head*h][d], [n_head_kv*h][d] x 2 */
    tlpi_weight *o;                  /* [d][n_head*h] */
    float *q_bias, *k_bias, *v_bias; /* or NULL */
    float *q_norm, *k_norm;          /* [h] or NULL */
    float *o_bias;                   /* [d] or NULL; with query head 0 */
    tlpi_kv *kv;
    size_t at; /* floats a token into buffers.qkv: q, o, k, v */
} tlpi_rank_attn;

/* Feed-forward columns of one member. */
typedef struct tlpi_rank_ffn {
    int member;
    int norm; /* member whose ffn_norm it reads through */
    int n_ff;
    tlpi_weight *gate, *up; /* [n_ff][d] */
    tlpi_weight *down;      /* [d][n_ff] */
    size_t at;              /* floats a token into buffers.hidden */
} tlpi_rank_ffn;

/* up (down x), on one rank; rank 0: none. */
typedef struct tlpi_rank_lowrank {
    int rank;
    tlpi_weight *down, *up;
} tlpi_rank_lowrank;

/* A stage's low-rank corrections (plan/adjust.h), for the members of which the
 * rank holds something. */
typedef struct tlpi_rank_adjust {
    tlpi_rank_lowrank *attn_in, *ffn_in; /* [n_member] */
    int out_rank;                        /* the same on all ranks */
    tlpi_weight **out_down;              /* [n_member] */
    tlpi_weight *out_up;
    void **kept; /* [n_kept] data that the backend reads in place, owned */
    size_t n_kept;
    uint64_t n_bytes; /* of the weights */
} tlpi_rank_adjust;

typedef struct tlpi_rank_stage {
    int mode, n_member;
    float **attn_norm; /* [n_member]; NULL where not needed here */
    float **ffn_norm;  /* [n_member]; likewise */
    tlpi_rank_attn *attn;
    int n_attn;
    tlpi_rank_ffn *ffn;
    int n_ffn;
    float *attn_gain, *ffn_gain; /* [n_member] 1 where there is none */
    tlpi_rank_adjust *adjust;    /* or NULL: nothing of low rank */
    float *o_bias;               /* [d] sum over the parts', or NULL */
    const tlpi_span *span;       /* [n_member] for par and asym, or NULL */
    bool shared_members;         /* some member's span has several ranks */
    int carried;                 /* par, asym: the member whose attention sum
                                    this rank forms in delta; -1 for none */
} tlpi_rank_stage;

/* Sees what a stage computes, on a single rank; not TLP_OK ends the step.
 * x: [n_tok][d] on the host, of one member.  In a stage the calls come in this
 * order, each for all members. */
typedef enum tlpi_probe_at {
    TLPI_PROBE_ATTN_IN, /* what its projections read, corrected */
    TLPI_PROBE_ATTN,    /* the attention sum that counts as its delta; in lp
                           and the like only member 0 has one */
    TLPI_PROBE_FFN_IN,  /* what gate and up read, corrected */
    TLPI_PROBE_FFN      /* its feed-forward part */
} tlpi_probe_at;

typedef struct tlpi_probe {
    tlp_status (*see)(void *arg, tlpi_probe_at at, int member, const float *x);
    void *arg;
} tlpi_probe;

/* Activations; all device memory of the backend. */
typedef struct tlpi_rank_buffers {
    float *x;      /* [T][d] residual stream */
    float *delta;  /* [T][d] what a stage adds to it */
    float *acc;    /* [n_member+1][T][d] attention outputs of par and asym;
                      the last slot receives a running sum */
    float *norm;   /* [n_member][T][d] normalised inputs */
    float *qkv;    /* queries, keys, values and outputs of all parts */
    float *hidden; /* feed-forward hidden units of all parts, [T][n_ff] each */
    float *low;    /* [T][low_cols] down x of low-rank corrections */
    float *rows;   /* [3][logit_chunk][d] rows of x, delta; normalised */
    float *logits; /* [logit_cap][n_vocab of this rank] */
} tlpi_rank_buffers;

/* A step's arrays, [n_batch] each. */
typedef struct tlpi_step_arrays {
    int32_t *id, *seq, *pos; /* as in tlpi_step */
    int32_t *row;            /* tokens whose logits are wanted, in row order */
    int32_t *target; /* scoring: the token each of these rows is asked for */
} tlpi_step_arrays;

/* log sum exp of a rank's logits of a row, and the target's logit if the rank
 * has it (else -inf). */
typedef struct tlpi_row_score {
    float lse, target;
} tlpi_row_score;

/* Memory that ranks hold. */
typedef struct tlpi_rank_sizes {
    uint64_t weights, kv, buffers;
} tlpi_rank_sizes;

typedef struct tlpi_rank {
    const tlpi_env *env;
    const tlp_plan *plan; /* borrowed from the session */
    const tlp_model *model;
    const tlpi_shards *shards; /* borrowed from the session */
    const tlpi_session_config *cfg;
    const _Atomic int *abort; /* rank 0: the session's flag; else NULL */
    const tlpi_probe *probe;  /* or NULL; borrowed, the caller's to set */
    int rank;
    tlpi_comm *comm;       /* owned; commands and results, host memory */
    tlpi_comm *data;       /* activations: comm, or the device's, owned */
    tlpi_comm **span_comm; /* [n_rank][n_rank+1] of data by (first, count) */
    tlpi_backend *b;
    uint32_t version;      /* tlpi_want */
    tlpi_comm_stats *pass; /* devices: the exchanges of a step of pass_tok */
    int pass_tok;          /* tokens, of data and of each span (replay.c) */
    tlpi_rope *rope;
    tlpi_rank_stage *stage; /* [plan->n_stage] */
    float *output_norm;
    tlpi_weight *embd; /* [n_vocab][d] of devices, else NULL */
    tlpi_weight *head; /* [vocab1 - vocab0][d] */
    int vocab0, vocab1;
    tlpi_rank_buffers buf;
    /* Argument lists for one call, long enough for the widest stage. */
    tlpi_term *term;
    tlpi_matmul *mm;
    tlpi_gate_up *gate_up;
    tlpi_attn *attn;
    tlpi_norm *norm;
    int low_cols;     /* of buf.low */
    float *seen;      /* [n_batch][d] what a probe is shown */
    size_t logit_cap; /* rows */
    void **merged;    /* averaged weights that the backend reads in
                         place, owned */
    size_t n_merged;
    float *host;           /* [n_vocab] staging */
    tlpi_step_arrays step; /* five arrays of n_batch in one block, .id */
    int32_t *wire;         /* [5 * n_batch] the same in transit */
    size_t *gather_bytes;  /* [n_rank] argument of gather */
    tlpi_row_score *score; /* [n_batch] this rank's */
    tlpi_rank_sizes bytes;
} tlpi_rank;

/* Rows of the head computed at once; logits of a step's rows are made in
 * pieces of so many where they are not kept. */
#define TLPI_LOGIT_CHUNK 32

typedef struct tlpi_rank_setup {
    const tlp_plan *plan;
    const tlpi_shards *shards;
    const tlpi_session_config *cfg;
    tlpi_comm *comm; /* taken over, also on failure */
    const _Atomic int *abort;
    tlp_progress_fn progress; /* or NULL */
    void *progress_data;
} tlpi_rank_setup;

/*
 * Every rank calls, and gets TLP_OK only if all are built; one that fails gives
 * up.  total (or NULL): the memory of all ranks, filled in on rank 0.
 */
tlp_status tlpi_rank_create(tlpi_rank **out, const tlpi_rank_setup *setup,
                            tlpi_rank_sizes *total);
void tlpi_rank_free(tlpi_rank *r); /* NULL and half-built are fine */

/* A rank failed with st, and tlp_last_error() says why: wake the others, who
 * get to read it unless it only says that a peer failed. */
void tlpi_rank_give_up(const tlpi_session_config *cfg, tlpi_comm *c,
                       tlp_status st);

/* The same for a rank, whose exchanges of activations end too. */
void tlpi_rank_abort(tlpi_rank *r, tlp_status st);

/* The others may be waiting for this rank to load: it is at work. */
void tlpi_rank_busy(tlpi_rank *r);

/* rank_weights.c: load this rank's parts of every stage, and the head. */
tlp_status tlpi_rank_load(tlpi_rank *r, tlp_progress_fn progress,
                          void *progress_data);
void tlpi_rank_unload(tlpi_rank *r);

/* Rows [r0, r1) and columns [c0, c1) of a matrix. */
typedef struct tlpi_slice {
    int64_t r0, r1, c0, c1;
} tlpi_slice;

/* Where a backend's copy of them is on the model's weight cache. */
tlpi_weight_cache_key tlpi_weight_key(const tlpi_backend *b,
                                      const tlpi_tensor *t, tlpi_slice s);

/* A layer's tensor by its offset in tlpi_layer; NULL where it has none. */
const tlpi_tensor *tlpi_layer_tensor(const tlp_model *m, int layer,
                                     size_t field);

/* rank_adjust.c: other adjustments for a stage than the plan's, from the next
 * step on; NULL: none.  All is copied.  On failure the stage is as before. */
tlp_status tlpi_rank_adjust_stage(tlpi_rank *r, int stage,
                                  const tlpi_stage_adjust *adjust);
void tlpi_rank_adjust_free(tlpi_rank *r, tlpi_rank_stage *s);

/* Which member's attention sum this rank forms in delta, or -1. */
int tlpi_rank_carried(const tlpi_rank *r, const tlpi_rank_stage *s);

/* merge.c: the element-wise mean of one tensor over a stage's layers, as F32.
 * `field` is its offset in tlpi_layer; out->data is the caller's to free. */
tlp_status tlpi_merge_tensor(const tlp_model *m, const tlpi_stage *stage,
                             size_t field, tlpi_tensor *out);

/* Room for `rows` rows of logits. */
tlp_status tlpi_rank_reserve(tlpi_rank *r, size_t rows);

static inline float *tlpi_rank_logits(const tlpi_rank *r, int row)
{
    return r->buf.logits + (size_t)row * (size_t)(r->vocab1 - r->vocab0);
}

/* Is a member's attention sum this rank's to hand on, as part of its delta? */
static inline bool tlpi_rank_counts(const tlpi_rank *r,
                                    const tlpi_rank_stage *s, int member)
{
    return s->span ? s->span[member].first == r->rank
                   : member == 0 && r->rank == 0;
}

/* The communicator of a span of several ranks that includes this one. */
static inline tlpi_comm *tlpi_rank_span(const tlpi_rank *r, tlpi_span s)
{
    return r->span_comm[s.first * (r->cfg->n_rank + 1) + s.count];
}

/* The communicators of activations: the whole one, then those of spans, NULL
 * where there is none. */
static inline int tlpi_rank_n_data(const tlpi_rank *r)
{
    return 1 + r->cfg->n_rank * (r->cfg->n_rank + 1);
}

static inline tlpi_comm *tlpi_rank_data(const tlpi_rank *r, int i)
{
    return i == 0 ? r->data : r->span_comm[i - 1];
}

/* ==== forward.c ========================================================== */

/*
 * Run all stages over a step; afterwards x + delta is the residual stream.
 * TLP_ECANCELED (on every rank alike) when rank 0's abort flag was seen.
 */
tlp_status tlpi_forward(tlpi_rank *r, const tlpi_step *step);

/* The same, and logits of the rows that are wanted, which come to stand in
 * buf.logits from row `at` on.  A device replays such a step when it knows its
 * shape. */
tlp_status tlpi_forward_logits(tlpi_rank *r, const tlpi_step *step,
                               const int32_t *row, int n_row, int at);

/*
 * The same in pieces, for whoever knows the residual stream before some stage:
 * begin with it (host [T][d]; NULL: with the embeddings), run stages [first,
 * end) of all, read the stream after them.  Bits do not depend on where the
 * pieces begin.
 */
void tlpi_forward_begin(tlpi_rank *r, const tlpi_step *step, const float *x);
tlp_status tlpi_forward_stages(tlpi_rank *r, const tlpi_step *step, int first,
                               int end);
void tlpi_forward_stream(tlpi_rank *r, const tlpi_step *step, float *host);

/* Logits of n rows (token indices of the last step) into y [n][vocab shard];
 * n <= TLPI_LOGIT_CHUNK. */
void tlpi_forward_head(tlpi_rank *r, const int32_t *rows, int n, float *y);

#endif
