/*
 * test_cuda_models.c - whole models on the CUDA backend against the CPU's:
 * prompts and single tokens, under every kind of plan, replayed and not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/session.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/gpu_plugin.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define N_PROMPT 13
#define N_DECODE 6
#define N_TOKEN (N_PROMPT + N_DECODE)

/* Both sides are within 3e-5 of the equations (test_parity.c). */
#define TOLERANCE 1e-4

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const char *const plans[] = {
    "serial",       "lp:1-2",      "lp:0-2,3-4", "par:1-2,3-4",    "par:0-4",
    "asym:0-1,3-4", "lp-code:1-2", "merge:2-3",  "nosync:0f,2,3a",
};

TestSuite(cuda_models, .timeout = 300);

static tlp_session_options on_cpu(int n_rank)
{
    return rig_f32(n_rank, 1);
}

static tlp_session_options on_gpu(int n_rank)
{
    static const int32_t first[1] = { 0 };
    tlp_session_options o = rig_f32(n_rank, 1);

    gpu_load();
    o.backend = TLP_BACKEND_CUDA;
    o.devices = first; /* all ranks on one device */
    o.n_device = 1;
    o.timeout_ms = 60000;
    return o;
}

static uint64_t replayed(const rig *r)
{
    return gpu_stats(r->session->rank0->b).replayed;
}

/* Logits of a prompt evaluated at once, then of tokens one by one. */
static float *run(rig *r, const int32_t *ids)
{
    size_t v = r->n_vocab;
    float *all = malloc(N_TOKEN * v * sizeof *all);
    float *part = rig_eval(r, 0, ids, N_PROMPT);

    memcpy(all, part, N_PROMPT * v * sizeof *all);
    free(part);
    for (int i = N_PROMPT; i < N_TOKEN; i++) {
        const float *row = NULL;
        CHECK_OK(tlp_session_decode(r->session, ids[i]));
        CHECK_OK(tlp_session_logits(&row, r->session, 0));
        memcpy(all + (size_t)i * v, row, v * sizeof *row);
    }
    return all;
}

static double largest(const float *x, size_t n)
{
    double best = 0;

    for (size_t i = 0; i < n; i++)
        best = fmax(best, fabs((double)x[i]));
    return best;
}

static void expect_parity(const char *path, const char *plan, int n_rank,
                          tlp_session_options cpu_opts,
                          tlp_session_options gpu_opts, double tol)
{
    rig a = rig_open(path, plan, &cpu_opts),
        b = rig_open(path, plan, &gpu_opts);
    int32_t ids[N_TOKEN];

    rig_tokens(ids, N_TOKEN, a.n_vocab, 5);
    float *x = run(&a, ids), *y = run(&b, ids);
    for (int i = 0; i < N_TOKEN; i++) {
        const float *want = x + (size_t)i * a.n_vocab;
        double d = rig_diff_f(want, y + (size_t)i * a.n_vocab, a.n_vocab);
        if (gpu_opts.compute == TLP_COMPUTE_DEFAULT)
            d /= largest(want, a.n_vocab);
        cr_assert(d <= tol, "%s, %d ranks, token %d: off by %g", plan, n_rank,
                  i, d);
    }
    cr_assert_geq(replayed(&b), N_DECODE - 2, "%s: %d steps replayed", plan,
                  (int)replayed(&b));
    free(x);
    free(y);
    rig_close(&a);
    rig_close(&b);
}

static void expect_plans(const char *arch, int first, int step)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    spec.type = TLPI_F16;
    const char *path = tiny_make(&spec);
    for (int i = first; i < COUNT(plans); i += step)
        for (int n_rank = 1; n_rank <= 2; n_rank++)
            expect_parity(path, plans[i], n_rank, on_cpu(n_rank),
                          on_gpu(n_rank), TOLERANCE);
}

Test(cuda_models, llama)
{
    expect_plans("llama", 0, 1);
}

Test(cuda_models, qwen2)
{
    expect_plans("qwen2", 1, 3);
}

Test(cuda_models, qwen3)
{
    expect_plans("qwen3", 0, 3);
}

Test(cuda_models, granite)
{
    expect_plans("granite", 1, 4);
}

