/*
 * hf_config.c - config.json to the keys of a GGUF file.
 *
 * Values are read by type and range; whether they make a model of the
 * architecture, the reader of the keys decides.
 */
#include <stdio.h>
#include <string.h>

#include "hf/hf_model.h"

#define MAX_BYTES ((size_t)16 << 20)
#define MAX_LAYER 65536
#define MAX_HEAD_DIM 65536
#define MAX_VOCAB (1 << 22) /* each row gets a token, also without tensors */

/* Keys of config.json.  Most of those without a kind are read here. */
static const tlpi_hf_rule rules[] = {
    { .key = "architectures" },
    { .key = "model_type" },
    { .key = "hidden_size" },
    { .key = "num_hidden_layers" },
    { .key = "intermediate_size" },
    { .key = "num_attention_heads" },
    { .key = "num_key_value_heads" },
    { .key = "head_dim" },
    { .key = "vocab_size" },
    { .key = "max_position_embeddings" },
    { .key = "rms_norm_eps" },
    { .key = "hidden_act" },
    { .key = "hidden_activation" },
    { .key = "tie_word_embeddings" },
    { .key = "attention_bias" },
    { .key = "rope_theta" },
    { .key = "rope_local_base_freq" },
    { .key = "rope_scaling" },
    { .key = "rope_parameters" },
    { .key = "layer_types" },
    { .key = "sliding_window" },
    { .key = "use_sliding_window" },
    { .key = "sliding_window_pattern" },
    { .key = "_sliding_window_pattern" },
    { .key = "no_rope_layers" },
    { .key = "no_rope_layer_interval" },
    { .key = "embedding_multiplier" },
    { .key = "attention_multiplier" },
    { .key = "residual_multiplier" },
    { .key = "logits_scaling" },
    { .key = "query_pre_attn_scalar" },
    { .key = "partial_rotary_factor" },
    { .key = "original_max_position_embeddings" },
    { .key = "num_experts" },
    { .key = "num_local_experts" },
    { .key = "num_experts_per_tok" },
    { .key = "experts_per_token" },
    { .key = "swiglu_limit" },
    { .key = "swiglu_alpha" },
    { .key = "quantization_config" },
    { .key = "moe_intermediate_size" },
    { .key = "norm_topk_prob" },
    { .key = "bos_token_id" },
    { .key = "eos_token_id" },
    { .key = "pad_token_id" },
    /* notes, and settings of training and of other programs */
    { .key = "_name_or_path" },
    { .key = "transformers_version" },
    { .key = "transformers.js_config" },
    { .key = "torch_dtype" },
    { .key = "dtype" },
    { .key = "use_cache" },
    { .key = "cache_implementation" },
    { .key = "initializer_range" },
    { .key = "attention_dropout" },
    { .key = "resid_pdrop" },
    { .key = "embd_pdrop" },
    { .key = "output_router_logits" },
    { .key = "router_aux_loss_coef" },
    { .key = "router_jitter_noise" },
    { .key = "max_window_layers" },
    { .key = "pretraining_tp" },
    { .key = "initial_context_length" },
    { .key = "is_llama_config" },
    { .key = "return_dict" },
    { .key = "id2label" },
    { .key = "label2id" },
    { .key = "unsloth_version" },
    { .key = "unsloth_fixed" },
    /* features that the equations lack */
    { "compression_config", TLPI_HF_NOTHING, 0 },
    { "text_config", TLPI_HF_NOTHING, 0 },
    { "vision_config", TLPI_HF_NOTHING, 0 },
    { "mlp_bias", TLPI_HF_NOTHING, 0 },
    { .key = "attn_logit_softcapping" },
    { .key = "final_logit_softcapping" },
    { "use_bidirectional_attention", TLPI_HF_NOTHING, 0 },
    { "rope_interleaved", TLPI_HF_NOTHING, 0 },
    { "clip_qkv", TLPI_HF_NOTHING, 0 },
    { "n_routed_experts", TLPI_HF_NOTHING, 0 },
    { "n_shared_experts", TLPI_HF_NOTHING, 0 },
    { "shared_expert_intermediate_size", TLPI_HF_NOTHING, 0 },
    { "decoder_sparse_step", TLPI_HF_NOTHING, 1 },
    { "mlp_only_layers", TLPI_HF_NOTHING, 0 },
    { "is_encoder_decoder", TLPI_HF_NOTHING, 0 },
    { "add_cross_attention", TLPI_HF_NOTHING, 0 },
    { "chunk_size_feed_forward", TLPI_HF_NOTHING, 0 },
};

