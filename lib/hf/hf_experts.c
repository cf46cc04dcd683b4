/*
 * hf_experts.c - experts: their keys, and the names of their tensors.
 *
 * A folder has a tensor for each expert, or, as newer programs write, one with
 * the gates and ups of all experts.  The file has a stack for each of gate, up
 * and down.
 */
#include <stdio.h>
#include <string.h>

#include "hf/hf_tensors.h"

#define MAX_EXPERT 65536
#define BIT(experts) (1u << TLPI_HF_EXPERTS_##experts)
#define BOTH (BIT(QWEN) | BIT(MIXTRAL))

/* ==== keys =============================================================== */

static void add_int(tlpi_hf_model *m, const char *suffix, int x)
{
    tlpi_build_u32(&m->keys, tlpi_hf_key_of(m, suffix).name, (uint32_t)x);
}

/* The number of experts has two names. */
static tlp_status read_number(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const char *const keys[] = { "num_experts", "num_local_experts" };
    int n[2] = { 0 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < 2; i++)
        TLP_TRY(tlpi_hf_int(at, keys[i], false, 1, MAX_EXPERT, &n[i]));
    if (n[0] && n[1] && n[0] != n[1])
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, keys[1], "but %s is %d",
                               keys[0], n[0]));
    m->expert_key = keys[n[0] ? 0 : 1];
    m->n_expert = n[0] ? n[0] : n[1] ? n[1] : m->arch->n_expert;
done:
    return st;
}

/* The number of experts of a token has two names in gpt-oss. */
static tlp_status read_used(const tlpi_hf_model *m, const tlpi_hf_at *at,
                            int *n_used)
{
    static const char *const keys[] = { "num_experts_per_tok",
                                        "experts_per_token" };
    int n[2] = { 0 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < 2; i++)
        TLP_TRY(tlpi_hf_int(at, keys[i], false, 1, m->n_expert, &n[i]));
    if (n[0] && n[1] && n[0] != n[1])
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, keys[1], "but %s is %d",
                               keys[0], n[0]));
    if (n[0] || n[1])
        *n_used = n[0] ? n[0] : n[1];
done:
    return st;
}

/* Weights of experts that do not sum to 1.  Readers divide them by their sum
 * where the file does not say otherwise. */
static tlp_status read_norm(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    bool norm = false;
    tlp_status st;

    if (m->arch->experts != TLPI_HF_EXPERTS_QWEN)
        return TLP_OK;
    st = tlpi_hf_bool(at, "norm_topk_prob", false, &norm);
    if (st == TLP_OK && !norm)
        tlpi_build_bool(&m->keys, tlpi_hf_key_of(m, "expert_weights_norm").name,
                        false);
    return st;
}

/* The limits and the slope of gpt-oss's gate, which GGUF has no keys for. */
static tlp_status read_gate(const tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const struct {
        const char *key;
        double want;
    } row[] = { { "swiglu_limit", 7 }, { "swiglu_alpha", 1.702 } };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(row) && st == TLP_OK; i++) {
        double x = row[i].want;

        if (m->arch->experts != TLPI_HF_EXPERTS_GPT_OSS)
            st = tlpi_hf_nothing(at, row[i].key, 0);
        else
            st = tlpi_hf_num(at, row[i].key, false, &x);
        if (st == TLP_OK && x != row[i].want)
            st = tlpi_hf_refuse(TLP_ENOTSUP, at, row[i].key, "%g expected",
                                row[i].want);
    }
    return st;
}

/* Of all quantizations, experts in MXFP4 and matrices in FP8 are read. */
static tlp_status read_packing(tlpi_hf_model *m, const tlpi_hf_at *root)
{
    static const char key[] = "quantization_config";
    const char *method = NULL;
    tlpi_hf_at at;
    tlp_status st;

    if (m->arch->experts != TLPI_HF_EXPERTS_GPT_OSS)
        return tlpi_hf_fp8_read(m, root);
    TLP_TRY(tlpi_hf_enter(&at, root, key));
    if (!at.object)
        return TLP_OK;
    TLP_TRY(tlpi_hf_str(&at, "quant_method", true, &method));
    if (strcmp(method, "mxfp4") != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &at, "quant_method",
                               "\"mxfp4\" expected"));
    m->packed = true;
