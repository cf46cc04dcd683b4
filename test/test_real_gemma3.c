/*
 * test_real_gemma3.c - a model of another family: Gemma 3 270M, Q4_K_M.
 *
 * Runs when TLP_TEST_GEMMA3 names the GGUF file.  The ids and their mean -log p
 * are llama.cpp's, over the weights of this file in F32 (test/data/README.md):
 * it rounds activations for quantised weights.  The tokens reach beyond the
 * window of 512.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"

enum { N_TOKEN = 990 };

static const double mean_nll = 1.57568100; /* of 989 predictions */

static tlp_model *model;
static int32_t ids[N_TOKEN];

static void open_gemma3(void)
{
    const char *path = getenv("TLP_TEST_GEMMA3");
    tlp_model_info info = { .struct_size = sizeof info };
    FILE *f = fopen("test/data/alice-gemma3.i32", "rb");

    if (!path || !*path)
        cr_skip("TLP_TEST_GEMMA3 is not set to gemma-3-270m-Q4_K_M.gguf");
    cr_assert(f && fread(ids, sizeof ids, 1, f) == 1,
              "test/data/alice-gemma3.i32: cannot be read");
    fclose(f);
    CHECK_OK(tlp_model_open(&model, path, NULL));
    CHECK_OK(tlp_model_get_info(&info, model));
    if (strcmp(info.arch, "gemma3") != 0 || info.n_embd != 640)
        cr_skip("TLP_TEST_GEMMA3 is another model: %s, n_embd %d", info.arch,
                info.n_embd);
}

static void close_gemma3(void)
{
    tlp_model_free(model);
}

TestSuite(real_gemma3, .init = open_gemma3, .fini = close_gemma3,
          .timeout = 600);

static double nll_of(const char *plan_text, int n_rank, int compute)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    static float logprob[N_TOKEN];
    double sum = 0;

    o.n_ctx = N_TOKEN;
    o.n_rank = n_rank;
    o.compute = compute;
    CHECK_OK(tlp_plan_parse(&plan, model, plan_text));
    CHECK_OK(tlp_session_create(&s, plan, &o));
    CHECK_OK(tlp_session_score(logprob, s, 0, ids, N_TOKEN));
    tlp_session_free(s);
    tlp_plan_free(plan);
    for (int i = 1; i < N_TOKEN; i++)
        sum -= (double)logprob[i];
    return sum / (N_TOKEN - 1);
}

Test(real_gemma3, perplexity_in_f32)
{
    for (int n_rank = 1; n_rank <= (CHECK_SLOWDOWN > 1 ? 1 : 3); n_rank++) {
        double nll = nll_of("serial", n_rank, TLP_COMPUTE_F32);

        cr_assert_float_eq(nll, mean_nll, 2e-4, "%d ranks: %.8f, not %.8f",
                           n_rank, nll, mean_nll);
    }
}

/* Activations of 8 bits. */
Test(real_gemma3, perplexity)
{
    double nll = nll_of("serial", 2, TLP_COMPUTE_DEFAULT);

    cr_assert_float_eq(nll, mean_nll, 0.015, "%.8f, not %.8f", nll, mean_nll);
}

/* A plan costs something, and as much on each number of ranks. */
Test(real_gemma3, plans)
{
    static const char *const plans[] = { "par:8-9", "lp:8-9", "nosync@2:9a" };

    for (int i = 0; i < (CHECK_SLOWDOWN > 1 ? 1 : 3); i++) {
        double one = nll_of(plans[i], 1, TLP_COMPUTE_F32);
        double two = nll_of(plans[i], 2, TLP_COMPUTE_F32);

        cr_assert(one > mean_nll + 0.005, "%s: %.6f", plans[i], one);
        cr_assert_float_eq(two, one, 2e-5, "%s: %.8f, not %.8f", plans[i], two,
                           one);
    }
}

/* The ids are those of their text, which has quotes, dashes and line breaks. */
Test(real_gemma3, text_becomes_these_ids)
{
    static char text[8 * N_TOKEN];
    int32_t again[N_TOKEN + 8];
    size_t len = 0, n = 0;

    CHECK_OK(tlp_detokenize(text, sizeof text, &len, model, ids, N_TOKEN, 0));
    CHECK_OK(tlp_tokenize(again, N_TOKEN + 8, &n, model, text, len,
                          TLP_TOKENIZE_BOS));
    cr_assert_eq(n, N_TOKEN, "%zu tokens", n);
    for (int i = 0; i < N_TOKEN; i++)
        cr_assert_eq(again[i], ids[i], "token %d: %d, not %d", i, again[i],
                     ids[i]);
}
