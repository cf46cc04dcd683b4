/*
 * test_adjust_file.c - adjustments in files: made, saved, loaded, refused.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan/adjust.h"
#include "support/counting.h"
#include "support/fake_model.h"
#include "support/fitted.h"
#include "support/tiny.h"

enum { N_LAYER = 8, D = 16, RANK = 4 };

static tlp_model *model;
static tlp_plan *plan;

static void set_up(void)
{
    static const fake_shape shape = { N_LAYER, D, 32, 4, 2, 4, 64 };
    static const tlpi_dtype f32[] = { TLPI_F32 };

    model = fake_model(&shape, f32, 1);
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2;lp:4-6;drop:7"));
}

static void tear_down(void)
{
    tlp_plan_free(plan);
    tlp_model_free(model);
}

TestSuite(adjust_file, .init = set_up, .fini = tear_down, .timeout = 60);

static tlp_plan *with(int kinds)
{
    tlp_plan *p = NULL;

    CHECK_OK(fitted_plan(&p, plan, kinds, RANK, 7));
    return p;
}

static void check_same(const tlpi_tensor *a, const tlpi_tensor *b)
{
    cr_assert_eq(a->n_bytes, b->n_bytes);
    cr_assert_eq(memcmp(a->data, b->data, a->n_bytes), 0);
}

static void check_same_plan(const tlp_plan *a, const tlp_plan *b)
{
    cr_assert_str_eq(a->adjust->sha256, b->adjust->sha256);
    cr_assert_eq(a->adjust->n_image, b->adjust->n_image);
    for (size_t i = 0; i < a->adjust->index->n_tensor; i++)
        check_same(&a->adjust->index->tensor[i], &b->adjust->index->tensor[i]);
}

Test(adjust_file, a_saved_plan_loads_again_with_its_adjustments)
{
    const char *path = tiny_path("p2.json");
    tlp_plan *p = with(FITTED_ALL), *q = NULL;

    CHECK_OK(tlp_plan_save(p, path));
    CHECK_OK(tlp_plan_load(&q, model, path));
    check_same_plan(p, q);
    cr_expect(strstr(q->adjust->file, "p2.adjust.safetensors"));
    tlp_plan_free(q);
    tlp_plan_free(p);
}