done:
    return st;
}

static tlp_status refuse_experts(const tlpi_hf_at *at)
{
    static const char *const keys[] = {
        "num_experts",       "num_local_experts",     "num_experts_per_tok",
        "experts_per_token", "moe_intermediate_size", "norm_topk_prob"
    };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(keys) && st == TLP_OK; i++)
        st = tlpi_hf_nothing(at, keys[i], 0);
    return st;
}

tlp_status tlpi_hf_experts_read(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    const bool by_key =
        m->arch->n_ff_expert || m->arch->experts == TLPI_HF_EXPERTS_GPT_OSS;
    int n_used = m->arch->n_used;
    tlp_status st;

    TLP_TRY(read_packing(m, at));
    TLP_TRY(read_gate(m, at));
    if (m->arch->experts == TLPI_HF_EXPERTS_NONE)
        return refuse_experts(at);
    TLP_TRY(read_number(m, at));
    TLP_TRY(read_used(m, at, &n_used));
    m->n_ff_expert = m->arch->n_ff_expert ? m->arch->n_ff_expert : m->n_ff;
    if (m->arch->n_ff_expert)
        TLP_TRY(tlpi_hf_int(at, "moe_intermediate_size", false, 1, INT32_MAX,
                            &m->n_ff_expert));
    else
        TLP_TRY(tlpi_hf_nothing(at, "moe_intermediate_size", 0));
    add_int(m, "expert_count", m->n_expert);
    add_int(m, "expert_used_count", n_used);
    if (by_key)
        add_int(m, "expert_feed_forward_length", m->n_ff_expert);
    st = read_norm(m, at);
done:
    return st;
}

/* ==== names ============================================================== */

/* "mlp.experts.7.up_proj.weight": head, number, tail. */
typedef struct slice_row {
    const char *head, *tail;
    tlpi_hf_part part;
    uint32_t only; /* bits of tlpi_hf_experts */
} slice_row;

static const slice_row slice_rows[] = {
    { "mlp.experts.", ".gate_proj.weight", TLPI_HF_GATE, BIT(QWEN) },
    { "mlp.experts.", ".up_proj.weight", TLPI_HF_UP, BIT(QWEN) },
    { "mlp.experts.", ".down_proj.weight", TLPI_HF_DOWN, BIT(QWEN) },
    { "block_sparse_moe.experts.", ".w1.weight", TLPI_HF_GATE, BIT(MIXTRAL) },
    { "block_sparse_moe.experts.", ".w3.weight", TLPI_HF_UP, BIT(MIXTRAL) },
    { "block_sparse_moe.experts.", ".w2.weight", TLPI_HF_DOWN, BIT(MIXTRAL) },
};

/* Tensors of all experts. */
static const struct whole_row {
    const char *name, *gguf;
    tlpi_hf_change change;
    tlpi_hf_part part;
    tlpi_hf_layout layout;
    uint32_t only;
} whole_rows[] = {
    { "mlp.gate.weight", "ffn_gate_inp.weight", .change = TLPI_HF_WIDEN,
      .only = BOTH },
    { "block_sparse_moe.gate.weight", "ffn_gate_inp.weight",
      .change = TLPI_HF_WIDEN, .only = BIT(MIXTRAL) },
    { "mlp.router.weight", "ffn_gate_inp.weight", .change = TLPI_HF_WIDEN,
      .only = BIT(GPT_OSS) },
    { "mlp.router.bias", "ffn_gate_inp.bias", .only = BIT(GPT_OSS) },
    { "mlp.experts.gate_up_proj", "", .part = TLPI_HF_GATE_UP, .only = BOTH },
    { "mlp.experts.down_proj", "ffn_down_exps.weight", .only = BOTH },
    { "mlp.experts.gate_up_proj", "", .part = TLPI_HF_GATE_UP,
      .layout = TLPI_HF_COLUMNS, .only = BIT(GPT_OSS) },
    { "mlp.experts.down_proj", "", .part = TLPI_HF_DOWN,
      .layout = TLPI_HF_COLUMNS, .only = BIT(GPT_OSS) },
    { "mlp.experts.gate_up_proj_blocks", "", .part = TLPI_HF_GATE_UP,
      .layout = TLPI_HF_CODES, .only = BIT(GPT_OSS) },
    { "mlp.experts.gate_up_proj_scales", "", .part = TLPI_HF_GATE_UP,
      .layout = TLPI_HF_SCALES, .only = BIT(GPT_OSS) },
    { "mlp.experts.down_proj_blocks", "", .part = TLPI_HF_DOWN,
      .layout = TLPI_HF_CODES, .only = BIT(GPT_OSS) },
    { "mlp.experts.down_proj_scales", "", .part = TLPI_HF_DOWN,
      .layout = TLPI_HF_SCALES, .only = BIT(GPT_OSS) },
    { "mlp.experts.gate_up_proj_bias", "", .part = TLPI_HF_GATE_UP_BIAS,
      .layout = TLPI_HF_COLUMNS, .only = BIT(GPT_OSS) },
    { "mlp.experts.down_proj_bias", "ffn_down_exps.bias",
      .change = TLPI_HF_WIDEN, .only = BIT(GPT_OSS) },
};

