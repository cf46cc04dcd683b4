/*
 * test_gpt_oss.c - heads with a sink, and experts with biases: logits against
 * the equations for every type, cache and number of ranks.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/expert_rig.h"
#include "tlp_tune.h"

#define N_TOKEN EXPERT_TOKENS
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(gpt_oss, .timeout = 300);

static tiny_spec three_layers(void)
{
    tiny_spec s = tiny_default();

    s.arch = "gpt-oss";
    s.n_layer = 3;
    return s;
}

/* ==== equations ========================================================== */

/* Hidden units that ranks and blocks of 16 rows do not divide; heads that ranks
 * do not divide; one expert, all experts. */
Test(gpt_oss, of_odd_shapes)
{
    static const struct {
        int n_ff, n_head, n_head_kv, n_expert, n_used;
    } shapes[] = {
        { 160, 6, 3, 32, 4 }, { 17, 9, 3, 5, 2 }, { 100, 5, 1, 3, 3 },
        { 34, 7, 7, 1, 1 },   { 1, 4, 2, 4, 1 },
    };

    for (int i = 0; i < COUNT(shapes); i++) {
        tiny_spec s = three_layers();

        s.n_ff = shapes[i].n_ff;
        s.n_head = shapes[i].n_head;
        s.n_head_kv = shapes[i].n_head_kv;
        s.n_expert = shapes[i].n_expert;
        s.n_used = shapes[i].n_used;
        expert_expect_plans(&s, i ? 3 : 4, "odd shapes");
    }
}

Test(gpt_oss, with_scaled_positions)
{
    tiny_spec s = three_layers();

    s.yarn = 32;
    expert_expect_plans(&s, 2, "YaRN");
}

Test(gpt_oss, of_every_type)
{
    static const tlpi_dtype types[] = { TLPI_F32,  TLPI_F16,  TLPI_BF16,
                                        TLPI_Q8_0, TLPI_Q4_0, TLPI_Q5_1,
                                        TLPI_Q4_K, TLPI_Q6_K, TLPI_MXFP4 };

    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec spec = three_layers();

        spec.type = types[i];
        spec.n_embd = 256;
        spec.n_ff = 512;
        expert_subject s = expert_open(tiny_make(&spec), N_TOKEN);
        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++)
            for (int r = 1; rig_has_isa(isa) && r <= 2; r++) {
                tlp_session_options o = rig_f32(r, 1);

                o.isa = isa;
                expert_expect_close(&s, (i + isa + r) % EXPERT_MODES, &o,
                                    EXPERT_TOLERANCE,
                                    tlpi_dtype_get(types[i])->name);
            }
        expert_close(&s);
    }
}

/* Default compute rounds activations: the noise of test_parity.c, and a margin
 * for a token that turns to other experts by it. */
Test(gpt_oss, with_rounded_activations)
{
    tiny_spec spec = three_layers();

    spec.type = TLPI_MXFP4;
    spec.n_embd = 256;
    spec.n_ff = 512;
    spec.n_expert = spec.n_used = 3;
    expert_subject s = expert_open(tiny_make(&spec), N_TOKEN);
    for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
        tlp_session_options o = rig_f32(2, 1);

        o.isa = isa;
        o.compute = TLP_COMPUTE_DEFAULT;
        if (rig_has_isa(isa))
            expert_expect_close(&s, 0, &o, 0.2, "MXFP4, rounded");
    }
    expert_close(&s);
}

/* ==== caches ============================================================= */

/* Texts over several chunks and pages, on all kernels: chunks that one thread
 * adds up, and chunks that threads share. */
Test(gpt_oss, in_every_cache)
{
    static const struct {
        int type;
        double tolerance;
    } caches[] = { { TLP_KV_F32, 1e-4 },
                   { TLP_KV_F16, 0.02 },
                   { TLP_KV_BF16, 0.15 },
                   { TLP_KV_Q8_0, 0.15 } };
    tiny_spec spec = three_layers();

    spec.n_ctx = 640;
    spec.head_dim = 32;
    spec.window = 128;
    spec.n_expert = spec.n_used =
        2; /* a token reads both, whatever the scores */
    expert_subject s = expert_open(tiny_make(&spec), 560);
    for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AVX512; isa++)
        for (int i = 0; rig_has_isa(isa) && i < COUNT(caches); i++) {
            tlp_session_options o = rig_f32(1 + i % 2, 1 + isa % 2);

            o.isa = isa;
            o.n_ctx = 640;
            o.kv_type = caches[i].type;
            expert_expect_close(&s, i % EXPERT_MODES, &o, caches[i].tolerance,
                                "caches");
        }
    expert_close(&s);
}

