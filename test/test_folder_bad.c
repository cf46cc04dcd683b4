/*
 * test_folder_bad.c - folders of Hugging Face whose config.json is malformed,
 * hostile or not understood: a status, and one line with file, key and value.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/log_lines.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

TestSuite(folder_bad, .timeout = 60);

/* ==== config.json ======================================================== */

/* Values that are read, and values that are refused. */
static const hf_bad config_edits[] = {
    HF_CONFIG("llama", "architectures", "[\"PhiForCausalLM\"]", TLP_ENOTSUP,
              "architectures: \"PhiForCausalLM\" is not supported"),
    HF_CONFIG("llama", "architectures", "[\"LlamaForCausalLM\", \"X\"]",
              TLP_ENOTSUP, "architectures: an array of 2, one name expected"),
    HF_CONFIG("llama", "architectures", "\"LlamaForCausalLM\"", TLP_EFORMAT,
              "architectures: \"LlamaForCausalLM\", an array expected"),
    HF_CONFIG("llama", "model_type", "\"mistral\"", TLP_EFORMAT,
              "model_type: \"mistral\", \"llama\" expected of Llama"),
    HF_CONFIG("llama", "num_hidden_layers", NULL, TLP_EFORMAT,
              "num_hidden_layers: missing, an integer expected"),
    HF_CONFIG("llama", "num_hidden_layers", "0", TLP_EFORMAT,
              "num_hidden_layers: 0, an integer from 1 to "),
    HF_CONFIG("llama", "hidden_size", "-96", TLP_EFORMAT,
              "hidden_size: -96, an integer from 1 to 2147483647 expected"),
    HF_CONFIG("llama", "hidden_size", "96.0", TLP_EFORMAT,
              "hidden_size: 96.0, an integer from"),
    HF_CONFIG("llama", "vocab_size", "9223372036854775807", TLP_EFORMAT,
              "vocab_size: 9223372036854775807, an integer from 1 to"),
    HF_CONFIG("llama", "head_dim", "15", TLP_EFORMAT,
              "head_dim: 15, an even number expected; it is 15"),
    HF_CONFIG("llama", "head_dim", "1000000", TLP_EFORMAT,
              "head_dim: 1000000, an integer from 2 to 65536 expected"),
    HF_CONFIG("llama", "rms_norm_eps", "\"small\"", TLP_EFORMAT,
              "rms_norm_eps: \"small\", a number expected"),
    HF_CONFIG("llama", "hidden_act", "\"gelu\"", TLP_ENOTSUP,
              "hidden_act: \"gelu\", \"silu\" expected"),
    HF_CONFIG("llama", "mlp_bias", "true", TLP_ENOTSUP,
              "mlp_bias: true, not supported"),
    HF_CONFIG("llama", "attention_bias", "1", TLP_EFORMAT,
              "attention_bias: 1, true or false expected"),
    HF_CONFIG("llama", "quantization_config", "{\"quant_method\": \"awq\"}",
              TLP_ENOTSUP,
              "quantization_config.quant_method: \"awq\", \"fp8\" expected"),
    HF_CONFIG("llama", "num_local_experts", "8", TLP_ENOTSUP,
              "num_local_experts: 8, not supported"),
    HF_CONFIG("llama", "partial_rotary_factor", "0.5", TLP_ENOTSUP,
              "partial_rotary_factor: 0.5, not supported"),
    HF_CONFIG("llama", "rope_scaling", "{\"rope_type\": \"linear\"}",
              TLP_EFORMAT, "rope_scaling: an object of 1 keys, but there is"),
    HF_CONFIG("llama", "rope_parameters/rope_type", "\"dynamic\"", TLP_ENOTSUP,
              "rope_parameters.rope_type: \"dynamic\" is not supported"),
    HF_CONFIG("llama", "rope_parameters/rope_type", "\"linear\"", TLP_EFORMAT,
              "rope_parameters.factor: missing, a number expected"),
    HF_CONFIG("llama", "rope_parameters/type", "\"linear\"", TLP_EFORMAT,
              "rope_parameters.type: \"linear\", but rope_type is"),
    HF_CONFIG("llama", "rope_parameters/rope_theta", "-1", TLP_EFORMAT,
              "rope_parameters.rope_theta: -1, a number above 0 expected"),
    HF_CONFIG("llama", "rope_theta", "5", TLP_EFORMAT,
              "rope_parameters.rope_theta: 10000.0, but rope_theta is 5"),
    HF_CONFIG("llama", "rope_parameters",
              "{\"rope_type\": \"llama3\", \"factor\": 8, "
              "\"low_freq_factor\": 4, \"high_freq_factor\": 4, "
              "\"original_max_position_embeddings\": 128}",
              TLP_EFORMAT, "rope_parameters.high_freq_factor: 4, more than"),
    HF_CONFIG("llama", "rope_parameters/mrope_section", "[1, 2]", TLP_ENOTSUP,
              "rope_parameters.mrope_section: an array of 2, not supported"),
    HF_CONFIG("llama", "layer_types", "[\"full_attention\"]", TLP_EFORMAT,
              "layer_types: an array of 1, an array of 2 expected"),
    HF_CONFIG("llama", "layer_types",
              "[\"full_attention\", \"linear_attention\"]", TLP_ENOTSUP,
              "layer_types: element 1: \"linear_attention\", not supported"),
    HF_CONFIG("llama", "layer_types",
              "[\"full_attention\", \"sliding_attention\"]", TLP_EFORMAT,
              "sliding_window: missing, a size expected"),
    HF_CONFIG("llama", "tie_word_embeddings", "false", TLP_EFORMAT,
              "tie_word_embeddings: false, true expected: there is no lm"),
    HF_CONFIG("qwen3", "use_sliding_window", "true", TLP_ENOTSUP,
              "use_sliding_window: true, layer_types expected"),
    HF_CONFIG("smollm3", "no_rope_layers", "[1, 0]", TLP_ENOTSUP,
              "no_rope_layers: an array of 2, 0 at every fourth layer"),
    HF_CONFIG("granite", "logits_scaling", "0", TLP_ENOTSUP,
              "logits_scaling: 0, a number above 0 expected"),
    HF_CONFIG("gemma3", "query_pre_attn_scalar", "256", TLP_ENOTSUP,
              "query_pre_attn_scalar: 256, 16 expected"),
    HF_CONFIG("gemma3", "attn_logit_softcapping", "50.0", TLP_ENOTSUP,
              "attn_logit_softcapping: 50.0, not supported"),
    HF_CONFIG("gemma3", "final_logit_softcapping", "-30.0", TLP_ENOTSUP,
              "final_logit_softcapping: -30.0, a number above 0 expected"),
    HF_CONFIG("gemma2", "final_logit_softcapping", "null", TLP_ENOTSUP,
              "final_logit_softcapping: null, a number above 0 expected"),
};