static bool applies(const tlpi_hf_model *m, uint32_t only)
{
    return only >> m->arch->experts & 1;
}

/* The expert of "HEAD7TAIL"; -1 for another name. */
static int expert_of(const slice_row *row, const char *rest)
{
    const char *p = rest + strlen(row->head);
    int n = 0;

    if (strncmp(rest, row->head, strlen(row->head)) != 0 || *p < '0' ||
        *p > '9' || (*p == '0' && p[1] != '.'))
        return -1;
    for (; *p >= '0' && *p <= '9' && n < 1000000; p++)
        n = n * 10 + (*p - '0');
    return strcmp(p, row->tail) == 0 ? n : -1;
}

bool tlpi_hf_expert_name(tlpi_hf_tensor *out, const tlpi_hf_model *m, int layer,
                         const char *rest)
{
    out->layer = layer;
    for (size_t i = 0; i < TLPI_COUNT(slice_rows); i++) {
        int expert = applies(m, slice_rows[i].only)
                         ? expert_of(&slice_rows[i], rest)
                         : -1;

        if (expert < 0)
            continue;
        out->part = slice_rows[i].part;
        out->expert = expert;
        return true;
    }
    for (size_t i = 0; i < TLPI_COUNT(whole_rows); i++) {
        if (!applies(m, whole_rows[i].only) ||
            strcmp(whole_rows[i].name, rest) != 0)
            continue;
        out->part = whole_rows[i].part;
        out->layout = whole_rows[i].layout;
        out->change = whole_rows[i].change;
        if (whole_rows[i].gguf[0])
            snprintf(out->name, sizeof out->name, "blk.%d.%s", layer,
                     whole_rows[i].gguf);
        return true;
    }
    return false;
}

/* The part of the tensor that has this part. */
static tlpi_hf_part whole_of(tlpi_hf_part part)
{
    return part == TLPI_HF_GATE || part == TLPI_HF_UP ? TLPI_HF_GATE_UP
           : part == TLPI_HF_GATE_BIAS || part == TLPI_HF_UP_BIAS
               ? TLPI_HF_GATE_UP_BIAS
               : part;
}

void tlpi_hf_expert_source(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                           int expert, char *out, size_t cap)
{
    for (size_t i = 0; i < TLPI_COUNT(slice_rows); i++)
        if (slice_rows[i].part == s->part && applies(m, slice_rows[i].only))
            snprintf(out, cap, "model.layers.%d.%s%d%s", s->layer,
                     slice_rows[i].head, expert, slice_rows[i].tail);
    for (size_t i = 0; i < TLPI_COUNT(whole_rows); i++)
        if (whole_rows[i].part == whole_of(s->part) &&
            whole_rows[i].layout == s->layout && applies(m, BIT(GPT_OSS)))
            snprintf(out, cap, "model.layers.%d.%s", s->layer,
                     whole_rows[i].name);
}
