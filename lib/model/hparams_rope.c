/*
 * hparams_rope.c - how a file scales the positions of queries and keys.
 *
 *   none       nothing
 *   linear     all angles are divided by a factor; also without a type
 *   yarn       the angles of slow pairs are divided by a factor
 *   longrope   each angle is divided by a number of a tensor of the file, one
 *              of two by the length of a session (weights.c binds them)
 *
 * Llama 3 scales each angle by a tensor too, rope_freqs, and says nothing in
 * the metadata.
 */
#include <math.h>

#include "model/hparams_read.h"

static tlp_status refuse_value(const tlpi_hparams *hp, const tlpi_gguf *g,
                               const char *suffix, double value, double want)
{
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key %s: %g is not supported, %g expected", g->path,
                     tlpi_hparams_key(hp, suffix).name, value, want);
}

/* A number that has no other value than `neutral` or `usual`. */
static tlp_status check_factor(const tlpi_hparams *hp, const tlpi_gguf *g,
                               const char *suffix, double neutral, double usual)
{
    tlpi_arch_key key = tlpi_hparams_key(hp, suffix);
    float value = (float)neutral;
    tlp_status st = tlpi_gguf_get_f32(g, key.name, false, &value);

    if (st != TLP_OK || (double)value == neutral ||
        fabs((double)value - usual) <= 1e-4)
        return st;
    return refuse_value(hp, g, suffix, (double)value, usual);
}

/* ==== the factor of what is rotated ====================================== */

/*
 * YaRN multiplies what is rotated by 1 + 0.1 ln(factor), and files may repeat
 * that number; whether another number replaces it or multiplies it, programs do
 * not agree.  A yarn_log_multiplier m divides it by 1 + 0.1 m ln(factor).
 * Without YaRN the number is the whole factor, as converters write it for
 * longrope.
 */
static tlp_status read_gain(tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const char *const log_key = "rope.scaling.yarn_log_multiplier";
    double growth = hp->yarn_factor > 1 ? log((double)hp->yarn_factor) : 0;
    float multiplier = 0;
    tlp_status st;

    if (hp->yarn_factor == 0) {
        TLP_TRY(check_factor(hp, g, log_key, 0, 0));
        if (tlpi_arch_get(hp)->linear_only)
            return check_factor(hp, g, "rope.scaling.attn_factor", 1, 1);
        return tlpi_hparams_float(hp, g, "rope.scaling.attn_factor", false, 0,
                                  1e6, &hp->rope_gain);
    }
    TLP_TRY(check_factor(hp, g, "rope.scaling.attn_factor", 1,
                         tlpi_rope_gain(hp, TLPI_ROPE_MODEL)));
    TLP_TRY(tlpi_gguf_get_f32(g, tlpi_hparams_key(hp, log_key).name, false,
                              &multiplier));
    if (!(multiplier >= 0 && multiplier <= 1e6f))
        return refuse_value(hp, g, log_key, (double)multiplier, 1);
    hp->rope_gain = (float)(1 / (1 + 0.1 * (double)multiplier * growth));
done:
    return st;
}

/* ==== types of scaling =================================================== */

static tlp_status read_yarn(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlp_status st;

    hp->yarn_ctx = hp->n_ctx_train;
    hp->yarn_beta_fast = 32;
    hp->yarn_beta_slow = 1;
    TLP_TRY(tlpi_hparams_float(hp, g, "rope.scaling.factor", true, 0, 1e6,
                               &hp->yarn_factor));
    TLP_TRY(tlpi_hparams_int(hp, g, "rope.scaling.original_context_length",
                             false, 1, TLPI_MAX_CTX, &hp->yarn_ctx));
    TLP_TRY(tlpi_hparams_float(hp, g, "rope.scaling.yarn_beta_fast", false, 0,
                               1e6, &hp->yarn_beta_fast));
    st = tlpi_hparams_float(hp, g, "rope.scaling.yarn_beta_slow", false, 0, 1e6,
                            &hp->yarn_beta_slow);
done:
    return st;
}

tlp_status tlpi_hparams_long(tlpi_hparams *hp, const tlpi_gguf *g)
{
    hp->long_ctx = hp->n_ctx_train;
    return tlpi_hparams_int(hp, g, "rope.scaling.original_context_length",
                            false, 1, TLPI_MAX_CTX, &hp->long_ctx);
}

