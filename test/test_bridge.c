/*
 * test_bridge.c - tlp_plan_bridge: linear maps in place of dropped layers.
 */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(bridge, .timeout = 300);

enum { N_CTX = 32, N_FIT = 40 * N_CTX, N_JUDGE = 6 * N_CTX };

static int32_t ids[N_FIT + N_JUDGE];
static const text_windows judged = { ids + N_FIT, N_JUDGE, N_CTX };
static tlp_session_options session;

static tlp_model *open_tiny(void)
{
    tiny_spec spec = tiny_default();
    tlp_model *m;

    spec.type = TLPI_F32;
    m = rig_open_changeable(tiny_make(&spec));
    rig_tokens(ids, N_FIT + N_JUDGE, (size_t)spec.n_vocab, 11);
    return m;
}

static tlp_bridge_options options(void)
{
    tlp_bridge_options o = TLP_BRIDGE_OPTIONS_INIT;

    session = plan_rig_session(N_CTX);
    o.session = &session;
    return o;
}

static tlp_bridge_report measure(tlp_model *m, const char *form,
                                 const tlp_bridge_options *o)
{
    tlp_bridge_report r = { .struct_size = sizeof r };
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, form));
    CHECK_OK(tlp_plan_bridge(&r, plan, ids, N_FIT, ids + N_FIT, N_JUDGE, o));
    tlp_plan_free(plan);
    return r;
}

Test(bridge, maps_bring_the_plan_closer)
{
    static const struct {
        const char *form;
        int n_gap;
    } plans[] = { { "drop:2", 1 },
                  { "drop:1-2", 1 },
                  { "drop:1,3", 2 },
                  { "drop:4", 1 },
                  { "drop:0;par:2-3", 1 } };
    tlp_bridge_options o = options();
    tlp_model *m = open_tiny();
    float *reference = text_serial_logits(m, &judged);

    for (size_t i = 0; i < TLPI_COUNT(plans); i++) {
        const char *form = plans[i].form;
        tlp_bridge_report r = measure(m, form, &o);
        double kl = text_kl(m, form, &judged, reference);

        cr_expect_float_eq(r.kl_before, kl, 1e-4 * kl, "%s: KL %g, not %g",
                           form, r.kl_before, kl);
        cr_expect_lt(r.kl_after, 0.9 * r.kl_before, "%s: KL %g, %g before",
                     form, r.kl_after, r.kl_before);
        cr_expect_eq(r.n_gap, plans[i].n_gap, "%s: %d gaps", form, r.n_gap);
        cr_expect_eq(r.n_map, r.n_gap, "%s: %d maps", form, r.n_map);
        cr_expect_eq(r.n_window, N_JUDGE / N_CTX);
        cr_expect(r.ppl_after > 1 && r.top1_after <= 1);
    }
    free(reference);
    tlp_model_free(m);
}

Test(bridge, a_layer_that_does_nothing_needs_no_map)
{
    tlp_bridge_options o = options();
    tlp_model *m = open_tiny();

    for (int i = 0; i < 2; i++) {
        const tlpi_tensor *t =
            m->w.layer[2].t[i ? TLPI_FFN_DOWN : TLPI_ATTN_OUTPUT];

        memset((void *)(uintptr_t)t->data, 0, t->n_bytes);
    }
    tlp_bridge_report r = measure(m, "drop:2", &o);

    cr_expect_eq(r.n_gap, 1);
    cr_expect_eq(r.n_map, 0);
    cr_expect_float_eq(r.kl_after, 0, 1e-9);
    tlp_model_free(m);
}

Test(bridge, a_low_rank_explains_less)
{
    tlp_bridge_options o = options();
    tlp_model *m = open_tiny();
    double full = measure(m, "drop:1-2", &o).kl_after;

    o.rank = 4;
    cr_expect_gt(measure(m, "drop:1-2", &o).kl_after, full);
    tlp_model_free(m);
}

static int cancel_later(double done, void *data)
{
    int *calls = data;

    cr_expect(done >= 0 && done <= 1);
    return --*calls == 0;
}

Test(bridge, progress_and_cancelling)
{
    tlp_bridge_report r = { .struct_size = sizeof r };
    tlp_bridge_options o = options();
    tlp_model *m = open_tiny();
    tlp_plan *plan = NULL;
    int calls = 30;

    o.progress = cancel_later;
    o.progress_data = &calls;
    CHECK_OK(tlp_plan_parse(&plan, m, "drop:2"));
    CHECK_FAILS(TLP_ECANCELED, tlp_plan_bridge(&r, plan, ids, N_FIT,
                                               ids + N_FIT, N_JUDGE, &o));
    cr_expect_eq(calls, 0);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void refuse(tlp_model *m, const char *form, const tlp_bridge_options *o,
                   tlp_status want, const char *says)
{
    tlp_bridge_report r = { .struct_size = sizeof r };
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, form));
    CHECK_FAILS(want,
                tlp_plan_bridge(&r, plan, ids, N_FIT, ids + N_FIT, N_JUDGE, o));
    cr_expect(strstr(tlp_last_error(), says), "\"%s\" expected: %s", says,
              tlp_last_error());
    tlp_plan_free(plan);
}

Test(bridge, plans_and_options_are_checked)
{
    tlp_bridge_options o = options();
    tlp_model *m = open_tiny();

    refuse(m, "serial", &o, TLP_EINVAL, "drops no layer");
    refuse(m, "drop:4;nosync@2:1", &o, TLP_ENOTSUP, "nosync");
    refuse(m, "drop:4;order:1,0,2,3", &o, TLP_ENOTSUP, "layer 0");
    o.rank = 6;
    refuse(m, "drop:2", &o, TLP_EINVAL, "rank 6");
    o.rank = 100;
    refuse(m, "drop:2", &o, TLP_EINVAL, "rank 100");
    o.rank = 0;
    o.held_out = 1;
    refuse(m, "drop:2", &o, TLP_EINVAL, "held_out 1");
    tlp_model_free(m);
}
