/*
 * hparams.c - hyper-parameters from a file's metadata.  Every value is bounded
 * here, so that products of two of them fit in an int64_t everywhere else;
 * weights.c checks that they agree with the tensors, and keys.c refuses the
 * keys that nothing reads.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/hparams_read.h"

#define MAX_LAYER 4096
#define MAX_WIDTH (1 << 22)
#define MAX_HEAD 65536
#define MAX_HEAD_DIM 4096
#define MAX_EXPERT 1024
#define MAX_SCALE 1e6

static int all_heads(const tlpi_hparams *hp)
{
    return hp->n_head;
}

static int even_head(const tlpi_hparams *hp)
{
    return hp->n_embd % hp->n_head == 0 ? hp->n_embd / hp->n_head : 0;
}

static int whole_head(const tlpi_hparams *hp)
{
    return hp->head_dim;
}

static double root_of_head(const tlpi_hparams *hp)
{
    return 1 / sqrt(hp->head_dim);
}

#define FIELD(x) .name = #x, .at = offsetof(tlpi_hparams, x)
#define INT(x, LO, HI) FIELD(x), .lo = LO, .hi = HI
#define FLOAT(x, LO, HI) FIELD(x), .is_float = true, .lo = LO, .hi = HI
#define SCALE(x, NEUTRAL)                                                      \
    FLOAT(x, 0, MAX_SCALE), .neutral = NEUTRAL, .is_scale = true,              \
                            .identity = TLPI_OTHER_IF_USED

const tlpi_hparam tlpi_hparam_table[TLPI_N_HPARAM] = {
    { "block_count", INT(n_layer, 1, MAX_LAYER), .need = true,
      .identity = TLPI_OTHER_MODEL },
    { "embedding_length", INT(n_embd, 1, MAX_WIDTH), .need = true,
      .identity = TLPI_OTHER_MODEL },
    { "feed_forward_length", INT(n_ff, 1, MAX_WIDTH), .need = true,
      .identity = TLPI_OTHER_MODEL },
    { "attention.head_count", INT(n_head, 1, MAX_HEAD), .need = true,
      .identity = TLPI_OTHER_MODEL },
    { "attention.head_count_kv", INT(n_head_kv, 1, MAX_HEAD),
      .usual = all_heads, .is_bounded = true, .identity = TLPI_OTHER_MODEL },
    { "attention.key_length", INT(head_dim, 1, MAX_HEAD_DIM),
      .usual = even_head, .identity = TLPI_OTHER_MODEL },
    /* Without the key, weights.c counts the rows of token_embd. */
    { "vocab_size", INT(n_vocab, 1, INT32_MAX), .identity = TLPI_OTHER_MODEL },
    { "rope.dimension_count", INT(n_rot, 2, MAX_HEAD_DIM), .usual = whole_head,
      .is_bounded = true, .identity = TLPI_OTHER_MODEL },
    { "rope.freq_base", FLOAT(rope_theta, 0, 1e15), .neutral = 10000,
      .identity = TLPI_OTHER_MODEL },
    { NULL, FLOAT(rope_scale, 0, 1e6), .neutral = 1,
      .identity = TLPI_OTHER_MODEL },
    { "attention.layer_norm_rms_epsilon", FLOAT(norm_eps, 0, 0.999),
      .need = true, .identity = TLPI_OTHER_MODEL },
    /* The length that a file recommends does not change logits. */
    { "context_length", INT(n_ctx_train, 1, TLPI_MAX_CTX), .need = true,
      .identity = TLPI_SAME_MODEL },
    { NULL, INT(no_rope_step, 1, MAX_LAYER), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(n_window, 1, TLPI_MAX_CTX), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(window_step, 1, MAX_LAYER), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(window_theta, 0, 1e15), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(yarn_factor, 0, 1e6), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(yarn_ctx, 1, TLPI_MAX_CTX), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(yarn_beta_fast, 0, 1e6), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(yarn_beta_slow, 0, 1e6), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(rope_gain, 0, 1e6), .neutral = 1,
      .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(long_ctx, 1, TLPI_MAX_CTX), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(n_expert, 1, MAX_EXPERT), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(n_expert_used, 1, MAX_EXPERT), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(expert_norm, 0, 1), .identity = TLPI_OTHER_IF_USED },
    { NULL, SCALE(expert_scale, 1) },
    { NULL, FLOAT(query_scale, 0, MAX_SCALE), .identity = TLPI_OTHER_IF_USED },
    { NULL, INT(query_ctx, 1, TLPI_MAX_CTX), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(attn_cap, 0, MAX_SCALE), .identity = TLPI_OTHER_IF_USED },
    { NULL, FLOAT(logit_cap, 0, MAX_SCALE), .identity = TLPI_OTHER_IF_USED },
    { "embedding_scale", SCALE(embedding_scale, 1) },
    { "residual_scale", SCALE(residual_scale, 1) },
    { "attention.scale", SCALE(attention_scale, 0), .same = root_of_head },
    { "logit_scale", SCALE(logit_scale, 1) },
};

