/*
 * keys.c - refuse metadata keys that may change results.  The library must read
 * a key, or know that the key changes no result.
 *
 *   ARCH.*        allow list, in this file; hparams.c reads the values
 *   tokenizer.*   allow list in text/vocab_keys.c
 *   general.* ..  describe the file, with two exceptions
 *   adapter.* ..  belong to files that are no language models: refused
 *   others        notes of the program that wrote the file: a warning
 */
#include <string.h>

#include "file/gguf_rule.h"
#include "model/model.h"
#include "text/vocab.h"

#define BIT(arch) (1u << TLPI_ARCH_##arch)
/* Kinds of files, by what arch.c or the file says of them. */
#define EXPERTS (1u << 31) /* layers with experts */
#define WINDOWS (1u << 30) /* layers may have windows */
#define STEPS (1u << 29)   /* a step tells the layers with windows */
#define SCORE_CAP (1u << 28)
#define LOGIT_CAP (1u << 27)
#define QUERIES (1u << 26) /* queries may grow with their positions */
#define NUMBER(NAME, X)                                                        \
    {                                                                          \
        .name = NAME, .kind = TLPI_RULE_NUMBER, .number = (X)                  \
    }
#define BOOL(NAME, X)                                                          \
    {                                                                          \
        .name = NAME, .kind = TLPI_RULE_BOOL, .number = (X)                    \
    }
#define TEXT(NAME, X, ONLY)                                                    \
    {                                                                          \
        .name = NAME, .kind = TLPI_RULE_TEXT, .text = (X), .only = (ONLY)      \
    }
#define ANY(NAME)                                                              \
    {                                                                          \
        .name = NAME                                                           \
    }

