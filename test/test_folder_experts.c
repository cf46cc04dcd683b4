/*
 * test_folder_experts.c - folders of Hugging Face whose experts, or whose
 * positions in the way of Phi-3, are malformed or not understood: a status, and
 * one line with file, key or tensor, and value.
 */
#include <stdio.h>
#include <string.h>

#include "file/safetensors.h"
#include "support/check.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/tiny.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

TestSuite(folder_experts, .timeout = 60);

/* ==== config.json ======================================================== */

Test(folder_experts, keys_of_experts)
{
    static const hf_bad edits[] = {
        HF_CONFIG("qwen3moe", "num_local_experts", "5", TLP_EFORMAT,
                  "num_local_experts: 5, but num_experts is 6"),
        HF_CONFIG("qwen3moe", "num_experts", "0", TLP_EFORMAT,
                  "num_experts: 0, an integer from 1 to 65536 expected"),
        HF_CONFIG("qwen3moe", "num_experts_per_tok", "7", TLP_EFORMAT,
                  "num_experts_per_tok: 7, an integer from 1 to 6 expected"),
        HF_CONFIG("qwen3moe", "norm_topk_prob", "1", TLP_EFORMAT,
                  "norm_topk_prob: 1, true or false expected"),
        HF_CONFIG("qwen3moe", "decoder_sparse_step", "2", TLP_ENOTSUP,
                  "decoder_sparse_step: 2, not supported"),
        HF_CONFIG("qwen3moe", "mlp_only_layers", "[1]", TLP_ENOTSUP,
                  "mlp_only_layers: an array of 1, not supported"),
        HF_CONFIG("qwen3moe", "shared_expert_intermediate_size", "64",
                  TLP_ENOTSUP,
                  "shared_expert_intermediate_size: 64, not supported"),
        HF_CONFIG("mixtral", "moe_intermediate_size", "64", TLP_ENOTSUP,
                  "moe_intermediate_size: 64, not supported"),
        HF_CONFIG("llama", "num_experts_per_tok", "2", TLP_ENOTSUP,
                  "num_experts_per_tok: 2, not supported"),
    };

    hf_try(edits, COUNT(edits));
}

Test(folder_experts, keys_of_positions)
{
    static const hf_bad edits[] = {
        HF_CONFIG("phi3", "rope_parameters/long_factor", "[1, 2]", TLP_EFORMAT,
                  "rope_parameters.long_factor: an array of 2, an array of 6 "
                  "expected"),
        HF_CONFIG(
            "phi3", "rope_parameters/short_factor", NULL, TLP_EFORMAT,
            "rope_parameters.short_factor: missing, an array of 6 expected"),
        HF_CONFIG(
            "phi3", "rope_parameters/long_factor", "[1, 1, 1, 0, 1, 1]",
            TLP_EFORMAT,
            "rope_parameters.long_factor: element 3 is 0, a finite number "
            "above 0 expected"),
        HF_CONFIG("phi3", "rope_parameters/short_factor",
                  "[1, 1, 1, 1, 1, 1e39]", TLP_EFORMAT,
                  "rope_parameters.short_factor: element 5 is 1e+39, a finite "
                  "number"),
        HF_CONFIG("phi3", "rope_parameters/long_factor",
                  "[1, \"2\", 1, 1, 1, 1]", TLP_EFORMAT,
                  "rope_parameters.long_factor: element 1 is 0, a"),
        HF_CONFIG("phi3", "rope_parameters/rope_type", "\"yarn\"", TLP_ENOTSUP,
                  "rope_parameters.rope_type: \"yarn\" is not supported"),
        HF_CONFIG("phi3", "rope_parameters/rope_type", "\"default\"",
                  TLP_ENOTSUP,
                  "rope_parameters.short_factor: an array of 6, not supported"),
        HF_CONFIG("phi3", "rope_parameters/original_max_position_embeddings",
                  "32", TLP_EFORMAT,
                  "rope_parameters.original_max_position_embeddings: 32, but "
                  "original_max_position_embeddings is 64 outside"),
        HF_CONFIG("phi3", "rope_parameters/factor", "3.0", TLP_ENOTSUP,
                  "rope_parameters.factor: 3.0, 4 expected, the growth"),
        HF_CONFIG("phi3", "rope_parameters/attention_factor", "0", TLP_EFORMAT,
                  "rope_parameters.attention_factor: 0, a number above 0"),
        HF_CONFIG("phi3", "partial_rotary_factor", "0.2", TLP_EFORMAT,
                  "partial_rotary_factor: 0.2, a part of 16 numbers"),
        HF_CONFIG("phi3", "partial_rotary_factor", "1.5", TLP_EFORMAT,
                  "partial_rotary_factor: 1.5, a part of 16 numbers"),
        HF_CONFIG("phi3", "rope_parameters/partial_rotary_factor", "0.5",
                  TLP_EFORMAT,
                  "rope_parameters.partial_rotary_factor: 0.5, but "
                  "partial_rotary_factor is 0.75 outside"),
        HF_CONFIG("llama", "rope_parameters/long_factor", "[1]", TLP_ENOTSUP,
                  "rope_parameters.long_factor: an array of 1, not supported"),
        HF_CONFIG("llama", "rope_parameters/partial_rotary_factor", "0.5",
                  TLP_ENOTSUP,
                  "rope_parameters.partial_rotary_factor: 0.5, not supported"),
        HF_CONFIG("llama", "rope_parameters/sliding_attention", "{}",
                  TLP_ENOTSUP,
                  "rope_parameters.sliding_attention: layers with windows"),
        HF_CONFIG("exaone4", "sliding_window", "0", TLP_EFORMAT,
                  "sliding_window: 0, an integer from 1 to"),
        { "glm4", "config.json", "attention_bias", "false", TLP_ENOTSUP,
          "_proj.bias: Glm4ForCausalLM models of this config.json have no "
          "such bias" },
    };

    hf_try(edits, COUNT(edits));
}

