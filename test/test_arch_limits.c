/*
 * test_arch_limits.c - architectures with norms of outputs, without norms of
 * inputs or with fused tensors: baking, training, studies, searches and
 * adjustments that they do not support are refused by name, and supported ones
 * work.
 */
#include <stdlib.h>
#include <string.h>

#include "support/plan_rig.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/tiny.h"

enum { N_CTX = 16, N_TOKEN = 128 };

static int32_t ids[N_TOKEN];
static tlp_session_options session;

TestSuite(arch_limits, .timeout = 120);

static tlp_model *open_arch(const char *arch)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.arch = arch;
    spec.type = TLPI_F32;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 5);
    session = plan_rig_session(N_CTX);
    return m;
}

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, text));
    return plan;
}

#define REFUSED(text, expr)                                                    \
    do {                                                                       \
        CHECK_FAILS(TLP_ENOTSUP, expr);                                        \
        cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());     \
    } while (0)

static void see_place(const tlp_study_place *place, void *arg)
{
    (void)place;
    (void)arg;
}

static void expect_unbaked(tlp_model *m, const char *why)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan *out = NULL, *tracks = parse(m, "nosync:1a");

    o.session = &session;
    REFUSED(why, tlp_plan_bake(&out, NULL, tracks, tiny_path("baked.gguf"), ids,
                               N_TOKEN, &o));
    tlp_plan_free(tracks);
}

static tlp_status study(tlp_model *m)
{
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;

    o.session = &session;
    o.place = see_place;
    return tlp_model_study(m, ids, N_TOKEN, &o);
}

static tlp_status adjust(tlp_model *m, const char *text)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan *out = NULL, *plan = parse(m, text);

    o.session = &session;
    o.gains = 1;
    tlp_status st = tlp_plan_adjust(&out, NULL, plan, ids, N_TOKEN, &o);
    tlp_plan_free(out);
    tlp_plan_free(plan);
    return st;
}

static tlp_status make(tlp_model *m, uint32_t modes, int depth)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;
    tlp_plan *out = NULL;

    o.session = &session;
    o.modes = modes;
    o.depth = depth;
    o.exchanges = depth ? 0 : 6;
    tlp_status st = tlp_plan_make(&out, m, ids, N_TOKEN, &o);
    tlp_plan_free(out);
    return st;
}

/* A random model may gain nothing. */
#define RUNS(expr)                                                             \
    do {                                                                       \
        tlp_status st_ = (expr);                                               \
        cr_expect(st_ == TLP_OK || st_ == TLP_ENOGAIN, "%s: %s",               \
                  tlp_status_name(st_), tlp_last_error());                     \
    } while (0)

Test(arch_limits, gemma3)
{
    tlp_model *m = open_arch("gemma3");

    expect_unbaked(m, "gemma3 models, whose layers normalise what they give");
    CHECK_OK(study(m));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    tlp_model_free(m);
}