Test(folder_bad, config)
{
    hf_try(config_edits, COUNT(config_edits));
}

/* What the reader of the keys refuses names the key that the value became. */
Test(folder_bad, config_refused_as_keys)
{
    static const hf_bad edits[] = {
        { "llama", "config.json", "num_attention_heads", "4", TLP_EFORMAT,
          "self_attn.q_proj.weight: 2 dimensions, 96 rows; 64 rows expected" },
        { "llama", "config.json", "rms_norm_eps", "5", TLP_EFORMAT,
          ": key llama.attention.layer_norm_rms_epsilon: 5 is not above" },
        { "llama", "config.json", "vocab_size", "300", TLP_EFORMAT,
          "embed_tokens.weight: 2 dimensions, 288 rows; 300 rows expected, as "
          "vocab_size says" },
        { "llama", "config.json", "num_hidden_layers", "3", TLP_EFORMAT,
          ": 21 tensors do not make 3 layers" },
        { "llama", "config.json", "num_hidden_layers", "1", TLP_EFORMAT,
          "tensor model.layers.1." },
        { "qwen2", "config.json", "num_hidden_layers", "3", TLP_EFORMAT,
          ": 6 biases of attention, 9 expected in 3 layers" },
        { "llama", "config.json", "attention_bias", "true", TLP_EFORMAT,
          ": 0 biases of attention, 8 expected in 2 layers" },
    };

    hf_try(edits, COUNT(edits));
}

Test(folder_bad, unknown_keys_are_named)
{
    log_lines seen = { .n = 0 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    const char *folder = hf_small("llama", 0, false);
    tlp_model *m = NULL;

    o.log = log_lines_add;
    o.log_data = &seen;
    hf_edit(folder, "config.json", "new_feature", "\"on\"");
    hf_edit(folder, "config.json", "old_feature", "false");
    hf_edit(folder, "config.json", "rope_parameters/rope_theta", NULL);
    hf_edit(folder, "tokenizer.json", "normalizer", "{\"type\": \"NFC\"}");
    CHECK_OK(tlp_model_open(&m, folder, &o));
    cr_expect(strstr(seen.text, "config.json: key new_feature: \"on\", not "
                                "understood and left out\n"),
              "%s", seen.text);
    cr_expect(strstr(seen.text, "key rope_theta: missing, 10000 is used\n"),
              "%s", seen.text);
    cr_expect(strstr(seen.text, "key normalizer.type: \"NFC\", left out"), "%s",
              seen.text);
    cr_expect_eq(seen.n, 3, "%s", seen.text);
    tlp_model_free(m);
}

/* ==== JSON =============================================================== */

Test(folder_bad, json)
{
    static const struct {
        const char *text, *want;
    } bad[] = {
        { "", "config.json: line 1, byte 0: " },
        { "[1]", "config.json: a JSON object expected" },
        { "{\"a\": 1, \"a\": 2}", "config.json: line 1, byte 12: duplicate " },
        { "{\"hidden_size\": 1", "config.json: line 1, byte " },
        { "{\"a\": [[[[[[[[[[[[[[[[[[[[[",
          "config.json: nested deeper than 16" },
        { "{\"a\": \"\\u0000\"}", "config.json: line 1, byte 14: " },
        { "{\"a\": \"\xff\"}", "config.json: line 1, byte " },
    };
    const char *folder = hf_small("llama", 0, false);

    for (size_t i = 0; i < COUNT(bad); i++) {
        hf_write(folder, "config.json", bad[i].text, strlen(bad[i].text));
        hf_expect_fails(folder, TLP_EFORMAT, bad[i].want);
    }
    cr_assert_eq(unlink(hf_file(folder, "config.json")), 0);
    hf_expect_fails(folder, TLP_EIO, "/config.json: No such file or directory");
    cr_assert_eq(mkdir(hf_file(folder, "config.json"), 0700), 0);
    hf_expect_fails(folder, TLP_EIO, "/config.json: not a regular file");
}
