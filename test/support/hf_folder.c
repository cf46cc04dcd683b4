/*
 * hf_folder.c - see hf_folder.h.
 */
#include "hf_folder.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "hf_source.h"
#include "tiny.h"

/* ==== files ============================================================== */

const char *hf_file(const char *folder, const char *name)
{
    static char path[8][1024];
    static int next;
    char *out = path[next++ % 8];

    NEED(snprintf(out, sizeof path[0], "%s/%s", folder, name) <
         (int)sizeof path[0]);
    return out;
}

void hf_write(const char *folder, const char *name, const void *data, size_t n)
{
    FILE *f = fopen(hf_file(folder, name), "wb");

    NEED(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

json_t *hf_load(const char *folder, const char *name)
{
    json_t *root = json_load_file(hf_file(folder, name), 0, NULL);

    NEED(root);
    return root;
}

void hf_save(const char *folder, const char *name, const json_t *root)
{
    NEED(json_dump_file(root, hf_file(folder, name), JSON_INDENT(1)) == 0);
}

/* ==== keys =============================================================== */

static const tlpi_gguf_kv *find(const hf_source *s, const char *suffix)
{
    char key[128];

    snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
    return tlpi_gguf_find(s->g, key);
}

long hf_number(const hf_source *s, const char *suffix, long usual)
{
    const tlpi_gguf_kv *kv = find(s, suffix);

    return kv ? (long)tlpi_gguf_elem_i64(kv, 0) : usual;
}

static double real(const hf_source *s, const char *suffix, double usual)
{
    const tlpi_gguf_kv *kv = find(s, suffix);

    return kv ? tlpi_gguf_elem_f64(kv, 0) : usual;
}

static bool has_tensor(const hf_source *s, const char *name)
{
    return tlpi_gguf_tensor(s->g, name) != NULL;
}

static void set(json_t *o, const char *key, json_t *value)
{
    NEED(json_object_set_new(o, key, value) == 0);
}

/* ==== config.json ======================================================== */

static const struct arch_names {
    const char *arch, *architecture, *model_type;
} archs[] = {
    { "llama", "LlamaForCausalLM", "llama" },
    { "granite", "GraniteForCausalLM", "granite" },
    { "smollm3", "SmolLM3ForCausalLM", "smollm3" },
    { "qwen2", "Qwen2ForCausalLM", "qwen2" },
    { "qwen3", "Qwen3ForCausalLM", "qwen3" },
    { "gemma2", "Gemma2ForCausalLM", "gemma2" },
    { "gemma3", "Gemma3ForCausalLM", "gemma3_text" },
    { "olmo2", "Olmo2ForCausalLM", "olmo2" },
    { "olmo3", "Olmo3ForCausalLM", "olmo3" },
    { "phi3", "Phi3ForCausalLM", "phi3" },
    { "glm4", "Glm4ForCausalLM", "glm4" },
    { "exaone4", "Exaone4ForCausalLM", "exaone4" },
    { "mixtral", "MixtralForCausalLM", "mixtral" },
    { "qwen3moe", "Qwen3MoeForCausalLM", "qwen3_moe" },
    { "gpt-oss", "GptOssForCausalLM", "gpt_oss" },
    { "mistral3", "Ministral3ForCausalLM", "ministral3" },
};

static void add_names(const hf_source *s, json_t *c)
{
    bool olmo3 =
        hf_is(s, "olmo2") && hf_number(s, "attention.sliding_window", 0);
    const char *arch = olmo3 ? "olmo3" : hf_is_mixtral(s) ? "mixtral" : s->arch;
    size_t i = 0;

    while (strcmp(archs[i].arch, arch) != 0)
        NEED(++i < sizeof archs / sizeof archs[0]);
    set(c, "architectures", json_pack("[s]", archs[i].architecture));
    set(c, "model_type", json_string(archs[i].model_type));
}

static void add_windows(const hf_source *s, json_t *c, long n_layer)
{
    long window = hf_number(s, "attention.sliding_window", 0);
    bool two = hf_is(s, "gemma2") || hf_is(s, "gpt-oss");
    int usual = two ? 2 : hf_is(s, "gemma3") ? 6 : 4;
    long step = hf_number(s, "attention.sliding_window_pattern", usual);
    const tlpi_gguf_kv *kv = find(s, "attention.sliding_window_pattern");
    json_t *types = json_array();

    for (long l = 0; l < n_layer; l++) {
        bool has = kv && kv->is_array ? tlpi_gguf_elem_i64(kv, (uint64_t)l) != 0
                                      : (l + 1) % step != 0;

        json_array_append_new(
            types, json_string(has ? "sliding_attention" : "full_attention"));
    }
    if (window > 0) {
        set(c, "sliding_window", json_integer(window));
        if (!hf_is(s, "phi3") && !hf_is(s, "llama"))
            set(c, "layer_types", json_incref(types));
    } else if (hf_is(s, "exaone4")) {
        set(c, "sliding_window", json_null());
    }
    json_decref(types);
}

static void add_experts(const hf_source *s, json_t *c)
{
    long n = hf_number(s, "expert_count", 0);
    bool local = hf_is_mixtral(s) || hf_is(s, "gpt-oss");

    if (n == 0)
        return;
    set(c, local ? "num_local_experts" : "num_experts", json_integer(n));
    set(c, "num_experts_per_tok",
        json_integer(hf_number(s, "expert_used_count", 0)));
    if (hf_is(s, "gpt-oss")) {
        set(c, "intermediate_size",
            json_integer(hf_number(s, "expert_feed_forward_length", 0)));
        set(c, "swiglu_limit", json_real(7));
        if (s->spec->packed)
            set(c, "quantization_config",
                json_pack("{ss s[s]}", "quant_method", "mxfp4",
                          "modules_to_not_convert", "lm_head"));
    }
    if (local)
        return;
    set(c, "moe_intermediate_size",
        json_integer(hf_number(s, "expert_feed_forward_length", 0)));
    set(c, "norm_topk_prob",
        json_boolean(hf_number(s, "expert_weights_norm", 1)));
}

/* What rotates of a head, and the context before it grew. */
static void add_rotation(const hf_source *s, json_t *c)
{
    double head_dim = (double)hf_number(s, "attention.key_length", 0);
    double n_rot = (double)hf_number(s, "rope.dimension_count", 0);
    long n_ctx = hf_number(s, "rope.scaling.original_context_length", 4096);

    if (hf_is(s, "phi3"))
        set(c, "original_max_position_embeddings", json_integer(n_ctx));
    if (hf_is(s, "phi3") || hf_is(s, "glm4"))
        set(c, "partial_rotary_factor", json_real(n_rot / head_dim));
}

static json_t *table(const hf_source *s, const char *name)
{
    const tlpi_tensor *t = tlpi_gguf_tensor(s->g, name);
    json_t *list = json_array();

    for (int64_t i = 0; i < t->ne[0]; i++)
        json_array_append_new(list,
                              json_real((double)((const float *)t->data)[i]));
    return list;
}

static json_t *longrope(const hf_source *s)
{
    return json_pack("{ss so so sf}", "rope_type", "longrope", "long_factor",
                     table(s, "rope_factors_long.weight"), "short_factor",
                     table(s, "rope_factors_short.weight"), "attention_factor",
                     real(s, "rope.scaling.attn_factor", 0));
}

static json_t *scaling(const hf_source *s)
{
    const tlpi_gguf_kv *kv = find(s, "rope.scaling.type");
    json_t *o = json_object();

    if (has_tensor(s, "rope_factors_long.weight")) {
        json_decref(o);
        return longrope(s);
    }
    if (!kv) {
        set(o, "rope_type", json_string("default"));
        return o;
    }
    const uint8_t *at = kv->data;
    tlpi_str type = tlpi_gguf_next_str(&at);
    set(o, "rope_type", json_stringn(type.s, type.n));
    set(o, "factor", json_real(real(s, "rope.scaling.factor", 1)));
    if (hf_is(s, "gpt-oss"))
        set(o, "truncate", json_false());
    if (hf_is(s, "mistral3")) {
        double all = real(s, "rope.scaling.yarn_log_multiplier", 0);

        set(o, "mscale", json_real(1));
        set(o, "mscale_all_dim", json_real(all));
        set(o, "llama_4_scaling_beta",
            json_real(real(s, "attention.temperature_scale", 0)));
    }
    if (type.n == 4) /* yarn */
        set(o, "original_max_position_embeddings",
            json_integer(
                hf_number(s, "rope.scaling.original_context_length", 0)));
    return o;
}

static void add_rope(const hf_source *s, json_t *c)
{
    double theta = real(s, "rope.freq_base", 10000);
    bool by_type = (hf_is(s, "gemma3") || hf_is(s, "olmo2")) &&
                   hf_number(s, "attention.sliding_window", 0) != 0;
    double local =
        real(s, "rope.freq_base_swa", hf_is(s, "gemma3") ? 1e4 : theta);
    json_t *full = scaling(s);

    if (s->spec->older) {
        set(c, "rope_theta", json_real(theta));
        bool scales = find(s, "rope.scaling.type") ||
                      has_tensor(s, "rope_factors_long.weight");
        set(c, "rope_scaling", scales ? full : json_null());
        if (!scales)
            json_decref(full);
        if (hf_is(s, "gemma3"))
            set(c, "rope_local_base_freq", json_real(local));
        return;
    }
    set(full, "rope_theta", json_real(theta));
    set(c, "rope_parameters",
        by_type ? json_pack("{so s{ss sf}}", "full_attention", full,
                            "sliding_attention", "rope_type", "default",
                            "rope_theta", local)
                : full);
}

static void add_cap(const hf_source *s, json_t *c, const char *key)
{
    double x = real(s, key, 0);

    set(c, key, x > 0 ? json_real(x) : json_null());
}

/* The model of texts in a model that reads images too. */
static json_t *with_images(json_t *text)
{
    bool tied = json_is_true(json_object_get(text, "tie_word_embeddings"));

    json_object_del(text, "architectures");
    return json_pack("{s[s] ss so s{ss si} sb si}", "architectures",
                     "Mistral3ForConditionalGeneration", "model_type",
                     "mistral3", "text_config", text, "vision_config",
                     "model_type", "pixtral", "hidden_size", 4,
                     "tie_word_embeddings", (int)tied, "image_token_index", 10);
}

static void write_config(const hf_source *s)
{
    long n_layer = hf_number(s, "block_count", 0);
    long head_dim = hf_number(s, "attention.key_length", 0);
    bool granite = hf_is(s, "granite");
    json_t *c = json_pack(
        "{si si si si si si si sf sb sb}", "num_hidden_layers", (int)n_layer,
        "max_position_embeddings", (int)hf_number(s, "context_length", 0),
        "hidden_size", (int)hf_number(s, "embedding_length", 0),
        "intermediate_size", (int)hf_number(s, "feed_forward_length", 0),
        "num_attention_heads", (int)hf_number(s, "attention.head_count", 0),
        "num_key_value_heads", (int)hf_number(s, "attention.head_count_kv", 0),
        "vocab_size", (int)tlpi_gguf_tensor(s->g, "token_embd.weight")->ne[1],
        "rms_norm_eps", real(s, "attention.layer_norm_rms_epsilon", 0),
        "tie_word_embeddings", !has_tensor(s, "output.weight"),
        "attention_bias",
        has_tensor(s, "blk.0.attn_output.bias") || hf_is(s, "glm4"));

    add_names(s, c);
    if (head_dim > 0 && !granite)
        set(c, "head_dim", json_integer(head_dim));
    add_cap(s, c, "attn_logit_softcapping");
    add_cap(s, c, "final_logit_softcapping");
    if (strncmp(s->arch, "gemma", 5) == 0) {
        set(c, "hidden_activation", json_string("gelu_pytorch_tanh"));
        set(c, "query_pre_attn_scalar", json_integer(head_dim));
    } else {
        set(c, "hidden_act", json_string("silu"));
    }
    if (granite) {
        set(c, "attention_multiplier",
            json_real(real(s, "attention.scale", 0)));
        set(c, "embedding_multiplier",
            json_real(real(s, "embedding_scale", 1)));
        set(c, "residual_multiplier", json_real(real(s, "residual_scale", 1)));
        set(c, "logits_scaling", json_real(real(s, "logit_scale", 1)));
    }
    add_experts(s, c);
    add_rotation(s, c);
    add_windows(s, c, n_layer);
    add_rope(s, c);
    if (s->spec->images)
        c = with_images(c);
    hf_save(s->folder, "config.json", c);
    json_decref(c);
}

/* ==== tokenizer.json ===================================================== */

static json_t *pre_tokenizer(void)
{
    return json_pack("{ss s[{ss sb} {ss sb sb sb}]}", "type", "Sequence",
                     "pretokenizers", "type", "Digits", "individual_digits", 1,
                     "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets",
                     1, "use_regex", 1);
}

static json_t *merges_of(const hf_source *s)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(s->g, "tokenizer.ggml.merges");
    const uint8_t *at = kv->data;
    json_t *list = json_array();

    for (uint64_t i = 0; i < kv->n; i++) {
        tlpi_str m = tlpi_gguf_next_str(&at);
        const char *blank = memchr(m.s, ' ', m.n);
        size_t n = (size_t)(blank - m.s);

        json_array_append_new(
            list, s->spec->older
                      ? json_stringn(m.s, m.n)
                      : json_pack("[o o]", json_stringn(m.s, n),
                                  json_stringn(blank + 1, m.n - n - 1)));
    }
    return list;
}

static void write_tokenizer(const hf_source *s)
{
    const tlpi_gguf_kv *tokens = tlpi_gguf_find(s->g, "tokenizer.ggml.tokens");
    const tlpi_gguf_kv *types =
        tlpi_gguf_find(s->g, "tokenizer.ggml.token_type");
    const uint8_t *at = tokens->data;
    json_t *vocab = json_object(), *added = json_array();

    for (uint64_t i = 0; i < tokens->n; i++) {
        tlpi_str t = tlpi_gguf_next_str(&at);
        char *text = strndup(t.s, t.n);

        set(vocab, text, json_integer((json_int_t)i));
        if (tlpi_gguf_elem_i64(types, i) == 3)
            json_array_append_new(
                added, json_pack("{si ss sb sb sb sb sb}", "id", (int)i,
                                 "content", text, "single_word", 0, "lstrip", 0,
                                 "rstrip", 0, "normalized", 0, "special", 1));
        free(text);
    }
    json_t *root = json_pack(
        "{ss ss? so so ss? so so}", "version", "1.0", "truncation", NULL,
        "added_tokens", added, "pre_tokenizer", pre_tokenizer(), "normalizer",
        NULL, "decoder", json_pack("{ss}", "type", "ByteLevel"), "model",
        json_pack("{ss ss? sb so so}", "type", "BPE", "dropout", NULL,
                  "ignore_merges", 0, "vocab", vocab, "merges", merges_of(s)));
    NEED(root);
    hf_save(s->folder, "tokenizer.json", root);
    json_decref(root);
}

static json_t *token(const hf_source *s, const char *key)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(s->g, key);
    const tlpi_gguf_kv *tokens = tlpi_gguf_find(s->g, "tokenizer.ggml.tokens");
    const uint8_t *at = tokens->data;
    tlpi_str t = { "", 0 };

    for (int64_t i = 0; i <= tlpi_gguf_elem_i64(kv, 0); i++)
        t = tlpi_gguf_next_str(&at);
    return json_stringn(t.s, t.n);
}