/* Keys of a model that reads images too; those for images are left out with its
 * tensors for them. */
static const tlpi_hf_rule outer_rules[] = {
    { .key = "architectures" },
    { .key = "model_type" },
    { .key = "text_config" },
    { .key = "vision_config" },
    { .key = "image_token_index" },
    { .key = "image_token_id" },
    { .key = "projector_hidden_act" },
    { .key = "multimodal_projector_bias" },
    { .key = "spatial_merge_size" },
    { .key = "vision_feature_layer" },
    { .key = "tie_word_embeddings" },
    { .key = "bos_token_id" },
    { .key = "eos_token_id" },
    { .key = "pad_token_id" },
    { .key = "_name_or_path" },
    { .key = "transformers_version" },
    { .key = "torch_dtype" },
    { .key = "dtype" },
    { .key = "initializer_range" },
    { .key = "use_cache" },
    { .key = "unsloth_fixed" },
    { .key = "quantization_config" },
    { "compression_config", TLPI_HF_NOTHING, 0 },
};

tlpi_hf_key tlpi_hf_key_of(const tlpi_hf_model *m, const char *suffix)
{
    tlpi_hf_key key;

    snprintf(key.name, sizeof key.name, "%s.%s", m->arch->arch, suffix);
    return key;
}

static void add_int(tlpi_hf_model *m, const char *suffix, int x)
{
    tlpi_build_u32(&m->keys, tlpi_hf_key_of(m, suffix).name, (uint32_t)x);
}

/* ==== shapes ============================================================= */

static tlp_status read_head_dim(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    const char *key = "head_dim";
    bool given = tlpi_hf_get(at, key) != NULL || m->arch->head_dim > 0;
    tlp_status st;

    m->head_dim = m->arch->head_dim;
    TLP_TRY(tlpi_hf_int(at, key, false, 2, MAX_HEAD_DIM, &m->head_dim));
    if (!given && m->n_embd % m->n_head != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "num_attention_heads",
                               "a divisor of hidden_size, %d, expected",
                               m->n_embd));
    if (!given)
        m->head_dim = m->n_embd / m->n_head;
    if (m->head_dim % 2 != 0 || m->head_dim > MAX_HEAD_DIM)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, key,
                               "an even number expected; it is %d",
                               m->head_dim));
    if (given) {
        add_int(m, "attention.key_length", m->head_dim);
        add_int(m, "attention.value_length", m->head_dim);
    }
done:
    return st;
}

static tlp_status read_shape(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    const int most = INT32_MAX;
    tlp_status st;

    TLP_TRY(
        tlpi_hf_int(at, "num_hidden_layers", true, 1, MAX_LAYER, &m->n_layer));
    TLP_TRY(
        tlpi_hf_int(at, "max_position_embeddings", true, 1, most, &m->n_ctx));
    TLP_TRY(tlpi_hf_int(at, "hidden_size", true, 1, most, &m->n_embd));
    TLP_TRY(tlpi_hf_int(at, "intermediate_size", true, 1, most, &m->n_ff));
    TLP_TRY(tlpi_hf_int(at, "num_attention_heads", true, 1, most, &m->n_head));
    m->n_head_kv = m->arch->n_head_kv ? m->arch->n_head_kv : m->n_head;
    TLP_TRY(
        tlpi_hf_int(at, "num_key_value_heads", false, 1, most, &m->n_head_kv));
    TLP_TRY(tlpi_hf_int(at, "vocab_size", true, 1, MAX_VOCAB, &m->n_vocab));
    add_int(m, "block_count", m->n_layer);
    add_int(m, "context_length", m->n_ctx);
    add_int(m, "embedding_length", m->n_embd);
    add_int(m, "feed_forward_length", m->n_ff);
    add_int(m, "attention.head_count", m->n_head);
    add_int(m, "attention.head_count_kv", m->n_head_kv);
    TLP_TRY(read_head_dim(m, at));
    if (m->arch->permute || m->arch->has_size)
        add_int(m, "vocab_size", m->n_vocab);
    st = tlpi_hf_experts_read(m, at);
done:
    return st;
}

