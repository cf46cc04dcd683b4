/*
 * test_train_post.c - tlp_plan_train of models that normalise outputs: what it
 * gains.
 */
#include "support/train_rig.h"

TestSuite(train_post, .timeout = 300);

/* Matrices, LoRA, norms and gains. */
static void expect_posts(const char *arch)
{
    tlp_plan_train_options full = train_options(), o = full;

    full.full = full.norms = full.gains = 1;
    train_expect_gain(arch, TLPI_F32, "par:1-2", &full, 0.6);
    train_expect_gain(arch, TLPI_F16, "nosync@2:1,2a", &full, 0.6);
    full.n_local_token = TRAIN_TOKENS;
    train_expect_gain(arch, TLPI_F16, "nosync@2:1f;par:3-4", &full, 0.85);
    o.norms = o.gains = 1;
    o.rate = 3e-3;
    train_expect_gain(arch, TLPI_F16, "asym:1-2;lp:3-4", &o, 0.98);
    train_expect_gain(arch, TLPI_F16, "nosync@2:1f,3", &o, 0.98);
    o = train_options();
    o.rank = 8;
    o.rate = 3e-3;
    train_expect_gain(arch, TLPI_F16, "nosync@2:1f,3", &o, 0.9);
}

Test(train_post, gemma3)
{
    expect_posts("gemma3");
}

/* Soft caps: a random model has little to lose, and gains less. */
Test(train_post, gemma2)
{
    tlp_plan_train_options full = train_options(), o = full;

    full.full = full.norms = full.gains = 1;
    train_expect_gain("gemma2", TLPI_F32, "par:1-2", &full, 0.8);
    train_expect_gain("gemma2", TLPI_F16, "nosync@2:1,2a", &full, 0.8);
    o.rank = 8;
    o.rate = 3e-3;
    train_expect_gain("gemma2", TLPI_F16, "asym:1-2;lp:3-4", &o, 0.98);
}

Test(train_post, olmo2)
{
    expect_posts("olmo2");
}
