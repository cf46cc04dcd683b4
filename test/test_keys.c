/*
 * test_keys.c - metadata keys: what nothing reads is refused or warned of, and
 * what real files hold is accepted.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/model.h"
#include "support/check.h"
#include "support/gguf_writer.h"
#include "support/log_lines.h"
#include "support/tiny.h"
#include "support/tiny_vocab.h"

/* A key and its value: u32 'u', i32 'i', f32 'f', text 's', bool 'b', two u32
 * 'a', no element 'e'. */
typedef struct one_key {
    const char *key;
    char kind;
    double number;
    const char *text;
} one_key;

static void put_key(gw_file *w, const char *key, const one_key *k)
{
    int32_t i = (int32_t)k->number;
    uint32_t u = (uint32_t)k->number, pair[2] = { u, u };

    switch (k->kind) {
    case 'u':
        gw_kv_u32(w, key, u);
        break;
    case 'i':
        gw_kv(w, key, TLPI_GGUF_I32, &i, sizeof i);
        break;
    case 'f':
        gw_kv_f32(w, key, (float)k->number);
        break;
    case 's':
        gw_kv_str(w, key, k->text);
        break;
    case 'b':
        gw_kv_bool(w, key, k->number != 0);
        break;
    case 'a':
        gw_kv_array(w, key, TLPI_GGUF_U32, 2, pair, sizeof pair);
        break;
    default:
        gw_kv_array(w, key, TLPI_GGUF_U8, 0, pair, 0);
    }
}

/* Do all models of the architecture have experts? */
static bool has_experts(const char *arch)
{
    for (int a = 0; a < TLPI_N_ARCH; a++)
        if (strcmp(tlpi_arch_table[a].name, arch) == 0)
            return tlpi_arch_table[a].experts == TLPI_EXPERTS_ALWAYS;
    return false;
}

static void put_keys(gw_file *w, const char *arch, const one_key *keys,
                     size_t n)
{
    char key[96];

    for (size_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%s.%s", arch, keys[i].key);
        put_key(w, key, &keys[i]);
    }
}

#define PUT_KEYS(w, arch, keys) put_keys(w, arch, keys, TLPI_COUNT(keys))

/* The keys of a file without tensors. */
static void begin(gw_file *w, const char *arch)
{
    static const one_key usual[] = {
        { "context_length", 'u', 256, NULL },
        { "embedding_length", 'u', 64, NULL },
        { "block_count", 'u', 2, NULL },
        { "feed_forward_length", 'u', 64, NULL },
        { "attention.head_count", 'u', 4, NULL },
        { "attention.layer_norm_rms_epsilon", 'f', 1e-5, NULL },
    };
    static const one_key of_experts[] = {
        { "expert_count", 'u', 4, NULL },
        { "expert_used_count", 'u', 2, NULL },
        { "expert_feed_forward_length", 'u', 32, NULL },
    };
    static const one_key of_windows[] = {
        { "attention.sliding_window", 'u', 8, NULL },
    };
    static const one_key of_caps[] = {
        { "attn_logit_softcapping", 'f', 50, NULL },
        { "final_logit_softcapping", 'f', 30, NULL },
    };
    bool gemma2 = strcmp(arch, "gemma2") == 0;

    gw_init(w);
    gw_kv_str(w, "general.architecture", arch);
    PUT_KEYS(w, arch, usual);
    if (gemma2 || strcmp(arch, "gpt-oss") == 0)
        PUT_KEYS(w, arch, of_windows);
    if (gemma2)
        PUT_KEYS(w, arch, of_caps);
    if (has_experts(arch))
        PUT_KEYS(w, arch, of_experts);
    tiny_vocab_write(w, 288, false);
}

static tlp_status open_file(tlp_model **m, const gw_file *w, log_lines *log)
{
    const char *path = tiny_path("keys.gguf");
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    *log = (log_lines){ 0 };
    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = log;
    cr_assert(gw_save(w, path));
    return tlp_model_open(m, path, &o);
}

/* Open a file of this architecture with one more key; "%" in the key stands
 * for the architecture. */
