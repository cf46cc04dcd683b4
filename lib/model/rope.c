/*
 * rope.c - the angles by which the pairs of a head rotate.
 */
#include <math.h>

#include "model/model.h"

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
