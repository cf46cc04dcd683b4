/*
 * test_positions.c - keys and tensors that scale positions, right and wrong.
 */
#include <math.h>

#include "support/tiny.h"
#include "support/twist.h"

/* A tensor of numbers above 0, beside the type longrope. */
#define LONGROPE(name)                                                         \
    {                                                                          \
        .key = L "rope.scaling.type", .kind = 's', .text = "longrope",         \
        .tensor = (name), .n_dim = 1, .ne = { HEAD_DIM / 2 }, .inv_freq = true \
    }

Test(positions, keys_and_tensors_are_checked)
{
    static const struct {
        twist t;
        tlp_status status;
        const char *error;
    } cases[] = {
        { KEY_S("rope.scaling.type", "llama3"), TLP_ENOTSUP,
          "scaling \"llama3\"" },
        { KEY_S("rope.scaling.type", "yarn"), TLP_EFORMAT,
          "rope.scaling.factor is missing" },
        { KEY_S("rope.scaling.type", "longrope"), TLP_EFORMAT,
          "tensor rope_factors_long.weight: missing" },
        { KEY_F("rope.scaling.factor", 0), TLP_EFORMAT, "rope.scaling.factor" },
        { KEY_F("rope.scaling.attn_factor", 0), TLP_EFORMAT, "attn_factor: 0" },
        { KEY_F("rope.scaling.attn_factor", INFINITY), TLP_EFORMAT,
          "attn_factor: inf" },
        { KEY_F("rope.scaling.yarn_log_multiplier", 1), TLP_ENOTSUP,
          "multiplier: 1 is not supported, 0 expected" },
        { TENSOR("rope_freqs.weight", 1, HEAD_DIM / 2, 1, TLPI_F32),
          TLP_EFORMAT, "rope_freqs.weight: 0 at 0, a finite number above 0" },
        { TENSOR("rope_factors_long.weight", 1, HEAD_DIM / 2, 1, TLPI_F32),
          TLP_ENOTSUP,
          "rope_factors_long.weight: key llama.rope.scaling.type" },
        { LONGROPE("rope_factors_long.weight"), TLP_EFORMAT,
          "tensor rope_factors_short.weight: missing" },
        { LONGROPE("rope_factors_short.weight"), TLP_EFORMAT,
          "tensor rope_factors_long.weight: missing" },
        { LONGROPE("rope_freqs.weight"), TLP_EFORMAT,
          "tensor rope_factors_long.weight: missing" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++)
        twist_refused(cases[i].t, cases[i].status, cases[i].error);
}

/* YaRN's gain follows from its factor; files may repeat it, or give 1.  gemma3
 * has no YaRN. */
Test(positions, yarn)
{
    static const struct {
        const char *arch;
        float gain;
        tlp_status st;
    } cases[] = {
        { "olmo2", 0, TLP_OK },           { "olmo2", 1, TLP_OK },
        { "olmo2", 1.2079442f, TLP_OK },  { "olmo2", 1.1f, TLP_ENOTSUP },
        { "olmo2", 1.459f, TLP_ENOTSUP }, { "olmo2", NAN, TLP_ENOTSUP },
        { "llama", 0, TLP_OK },           { "qwen2", 1.2079442f, TLP_OK },
        { "qwen3", 1.1f, TLP_ENOTSUP },   { "gemma3", 0, TLP_ENOTSUP },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tiny_spec spec = tiny_default();
        tlp_model *m = NULL;

        spec.arch = cases[i].arch;
        spec.yarn = 8;
        spec.yarn_gain = cases[i].gain;
        cr_expect_eq(tlp_model_open(&m, tiny_make(&spec), NULL), cases[i].st,
                     "%s, %g: %s", spec.arch, (double)cases[i].gain,
                     tlp_last_error());
        if (m) {
            cr_expect_float_eq(tlpi_rope_gain(&m->hp, TLPI_ROPE_MODEL),
                               1.2079442, 1e-6);
            cr_expect_eq(tlpi_rope_gain(&m->hp, TLPI_ROPE_WINDOW), 1);
            cr_expect_eq(m->hp.yarn_ctx, 64);
        }
        tlp_model_free(m);
    }
}

/* The length of a session chooses the tensor. */
Test(positions, longrope)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.long_gain = 1.25f;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    cr_expect_eq(m->hp.long_ctx, 64);
    cr_expect_eq(tlpi_rope_gain(&m->hp, TLPI_ROPE_MODEL), 1.25);
    cr_expect_str_eq(tlpi_rope_divisors(m, 64)->name,
                     "rope_factors_short.weight");
    cr_expect_str_eq(tlpi_rope_divisors(m, 65)->name,
                     "rope_factors_long.weight");
    tlp_model_free(m);
}
