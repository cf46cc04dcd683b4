/*
 * hf_rope.c - how positions become angles: rope_theta and rope_scaling, or
 * rope_parameters, which replaces both since transformers 5.
 *
 * rope_parameters can be one object, or an object for each type of layer.
 * rope_scaling is of layers without a window alone.
 */
#include <math.h>
#include <string.h>

#include "hf/hf_model.h"

static const tlpi_hf_rule rules[] = {
    { .key = "rope_theta" },
    { .key = "rope_type" },
    { .key = "type" },
    { .key = "factor" },
    { .key = "low_freq_factor" },
    { .key = "high_freq_factor" },
    { .key = "original_max_position_embeddings" },
    { .key = "attention_factor" },
    { .key = "beta_fast" },
    { .key = "beta_slow" },
    { .key = "truncate" },
    { .key = "partial_rotary_factor" },
    { .key = "short_factor" },
    { .key = "long_factor" },
    { "extrapolation_factor", TLPI_HF_NOTHING, 1 },
    { .key = "mscale" },
    { .key = "mscale_all_dim" },
    { .key = "llama_4_scaling_beta" },
    { .key = "max_position_embeddings" },
    { "mrope_section", TLPI_HF_NOTHING, 0 },
};

static void add_f32(tlpi_hf_model *m, const char *suffix, double x)
{
    tlpi_build_f32(&m->keys, tlpi_hf_key_of(m, suffix).name, (float)x);
}

static void add_type(tlpi_hf_model *m, const char *type)
{
    tlpi_build_str(&m->keys, tlpi_hf_key_of(m, "rope.scaling.type").name, type,
                   strlen(type));
}

/* A number above 0. */
static tlp_status read_above(const tlpi_hf_at *at, const char *key, bool need,
                             double *x)
{
    tlp_status st = tlpi_hf_num(at, key, need, x);

    return st == TLP_OK && !(*x > 0)
               ? tlpi_hf_refuse(TLP_EFORMAT, at, key,
                                "a number above 0 expected")
               : st;
}

/* ==== the types of scaling =============================================== */

static tlp_status read_linear(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    double factor = 0;
    tlp_status st = read_above(at, "factor", true, &factor);

    if (st != TLP_OK)
        return st;
    add_type(m, "linear");
    add_f32(m, "rope.scaling.factor", factor);
    return TLP_OK;
}

/* What is rotated is multiplied by 1 + 0.1 mscale ln(factor), and divided by
 * that number of mscale_all_dim.  GGUF has a key for the divisor, and mscale is
 * 1.  Without a divisor transformers does not read mscale. */
static tlp_status read_divisor(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    double mul = 0, all = 0;
    tlp_status st;

    TLP_TRY(tlpi_hf_num(at, "mscale", false, &mul));
    TLP_TRY(tlpi_hf_num(at, "mscale_all_dim", false, &all));
    if (all < 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "mscale_all_dim",
                               "a number from 0 expected"));
    if (all != 0 && mul != 1)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "mscale", "1 expected"));
    if (all != 0 && tlpi_hf_get(at, "attention_factor"))
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "attention_factor",
                               "not supported with mscale_all_dim"));
    add_f32(m, "rope.scaling.yarn_log_multiplier", all);
done:
    return st;
}

/* Queries grow with their positions. */
static tlp_status read_query_scale(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    double x = 0;
    tlp_status st;

    TLP_TRY(tlpi_hf_num(at, "llama_4_scaling_beta", true, &x));
    if (x < 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "llama_4_scaling_beta",
                               "a number from 0 expected"));
    add_f32(m, "attention.temperature_scale", x);
done:
    return st;
}

static tlp_status refuse_ministral(const tlpi_hf_at *at)
{
    static const char *const keys[] = { "mscale", "mscale_all_dim",
                                        "llama_4_scaling_beta" };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(keys) && st == TLP_OK; i++)
        st = tlpi_hf_nothing(at, keys[i], 0);
    return st;
}

