/*
 * test_train_lora.c - LoRA that stays beside a plan in training, and LoRA that
 * a plan brings to it.
 */
#include <stdlib.h>
#include <string.h>

#include "support/plan_rig.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

TestSuite(train_lora, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 20 * N_CTX };

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };
static tlp_session_options session;

static tlp_model *open_tiny(tlpi_dtype type)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.type = type;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 11);
    return m;
}

static tlp_plan_train_options options(void)
{
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;

    session = plan_rig_session(N_CTX);
    o.session = &session;
    o.n_token = 3 * N_TOKEN;
    o.rate = 1e-3;
    o.held_out = 0.2;
    return o;
}

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *p = NULL;

    CHECK_OK(tlp_plan_parse(&p, m, text));
    return p;
}

static bool same_pair(const tlpi_lowrank *a, const tlpi_lowrank *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 ||
            (!memcmp(a->down.data, b->down.data, a->down.n_bytes) &&
             !memcmp(a->up.data, b->up.data, a->up.n_bytes)));
}

static double kl_of(tlp_plan *plan, const float *reference)
{
    return text_compare(plan->model, plan, &whole, reference).kl;
}

/* Without a path LoRA stays beside the plan, and a second training goes on from
 * it. */
Test(train_lora, lora_beside_the_plan)
{
    tlp_model *m = open_tiny(TLPI_Q4_1);
    tlp_plan *plan = parse(m, "par:1-2,3-4"), *once = NULL, *twice = NULL;
    tlp_plan_train_options o = options();
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    float *reference = text_serial_logits(m, &whole);

    o.rank = 8;
    o.rate = 3e-3;
    CHECK_OK(tlp_plan_train(&once, NULL, plan, NULL, ids, N_TOKEN, &o));
    cr_assert(once->model == m);
    CHECK_OK(tlp_plan_get_adjust(&info, once));
    cr_expect_eq(info.n_lora, 4 * 7);
    o.rate = 1e-3;
    CHECK_OK(tlp_plan_train(&twice, NULL, once, NULL, ids, N_TOKEN, &o));
    double kl[] = { kl_of(plan, reference), kl_of(once, reference),
                    kl_of(twice, reference) };
    cr_expect_lt(kl[1], 0.7 * kl[0], "KL %g, %g before", kl[1], kl[0]);
    cr_expect_lt(kl[2], 0.95 * kl[1], "KL %g, %g before", kl[2], kl[1]);
    free(reference);
    tlp_plan_free(twice);
    tlp_plan_free(once);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Written into a new file or left beside the plan: one function, but for the
 * rounding of LoRA to F16. */
static void in_a_file_or_beside(const char *text)
{
    tlp_model *m = open_tiny(TLPI_F32);
    tlp_plan *plan = parse(m, text), *out[2] = { NULL, NULL };
    tlp_plan_train_options o = options();
    float *reference = text_serial_logits(m, &whole);
    double kl[2];

    o.rank = 2;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tlp_plan_train(&out[i], NULL, plan,
                                i ? tiny_path("merged.gguf") : NULL, ids,
                                N_TOKEN, &o));
        kl[i] = kl_of(out[i], reference);
    }
    cr_expect_float_eq(kl[0], kl[1], 0.01 * kl[1], "KL %g, %g", kl[0], kl[1]);
    cr_expect_null(out[1]->adjust);
    free(reference);
    tlp_plan_free(out[1]);
    tlp_plan_free(out[0]);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(train_lora, lora_in_a_file_or_beside)
{
    in_a_file_or_beside("par:1-2");
    in_a_file_or_beside("nosync@2:1f,3");
}

/* LoRA of any layer is a part of the plan that is trained; a training of norms
 * or of whole matrices does not change it. */
Test(train_lora, lora_that_is_not_trained)
{
    tlp_model *m = open_tiny(TLPI_F16);
    tlp_plan *plan = lora_parse(m, "par:1-2", 0, 3);
    tlp_plan_train_options o = options();
    float *reference = text_serial_logits(m, &whole);

    for (int i = 0; i < 2; i++) {
        tlp_plan *trained = NULL;

        o.norms = i == 0;
        o.full = i == 1;
        CHECK_OK(tlp_plan_train(&trained, NULL, plan, tiny_path("t.gguf"), ids,
                                N_TOKEN, &o));
        cr_expect_lt(kl_of(trained, reference), kl_of(plan, reference));
        for (int l = 0; l < m->hp.n_layer; l++)
            for (int k = 0; k < TLPI_N_LAYER_TENSOR; k++)
                cr_assert(same_pair(&plan->adjust->lora[l].pair[k],
                                    &trained->adjust->lora[l].pair[k]));
        tlp_plan_free(trained);
    }
    free(reference);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* With a file, all LoRA of the plan goes into it. */
Test(train_lora, lora_of_other_layers_is_merged)
{
    tlp_model *m = open_tiny(TLPI_F32);
    tlp_plan *plan = lora_parse(m, "par:1-2", FITTED_NORMS, 3);
    tlp_plan *trained = NULL, *other = NULL;
    tlp_plan_train_options o = options();
    float *reference = text_serial_logits(m, &whole);

    o.rank = 3;
    CHECK_OK(tlp_plan_train(&trained, NULL, plan, tiny_path("t.gguf"), ids,
                            N_TOKEN, &o));
    cr_expect_lt(kl_of(trained, reference), kl_of(plan, reference));
    cr_assert(trained->adjust && !trained->adjust->lora);
    o.rank = 4;
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_train(&other, NULL, plan, NULL, ids, N_TOKEN, &o));
    cr_expect(strstr(tlp_last_error(), "has rank 3, 4 expected"), "%s",
              tlp_last_error());
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}
