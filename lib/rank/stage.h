/*
 * stage.h - one stage of a plan as one rank holds it: the parts that the shard
 * gives to the rank, with their weights.
 *
 * Shapes: d = n_embd, h = head_dim.
 */
#ifndef TLPI_STAGE_H
#define TLPI_STAGE_H

#include "backend/backend.h"
#include "plan/plan.h"
#include "plan/shard.h"

/* up (down x), on one rank; rank 0: none. */
typedef struct tlpi_rank_lowrank {
    int rank;
    tlpi_weight *down, *up;
} tlpi_rank_lowrank;

/* A part's tensors by tlpi_layer_id; NULL where the part has none. */
typedef struct tlpi_rank_tensors {
    tlpi_weight *w[TLPI_N_LAYER_TENSOR];         /* matrices */
    float *v[TLPI_N_LAYER_TENSOR];               /* vectors */
    tlpi_rank_lowrank lora[TLPI_N_LAYER_TENSOR]; /* of the matrices */
} tlpi_rank_tensors;

/* Attention of some heads of one member.  A member can have several such parts
 * on one rank. */
typedef struct tlpi_rank_attn {
    int member;
    int n_head, n_head_kv;
    const tlpi_rope *rope; /* NULL: no rotation */
    int window;            /* as in tlpi_layer */
    /* A part of rows of queries and keys that are normalised as a whole. */
    int row;           /* of the stage's rows */
    int row_q, row_kv; /* heads of the whole rows; 0: no such norm */
    bool counts_kv;    /* no earlier part of the row has these kv heads */
    tlpi_rank_tensors t;
    tlpi_kv *kv;
    size_t at; /* floats a token into tlpi_scratch.qkv: q, o, k, v */
} tlpi_rank_attn;

/* Feed-forward columns of one member; of each of its experts. */
typedef struct tlpi_rank_ffn {
    int member;
    int norm; /* member whose ffn_norm it reads through */
    int n_ff;
    tlpi_rank_tensors t;
    size_t at; /* floats a token into tlpi_scratch.hidden */
} tlpi_rank_ffn;

/* What a member's projections read: the RMS norm of its stream times w, or the
 * stream itself where w is NULL. */
typedef struct tlpi_rank_input {
    bool used; /* the rank holds parts that read it */
    float *w;
} tlpi_rank_input;

/* The ranks that hold parts of a row of queries which is normalised as a
 * whole. */
typedef enum tlpi_row_ranks {
    TLPI_ROW_NONE, /* the model normalises no whole rows */
    TLPI_ROW_HERE, /* one rank for each row */
    TLPI_ROW_SPAN, /* the ranks of a member's span */
    TLPI_ROW_ALL   /* perhaps all ranks */
} tlpi_row_ranks;

/* Norms of the outputs of a layer in tracks: of the sum over the tracks; none,
 * for what the tracks have added before; from TLPI_POST_OWN on, of each track's
 * own part. */
enum { TLPI_POST_SUM, TLPI_POST_REST, TLPI_POST_OWN };

/* A stage's low-rank corrections (plan/adjust.h), for the members of which the
 * rank holds something. */
typedef struct tlpi_rank_adjust {
    tlpi_rank_lowrank *attn_in, *ffn_in; /* [n_member] */
    int out_rank;                        /* equal on all ranks */
    tlpi_weight **out_down;              /* [n_member] */
    tlpi_weight *out_up;
    void **kept; /* [n_kept] data that the backend reads in place, owned */
    size_t n_kept;
    uint64_t n_bytes; /* of the weights */
} tlpi_rank_adjust;

typedef struct tlpi_rank_stage {
    int mode, n_member; /* members: layers, or tracks of a layer */
    tlpi_rank_input *attn_norm, *ffn_norm; /* [n_member] */
    float **attn_post; /* norms of the members' attention and feed-forward, */
    float **ffn_post;  /* times their gains: [n_member], of tracks
                          [TLPI_POST_OWN + n_member]; NULL: the model has none
                        */
    tlpi_row_ranks row_ranks;
    int n_row; /* rows of queries a token: one for each member, or one for a
                  layer in tracks */
    tlpi_rank_attn *attn;
    int n_attn;
    tlpi_rank_ffn *ffn;
    int n_ffn;
    float *attn_gain, *ffn_gain; /* [n_member] the plan's, or 1, times the
                                    model's residual_scale; 1 where a norm of
                                    the output has both */
    tlpi_rank_adjust *adjust;    /* or NULL: nothing of low rank */
    float *o_bias;               /* [d] sum over the parts', or NULL */
    const tlpi_span *span;       /* [n_member] for par, asym and tracks, or
                                    NULL */
    int nosync;                  /* TLP_NOSYNC_* */
    bool open;                   /* the stream differs between tracks when the
                                    stage begins */
    bool shared_members;         /* some member's span has several ranks */
    int carried; /* par, asym: the member whose attention sum this rank forms
                    in delta; -1 for none */
} tlpi_rank_stage;

/* Are the members tracks of one layer? */
static inline bool tlpi_stage_has_tracks(const tlpi_rank_stage *s)
{
    return s->open || s->nosync;
}

/* Does `rank` add a member's attention sum to what the stage hands on? */
static inline bool tlpi_rank_counts(int rank, const tlpi_rank_stage *s,
                                    int member)
{
    return s->span ? s->span[member].first == rank : member == 0 && rank == 0;
}

#endif
