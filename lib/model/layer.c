/*
 * layer.c - see layer.h.
 */
#include "model/layer.h"

#include <string.h>

#define MATRIX(NAME, HALF, ROWS, COLS)                                         \
    .name = NAME ".weight", .half = TLPI_HALF_##HALF,                          \
    .rows = TLPI_EXTENT_##ROWS, .cols = TLPI_EXTENT_##COLS
#define STACK(NAME, HALF, ROWS, COLS)                                          \
    MATRIX(NAME, HALF, ROWS, COLS), .stack = NAME "_exps.weight"
#define VECTOR(NAME, HALF, COLS)                                               \
    .name = NAME, .half = TLPI_HALF_##HALF, .rows = TLPI_EXTENT_ONE,           \
    .cols = TLPI_EXTENT_##COLS
#define EXPERT_BIAS(NAME, COLS)                                                \
    .name = NAME, .half = TLPI_HALF_FFN, .rows = TLPI_EXTENT_EXPERT,           \
    .cols = TLPI_EXTENT_##COLS, .need = TLPI_NEED_EXPERT_BIAS, .is_list = true

const tlpi_tensor_row tlpi_layer_table[TLPI_N_LAYER_TENSOR] = {
    [TLPI_ATTN_NORM] = { VECTOR("attn_norm.weight", ATTN, EMBD),
                         .need = TLPI_NEED_INPUT_NORM,
                         .owner = TLPI_OWNER_MEMBER },
    [TLPI_ATTN_Q] = { MATRIX("attn_q", ATTN, HEAD, EMBD) },
    [TLPI_ATTN_K] = { MATRIX("attn_k", ATTN, HEAD_KV, EMBD) },
    [TLPI_ATTN_V] = { MATRIX("attn_v", ATTN, HEAD_KV, EMBD) },
    [TLPI_ATTN_OUTPUT] = { MATRIX("attn_output", ATTN, EMBD, HEAD) },
    [TLPI_ATTN_Q_BIAS] = { VECTOR("attn_q.bias", ATTN, HEAD),
                           .need = TLPI_OPTIONAL },
    [TLPI_ATTN_K_BIAS] = { VECTOR("attn_k.bias", ATTN, HEAD_KV),
                           .need = TLPI_OPTIONAL },
    [TLPI_ATTN_V_BIAS] = { VECTOR("attn_v.bias", ATTN, HEAD_KV),
                           .need = TLPI_OPTIONAL },
    [TLPI_ATTN_Q_NORM] = { VECTOR("attn_q_norm.weight", ATTN, HEAD_DIM),
                           .need = TLPI_NEED_HEAD_NORM },
    [TLPI_ATTN_K_NORM] = { VECTOR("attn_k_norm.weight", ATTN, HEAD_DIM),
                           .need = TLPI_NEED_HEAD_NORM },
    [TLPI_ATTN_Q_ROW_NORM] = { VECTOR("attn_q_norm.weight", ATTN, HEAD),
                               .need = TLPI_NEED_ROW_NORM },
    [TLPI_ATTN_K_ROW_NORM] = { VECTOR("attn_k_norm.weight", ATTN, HEAD_KV),
                               .need = TLPI_NEED_ROW_NORM },
    [TLPI_ATTN_OUTPUT_BIAS] = { VECTOR("attn_output.bias", ATTN, EMBD),
                                .need = TLPI_OPTIONAL,
                                .owner = TLPI_OWNER_FIRST },
    [TLPI_ATTN_SINKS] = { VECTOR("attn_sinks.weight", ATTN, ONE_HEAD),
                          .need = TLPI_NEED_SINKS },
    [TLPI_ATTN_POST_NORM] = { VECTOR("post_attention_norm.weight", ATTN, EMBD),
                              .need = TLPI_NEED_POST_NORM,
                              .owner = TLPI_OWNER_MEMBER },
    [TLPI_FFN_NORM] = { VECTOR("ffn_norm.weight", FFN, EMBD),
                        .late = "post_attention_norm.weight",
                        .need = TLPI_NEED_INPUT_NORM,
                        .owner = TLPI_OWNER_MEMBER },
    [TLPI_FFN_ROUTER] = { MATRIX("ffn_gate_inp", FFN, EXPERT, EMBD),
                          .need = TLPI_NEED_EXPERTS, .float_alone = true },
    [TLPI_FFN_GATE] = { STACK("ffn_gate", FFN, FF, EMBD) },
    [TLPI_FFN_UP] = { STACK("ffn_up", FFN, FF, EMBD) },
    [TLPI_FFN_DOWN] = { STACK("ffn_down", FFN, EMBD, FF) },
    [TLPI_FFN_ROUTER_BIAS] = { VECTOR("ffn_gate_inp.bias", FFN, EXPERT),
                               .need = TLPI_NEED_EXPERT_BIAS },
    [TLPI_FFN_GATE_BIAS] = { EXPERT_BIAS("ffn_gate_exps.bias", FF) },
    [TLPI_FFN_UP_BIAS] = { EXPERT_BIAS("ffn_up_exps.bias", FF) },
    [TLPI_FFN_DOWN_BIAS] = { EXPERT_BIAS("ffn_down_exps.bias", EMBD),
                             .owner = TLPI_OWNER_FIRST },
    [TLPI_FFN_POST_NORM] = { VECTOR("post_ffw_norm.weight", FFN, EMBD),
                             .need = TLPI_NEED_POST_NORM,
                             .owner = TLPI_OWNER_MEMBER },
};