/* One token after the other, as texts are written. */
static double decoded(const expert_subject *s, int n_rank, int n_thread,
                      int kv_type)
{
    tlp_session_options o = rig_f32(n_rank, n_thread);
    ref_plan p = ref_parse("0 1 2");
    double *want = ref_logits(s->ref, &p, s->ids, s->n), worst = 0;
    size_t n = (size_t)ref_n_vocab(s->ref);

    o.n_ctx = 640;
    o.kv_type = kv_type;
    rig r = rig_open(s->path, "serial", &o);
    for (int t = 0; t < s->n; t++) {
        float *row = rig_eval(&r, 0, &s->ids[t], 1);

        worst = fmax(worst, rig_diff(row, want + (size_t)t * n, n));
        free(row);
    }
    rig_close(&r);
    free(want);
    return worst;
}

Test(gpt_oss, token_by_token)
{
    tiny_spec spec = three_layers();

    spec.n_ctx = 640;
    spec.window = 128;
    expert_subject s = expert_open(tiny_make(&spec), 300);
    cr_expect_leq(decoded(&s, 1, 2, TLP_KV_F32), 1e-4);
    cr_expect_leq(decoded(&s, 3, 1, TLP_KV_F32), 1e-4);
    expert_close(&s);
}

/* ==== what matters ======================================================= */

static float *with_changed(const char *path, tlpi_layer_id id, float add)
{
    tlp_model *m = rig_open_changeable(path);
    tlp_session_options o = rig_f32(2, 1);
    int32_t ids[N_TOKEN];
    tlp_session *session = NULL;
    tlp_plan *plan = NULL;
    const float *row = NULL;
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_get_info(&info, m));
    rig_tokens(ids, N_TOKEN, (size_t)info.n_vocab, 1);
    const tlpi_tensor *t = m->w.layer[1].t[id];
    for (size_t i = 0; i < t->n_bytes / sizeof(float); i++)
        ((float *)(uintptr_t)t->data)[i] += add;
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlp_session_create(&session, plan, &o));
    CHECK_OK(tlp_session_prefill(session, ids, N_TOKEN));
    float *copy = NULL;
    if (tlp_session_logits(&row, session, 0) == TLP_OK) {
        copy = malloc((size_t)info.n_vocab * sizeof *copy);
        memcpy(copy, row, (size_t)info.n_vocab * sizeof *copy);
    }
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(m);
    return copy;
}

/* A router's bias matters by its differences alone. */
Test(gpt_oss, needs_sinks_and_biases)
{
    static const tlpi_layer_id ids[] = { TLPI_ATTN_SINKS, TLPI_FFN_GATE_BIAS,
                                         TLPI_FFN_UP_BIAS, TLPI_FFN_DOWN_BIAS,
                                         TLPI_ATTN_OUTPUT_BIAS };
    tiny_spec s = three_layers();
    const char *path = tiny_make(&s);
    float *plain = with_changed(path, TLPI_ATTN_SINKS, 0);

    for (int i = 0; i < COUNT(ids); i++) {
        float *other = with_changed(path, ids[i], 1);

        cr_expect_gt(rig_diff_f(plain, other, (size_t)s.n_vocab), 0.01);
        free(other);
    }
    float *other = with_changed(path, TLPI_FFN_ROUTER_BIAS, 1);
    cr_expect_lt(rig_diff_f(plain, other, (size_t)s.n_vocab), 1e-4);
    free(other);
    /* a sink that takes all weight, then a sink that takes none */
    other = with_changed(path, TLPI_ATTN_SINKS, 300);
    cr_expect(other && isfinite(other[0]));
    free(other);
    other = with_changed(path, TLPI_ATTN_SINKS, -300);
    cr_expect(other && isfinite(other[0]));
    free(other);
    free(plain);
}