Test(cuda_models, smollm3)
{
    expect_plans("smollm3", 2, 4);
}

Test(cuda_models, gemma3)
{
    expect_plans("gemma3", 0, 1);
}

Test(cuda_models, olmo2)
{
    expect_plans("olmo2", 0, 1);
}

Test(cuda_models, phi3)
{
    expect_plans("phi3", 0, 1);
}

Test(cuda_models, glm4)
{
    expect_plans("glm4", 0, 1);
}

Test(cuda_models, exaone4)
{
    expect_plans("exaone4", 0, 1);
}

Test(cuda_models, mistral3_and_gemma2)
{
    expect_plans("mistral3", 0, 1);
    expect_plans("gemma2", 0, 1);
}

Test(cuda_models, types)
{
    static const tlpi_dtype types[] = { TLPI_F32,    TLPI_BF16,   TLPI_Q8_0,
                                        TLPI_Q4_0,   TLPI_Q5_1,   TLPI_Q2_K,
                                        TLPI_Q3_K,   TLPI_Q4_K,   TLPI_Q6_K,
                                        TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4 };

    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec s = tiny_default();
        s.n_layer = 2;
        s.type = types[i];
        s.tied = i % 2;
        s.rope_freqs = i == 1;
        s.out_bias = i == 2;
        s.n_embd = 256;
        s.n_ff = 512;
        s.n_head = 8;
        s.n_head_kv = 4;
        s.head_dim = 32;
        expect_parity(tiny_make(&s), "lp:0-1", 1, on_cpu(1), on_gpu(1),
                      TOLERANCE);
    }
}

/* bf16 products, f16 cache: within 2e-2 of the largest logit. */
Test(cuda_models, default_compute)
{
    static const tlpi_dtype types[] = { TLPI_BF16, TLPI_F16, TLPI_Q4_K };

    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec s = tiny_default();
        tlp_session_options o = on_gpu(1);
        s.type = types[i];
        s.n_embd = 256;
        o.compute = TLP_COMPUTE_DEFAULT;
        expect_parity(tiny_make(&s), "par:1-2", 1, on_cpu(1), o, 2e-2);
    }
}

/* ==== replaying ========================================================== */

enum { MANY = 12 };

/* Several sequences at once, with rows of logits of some, in a changing order.
 */
static void decode_many(rig *r, int n, float *out)
{
    uint8_t want[MANY] = { 1, 0, 1, 1 };
    size_t v = r->n_vocab;

    for (int step = 0; step < 5; step++) {
        int32_t ids[MANY], seqs[MANY];
        tlp_batch b = TLP_BATCH_INIT;
        for (int i = 0; i < n; i++) {
            ids[i] = 7 * step + i;
            seqs[i] = i;
        }
        b.n = (size_t)n;
        b.tokens = ids;
        b.seqs = seqs;
        b.want_logits = want;
        CHECK_OK(tlp_session_eval(r->session, &b));
        float *all = rig_logits(r, NULL);
        memcpy(out + (size_t)step * 3 * v, all, 3 * v * sizeof *all);
        free(all);
        /* Later steps stand elsewhere in the sequences. */
        CHECK_OK(tlp_session_rewind(r->session, step % n, 0));
    }
}

static void expect_sequences(int n_seq)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_session_options o[2] = { on_cpu(1), on_gpu(1) };
    float *out[2];
    size_t n = 0;

    for (int i = 0; i < 2; i++) {
        o[i].n_seq = n_seq;
        rig r = rig_open(path, "par:1-2", &o[i]);
        n = 15 * r.n_vocab;
        out[i] = malloc(n * sizeof **out);
        decode_many(&r, n_seq, out[i]);
        cr_assert(i == 0 || replayed(&r) >= 3);
        rig_close(&r);
    }
    cr_assert_leq(rig_diff_f(out[0], out[1], n), TOLERANCE);
    free(out[0]);
    free(out[1]);
}

Test(cuda_models, sequences_are_replayed_by_their_positions)
{
    expect_sequences(4);
    expect_sequences(MANY);
}