static tlp_status open_with(const char *arch, const one_key *k, log_lines *log,
                            char full[128])
{
    tlp_model *m = NULL;
    gw_file w;

    snprintf(full, 128, "%s%s", k->key[0] == '%' ? arch : "",
             k->key + (k->key[0] == '%'));
    begin(&w, arch);
    put_key(&w, full, k);
    tlp_status st = open_file(&m, &w, log);
    gw_free(&w);
    tlp_model_free(m);
    return st;
}

static void expect_refused(const char *arch, const one_key *k)
{
    log_lines log;
    char key[128], start[160];
    tlp_status st = open_with(arch, k, &log, key);

    snprintf(start, sizeof start, "keys.gguf: key %s: ", key);
    cr_expect_eq(st, TLP_ENOTSUP, "%s '%c': %s", key, k->kind,
                 tlp_status_name(st));
    cr_expect(st == TLP_OK || strstr(tlp_last_error(), start), "%s",
              tlp_last_error());
}

static void expect_accepted(const char *arch, const one_key *k)
{
    log_lines log;
    char key[128];
    tlp_status st = open_with(arch, k, &log, key);

    cr_expect_eq(st, TLP_OK, "%s: %s", key, tlp_last_error());
    cr_expect_eq(log.n, 0, "%s: %s", key, log.text);
}

/* ==== keys of the architecture =========================================== */

/* Does an architecture read the key, because its layers have windows? */
static bool is_of_windows(const tlpi_arch_info *arch, const one_key *k)
{
    if (arch->windows && strcmp(k->key, "%.attention.sliding_window") == 0)
        return true;
    return arch->window_step &&
           (strcmp(k->key, "%.attention.sliding_window_pattern") == 0 ||
            strcmp(k->key, "%.rope.freq_base_swa") == 0);
}

/* Does the architecture read the key? */
static bool reads(const tlpi_arch_info *arch, const one_key *k)
{
    if (is_of_windows(arch, k))
        return true;
    if (arch->caps && strcmp(k->key, "%.final_logit_softcapping") == 0)
        return true;
    if (arch->caps == TLPI_CAPS_ALWAYS &&
        strcmp(k->key, "%.attn_logit_softcapping") == 0)
        return true;
    if (arch->query_scale &&
        strcmp(k->key, "%.attention.temperature_scale") == 0)
        return true;
    if (arch->experts == TLPI_EXPERTS_MAYBE)
        return strcmp(k->key, "%.expert_count") == 0 && k->number != 0;
    return arch->experts && strncmp(k->key, "%.expert_", 9) == 0;
}

Test(keys, of_the_architecture_that_change_results)
{
    static const one_key keys[] = {
        { "%.attention.sliding_window", 'u', 8, NULL },
        { "%.attention.sliding_window", 'u', 256, NULL },
        { "%.attention.sliding_window", 'u', 4096, NULL },
        { "%.attention.sliding_window", 'i', -1, NULL },
        { "%.attention.sliding_window", 'a', 8, NULL },
        { "%.attention.sliding_window", 'e', 0, NULL },
        { "%.attention.sliding_window_pattern", 'u', 6, NULL },
        { "%.attention.sliding_window_pattern", 'b', 1, NULL },
        { "%.attention.sliding_window_type", 'u', 1, NULL },
        { "%.attention.chunk_size", 'u', 64, NULL },
        { "%.attention.key_length_swa", 'u', 16, NULL },
        { "%.attention.shared_kv_layers", 'u', 2, NULL },
        { "%.attention.temperature_scale", 'f', 0.1, NULL },
        { "%.attention.output_scale", 'f', 0.5, NULL },
        { "%.attention.q_lora_rank", 'u', 16, NULL },
        { "%.attention.max_alibi_bias", 'f', 8, NULL },
        { "%.attention.clamp_kqv", 'f', 8, NULL },
        { "%.attention.causal", 'b', 0, NULL },
        { "%.attention.causal", 'u', 1, NULL },
        { "%.attn_logit_softcapping", 'f', 50, NULL },
        { "%.final_logit_softcapping", 'f', 30, NULL },
        { "%.final_logit_softcapping", 'f', NAN, NULL },
        { "%.final_logit_softcapping", 's', 0, "30" },
        { "%.expert_count", 'u', 8, NULL },
        { "%.expert_used_count", 'u', 2, NULL },
        { "%.expert_weights_scale", 'f', 2, NULL },
        { "%.interleave_moe_layer_step", 'u', 2, NULL },
        { "%.nextn_predict_layers", 'u', 1, NULL },
        { "%.pooling_type", 'u', 2, NULL },
        { "%.pooling_type", 'u', 4, NULL },
        { "%.pooling_type", 's', 0, "mean" },
        { "%.swin_norm", 'b', 1, NULL },
        { "%.hidden_activation", 's', 0, "gelu" },
        { "%.tensor_data_layout", 's', 0, "transposed" },
        { "%.embedding_length_per_layer_input", 'u', 8, NULL },
        { "%.rope.scaling.yarn_attn_factor", 'f', 2, NULL },
        { "%.rope.scaling.yarn_ext_factor", 'f', 1, NULL },
        { "%.rope.scaling.yarn_log_multiplier", 'f', 0.1, NULL },
        { "%.rope.scaling.alpha", 'f', 1000, NULL },
        { "%.rope.scaling.type", 's', 0, "dynamic" },
        { "%.rope.freq_base_swa", 'f', 1e4, NULL },
        { "%.rope.dimension_sections", 'a', 8, NULL },
        { "%.ssm.conv_kernel", 'u', 4, NULL },
        { "%.classifier.output_labels", 's', 0, "yes" },
        { "%.a_key_of_tomorrow", 'u', 0, NULL },
        { "%.vocab_size.more", 'u', 0, NULL },
        { "%.attention.head_count_kv_of_tomorrow", 'u', 4, NULL },
    };

    for (int a = 0; a < TLPI_N_ARCH; a++)
        for (size_t i = 0; i < TLPI_COUNT(keys); i++)
            if (!reads(&tlpi_arch_table[a], &keys[i]))
                expect_refused(tlpi_arch_table[a].name, &keys[i]);
}

