/*
 * rope.c - the angles by which the pairs of a head rotate.
 */
#include <math.h>

#include "model/model.h"

static bool has_yarn(const tlpi_hparams *hp, tlpi_rope_kind kind)
{
    return kind == TLPI_ROPE_MODEL && hp->yarn_factor > 0;
}

/* The number of the pair that makes `turns` turns over yarn_ctx positions; it
 * has a fraction. */
static double pair_of(const tlpi_hparams *hp, double turns)
{
    return hp->n_rot * log(hp->yarn_ctx / (turns * 2 * M_PI)) /
           (2 * log((double)hp->rope_theta));
}

/*
 * YaRN (arXiv 2309.00071): pairs before `first` keep their angles, those behind
 * `last` have them divided by the factor, and between them lies a ramp.
 */
static double yarn_scale(const tlpi_hparams *hp, int pair)
{
    double first = pair_of(hp, (double)hp->yarn_beta_fast);
    double last = pair_of(hp, (double)hp->yarn_beta_slow);

    if (!tlpi_arch_get(hp)->yarn_exact) {
        first = floor(first);
        last = ceil(last);
    }
    first = fmax(0, first);
    last = fmin(hp->n_rot - 1, last);
    double ramp = (pair - first) / fmax(0.001, last - first);
    double slow = fmin(1, fmax(0, ramp));

    return slow / (double)hp->yarn_factor + 1 - slow;
}

double tlpi_rope_gain(const tlpi_hparams *hp, tlpi_rope_kind kind)
{
    double yarn = has_yarn(hp, kind) && hp->yarn_factor > 1
                      ? 1 + 0.1 * log((double)hp->yarn_factor)
                      : 1;

    return kind == TLPI_ROPE_MODEL ? yarn * (double)hp->rope_gain : 1;
}

tlp_status tlpi_rope_query_gains(float **out, const tlpi_env *env,
                                 const tlpi_hparams *hp, int n_ctx)
{
    *out = NULL;
    if (hp->query_ctx == 0 || n_ctx <= hp->query_ctx)
        return TLP_OK;
    *out = tlpi_alloc_array(env, (size_t)n_ctx, sizeof(**out));
    if (!*out)
        return tlpi_fail_nomem_for("rotation tables");
    for (int p = 0; p < n_ctx; p++)
        (*out)[p] =
            (float)(1 + (double)hp->query_scale * log(1 + p / hp->query_ctx));
    return TLP_OK;
}

const tlpi_tensor *tlpi_rope_divisors(const tlp_model *m, int n_ctx)
{
    tlpi_model_id factors =
        n_ctx > m->hp.long_ctx ? TLPI_ROPE_LONG : TLPI_ROPE_SHORT;

    return m->w.t[m->hp.long_ctx > 0 ? factors : TLPI_ROPE_FREQS];
}

tlp_status tlpi_rope_inv_freq(double **out, const tlpi_env *env,
                              const tlpi_hparams *hp, tlpi_rope_kind kind,
                              const tlpi_tensor *divisors)
{
    bool window = kind == TLPI_ROPE_WINDOW;
    double theta = (double)(window ? hp->window_theta : hp->rope_theta);
    size_t n = (size_t)hp->n_rot / 2;
    double *inv = tlpi_alloc_array(env, n, sizeof(*inv));
    float *divisor = tlpi_calloc(env, n, sizeof(*divisor));
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!inv || !divisor)
        TLP_TRY(tlpi_fail_nomem_for("rotation tables"));
    if (window)
        divisors = NULL;
    if (divisors)
        tlpi_dequantize(divisors->type, divisors->data, divisor, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        inv[i] = pow(theta, -2.0 * (double)i / hp->n_rot);
        if (!window)
            inv[i] /= (double)hp->rope_scale;
        if (has_yarn(hp, kind))
            inv[i] *= yarn_scale(hp, (int)i);
        if (divisors)
            inv[i] /= (double)divisor[i];
    }
    *out = inv;
    inv = NULL;
done:
    tlpi_free(env, divisor);
    tlpi_free(env, inv);
    return st;
}
