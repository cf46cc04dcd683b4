/*
 * test_plan_merge.c - tlp_plan_merge: the new file and its plan compute what
 * the plan with LoRA computes.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define N_TOKEN 13
#define TOLERANCE 3e-5

TestSuite(plan_merge, .timeout = 120);

static tlp_model *open_tiny(const tiny_spec *spec)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(spec), NULL));
    return m;
}

static float *logits(tlp_plan *plan)
{
    rig r = { .model = plan->model, .plan = plan };
    tlp_session_options o = rig_f32(1, 1);
    int32_t ids[N_TOKEN];

    r.n_vocab = (size_t)plan->model->hp.n_vocab;
    rig_tokens(ids, N_TOKEN, r.n_vocab, 3);
    CHECK_OK(tlp_session_create(&r.session, plan, &o));
    float *all = rig_eval(&r, 0, ids, N_TOKEN);
    tlp_session_free(r.session);
    return all;
}

static void expect_merged(const tiny_spec *spec, const char *text, int kinds,
                          const char *type, double tolerance)
{
    tlp_model *m = open_tiny(spec);
    tlp_plan *plan = lora_parse(m, text, kinds, 3), *merged = NULL;
    tlp_plan *loaded = NULL;
    tlp_quantize_result r = { .struct_size = sizeof r };
    const char *path = tiny_path("merged.gguf");
    char plan_path[256];

    strcpy(plan_path, tiny_path("merged.json"));
    CHECK_OK(tlp_plan_merge(&merged, &r, plan, path, plan_path, type, NULL));
    float *want = logits(plan), *got = logits(merged);
    size_t n = N_TOKEN * (size_t)spec->n_vocab;
    double d = rig_diff_f(want, got, n);
    cr_expect_leq(d, tolerance, "%s, %s: off by %g", text, type ? type : "", d);
    cr_expect_eq(merged->adjust != NULL, kinds != 0);
    cr_expect(!merged->adjust || !merged->adjust->lora);
    cr_expect(merged->made && strstr(merged->made, "merged_from"));
    CHECK_OK(tlp_plan_load(&loaded, merged->model, plan_path));
    float *again = logits(loaded);
    cr_expect_eq(memcmp(again, got, n * sizeof *got), 0);
    free(again);
    free(got);
    free(want);
    tlp_plan_free(loaded);
    tlp_plan_free(merged);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_merge, logits_stay)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    expect_merged(&spec, "serial", 0, NULL, TOLERANCE);
    expect_merged(&spec, "par:1-2,3-4", 0, "F32", TOLERANCE);
    expect_merged(&spec, "asym:1-3", FITTED_ALL, NULL, TOLERANCE);
    expect_merged(&spec, "nosync@2:1,2a", FITTED_ALL, NULL, TOLERANCE);
}

Test(plan_merge, parts_of_fused_tensors)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    spec.fused = true;
    expect_merged(&spec, "par:1-2", 0, NULL, TOLERANCE);
}

Test(plan_merge, files_in_several_parts)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    spec.n_split = 2;
    expect_merged(&spec, "lp:1-2", 0, NULL, TOLERANCE);
}

/* Rounding to the type is all that differs. */
Test(plan_merge, other_types)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F16;
    expect_merged(&spec, "par:1-2", 0, NULL, 2e-2);
    expect_merged(&spec, "par:1-2", 0, "Q8_0", 0.3);
}

/* Matrices with LoRA get eight bits, all other matrices stay. */
Test(plan_merge, few_bits_become_eight)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_Q4_1;
    tlp_model *m = open_tiny(&spec);
    tlp_plan *plan = lora_parse(m, "par:1-2", 0, 3), *merged = NULL;

    CHECK_OK(tlp_plan_merge(&merged, NULL, plan, tiny_path("few.gguf"), NULL,
                            NULL, NULL));
    for (int l = 0; l < spec.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_tensor *t = merged->model->w.layer[l].t[i];

            if (t && tlpi_row_is_matrix(&tlpi_layer_table[i]))
                cr_expect_eq(t->type, plan->adjust->lora[l].pair[i].rank
                                          ? TLPI_Q8_0
                                          : TLPI_Q4_1);
        }
    tlp_plan_free(merged);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void refuse(const tlp_plan *plan, const char *path,
                   const char *plan_path, const char *type,
                   const tlp_quantize_options *o, const char *text)
{
    tlp_plan *out = NULL;

    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_merge(&out, NULL, plan, path, plan_path, type, o));
    cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());
    cr_expect_null(out);
}

Test(plan_merge, refusals)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    tlp_plan *plan = lora_parse(m, "par:1-2", 0, 3), *plain = NULL;
    const tlp_quantize_options pure = { .struct_size = sizeof pure, .pure = 1 };
    const char *path = tiny_path("never.gguf");

    CHECK_OK(tlp_plan_parse(&plain, m, "par:1-2"));
    refuse(plain, path, NULL, NULL, NULL, "it has no LoRA to merge");
    refuse(plan, m->path, NULL, NULL, NULL, "own file");
    refuse(plan, path, path, NULL, NULL, "in one file");
    refuse(plan, path, NULL, "Q9_9", NULL, "Q9_9");
    refuse(plan, path, NULL, NULL, &pure, "without a type");
    refuse(plan, NULL, NULL, NULL, NULL, "path");
    cr_expect(access(path, F_OK) != 0);
    tlp_plan_free(plain);
    tlp_plan_free(plan);
    tlp_model_free(m);
}
