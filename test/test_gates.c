/*
 * test_gates.c - the activation functions of gates, on every instruction set.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "support/random_weights.h"

static double gate_of(tlpi_gate fn, double x)
{
    double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);

    return x / (1 + exp(fn == TLPI_GATE_GELU ? -2 * u : -x));
}

/* A hidden unit whose gate and up are both x. */
static double unit_of(tlpi_gate fn, double x)
{
    double g = fmin(x, 7);

    return fn == TLPI_GATE_CLAMP ? g / (1 + exp(-1.702 * g)) * (fmax(g, -7) + 1)
                                 : x * gate_of(fn, x);
}

/* Gates alone: gate = G x with one weight that is 1, so G x is x itself. */
Test(gates, are_accurate)
{
    enum { TOKENS = 256 };
    float one[16 * 32] = { 0 }, x[TOKENS * 32] = { 0 }, y[TOKENS * 16];
    tlpi_tensor t = { .name = "one",
                      .type = TLPI_F32,
                      .n_dim = 2,
                      .ne = { 32, 16, 1, 1 },
                      .data = one,
                      .n_bytes = sizeof one };

    for (int r = 0; r < 16; r++)
        one[r * 32 + r] = 1.0f;
    for (int k = 0; k < TOKENS * 16; k++)
        x[k / 16 * 32 + k % 16] = ((float)k - TOKENS * 8) * (90.0f / 2048.0f);
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        tlpi_backend *b =
            weights_backend(weights_isa[i], TLP_COMPUTE_DEFAULT, 1);
        if (!b)
            continue;
        tlpi_weight *w = weigh_all(b, &t);
        for (int fn = 0; fn < TLPI_N_GATE; fn++) {
            tlpi_gate_up item = {
                .gate = w, .up = w, .x = x, .y = y, .gate_fn = (tlpi_gate)fn
            };
            b->ops->gate_up(b, TOKENS, &item, 1);
            for (int k = 0; k < TOKENS * 16; k++) {
                double v = (double)x[k / 16 * 32 + k % 16];
                double want = unit_of((tlpi_gate)fn, v);
                /* far out, e^-2u has the rounding of u times u */
                double tol = fn == TLPI_GATE_SILU ? 1e-6 : 3e-5;
                cr_assert(fabs((double)y[k] - want) <= tol * fabs(want) + 1e-34,
                          "%s gate %d of %g, times x = %.9g, not %.9g",
                          weights_isa_name[i], fn, v, (double)y[k], want);
            }
        }
        b->ops->weight_free(w);
        b->ops->free(b);
    }
}