tlpi_arch_key tlpi_hparams_key(const tlpi_hparams *hp, const char *suffix)
{
    tlpi_arch_key key;

    snprintf(key.name, sizeof key.name, "%s.%s", tlpi_arch_get(hp)->name,
             suffix);
    return key;
}

bool tlpi_str_is(tlpi_str s, const char *text)
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
        if (tlpi_str_is(s, tlpi_arch_table[i].name)) {
            hp->arch = (tlpi_arch)i;
            return TLP_OK;
        }
    }
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key general.architecture: \"%.*s\" is not supported",
                     g->path, (int)TLPI_MIN(s.n, 64), s.s);
}

/* A value for each layer counts as one value if all are equal. */
static tlp_status read_equal(const tlpi_hparams *hp, const tlpi_gguf *g,
                             const tlpi_gguf_kv *kv, uint32_t *value)
{
    bool is_equal =
        kv->n == (uint64_t)hp->n_layer && tlpi_gguf_is_integer(kv->type);

    for (uint64_t i = 0; is_equal && i < kv->n; i++)
        is_equal = tlpi_gguf_elem_i64(kv, i) == tlpi_gguf_elem_i64(kv, 0);
    int64_t first = is_equal ? tlpi_gguf_elem_i64(kv, 0) : -1;
    if (first < 0 || first > UINT32_MAX)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %s: a value for each layer is not supported "
                         "unless all are equal",
                         g->path, kv->key);
    *value = (uint32_t)first;
    return TLP_OK;
}

tlp_status tlpi_hparams_int(const tlpi_hparams *hp, const tlpi_gguf *g,
                            const char *suffix, bool need, int lo, int hi,
                            int *out)
{
    tlpi_arch_key key = tlpi_hparams_key(hp, suffix);
    const tlpi_gguf_kv *kv = tlpi_gguf_find(g, key.name);
    uint32_t value = 0;

    tlp_status st = kv && kv->is_array
                        ? read_equal(hp, g, kv, &value)
                        : tlpi_gguf_get_u32(g, key.name, need, &value);
    if (st != TLP_OK || !kv)
        return st;
    if (value < (uint32_t)lo || value > (uint32_t)hi)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %u is not in %d..%d",
                         g->path, key.name, value, lo, hi);
    *out = (int)value;
    return TLP_OK;
}

tlp_status tlpi_hparams_float(const tlpi_hparams *hp, const tlpi_gguf *g,
                              const char *suffix, bool need, double lo,
                              double hi, float *out)
{
    tlpi_arch_key key = tlpi_hparams_key(hp, suffix);
    float value = *out;
    tlp_status st = tlpi_gguf_get_f32(g, key.name, need, &value);

    if (st != TLP_OK || !tlpi_gguf_find(g, key.name))
        return st;
    if (!(value > lo && value <= hi))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key %s: %g is not above %g and at most %g",
                         g->path, key.name, (double)value, lo, hi);
    *out = value;
    return TLP_OK;
}

/* ==== the table ========================================================== */

double tlpi_hparam_value(const tlpi_hparams *hp, const tlpi_hparam *row)
{
    const void *field = (const char *)hp + row->at;

    return row->is_float ? (double)*(const float *)field
                         : (double)*(const int *)field;
}

static tlp_status read_int_row(tlpi_hparams *hp, const tlpi_gguf *g,
                               const tlpi_hparam *row)
{
    int *field = (int *)(void *)((char *)hp + row->at);
    int usual = row->usual ? row->usual(hp) : (int)row->neutral;
    int hi = row->is_bounded ? usual : (int)row->hi;

    *field = usual;
    if (!row->key)
        return TLP_OK;
    return tlpi_hparams_int(hp, g, row->key,
                            row->need || (row->usual && usual == 0),
                            (int)row->lo, hi, field);
}

/* Refuse a scale that the architecture's equations do not have.  Converters
 * round 1/sqrt to f32 in more than one way. */