Test(keys, of_windows)
{
    static const one_key keys[] = {
        { "%.attention.sliding_window", 'u', 0, NULL },
        { "%.attention.sliding_window", 'u', 1, NULL },
        { "%.attention.sliding_window", 'u', 4096, NULL },
        { "%.attention.sliding_window", 'a', 8, NULL },
        { "%.rope.freq_base_swa", 'f', 1e4, NULL },
    };
    static const one_key bad[] = {
        { "%.attention.sliding_window", 'i', -1, NULL },
        { "%.attention.sliding_window", 's', 0, "512" },
        { "%.attention.sliding_window_pattern", 'u', 0, NULL },
        { "%.attention.sliding_window_pattern", 'b', 1, NULL },
        { "%.rope.freq_base_swa", 'f', 0, NULL },
        { "%.rope.freq_base_swa", 'f', NAN, NULL },
    };

    for (size_t i = 0; i < TLPI_COUNT(keys); i++) {
        expect_accepted("gemma3", &keys[i]);
        expect_accepted("olmo2", &keys[i]);
    }
    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        log_lines log;
        char key[128];
        tlp_status st = open_with("gemma3", &bad[i], &log, key);

        cr_expect_eq(st, TLP_EFORMAT, "%s '%c': %s", key, bad[i].kind,
                     tlp_status_name(st));
        cr_expect(strstr(tlp_last_error(), key) != NULL, "%s",
                  tlp_last_error());
    }
}

/* Where layers with windows scale positions as all layers do, they have no base
 * of their own. */
Test(keys, of_a_base_of_windows)
{
    static const char *const archs[] = { "gpt-oss", "gemma2", "exaone4" };
    static const one_key equal = { "%.rope.freq_base_swa", 'f', 1e4, NULL };
    static const one_key other = { "%.rope.freq_base_swa", 'f', 2e4, NULL };

    for (size_t i = 0; i < TLPI_COUNT(archs); i++) {
        expect_accepted(archs[i], &equal);
        expect_refused(archs[i], &other);
        cr_expect(strstr(tlp_last_error(), "20000 is not supported, 10000"),
                  "%s", tlp_last_error());
    }
}

