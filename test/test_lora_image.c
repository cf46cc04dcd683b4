/*
 * test_lora_image.c - LoRA in the image of a plan's adjustments: what a plan
 * file keeps, what moves with it to other files, and images that do not fit.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "support/plan_rig.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

TestSuite(lora_image, .timeout = 120);

static tlp_model *model;

static void open_model(void)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), NULL));
}

static void close_model(void)
{
    tlp_model_free(model);
}

static void expect_equal(const tlp_plan *a, const tlp_plan *b)
{
    cr_assert(a->adjust && b->adjust && a->adjust->lora && b->adjust->lora);
    for (int l = 0; l < a->model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_lowrank *x = &a->adjust->lora[l].pair[i];
            const tlpi_lowrank *y = &b->adjust->lora[l].pair[i];

            cr_assert_eq(x->rank, y->rank, "blk.%d, tensor %d", l, i);
            if (x->rank == 0)
                continue;
            cr_assert_eq(x->down.n_bytes, y->down.n_bytes);
            cr_assert_eq(x->up.n_bytes, y->up.n_bytes);
            cr_assert(!memcmp(x->down.data, y->down.data, x->down.n_bytes));
            cr_assert(!memcmp(x->up.data, y->up.data, x->up.n_bytes));
        }
}

Test(lora_image, saved_and_loaded, .init = open_model, .fini = close_model)
{
    tlp_plan *plan = lora_parse(model, "nosync@2:1,2a", FITTED_ALL, 3);
    tlp_plan *again = NULL;
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    const char *path = tiny_path("p.json");

    CHECK_OK(tlp_plan_save(plan, path));
    CHECK_OK(tlp_plan_load(&again, model, path));
    expect_equal(plan, again);
    cr_expect_str_eq(plan->adjust->sha256, again->adjust->sha256);
    CHECK_OK(tlp_plan_get_adjust(&info, again));
    cr_expect_eq(info.n_lora, 7 * 5 - 7 * 5 / 3);
    cr_expect_gt(info.n_low_rank, 0);
    tlp_plan_free(again);
    tlp_plan_free(plan);
}

Test(lora_image, carried_to_another_type, .init = open_model,
     .fini = close_model)
{
    tlp_plan *plan = lora_parse(model, "par:1-2", 0, 3), *there = NULL;
    tlp_quantize_result r = { .struct_size = sizeof r };
    const char *path = tiny_path("q8.gguf");

    CHECK_OK(tlp_plan_quantize(&there, &r, plan, path, NULL, "Q8_0", NULL));
    expect_equal(plan, there);
    tlp_plan_free(there);
    tlp_plan_free(plan);
}

/* Other fits start from the plain plan, and would lose what LoRA was trained
 * with. */
Test(lora_image, adjusting_and_baking_refuse_it, .init = open_model,
     .fini = close_model)
{
    enum { N = 256 };
    tlp_plan *plan = lora_parse(model, "nosync@2:1", 0, 3), *out = NULL;
    tlp_session_options session = plan_rig_session(32);
    tlp_plan_adjust_options a = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan_bake_options b = TLP_PLAN_BAKE_OPTIONS_INIT;
    int32_t ids[N];

    rig_tokens(ids, N, (size_t)model->hp.n_vocab, 3);
    a.session = b.session = &session;
    a.norms = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_plan_adjust(&out, NULL, plan, ids, N, &a));
    cr_expect(strstr(tlp_last_error(), "LoRA"), "%s", tlp_last_error());
    CHECK_FAILS(TLP_EINVAL, tlp_plan_bake(&out, NULL, plan, tiny_path("b.gguf"),
                                          ids, N, &b));
    cr_expect(strstr(tlp_last_error(), "adjustments"), "%s", tlp_last_error());
    tlp_plan_free(plan);
}

/* ==== images that do not fit ============================================= */

enum { MOST = 3 };

typedef struct bad_image {
    const char *plan;
    struct {
        const char *name;
        int rows, cols;
        tlpi_dtype type;
    } part[MOST];
    tlp_status st;
    const char *text; /* part of the error's */
} bad_image;

