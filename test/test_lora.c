/*
 * test_lora.c - LoRA beside a plan: logits against the reference, whose
 * matrices have the products added, in every mode and cut.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cost/dry_run.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/ref_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define N_TOKEN 13
#define TOLERANCE 3e-5 /* as in test_parity.c */

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(lora, .timeout = 300);

typedef struct lora_case {
    const char *plan, *stages; /* for the library, and for the reference */
    int n_track;               /* ranks come in multiples of it */
} lora_case;

static const lora_case cases[] = {
    { "serial", "0 1 2 3 4", 1 },
    { "lp:1-2", "0 lp:1,2 3 4", 1 },
    { "lp:0-2", "lp:0,1,2 3 4", 1 },
    { "par:1-2,3-4", "0 par:1,2 par:3,4", 1 },
    { "par:0-3", "par:0,1,2,3 4", 1 },
    { "asym:0-1,3-4", "asym:0,1 2 asym:3,4", 1 },
    { "asym:1-3", "0 asym:1,2,3 4", 1 },
    { "nosync@2:1,2a", "@2 0 1af 2a 3 4", 2 },
    { "nosync@2:0f;par:2-3", "@2 0f 1 par:2,3 4", 2 },
    { "nosync@3:0a,2f,3", "@3 0a 1 2f 3af 4", 3 },
};

/* ==== a model and its reference ========================================== */

static tlp_model *model;
static const char *path;
static int32_t ids[N_TOKEN];
static size_t n_logit;

static void open_model(const tiny_spec *spec)
{
    path = tiny_make(spec);
    CHECK_OK(tlp_model_open(&model, path, NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec->n_vocab, spec->seed);
    n_logit = N_TOKEN * (size_t)spec->n_vocab;
}

static void close_model(void)
{
    tlp_model_free(model);
}

static tiny_spec spec_of(const char *arch)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    spec.type = TLPI_F32;
    return spec;
}

static double *expected(const char *stages, const tlp_plan *plan)
{
    ref_model *ref = ref_open(path);
    ref_plan p = ref_adjusted(stages, plan);

    ref_add_lora(ref, plan->adjust->lora, 1);
    double *want = ref_logits(ref, &p, ids, N_TOKEN);
    ref_adjust_free(&p);
    ref_close(ref);
    return want;
}

static float *run(tlp_plan *plan, const tlp_session_options *o)
{
    rig r = { .model = model, .plan = plan };

    r.n_vocab = n_logit / N_TOKEN;
    CHECK_OK(tlp_session_create(&r.session, plan, o));
    float *got = rig_eval(&r, 0, ids, N_TOKEN);
    tlp_session_free(r.session);
    return got;
}

static void expect_close(tlp_plan *plan, const double *want,
                         const tlp_session_options *o, const char *what)
{
    float *got = run(plan, o);
    double d = rig_diff(got, want, n_logit);

    cr_assert(d <= TOLERANCE, "%s, %d ranks of %d, %s: off by %g of %g", what,
              o->n_rank, o->n_thread, rig_isa_name(o->isa), d,
              rig_scale(want, n_logit));
    free(got);
}

/* What is compared has to depend on LoRA. */
static void expect_effect(const char *text, const double *want)
{
    tlp_plan *plain = NULL;
    tlp_session_options o = rig_f32(1, 1);

    CHECK_OK(tlp_plan_parse(&plain, model, text));
    float *without = run(plain, &o);
    double d = rig_diff(without, want, n_logit);
    cr_assert(d > 300 * TOLERANCE, "%s: %g from the plain plan", text, d);
    free(without);
    tlp_plan_free(plain);
}

static void expect_case(const lora_case *c, int kinds, int rank, int most)
{
    tlp_plan *plan = lora_parse(model, c->plan, kinds, rank);
    double *want = expected(c->stages, plan);

    expect_effect(c->plan, want);
    for (int i = 0; i <= most; i++) {
        tlp_session_options o = rig_f32(i == 0 ? 1 : i * c->n_track, 1 + i % 2);

        expect_close(plan, want, &o, c->plan);
    }
    free(want);
    tlp_plan_free(plan);
}

