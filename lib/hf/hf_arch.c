/*
 * hf_arch.c - the architectures, one row each.
 *
 * Defaults are those of the classes of configurations in transformers 5.
 */
#include <string.h>

#include "hf/hf_model.h"

/* A model that reads images too: text_config has the keys of its model of
 * texts. */
#define OUTER "Mistral3ForConditionalGeneration"
#define OUTER_TYPE "mistral3"

/* Ministral 3, alone or inside a model that reads images too. */
/* clang-format off */
#define MINISTRAL3                                                             \
    .model_type = "ministral3", .arch = "mistral3", .act_key = "hidden_act",   \
    .act = "silu", .bias = TLPI_HF_BIAS_NONE,                                  \
    .windows = TLPI_HF_WINDOWS_ALL, .permute = true, .query_scale = true,      \
    .n_head_kv = 8, .head_dim = 128, .theta = 1000000
/* clang-format on */

static const tlpi_hf_arch table[] = {
    { .architecture = "LlamaForCausalLM",
      .model_type = "llama",
      .arch = "llama",
      .act_key = "hidden_act",
      .act = "silu",
      .permute = true,
      .theta = 10000 },
    { .architecture = "MistralForCausalLM",
      .model_type = "mistral",
      .arch = "llama",
      .act_key = "hidden_act",
      .act = "silu",
      .bias = TLPI_HF_BIAS_NONE,
      .windows = TLPI_HF_WINDOWS_ALL,
      .permute = true,
      .n_head_kv = 8,
      .n_window = 4096,
      .theta = 10000 },
    { .architecture = "GraniteForCausalLM",
      .model_type = "granite",
      .arch = "granite",
      .act_key = "hidden_act",
      .act = "silu",
      .permute = true,
      .scales = true,
      .theta = 10000 },
    { .architecture = "SmolLM3ForCausalLM",
      .model_type = "smollm3",
      .arch = "smollm3",
      .act_key = "hidden_act",
      .act = "silu",
      .windows = TLPI_HF_WINDOWS_SWITCH,
      .permute = true,
      .tied = true,
      .no_rope = true,
      .n_head_kv = 4,
      .theta = 2000000 },
    { .architecture = "Qwen2ForCausalLM",
      .model_type = "qwen2",
      .arch = "qwen2",
      .act_key = "hidden_act",
      .act = "silu",
      .bias = TLPI_HF_BIAS_QKV,
      .windows = TLPI_HF_WINDOWS_SWITCH,
      .n_head_kv = 32,
      .theta = 10000 },
    { .architecture = "Qwen3ForCausalLM",
      .model_type = "qwen3",
      .arch = "qwen3",
      .act_key = "hidden_act",
      .act = "silu",
      .windows = TLPI_HF_WINDOWS_SWITCH,
      .n_head_kv = 32,
      .head_dim = 128,
      .theta = 10000 },
    { .architecture = "Gemma2ForCausalLM",
      .model_type = "gemma2",
      .arch = "gemma2",
      .act_key = "hidden_activation",
      .act = "gelu_pytorch_tanh",
      .norms = TLPI_HF_NORMS_BOTH,
      .windows = TLPI_HF_WINDOWS_STEP,
      .plus_one = true,
      .tied = true,
      .attn_cap = true,
      .logit_cap = true,
      .attn_cap_usual = 50,
      .logit_cap_usual = 30,
      .n_head_kv = 4,
      .head_dim = 256,
      .n_window = 4096,
      .window_step = 2,
      .theta = 10000,
      .query_scalar = 256,
      .n_layer_even = 46 },
    { .architecture = "Gemma3ForCausalLM",
      .model_type = "gemma3_text",
      .arch = "gemma3",
      .act_key = "hidden_activation",
      .act = "gelu_pytorch_tanh",
      .norms = TLPI_HF_NORMS_BOTH,
      .windows = TLPI_HF_WINDOWS_STEP,
      .plus_one = true,
      .tied = true,
      .n_head_kv = 4,
      .head_dim = 256,
      .n_window = 4096,
      .window_step = 6,
      .theta = 1000000,
      .window_theta = 10000,
      .logit_cap = true,
      .query_scalar = 256,
      .n_layer_even = 62 },
    { .architecture = "Olmo2ForCausalLM",
      .model_type = "olmo2",
      .arch = "olmo2",
      .act_key = "hidden_act",
      .act = "silu",
      .norms = TLPI_HF_NORMS_OUTPUT,
      .theta = 10000 },
    { .architecture = "Olmo3ForCausalLM",
      .model_type = "olmo3",
      .arch = "olmo2",
      .act_key = "hidden_act",
      .act = "silu",
      .norms = TLPI_HF_NORMS_OUTPUT,
      .windows = TLPI_HF_WINDOWS_STEP,
      .n_window = 4096,
      .window_step = 4,
      .window_list = true,
      .theta = 500000,
      .window_theta = 500000 },
    { .architecture = "Phi3ForCausalLM",
      .model_type = "phi3",
      .arch = "phi3",
      .act_key = "hidden_act",
      .act = "silu",
      .bias = TLPI_HF_BIAS_NONE,
      .windows = TLPI_HF_WINDOWS_ALL,
      .window_key = true,
      .fused = true,
      .longrope = true,
      .partial = 1,
      .theta = 10000 },
    { .architecture = "Glm4ForCausalLM",
      .model_type = "glm4",
      .arch = "glm4",
      .act_key = "hidden_act",
      .act = "silu",
      .norms = TLPI_HF_NORMS_GLM,
      .bias = TLPI_HF_BIAS_KEY_QKV,
      .fused = true,
      .has_bias = true,
      .n_head_kv = 2,
      .head_dim = 128,
      .partial = 0.5,
      .theta = 10000 },
    { .architecture = "Exaone4ForCausalLM",
      .model_type = "exaone4",
      .arch = "exaone4",
      .act_key = "hidden_act",
      .act = "silu",
      .norms = TLPI_HF_NORMS_OUTPUT,
      .bias = TLPI_HF_BIAS_NONE,
      .windows = TLPI_HF_WINDOWS_STEP,
      .has_size = true,
      .window_rope = true,
      .n_head_kv = 32,
      .n_window = 4096,
      .window_step = 4,
      .window_list = true,
      .theta = 10000 },
    { .architecture = "MixtralForCausalLM",
      .model_type = "mixtral",
      .arch = "llama",
      .act_key = "hidden_act",
      .act = "silu",
      .bias = TLPI_HF_BIAS_NONE,
      .windows = TLPI_HF_WINDOWS_ALL,
      .permute = true,
      .experts = TLPI_HF_EXPERTS_MIXTRAL,
      .n_expert = 8,
      .n_used = 2,
      .n_head_kv = 8,
      .theta = 1000000 },
    { .architecture = "Qwen3MoeForCausalLM",
      .model_type = "qwen3_moe",
      .arch = "qwen3moe",
      .act_key = "hidden_act",
      .act = "silu",
      .windows = TLPI_HF_WINDOWS_SWITCH,
      .experts = TLPI_HF_EXPERTS_QWEN,
      .n_expert = 128,
      .n_used = 8,
      .n_ff_expert = 768,
      .n_head_kv = 4,
      .theta = 10000 },
    { .architecture = "GptOssForCausalLM",
      .model_type = "gpt_oss",
      .arch = "gpt-oss",
      .act_key = "hidden_act",
      .act = "silu",
      .norms = TLPI_HF_NORMS_LATE,
      .windows = TLPI_HF_WINDOWS_STEP,
      .has_bias = true,
      .yarn_exact = true,
      .experts = TLPI_HF_EXPERTS_GPT_OSS,
      .n_expert = 128,
      .n_used = 4,
      .n_head_kv = 8,
      .head_dim = 64,
      .n_window = 128,
      .window_step = 2,
      .window_key = true,
      .theta = 150000 },
    { .architecture = "Ministral3ForCausalLM", MINISTRAL3 },
    { .architecture = OUTER, .inner = true, MINISTRAL3 },
    { .architecture = OUTER,
      .model_type = "mistral",
      .inner = true,
      .arch = "mistral3",
      .act_key = "hidden_act",
      .act = "silu",
      .bias = TLPI_HF_BIAS_NONE,
      .windows = TLPI_HF_WINDOWS_ALL,
      .permute = true,
      .n_head_kv = 8,
      .n_window = 4096,
      .theta = 10000 },
};

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* The first name of "architectures"; NULL: missing or empty. */
static tlp_status read_name(const char **name, const tlpi_hf_at *at)
{
    json_t *list;
    tlp_status st = tlpi_hf_list(at, "architectures", &list);

    *name = NULL;
    if (st != TLP_OK || json_array_size(list) == 0)
        return st;
    *name = json_string_value(json_array_get(list, 0));
    return *name && json_array_size(list) == 1
               ? TLP_OK
               : tlpi_hf_refuse(TLP_ENOTSUP, at, "architectures",
                                "one name expected");
}