/* ==== equations ========================================================== */

static tlp_status read_act(const tlpi_hf_model *m, const tlpi_hf_at *at)
{
    const char *act = m->arch->act;
    tlp_status st = tlpi_hf_str(at, m->arch->act_key, false, &act);

    return st == TLP_OK && strcmp(act, m->arch->act) != 0
               ? tlpi_hf_refuse(TLP_ENOTSUP, at, m->arch->act_key,
                                "\"%s\" expected", m->arch->act)
               : st;
}

static tlp_status read_bias(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    bool has = m->arch->has_bias;
    tlp_status st = TLP_OK;

    if (m->arch->bias == TLPI_HF_BIAS_KEY ||
        m->arch->bias == TLPI_HF_BIAS_KEY_QKV)
        st = tlpi_hf_bool(at, "attention_bias", false, &has);
    m->n_bias = m->arch->bias == TLPI_HF_BIAS_QKV   ? 3
                : !has                              ? 0
                : m->arch->bias == TLPI_HF_BIAS_KEY ? 4
                                                    : 3;
    return st;
}

static tlp_status read_scales(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const struct {
        const char *key, *suffix;
    } scales[] = {
        { "attention_multiplier", "attention.scale" },
        { "embedding_multiplier", "embedding_scale" },
        { "residual_multiplier", "residual_scale" },
        { "logits_scaling", "logit_scale" },
    };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(scales) && m->arch->scales; i++) {
        double x = 1;

        st = tlpi_hf_num(at, scales[i].key, false, &x);
        if (st == TLP_OK && !(x > 0))
            st = tlpi_hf_refuse(TLP_ENOTSUP, at, scales[i].key,
                                "a number above 0 expected");
        if (st != TLP_OK)
            return st;
        tlpi_build_f32(&m->keys, tlpi_hf_key_of(m, scales[i].suffix).name,
                       (float)x);
    }
    return st;
}

static tlp_status read_cap(tlpi_hf_model *m, const tlpi_hf_at *at,
                           const char *key, bool known, double usual)
{
    double x = json_object_get(at->object, key) ? 0 : usual;
    tlp_status st = tlpi_hf_num(at, key, false, &x);

    if (st != TLP_OK || (x == 0 && usual == 0))
        return st;
    if (!known)
        return tlpi_hf_refuse(TLP_ENOTSUP, at, key, "not supported");
    if (!(x > 0))
        return tlpi_hf_refuse(TLP_ENOTSUP, at, key,
                              "a number above 0 expected");
    tlpi_build_f32(&m->keys, tlpi_hf_key_of(m, key).name, (float)x);
    return TLP_OK;
}

/* Scores are divided by the root of this number.  The file has no key for it,
 * so that it must be the number that readers take. */
static tlp_status read_query_scalar(const tlpi_hf_model *m,
                                    const tlpi_hf_at *at)
{
    const tlpi_hf_arch *a = m->arch;
    double x = a->query_scalar, want = m->head_dim;
    tlp_status st;

    if (x == 0)
        return TLP_OK;
    if (m->n_layer == a->n_layer_even)
        want = (double)m->n_embd / m->n_head;
    st = tlpi_hf_num(at, "query_pre_attn_scalar", false, &x);
    return st == TLP_OK && x != want
               ? tlpi_hf_refuse(TLP_ENOTSUP, at, "query_pre_attn_scalar",
                                "%g expected", want)
               : st;
}

