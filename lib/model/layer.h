/*
 * layer.h - the tensors of a layer and of a model as two tables: names, shapes,
 * and how ranks cut them.
 *
 * A tensor is cut along the dimension that counts query heads, kv heads or
 * hidden units: the extent of the dimension names the axis.  Binding, shards,
 * loading, merging and quantising loop over the rows.
 */
#ifndef TLPI_LAYER_H
#define TLPI_LAYER_H

#include "model/hparams.h"
#include "tensor/tensor.h"

/* Indices of tlpi_layer.t and of tlpi_layer_table; names are GGUF's. */
typedef enum tlpi_layer_id {
    TLPI_ATTN_NORM,
    TLPI_ATTN_Q,
    TLPI_ATTN_K,
    TLPI_ATTN_V,
    TLPI_ATTN_OUTPUT,
    TLPI_ATTN_Q_BIAS,
    TLPI_ATTN_K_BIAS,
    TLPI_ATTN_V_BIAS,
    TLPI_ATTN_Q_NORM,
    TLPI_ATTN_K_NORM,
    TLPI_ATTN_Q_ROW_NORM,
    TLPI_ATTN_K_ROW_NORM,
    TLPI_ATTN_OUTPUT_BIAS,
    TLPI_ATTN_SINKS,
    TLPI_ATTN_POST_NORM,
    TLPI_FFN_NORM,
    TLPI_FFN_ROUTER,
    TLPI_FFN_GATE,
    TLPI_FFN_UP,
    TLPI_FFN_DOWN,
    TLPI_FFN_ROUTER_BIAS,
    TLPI_FFN_GATE_BIAS,
    TLPI_FFN_UP_BIAS,
    TLPI_FFN_DOWN_BIAS,
    TLPI_FFN_POST_NORM,
    TLPI_N_LAYER_TENSOR
} tlpi_layer_id;

typedef enum tlpi_model_id {
    TLPI_TOKEN_EMBD,
    TLPI_OUTPUT_NORM,
    TLPI_OUTPUT,
    TLPI_ROPE_FREQS,
    TLPI_ROPE_LONG,
    TLPI_ROPE_SHORT,
    TLPI_N_MODEL_TENSOR
} tlpi_model_id;

/* Axes along which ranks cut a layer. */
typedef enum tlpi_axis {
    TLPI_AXIS_WHOLE, /* a tensor that is not cut */
    TLPI_AXIS_HEAD,  /* query heads */
    TLPI_AXIS_HEAD_KV,
    TLPI_AXIS_FF, /* hidden units of the feed-forward part */
    TLPI_N_AXIS
} tlpi_axis;

/* The length of a dimension. */
typedef enum tlpi_extent {
    TLPI_EXTENT_ONE, /* rows of a vector */
    TLPI_EXTENT_EMBD,
    TLPI_EXTENT_HEAD,     /* head_dim elements for each query head */
    TLPI_EXTENT_HEAD_KV,  /* head_dim elements for each kv head */
    TLPI_EXTENT_ONE_HEAD, /* one element for each query head */
    TLPI_EXTENT_FF,       /* hidden units; of one expert */
    TLPI_EXTENT_EXPERT,
    TLPI_EXTENT_HEAD_DIM,
    TLPI_EXTENT_HALF_ROT,
    TLPI_EXTENT_VOCAB
} tlpi_extent;

typedef enum tlpi_half { TLPI_HALF_ATTN, TLPI_HALF_FFN } tlpi_half;

typedef enum tlpi_need {
    TLPI_NEED,             /* every model has it */
    TLPI_NEED_INPUT_NORM,  /* only architectures with norms of inputs have it */
    TLPI_NEED_HEAD_NORM,   /* only those with norms of heads have it */
    TLPI_NEED_ROW_NORM,    /* only those with norms of whole rows of heads */
    TLPI_NEED_POST_NORM,   /* only those with norms of outputs have it */
    TLPI_NEED_EXPERTS,     /* only models whose layers have experts have it */
    TLPI_NEED_SINKS,       /* only architectures with sinks have it */
    TLPI_NEED_EXPERT_BIAS, /* only those whose experts have biases have it */
    TLPI_OPTIONAL
} tlpi_need;

/* The parts that have a tensor when a layer is cut. */
typedef enum tlpi_owner {
    TLPI_OWNER_PART,  /* every part has its slice */
    TLPI_OWNER_FIRST, /* the part with query head 0 has all of it */
    TLPI_OWNER_MEMBER /* a norm of the half's input or output: once for all
                         parts that a rank has of the layer */
} tlpi_owner;

