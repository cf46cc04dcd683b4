/*
 * hf_names.c - names of tensors in transformers and in GGUF files.
 */
#include <stdio.h>
#include <string.h>

#include "hf/hf_tensors.h"

#define BIT(norms) (1u << TLPI_HF_NORMS_##norms)
#define LAYER "model.layers."

/* A tensor, or a tensor of a layer without "model.layers.N.". */
typedef struct name_row {
    const char *name, *gguf;
    tlpi_hf_change change; /* PERMUTE of the architectures that permute, ADD_ONE
                              of those whose norms lack 1 */
    uint32_t only;         /* bits of tlpi_hf_norms; 0: all */
} name_row;

static const name_row model_rows[] = {
    { "model.embed_tokens.weight", "token_embd.weight", TLPI_HF_KEEP, 0 },
    { "model.norm.weight", "output_norm.weight", TLPI_HF_ADD_ONE, 0 },
    { "lm_head.weight", "output.weight", TLPI_HF_KEEP, 0 },
};

static const name_row layer_rows[] = {
    { "input_layernorm.weight", "attn_norm.weight", TLPI_HF_ADD_ONE,
      BIT(INPUT) | BIT(BOTH) | BIT(GLM) | BIT(LATE) },
    { "self_attn.q_proj.weight", "attn_q.weight", TLPI_HF_PERMUTE_Q, 0 },
    { "self_attn.k_proj.weight", "attn_k.weight", TLPI_HF_PERMUTE_K, 0 },
    { "self_attn.v_proj.weight", "attn_v.weight", TLPI_HF_KEEP, 0 },
    { "self_attn.o_proj.weight", "attn_output.weight", TLPI_HF_KEEP, 0 },
    { "self_attn.q_proj.bias", "attn_q.bias", TLPI_HF_PERMUTE_Q, 0 },
    { "self_attn.k_proj.bias", "attn_k.bias", TLPI_HF_PERMUTE_K, 0 },
    { "self_attn.v_proj.bias", "attn_v.bias", TLPI_HF_KEEP, 0 },
    { "self_attn.o_proj.bias", "attn_output.bias", TLPI_HF_KEEP, 0 },
    { "self_attn.q_norm.weight", "attn_q_norm.weight", TLPI_HF_ADD_ONE, 0 },
    { "self_attn.k_norm.weight", "attn_k_norm.weight", TLPI_HF_ADD_ONE, 0 },
    { "post_attention_layernorm.weight", "ffn_norm.weight", TLPI_HF_ADD_ONE,
      BIT(INPUT) | BIT(GLM) },
    { "post_attention_layernorm.weight", "post_attention_norm.weight",
      TLPI_HF_ADD_ONE, BIT(BOTH) | BIT(OUTPUT) | BIT(LATE) },
    { "self_attn.sinks", "attn_sinks.weight", TLPI_HF_KEEP, BIT(LATE) },
    { "pre_feedforward_layernorm.weight", "ffn_norm.weight", TLPI_HF_ADD_ONE,
      BIT(BOTH) },
    { "post_feedforward_layernorm.weight", "post_ffw_norm.weight",
      TLPI_HF_ADD_ONE, BIT(BOTH) | BIT(OUTPUT) },
    { "post_self_attn_layernorm.weight", "post_attention_norm.weight",
      TLPI_HF_ADD_ONE, BIT(GLM) },
    { "post_mlp_layernorm.weight", "post_ffw_norm.weight", TLPI_HF_ADD_ONE,
      BIT(GLM) },
    { "mlp.gate_proj.weight", "ffn_gate.weight", TLPI_HF_KEEP, 0 },
    { "mlp.up_proj.weight", "ffn_up.weight", TLPI_HF_KEEP, 0 },
    { "mlp.down_proj.weight", "ffn_down.weight", TLPI_HF_KEEP, 0 },
    /* angles that follow from rope_theta, in files of older programs */
    { "self_attn.rotary_emb.inv_freq", "", TLPI_HF_KEEP, 0 },
};

/* Of architectures with fused tensors. */
static const name_row fused_rows[] = {
    { "self_attn.qkv_proj.weight", "attn_qkv.weight", TLPI_HF_KEEP, 0 },
    { "mlp.gate_up_proj.weight", "ffn_up.weight", TLPI_HF_KEEP, 0 },
};

/* In a model that reads images too, the names of its model of texts have a word
 * more, at one of two places, and the tensors for images are left out. */
static const struct {
    const char *outer, *inner; /* inner NULL: left out */
} outer_rows[] = {
    { "language_model.model.", "model." },
    { "language_model.lm_head.", "lm_head." },
    { "model.language_model.", "model." },
    { "lm_head.", "lm_head." },
    { "vision_tower.", NULL },
    { "multi_modal_projector.", NULL },
    { "model.vision_tower.", NULL },
    { "model.multi_modal_projector.", NULL },
};