/* Readers know the layers that do not rotate: every fourth. */
static tlp_status read_no_rope(const tlpi_hf_model *m, const tlpi_hf_at *at)
{
    int step = 4;
    json_t *list;
    tlp_status st;

    if (!m->arch->no_rope)
        return TLP_OK;
    TLP_TRY(tlpi_hf_list(at, "no_rope_layers", &list));
    TLP_TRY(
        tlpi_hf_int(at, "no_rope_layer_interval", false, 1, INT32_MAX, &step));
    if (!list && step != 4)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "no_rope_layer_interval",
                               "4 expected"));
    if (!list)
        return TLP_OK;
    if (json_array_size(list) != (size_t)m->n_layer)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "no_rope_layers",
                               "an array of %d expected", m->n_layer));
    for (int l = 0; l < m->n_layer; l++) {
        json_t *x = json_array_get(list, (size_t)l);

        if (!json_is_integer(x) || json_integer_value(x) != ((l + 1) % 4 != 0))
            TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "no_rope_layers",
                                   "0 at every fourth layer and 1 elsewhere "
                                   "expected; layer %d differs",
                                   l));
    }
done:
    return st;
}

/* A model that reads images too has the key at two places, and programs do not
 * agree on which one counts. */
static tlp_status read_tied(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const char key[] = "tie_word_embeddings";
    const tlpi_hf_at root = tlpi_hf_root(&m->config);
    bool outer;
    tlp_status st;

    m->tied = m->arch->tied;
    TLP_TRY(tlpi_hf_bool(at, key, false, &m->tied));
    if (!m->arch->inner)
        return TLP_OK;
    outer = m->tied;
    TLP_TRY(tlpi_hf_bool(&root, key, false, &outer));
    m->tie_open = !tlpi_hf_get(at, key) || outer != m->tied;
    m->tied = m->tied || outer;
done:
    return st;
}

static tlp_status read_equations(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    double eps = 0;
    tlp_status st;

    TLP_TRY(read_tied(m, at));
    TLP_TRY(tlpi_hf_num(at, "rms_norm_eps", true, &eps));
    tlpi_build_f32(&m->keys,
                   tlpi_hf_key_of(m, "attention.layer_norm_rms_epsilon").name,
                   (float)eps);
    TLP_TRY(read_act(m, at));
    TLP_TRY(read_bias(m, at));
    TLP_TRY(read_scales(m, at));
    TLP_TRY(read_cap(m, at, "attn_logit_softcapping", m->arch->attn_cap,
                     m->arch->attn_cap_usual));
    TLP_TRY(read_cap(m, at, "final_logit_softcapping", m->arch->logit_cap,
                     m->arch->logit_cap_usual));
    TLP_TRY(read_query_scalar(m, at));
    TLP_TRY(read_no_rope(m, at));
    TLP_TRY(tlpi_hf_window_read(m, at));
    st = tlpi_hf_rope_read(m, at);
done:
    return st;
}

/* ==== the file =========================================================== */

/* The last part of the folder's path. */
static void add_name(tlpi_hf_model *m)
{
    const char *end = m->folder + strlen(m->folder);

    while (end > m->folder && end[-1] == '/')
        end--;
    const char *name = end;
    while (name > m->folder && name[-1] != '/')
        name--;
    tlpi_build_str(&m->keys, "general.name", name, (size_t)(end - name));
}

tlp_status tlpi_hf_config_read(tlpi_hf_model *m)
{
    tlp_status st;

    TLP_TRY(tlpi_hf_open(&m->config, m->env, m->folder, "config.json",
                         MAX_BYTES, 0, true));
    const tlpi_hf_at root = tlpi_hf_root(&m->config);
    TLP_TRY(tlpi_hf_arch_find(&m->arch, &m->text, &root));
    TLP_TRY(tlpi_hf_check(&m->text, rules, TLPI_COUNT(rules)));
    if (m->arch->inner)
        TLP_TRY(tlpi_hf_check(&root, outer_rules, TLPI_COUNT(outer_rules)));
    if (m->arch->inner && tlpi_hf_get(&root, "vision_config"))
        tlpi_log(m->env, TLP_LOG_WARN,
                 "%s: key vision_config: left out, the model reads texts alone",
                 m->config.path.data);
    tlpi_build_str(&m->keys, "general.architecture", m->arch->arch,
                   strlen(m->arch->arch));
    tlpi_build_str(&m->keys, "general.type", "model", strlen("model"));
    add_name(m);
    TLP_TRY(read_shape(m, &m->text));
    st = read_equations(m, &m->text);
done:
    return st;
}