typedef struct tlpi_tensor_row {
    const char *name;  /* behind "blk.N." for layers */
    const char *stack; /* its name in models whose layers have experts, where
                          the tensor is a stack: a matrix for each expert; NULL:
                          it is none */
    const char *late;  /* its name in architectures with late_norm; NULL: no
                          other */
    tlpi_half half;
    tlpi_extent rows, cols;
    tlpi_need need;
    tlpi_owner owner;
    bool is_list;     /* of vectors, one for each expert, and no matrix */
    bool float_alone; /* it keeps its type when a model is quantised, which is
                         F32 or F16 */
} tlpi_tensor_row;

extern const tlpi_tensor_row tlpi_layer_table[TLPI_N_LAYER_TENSOR];
extern const tlpi_tensor_row tlpi_model_table[TLPI_N_MODEL_TENSOR];

/* A tensor of a file that holds the tensors of several rows, one behind the
 * other: matrices by their rows, vectors by their elements.  Binding makes a
 * view of each. */
enum { TLPI_MAX_FUSED = 3, TLPI_N_FUSED = 3 };

typedef struct tlpi_fused_row {
    const char *name;
    int n;
    tlpi_layer_id part[TLPI_MAX_FUSED];
    bool gate_up; /* only architectures with gate_up have it */
} tlpi_fused_row;

extern const tlpi_fused_row tlpi_fused_table[TLPI_N_FUSED];

/* The angles by which a layer rotates queries and keys. */
typedef enum tlpi_rope_kind {
    TLPI_ROPE_NONE, /* the layer does not rotate them */
    TLPI_ROPE_MODEL,
    TLPI_ROPE_WINDOW, /* of layers with a window, where they have their own */
    TLPI_N_ROPE
} tlpi_rope_kind;

/* Tensors of one layer, NULL where the file has none, and facts about it. */
typedef struct tlpi_layer {
    const tlpi_tensor *t[TLPI_N_LAYER_TENSOR];
    tlpi_rope_kind rope;
    int window; /* the latest positions that a token sees, its own among them;
                   0: all */
} tlpi_layer;

static inline bool tlpi_row_is_matrix(const tlpi_tensor_row *row)
{
    return row->rows != TLPI_EXTENT_ONE && !row->is_list;
}

/* The name of a row's tensor in a model. */
const char *tlpi_row_name(const tlpi_tensor_row *row, const tlpi_hparams *hp);

/* Matrices that the tensor of a row is made of: 1, or one for each expert. */
int tlpi_row_depth(const tlpi_tensor_row *row, const tlpi_hparams *hp);

/* The row of that name, or NULL; also NULL for a tensor that models of this
 * architecture do not have.  Rows of one name belong to different
 * architectures. */
const tlpi_tensor_row *tlpi_row_find(const tlpi_tensor_row *table, size_t n,
                                     const char *name, const tlpi_hparams *hp);

/* Must a model of this architecture have the tensor? */
bool tlpi_row_is_needed(const tlpi_tensor_row *row, const tlpi_hparams *hp);

/* The row of that name, or NULL; also NULL for a tensor that models of this
 * architecture do not have. */
const tlpi_fused_row *tlpi_fused_find(const char *name, const tlpi_hparams *hp);

int64_t tlpi_extent_size(tlpi_extent e, const tlpi_hparams *hp);

tlpi_axis tlpi_extent_axis(tlpi_extent e);
/* The axis along which ranks cut a row's tensor. */
tlpi_axis tlpi_row_axis(const tlpi_tensor_row *row);
/* Elements of a cut dimension that belong to one unit of its axis. */
int tlpi_extent_unit(tlpi_extent e, const tlpi_hparams *hp);

/* A part of a layer: units [begin, end) of each axis. */
typedef struct tlpi_part {
    int begin[TLPI_N_AXIS], end[TLPI_N_AXIS];
} tlpi_part;

/* Rows [r0, r1) and columns [c0, c1) of a matrix; a vector has one row. */
typedef struct tlpi_slice {
    int64_t r0, r1, c0, c1;
} tlpi_slice;

/* The slice of a row's tensor that a part has. */
tlpi_slice tlpi_row_slice(const tlpi_tensor_row *row, const tlpi_hparams *hp,
                          const tlpi_part *part);

#endif
