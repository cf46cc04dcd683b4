/*
 * test_memory.c - what ranks will keep in a device's memory, told beforehand.
 */
#include <stdio.h>
#include <string.h>

#include "rank/memory.h"
#include "group/config.h"
#include "tune/plan_runner.h"
#include "support/check.h"
#include "support/fake_model.h"
#include "support/plugins.h"
#include "support/random_adjust.h"
#include "support/tiny.h"

TestSuite(memory, .timeout = 60);

/* Rank `rank` of n under a plan, as far as an estimate looks at it. */
static tlpi_rank_sizes estimate_plan(const tlp_plan *plan, int rank, int n,
                                     const tlpi_session_config *cfg)
{
    tlpi_shards *shards = NULL;
    tlpi_rank_sizes sizes;

    CHECK_OK(tlpi_shards_create(&shards, plan, n));

    tlpi_rank r = { .program = { { .plan = plan, .shards = shards } },
                    .n_program = 1,
                    .model = plan->model,
                    .cfg = cfg,
                    .rank = rank };

    CHECK_OK(tlpi_memory_estimate(&r, &sizes));
    tlpi_shards_free(shards);
    return sizes;
}

static tlpi_rank_sizes estimate(tlp_model *m, const char *text, int rank, int n,
                                const tlpi_session_config *cfg)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, text));
    tlpi_rank_sizes sizes = estimate_plan(plan, rank, n, cfg);
    tlp_plan_free(plan);
    return sizes;
}

/* Llama 2 7B: the weights as its authors count them, without the embeddings,
 * which stay in the file. */
Test(memory, a_known_model)
{
    static const fake_shape llama = {
        .n_layer = 32,
        .n_embd = 4096,
        .n_ff = 11008,
        .n_head = 32,
        .n_head_kv = 32,
        .head_dim = 128,
        .n_vocab = 32000,
    };
    static const tlpi_dtype f16[] = { TLPI_F16 };
    static const char *const plans[] = { "serial", "pairs:0-31@lp",
                                         "pairs:0-31@par" };
    const uint64_t parameters = 6738415616, vectors = 65 * 4096;
    const uint64_t embeddings = (uint64_t)32000 * 4096;
    tlpi_session_config cfg = {
        .n_ctx = 4096, .n_seq = 1, .n_batch = 512, .kv_type = TLP_KV_F16
    };
    tlp_model *m = fake_model(&llama, f16, 1);

    for (size_t i = 0; i < TLPI_COUNT(plans); i++) {
        for (int n = 1; n <= 2; n++) {
            uint64_t weights = 0, kv = 0;

            cfg.n_rank = n;
            for (int r = 0; r < n; r++) {
                tlpi_rank_sizes s = estimate(m, plans[i], r, n, &cfg);

                weights += s.weights;
                kv += s.kv;
                /* all members of a stage: 4096 + 11008 wide, and more */
                cr_expect_gt(s.buffers, 512 * 15104 * 4 / n);
                cr_expect_lt(s.buffers, 1 << 30);
            }
            cr_expect_eq(weights, 2 * (parameters - vectors - embeddings));
            cr_expect_eq(kv, (uint64_t)2 << 30); /* 0.5 MB a position */
        }
    }
    tlp_model_free(m);
}

static uint64_t file_size(tlpi_dtype type, int64_t rows, int64_t cols)
{
    return (uint64_t)rows * tlpi_row_bytes(type, cols);
}

/* On devices each has the embeddings, once for all ranks on it; one that holds
 * all of a tied head has them already. */
Test(memory, embeddings)
{
    static const fake_shape shape = { 2, 64, 96, 4, 4, 16, 320 };
    static const tlpi_dtype f16[] = { TLPI_F16 };
    static const tlpi_device_ops some = { .name = "some",
                                          .weight_size = file_size };
    const uint64_t all = 2 * 320 * 64;
    tlpi_session_config cpu = { .n_ctx = 8, .n_seq = 1, .n_batch = 8 };
    tlpi_session_config one = cpu, two = cpu;
    tlp_model *m = fake_model(&shape, f16, 1);

    cpu.n_rank = one.n_rank = two.n_rank = 2;
    one.device = two.device = &some;
    two.device_of[1] = 1;
    for (int r = 0; r < 2; r++) {
        uint64_t plain = estimate(m, "serial", r, 2, &cpu).weights;

        cr_expect_eq(estimate(m, "serial", r, 2, &two).weights, plain + all);
        cr_expect_eq(estimate(m, "serial", r, 2, &one).weights,
                     plain + (r == 0 ? all : 0));
    }
    one.n_rank = 1;
    m->w.t[TLPI_OUTPUT] = m->w.t[TLPI_TOKEN_EMBD];
    cr_expect_eq(estimate(m, "serial", 0, 1, &one).weights,
                 estimate(m, "serial", 0, 1, &cpu).weights);
    tlp_model_free(m);
}

