/*
 * train_net.h - a plan as training sees it: stages, members and parts on one
 * rank, with what is trained of them.
 *
 * Weights that are not trained stay in the model's files, in their types.  A
 * trained number has a gradient beside it, and belongs to a parameter
 * (train_param.h).  Activations and gradients are f32.
 *
 * Shapes: T tokens of a window, d = n_embd, h = head_dim.
 */
#ifndef TLPI_TRAIN_NET_H
#define TLPI_TRAIN_NET_H

#include "plan/adjust.h"
#include "plan/shard.h"
#include "train/train_param.h"

/* A matrix of a layer: the file's, or a copy that is trained; and LoRA:
 * W + up down. */
typedef struct tlpi_train_matrix {
    const tlpi_tensor *tensor;         /* [rows][cols] */
    const float *panels, *panels_back; /* of the tensor, for products with W'
                                          and with W, or NULL */
    tlpi_train_param *full;            /* the copy, or NULL */
    tlpi_train_param *down;            /* [rank][cols], or NULL */
    tlpi_train_param *up;              /* [rows][rank], with down */
} tlpi_train_matrix;

/* x += up (down x); rank 0: none.  The numbers are parameters that are
 * trained, or not. */
typedef struct tlpi_train_lowrank {
    int rank;
    tlpi_train_param *down, *up; /* [rank][d], [d][rank] */
} tlpi_train_lowrank;

/* A layer of a group, or a track of a layer: what one stream goes through. */
typedef struct tlpi_train_member {
    int layer;
    int q0, q1, kv0, kv1; /* query heads and kv heads; none: q0 = q1 */
    int ff0, ff1;         /* hidden units */
    tlpi_train_param *attn_norm, *ffn_norm; /* [d], or NULL */
    tlpi_train_param *attn_post, *ffn_post; /* [d] norms of outputs, or NULL;
                                               where a half of all tracks is
                                               summed, track 0 has the norm */
    tlpi_train_param *attn_gain, *ffn_gain; /* [1] */
    tlpi_train_lowrank attn_in, ffn_in;
    tlpi_train_param *out_down; /* [out_rank][d], or NULL */
} tlpi_train_member;

typedef struct tlpi_train_stage {
    int mode, n_member;
    tlpi_train_member *member;
    int nosync; /* TLP_NOSYNC_* */
    bool open;  /* the stream differs between tracks when the stage begins */
    int out_rank;
    tlpi_train_param *out_up; /* [d][out_rank], or NULL */
} tlpi_train_stage;

/* A layer's numbers that no plan changes. */
typedef struct tlpi_train_layer {
    tlpi_train_matrix w[TLPI_N_LAYER_TENSOR]; /* matrices; else zero */
    float *v[TLPI_N_LAYER_TENSOR];            /* biases and norms of heads */
} tlpi_train_layer;

typedef struct tlpi_train_net {
    const tlpi_env *env;
    const tlp_plan *plan; /* retained */
    const tlp_model *model;
    tlpi_train_stage *stage; /* [plan->n_stage] */
    tlpi_train_member *member;
    tlpi_train_layer *layer; /* [n_layer] */
    tlpi_train_matrix output;
    float *vector;                /* of all layers */
    float *output_norm;           /* [d] */
    bool has_angles[TLPI_N_ROPE]; /* layers rotate by these angles */
    tlpi_train_params param;
    int first;    /* the first stage with anything that is trained */
    int max_rank; /* of LoRA and of corrections */
} tlpi_train_net;

/* What is trained. */
typedef struct tlpi_train_choice {
    bool norms, gains, corrections;
    bool matrices; /* of the layers that the plan touches */
    int rank;      /* of LoRA; 0: the matrices themselves */
    uint64_t seed; /* of LoRA's first values */
} tlpi_train_choice;

/* TLP_ENOTSUP for a plan in lp-code or merge.  The net retains the plan. */
tlp_status tlpi_train_net_create(tlpi_train_net *net, tlp_plan *plan,
                                 const tlpi_train_choice *choice);
void tlpi_train_net_free(tlpi_train_net *net); /* zeroes are fine */

/* Does the plan change what this stage computes? */
bool tlpi_train_touches(const tlp_plan *plan, int stage);

static inline bool tlpi_train_has_tracks(const tlpi_train_stage *s)
{
    return s->open || s->nosync;
}

/* Are the halves of all tracks summed before the norm of the output? */
static inline bool tlpi_train_joins(const tlpi_train_stage *s, tlpi_half half)
{
    int apart = half == TLPI_HALF_ATTN ? TLP_NOSYNC_ATTN : TLP_NOSYNC_FFN;

    return tlpi_train_has_tracks(s) && s->member->attn_post &&
           !(s->nosync & apart);
}

/* Is a row of queries that is normalised as a whole made of the heads of all
 * tracks?  It is where the attention is that of the layer. */
static inline bool tlpi_train_shares_rows(const tlpi_train_stage *s)
{
    return tlpi_train_has_tracks(s) && !s->open &&
           !(s->nosync & TLP_NOSYNC_ATTN);
}

/* Does the feed-forward part of member i read the attention of member j? */
static inline bool tlpi_train_hears(const tlpi_train_stage *s, int i, int j)
{
    if (tlpi_train_has_tracks(s))
        return i == j || !(s->nosync & TLP_NOSYNC_ATTN);
    if (s->mode == TLP_MODE_PAR)
        return i == j;
    return s->mode != TLP_MODE_ASYM || j <= i;
}

/* Does the attention of member j count as a part of member i's contribution,
 * which the correction of a stage's output reads? */
static inline bool tlpi_train_counts(const tlpi_train_stage *s, int i, int j)
{
    if (s->mode == TLP_MODE_PAR || s->mode == TLP_MODE_ASYM)
        return tlpi_train_hears(s, i, j);
    return i == 0;
}

#endif