static tlp_status read_yarn(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    double factor = 0, gain = 0, fast = 0, slow = 0;
    int n_ctx = m->n_ctx;
    bool truncate = true;
    tlp_status st;

    TLP_TRY(read_above(at, "factor", true, &factor));
    TLP_TRY(tlpi_hf_int(at, "original_max_position_embeddings", false, 1,
                        INT32_MAX, &n_ctx));
    TLP_TRY(tlpi_hf_num(at, "attention_factor", false, &gain));
    TLP_TRY(tlpi_hf_num(at, "beta_fast", false, &fast));
    TLP_TRY(tlpi_hf_num(at, "beta_slow", false, &slow));
    TLP_TRY(tlpi_hf_bool(at, "truncate", false, &truncate));
    if (truncate == m->arch->yarn_exact)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "truncate", "%s expected",
                               truncate ? "false" : "true"));
    add_type(m, "yarn");
    add_f32(m, "rope.scaling.factor", factor);
    tlpi_build_u32(
        &m->keys,
        tlpi_hf_key_of(m, "rope.scaling.original_context_length").name,
        (uint32_t)n_ctx);
    if (gain != 0)
        add_f32(m, "rope.scaling.yarn_attn_factor", gain);
    if (fast != 0)
        add_f32(m, "rope.scaling.yarn_beta_fast", fast);
    if (slow != 0)
        add_f32(m, "rope.scaling.yarn_beta_slow", slow);
    if (m->arch->query_scale) {
        TLP_TRY(read_divisor(m, at));
        TLP_TRY(read_query_scale(m, at));
    }
done:
    return st;
}

/* The divisor of an angle that turns by `freq` radians from a position to the
 * next: 1 for fast pairs, the factor for slow ones, and a mean between. */
static double llama3_divisor(double freq, double factor, double low,
                             double high, double n_ctx)
{
    double turns = n_ctx * freq / (2 * M_PI);
    double smooth = (turns - low) / (high - low);

    if (turns > high)
        return 1;
    return turns < low ? factor : 1 / ((1 - smooth) / factor + smooth);
}

/* Llama 3's scaling comes as the tensor rope_freqs. */
static tlp_status read_llama3(tlpi_hf_model *m, const tlpi_hf_at *at,
                              double theta)
{
    double factor = 0, low = 0, high = 0;
    int n_ctx = 0;
    tlp_status st;

    TLP_TRY(read_above(at, "factor", true, &factor));
    TLP_TRY(read_above(at, "low_freq_factor", true, &low));
    TLP_TRY(read_above(at, "high_freq_factor", true, &high));
    TLP_TRY(tlpi_hf_int(at, "original_max_position_embeddings", true, 1,
                        INT32_MAX, &n_ctx));
    if (high <= low)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "high_freq_factor",
                               "more than low_freq_factor expected"));
    TLP_TRY(tlpi_hf_rope_tables(m, 1));
    for (int i = 0; i < m->n_rot / 2; i++)
        m->rope[i] = (float)llama3_divisor(pow(theta, -2.0 * i / m->n_rot),
                                           factor, low, high, n_ctx);
done:
    return st;
}

/* ==== one object ========================================================= */

static tlp_status read_type(const tlpi_hf_at *at, const char **type)
{
    const char *older = NULL;
    tlp_status st;

    *type = NULL;
    TLP_TRY(tlpi_hf_str(at, "type", false, &older));
    TLP_TRY(tlpi_hf_str(at, "rope_type", false, type));
    if (older && *type && strcmp(older, *type) != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "type",
                               "but rope_type is \"%.32s\"", *type));
    if (!*type)
        *type = older;
    if (at->object && !*type && json_object_get(at->object, "factor"))
        st = tlpi_hf_refuse(TLP_ENOTSUP, at, "rope_type", "a text expected");
done:
    return st;
}