Test(keys, of_the_architecture_that_change_nothing)
{
    static const one_key keys[] = {
        { "%.attention.head_count_kv", 'u', 2, NULL },
        { "%.attention.key_length", 'u', 16, NULL },
        { "%.attention.value_length", 'u', 16, NULL },
        { "%.attention.layer_norm_epsilon", 'f', 1e-6, NULL },
        { "%.attention.sliding_window", 'u', 0, NULL },
        { "%.attention.sliding_window", 'a', 0, NULL },
        { "%.attention.sliding_window_pattern", 'u', 0, NULL },
        { "%.attention.sliding_window_pattern", 'b', 0, NULL },
        { "%.attention.scale", 'f', 0, NULL },
        { "%.attention.scale", 'f', 0.25, NULL }, /* 1/sqrt(16) */
        { "%.attention.output_scale", 'f', 0, NULL },
        { "%.attention.temperature_scale", 'f', 0, NULL },
        { "%.attention.q_lora_rank", 'u', 0, NULL },
        { "%.attention.shared_kv_layers", 'u', 0, NULL },
        { "%.attention.causal", 'b', 1, NULL },
        { "%.attention.clamp_kqv", 'f', 0, NULL },
        { "%.vocab_size", 'u', 288, NULL },
        { "%.expert_count", 'u', 0, NULL },
        { "%.expert_used_count", 'u', 0, NULL },
        { "%.expert_weights_scale", 'f', 1, NULL },
        { "%.expert_weights_norm", 'b', 0, NULL },
        { "%.expert_gating_func", 'u', 0, NULL },
        { "%.embedding_length_per_layer_input", 'u', 0, NULL },
        { "%.swin_norm", 'b', 0, NULL },
        { "%.pooling_type", 'u', 0, NULL },
        { "%.pooling_type", 'u', 1, NULL },
        { "%.pooling_type", 'u', 3, NULL },
        { "%.use_parallel_residual", 'b', 0, NULL },
        { "%.hidden_activation", 's', 0, "silu" },
        { "%.logit_scale", 'f', 1, NULL },
        { "%.rope.dimension_count", 'u', 16, NULL },
        { "%.rope.freq_base", 'f', 1e6, NULL },
        { "%.rope.scaling.type", 's', 0, "none" },
        { "%.rope.scaling.type", 's', 0, "linear" },
        { "%.rope.scaling.factor", 'f', 2, NULL },
        { "%.rope.scale_linear", 'f', 2, NULL },
        { "%.rope.scaling.original_context_length", 'u', 4096, NULL },
        { "%.rope.scaling.finetuned", 'b', 1, NULL },
        { "%.rope.scaling.attn_factor", 'f', 1, NULL },
    };

    for (int a = 0; a < TLPI_N_ARCH; a++)
        for (size_t i = 0; i < TLPI_COUNT(keys); i++)
            if (!reads(&tlpi_arch_table[a], &keys[i]))
                expect_accepted(tlpi_arch_table[a].name, &keys[i]);
}

/* What the file says of embeddings; -1: nothing. */
Test(keys, pooling)
{
    static const struct {
        int written, pooling;
    } cases[] = { { -1, TLP_POOLING_LAST },
                  { 0, TLP_POOLING_LAST },
                  { 1, TLP_POOLING_MEAN },
                  { 3, TLP_POOLING_LAST } };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_model *m = NULL;
        log_lines log;
        gw_file w;

        begin(&w, "qwen3");
        if (cases[i].written >= 0)
            gw_kv_u32(&w, "qwen3.pooling_type", (uint32_t)cases[i].written);
        CHECK_OK(open_file(&m, &w, &log));
        cr_expect_eq(tlpi_model_pooling(m), cases[i].pooling, "case %zu", i);
        gw_free(&w);
        tlp_model_free(m);
    }
}

/* What one architecture has may be unknown in another. */
Test(keys, by_architecture)
{
    const one_key scale = { "%.embedding_scale", 'f', 12, NULL };
    const one_key permuted = { "%.tensor_data_layout", 's', 0,
                               "Meta AI original pth" };

    expect_accepted("granite", &scale);
    expect_refused("llama", &scale);
    expect_refused("qwen3", &scale);
    expect_accepted("llama", &permuted);
    expect_refused("qwen2", &permuted);

    const one_key parallel = { "%.use_parallel_residual", 'b', 1, NULL };
    log_lines log;
    char key[128];

    expect_refused("llama", &parallel);
    expect_refused("qwen3", &parallel);
    CHECK_OK(open_with("qwen2", &parallel, &log, key));
    cr_expect(strstr(log.text, "use_parallel_residual: true, left out"), "%s",
              log.text);
}