/* A kv head on two ranks is there twice: 6 query heads over 3 kv heads. */
Test(memory, heads_on_both_sides)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlpi_session_config cfg = {
        .n_ctx = 64, .n_seq = 3, .n_batch = 8, .kv_type = TLP_KV_F32
    };

    spec.type = TLPI_F32;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));

    uint64_t head = 2 * 64 * 3 * 16 * 4; /* K, V; positions; floats */

    cfg.n_rank = 1;
    cr_expect_eq(estimate(m, "serial", 0, 1, &cfg).kv, 5 * 3 * head);
    cfg.n_rank = 2;
    cr_expect_eq(estimate(m, "serial", 0, 2, &cfg).kv +
                     estimate(m, "serial", 1, 2, &cfg).kv,
                 5 * 4 * head);
    tlp_model_free(m);
}

static void check_buffers(tlp_plan *plan, const char *what)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_session_config cfg = { 0 };
    tlpi_runner run;

    o.n_ctx = 64; /* no backend pads such a cache */
    CHECK_OK(tlpi_runner_config(&cfg, plan->model, &o));
    CHECK_OK(tlpi_runner_create(&run, plan, &cfg));

    tlpi_rank_sizes s = estimate_plan(plan, 0, 1, &cfg);
    tlpi_rank_sizes built = tlpi_rank_bytes(run.rank);

    cr_expect_eq(s.kv, built.kv, "%s", what);
    cr_expect_eq(s.buffers, built.buffers, "%s: %lu, %lu", what,
                 (unsigned long)s.buffers, (unsigned long)built.buffers);
    tlpi_runner_free(&run);
}

/* A rank that is built holds what was told, but for weights, which each
 * backend lays out in its own way. */
Test(memory, as_built)
{
    static const char *const archs[] = { "llama",    "qwen2",    "qwen3",
                                         "granite",  "smollm3",  "phi3",
                                         "olmo2",    "qwen3moe", "gpt-oss",
                                         "mistral3", "gemma2" };
    static const char *const plans[] = { "serial",
                                         "lp:1-2",
                                         "par:0-1,2-4",
                                         "asym:1-3",
                                         "merge:1-2;par:3-4",
                                         "nosync@2:0f,2,3a" };

    for (size_t a = 0; a < TLPI_COUNT(archs); a++) {
        tiny_spec spec = tiny_default();
        tlp_model *m = NULL;

        spec.arch = archs[a];
        spec.out_bias = a == 0;
        CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
        for (size_t i = 0; i < TLPI_COUNT(plans); i++) {
            tlp_plan *plan = NULL, *adjusted = NULL;

            if (strstr(plans[i], "merge") && m->hp.n_expert)
                continue;
            CHECK_OK(tlp_plan_parse(&plan, m, plans[i]));
            check_buffers(plan, plans[i]);
            if (i > 0 && !strstr(plans[i], "merge")) { /* no members there */
                CHECK_OK(fitted_plan(&adjusted, plan, FITTED_ALL, 8, 1));
                check_buffers(adjusted, "adjusted");
            }
            tlp_plan_free(adjusted);
            tlp_plan_free(plan);
        }
        tlp_model_free(m);
    }
}

/* On a device, weights of every type, which it may lay out in more bytes than
 * the file, and those of adjustments.  The session counts the embeddings for
 * each of two ranks on it. */
Test(memory, as_built_on_a_device)
{
    static const tlpi_dtype types[] = {
        TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q8_0, TLPI_Q4_0, TLPI_Q4_1,
        TLPI_Q5_0, TLPI_Q5_1,   TLPI_Q2_K,   TLPI_Q3_K, TLPI_Q4_K, TLPI_Q5_K,
        TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4
    };
    const char *reason = plugin_use_emulated(1);

    if (reason)
        cr_skip_test("%s", reason);
    for (size_t i = 0; i < TLPI_COUNT(types); i++) {
        tiny_spec spec = tiny_default();
        tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
        tlp_session_stats stats = { .struct_size = sizeof stats };
        tlpi_process_group here = { 0 };
        tlpi_session_config cfg = { 0 };
        tlp_model *m = NULL;
        tlp_plan *bare = NULL, *plan = NULL;
        tlp_session *s = NULL;

        spec.type = types[i];
        spec.n_embd = spec.n_ff = 256;
        o.n_ctx = 64;
        o.backend = TLP_BACKEND_CUDA;
        o.n_rank = i == 0 ? 2 : 1;
        CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
        CHECK_OK(tlpi_process_group_find(&here, &o));
        tlpi_config_init(&cfg, &o, m, &here);
        CHECK_OK(tlpi_config_devices(&cfg, &o, m, &here));

        CHECK_OK(tlp_plan_parse(&bare, m, "par:1-2"));
        CHECK_OK(fitted_plan(&plan, bare, FITTED_ALL, 8, 1));

        tlpi_rank_sizes sum = { 0 };

        for (int r = 0; r < o.n_rank; r++) {
            tlpi_rank_sizes one = estimate_plan(plan, r, o.n_rank, &cfg);

            sum.weights += one.weights;
            sum.kv += one.kv;
        }
        CHECK_OK(tlp_session_create(&s, plan, &o));
        CHECK_OK(tlp_session_get_stats(&stats, s));
        cr_expect_eq(stats.kv_bytes, sum.kv);
        if (o.n_rank > 1)
            sum.weights += file_size(types[i], m->hp.n_vocab, m->hp.n_embd);
        cr_expect_eq(sum.weights, stats.weight_bytes, "%s: %.0f told, %.0f",
                     tlpi_dtype_name(types[i]), (double)sum.weights,
                     (double)stats.weight_bytes);
        tlp_session_free(s);
        tlp_plan_free(plan);
        tlp_plan_free(bare);
        tlp_model_free(m);
    }
}

