/*
 * test_experts.c - models whose layers have experts: logits against the
 * equations for every type and shape, and what such models are refused for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost/dry_run.h"
#include "model/model.h"
#include "support/expert_rig.h"
#include "support/plan_rig.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "tlp_tune.h"

#define N_TOKEN EXPERT_TOKENS
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(experts, .timeout = 300);

/* The models of Mixtral's kind. */
static tiny_spec mixtral(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = 3;
    s.n_expert = 5;
    s.n_used = 2;
    return s;
}

static tiny_spec qwen3moe(void)
{
    tiny_spec s = tiny_default();

    s.arch = "qwen3moe";
    s.n_layer = 3;
    return s;
}

/* ==== equations ========================================================== */

Test(experts, of_mixtral)
{
    tiny_spec s = mixtral();

    expert_expect_plans(&s, 4, "5 experts, 2 used");
    s.n_expert = 4;
    s.n_used = 1;
    expert_expect_plans(&s, 2, "4 experts, 1 used");
    s.n_expert = s.n_used = 3;
    expert_expect_plans(&s, 2, "3 experts, all used");
    s.n_expert = s.n_used = 1;
    expert_expect_plans(&s, 2, "one expert");
}

Test(experts, of_qwen3moe)
{
    tiny_spec s = qwen3moe();

    s.n_expert = 40;
    s.n_used = 8;
    expert_expect_plans(&s, 4, "40 experts, 8 used");
    s.expert_scale = 2.5f;
    expert_expect_plans(&s, 2, "weights times 2.5");
    s.raw_weights = true;
    expert_expect_plans(&s, 2, "weights of all experts");
}

/* Hidden units that ranks and blocks of 16 rows do not divide; ranks without a
 * unit. */
Test(experts, with_odd_numbers_of_units)
{
    static const int n_ff[] = { 1, 17, 34, 72, 100 };

    for (int i = 0; i < COUNT(n_ff); i++) {
        tiny_spec s = i % 2 ? mixtral() : qwen3moe();

        s.n_ff = n_ff[i];
        expert_expect_plans(&s, 4, "odd units");
    }
}

Test(experts, of_every_type)
{
    static const tlpi_dtype types[] = {
        TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q8_0,  TLPI_Q4_0,
        TLPI_Q4_1, TLPI_Q5_0,   TLPI_Q5_1,   TLPI_Q4_K,  TLPI_Q5_K,
        TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4,
    };

    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec s = i % 2 ? mixtral() : qwen3moe();

        s.type = types[i];
        s.n_embd = 256;
        s.n_ff = 512;
        const char *name = tlpi_dtype_get(types[i])->name;
        expert_subject x = expert_open(tiny_make(&s), N_TOKEN);
        tlp_session_options two = rig_f32(2, 1), one = rig_f32(1, 2);

        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
            two.isa = isa;
            if (rig_has_isa(isa))
                expert_expect_close(&x, (i + isa) % EXPERT_MODES, &two,
                                    EXPERT_TOLERANCE, name);
        }
        expert_expect_close(&x, i % EXPERT_MODES, &one, EXPERT_TOLERANCE, name);
        expert_close(&x);
    }
}

/* Other experts give other logits: else the comparisons would prove little. */
Test(experts, matter)
{
    tiny_spec s = mixtral();
    int32_t ids[N_TOKEN];
    size_t n = (size_t)(N_TOKEN * s.n_vocab);
    tlp_session_options o = rig_f32(1, 1);
    float *logits[3];

    rig_tokens(ids, N_TOKEN, (size_t)s.n_vocab, 1);
    for (int i = 0; i < 3; i++) {
        s.n_used = 1 + i;
        logits[i] = rig_run(tiny_make(&s), "serial", &o, ids, N_TOKEN);
        for (int j = 0; j < i; j++)
            cr_expect_gt(rig_diff_f(logits[i], logits[j], n), 0.1);
    }
    for (int i = 0; i < 3; i++)
        free(logits[i]);
}