/* ==== tensors ============================================================ */

Test(folder_experts, numbers_of_experts)
{
    static const struct {
        const char *arch, *from, *to, *key, *value, *text;
    } bad[] = {
        { "qwen3moe", "layers.0.mlp.experts.3.up_proj",
          "layers.0.mlp.experts.9.up_proj", NULL, NULL,
          "/model.safetensors: tensor model.layers.0.mlp.experts.9.up_proj."
          "weight: num_experts is 6, an expert from 0 to 5 expected" },
        { "mixtral", "layers.1.block_sparse_moe.experts.4.w2",
          "layers.1.block_sparse_moe.experts.5.w2", NULL, NULL,
          "/model.safetensors: tensor model.layers.1.block_sparse_moe.experts."
          "5.w2.weight: num_local_experts is 5, an expert from 0 to 4" },
        { "qwen3moe", NULL, NULL, "num_experts", "7",
          ": tensor model.layers.0.mlp.experts.6.gate_proj.weight: missing, "
          "num_experts is 7" },
        { "mixtral", "layers.0.block_sparse_moe.experts.2.w1",
          "layers.0.block_sparse_moe.experts.5.w1", "num_local_experts", "6",
          ": tensor model.layers.0.block_sparse_moe.experts.2.w1.weight: "
          "missing, num_local_experts is 6" },
        { "qwen3moe", NULL, NULL, "moe_intermediate_size", "100",
          "weight: shape 96 x 160 x 1 x 1, 96 x 100 x 1 expected" },
        { "mixtral", NULL, NULL, "intermediate_size", "100",
          "weight: shape 96 x 160 x 1 x 1, 96 x 100 x 1 expected" },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *folder = hf_small(bad[i].arch, 0, false);

        if (bad[i].from)
            hf_patch(folder, bad[i].from, bad[i].to);
        if (bad[i].key)
            hf_edit(folder, "config.json", bad[i].key, bad[i].value);
        hf_expect_fails(folder, TLP_EFORMAT, bad[i].text);
    }
}

/* Names that are not those of an expert, or of the other architecture. */
Test(folder_experts, names_of_experts)
{
    static const char *const names[][2] = {
        { "layers.0.mlp.experts.3.up_proj.",
          "layers.0.mlp.experts.+.up_proj." },
        { "layers.0.mlp.experts.3.up_proj.",
          "layers.0.mlp.experts.3.up_pro_." },
        { "layers.1.mlp.gate.weight", "layers.1.mlp.hate.weight" },
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        const char *folder = hf_small("qwen3moe", 0, false);

        hf_patch(folder, names[i][0], names[i][1]);
        hf_expect_fails(folder, TLP_ENOTSUP,
                        ": not known for Qwen3MoeForCausalLM");
    }
}

/* One more file with a matrix of zeros. */
static void add_file(const char *folder, const char *tensor, tlpi_dtype type,
                     int cols, int rows)
{
    tlpi_safetensors_part part = { .type = type,
                                   .n_dim = 2,
                                   .ne = { cols, rows } };
    const tlpi_safetensors_meta meta = { "format", "pt" };
    tlpi_env env;
    void *image;
    size_t n;
    json_t *index = hf_load(folder, "model.safetensors.index.json");

    snprintf(part.name, sizeof part.name, "%s", tensor);
    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_safetensors_lay_out(&env, &part, 1, &meta, 1, &image, &n));
    memset(part.data, 0, part.n_bytes);
    hf_write(folder, "more.safetensors", image, n);
    tlpi_free(&env, image);
    json_object_set_new(json_object_get(index, "weight_map"), tensor,
                        json_string("more.safetensors"));
    hf_save(folder, "model.safetensors.index.json", index);
    json_decref(index);
}

static const char *split_folder(bool fused)
{
    tiny_spec s = tiny_default();

    s.arch = "qwen3moe";
    s.type = TLPI_F32;
    s.n_layer = 2;
    hf_spec f = { .gguf = tiny_make(&s), .n_shard = 2, .fused = fused };
    return hf_make(&f);
}

Test(folder_experts, experts_of_two_kinds)
{
    const char *folder = split_folder(true);

    add_file(folder, "model.layers.1.mlp.experts.2.up_proj.weight", TLPI_F32,
             96, 160);
    hf_expect_fails(folder, TLP_EFORMAT,
                    ": tensor model.layers.1.mlp.experts.2.up_proj.weight: "
                    "there twice");
    folder = split_folder(true);
    add_file(folder, "model.layers.0.mlp.experts.0.down_proj.weight", TLPI_F32,
             160, 96);
    hf_expect_fails(folder, TLP_EFORMAT,
                    ": tensor model.layers.0.mlp.experts.1.down_proj.weight: "
                    "missing, num_experts is 6");
    folder = split_folder(false);
    hf_edit(folder, "config.json", "num_experts", "7");
    add_file(folder, "model.layers.0.mlp.experts.6.gate_proj.weight", TLPI_F16,
             96, 160);
    hf_expect_fails(folder, TLP_ENOTSUP,
                    ": tensor model.layers.0.mlp.experts.6.gate_proj.weight: "
                    "type F16, F32 as of expert 0 expected");
}