/* What another session of the model has loaded already costs nothing. */
Test(memory, shared_weights_count_once)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_session_config cfg = { 0 };
    tlpi_rank_sizes before, after;
    tlp_model *m = NULL;
    tlp_plan *serial = NULL, *pair = NULL;
    tlpi_runner run;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&serial, m, "serial"));
    CHECK_OK(tlp_plan_parse(&pair, m, "par:1-2"));
    o.n_ctx = 40;
    CHECK_OK(tlpi_runner_config(&cfg, m, &o));
    before = estimate(m, "par:1-2", 0, 1, &cfg);
    CHECK_OK(tlpi_runner_create(&run, serial, &cfg));

    tlpi_shards *shards = NULL;
    tlpi_rank next = *run.rank;

    CHECK_OK(tlpi_shards_create(&shards, pair, 1));
    next.program->plan = pair;
    next.program->shards = shards;
    CHECK_OK(tlpi_memory_estimate(&next, &after));
    tlpi_shards_free(shards);
    cr_expect_gt(before.weights, 100000);
    cr_expect_eq(after.weights, 0);
    cr_expect_eq(after.kv, before.kv);
    tlpi_runner_free(&run);
    tlp_plan_free(pair);
    tlp_plan_free(serial);
    tlp_model_free(m);
}

/* ==== does it fit? ======================================================= */

static tlpi_memory_note note(int device, double free, double weights, double kv,
                             double buffers)
{
    tlpi_memory_note n = {
        .device = device,
        .free = (uint64_t)(free * 1e9),
        .need = { (uint64_t)(weights * 1e9), (uint64_t)(kv * 1e9),
                  (uint64_t)(buffers * 1e9) },
    };

    snprintf(n.name, sizeof n.name, "Card %d", device);
    return n;
}

Test(memory, ranks_that_share_a_device)
{
    tlpi_memory_note n[] = { note(0, 14.8, 6.75, 1.05, 0.15),
                             note(0, 14.9, 6.75, 1.05, 0.15) };

    CHECK_FAILS(TLP_ENOMEM, tlpi_memory_judge(n, 2, false));
    cr_expect_str_eq(tlp_last_error(),
                     "device 0 (Card 0): weights 13.5 GB + cache 2.1 GB + "
                     "buffers 300.0 MB for ranks 0, 1 need 15.9 GB, 14.8 GB "
                     "are free");
    CHECK_OK(tlpi_memory_judge(n, 1, false));
    CHECK_OK(tlpi_memory_judge(n, 2, true)); /* two hosts with a device 0 */
    n[1].device = 1;
    CHECK_OK(tlpi_memory_judge(n, 2, false));
}

Test(memory, the_device_that_is_too_small_is_named)
{
    tlpi_memory_note n[] = { note(2, 10, 4, 1, 0), note(0, 8, 4, 1, 0),
                             note(2, 10, 4, 1, 0), note(0, 8, 4, 1, 0) };

    CHECK_FAILS(TLP_ENOMEM, tlpi_memory_judge(n, 4, false));
    cr_expect_str_eq(tlp_last_error(),
                     "device 0 (Card 0): weights 8.0 GB + cache 2.0 GB + "
                     "buffers 0 bytes for ranks 1, 3 need 10.0 GB, 8.0 GB are "
                     "free");
    n[3].free = n[1].free = (uint64_t)10e9; /* to the byte */
    CHECK_OK(tlpi_memory_judge(n, 4, false));
    n[3].free--;
    CHECK_FAILS(TLP_ENOMEM, tlpi_memory_judge(n, 4, false));
}

Test(memory, sums_do_not_wrap_around)
{
    tlpi_memory_note n[] = { note(0, 1, 1, 0, 0), note(0, 1, 1, 0, 0) };

    n[0].need.weights = UINT64_MAX - 5;
    n[1].need.kv = 100;
    CHECK_FAILS(TLP_ENOMEM, tlpi_memory_judge(n, 2, false));
    n[0] = note(0, 1, 0, 0, 0);
    n[0].need.buffers = 999;
    n[0].free = 998;
    CHECK_FAILS(TLP_ENOMEM, tlpi_memory_judge(n, 1, false));
    cr_expect_not_null(strstr(tlp_last_error(), "rank 0 need 999 bytes"), "%s",
                       tlp_last_error());
}
