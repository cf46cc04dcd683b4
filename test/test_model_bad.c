/*
 * test_model_bad.c - model files with one thing wrong, each refused with a
 * text that names it; and the unusual that is accepted.
 */
#include <math.h>

#include "support/twist.h"

Test(model_bad, keys_are_checked)
{
    static const struct {
        twist t;
        tlp_status status;
        const char *error;
    } cases[] = {
        { { .key = "general.architecture" },
          TLP_EFORMAT,
          "general.architecture" },
        { { .key = "general.architecture", .kind = 's', .text = "gpt2" },
          TLP_ENOTSUP,
          "\"gpt2\" is not supported" },
        { NO_KEY("block_count"), TLP_EFORMAT, "llama.block_count" },
        { KEY_U("block_count", 0), TLP_EFORMAT, "llama.block_count: 0 is not" },
        { KEY_U("block_count", 4097), TLP_EFORMAT, "block_count: 4097" },
        { KEY_U("block_count", 3), TLP_EFORMAT, "20 tensors do not make 3" },
        { KEY_U("block_count", 1), TLP_EFORMAT, "has 1 layers (0-0)" },
        { KEY_S("block_count", "2"), TLP_EFORMAT, "llama.block_count" },
        { KEY_U("embedding_length", 0), TLP_EFORMAT, "embedding_length: 0" },
        { KEY_U("embedding_length", 4294967295.0), TLP_EFORMAT,
          "embedding_length: 4294967295" },
        { KEY_U("embedding_length", 64), TLP_EFORMAT, "64 x 288 expected" },
        { KEY_D("feed_forward_length", 48), TLP_ENOTSUP, "for each layer" },
        { KEY_U("feed_forward_length", 49), TLP_EFORMAT, "32 x 49 expected" },
        { KEY_U("attention.head_count", 0), TLP_EFORMAT, "head_count: 0" },
        { KEY_U("attention.head_count", 8), TLP_EFORMAT, "attn_k.weight" },
        { KEY_U("attention.head_count_kv", 0), TLP_EFORMAT,
          "head_count_kv: 0" },
        { KEY_U("attention.head_count_kv", 3), TLP_EFORMAT,
          "3 kv heads do not divide 4 heads" },
        { KEY_U("attention.head_count_kv", 8), TLP_EFORMAT, "is not in 1..4" },
        { KEY_D("attention.head_count_kv", 2), TLP_ENOTSUP, "head_count_kv" },
        { KEY_U("attention.key_length", 0), TLP_EFORMAT, "key_length: 0" },
        { KEY_U("attention.value_length", 16), TLP_ENOTSUP,
          "16 differs from the key length 8" },
        { NO_KEY("attention.layer_norm_rms_epsilon"), TLP_EFORMAT, "epsilon" },
        { KEY_F("attention.layer_norm_rms_epsilon", 0), TLP_EFORMAT,
          "epsilon" },
        { KEY_F("attention.layer_norm_rms_epsilon", 1), TLP_EFORMAT,
          "epsilon" },
        { KEY_F("attention.layer_norm_rms_epsilon", -1e-5), TLP_EFORMAT,
          "epsilon" },
        { KEY_F("attention.layer_norm_rms_epsilon", NAN), TLP_EFORMAT,
          "epsilon" },
        { KEY_F("rope.freq_base", 0), TLP_EFORMAT, "rope.freq_base" },
        { KEY_F("rope.freq_base", INFINITY), TLP_EFORMAT, "rope.freq_base" },
        { KEY_U("rope.dimension_count", 7), TLP_EFORMAT, "an even number" },
        { KEY_U("rope.dimension_count", 0), TLP_EFORMAT, "dimension_count: 0" },
        { KEY_U("rope.dimension_count", 10), TLP_EFORMAT, "is not in 2..8" },
        { NO_KEY("context_length"), TLP_EFORMAT, "context_length" },
        { KEY_U("context_length", 0), TLP_EFORMAT, "context_length: 0" },
        { KEY_U("vocab_size", 289), TLP_EFORMAT, "288 rows for 289 tokens" },
        { KEY_U("expert_count", 8), TLP_EFORMAT, "expert_used_count" },
        { KEY_A("expert_count", 8), TLP_EFORMAT, "expert_used_count" },
        { KEY_F("attn_logit_softcapping", 50), TLP_ENOTSUP, "softcapping" },
        { KEY_U("attention.sliding_window_pattern", 2), TLP_ENOTSUP,
          "key llama.attention.sliding_window_pattern: 2 is not supported, 0 "
          "expected" },
        { KEY_F("logit_scale", 0.5), TLP_ENOTSUP, "logit_scale: 0.5" },
        { KEY_F("attention.scale", 0.5), TLP_ENOTSUP,
          "scale: 0.5 is not supported, 0.353553 expected" },
        { KEY_F("attention.scale", 0.353554), TLP_ENOTSUP, "scale: 0.35355" },
        { KEY_F("attention.scale", NAN), TLP_ENOTSUP, "scale: nan" },
        { GRANITE("residual_scale", -1), TLP_EFORMAT, "residual_scale: -1" },
        { GRANITE("logit_scale", 0), TLP_EFORMAT, "logit_scale: 0" },
        { GRANITE("embedding_scale", NAN), TLP_EFORMAT, "embedding_scale" },
        { KEY_F("attention.temperature_scale", 0.5), TLP_ENOTSUP,
          "temperature_scale: 0.5 is not supported, 0 expected" },
        { GEMMA3("final_logit_softcapping", -1), TLP_EFORMAT,
          "final_logit_softcapping: -1 is not above 0" },
        { { .arch = "gemma2" },
          TLP_EFORMAT,
          "gemma2.attention.sliding_window" },
        { { .arch = "gpt-oss" },
          TLP_EFORMAT,
          "gpt-oss.attention.sliding_window" },
        { MISTRAL3("attention.temperature_scale", -1), TLP_EFORMAT,
          "temperature_scale: -1 is not above 0" },
        { MISTRAL3("attention.temperature_scale", NAN), TLP_EFORMAT,
          "temperature_scale: nan" },
        { MISTRAL3("attention.temperature_length", 8), TLP_ENOTSUP,
          "temperature_length" },
        { { .arch = "granite",
            .key = "granite.attention.scale",
            .kind = 's',
            .text = "1" },
          TLP_EFORMAT,
          "attention.scale" },
        { { .key = L "attention.causal", .kind = 'b' }, TLP_ENOTSUP, "causal" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++)
        twist_refused(cases[i].t, cases[i].status, cases[i].error);
}

Test(model_bad, tensors_are_checked)
{
    static const struct {
        twist t;
        tlp_status status;
        const char *error;
    } cases[] = {
        { { .tensor = "token_embd.weight" },
          TLP_EFORMAT,
          "token_embd.weight: missing" },
        { { .tensor = "output_norm.weight" },
          TLP_EFORMAT,
          "output_norm.weight: missing" },
        { { .tensor = "blk.1.ffn_up.weight" },
          TLP_EFORMAT,
          "blk.1.ffn_up.weight: missing" },
        { TENSOR("blk.0.attn_qkv.weight", 2, N_EMBD, N_EMBD, TLPI_F32),
          TLP_EFORMAT, "blk.0.attn_qkv.weight: shape" },
        { TENSOR("blk.0.attn_qkv.weight", 2, N_EMBD,
                 N_EMBD + 2 * N_KV * HEAD_DIM, TLPI_F32),
          TLP_EFORMAT, "also in" },
        { TENSOR("blk.0.attn_qkv.bias", 1, N_EMBD + 2 * N_KV * HEAD_DIM, 1,
                 TLPI_F16),
          TLP_ENOTSUP, "blk.0.attn_qkv.bias: type F16" },
        { { .arch = "qwen3", .tensor = "blk.0.attn_k_norm.weight" },
          TLP_EFORMAT,
          "blk.0.attn_k_norm.weight: missing" },
        { TENSOR("token_embd.weight", 2, N_EMBD, N_VOCAB - 1, TLPI_F32),
          TLP_EFORMAT, "287" },
        { TENSOR("blk.1.attn_q.weight", 2, N_EMBD, N_EMBD + 1, TLPI_F32),
          TLP_EFORMAT, "blk.1.attn_q.weight: shape 32 x 33 x 1 x 1, 32 x 32" },
        { TENSOR("blk.1.attn_q.weight", 1, N_EMBD * N_EMBD, 1, TLPI_F32),
          TLP_EFORMAT, "blk.1.attn_q.weight: shape 1024 x 1" },
        { TENSOR("output.weight", 2, N_EMBD, N_VOCAB + 1, TLPI_F32),
          TLP_EFORMAT, "output.weight: shape 32 x 289" },
        { TENSOR("blk.0.attn_norm.weight", 1, N_EMBD + 1, 1, TLPI_F32),
          TLP_EFORMAT, "blk.0.attn_norm.weight: shape 33" },
        { TENSOR("blk.0.attn_norm.weight", 1, N_EMBD, 1, TLPI_F16), TLP_ENOTSUP,
          "blk.0.attn_norm.weight: type F16, F32 expected" },
        { TENSOR("blk.0.attn_q.bias", 1, N_EMBD, 1, TLPI_BF16), TLP_ENOTSUP,
          "blk.0.attn_q.bias: type BF16" },
        { TENSOR("rope_freqs.weight", 1, HEAD_DIM, 1, TLPI_F32), TLP_EFORMAT,
          "rope_freqs.weight: shape 8" },
        { TENSOR("blk.0.attn_sinks.weight", 1, N_HEAD, 1, TLPI_F32),
          TLP_ENOTSUP, "blk.0.attn_sinks.weight: not known for llama models" },
        { TENSOR("blk.0.ffn_up.bias", 1, N_FF, 1, TLPI_F32), TLP_ENOTSUP,
          "blk.0.ffn_up.bias: not known" },
        { TENSOR("blk.0.attn_q_norm.weight", 1, HEAD_DIM, 1, TLPI_F32),
          TLP_ENOTSUP, "blk.0.attn_q_norm.weight: not known" },
        { TENSOR("blk.1.attn_rot_embd.weight", 1, HEAD_DIM / 2, 1, TLPI_F32),
          TLP_ENOTSUP, "attn_rot_embd.weight: 0 at 0, 1 expected" },
        { TENSOR("blk.2.attn_norm.weight", 1, N_EMBD, 1, TLPI_F32), TLP_EFORMAT,
          "blk.2.attn_norm.weight: the model has 2 layers (0-1)" },
        { TENSOR("blk.99999999999.attn_norm.weight", 1, N_EMBD, 1, TLPI_F32),
          TLP_ENOTSUP, "not known" },
        { TENSOR("blk.x.attn_norm.weight", 1, N_EMBD, 1, TLPI_F32), TLP_ENOTSUP,
          "not known" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++)
        twist_refused(cases[i].t, cases[i].status, cases[i].error);
}

Test(model_bad, a_fused_gate_has_both_matrices)
{
    twist_refused((twist){ .arch = "phi3" }, TLP_EFORMAT,
                  "blk.0.ffn_up.weight: shape 32 x 48 x 1 x 1, 32 x 96 "
                  "expected");
}

/* ==== unusual, but right ================================================= */

Test(model_bad, defaults_stand_for_missing_keys)
{
    tlp_model *m = twist_open((twist){ 0 });

    cr_expect_eq(m->hp.head_dim, N_EMBD / N_HEAD);
    cr_expect_eq(m->hp.n_rot, N_EMBD / N_HEAD);
    cr_expect_float_eq(m->hp.rope_theta, 10000.0f, 0.0f);
    cr_expect_float_eq(m->hp.rope_scale, 1.0f, 0.0f);
    cr_expect_eq(m->hp.n_vocab, N_VOCAB);
    tlp_model_free(m);
}

Test(model_bad, harmless_keys_and_tensors_are_accepted)
{
    static const twist cases[] = {
        KEY_U("expert_count", 0),
        KEY_A("feed_forward_length", N_FF),
        KEY_A("attention.head_count_kv", N_KV),
        KEY_F("logit_scale", 1),
        KEY_F("attention.scale", 0.35355339), /* 1 / sqrt(HEAD_DIM) */
        { .key = L "attention.causal", .kind = 'b', .number = 1 },
        KEY_U("rope.dimension_count", 4),
        KEY_S("rope.scaling.type", "none"),
        KEY_U("vocab_size", N_VOCAB - 1),
        KEY_U("attention.sliding_window", 0),
        { .tensor = "blk.1.attn_rot_embd.weight",
          .n_dim = 1,
          .ne = { HEAD_DIM / 2 },
          .inv_freq = true },
        { .tensor = "rope_freqs.weight",
          .n_dim = 1,
          .ne = { HEAD_DIM / 2 },
          .inv_freq = true },
        KEY_F("rope.scaling.attn_factor", 2),
        TENSOR("blk.0.attn_output.bias", 1, N_EMBD, 1, TLPI_F32),
        TENSOR("output.weight", 2, N_EMBD, N_VOCAB, TLPI_Q8_0),
        TENSOR("blk.0.ffn_up.weight", 2, N_EMBD, N_FF, TLPI_BF16),
        { .arch = "qwen3" },
        { .arch = "smollm3" },
        TENSOR("blk.0.attn_qkv.bias", 1, N_EMBD + 2 * N_KV * HEAD_DIM, 1,
               TLPI_F32),
        TENSOR("blk.0.attn_qkv.bias", 2, N_EMBD + 2 * N_KV * HEAD_DIM, 1,
               TLPI_F32),
        GRANITE("attention.scale", 0),
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_model *m = twist_open(cases[i]);
        cr_expect_eq(m->hp.n_ctx_train, N_CTX);
        cr_expect_float_eq(m->hp.rope_scale, 1.0f, 0.0f);
        tlp_model_free(m);
    }
}

Test(model_bad, both_names_of_the_linear_factor_are_read)
{
    static const twist cases[] = {
        KEY_F("rope.scaling.factor", 2.5),
        KEY_F("rope.scale_linear", 2.5),
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_model *m = twist_open(cases[i]);
        cr_expect_float_eq(m->hp.rope_scale, 2.5f, 0.0f);
        tlp_model_free(m);
    }
}

/* A granite file may say that none of its layers rotates. */
Test(model_bad, granite_without_rotation)
{
    for (int on = 0; on <= 1; on++) {
        tlp_model *m =
            twist_open((twist){ .arch = "granite",
                                .key = "granite.rope.scaling.finetuned",
                                .kind = 'b',
                                .number = on });
        for (int l = 0; l < m->hp.n_layer; l++)
            cr_expect_eq(m->w.layer[l].rope != TLPI_ROPE_NONE, on == 1);
        tlp_model_free(m);
    }
}

/* Tensors of other families, of adapters and of scaled formats. */
Test(model_bad, tensors_without_a_place_are_refused)
{
    static const char *const names[] = {
        "blk.0.attn_q.lora_a",
        "blk.0.attn_q.weight.lora_b",
        "blk.0.attn_q.scale",
        "blk.0.attn_norm.bias",
        "blk.0.attn_q_norm.bias",
        "blk.0.attn_k_norm.weight.1",
        "blk.0.post_attention_norm.weight",
        "blk.0.post_ffw_norm.weight",
        "blk.0.layer_output_scale.weight",
        "blk.0.ffn_gate_inp.weight",
        "blk.0.ffn_gate_exps.weight",
        "blk.0.ffn_down.bias",
        "blk.0.attn_gate.weight",
        "blk.00.nothing",
        "token_embd_norm.weight",
        "token_embd.bias",
        "position_embd.weight",
        "token_types.weight",
        "output.bias",
        "output.scale",
        "output_norm.bias",
        "cls.weight",
        "v.blk.0.attn_q.weight",
        "nothing",
    };

    for (size_t i = 0; i < TLPI_COUNT(names); i++)
        twist_refused((twist)TENSOR(names[i], 1, N_EMBD, 1, TLPI_F32),
                      TLP_ENOTSUP, "not known for llama models");
}