/* The same bits with and without graphs. */
Test(cuda_models, graphs_change_nothing)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_session_options o = on_gpu(1);
    int32_t ids[N_TOKEN];
    float *out[2];
    size_t v = 0;

    for (int i = 0; i < 2; i++) {
        setenv("TLP_CUDA_GRAPHS", i ? "0" : "1", 1);
        rig r = rig_open(path, "asym:1-3", &o);
        v = r.n_vocab;
        rig_tokens(ids, N_TOKEN, v, 9);
        out[i] = run(&r, ids);
        cr_assert_eq(replayed(&r) > 0, i == 0);
        rig_close(&r);
    }
    cr_assert_eq(memcmp(out[0], out[1], N_TOKEN * v * sizeof **out), 0);
    free(out[0]);
    free(out[1]);
}

static uint64_t launches_of_a_step(const char *path, const char *plan)
{
    tlp_session_options o = on_gpu(1);
    rig r = rig_open(path, plan, &o);
    tlpi_backend *b = r.session->rank0->b;

    CHECK_OK(tlp_session_decode(r.session, 3));
    uint64_t before = gpu_stats(b).launches;
    setenv("TLP_CUDA_GRAPHS", "0", 1);
    CHECK_OK(tlp_session_decode(r.session, 4));
    uint64_t n = gpu_stats(b).launches - before;
    rig_close(&r);
    return n;
}

/* A group of layers takes as many launches as one layer. */
Test(cuda_models, groups_are_one_wide_layer)
{
    tiny_spec spec = tiny_default();

    spec.n_layer = 6;
    const char *path = tiny_make(&spec);
    uint64_t two = launches_of_a_step(path, "drop:2-5");
    uint64_t three = launches_of_a_step(path, "drop:3-5");

    cr_assert_eq(launches_of_a_step(path, "lp:0-2,3-5"), two);
    cr_assert_eq(launches_of_a_step(path, "lp:0-1,2-3,4-5"), three);
    /* norm, projections, two of attention, output; norm, gates, down */
    cr_assert_eq(three - two, 8);
}

/* ==== results ============================================================ */

Test(cuda_models, scores)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_session_options o[2] = { on_cpu(1), on_gpu(1) };
    float logprob[2][40];
    int32_t ids[40];

    for (int i = 0; i < 2; i++) {
        rig r = rig_open(path, "lp:1-2", &o[i]);
        rig_tokens(ids, 40, r.n_vocab, 3);
        CHECK_OK(tlp_session_score(logprob[i], r.session, 0, ids, 40));
        rig_close(&r);
    }
    cr_assert_leq(rig_diff_f(logprob[0] + 1, logprob[1] + 1, 39), TOLERANCE);
}

static void generate(rig *r, tlp_sampler *s, int32_t *ids, int n)
{
    int32_t prompt[5] = { 1, 2, 3, 4, 5 };

    CHECK_OK(tlp_session_prefill(r->session, prompt, 5));
    for (int i = 0; i < n; i++) {
        CHECK_OK(tlp_session_sample(&ids[i], r->session, 0, s));
        CHECK_OK(tlp_session_decode(r->session, ids[i]));
    }
}

/* Greedy and sampled: candidates come from the device. */
Test(cuda_models, texts)
{
    enum { N = 16 };
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    int32_t ids[2][N];

    for (int sampled = 0; sampled < 2; sampled++)
        for (int n_rank = 1; n_rank <= 2; n_rank++) {
            tlp_session_options o[2] = { on_cpu(n_rank), on_gpu(n_rank) };
            for (int i = 0; i < 2; i++) {
                tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
                tlp_sampler *s = NULL;
                rig r = rig_open(path, "par:1-2", &o[i]);
                so.temperature = sampled ? 0.8f : 0;
                so.top_k = sampled ? 20 : 0;
                so.seed = 11;
                CHECK_OK(tlp_sampler_create(&s, r.model, &so));
                generate(&r, s, ids[i], N);
                tlp_sampler_free(s);
                rig_close(&r);
            }
            cr_assert_arr_eq(ids[0], ids[1], sizeof ids[0]);
        }
}