/* Keys of the architecture, besides those of tlpi_hparam_table. */
static const tlpi_gguf_rule arch_rules[] = {
    /* read in hparams.c */
    ANY("attention.value_length"),
    /* read in hparams_rope.c; without effect where the type has no use of it */
    ANY("rope.scale_linear"),
    ANY("rope.scaling.type"),
    ANY("rope.scaling.factor"),
    ANY("rope.scaling.original_context_length"),
    ANY("rope.scaling.attn_factor"),
    ANY("rope.scaling.yarn_attn_factor"),
    ANY("rope.scaling.yarn_ext_factor"),
    ANY("rope.scaling.yarn_beta_fast"),
    ANY("rope.scaling.yarn_beta_slow"),
    ANY("rope.scaling.yarn_log_multiplier"),
    /* granite's switch of the rotation; elsewhere a note on training */
    ANY("rope.scaling.finetuned"),
    /* without effect: norms are RMS norms */
    ANY("attention.layer_norm_epsilon"),
    { .name = "attention.temperature_scale", .only = QUERIES },
    /* read there for models whose layers have windows */
    { .name = "attention.sliding_window", .only = WINDOWS },
    { .name = "attention.sliding_window_pattern", .only = STEPS },
    { .name = "rope.freq_base_swa", .only = STEPS },
    { .name = "attn_logit_softcapping", .only = SCORE_CAP },
    { .name = "final_logit_softcapping", .only = LOGIT_CAP },
    /* read there for models whose layers have experts */
    { .name = "expert_count", .only = EXPERTS },
    { .name = "expert_used_count", .only = EXPERTS },
    { .name = "expert_feed_forward_length", .only = EXPERTS },
    { .name = "expert_weights_norm", .only = EXPERTS },
    { .name = "expert_weights_scale", .only = EXPERTS },
    /* 1: the weights of experts are a softmax */
    { .name = "expert_gating_func",
      .kind = TLPI_RULE_NUMBER,
      .number = 1,
      .only = EXPERTS },
    /* 3: of the chosen experts alone, as all weights that sum to 1 are */
    { .name = "expert_gating_func",
      .kind = TLPI_RULE_NUMBER,
      .number = 3,
      .only = BIT(GPT_OSS) },
    /* read in meta.c, for embeddings alone */
    NUMBER("pooling_type", TLPI_GGUF_POOLING_NONE),
    NUMBER("pooling_type", TLPI_GGUF_POOLING_MEAN),
    NUMBER("pooling_type", TLPI_GGUF_POOLING_LAST),
    /* the value that changes nothing */
    NUMBER("attention.sliding_window", 0),
    NUMBER("attention.clamp_kqv", 0),
    NUMBER("attention.max_alibi_bias", 0),
    NUMBER("attention.output_scale", 0),
    NUMBER("attention.q_lora_rank", 0),
    NUMBER("attention.kv_lora_rank", 0),
    NUMBER("attention.relative_buckets_count", 0),
    NUMBER("attention.shared_kv_layers", 0),
    NUMBER("attention.sliding_window_pattern", 0),
    BOOL("attention.sliding_window_pattern", 0),
    NUMBER("attention.temperature_scale", 0),
    NUMBER("attn_logit_softcapping", 0),
    NUMBER("final_logit_softcapping", 0),
    NUMBER("expert_count", 0),
    NUMBER("expert_used_count", 0),
    NUMBER("expert_shared_count", 0),
    NUMBER("expert_feed_forward_length", 0),
    NUMBER("expert_shared_feed_forward_length", 0),
    NUMBER("expert_group_count", 0),
    NUMBER("expert_group_used_count", 0),
    NUMBER("expert_gating_func", 0),
    NUMBER("expert_weights_scale", 0),
    NUMBER("expert_weights_scale", 1),
    BOOL("expert_weights_norm", 0),
    NUMBER("router_logit_softcapping", 0),
    NUMBER("interleave_moe_layer_step", 0),
    NUMBER("moe_every_n_layers", 0),
    NUMBER("n_deepstack_layers", 0),
    NUMBER("embedding_length_per_layer_input", 0),
    NUMBER("leading_dense_block_count", 0),
    NUMBER("nextn_predict_layers", 0),
    NUMBER("rope.scaling.alpha", 0),
    BOOL("attention.causal", 1),
    BOOL("use_parallel_residual", 0),
    BOOL("swin_norm", 0),
    /* old converters wrote true, although no such model was trained */
    { .name = "use_parallel_residual",
      .kind = TLPI_RULE_NOTE,
      .only = BIT(QWEN2) },
    /* hybrids without experts; their tensors would be refused */
    { .name = "expert_shared_feed_forward_length", .only = BIT(GRANITE) },
    TEXT("hidden_activation", "silu", 0),
    /* the order of rows of attn_q and attn_k, as arch.c knows it */
    TEXT("tensor_data_layout", "Meta AI original pth",
         BIT(LLAMA) | BIT(GRANITE) | BIT(SMOLLM3)),
    TEXT("tensor_data_layout", "reference",
         BIT(QWEN2) | BIT(QWEN3) | BIT(QWEN3MOE)),
};

/* Names before the first dot, and whether such keys change no result. */
static const struct {
    const char *name;
    bool harmless;
} spaces[] = {
    { "split", true },        { "quantize", true }, { "imatrix", true },
    { "mradermacher", true }, { "adapter", false }, { "clip", false },
    { "diffusion", false },   { "xielu", false },
};

/* ==== keys that this file's architecture gives a meaning ================= */

static uint32_t kinds_of(const tlpi_hparams *hp)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);

    return 1u << hp->arch | (hp->n_expert ? EXPERTS : 0) |
           (arch->windows ? WINDOWS : 0) | (arch->window_step ? STEPS : 0) |
           (arch->caps == TLPI_CAPS_ALWAYS ? SCORE_CAP : 0) |
           (arch->caps != TLPI_CAPS_NONE ? LOGIT_CAP : 0) |
           (arch->query_scale ? QUERIES : 0);
}

static tlp_status check_arch_key(const tlp_model *m, const tlpi_gguf_kv *kv,
                                 const char *name)
{
    for (size_t i = 0; i < TLPI_N_HPARAM; i++)
        if (tlpi_hparam_table[i].key &&
            strcmp(tlpi_hparam_table[i].key, name) == 0)
            return TLP_OK;
    return tlpi_gguf_check_key(m->file[0], kv, name, arch_rules,
                               TLPI_COUNT(arch_rules), kinds_of(&m->hp));
}

