/*
 * hf_folder.c - see hf_folder.h.
 */
#include "hf_folder.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file/gguf.h"
#include "file/safetensors.h"
#include "tiny.h"

#define NEED(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "hf_folder: %s\n", #x);                            \
            abort();                                                           \
        }                                                                      \
    } while (0)

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

typedef struct source {
    const hf_spec *spec;
    const char *folder;
    tlpi_gguf *g;
    char arch[32];
} source;

static const tlpi_gguf_kv *find(const source *s, const char *suffix)
{
    char key[128];

    snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
    return tlpi_gguf_find(s->g, key);
}

static long number(const source *s, const char *suffix, long usual)
{
    const tlpi_gguf_kv *kv = find(s, suffix);

    return kv ? (long)tlpi_gguf_elem_i64(kv, 0) : usual;
}

static double real(const source *s, const char *suffix, double usual)
{
    const tlpi_gguf_kv *kv = find(s, suffix);

    return kv ? tlpi_gguf_elem_f64(kv, 0) : usual;
}

static bool is(const source *s, const char *arch)
{
    return strcmp(s->arch, arch) == 0;
}

static bool has_tensor(const source *s, const char *name)
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
};

static void add_names(const source *s, json_t *c)
{
    bool olmo3 = is(s, "olmo2") && number(s, "attention.sliding_window", 0);
    const char *arch = olmo3 ? "olmo3" : s->arch;
    size_t i = 0;

    while (strcmp(archs[i].arch, arch) != 0)
        NEED(++i < sizeof archs / sizeof archs[0]);
    set(c, "architectures", json_pack("[s]", archs[i].architecture));
    set(c, "model_type", json_string(archs[i].model_type));
}

static void add_windows(const source *s, json_t *c, long n_layer)
{
    long window = number(s, "attention.sliding_window", 0);
    int usual = is(s, "gemma2") ? 2 : is(s, "gemma3") ? 6 : 4;
    long step = number(s, "attention.sliding_window_pattern", usual);
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
        set(c, "layer_types", types);
    } else {
        json_decref(types);
    }
}

static json_t *scaling(const source *s)
{
    const tlpi_gguf_kv *kv = find(s, "rope.scaling.type");
    json_t *o = json_object();

    if (!kv) {
        set(o, "rope_type", json_string("default"));
        return o;
    }
    const uint8_t *at = kv->data;
    tlpi_str type = tlpi_gguf_next_str(&at);
    set(o, "rope_type", json_stringn(type.s, type.n));
    set(o, "factor", json_real(real(s, "rope.scaling.factor", 1)));
    if (type.n == 4) /* yarn */
        set(o, "original_max_position_embeddings",
            json_integer(number(s, "rope.scaling.original_context_length", 0)));
    return o;
}

static void add_rope(const source *s, json_t *c)
{
    double theta = real(s, "rope.freq_base", 10000);
    bool by_type =
        number(s, "attention.sliding_window", 0) != 0 && !is(s, "gemma2");
    double local = real(s, "rope.freq_base_swa", is(s, "gemma3") ? 1e4 : theta);
    json_t *full = scaling(s);

    if (s->spec->older) {
        set(c, "rope_theta", json_real(theta));
        set(c, "rope_scaling",
            find(s, "rope.scaling.type") ? full : json_null());
        if (!find(s, "rope.scaling.type"))
            json_decref(full);
        if (is(s, "gemma3"))
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

static void add_cap(const source *s, json_t *c, const char *key)
{
    double x = real(s, key, 0);

    set(c, key, x > 0 ? json_real(x) : json_null());
}

static void write_config(const source *s)
{
    long n_layer = number(s, "block_count", 0);
    long head_dim = number(s, "attention.key_length", 0);
    bool granite = is(s, "granite");
    json_t *c = json_pack(
        "{si si si si si si si sf sb sb}", "num_hidden_layers", (int)n_layer,
        "max_position_embeddings", (int)number(s, "context_length", 0),
        "hidden_size", (int)number(s, "embedding_length", 0),
        "intermediate_size", (int)number(s, "feed_forward_length", 0),
        "num_attention_heads", (int)number(s, "attention.head_count", 0),
        "num_key_value_heads", (int)number(s, "attention.head_count_kv", 0),
        "vocab_size", (int)tlpi_gguf_tensor(s->g, "token_embd.weight")->ne[1],
        "rms_norm_eps", real(s, "attention.layer_norm_rms_epsilon", 0),
        "tie_word_embeddings", !has_tensor(s, "output.weight"),
        "attention_bias", has_tensor(s, "blk.0.attn_output.bias"));

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
    add_windows(s, c, n_layer);
    add_rope(s, c);
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

static json_t *merges_of(const source *s)
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

static void write_tokenizer(const source *s)
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

static json_t *token(const source *s, const char *key)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(s->g, key);
    const tlpi_gguf_kv *tokens = tlpi_gguf_find(s->g, "tokenizer.ggml.tokens");
    const uint8_t *at = tokens->data;
    tlpi_str t = { "", 0 };

    for (int64_t i = 0; i <= tlpi_gguf_elem_i64(kv, 0); i++)
        t = tlpi_gguf_next_str(&at);
    return json_stringn(t.s, t.n);
}

static void write_tokenizer_config(const source *s)
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

/* ==== tensors ============================================================ */

static void name_of(const source *s, const char *gguf, char *out, size_t cap)
{
    bool post = strncmp(s->arch, "gemma", 5) == 0 || is(s, "olmo2");
    const char *const names[][2] = {
        { "attn_norm.", "input_layernorm." },
        { "attn_q.", "self_attn.q_proj." },
        { "attn_k.", "self_attn.k_proj." },
        { "attn_v.", "self_attn.v_proj." },
        { "attn_output.", "self_attn.o_proj." },
        { "attn_q_norm.", "self_attn.q_norm." },
        { "attn_k_norm.", "self_attn.k_norm." },
        { "post_attention_norm.", "post_attention_layernorm." },
        { "post_ffw_norm.", "post_feedforward_layernorm." },
        { "ffn_norm.",
          post ? "pre_feedforward_layernorm." : "post_attention_layernorm." },
        { "ffn_gate.", "mlp.gate_proj." },
        { "ffn_up.", "mlp.up_proj." },
        { "ffn_down.", "mlp.down_proj." },
    };
    int layer = 0, n = 0;

    if (strcmp(gguf, "token_embd.weight") == 0)
        snprintf(out, cap, "model.embed_tokens.weight");
    else if (strcmp(gguf, "output_norm.weight") == 0)
        snprintf(out, cap, "model.norm.weight");
    else if (strcmp(gguf, "output.weight") == 0)
        snprintf(out, cap, "lm_head.weight");
    else
        NEED(sscanf(gguf, "blk.%d.%n", &layer, &n) == 1 && n > 0);
    for (size_t i = 0; n > 0 && i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i][0]);

        if (strncmp(gguf + n, names[i][0], len) != 0)
            continue;
        snprintf(out, cap, "model.layers.%d.%s%s", layer, names[i][1],
                 gguf + n + len);
        return;
    }
    NEED(n == 0);
}

