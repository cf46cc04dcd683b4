/*
 * cpu_rope.c - tables of rotation angles, computed once in double.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu.h"
#include "backend/cpu_kv.h"

tlp_status tlpi_cpu_rope_create(tlpi_backend *b, tlpi_rope **out,
                                const double *inv_freq, double gain, int n_rot,
                                int n_ctx, bool neox, const float *q_gain)
{
    tlp_status st = TLP_OK;

    *out = NULL;
    if (n_rot < 0 || n_rot % 2 != 0 || n_ctx < 1)
        return tlpi_fail(TLP_EINVAL,
                         "rotation of %d dimensions, %d positions: an even "
                         "number and at least 1 expected",
                         n_rot, n_ctx);

    tlpi_rope *r = tlpi_calloc(b->env, 1, sizeof *r);
    if (!r)
        return tlpi_fail_nomem_for("rotation tables");
    r->half = n_rot / 2;
    r->neox = neox;

    size_t half = (size_t)r->half, n = (size_t)n_ctx * half;
    r->cos = tlpi_alloc_array(b->env, n, sizeof(float));
    r->sin = tlpi_alloc_array(b->env, n, sizeof(float));
    if (!r->cos || !r->sin)
        TLP_TRY(tlpi_fail_nomem_for("rotation tables"));
    if (q_gain) {
        r->q_gain = tlpi_alloc_array(b->env, (size_t)n_ctx, sizeof(float));
        if (!r->q_gain)
            TLP_TRY(tlpi_fail_nomem_for("rotation tables"));
        memcpy(r->q_gain, q_gain, (size_t)n_ctx * sizeof(float));
    }
    for (size_t i = 0; i < n; i++) {
        double angle = (double)(i / half) * inv_freq[i % half];
        r->cos[i] = (float)(gain * cos(angle));
        r->sin[i] = (float)(gain * sin(angle));
    }
    *out = r;
    r = NULL;
done:
    tlpi_cpu_rope_free(b, r);
    return st;
}

void tlpi_cpu_rope_free(tlpi_backend *b, tlpi_rope *r)
{
    if (!r)
        return;
    tlpi_free(b->env, r->q_gain);
    tlpi_free(b->env, r->sin);
    tlpi_free(b->env, r->cos);
    tlpi_free(b->env, r);
}