static bool has_blocks(const tlp_model *m)
{
    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            if (tlpi_dtype_get((uint32_t)m->file[f]->tensor[i].type)->block > 1)
                return true;
    return false;
}

/* The file must be a model.  If it has blocks, they must be of the layout that
 * tensor/ decodes. */
static tlp_status check_general_key(const tlp_model *m, const tlpi_gguf_kv *kv,
                                    const char *name)
{
    static const tlpi_gguf_rule rules[] = {
        TEXT("type", "model", 0),
        NUMBER("quantization_version", 2),
    };
    bool is_type = strcmp(name, "type") == 0;

    if (!is_type &&
        (strcmp(name, "quantization_version") != 0 || !has_blocks(m)))
        return TLP_OK;
    return tlpi_gguf_check_key(m->file[0], kv, name, rules, TLPI_COUNT(rules),
                               0);
}

/* ==== all keys =========================================================== */

/* The key behind "space."; NULL for a key of another space. */
static const char *name_in(const char *key, const char *space)
{
    size_t n = strlen(space);

    return strncmp(key, space, n) == 0 && key[n] == '.' ? key + n + 1 : NULL;
}

/* A key outside the architecture and the tokenizer. */
static tlp_status check_other_key(const tlp_model *m, const tlpi_gguf_kv *kv,
                                  size_t *n_unknown)
{
    const char *name = name_in(kv->key, "general");

    if (name)
        return check_general_key(m, kv, name);
    for (size_t i = 0; i < TLPI_COUNT(spaces); i++)
        if (name_in(kv->key, spaces[i].name))
            return spaces[i].harmless
                       ? TLP_OK
                       : tlpi_gguf_refuse(m->file[0], kv, ", not understood");
    tlpi_gguf_warn_unknown(m->file[0], kv, n_unknown);
    return TLP_OK;
}

static tlp_status check_first_file(const tlp_model *m)
{
    const tlpi_gguf *g = m->file[0];
    const char *arch = tlpi_arch_get(&m->hp)->name, *name;
    size_t n_unknown = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < g->n_kv; i++) {
        const tlpi_gguf_kv *kv = &g->kv[i];

        if ((name = name_in(kv->key, arch)) != NULL)
            TLP_TRY(check_arch_key(m, kv, name));
        else if ((name = name_in(kv->key, "tokenizer")) != NULL)
            TLP_TRY(tlpi_vocab_check_key(g, kv, name));
        else
            TLP_TRY(check_other_key(m, kv, &n_unknown));
    }
    tlpi_gguf_warn_rest(g, n_unknown);
done:
    return st;
}

static bool is_equal(const tlpi_gguf_kv *a, const tlpi_gguf_kv *b)
{
    return a && a->type == b->type && a->is_array == b->is_array &&
           a->n_bytes == b->n_bytes &&
           (a->n_bytes == 0 || memcmp(a->data, b->data, a->n_bytes) == 0);
}

/* The library reads the first part's metadata.  Another part may repeat it. */
static tlp_status check_part(const tlp_model *m, const tlpi_gguf *part)
{
    const char *arch = tlpi_arch_get(&m->hp)->name;

    for (size_t i = 0; i < part->n_kv; i++) {
        const tlpi_gguf_kv *kv = &part->kv[i];

        if ((name_in(kv->key, arch) || name_in(kv->key, "tokenizer")) &&
            !is_equal(tlpi_gguf_find(m->file[0], kv->key), kv))
            return tlpi_gguf_refuse(part, kv,
                                    ", but the first part says otherwise");
    }
    return TLP_OK;
}

tlp_status tlpi_model_check_keys(const tlp_model *m)
{
    tlp_status st = check_first_file(m);

    for (size_t f = 1; f < m->n_file && st == TLP_OK; f++)
        st = check_part(m, m->file[f]);
    return st;
}