/* ==== work =============================================================== */

/* A router's scores that are no numbers reach the logits. */
Test(experts, whose_router_has_nan)
{
    tiny_spec s = mixtral();
    tlp_model *m = rig_open_changeable(tiny_make(&s));
    tlp_session_options o = rig_f32(2, 1);
    tlp_session *session = NULL;
    tlp_plan *plan = NULL;
    const float *row = NULL;
    int32_t ids[2] = { 3, 4 };
    float nan = NAN;

    memcpy((char *)(uintptr_t)m->w.layer[1].t[TLPI_FFN_ROUTER]->data, &nan,
           sizeof nan);
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlp_session_create(&session, plan, &o));
    CHECK_OK(tlp_session_prefill(session, ids, 2));
    CHECK_FAILS(TLP_ERROR, tlp_session_logits(&row, session, 0));
    cr_expect(strstr(tlp_last_error(), "NaN"), "%s", tlp_last_error());
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Routers keep their numbers, stacks get the new type. */
Test(experts, quantized)
{
    tiny_spec s = qwen3moe();
    const char *path = tiny_path("quantized.gguf");
    tlp_session_options o = rig_f32(2, 1);
    tlp_model *m = NULL, *q = NULL;

    s.n_embd = s.n_ff = 256;
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    CHECK_OK(tlp_model_quantize(NULL, m, path, "Q4_K_M", NULL));
    CHECK_OK(tlp_model_open(&q, path, NULL));
    for (int l = 0; l < s.n_layer; l++) {
        const tlpi_layer *from = &m->w.layer[l], *to = &q->w.layer[l];

        cr_expect_eq(to->t[TLPI_FFN_GATE]->type, TLPI_Q4_K);
        cr_expect_neq(to->t[TLPI_FFN_DOWN]->type, TLPI_F32);
        cr_expect_eq(to->t[TLPI_FFN_ROUTER]->type, TLPI_F32);
        cr_expect_eq(memcmp(to->t[TLPI_FFN_ROUTER]->data,
                            from->t[TLPI_FFN_ROUTER]->data,
                            from->t[TLPI_FFN_ROUTER]->n_bytes),
                     0);
    }
    tlp_model_free(q);
    tlp_model_free(m);
    expert_subject x = expert_open(path, N_TOKEN);
    expert_expect_close(&x, 0, &o, EXPERT_TOLERANCE, "Q4_K_M");
    expert_close(&x);
}

/* A token reads 2 of 5 experts; many tokens read nearly all. */
Test(experts, counted)
{
    tiny_spec s = mixtral();
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    CHECK_OK(tlp_model_get_info(&info, m));
    cr_expect_eq(info.n_expert, 5);
    cr_expect_eq(info.n_expert_used, 2);
    cr_expect_eq(info.n_ff, s.n_ff);
    tlp_model_free(m);
}

/* A token reads 2 of 5 experts; of many tokens some token reads each. */
Test(experts, count_as_far_as_they_are_read)
{
    tiny_spec spec = tiny_default();
    double router, stacks;
    tlp_model *m = NULL;
    int n_ffn = 0;

    spec.n_expert = 5;
    spec.n_used = 2;
    router = 4.0 * spec.n_expert * spec.n_embd;
    stacks = 4.0 * 3 * spec.n_expert * spec.n_ff * spec.n_embd;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (int n_rank = 1; n_rank <= 2; n_rank++) {
        tlpi_dry_run run = { 0 };
        tlp_plan *plan = NULL;

        CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
        CHECK_OK(tlpi_dry_run_create(&run, plan, n_rank));
        for (int i = 0; i < run.rank[0].n_act; i++) {
            const tlpi_act *a = &run.rank[0].act[i];
            double all = stacks / n_rank;

            if (a->kind != TLPI_ACT_FFN)
                continue;
            n_ffn++;
            cr_expect_float_eq(a->bytes, router + 0.4 * all, 1);
            cr_expect_float_eq(tlpi_act_bytes(a, 1), router + 0.4 * all, 1);
            cr_expect_float_eq(tlpi_act_bytes(a, 2), router + 0.64 * all, 1);
            cr_expect_float_eq(tlpi_act_bytes(a, 99), router + all, 1);
        }
        tlpi_dry_run_free(&run);
        tlp_plan_free(plan);
    }
    cr_expect_eq(n_ffn, 2 * spec.n_layer);
    tlp_model_free(m);
}

