/*
 * test_train_lora.c - LoRA that stays beside a plan in training, and LoRA that
 * a plan brings to it.
 */
#include <stdlib.h>
#include <string.h>

#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/train_rig.h"
#include "tlp_tune.h"

TestSuite(train_lora, .timeout = 300);

static bool same_pair(const tlpi_lowrank *a, const tlpi_lowrank *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 ||
            (!memcmp(a->down.data, b->down.data, a->down.n_bytes) &&
             !memcmp(a->up.data, b->up.data, a->up.n_bytes)));
}

static double kl_of(tlp_plan *plan, const float *reference)
{
    return text_compare(plan->model, plan, &train_text, reference).kl;
}

/* Without a path LoRA stays beside the plan, and a second training goes on from
 * it. */
Test(train_lora, lora_beside_the_plan)
{
    tlp_model *m = train_model(TLPI_Q4_1);
    tlp_plan *plan = train_plan(m, "par:1-2,3-4"), *once = NULL, *twice = NULL;
    tlp_plan_train_options o = train_options();
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    float *reference = text_serial_logits(m, &train_text);

    o.rank = 8;
    o.rate = 3e-3;
    CHECK_OK(
        tlp_plan_train(&once, NULL, plan, NULL, train_ids, TRAIN_TOKENS, &o));
    cr_assert(once->model == m);
    CHECK_OK(tlp_plan_get_adjust(&info, once));
    cr_expect_eq(info.n_lora, 4 * 7);
    o.rate = 1e-3;
    CHECK_OK(
        tlp_plan_train(&twice, NULL, once, NULL, train_ids, TRAIN_TOKENS, &o));
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
    tlp_model *m = train_model(TLPI_F32);
    tlp_plan *plan = train_plan(m, text), *out[2] = { NULL, NULL };
    tlp_plan_train_options o = train_options();
    float *reference = text_serial_logits(m, &train_text);
    double kl[2];

    o.rank = 2;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tlp_plan_train(&out[i], NULL, plan,
                                i ? tiny_path("merged.gguf") : NULL, train_ids,
                                TRAIN_TOKENS, &o));
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
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = lora_parse(m, "par:1-2", 0, 3);
    tlp_plan_train_options o = train_options();
    float *reference = text_serial_logits(m, &train_text);

    for (int i = 0; i < 2; i++) {
        tlp_plan *trained = NULL;

        o.norms = i == 0;
        o.full = i == 1;
        CHECK_OK(tlp_plan_train(&trained, NULL, plan, tiny_path("t.gguf"),
                                train_ids, TRAIN_TOKENS, &o));
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
    tlp_model *m = train_model(TLPI_F32);
    tlp_plan *plan = lora_parse(m, "par:1-2", FITTED_NORMS, 3);
    tlp_plan *trained = NULL, *other = NULL;
    tlp_plan_train_options o = train_options();
    float *reference = text_serial_logits(m, &train_text);

    o.rank = 3;
    CHECK_OK(tlp_plan_train(&trained, NULL, plan, tiny_path("t.gguf"),
                            train_ids, TRAIN_TOKENS, &o));
    cr_expect_lt(kl_of(trained, reference), kl_of(plan, reference));
    cr_assert(trained->adjust && !trained->adjust->lora);
    o.rank = 4;
    CHECK_FAILS(TLP_EINVAL, tlp_plan_train(&other, NULL, plan, NULL, train_ids,
                                           TRAIN_TOKENS, &o));
    cr_expect(strstr(tlp_last_error(), "has rank 3, 4 expected"), "%s",
              tlp_last_error());
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}