/* ==== modes, tracks, ranks =============================================== */

Test(lora, every_mode_and_cut)
{
    tiny_spec spec = spec_of("llama");

    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++)
        for (int rank = 1; rank <= 3; rank++)
            expect_case(&cases[c], 0, rank, cases[c].n_track > 1 ? 2 : 4);
    close_model();
}

/* Gains multiply the product as they multiply W x, and corrections of inputs
 * come before it. */
Test(lora, beside_other_adjustments)
{
    tiny_spec spec = spec_of("qwen2");

    spec.out_bias = true;
    open_model(&spec);
    for (int c = 1; c < COUNT(cases); c++)
        expect_case(&cases[c], FITTED_ALL, 4, 2);
    close_model();
}

Test(lora, granite_and_smollm3)
{
    for (int i = 0; i < 2; i++) {
        tiny_spec spec = spec_of(i ? "granite" : "smollm3");

        open_model(&spec);
        for (int c = i; c < COUNT(cases); c += 2)
            expect_case(&cases[c], i ? FITTED_GAINS : 0, 5, 2);
        close_model();
    }
}

/* Norms of outputs, and of whole rows of queries and keys. */
Test(lora, olmo2)
{
    tiny_spec spec = spec_of("olmo2");

    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++)
        if (!strpbrk(cases[c].plan, "-")) /* groups */
            expect_case(&cases[c], 0, 3, 2);
    close_model();
}

/* LoRA of attention, and all adjustments, where layers have experts. */
Test(lora, experts)
{
    tiny_spec spec = spec_of("qwen3moe");

    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++)
        expect_case(&cases[c], FITTED_ALL, 3, 2);
    close_model();
}

Test(lora, fused_tensors)
{
    tiny_spec spec = spec_of("llama");

    spec.fused = true;
    open_model(&spec);
    spec.fused = false;
    path = tiny_make(&spec); /* of the reference */
    for (int c = 0; c < COUNT(cases); c += 3)
        expect_case(&cases[c], 0, 2, 2);
    close_model();
}

/* Ranks that are no multiple of anything, on every instruction set. */
Test(lora, odd_ranks)
{
    static const int ranks[] = { 1, 3, 16, 33, 48 };
    tiny_spec spec = spec_of("qwen3");

    spec.type = TLPI_Q8_0;
    open_model(&spec);
    for (int i = 0; i < COUNT(ranks); i++) {
        const lora_case *c = &cases[i % 2 ? 3 : 0];
        tlp_plan *plan = lora_parse(model, c->plan, 0, ranks[i]);
        double *want = expected(c->stages, plan);

        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
            tlp_session_options o = rig_f32(1 + i % 3, 1);

            o.isa = isa;
            if (rig_has_isa(isa))
                expect_close(plan, want, &o, c->plan);
        }
        free(want);
        tlp_plan_free(plan);
    }
    close_model();
}

/* ==== bits and memory ==================================================== */

/* Neither threads nor what else is in a step change a token's bits. */
Test(lora, threads_and_batches)
{
    tiny_spec spec = spec_of("llama");

    spec.type = TLPI_Q8_0;
    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++) {
        tlp_plan *plan = lora_parse(model, cases[c].plan, 0, 3);
        tlp_session_options o = rig_f32(cases[c].n_track, 1);

        o.compute = TLP_COMPUTE_DEFAULT;
        float *want = run(plan, &o);
        for (int i = 1; i < 5; i++) {
            o.n_thread = i;
            o.n_batch = 1 + 3 * (i - 1);
            float *got = run(plan, &o);
            cr_assert_eq(memcmp(got, want, n_logit * sizeof *got), 0,
                         "%s: other bits with %d threads and steps of %d",
                         cases[c].plan, o.n_thread, o.n_batch);
            free(got);
        }
        free(want);
        tlp_plan_free(plan);
    }
    close_model();
}