/* Two keys of one meaning must not contradict each other. */
Test(keys, both_names_of_a_factor)
{
    for (int factor = 2; factor <= 3; factor++) {
        tlp_model *m = NULL;
        log_lines log;
        gw_file w;

        begin(&w, "llama");
        gw_kv_f32(&w, "llama.rope.scale_linear", 2);
        gw_kv_f32(&w, "llama.rope.scaling.factor", (float)factor);
        tlp_status st = open_file(&m, &w, &log);
        cr_expect_eq(st, factor == 2 ? TLP_OK : TLP_EFORMAT, "%s",
                     tlp_status_name(st));
        tlp_model_free(m);
        gw_free(&w);
    }
}

/* ==== keys of the tokenizer ============================================== */

Test(keys, of_the_tokenizer_that_change_tokens)
{
    static const one_key keys[] = {
        { "tokenizer.ggml.remove_extra_whitespaces", 'b', 1, NULL },
        { "tokenizer.ggml.precompiled_charsmap", 'a', 1, NULL },
        { "tokenizer.ggml.normalizer.lowercase", 'b', 1, NULL },
        { "tokenizer.ggml.normalizer.strip_accents", 'b', 1, NULL },
        { "tokenizer.ggml.suppress_tokens", 'a', 1, NULL },
        { "tokenizer.ggml.add_padding_token", 'b', 1, NULL },
        { "tokenizer.ggml.a_key_of_tomorrow", 'u', 0, NULL },
        { "tokenizer.rwkv.world", 's', 0, "" },
    };

    for (size_t i = 0; i < TLPI_COUNT(keys); i++)
        expect_refused("llama", &keys[i]);
}

Test(keys, of_the_tokenizer_that_change_nothing)
{
    static const one_key keys[] = {
        { "tokenizer.ggml.remove_extra_whitespaces", 'b', 0, NULL },
        { "tokenizer.ggml.precompiled_charsmap", 'e', 0, NULL },
        { "tokenizer.ggml.suppress_tokens", 'e', 0, NULL },
        { "tokenizer.ggml.add_space_prefix", 'b', 0, NULL },
        { "tokenizer.ggml.add_eos_token", 'b', 0, NULL },
        { "tokenizer.ggml.add_sep_token", 'b', 0, NULL },
        { "tokenizer.ggml.unknown_token_id", 'u', 286, NULL },
        { "tokenizer.ggml.padding_token_id", 'u', 287, NULL },
        { "tokenizer.ggml.seperator_token_id", 'u', 287, NULL },
        { "tokenizer.ggml.mask_token_id", 'u', 287, NULL },
        { "tokenizer.ggml.eot_token_id", 'u', 287, NULL },
        { "tokenizer.ggml.eom_token_id", 'u', 287, NULL },
        { "tokenizer.ggml.fim_pre_token_id", 'u', 3, NULL },
        { "tokenizer.ggml.prefix_token_id", 'u', 3, NULL },
        { "tokenizer.ggml.token_type_count", 'u', 1, NULL },
        { "tokenizer.huggingface.json", 's', 0, "{}" },
        { "tokenizer.chat_template.tool_use", 's', 0, "{{ tools }}" },
    };

    for (size_t i = 0; i < TLPI_COUNT(keys); i++)
        expect_accepted("llama", &keys[i]);
}

/* ==== other keys ========================================================= */

Test(keys, about_the_file)
{
    static const one_key good[] = {
        { "general.type", 's', 0, "model" },
        { "general.basename", 's', 0, "x" },
        { "general.file_type", 'u', 99, NULL },
        { "general.sampling.temp", 'f', 0.6, NULL },
        { "general.quantization_version", 'u', 2, NULL },
        { "general.quantization_version", 'u', 1, NULL }, /* no blocks */
        { "general.a_key_of_tomorrow", 's', 0, "x" },
        { "quantize.imatrix.entries_count", 'i', 3, NULL },
        { "imatrix.chunk_count", 'u', 3, NULL },
        { "split.count", 'u', 0, NULL },
        { "mradermacher.quantized_by", 's', 0, "x" },
    };
    static const one_key bad[] = {
        { "general.type", 's', 0, "adapter" },
        { "general.type", 'u', 1, NULL },
        { "adapter.type", 's', 0, "lora" },
        { "clip.has_vision_encoder", 'b', 1, NULL },
        { "diffusion.shift_logits", 'b', 1, NULL },
        { "xielu.alpha_p", 'f', 1, NULL },
    };

    for (size_t i = 0; i < TLPI_COUNT(good); i++)
        expect_accepted("llama", &good[i]);
    for (size_t i = 0; i < TLPI_COUNT(bad); i++)
        expect_refused("llama", &bad[i]);
}

