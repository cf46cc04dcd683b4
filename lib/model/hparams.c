/*
 * hparams.c - hyper-parameters from a file's metadata.  Every value is bounded
 * here, so that products of two of them fit in an int64_t everywhere else;
 * that they agree with the tensors is weights.c's business.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"

#define MAX_LAYER 4096
#define MAX_WIDTH (1 << 22)
#define MAX_HEAD 65536
#define MAX_HEAD_DIM 4096
#define MAX_CTX (1 << 30)

static const char *const arch_names[TLPI_N_ARCH] = {
    [TLPI_ARCH_LLAMA] = "llama",
    [TLPI_ARCH_QWEN2] = "qwen2",
    [TLPI_ARCH_QWEN3] = "qwen3",
};

const char *tlpi_arch_name(tlpi_arch arch)
{
    return arch_names[arch];
}

/* A key of the architecture: "llama." + suffix. */
typedef struct arch_key {
    char name[64];
} arch_key;

static arch_key key_of(const tlpi_hparams *hp, const char *suffix)
{
    arch_key key;

    snprintf(key.name, sizeof key.name, "%s.%s", tlpi_arch_name(hp->arch),
             suffix);
    return key;
}

static bool str_is(tlpi_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

static tlp_status read_arch(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlpi_str s = { NULL, 0 };
    tlp_status st = tlpi_gguf_get_str(g, "general.architecture", true, &s);

    if (st != TLP_OK)
        return st;
    for (int i = 0; i < TLPI_N_ARCH; i++) {
        if (str_is(s, arch_names[i])) {
            hp->arch = (tlpi_arch)i;
            return TLP_OK;
        }
    }
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key general.architecture: \"%.*s\" is not supported",
                     g->path, (int)TLPI_MIN(s.n, 64), s.s);
}

/* An integer in [lo, hi]; *out keeps its value when the key is missing. */
static tlp_status read_int(const tlpi_hparams *hp, const tlpi_gguf *g,
                           const char *suffix, bool need, int lo, int hi,
                           int *out)
{
    arch_key key = key_of(hp, suffix);
    const tlpi_gguf_kv *kv = tlpi_gguf_find(g, key.name);
    uint32_t value = 0;

    if (kv && kv->is_array)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %s: a value for each layer is not supported",
                         g->path, key.name);
    tlp_status st = tlpi_gguf_get_u32(g, key.name, need, &value);
    if (st != TLP_OK || !kv)
        return st;
    if (value < (uint32_t)lo || value > (uint32_t)hi)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %u is not in %d..%d",
                         g->path, key.name, value, lo, hi);
    *out = (int)value;
    return TLP_OK;
}

/* A number in [lo, hi], lo excluded; NaN is in no range. */
static tlp_status read_float(const tlpi_hparams *hp, const tlpi_gguf *g,
                             const char *suffix, bool need, double lo,
                             double hi, float *out)
{
    arch_key key = key_of(hp, suffix);
    float value = *out;
    tlp_status st = tlpi_gguf_get_f32(g, key.name, need, &value);

    if (st != TLP_OK)
        return st;
    if (!(value > lo && value <= hi))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key %s: %g is not above %g and at most %g",
                         g->path, key.name, (double)value, lo, hi);
    *out = value;
    return TLP_OK;
}

static tlp_status read_sizes(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;

    TLP_TRY(read_int(hp, g, "block_count", true, 1, MAX_LAYER, &hp->n_layer));
    TLP_TRY(
        read_int(hp, g, "embedding_length", true, 1, MAX_WIDTH, &hp->n_embd));
    TLP_TRY(
        read_int(hp, g, "feed_forward_length", true, 1, MAX_WIDTH, &hp->n_ff));
    TLP_TRY(read_int(hp, g, "vocab_size", false, 1, INT32_MAX, &hp->n_vocab));
    TLP_TRY(read_float(hp, g, "attention.layer_norm_rms_epsilon", true, 0.0,
                       0.999, &hp->norm_eps));
done:
    return st;
}

static tlp_status read_heads(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;
    int value_length;

    TLP_TRY(read_int(hp, g, "attention.head_count", true, 1, MAX_HEAD,
                     &hp->n_head));
    hp->n_head_kv = hp->n_head;
    TLP_TRY(read_int(hp, g, "attention.head_count_kv", false, 1, hp->n_head,
                     &hp->n_head_kv));
    if (hp->n_head % hp->n_head_kv != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key %s: %d kv heads do not divide %d heads",
                         g->path, key_of(hp, "attention.head_count_kv").name,
                         hp->n_head_kv, hp->n_head);
    hp->head_dim = hp->n_embd % hp->n_head == 0 ? hp->n_embd / hp->n_head : 0;
    TLP_TRY(read_int(hp, g, "attention.key_length", hp->head_dim == 0, 1,
                     MAX_HEAD_DIM, &hp->head_dim));
    value_length = hp->head_dim;
    TLP_TRY(read_int(hp, g, "attention.value_length", false, 1, MAX_HEAD_DIM,
                     &value_length));
    if (value_length != hp->head_dim)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %s: %d differs from the key length %d",
                         g->path, key_of(hp, "attention.value_length").name,
                         value_length, hp->head_dim);
