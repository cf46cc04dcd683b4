/*
 * tiny_meta.c - see tiny_meta.h.
 */
#include "tiny_meta.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const tiny_form forms[] = {
    { .arch = "llama" },
    { .arch = "qwen2", .biases = true },
    { .arch = "qwen3", .head_norms = true },
    { .arch = "qwen3moe", .head_norms = true, .experts = true },
    { .arch = "gpt-oss",
      .biases = true,
      .sinks = true,
      .windows = true,
      .experts = true },
    { .arch = "gemma3",
      .head_norms = true,
      .post_norms = true,
      .windows = true,
      .window_step = 3,
      .theta = 1e6f },
    { .arch = "olmo2",
      .raw = true,
      .row_norms = true,
      .post_norms = true,
      .windows = true },
    { .arch = "phi3",
      .qkv = true,
      .gate_up = true,
      .windows = true,
      .rotates = 0.75f,
      .untyped = true },
    { .arch = "glm4",
      .biases = true,
      .post_norms = true,
      .gate_up = true,
      .rotates = 0.5f },
    { .arch = "exaone4",
      .raw = true,
      .head_norms = true,
      .post_norms = true,
      .windows = true },
    { .arch = "mistral3", .query_scale = 0.5f, .query_ctx = 3 },
    { .arch = "gemma2",
      .post_norms = true,
      .windows = true,
      .attn_cap = 0.75f,
      .logit_cap = 1.5f },
};

const tiny_form *tiny_form_of(const tiny_spec *s)
{
    for (size_t i = 0; i < TLPI_COUNT(forms); i++)
        if (strcmp(forms[i].arch, s->arch) == 0)
            return &forms[i];
    return &forms[0];
}

int tiny_rotating(const tiny_spec *s)
{
    float part = tiny_form_of(s)->rotates;

    return part > 0 ? (int)(part * (float)s->head_dim) : s->head_dim;
}

/* ==== metadata =========================================================== */

/* What is left out has a neutral value. */
static void write_scales(gw_file *w, const tiny_spec *s)
{
    const float value[] = { s->embedding_scale, s->residual_scale,
                            s->attention_scale, s->logit_scale };
    static const char *const key[] = { "granite.embedding_scale",
                                       "granite.residual_scale",
                                       "granite.attention.scale",
                                       "granite.logit_scale" };

    for (int i = 0; i < 4; i++)
        if (value[i] != 0)
            gw_kv_f32(w, key[i], value[i]);
}

/* The length that layers without experts would have is another one. */
static void write_experts(gw_file *w, const tiny_spec *s)
{
    char key[96];
#define KEY(suffix) (snprintf(key, sizeof key, "%s." suffix, s->arch), key)

    gw_kv_u32(w, KEY("expert_count"), (uint32_t)s->n_expert);
    gw_kv_u32(w, KEY("expert_used_count"), (uint32_t)s->n_used);
    if (strcmp(s->arch, "llama") != 0)
        gw_kv_u32(w, KEY("expert_feed_forward_length"), (uint32_t)s->n_ff);
    if (s->expert_scale != 0)
        gw_kv_f32(w, KEY("expert_weights_scale"), s->expert_scale);
    if (s->raw_weights) {
        uint8_t off = 0;
        gw_kv(w, KEY("expert_weights_norm"), TLPI_GGUF_BOOL, &off, 1);
    }
#undef KEY
}

static void write_flags(gw_file *w, const char *key, const char *digits)
{
    size_t n = strlen(digits);
    uint8_t flags[16] = { 0 };

    for (size_t i = 0; i < n && i < sizeof flags; i++)
        flags[i] = digits[i] == '1';
    gw_kv_array(w, key, TLPI_GGUF_BOOL, n, flags, n);
}

#define KEY(suffix) (snprintf(key, sizeof key, "%s." suffix, s->arch), key)