Test(keys, notes_of_other_programs_give_a_warning)
{
    static const one_key keys[] = {
        { "acme.note", 's', 0, "made on a Monday" },
        { "note", 'u', 7, NULL },
        { "qwen2.attention.sliding_window", 'u', 8, NULL },
        { "llama2.attention.causal", 'b', 0, NULL },
    };
    log_lines log;
    char key[128], want[160];

    for (size_t i = 0; i < TLPI_COUNT(keys); i++) {
        CHECK_OK(open_with("llama", &keys[i], &log, key));
        snprintf(want, sizeof want, "key %s: ", key);
        cr_expect_eq(log.n, 1, "%s", log.text);
        cr_expect(strstr(log.text, want), "%s", log.text);
    }
}

Test(keys, many_notes_give_few_warnings)
{
    tlp_model *m = NULL;
    log_lines log;
    gw_file w;
    char key[32];

    begin(&w, "llama");
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "acme.note.%d", i);
        gw_kv_u32(&w, key, 1);
    }
    CHECK_OK(open_file(&m, &w, &log));
    cr_expect_eq(log.n, 9, "%s", log.text);
    cr_expect(strstr(log.text, ": 92 more keys"), "%s", log.text);
    tlp_model_free(m);
    gw_free(&w);
}

/* Blocks of another layout would be decoded wrongly. */
Test(keys, of_another_layout_of_blocks)
{
    const uint64_t ne[2] = { 32, 1 };
    uint8_t block[34] = { 0 };

    for (uint32_t version = 1; version <= 3; version++) {
        tlp_model *m = NULL;
        log_lines log;
        gw_file w;

        begin(&w, "llama");
        gw_kv_u32(&w, "general.quantization_version", version);
        gw_tensor(&w, "token_embd.weight", TLPI_Q8_0, 2, ne, block,
                  sizeof block);
        tlp_status st = open_file(&m, &w, &log);
        cr_expect_eq(st, version == 2 ? TLP_OK : TLP_ENOTSUP, "%u: %s", version,
                     tlp_status_name(st));
        tlp_model_free(m);
        gw_free(&w);
    }
}

/* Metadata is the first part's; another part may repeat it. */
Test(keys, of_later_parts)
{
    static const struct {
        one_key k;
        bool ok;
    } cases[] = {
        { { "split.no", 'u', 1, NULL }, true },
        { { "llama.block_count", 'u', 2, NULL }, true },
        { { "llama.block_count", 'u', 3, NULL }, false },
        { { "llama.block_count", 'i', 2, NULL }, false },
        { { "llama.attention.sliding_window", 'u', 8, NULL }, false },
        { { "tokenizer.ggml.add_eos_token", 'b', 1, NULL }, false },
    };
    tlpi_env env;
    gw_file w;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    begin(&w, "llama");
    gw_bytes first = gw_finish(&w);
    gw_free(&w);
    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlpi_gguf *file[2];
        tlp_model m = { .file = file, .n_file = 2 };

        gw_init(&w);
        put_key(&w, cases[i].k.key, &cases[i].k);
        gw_bytes second = gw_finish(&w);
        CHECK_OK(tlpi_gguf_open_memory(&file[0], &env, first.data, first.n));
        CHECK_OK(tlpi_gguf_open_memory(&file[1], &env, second.data, second.n));
        tlp_status st = tlpi_model_check_keys(&m);
        cr_expect_eq(st, cases[i].ok ? TLP_OK : TLP_ENOTSUP, "%s: %s",
                     cases[i].k.key, tlp_status_name(st));
        tlpi_gguf_close(file[1]);
        tlpi_gguf_close(file[0]);
        free(second.data);
        gw_free(&w);
    }
    free(first.data);
}