static void write_tokenizer_config(const hf_source *s)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(s->g, "tokenizer.chat_template");
    const tlpi_gguf_kv *bos =
        tlpi_gguf_find(s->g, "tokenizer.ggml.add_bos_token");
    const uint8_t *at = kv->data;
    tlpi_str chat = tlpi_gguf_next_str(&at);
    json_t *c = json_pack("{so so sf}", "bos_token",
                          token(s, "tokenizer.ggml.bos_token_id"), "eos_token",
                          token(s, "tokenizer.ggml.eos_token_id"),
                          "model_max_length", 1e30);

    if (bos)
        set(c, "add_bos_token", json_boolean(tlpi_gguf_elem_i64(bos, 0)));
    if (s->spec->older)
        set(c, "chat_template", json_stringn(chat.s, chat.n));
    else
        hf_write(s->folder, "chat_template.jinja", chat.s, chat.n);
    hf_save(s->folder, "tokenizer_config.json", c);
    json_decref(c);
}

const char *hf_make(const hf_spec *spec)
{
    const char *folder = tiny_path("folder");
    hf_source s = { .spec = spec, .folder = folder };
    tlpi_env env;
    tlpi_str arch;

    NEED(mkdir(folder, 0700) == 0);
    NEED(tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK);
    NEED(tlpi_gguf_open(&s.g, &env, spec->gguf, NULL) == TLP_OK);
    NEED(tlpi_gguf_get_str(s.g, "general.architecture", true, &arch) == TLP_OK);
    snprintf(s.arch, sizeof s.arch, "%.*s", (int)arch.n, arch.s);
    write_config(&s);
    write_tokenizer(&s);
    write_tokenizer_config(&s);
    hf_write_tensors(&s);
    tlpi_gguf_close(s.g);
    return folder;
}
