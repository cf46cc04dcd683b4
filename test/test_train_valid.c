/*
 * test_train_valid.c - tlp_plan_train: a text of its own for validation.
 */
#include <string.h>

#include "support/text_kl.h"
#include "support/tiny.h"
#include "support/train_rig.h"

TestSuite(train_valid, .timeout = 300);

/* The first point scores the plan on the text for validation, and the rest of
 * the text is trained on. */
static void see_first(const tlp_train_point *p, void *arg)
{
    if (p->n_token == 0)
        *(double *)arg = p->kl;
}

Test(train_valid, the_first_tokens_are_scored)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    tlp_plan_train_options o = train_options();
    tlp_plan_train_report r = { .struct_size = sizeof r };
    const text_windows valid = { train_ids, 3 * TRAIN_CTX + 5, TRAIN_CTX };
    float *reference = text_serial_logits(m, &valid);
    double first = 0, want = text_compare(m, plan, &valid, reference).kl;

    o.norms = 1;
    o.rate = 1e-2;
    o.held_out = 0;
    o.n_held_out_token = valid.n;
    o.n_token = 0; /* the rest of the text once */
    o.point = see_first;
    o.point_data = &first;
    CHECK_OK(
        tlp_plan_train(&trained, &r, plan, NULL, train_ids, TRAIN_TOKENS, &o));
    cr_expect_eq(r.n_held_out, 4);
    cr_expect_eq(r.n_window, 4 + 17, "%d windows", r.n_window);
    cr_expect_float_eq(first, want, 0.02 * want, "%g, not %g", first, want);
    cr_expect_eq(r.kl_before, first);
    cr_expect_float_eq(text_compare(m, trained, &valid, reference).kl,
                       r.kl_after, 0.02 * want);
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void refuse(tlp_plan *plan, int64_t n, double share, const char *says)
{
    tlp_plan_train_options o = train_options();
    tlp_plan *trained = NULL;

    o.norms = 1;
    o.held_out = share;
    o.n_held_out_token = n;
    CHECK_FAILS(TLP_EINVAL, tlp_plan_train(&trained, NULL, plan, NULL,
                                           train_ids, TRAIN_TOKENS, &o));
    cr_expect(strstr(tlp_last_error(), says), "\"%s\" expected: %s", says,
              tlp_last_error());
}

Test(train_valid, refusals)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2");

    refuse(plan, 64, 0.1, "held_out and n_held_out_token");
    refuse(plan, 1, 0, "n_held_out_token 1");
    refuse(plan, TRAIN_TOKENS - 1, 0, "n_held_out_token");
    refuse(plan, TRAIN_TOKENS + 1, 0, "n_held_out_token");
    refuse(plan, -1, 0, "n_held_out_token -1");
    refuse(plan, INT64_MAX, 0, "n_held_out_token");
    tlp_plan_free(plan);
    tlp_model_free(m);
}