Test(arch_limits, gemma2)
{
    tlp_model *m = open_arch("gemma2");

    expect_unbaked(m, "gemma2 models, whose layers normalise what they give");
    CHECK_OK(study(m));
    RUNS(adjust(m, "par:1-2"));
    RUNS(adjust(m, "nosync:1a"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    tlp_model_free(m);
}

Test(arch_limits, olmo2)
{
    tlp_model *m = open_arch("olmo2");

    expect_unbaked(m, "olmo2 models, whose layers normalise what they give");
    REFUSED("olmo2 models, whose ranks exchange squares of queries and keys",
            study(m));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    CHECK_OK(make(m, 1u << TLP_MODE_PAR | 1u << TLP_MODE_ASYM, 4));
    tlp_model_free(m);
}

/* Experts are adjusted and searched as a dense feed-forward part is. */
Test(arch_limits, qwen3moe)
{
    tlp_model *m = open_arch("qwen3moe");

    RUNS(adjust(m, "par:1-2"));
    RUNS(adjust(m, "nosync:1a"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    CHECK_OK(make(m, 1u << TLP_MODE_PAR | 1u << TLP_MODE_ASYM, 4));
    tlp_model_free(m);
}

Test(arch_limits, gpt_oss)
{
    tlp_model *m = open_arch("gpt-oss");

    RUNS(adjust(m, "par:1-2"));
    RUNS(adjust(m, "nosync:1a"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    tlp_model_free(m);
}

Test(arch_limits, glm4)
{
    tlp_model *m = open_arch("glm4");

    expect_unbaked(m, "glm4 models, whose layers normalise what they give");
    CHECK_OK(study(m));
    RUNS(adjust(m, "par:1-2"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    tlp_model_free(m);
}

Test(arch_limits, exaone4)
{
    tlp_model *m = open_arch("exaone4");

    expect_unbaked(m, "exaone4 models, whose layers normalise what they give");
    CHECK_OK(study(m));
    RUNS(adjust(m, "par:1-2"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    CHECK_OK(make(m, 1u << TLP_MODE_PAR, 4));
    tlp_model_free(m);
}

/* The matrices of a fused tensor cannot be trained in full. */
Test(arch_limits, phi3)
{
    tlp_model *m = open_arch("phi3");
    tlp_plan_bake_options bake = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan_train_options train = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_plan *pair = parse(m, "par:1-2"), *tracks = parse(m, "nosync:1a");
    tlp_plan *baked = NULL, *trained = NULL, *full = NULL;

    bake.session = train.session = &session;
    train.rank = 4;
    RUNS(adjust(m, "par:1-2"));
    RUNS(adjust(m, "nosync:1a"));
    CHECK_OK(make(m, TLP_MAKE_NOSYNC, 0));
    CHECK_OK(make(m, 1u << TLP_MODE_PAR, 4));
    RUNS(tlp_plan_bake(&baked, NULL, tracks, tiny_path("baked.gguf"), ids,
                       N_TOKEN, &bake));
    RUNS(tlp_plan_train(&trained, NULL, pair, NULL, ids, N_TOKEN, &train));
    train.rank = 0;
    train.full = 1;
    REFUSED("fused tensors",
            tlp_plan_train(&full, NULL, pair, tiny_path("full.gguf"), ids,
                           N_TOKEN, &train));
    tlp_plan_free(trained);
    tlp_plan_free(baked);
    tlp_plan_free(tracks);
    tlp_plan_free(pair);
    tlp_model_free(m);
}

/* ==== files of adjustments =============================================== */

/* An image with these members for the first stage that the plan changes. */
static tlp_status load(tlp_model *m, const char *text, tlpi_fitted_member *f,
                       int out_rank, float *out_up)
{
    tlp_plan *plan = parse(m, text), *out = NULL;
    tlpi_fitted_stage stage[16] = { { 0 } };
    void *image = NULL;
    size_t n = 0;
    int i = 0;

    while (tlpi_plan_n_member(plan, i) < 2)
        i++;
    stage[i] = (tlpi_fitted_stage){ f, out_rank, out_up };
    CHECK_OK(tlpi_adjust_image(plan, stage, NULL, &image, &n));
    tlp_status st = tlpi_plan_with_adjust(&out, plan, image, n, "test");
    tlp_plan_free(out);
    tlp_plan_free(plan);
    return st;
}

Test(arch_limits, files_of_adjustments)
{
    enum { D = 96 };
    tlp_model *llama = open_arch("llama"), *gemma3 = open_arch("gemma3");
    tlp_model *olmo2 = open_arch("olmo2"), *gpt_oss = open_arch("gpt-oss");
    float x[D] = { 0 };
    tlpi_fitted_member plain = { .attn_gain = 1, .ffn_gain = 1 };
    tlpi_fitted_member norm[] = { plain, plain }, post[] = { plain, plain };
    tlpi_fitted_member sum[] = { plain, plain }, out[] = { plain, plain };

    norm[0].ffn_norm = norm[1].attn_norm = x;
    post[0].attn_post = post[1].attn_post = x;
    sum[0].attn_post = post[0].ffn_post = post[1].ffn_post = x;
    out[0].out_down = out[1].out_down = x;
    CHECK_OK(load(llama, "par:1-2", out, 1, x));
    REFUSED("tensor blk.1.post_attention_norm.weight: llama models have no "
            "such norm",
            load(llama, "par:1-2", post, 0, NULL));
    CHECK_OK(load(gemma3, "par:1-2", norm, 0, NULL));
    CHECK_OK(load(gemma3, "par:1-2", post, 0, NULL));
    CHECK_OK(load(gemma3, "nosync:1", post, 0, NULL));
    CHECK_OK(load(gemma3, "nosync:1f", sum, 0, NULL));
    CHECK_FAILS(TLP_EMISMATCH, load(gemma3, "nosync:1f", post, 0, NULL));
    cr_expect(strstr(tlp_last_error(), "track.1.post_attention_norm.weight: "
                                       "the outputs of all tracks are summed"),
              "%s", tlp_last_error());
    REFUSED("there is no correction in gemma3 models, whose layers normalise",
            load(gemma3, "par:1-2", out, 1, x));
    CHECK_OK(load(olmo2, "par:1-2", post, 0, NULL));
    REFUSED("olmo2 models have no such norm",
            load(olmo2, "par:1-2", norm, 0, NULL));
    /* whose files call the norm of an input so */
    CHECK_OK(load(gpt_oss, "par:1-2", norm, 0, NULL));
    REFUSED("tensor blk.1.post_attention_norm.weight: gpt-oss models have no "
            "such norm",
            load(gpt_oss, "par:1-2", post, 0, NULL));
    tlp_model_free(gpt_oss);
    tlp_model_free(olmo2);
    tlp_model_free(gemma3);
    tlp_model_free(llama);
}