/* Row r of a head in the order of transformers stands in row 2 r, or behind the
 * first half in row 2 (r - half) + 1. */
static int64_t row_in_gguf(const source *s, const tlpi_tensor *t, int64_t row)
{
    int64_t dim =
        number(s, "attention.key_length", number(s, "rope.dimension_count", 0));
    int64_t half = dim / 2, r = row % dim;
    bool moved = (is(s, "llama") || is(s, "granite") || is(s, "smollm3")) &&
                 (strstr(t->name, "attn_q.") || strstr(t->name, "attn_k."));

    return moved ? row - r + (r < half ? 2 * r : 2 * (r - half) + 1) : row;
}

static bool is_float(tlpi_dtype type)
{
    return type == TLPI_F32 || type == TLPI_F16 || type == TLPI_BF16;
}

static void copy_data(const source *s, const tlpi_tensor *t,
                      const tlpi_safetensors_part *p)
{
    int64_t cols = t->n_dim == 1 ? 1 : t->ne[0];
    int64_t rows = t->n_dim == 1 ? t->ne[0] : t->ne[1];
    float less =
        strncmp(s->arch, "gemma", 5) == 0 && strstr(t->name, "norm.weight") ? 1
                                                                            : 0;
    float *x = malloc((size_t)cols * sizeof *x);

    NEED(x);
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *src =
            (const uint8_t *)t->data +
            (size_t)row_in_gguf(s, t, r) * tlpi_row_bytes(t->type, cols);

        tlpi_dequantize(t->type, src, x, cols);
        if (t->n_dim == 1)
            x[0] -= less;
        tlpi_quantize(p->type, x,
                      p->data + (size_t)r * tlpi_row_bytes(p->type, cols),
                      cols);
    }
    free(x);
}

/* Tensors first, first + step, ... of the file. */
static void write_shard(const source *s, const char *name, size_t first,
                        size_t step, json_t *index)
{
    size_t n = 0, n_image;
    tlpi_safetensors_part *part = calloc(s->g->n_tensor, sizeof *part);
    const tlpi_safetensors_meta meta = { "format", "pt" };
    void *image;

    for (size_t i = first; i < s->g->n_tensor; i += step) {
        const tlpi_tensor *t = &s->g->tensor[i];
        tlpi_safetensors_part *p = &part[n++];

        name_of(s, t->name, p->name, sizeof p->name);
        p->type = is_float(t->type) ? t->type : TLPI_F32;
        if (t->n_dim == 1)
            p->type = s->spec->vector;
        p->n_dim = t->n_dim;
        p->ne[0] = t->ne[0];
        p->ne[1] = t->ne[1];
        set(index, p->name, json_string(name));
    }
    NEED(tlpi_safetensors_lay_out(s->g->env, part, n, &meta, 1, &image,
                                  &n_image) == TLP_OK);
    n = 0;
    for (size_t i = first; i < s->g->n_tensor; i += step)
        copy_data(s, &s->g->tensor[i], &part[n++]);
    hf_write(s->folder, name, image, n_image);
    tlpi_free(s->g->env, image);
    free(part);
}

static void write_tensors(const source *s)
{
    int n = s->spec->n_shard;
    json_t *index = json_object();

    for (int i = 0; i < (n ? n : 1); i++) {
        char name[64];

        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, n);
        write_shard(s, n ? name : "model.safetensors", (size_t)i,
                    n ? (size_t)n : 1, index);
    }
    json_t *root = json_pack("{s{si} so}", "metadata", "total_size", 1,
                             "weight_map", index);
    if (n)
        hf_save(s->folder, "model.safetensors.index.json", root);
    json_decref(root);
}

const char *hf_make(const hf_spec *spec)
{
    const char *folder = tiny_path("folder");
    source s = { .spec = spec, .folder = folder };
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
    write_tensors(&s);
    tlpi_gguf_close(s.g);
    return folder;
}