static tlp_status check_no_scale(const tlpi_hparams *hp, const tlpi_gguf *g,
                                 const tlpi_hparam *row, float value)
{
    double want = row->same ? row->same(hp) : row->neutral;

    if (row->same && fabs((double)value - want) <= 2e-7 * want)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key %s: %g is not supported, %g expected", g->path,
                     tlpi_hparams_key(hp, row->key).name, (double)value, want);
}

static tlp_status read_float_row(tlpi_hparams *hp, const tlpi_gguf *g,
                                 const tlpi_hparam *row)
{
    float *field = (float *)(void *)((char *)hp + row->at);
    float neutral = (float)row->neutral, value = neutral;

    *field = neutral;
    if (!row->key)
        return TLP_OK;
    tlpi_arch_key key = tlpi_hparams_key(hp, row->key);
    tlp_status st = tlpi_gguf_get_f32(g, key.name, row->need, &value);
    if (st != TLP_OK || (value == neutral && !row->need))
        return st;
    if (row->is_scale && !tlpi_arch_get(hp)->scales)
        return check_no_scale(hp, g, row, value);
    return tlpi_hparams_float(hp, g, row->key, row->need, row->lo, row->hi,
                              field);
}

/* ==== what several keys decide =========================================== */

static tlp_status check_heads(const tlpi_hparams *hp, const tlpi_gguf *g)
{
    int value_length = hp->head_dim;
    tlp_status st;

    if (hp->n_head % hp->n_head_kv != 0)
        return tlpi_fail(
            TLP_EFORMAT, "%s: key %s: %d kv heads do not divide %d heads",
            g->path, tlpi_hparams_key(hp, "attention.head_count_kv").name,
            hp->n_head_kv, hp->n_head);
    TLP_TRY(tlpi_hparams_int(hp, g, "attention.value_length", false, 1,
                             MAX_HEAD_DIM, &value_length));
    if (value_length != hp->head_dim)
        return tlpi_fail(
            TLP_ENOTSUP, "%s: key %s: %d differs from the key length %d",
            g->path, tlpi_hparams_key(hp, "attention.value_length").name,
            value_length, hp->head_dim);
done:
    return st;
}

/* Which layers have a window: a step, or an array that says so of each layer
 * and repeats itself as a step does. */
static tlp_status read_pattern(tlpi_hparams *hp, const tlpi_gguf *g)
{
    const char *name = "attention.sliding_window_pattern";
    tlpi_arch_key key = tlpi_hparams_key(hp, name);
    const tlpi_gguf_kv *kv = tlpi_gguf_find(g, key.name);
    int step = 1;

    if (!kv || !kv->is_array || kv->type != TLPI_GGUF_BOOL)
        return tlpi_hparams_int(hp, g, name, false, 1, MAX_LAYER,
                                &hp->window_step);
    if (kv->n != (uint64_t)hp->n_layer)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %llu elements, %d expected",
                         g->path, key.name, (unsigned long long)kv->n,
                         hp->n_layer);
    while (step <= hp->n_layer && tlpi_gguf_elem_i64(kv, (uint64_t)step - 1))
        step++;
    for (int l = 0; l < hp->n_layer; l++) {
        bool has = tlpi_gguf_elem_i64(kv, (uint64_t)l) != 0;

        if (has != ((l + 1) % step != 0))
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: key %s: element %d is %s, false at every "
                             "element whose number from 1 is a multiple of %d, "
                             "and true elsewhere, expected",
                             g->path, key.name, l, has ? "true" : "false",
                             step);
    }
    hp->window_step = step;
    return TLP_OK;
}

/* The base in layers with a window.  Where they scale positions as all layers
 * do, it is the base of all layers. */
static tlp_status read_window_base(tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const char name[] = "rope.freq_base_swa";
    float base = hp->window_theta > 0 ? hp->window_theta : hp->rope_theta;
    tlp_status st = tlpi_hparams_float(hp, g, name, false, 0, 1e15, &base);

    if (st == TLP_OK && hp->window_theta > 0)
        hp->window_theta = base;
    else if (st == TLP_OK && base != hp->rope_theta)
        st = tlpi_fail(TLP_ENOTSUP,
                       "%s: key %s: %g is not supported, %g expected, the base "
                       "of all layers",
                       g->path, tlpi_hparams_key(hp, name).name, (double)base,
                       (double)hp->rope_theta);
    return st;
}