/* Exchanges are counted as they are on the CPU, replayed or not. */
Test(cuda_models, exchanges_are_counted)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    uint64_t n[2][2];

    for (int i = 0; i < 2; i++) {
        tlp_session_options o = i ? on_gpu(2) : on_cpu(2);
        tlp_session_stats stats = { .struct_size = sizeof stats };
        rig r = rig_open(path, "par:1-2", &o);
        tlp_session_reset_stats(r.session);
        for (int k = 0; k < 6; k++)
            CHECK_OK(tlp_session_decode(r.session, k));
        CHECK_OK(tlp_session_get_stats(&stats, r.session));
        n[i][0] = stats.allreduces;
        n[i][1] = stats.comm_bytes;
        rig_close(&r);
    }
    cr_assert_eq(n[0][0], n[1][0], "%d and %d", (int)n[0][0], (int)n[1][0]);
    cr_assert_eq(n[0][1], n[1][1], "%d and %d", (int)n[0][1], (int)n[1][1]);
}

/* ==== adjusted plans ===================================================== */

/* A plan with adjustments, or with LoRA of this rank beside them. */
static void expect_adjusted(const char *arch, const char *text, int n_rank,
                            int lora)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o[2] = { on_cpu(n_rank), on_gpu(n_rank) };
    tlp_plan *plain = NULL, *plan = NULL;
    int32_t ids[N_TOKEN];
    float *out[2];

    spec.arch = arch;
    rig r = rig_open(tiny_make(&spec), text, &o[0]);

    rig_tokens(ids, N_TOKEN, r.n_vocab, 5);
    CHECK_OK(tlp_plan_parse(&plain, r.model, text));
    if (lora)
        plan = lora_plan(plain, FITTED_GAINS | FITTED_FFN_IN, lora, 7);
    else
        CHECK_OK(fitted_plan(&plan, plain, FITTED_ALL, 4, 7));
    for (int k = 0; k < 2; k++) {
        tlp_session_free(r.session);
        r.session = NULL;
        CHECK_OK(tlp_session_create(&r.session, plan, &o[k]));
        out[k] = run(&r, ids);
    }
    double d = rig_diff_f(out[0], out[1], N_TOKEN * r.n_vocab);
    cr_assert_leq(d, TOLERANCE, "%s, %s, LoRA %d: off by %g", arch, text, lora,
                  d);
    free(out[0]);
    free(out[1]);
    tlp_plan_free(plan);
    tlp_plan_free(plain);
    rig_close(&r);
}

Test(cuda_models, adjustments)
{
    static const char *const texts[] = { "lp:1-2", "par:1-2,3-4",
                                         "asym:0-1,3-4", "nosync:0f,2,3a" };

    for (int i = 0; i < COUNT(texts); i++) {
        expect_adjusted("llama", texts[i], 1, 0);
        expect_adjusted("gemma3", texts[i], 1, 0);
        expect_adjusted("olmo2", texts[i], 1, 0);
    }
}

Test(cuda_models, lora)
{
    static const char *const texts[] = { "serial", "lp:1-2", "par:1-2,3-4",
                                         "asym:0-1,3-4", "nosync:0f,2,3a" };

    for (int i = 0; i < COUNT(texts); i++)
        expect_adjusted("llama", texts[i], 1 + i % 2, 1 + i);
    expect_adjusted("llama", "nosync:0f,2,3a", 2, 3);
}

/* ==== what cannot be done ================================================ */

Test(cuda_models, aborted_between_steps)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = on_gpu(1);
    rig r = rig_open(tiny_make(&spec), "serial", &o);

    CHECK_OK(tlp_session_decode(r.session, 1));
    tlp_session_abort(r.session);
    CHECK_FAILS(TLP_ECANCELED, tlp_session_decode(r.session, 2));
    cr_assert_eq(tlp_session_pos(r.session, 0), 1);
    CHECK_OK(tlp_session_decode(r.session, 2));
    rig_close(&r);
}

Test(cuda_models, measuring_is_for_cpus)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = on_gpu(1);
    tlp_link link = { .struct_size = sizeof link };
    rig r = rig_open(tiny_make(&spec), "serial", &o);

    double seconds;
    CHECK_FAILS(TLP_ENOTSUP, tlp_session_measure(&link, NULL, r.session));
    CHECK_FAILS(TLP_ENOTSUP, tlp_session_measure_link(&seconds, r.session));
    rig_close(&r);
}
