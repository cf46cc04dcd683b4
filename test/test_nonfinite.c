/*
 * test_nonfinite.c - logits that are no numbers: each way to a token or to a
 * figure reports them with row, sequence, position and token, on any number of
 * ranks, and leaves the sequences as they were.
 *
 * The models have zeros in the output head but for column 0, so that a logit is
 * one product; a huge factor makes it infinite.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_eval.h"
#include "tlp_tune.h"

#define N_VOCAB 288

TestSuite(nonfinite, .timeout = 120);

static const int32_t prompt[4] = { 97, 98, 99, 100 };

typedef enum kind { GOOD, INF, NOT_A_NUMBER, MASKED, ALL_MASKED } kind;

/* The logit of `token` after the prompt becomes +inf, NaN or -inf; ALL_MASKED:
 * all logits become -inf. */
typedef struct spoilt {
    kind kind;
    int32_t token;
} spoilt;

static float *data_of(tlp_model *m, tlpi_model_id id)
{
    return (float *)(uintptr_t)m->w.t[id]->data;
}

static tlp_model *open_model(void)
{
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    spec.type = TLPI_F32;
    o.no_mmap = 1; /* tensors in memory of this process, not of a file */
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &o));
    return m;
}

/* The sign of the head's input 0 after the last token of the prompt. */
static float sign_of_input(void)
{
    tlp_model *m = open_model();
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    tlp_session_options o = rig_f32(1, 1);
    const float *row = NULL;
    int d = m->hp.n_embd;
    float *head = data_of(m, TLPI_OUTPUT);

    memset(head, 0, (size_t)N_VOCAB * (size_t)d * sizeof *head);
    head[0] = 1;
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlp_session_create(&s, plan, &o));
    CHECK_OK(tlp_session_prefill(s, prompt, 4));
    CHECK_OK(tlp_session_logits(&row, s, 0));
    float sign = row[0] > 0 ? 1 : -1;
    cr_assert_neq(row[0], 0);
    tlp_session_free(s);
    tlp_plan_free(plan);
    tlp_model_free(m);
    return sign;
}

static rig open_spoilt(const spoilt *x, int n_rank)
{
    tlp_session_options o = rig_f32(n_rank, 1);
    rig r = { .model = open_model(), .n_vocab = N_VOCAB };
    size_t d = (size_t)r.model->hp.n_embd;
    float *head = data_of(r.model, TLPI_OUTPUT), sign = sign_of_input();
    float *norm = data_of(r.model, TLPI_OUTPUT_NORM);

    norm[0] = 1e12f;
    for (size_t i = 0; i < N_VOCAB; i++) {
        memset(head + i * d, 0, d * sizeof *head);
        head[i * d] =
            x->kind == ALL_MASKED ? -3e38f * sign : 1e-14f * (float)i * sign;
    }
    float *bad = head + (size_t)x->token * d;
    if (x->kind == INF)
        bad[0] = 3e38f * sign;
    else if (x->kind == MASKED)
        bad[0] = -3e38f * sign;
    else if (x->kind == NOT_A_NUMBER)
        bad[0] = NAN;
    o.n_seq = 3;
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "par:1-2"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    return r;
}

/* What the text must say about the row. */
static void expect_text(const spoilt *x, const char *where)
{
    char token[64];

    cr_assert(strstr(tlp_last_error(), where), "\"%s\" in \"%s\"", where,
              tlp_last_error());
    if (x->kind == ALL_MASKED)
        snprintf(token, sizeof token, "every logit is -inf");
    else
        snprintf(token, sizeof token, "the logit of token %d is %s", x->token,
                 x->kind == INF ? "+inf" : "NaN");
    cr_assert(strstr(tlp_last_error(), token), "\"%s\" in \"%s\"", token,
              tlp_last_error());
}

#define EXPECT(where, call)                                                    \
    do {                                                                       \
        CHECK_FAILS(TLP_ERROR, call);                                          \
        expect_text(x, where);                                                 \
    } while (0)

static const tlp_sampler_options samplers[] = {
    { .struct_size = sizeof(tlp_sampler_options) },
    { .struct_size = sizeof(tlp_sampler_options), .temperature = 1 },
    { .struct_size = sizeof(tlp_sampler_options),
      .temperature = 1,
      .top_k = 5 },
    { .struct_size = sizeof(tlp_sampler_options),
      .temperature = 1,
      .top_k = 270 },
    { .struct_size = sizeof(tlp_sampler_options),
      .temperature = 1,
      .top_p = 0.9f },
    { .struct_size = sizeof(tlp_sampler_options), .repeat_penalty = 1.1f },
};