const tlpi_tensor_row tlpi_model_table[TLPI_N_MODEL_TENSOR] = {
    [TLPI_TOKEN_EMBD] = { .name = "token_embd.weight",
                          .rows = TLPI_EXTENT_VOCAB,
                          .cols = TLPI_EXTENT_EMBD },
    [TLPI_OUTPUT_NORM] = { .name = "output_norm.weight",
                           .cols = TLPI_EXTENT_EMBD },
    [TLPI_OUTPUT] = { .name = "output.weight",
                      .rows = TLPI_EXTENT_VOCAB,
                      .cols = TLPI_EXTENT_EMBD,
                      .need = TLPI_OPTIONAL },
    [TLPI_ROPE_FREQS] = { .name = "rope_freqs.weight",
                          .cols = TLPI_EXTENT_HALF_ROT,
                          .need = TLPI_OPTIONAL },
    [TLPI_ROPE_LONG] = { .name = "rope_factors_long.weight",
                         .cols = TLPI_EXTENT_HALF_ROT,
                         .need = TLPI_OPTIONAL },
    [TLPI_ROPE_SHORT] = { .name = "rope_factors_short.weight",
                          .cols = TLPI_EXTENT_HALF_ROT,
                          .need = TLPI_OPTIONAL },
};

const tlpi_fused_row tlpi_fused_table[TLPI_N_FUSED] = {
    { .name = "attn_qkv.weight",
      .n = 3,
      .part = { TLPI_ATTN_Q, TLPI_ATTN_K, TLPI_ATTN_V } },
    { .name = "attn_qkv.bias",
      .n = 3,
      .part = { TLPI_ATTN_Q_BIAS, TLPI_ATTN_K_BIAS, TLPI_ATTN_V_BIAS } },
    { .name = "ffn_up.weight",
      .n = 2,
      .part = { TLPI_FFN_GATE, TLPI_FFN_UP },
      .gate_up = true },
};

const tlpi_fused_row *tlpi_fused_find(const char *name, const tlpi_hparams *hp)
{
    for (size_t i = 0; i < TLPI_N_FUSED; i++)
        if (strcmp(tlpi_fused_table[i].name, name) == 0 &&
            (!tlpi_fused_table[i].gate_up || tlpi_arch_get(hp)->gate_up))
            return &tlpi_fused_table[i];
    return NULL;
}

bool tlpi_row_is_needed(const tlpi_tensor_row *row, const tlpi_hparams *hp)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);

    switch (row->need) {
    case TLPI_NEED_INPUT_NORM:
        return !arch->raw_input;
    case TLPI_NEED_HEAD_NORM:
        return arch->qk_norm == TLPI_QK_NORM_HEADS;
    case TLPI_NEED_ROW_NORM:
        return arch->qk_norm == TLPI_QK_NORM_ROWS;
    case TLPI_NEED_POST_NORM:
        return arch->post_norm;
    case TLPI_NEED_EXPERTS:
        return hp->n_expert > 0;
    case TLPI_NEED_SINKS:
        return arch->sinks;
    case TLPI_NEED_EXPERT_BIAS:
        return arch->expert_bias;
    default:
        return row->need == TLPI_NEED;
    }
}