/* Of several kinds of scaling, the last one. */
static void write_scaling(gw_file *w, const tiny_spec *s)
{
    char key[96];

    if (s->yarn != 0) {
        gw_kv_str(w, KEY("rope.scaling.type"), "yarn");
        gw_kv_f32(w, KEY("rope.scaling.factor"), s->yarn);
        if (s->yarn_gain != 0)
            gw_kv_f32(w, KEY("rope.scaling.attn_factor"), s->yarn_gain);
        if (s->yarn_log != 0)
            gw_kv_f32(w, KEY("rope.scaling.yarn_log_multiplier"), s->yarn_log);
    }
    if (s->long_gain != 0) {
        if (!tiny_form_of(s)->untyped)
            gw_kv_str(w, KEY("rope.scaling.type"), "longrope");
        gw_kv_f32(w, KEY("rope.scaling.attn_factor"), s->long_gain);
    }
    const tiny_form *form = tiny_form_of(s);
    bool scaled = s->yarn != 0 || s->long_gain != 0;
    if (form->query_scale != 0)
        gw_kv_f32(w, KEY("attention.temperature_scale"), form->query_scale);
    if (scaled || form->query_ctx)
        gw_kv_u32(w, KEY("rope.scaling.original_context_length"),
                  (uint32_t)(scaled ? s->scale_ctx : form->query_ctx));
    if (s->rope_scale != 0 && s->rope_scale != 1) {
        gw_kv_str(w, KEY("rope.scaling.type"), "linear");
        gw_kv_f32(w, KEY("rope.scaling.factor"), s->rope_scale);
    }
}

void tiny_write_meta(gw_file *w, const tiny_spec *s)
{
    const tiny_form *form = tiny_form_of(s);
    bool llama = strcmp(s->arch, "llama") == 0;
    char key[96];

    gw_kv_str(w, "general.architecture", s->arch);
    gw_kv_str(w, "general.name", "tiny");
    gw_kv_u32(w, KEY("block_count"), (uint32_t)s->n_layer);
    gw_kv_u32(w, KEY("context_length"), (uint32_t)s->n_ctx);
    gw_kv_u32(w, KEY("embedding_length"), (uint32_t)s->n_embd);
    gw_kv_u32(w, KEY("feed_forward_length"),
              (uint32_t)(s->n_expert && !llama ? 3 * s->n_ff : s->n_ff));
    gw_kv_u32(w, KEY("attention.head_count"), (uint32_t)s->n_head);
    gw_kv_u32(w, KEY("attention.head_count_kv"), (uint32_t)s->n_head_kv);
    gw_kv_u32(w, KEY("attention.key_length"), (uint32_t)s->head_dim);
    gw_kv_u32(w, KEY("attention.value_length"), (uint32_t)s->head_dim);
    gw_kv_f32(w, KEY("attention.layer_norm_rms_epsilon"), 1e-5f);
    gw_kv_u32(w, KEY("rope.dimension_count"), (uint32_t)tiny_rotating(s));
    gw_kv_f32(w, KEY("rope.freq_base"), form->theta > 0 ? form->theta : 1e4f);
    gw_kv_u32(w, KEY("vocab_size"), (uint32_t)s->n_vocab);
    if (strcmp(s->arch, "granite") == 0)
        write_scales(w, s);
    if (s->n_expert)
        write_experts(w, s);
    if (s->window && (form->windows || s->all_windows))
        gw_kv_u32(w, KEY("attention.sliding_window"), (uint32_t)s->window);
    if (form->window_step)
        gw_kv_u32(w, KEY("attention.sliding_window_pattern"),
                  (uint32_t)form->window_step);
    if (s->windows)
        write_flags(w, KEY("attention.sliding_window_pattern"), s->windows);
    write_scaling(w, s);
    if (form->attn_cap > 0)
        gw_kv_f32(w, KEY("attn_logit_softcapping"), form->attn_cap);
    if (form->logit_cap > 0 || s->logit_cap > 0)
        gw_kv_f32(w, KEY("final_logit_softcapping"),
                  s->logit_cap > 0 ? s->logit_cap : form->logit_cap);
    if (s->note)
        gw_kv_str(w, s->note, "a note");
    tiny_vocab_write(w, s->n_vocab, s->add_bos);
    if (s->tool_template)
        gw_kv_str(w, "tokenizer.chat_template.tool_use", s->tool_template);
}

#undef KEY