/* n_embd 96, n_ff 160, 6 query heads and 3 kv heads of 16, 5 layers. */
static const bad_image bad[] = {
    { "serial",
      { { "blk.0.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "blk.0.attn_q: lora_a has rank 2, lora_b has 0" },
    { "serial",
      { { "blk.1.ffn_up.lora_b", 160, 2, TLPI_F16 } },
      TLP_EFORMAT,
      "blk.1.ffn_up: lora_a has rank 0, lora_b has 2" },
    { "serial",
      { { "blk.0.attn_q.lora_a", 2, 96, TLPI_F32 },
        { "blk.0.attn_q.lora_b", 96, 3, TLPI_F32 } },
      TLP_EFORMAT,
      "lora_a has rank 2, lora_b has 3" },
    { "serial",
      { { "blk.0.attn_k.lora_b", 96, 2, TLPI_F32 } },
      TLP_EFORMAT,
      "tensor blk.0.attn_k.lora_b: 2 dims, [96][2]; [48][rank] expected" },
    { "serial",
      { { "blk.0.ffn_down.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "[rank][160] expected" },
    { "serial",
      { { "blk.0.attn_q.lora_a", 97, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "rank 97, at most 96 expected" },
    { "serial",
      { { "blk.0.attn_q.lora_a", 0, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "1 dims, [1][96]" },
    { "serial",
      { { "blk.0.attn_q.lora_a", 2, 96, TLPI_BF16 } },
      TLP_ENOTSUP,
      "type BF16, F32 or F16 expected" },
    { "serial",
      { { "blk.5.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_EMISMATCH,
      "the layer does not run in this plan" },
    { "drop:3",
      { { "blk.3.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_EMISMATCH,
      "the layer does not run in this plan" },
    { "merge:1-2",
      { { "blk.1.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_ENOTSUP,
      "mode merge cannot run LoRA" },
    { "lp-code:1-2",
      { { "blk.2.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_ENOTSUP,
      "mode lp-code cannot run LoRA" },
    { "serial",
      { { "blk.0.attn_q.lora_c", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "is not known" },
    { "serial",
      { { "blk.0.attn_norm.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "is not known" },
    { "serial",
      { { "blk.00.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "is not known" },
    { "serial",
      { { "blk.0.attn_q.weight.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "is not known" },
    { "nosync@2:1",
      { { "blk.1.track.0.attn_q.lora_a", 2, 96, TLPI_F32 } },
      TLP_EFORMAT,
      "is not known" },
};

static void *image_of(const bad_image *b, float fill, size_t *n)
{
    const tlpi_safetensors_meta meta[] = {
        { "tlp_adjust", "1" },
        { "model", tlpi_model_fingerprint(model) },
        { "plan", b->plan },
    };
    tlpi_safetensors_part part[MOST] = { 0 };
    size_t n_part = 0;
    void *image = NULL;

    for (; n_part < MOST && b->part[n_part].name; n_part++) {
        tlpi_safetensors_part *p = &part[n_part];
        int rows = b->part[n_part].rows;

        snprintf(p->name, sizeof p->name, "%s", b->part[n_part].name);
        p->type = b->part[n_part].type;
        p->n_dim = rows ? 2 : 1;
        p->ne[0] = b->part[n_part].cols;
        p->ne[1] = rows ? rows : 1;
    }
    CHECK_OK(tlpi_safetensors_lay_out(&model->env, part, n_part, meta,
                                      TLPI_COUNT(meta), &image, n));
    for (size_t i = 0; i < n_part; i++)
        for (int64_t k = 0; k < part[i].ne[0] * part[i].ne[1]; k++)
            tlpi_quantize(
                part[i].type, &fill,
                part[i].data + (size_t)k * tlpi_row_bytes(part[i].type, 1), 1);
    return image;
}

static void expect_refused(const bad_image *b, float fill)
{
    tlp_plan *plain = NULL, *plan = NULL;
    size_t n = 0;

    CHECK_OK(tlp_plan_parse(&plain, model, b->plan));
    void *image = image_of(b, fill, &n);
    CHECK_FAILS(b->st, tlpi_plan_with_adjust(&plan, plain, image, n, "x"));
    cr_expect(strstr(tlp_last_error(), b->text), "%s: %s", b->part[0].name,
              tlp_last_error());
    cr_expect_null(plan);
    tlp_plan_free(plain);
}

Test(lora_image, tensors_that_do_not_fit_are_refused, .init = open_model,
     .fini = close_model)
{
    static const bad_image infinite = {
        "serial",
        { { "blk.0.attn_q.lora_a", 2, 96, TLPI_F16 },
          { "blk.0.attn_q.lora_b", 96, 2, TLPI_F32 } },
        TLP_EFORMAT,
        "is not a finite number"
    };

    for (size_t i = 0; i < TLPI_COUNT(bad); i++)
        expect_refused(&bad[i], 1);
    expect_refused(&infinite, INFINITY);
}