const char *tlpi_row_name(const tlpi_tensor_row *row, const tlpi_hparams *hp)
{
    if (row->late && tlpi_arch_get(hp)->late_norm)
        return row->late;
    return row->stack && hp->n_expert ? row->stack : row->name;
}

int tlpi_row_depth(const tlpi_tensor_row *row, const tlpi_hparams *hp)
{
    return row->stack && hp->n_expert ? hp->n_expert : 1;
}

const tlpi_tensor_row *tlpi_row_find(const tlpi_tensor_row *table, size_t n,
                                     const char *name, const tlpi_hparams *hp)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(tlpi_row_name(&table[i], hp), name) == 0 &&
            (table[i].need == TLPI_OPTIONAL ||
             tlpi_row_is_needed(&table[i], hp)))
            return &table[i];
    return NULL;
}

/* ==== shapes and slices ================================================== */

int64_t tlpi_extent_size(tlpi_extent e, const tlpi_hparams *hp)
{
    switch (e) {
    case TLPI_EXTENT_ONE:
        return 1;
    case TLPI_EXTENT_EMBD:
        return hp->n_embd;
    case TLPI_EXTENT_HEAD:
        return (int64_t)hp->n_head * hp->head_dim;
    case TLPI_EXTENT_HEAD_KV:
        return (int64_t)hp->n_head_kv * hp->head_dim;
    case TLPI_EXTENT_ONE_HEAD:
        return hp->n_head;
    case TLPI_EXTENT_FF:
        return hp->n_ff;
    case TLPI_EXTENT_EXPERT:
        return hp->n_expert;
    case TLPI_EXTENT_HEAD_DIM:
        return hp->head_dim;
    case TLPI_EXTENT_HALF_ROT:
        return hp->n_rot / 2;
    case TLPI_EXTENT_VOCAB:
        return hp->n_vocab;
    }
    return 0;
}

tlpi_axis tlpi_extent_axis(tlpi_extent e)
{
    switch (e) {
    case TLPI_EXTENT_HEAD:
    case TLPI_EXTENT_ONE_HEAD:
        return TLPI_AXIS_HEAD;
    case TLPI_EXTENT_HEAD_KV:
        return TLPI_AXIS_HEAD_KV;
    case TLPI_EXTENT_FF:
        return TLPI_AXIS_FF;
    default:
        return TLPI_AXIS_WHOLE;
    }
}

tlpi_axis tlpi_row_axis(const tlpi_tensor_row *row)
{
    tlpi_axis rows = tlpi_extent_axis(row->rows);

    return rows != TLPI_AXIS_WHOLE ? rows : tlpi_extent_axis(row->cols);
}

int tlpi_extent_unit(tlpi_extent e, const tlpi_hparams *hp)
{
    return e == TLPI_EXTENT_HEAD || e == TLPI_EXTENT_HEAD_KV ? hp->head_dim : 1;
}

static void cut(tlpi_extent e, const tlpi_hparams *hp, const tlpi_part *part,
                int64_t *begin, int64_t *end)
{
    tlpi_axis axis = tlpi_extent_axis(e);
    int64_t unit = tlpi_extent_unit(e, hp);

    *begin = axis == TLPI_AXIS_WHOLE ? 0 : part->begin[axis] * unit;
    *end = axis == TLPI_AXIS_WHOLE ? tlpi_extent_size(e, hp)
                                   : part->end[axis] * unit;
}

tlpi_slice tlpi_row_slice(const tlpi_tensor_row *row, const tlpi_hparams *hp,
                          const tlpi_part *part)
{
    tlpi_slice s;

    cut(row->rows, hp, part, &s.r0, &s.r1);
    cut(row->cols, hp, part, &s.c0, &s.c1);
    return s;
}