/* Which layers have a window, and the angles there. */
static tlp_status read_window(tlpi_hparams *hp, const tlpi_gguf *g)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);
    tlp_status st = TLP_OK;

    if (!arch->windows)
        return TLP_OK;
    hp->window_step = arch->window_step;
    hp->window_theta = arch->window_plain ? hp->rope_theta : arch->window_theta;
    TLP_TRY(tlpi_hparams_int(hp, g, "attention.sliding_window",
                             arch->window_needed, 0, TLPI_MAX_CTX,
                             &hp->n_window));
    if (arch->window_step) {
        TLP_TRY(read_pattern(hp, g));
        TLP_TRY(read_window_base(hp, g));
    }
    if (hp->n_window > 0 && arch->window_rope)
        hp->no_rope_step = hp->window_step;
    if (hp->n_window == 0) {
        hp->window_step = 0;
        hp->window_theta = 0;
    }
done:
    return st;
}

/* Readers do not agree on a cap that gemma2's file leaves out.  In other
 * architectures 0 is none. */
static tlp_status read_caps(tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const char attn[] = "attn_logit_softcapping",
                      logit[] = "final_logit_softcapping";
    tlpi_cap_use use = tlpi_arch_get(hp)->caps;
    float x = 0;
    tlp_status st = TLP_OK;

    if (use == TLPI_CAPS_NONE)
        return TLP_OK;
    if (use == TLPI_CAPS_ALWAYS)
        TLP_TRY(
            tlpi_hparams_float(hp, g, attn, true, 0, MAX_SCALE, &hp->attn_cap));
    else
        TLP_TRY(
            tlpi_gguf_get_f32(g, tlpi_hparams_key(hp, logit).name, false, &x));
    if (use == TLPI_CAPS_ALWAYS || x != 0)
        st = tlpi_hparams_float(hp, g, logit, true, 0, MAX_SCALE,
                                &hp->logit_cap);
done:
    return st;
}

/* How a token's experts are weighed; a factor of 0 is none. */
static tlp_status read_weighing(tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const char name[] = "expert_weights_scale";
    tlpi_arch_key scale = tlpi_hparams_key(hp, name),
                  norm = tlpi_hparams_key(hp, "expert_weights_norm");
    bool is_norm = true;
    float x = 0;
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_bool(g, norm.name, false, &is_norm));
    hp->expert_norm = is_norm;
    TLP_TRY(tlpi_gguf_get_f32(g, scale.name, false, &x));
    if (x != 0)
        st = tlpi_hparams_float(hp, g, name, true, 0, MAX_SCALE,
                                &hp->expert_scale);
done:
    return st;
}

/* A layer's hidden units are those of one expert. */
static tlp_status read_experts(tlpi_hparams *hp, const tlpi_gguf *g)
{
    bool need = tlpi_arch_get(hp)->experts == TLPI_EXPERTS_ALWAYS;
    tlp_status st = TLP_OK;

    if (tlpi_arch_get(hp)->experts != TLPI_EXPERTS_NONE)
        TLP_TRY(tlpi_hparams_int(hp, g, "expert_count", need, need, MAX_EXPERT,
                                 &hp->n_expert));
    if (hp->n_expert == 0)
        return TLP_OK;
    TLP_TRY(tlpi_hparams_int(hp, g, "expert_used_count", true, 1, hp->n_expert,
                             &hp->n_expert_used));
    TLP_TRY(tlpi_hparams_int(hp, g, "expert_feed_forward_length", need, 1,
                             MAX_WIDTH, &hp->n_ff));
    st = read_weighing(hp, g);
done:
    return st;
}

/* Scales that follow from the shape. */
static void set_scales(tlpi_hparams *hp)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);

    if (arch->embd_root)
        hp->embedding_scale = sqrtf((float)hp->n_embd);
    if (arch->n_layer_even && hp->n_layer == arch->n_layer_even)
        hp->attention_scale = 1 / sqrtf((float)hp->n_embd / (float)hp->n_head);
}

tlp_status tlpi_hparams_read(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;

    memset(hp, 0, sizeof *hp);
    TLP_TRY(read_arch(hp, g));
    for (size_t i = 0; i < TLPI_N_HPARAM; i++) {
        const tlpi_hparam *row = &tlpi_hparam_table[i];

        TLP_TRY(row->is_float ? read_float_row(hp, g, row)
                              : read_int_row(hp, g, row));
    }
    TLP_TRY(check_heads(hp, g));
    TLP_TRY(tlpi_hparams_rope(hp, g));
    TLP_TRY(read_window(hp, g));
    TLP_TRY(read_experts(hp, g));
    TLP_TRY(read_caps(hp, g));
    set_scales(hp);
done:
    return st;
}