done:
    return st;
}

/*
 * Linear scaling divides positions by a factor; files without a scaling type
 * mean it when they give a factor, under its present or its older name.
 */
static tlp_status read_rope_scaling(tlpi_hparams *hp, const tlpi_gguf *g)
{
    arch_key key = key_of(hp, "rope.scaling.type");
    tlpi_str type = { "linear", 6 };
    tlp_status st;

    hp->rope_scaling = TLPI_ROPE_NONE;
    hp->rope_scale = 1.0f;
    TLP_TRY(tlpi_gguf_get_str(g, key.name, false, &type));
    if (str_is(type, "none"))
        return TLP_OK;
    if (!str_is(type, "linear"))
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %s: scaling \"%.*s\" is not supported",
                         g->path, key.name, (int)TLPI_MIN(type.n, 32), type.s);
    TLP_TRY(read_float(hp, g, "rope.scale_linear", false, 0.0, 1e6,
                       &hp->rope_scale));
    TLP_TRY(read_float(hp, g, "rope.scaling.factor", false, 0.0, 1e6,
                       &hp->rope_scale));
    if (hp->rope_scale != 1.0f)
        hp->rope_scaling = TLPI_ROPE_LINEAR;
done:
    return st;
}

static tlp_status read_rope(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;

    /* Converters permute llama's q and k rows so that a pair's two halves are
     * neighbours; the others keep the layout they were trained with. */
    hp->rope_neox = hp->arch != TLPI_ARCH_LLAMA;
    hp->rope_theta = 10000.0f;
    TLP_TRY(
        read_float(hp, g, "rope.freq_base", false, 0.0, 1e15, &hp->rope_theta));
    hp->n_rot = hp->head_dim;
    TLP_TRY(read_int(hp, g, "rope.dimension_count", false, 2, hp->head_dim,
                     &hp->n_rot));
    if (hp->n_rot % 2 != 0)
        return tlpi_fail(
            TLP_EFORMAT, "%s: key %s: %d dimensions, an even number expected",
            g->path, key_of(hp, "rope.dimension_count").name, hp->n_rot);
    TLP_TRY(read_rope_scaling(hp, g));
done:
    return st;
}

/*
 * Attention over all positions equals attention over a window as long as no
 * sequence is longer than the window.  So a model with one is offered at that
 * context length: everything up to there is exact, where the full length would
 * be silently wrong.
 */
static tlp_status read_context(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;
    int window = MAX_CTX;

    TLP_TRY(
        read_int(hp, g, "context_length", true, 1, MAX_CTX, &hp->n_ctx_train));
    TLP_TRY(read_int(hp, g, "attention.sliding_window", false, 1, MAX_CTX,
                     &window));
    if (window < hp->n_ctx_train) {
        tlpi_log(g->env, TLP_LOG_WARN,
                 "%s: attention has a window of %d positions: the context is "
                 "limited to it, from %d",
                 g->path, window, hp->n_ctx_train);
        hp->n_ctx_train = window;
    }
done:
    return st;
}

/* Keys that other families use to change the maths, with the values at which
 * they change nothing. */
static tlp_status refuse_variants(const tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const struct {
        const char *suffix;
        float neutral;
    } keys[] = {
        { "expert_count", 0.0f },
        { "attention.scale", 0.0f },
        { "attention.clamp_kqv", 0.0f },
        { "attention.max_alibi_bias", 0.0f },
        { "attn_logit_softcapping", 0.0f },
        { "final_logit_softcapping", 0.0f },
        { "embedding_scale", 1.0f },
        { "residual_scale", 1.0f },
        { "logit_scale", 1.0f },
        { "rope.scaling.attn_factor", 1.0f },
    };
    arch_key causal_key = key_of(hp, "attention.causal");
    bool causal = true;

    for (size_t i = 0; i < TLPI_COUNT(keys); i++) {
        arch_key key = key_of(hp, keys[i].suffix);
        const tlpi_gguf_kv *kv = tlpi_gguf_find(g, key.name);
        if (!kv)
            continue;
        double value = kv->is_array || kv->type == TLPI_GGUF_STRING
                           ? NAN
                           : tlpi_gguf_elem_f64(kv, 0);
        if (value != (double)keys[i].neutral)
            return tlpi_fail(TLP_ENOTSUP, "%s: key %s: %g is not supported",
                             g->path, key.name, value);
    }
    tlp_status st = tlpi_gguf_get_bool(g, causal_key.name, false, &causal);
    if (st == TLP_OK && !causal)
        st = tlpi_fail(TLP_ENOTSUP,
                       "%s: key %s: a model that is not causal is not "
                       "supported",
                       g->path, causal_key.name);
    return st;
}

tlp_status tlpi_hparams_read(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;

    memset(hp, 0, sizeof *hp);
    TLP_TRY(read_arch(hp, g));
    TLP_TRY(refuse_variants(hp, g));
    TLP_TRY(read_sizes(hp, g));
    TLP_TRY(read_heads(hp, g));
    TLP_TRY(read_rope(hp, g));
    TLP_TRY(read_context(hp, g));
done:
    return st;
}