/* Row 1 is the row of sequence 2, position 3. */
static void expect_errors(const spoilt *x, rig *r)
{
    static const int32_t seqs[4] = { 2, 2, 2, 2 };
    static const uint8_t want[4] = { 0, 0, 0, 1 };
    const char *here = "row 0 (sequence 2, position 3): ";
    tlp_batch b = { sizeof b, 4, prompt, seqs, want };
    const float *row = NULL;
    float lp[5];
    int32_t id = 7;

    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
        tlp_sampler *s = NULL;

        CHECK_OK(tlp_sampler_create(&s, r->model, &samplers[i]));
        CHECK_OK(tlp_session_clear(r->session, 2));
        CHECK_OK(tlp_session_eval(r->session, &b));
        EXPECT(here, tlp_session_sample(&id, r->session, 0, s));
        cr_assert_eq(id, -1);
        o.seq = 2;
        EXPECT(here, tlp_session_generate(NULL, r->session, s, &o));
        cr_assert_eq(tlp_session_pos(r->session, 2), 4);
        EXPECT(here, tlp_session_logits(&row, r->session, 0));
        cr_assert_null(row);
        EXPECT(here, tlp_session_logits(&row, r->session, 0)); /* again */
        tlp_sampler_free(s);
    }
    CHECK_OK(tlp_session_clear(r->session, 2));
    CHECK_OK(tlp_session_eval(r->session, &b));
    EXPECT("sequence 2, position 3: ",
           tlp_session_score(lp, r->session, 2, prompt, 2));
    cr_assert_eq(tlp_session_pos(r->session, 2), 4);
}

static void try_ranks(const spoilt *x)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        rig r = open_spoilt(x, ranks);

        expect_errors(x, &r);
        rig_close(&r);
    }
}

Test(nonfinite, infinite)
{
    try_ranks(&(spoilt){ INF, 3 });
    try_ranks(&(spoilt){ INF, 287 });
}

Test(nonfinite, not_a_number)
{
    try_ranks(&(spoilt){ NOT_A_NUMBER, 0 });
    try_ranks(&(spoilt){ NOT_A_NUMBER, 200 });
}

Test(nonfinite, every_token_masked)
{
    try_ranks(&(spoilt){ ALL_MASKED, 0 });
}

/* -inf alone forbids a token and is no fault. */
Test(nonfinite, one_token_masked)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        rig r = open_spoilt(&(spoilt){ MASKED, 287 }, ranks);
        rig good = open_spoilt(&(spoilt){ GOOD, 0 }, ranks);
        const int32_t tail[1] = { 286 }, masked[1] = { 287 };
        const float *row = NULL;
        float lp[2];

        for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
            tlp_sampler *s = NULL;
            int32_t id = -1;

            CHECK_OK(tlp_sampler_create(&s, r.model, &samplers[i]));
            CHECK_OK(tlp_session_clear(r.session, 0));
            CHECK_OK(tlp_session_prefill(r.session, prompt, 4));
            CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
            cr_assert(id >= 0 && id != 287, "token %d", id);
            tlp_sampler_free(s);
        }
        CHECK_OK(tlp_session_logits(&row, r.session, 0));
        cr_assert_eq(row[287], -INFINITY);
        CHECK_OK(tlp_session_score(lp, r.session, 0, tail, 1));
        cr_assert(isfinite(lp[0]));
        CHECK_OK(tlp_session_clear(r.session, 0));
        CHECK_OK(tlp_session_prefill(r.session, prompt, 4));
        CHECK_OK(tlp_session_score(lp, r.session, 0, masked, 1));
        cr_assert_eq(lp[0], -INFINITY);
        rig_close(&r);
        rig_close(&good);
    }
}

/* ==== bias =============================================================== */

/* A bias of +inf wins over a logit of -inf; a batch of biases that forbid all
 * is refused with the row. */