/* The factor has a present and an older name. */
static tlp_status read_linear(tlpi_hparams *hp, const tlpi_gguf *g)
{
    tlpi_arch_key older_key = tlpi_hparams_key(hp, "rope.scale_linear");
    tlp_status st;

    TLP_TRY(tlpi_hparams_float(hp, g, "rope.scale_linear", false, 0.0, 1e6,
                               &hp->rope_scale));
    float older = hp->rope_scale;
    TLP_TRY(tlpi_hparams_float(hp, g, "rope.scaling.factor", false, 0.0, 1e6,
                               &hp->rope_scale));
    if (hp->rope_scale != older && tlpi_gguf_find(g, older_key.name))
        return tlpi_fail(
            TLP_EFORMAT, "%s: key %s: %g, but rope.scaling.factor is %g",
            g->path, older_key.name, (double)older, (double)hp->rope_scale);
done:
    return st;
}

static tlp_status read_scaling(tlpi_hparams *hp, const tlpi_gguf *g)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);
    tlpi_arch_key key = tlpi_hparams_key(hp, "rope.scaling.type");
    tlpi_str type = { "linear", 6 };
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_str(g, key.name, false, &type));
    if (tlpi_str_is(type, "none"))
        return TLP_OK;
    if (tlpi_str_is(type, "linear"))
        return read_linear(hp, g);
    if (tlpi_str_is(type, "yarn") && !arch->linear_only)
        return read_yarn(hp, g);
    if (!tlpi_str_is(type, "longrope") || arch->linear_only)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %s: scaling \"%.*s\" is not supported",
                         g->path, key.name, (int)TLPI_MIN(type.n, 32), type.s);
    TLP_TRY(check_factor(hp, g, "rope.scaling.factor", 1, 1));
    st = tlpi_hparams_long(hp, g);
done:
    return st;
}

/* ==== queries ============================================================ */

/* The positions over which a factor of queries stays are those of the training
 * before its context grew; a scale of 0 is none. */
static tlp_status read_query_scale(tlpi_hparams *hp, const tlpi_gguf *g)
{
    static const char name[] = "attention.temperature_scale";
    float x = 0;
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_f32(g, tlpi_hparams_key(hp, name).name, false, &x));
    if (x == 0)
        return TLP_OK;
    TLP_TRY(tlpi_hparams_float(hp, g, name, true, 0, 1e6, &hp->query_scale));
    hp->query_ctx = hp->n_ctx_train;
    st = tlpi_hparams_int(hp, g, "rope.scaling.original_context_length", false,
                          1, TLPI_MAX_CTX, &hp->query_ctx);
done:
    return st;
}

/* ==== rotation =========================================================== */

tlp_status tlpi_hparams_rope(tlpi_hparams *hp, const tlpi_gguf *g)
{
    const tlpi_arch_info *arch = tlpi_arch_get(hp);
    tlpi_arch_key key = tlpi_hparams_key(hp, "rope.scaling.finetuned");
    bool rotates = true;
    tlp_status st;

    if (hp->n_rot % 2 != 0)
        return tlpi_fail(
            TLP_EFORMAT, "%s: key %s: %d dimensions, an even number expected",
            g->path, tlpi_hparams_key(hp, "rope.dimension_count").name,
            hp->n_rot);
    hp->no_rope_step = arch->no_rope_step;
    if (arch->rope_switch)
        TLP_TRY(tlpi_gguf_get_bool(g, key.name, false, &rotates));
    if (!rotates)
        hp->no_rope_step = 1;
    TLP_TRY(read_scaling(hp, g));
    TLP_TRY(read_gain(hp, g));
    bool yarn = hp->yarn_factor > 0;
    double gain = yarn ? tlpi_rope_gain(hp, TLPI_ROPE_MODEL) : 1;
    TLP_TRY(check_factor(hp, g, "rope.scaling.yarn_attn_factor", 1, gain));
    /* the part of YaRN in the angles */
    TLP_TRY(check_factor(hp, g, "rope.scaling.yarn_ext_factor", yarn, yarn));
    if (arch->query_scale)
        st = read_query_scale(hp, g);
done:
    return st;
}