typedef struct inner_name {
    char s[256];
    bool is_out; /* of no model of texts */
} inner_name;

static inner_name inner_of(const tlpi_hf_model *m, const char *name)
{
    inner_name out = { .is_out = false };

    for (size_t i = 0; i < TLPI_COUNT(outer_rows) && m->arch->inner; i++) {
        size_t n = strlen(outer_rows[i].outer);

        if (strncmp(name, outer_rows[i].outer, n) != 0)
            continue;
        out.is_out = !outer_rows[i].inner;
        if (!out.is_out)
            snprintf(out.s, sizeof out.s, "%s%s", outer_rows[i].inner,
                     name + n);
        return out;
    }
    if (!m->arch->inner)
        snprintf(out.s, sizeof out.s, "%s", name);
    return out; /* "" is no name of a model */
}

static const name_row *find(const name_row *rows, size_t n, const char *name,
                            const tlpi_hf_model *m)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0 &&
            (!rows[i].only || rows[i].only >> m->arch->norms & 1))
            return &rows[i];
    return NULL;
}

/* Split "model.layers.12.mlp.up_proj.weight" into 12 and the rest; NULL for
 * another name. */
static const char *layer_of(const char *name, int *layer)
{
    const char *p = name + strlen(LAYER);
    int n = 0;

    if (strncmp(name, LAYER, strlen(LAYER)) != 0 || *p < '0' || *p > '9' ||
        (*p == '0' && p[1] != '.'))
        return NULL;
    for (; *p >= '0' && *p <= '9' && n < 1000000; p++)
        n = n * 10 + (*p - '0');
    *layer = n;
    return *p == '.' ? p + 1 : NULL;
}

static tlpi_hf_change change_of(const tlpi_hf_model *m, const name_row *row)
{
    bool applies =
        row->change == TLPI_HF_ADD_ONE ? m->arch->plus_one : m->arch->permute;

    return applies ? row->change : TLPI_HF_KEEP;
}

static const name_row *find_row(const tlpi_hf_model *m, const char *rest,
                                const char *name)
{
    const name_row *row;

    if (!rest)
        return find(model_rows, TLPI_COUNT(model_rows), name, m);
    row = find(layer_rows, TLPI_COUNT(layer_rows), rest, m);
    if (!row && m->arch->fused)
        row = find(fused_rows, TLPI_COUNT(fused_rows), rest, m);
    return row;
}

/* A tensor beside a matrix of 8-bit numbers must have the name of a matrix in
 * front. */
static tlp_status name_beside(tlpi_hf_tensor *out, const tlpi_hf_model *m,
                              const char *name, const char *where)
{
    tlpi_hf_tensor of;
    char weight[512];
    tlp_status st;

    snprintf(weight, sizeof weight, "%.*s.weight",
             (int)TLPI_MIN((size_t)(strrchr(name, '.') - name), (size_t)480),
             name);
    st = tlpi_hf_name(&of, m, weight, where);
    *out = (tlpi_hf_tensor){ .is_out = of.is_out };
    return st;
}

tlp_status tlpi_hf_name(tlpi_hf_tensor *out, const tlpi_hf_model *m,
                        const char *name, const char *where)
{
    if (tlpi_hf_fp8_name(m, name) != TLPI_HF_FP8_NONE)
        return name_beside(out, m, name, where);

    int layer = -1;
    const inner_name inner = inner_of(m, name);
    const char *rest = layer_of(inner.s, &layer);
    const name_row *row = find_row(m, rest, inner.s);

    *out = (tlpi_hf_tensor){ .name = "" };
    out->is_out = inner.is_out;
    if (inner.is_out)
        return TLP_OK;
    bool is_expert = !row && rest && tlpi_hf_expert_name(out, m, layer, rest);
    if (!row && !is_expert)
        return tlpi_fail(TLP_ENOTSUP, "%s: tensor %.128s: not known for %s",
                         where, name, m->arch->architecture);
    if (layer >= m->n_layer)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.128s: the model has %d layers (0-%d)",
                         where, name, m->n_layer, m->n_layer - 1);
    if (is_expert)
        return TLP_OK;
    if (rest && row->gguf[0])
        snprintf(out->name, sizeof out->name, "blk.%d.%s", layer, row->gguf);
    else
        snprintf(out->name, sizeof out->name, "%s", row->gguf);
    out->change = change_of(m, row);
    out->is_bias = rest && strstr(row->name, ".bias");
    return TLP_OK;
}