Test(nonfinite, bias)
{
    rig r = open_spoilt(&(spoilt){ MASKED, 287 }, 2);
    tlp_logit_bias sure = { 287, INFINITY }, none[N_VOCAB];
    int32_t id = -1;

    for (int32_t i = 0; i < N_VOCAB; i++)
        none[i] = (tlp_logit_bias){ i, -INFINITY };
    CHECK_OK(tlp_session_prefill(r.session, prompt, 4));
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        tlp_sampler_options o = samplers[i];
        tlp_sampler *s = NULL;

        o.bias = &sure;
        o.n_bias = 1;
        CHECK_OK(tlp_sampler_create(&s, r.model, &o));
        CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
        cr_assert_eq(id, 287, "options %zu: token %d", i, id);
        tlp_sampler_free(s);
        o.bias = none;
        o.n_bias = N_VOCAB;
        CHECK_OK(tlp_sampler_create(&s, r.model, &o));
        CHECK_FAILS(TLP_ERROR, tlp_session_sample(&id, r.session, 0, s));
        cr_assert(strstr(tlp_last_error(), "row 0 (sequence 0, position 3)"),
                  "%s", tlp_last_error());
        tlp_sampler_free(s);
    }
    rig_close(&r);
}

/* ==== faults inside the layers ============================================ */

typedef struct layer_fault {
    tlpi_layer_id tensor;
    float value;
} layer_fault;

/* Rounding to 8 or 16 bits must not turn a fault into a number. */
static void expect_fault(const layer_fault *x, tlpi_dtype type,
                         const tlp_session_options *o)
{
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    tlp_model *m = NULL;
    const float *row = NULL;

    spec.arch = "qwen2";
    spec.type = type;
    mo.no_mmap = 1;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &mo));
    const tlpi_tensor *t = m->w.layer[1].t[x->tensor];
    ((float *)(uintptr_t)t->data)[2] = x->value;
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlp_session_create(&s, plan, o));
    CHECK_OK(tlp_session_prefill(s, prompt, 4));
    cr_assert_eq(tlp_session_logits(&row, s, 0), TLP_ERROR,
                 "tensor %d with %g, type %d, isa %d, cache %d, compute %d",
                 x->tensor, (double)x->value, type, o->isa, o->kv_type,
                 o->compute);
    tlp_session_free(s);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(nonfinite, layers)
{
    static const tlpi_dtype types[] = { TLPI_F32, TLPI_BF16, TLPI_Q8_0,
                                        TLPI_Q4_0 };
    static const int caches[] = { TLP_KV_F32, TLP_KV_F16, TLP_KV_BF16,
                                  TLP_KV_Q8_0 };
    static const layer_fault faults[] = {
        { TLPI_ATTN_K_BIAS, NAN },       { TLPI_ATTN_K_BIAS, INFINITY },
        { TLPI_ATTN_V_BIAS, NAN },       { TLPI_ATTN_V_BIAS, INFINITY },
        { TLPI_ATTN_V_BIAS, -INFINITY }, { TLPI_FFN_NORM, NAN },
        { TLPI_FFN_NORM, INFINITY },
    };

    for (size_t i = 0; i < TLPI_COUNT(types); i++)
        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++)
            for (size_t k = 0; rig_has_isa(isa) && k < TLPI_COUNT(caches); k++)
                for (size_t n = 0; n < TLPI_COUNT(faults); n++) {
                    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
                    o.n_thread = 1;
                    o.isa = isa;
                    o.kv_type = caches[k];
                    expect_fault(&faults[n], types[i], &o);
                }
}

/* ==== all that stands on sessions ======================================== */

Test(nonfinite, plans_and_drills)
{
    static const kind kinds[] = { INF, NOT_A_NUMBER, ALL_MASKED };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        rig r = open_spoilt(&(spoilt){ kinds[i], 200 }, 1);
        tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;
        tlp_plan_adjust_options ao = TLP_PLAN_ADJUST_OPTIONS_INIT;
        tlp_plan_adjust_report report = { .struct_size = sizeof report };
        tlp_plan *plan = NULL;
        tlp_drill d = { .struct_size = sizeof d, .prompt = "abcd" };
        int32_t ids[64], exact = 0;

        rig_tokens(ids, 64, N_VOCAB, 1);
        memcpy(ids, prompt, sizeof prompt);
        o.depth = 4;
        CHECK_FAILS(TLP_ERROR, tlp_plan_make(&plan, r.model, ids, 64, &o));
        cr_assert_null(plan);
        cr_assert(strstr(tlp_last_error(), "window"), "%s", tlp_last_error());
        ao.gains = 1;
        ao.session =
            &(tlp_session_options){ sizeof(tlp_session_options), .n_ctx = 16 };
        CHECK_FAILS(TLP_ERROR,
                    tlp_plan_adjust(&plan, &report, r.plan, ids, 64, &ao));
        cr_assert_null(plan);
        memcpy(d.answer, "e", 2);
        CHECK_FAILS(TLP_ERROR, tlp_drill_run(&exact, &d, r.model, r.session));
        rig_close(&r);
    }
}