static tlp_need need_of(tlp_plan *plan, const tlp_session_options *o)
{
    tlp_need need = { .struct_size = sizeof need };

    CHECK_OK(tlp_session_need(&need, plan, o, -1));
    return need;
}

/* What a session will need, before it is there, and what it holds. */
Test(lora, memory_is_counted)
{
    tiny_spec spec = spec_of("llama");

    spec.type = TLPI_Q8_0;
    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++) {
        tlp_plan *plan = lora_parse(model, cases[c].plan, 0, 24);
        tlp_plan *plain = NULL;
        tlp_session *session = NULL;
        tlp_session_stats stats = { .struct_size = sizeof stats };
        tlp_session_options o = rig_f32(2 * cases[c].n_track, 1);

        CHECK_OK(tlp_plan_parse(&plain, model, cases[c].plan));
        tlp_need with = need_of(plan, &o), without = need_of(plain, &o);
        CHECK_OK(tlp_session_create(&session, plan, &o));
        CHECK_OK(tlp_session_get_stats(&stats, session));
        cr_expect_eq(stats.weight_bytes, with.weight_bytes,
                     "%s: %llu, not %llu", cases[c].plan,
                     (unsigned long long)stats.weight_bytes,
                     (unsigned long long)with.weight_bytes);
        cr_expect_eq(stats.buffer_bytes, with.buffer_bytes);
        cr_expect_gt(with.weight_bytes, without.weight_bytes);
        tlp_session_free(session);
        tlp_plan_free(plain);
        tlp_plan_free(plan);
    }
    close_model();
}

static double bytes_of(const tlp_plan *plan)
{
    const tlpi_safetensors *index = plan->adjust->index;
    double sum = 0;

    for (size_t i = 0; i < index->n_tensor; i++)
        sum += (double)index->tensor[i].n_bytes;
    return sum;
}

/* Bytes that a step reads on all ranks. */
static double bytes_read(const tlp_plan *plan, int n_rank)
{
    tlpi_dry_run run = { 0 };
    double sum = 0;

    CHECK_OK(tlpi_dry_run_create(&run, plan, n_rank));
    for (int r = 0; r < n_rank; r++)
        for (int i = 0; i < run.rank[r].n_act; i++)
            sum += run.rank[r].act[i].bytes;
    tlpi_dry_run_free(&run);
    return sum;
}

/* A step reads the bytes of LoRA, and exchanges nothing for it. */
Test(lora, cost_is_counted)
{
    tiny_spec spec = spec_of("llama");

    open_model(&spec);
    for (int c = 0; c < COUNT(cases); c++) {
        tlp_plan *plan = lora_parse(model, cases[c].plan, 0, 8), *plain = NULL;
        tlp_plan_cost with = { .struct_size = sizeof with };
        tlp_plan_cost without = { .struct_size = sizeof without };
        int n_rank = 2 * cases[c].n_track;

        CHECK_OK(tlp_plan_parse(&plain, model, cases[c].plan));
        CHECK_OK(tlp_plan_get_cost(&with, plan, n_rank));
        CHECK_OK(tlp_plan_get_cost(&without, plain, n_rank));
        cr_expect_eq(with.exchanges, without.exchanges);
        cr_expect_eq(with.comm_bytes, without.comm_bytes);
        double more = bytes_read(plan, n_rank) - bytes_read(plain, n_rank);
        cr_expect_gt(more, bytes_of(plan), "%s: %g", cases[c].plan, more);
        if (cases[c].n_track == 1) {
            more = bytes_read(plan, 1) - bytes_read(plain, 1);
            cr_expect_float_eq(more, bytes_of(plan), 1, "%s: %g, not %g",
                               cases[c].plan, more, bytes_of(plan));
        }
        tlp_plan_free(plain);
        tlp_plan_free(plan);
    }
    close_model();
}