static tlp_status read_scaling(tlpi_hf_model *m, const tlpi_hf_at *root,
                               const tlpi_hf_at *at, double theta)
{
    const char *type = NULL;
    tlp_status st = TLP_OK;

    if (at->object) {
        TLP_TRY(tlpi_hf_check(at, rules, TLPI_COUNT(rules)));
        TLP_TRY(read_type(at, &type));
    }
    if (m->arch->longrope)
        return tlpi_hf_longrope_read(m, root, at, type);
    if (m->arch->query_scale && (!type || strcmp(type, "yarn") != 0))
        return tlpi_hf_refuse(TLP_ENOTSUP, at, "rope_type",
                              "\"yarn\" expected of %s", m->arch->architecture);
    if (!m->arch->query_scale)
        TLP_TRY(refuse_ministral(at));
    TLP_TRY(tlpi_hf_nothing(at, "short_factor", 0));
    TLP_TRY(tlpi_hf_nothing(at, "long_factor", 0));
    if (!type || strcmp(type, "default") == 0)
        return TLP_OK;
    if (strcmp(type, "linear") == 0)
        return read_linear(m, at);
    if (strcmp(type, "yarn") == 0)
        return read_yarn(m, at);
    if (strcmp(type, "llama3") == 0)
        return read_llama3(m, at, theta);
    st = tlpi_fail(TLP_ENOTSUP,
                   "%s: key %srope_type: \"%.32s\" is not "
                   "supported",
                   at->file->path.data, at->prefix, type);
done:
    return st;
}

/* The base in an object, or at the root of config.json. */
static tlp_status read_theta(const tlpi_hf_at *root, const tlpi_hf_at *rope,
                             const char *key, double usual, double *theta)
{
    double x = 0, y = 0;
    tlp_status st;

    TLP_TRY(tlpi_hf_num(root, key, false, &x));
    if (rope->object)
        TLP_TRY(tlpi_hf_num(rope, "rope_theta", false, &y));
    if (x != 0 && y != 0 && x != y)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, rope, "rope_theta", "but %s is %g",
                               key, x));
    *theta = x != 0 ? x : y;
    if (*theta == 0) {
        *theta = usual;
        tlpi_hf_warn(root, key, "%g is used", usual);
    }
    if (!(*theta > 0))
        st = tlpi_hf_refuse(TLP_EFORMAT, rope->object && y != 0 ? rope : root,
                            rope->object && y != 0 ? "rope_theta" : key,
                            "a number above 0 expected");
done:
    return st;
}

/* Layers with windows rotate without scaling. */
static tlp_status read_window_rope(tlpi_hf_model *m, const tlpi_hf_at *root,
                                   const tlpi_hf_at *rope, bool shared)
{
    const char *type = NULL;
    double theta = 0;
    tlp_status st;

    if (m->arch->window_theta == 0 && !rope->object)
        return TLP_OK;
    if (m->arch->window_theta == 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %.*s: layers with windows rotate as all "
                         "layers do in %s",
                         root->file->path.data, (int)strlen(rope->prefix) - 1,
                         rope->prefix, m->arch->architecture);
    if (rope->object) {
        TLP_TRY(tlpi_hf_check(rope, rules, TLPI_COUNT(rules)));
        TLP_TRY(tlpi_hf_nothing(rope, "partial_rotary_factor", 1));
        TLP_TRY(read_type(rope, &type));
    }
    if (type && strcmp(type, "default") != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, rope, "rope_type",
                               "\"default\" expected"));
    if (shared) /* the base of all layers */
        return TLP_OK;
    TLP_TRY(read_theta(root, rope, "rope_local_base_freq",
                       m->arch->window_theta, &theta));
    add_f32(m, "rope.freq_base_swa", theta);
done:
    return st;
}

tlp_status tlpi_hf_rope_read(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    tlpi_hf_at older, rope, full, window;
    double theta = 0;
    tlp_status st;

    TLP_TRY(tlpi_hf_enter(&older, at, "rope_scaling"));
    TLP_TRY(tlpi_hf_enter(&rope, at, "rope_parameters"));
    if (older.object && rope.object)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "rope_scaling",
                               "but there is rope_parameters too"));
    TLP_TRY(tlpi_hf_enter(&full, &rope, "full_attention"));
    TLP_TRY(tlpi_hf_enter(&window, &rope, "sliding_attention"));

    if (m->arch->yarn_exact && !older.object && !rope.object)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "rope_parameters",
                               "an object expected"));
    bool by_type = full.object || window.object;
    if (!by_type)
        full = rope.object ? rope : older;
    TLP_TRY(read_theta(at, &full, "rope_theta", m->arch->theta, &theta));
    add_f32(m, "rope.freq_base", theta);
    TLP_TRY(tlpi_hf_partial_read(m, at, &full));
    TLP_TRY(read_scaling(m, at, &full, theta));
    st = read_window_rope(m, at, &window,
                          !by_type && m->arch->window_theta == m->arch->theta);
done:
    return st;
}