#define REFUSED(status, text, expr)                                            \
    do {                                                                       \
        CHECK_FAILS(status, expr);                                             \
        cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());     \
    } while (0)

/* ==== what is not supported ============================================== */

static tlp_status plan_of(tlp_model *m, const char *text)
{
    tlp_plan *plan = NULL;
    tlp_status st = tlp_plan_parse(&plan, m, text);

    tlp_plan_free(plan);
    return st;
}

static tlp_status lora_of_experts(const tlp_plan *plan)
{
    static float x[512];
    tlpi_fitted_lora lora[3] = { 0 };
    tlpi_fitted_stage *f = fitted_make(plan, 0, 1, 1);
    tlp_plan *out = NULL;
    void *image = NULL;
    size_t n_image = 0;

    lora[1].pair[TLPI_FFN_UP] = (tlpi_fitted_lowrank){ 1, x, x };
    CHECK_OK(tlpi_adjust_image(plan, f, lora, &image, &n_image));
    tlp_status st = tlpi_plan_with_adjust(&out, plan, image, n_image, "test");
    tlp_plan_free(out);
    free(f);
    return st;
}

Test(experts, cannot_be_merged_trained_or_baked)
{
    enum { N = 128 };
    static int32_t ids[N];
    tiny_spec s = qwen3moe();
    tlp_session_options session = plan_rig_session(16);
    tlp_plan_bake_options bake = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan_train_options train = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_plan *pair = NULL, *tracks = NULL, *out = NULL;
    tlp_model *m = NULL;

    rig_tokens(ids, N, (size_t)s.n_vocab, 5);
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    CHECK_OK(tlp_plan_parse(&pair, m, "par:0-1"));
    CHECK_OK(tlp_plan_parse(&tracks, m, "nosync:1a"));
    bake.session = train.session = &session;
    train.rank = 4;
    REFUSED(TLP_ENOTSUP,
            "plan: mode merge is not supported for qwen3moe models, whose "
            "layers have experts",
            plan_of(m, "merge:0-1"));
    REFUSED(TLP_ENOTSUP, "training is not supported for qwen3moe models",
            tlp_plan_train(&out, NULL, pair, NULL, ids, N, &train));
    REFUSED(TLP_ENOTSUP, "baking is not supported for qwen3moe models",
            tlp_plan_bake(&out, NULL, tracks, tiny_path("baked.gguf"), ids, N,
                          &bake));
    REFUSED(TLP_ENOTSUP,
            "blk.1.ffn_up.lora_a: LoRA of experts is not supported",
            lora_of_experts(pair));
    tlp_plan_free(tracks);
    tlp_plan_free(pair);
    tlp_model_free(m);
}

Test(experts, do_not_run_on_devices)
{
    tiny_spec s = qwen3moe();
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *session = NULL;
    tlp_need need = { .struct_size = sizeof need };
    tlp_model *m = NULL;
    tlp_plan *plan = NULL;

    o.backend = TLP_BACKEND_CUDA;
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    REFUSED(TLP_ENOTSUP,
            "session option backend: devices do not run qwen3moe models, whose "
            "layers have experts",
            tlp_session_create(&session, plan, &o));
    REFUSED(TLP_ENOTSUP, "devices do not run qwen3moe models",
            tlp_session_need(&need, plan, &o, 0));
    tlp_plan_free(plan);
    tlp_model_free(m);
}