/* The row of the model of texts that text_config describes. */
static tlp_status find_inner(const tlpi_hf_arch **out, tlpi_hf_at *text,
                             const tlpi_hf_at *root)
{
    const char *type = NULL;
    tlp_status st;

    TLP_TRY(tlpi_hf_enter(text, root, "text_config"));
    if (!text->object)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, root, "text_config",
                               "an object expected"));
    TLP_TRY(tlpi_hf_str(text, "model_type", true, &type));
    for (size_t i = 0; i < TLPI_COUNT(table); i++) {
        if (!table[i].inner || !is(type, table[i].model_type))
            continue;
        *out = &table[i];
        return TLP_OK;
    }
    st = tlpi_hf_refuse(TLP_ENOTSUP, text, "model_type", "not supported");
done:
    return st;
}

static tlp_status refuse_type(const tlpi_hf_at *at, const char *want,
                              const char *architecture)
{
    return tlpi_hf_refuse(TLP_EFORMAT, at, "model_type",
                          "\"%s\" expected of %s", want, architecture);
}

tlp_status tlpi_hf_arch_find(const tlpi_hf_arch **out, tlpi_hf_at *text,
                             const tlpi_hf_at *root)
{
    const char *name = NULL, *type = NULL;
    tlp_status st;

    *text = *root;
    TLP_TRY(read_name(&name, root));
    TLP_TRY(tlpi_hf_str(root, "model_type", name == NULL, &type));
    if (name ? is(name, OUTER) : is(type, OUTER_TYPE))
        return type && !is(type, OUTER_TYPE)
                   ? refuse_type(root, OUTER_TYPE, OUTER)
                   : find_inner(out, text, root);
    for (size_t i = 0; i < TLPI_COUNT(table); i++) {
        const tlpi_hf_arch *a = &table[i];

        if (a->inner ||
            !(name ? is(name, a->architecture) : is(type, a->model_type)))
            continue;
        if (type && !is(type, a->model_type))
            return refuse_type(root, a->model_type, a->architecture);
        *out = a;
        return TLP_OK;
    }
    if (name)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key architectures: \"%.64s\" is not supported",
                         root->file->path.data, name);
    st = tlpi_hf_refuse(TLP_ENOTSUP, root, "model_type", "not supported");
done:
    return st;
}