Test(gpt_oss, says_that_sinks_or_biases_are_no_numbers)
{
    static const tlpi_layer_id ids[] = { TLPI_ATTN_SINKS, TLPI_FFN_GATE_BIAS,
                                         TLPI_FFN_UP_BIAS,
                                         TLPI_FFN_ROUTER_BIAS };
    tiny_spec s = three_layers();
    const char *path = tiny_make(&s);

    for (int i = 0; i < COUNT(ids); i++) {
        cr_expect_null(with_changed(path, ids[i], NAN));
        cr_expect(strstr(tlp_last_error(), "NaN"), "%s", tlp_last_error());
    }
}

/* ==== other uses ========================================================= */

/* What decides and what is added keeps its numbers. */
Test(gpt_oss, quantized)
{
    static const tlpi_layer_id kept[] = {
        TLPI_ATTN_SINKS,    TLPI_ATTN_Q_BIAS, TLPI_ATTN_OUTPUT_BIAS,
        TLPI_FFN_NORM,      TLPI_FFN_ROUTER,  TLPI_FFN_ROUTER_BIAS,
        TLPI_FFN_GATE_BIAS, TLPI_FFN_UP_BIAS, TLPI_FFN_DOWN_BIAS,
    };
    tiny_spec spec = three_layers();
    const char *path = tiny_path("quantized.gguf");
    tlp_model *m = NULL, *q = NULL;
    tlp_session_options o = rig_f32(2, 1);

    spec.n_embd = spec.n_ff = 256;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_model_quantize(NULL, m, path, "Q4_K_M", NULL));
    CHECK_OK(tlp_model_open(&q, path, NULL));
    for (int l = 0; l < spec.n_layer; l++) {
        const tlpi_layer *from = &m->w.layer[l], *to = &q->w.layer[l];

        cr_expect_eq(to->t[TLPI_FFN_GATE]->type, TLPI_Q4_K);
        for (int i = 0; i < COUNT(kept); i++) {
            const tlpi_tensor *a = from->t[kept[i]], *b = to->t[kept[i]];

            cr_assert_eq(a->n_bytes, b->n_bytes, "%s", a->name);
            cr_expect_eq(a->type, b->type, "%s", a->name);
            cr_expect(memcmp(a->data, b->data, a->n_bytes) == 0, "%s", a->name);
        }
    }
    tlp_model_free(q);
    tlp_model_free(m);
    expert_subject s = expert_open(path, N_TOKEN);
    expert_expect_close(&s, 2, &o, EXPERT_TOLERANCE, "Q4_K_M");
    expert_close(&s);
}

#define REFUSED(text, expr)                                                    \
    do {                                                                       \
        CHECK_FAILS(TLP_ENOTSUP, expr);                                        \
        cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());     \
    } while (0)

Test(gpt_oss, cannot_be_merged_trained_baked_or_run_on_devices)
{
    static const char why[] = "gpt-oss models, whose layers have experts";
    enum { N = 128 };
    static int32_t ids[N];
    tiny_spec s = three_layers();
    tlp_session_options session = rig_f32(1, 1), device = rig_f32(1, 1);
    tlp_plan_bake_options bake = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan_train_options train = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_plan *pair = NULL, *tracks = NULL, *out = NULL;
    tlp_session *none = NULL;
    tlp_model *m = NULL;

    rig_tokens(ids, N, (size_t)s.n_vocab, 5);
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    CHECK_OK(tlp_plan_parse(&pair, m, "par:0-1"));
    CHECK_OK(tlp_plan_parse(&tracks, m, "nosync:1a"));
    bake.session = train.session = &session;
    train.rank = 4;
    device.backend = TLP_BACKEND_CUDA;
    REFUSED(why, tlp_plan_parse(&out, m, "merge:0-1"));
    REFUSED(why, tlp_plan_train(&out, NULL, pair, NULL, ids, N, &train));
    REFUSED(why, tlp_plan_bake(&out, NULL, tracks, tiny_path("baked.gguf"), ids,
                               N, &bake));
    REFUSED(why, tlp_session_create(&none, pair, &device));
    tlp_plan_free(tracks);
    tlp_plan_free(pair);
    tlp_model_free(m);
}
