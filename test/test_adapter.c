/*
 * test_adapter.c - LoRA adapters in sessions: logits against the reference,
 * files that are written and read again, calls that refuse them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/adapter.h"
#include "support/plan_rig.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/ref_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define N_TOKEN 13
#define TOLERANCE 1e-4 /* sums are larger than in test_parity.c */

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static tlp_model *model;
static const char *path;
static int32_t ids[N_TOKEN];
static size_t n_logit;

static void open_model(void)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    path = tiny_make(&spec);
    CHECK_OK(tlp_model_open(&model, path, NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, spec.seed);
    n_logit = N_TOKEN * (size_t)spec.n_vocab;
}

static void close_model(void)
{
    tlp_model_free(model);
}

TestSuite(adapter, .init = open_model, .fini = close_model, .timeout = 120);

static tlp_plan *parse(const char *text)
{
    tlp_plan *p = NULL;

    CHECK_OK(tlp_plan_parse(&p, model, text));
    return p;
}

/* The file of a random adapter as a plan saves it. */
static const char *saved(int rank, uint64_t seed)
{
    tlp_plan *plain = parse("serial");
    tlp_plan *plan = lora_plan(plain, 0, rank, seed);
    const char *file = tiny_path("lora.gguf");

    CHECK_OK(tlp_plan_save_adapter(plan, file));
    tlp_plan_free(plan);
    tlp_plan_free(plain);
    return file;
}

static tlp_adapter *opened(const char *file)
{
    tlp_adapter *a = NULL;

    CHECK_OK(tlp_adapter_open(&a, model, file));
    return a;
}

/* ==== logits ============================================================= */

static void expect_close(tlp_plan *plan, const tlp_session_options *o,
                         const double *want, const char *what)
{
    rig r = { .model = model, .plan = plan, .n_vocab = n_logit / N_TOKEN };

    CHECK_OK(tlp_session_create(&r.session, plan, o));
    float *got = rig_eval(&r, 0, ids, N_TOKEN);
    double d = rig_diff(got, want, n_logit);
    cr_assert(d <= TOLERANCE, "%s, %d ranks, scale %g: off by %g of %g", what,
              o->n_rank, o->adapter_scale, d, rig_scale(want, n_logit));
    free(got);
    tlp_session_free(r.session);
}

typedef struct adapter_case {
    const char *plan, *stages; /* for the library, and for the reference */
    int n_track;
    int lora, kinds; /* the plan's own */
} adapter_case;

/* The adapter is in all layers, and beside what the plan has. */
Test(adapter, adds_to_every_plan)
{
    static const adapter_case cases[] = {
        { "serial", "0 1 2 3 4", 1, 0, 0 },
        { "serial", "0 1 2 3 4", 1, 3, 0 },
        { "par:1-2", "0 par:1,2 3 4", 1, 0, 0 },
        { "lp:1-2", "0 lp:1,2 3 4", 1, 2, FITTED_ALL },
        { "asym:0-1,3-4", "asym:0,1 2 asym:3,4", 1, 40, 0 },
        { "nosync@2:1,2a", "@2 0 1af 2a 3 4", 2, 2, FITTED_ALL },
        { "drop:3", "0 1 2 4", 1, 0, 0 },
    };
    static const double scales[] = { 0, 0.5, -1.7 };
    tlp_adapter *a = opened(saved(80, 5));

    for (int c = 0; c < COUNT(cases); c++) {
        tlp_plan *plan = cases[c].lora
                             ? lora_parse(model, cases[c].plan, cases[c].kinds,
                                          cases[c].lora)
                             : parse(cases[c].plan);
        double scale = scales[c % COUNT(scales)];
        ref_model *ref = ref_open(path);
        ref_plan p = plan->adjust ? ref_adjusted(cases[c].stages, plan)
                                  : ref_parse(cases[c].stages);

        ref_add_lora(ref, a->lora, scale != 0 ? scale : 1);
        if (plan->adjust)
            ref_add_lora(ref, plan->adjust->lora, 1);
        double *want = ref_logits(ref, &p, ids, N_TOKEN);
        for (int i = 1; i <= 2; i++) {
            tlp_session_options o = rig_f32(i * cases[c].n_track, i);

            o.adapter = a;
            o.adapter_scale = scale;
            expect_close(plan, &o, want, cases[c].plan);
        }
        free(want);
        if (plan->adjust)
            ref_adjust_free(&p);
        ref_close(ref);
        tlp_plan_free(plan);
    }
    tlp_adapter_free(a);
}

/* A session keeps its adapter alive, and counts its memory. */
Test(adapter, sessions_keep_it_alive)
{
    tlp_plan *plan = parse("par:1-2");
    tlp_adapter *a = opened(saved(4, 5));
    tlp_session_options o = rig_f32(2, 1);
    tlp_need with = { .struct_size = sizeof with };
    tlp_need without = { .struct_size = sizeof without };
    tlp_session_stats stats = { .struct_size = sizeof stats };
    rig r = { .model = model, .plan = plan, .n_vocab = n_logit / N_TOKEN };

    CHECK_OK(tlp_session_need(&without, plan, &o, -1));
    o.adapter = a;
    CHECK_OK(tlp_session_need(&with, plan, &o, -1));
    CHECK_OK(tlp_session_create(&r.session, plan, &o));
    tlp_adapter_free(a);
    CHECK_OK(tlp_session_get_stats(&stats, r.session));
    cr_expect_eq(stats.weight_bytes, with.weight_bytes);
    cr_expect_eq(stats.buffer_bytes, with.buffer_bytes);
    cr_expect_gt(with.weight_bytes, without.weight_bytes);
    free(rig_eval(&r, 0, ids, N_TOKEN));
    tlp_session_free(r.session);
    tlp_plan_free(plan);
    tlp_adapter_free(NULL);
}

/* ==== files ============================================================== */

static void expect_same(const tlpi_layer_lora *x, const tlpi_layer_lora *y)
{
    for (int l = 0; l < model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_lowrank *p = &x[l].pair[i], *q = &y[l].pair[i];

            cr_assert_eq(p->rank, q->rank);
            if (p->rank == 0)
                continue;
            cr_assert_eq(p->down.type, q->down.type);
            cr_assert(!memcmp(p->down.data, q->down.data, p->down.n_bytes));
            cr_assert(!memcmp(p->up.data, q->up.data, p->up.n_bytes));
        }
}

Test(adapter, a_plans_lora_is_read_as_it_was_written)
{
    tlp_plan *plan = lora_parse(model, "par:1-2", FITTED_ALL, 3);
    const char *file = tiny_path("lora.gguf");

    CHECK_OK(tlp_plan_save_adapter(plan, file));
    tlp_adapter *a = opened(file);
    expect_same(plan->adjust->lora, a->lora);
    tlp_adapter_free(a);
    tlp_plan_free(plan);
}

/* One alpha is for all pairs, so that pairs of lower rank get zeros. */
Test(adapter, uneven_ranks)
{
    int n_layer = model->hp.n_layer;
    tlp_plan *plain = parse("serial"), *plan = NULL;
    tlpi_fitted_stage *f = fitted_make(plain, 0, 1, 1);
    tlpi_fitted_lora *lora = malloc((size_t)n_layer * sizeof *lora);
    const char *file = tiny_path("uneven.gguf");
    void *image = NULL;
    size_t n = 0;

    float *all = lora_fill(lora, model, 4, 3);
    for (int l = 0; l < n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            if (lora[l].pair[i].rank > 0)
                lora[l].pair[i].rank = 1 + (l + i) % 4;
    CHECK_OK(tlpi_adjust_image(plain, f, lora, &image, &n));
    CHECK_OK(tlpi_plan_with_adjust(&plan, plain, image, n, "test"));
    CHECK_OK(tlp_plan_save_adapter(plan, file));
    tlp_adapter *a = opened(file);
    ref_model *ref[2] = { ref_open(path), ref_open(path) };
    ref_plan serial = ref_parse("0 1 2 3 4");
    ref_add_lora(ref[0], plan->adjust->lora, 1);
    ref_add_lora(ref[1], a->lora, 1);
    double *x = ref_logits(ref[0], &serial, ids, N_TOKEN);
    double *y = ref_logits(ref[1], &serial, ids, N_TOKEN);
    for (size_t i = 0; i < n_logit; i++)
        cr_assert_float_eq(x[i], y[i], 1e-9);
    free(x);
    free(y);
    ref_close(ref[0]);
    ref_close(ref[1]);
    tlp_adapter_free(a);
    free(all);
    free(lora);
    free(f);
    tlp_plan_free(plan);
    tlp_plan_free(plain);
}

/* ==== calls that refuse it =============================================== */

static void expect_no_session(tlp_plan *plan, const tlp_session_options *o,
                              tlp_status st, const char *text)
{
    tlp_session *s = NULL;
    tlp_need need = { .struct_size = sizeof need };

    CHECK_FAILS(st, tlp_session_create(&s, plan, o));
    cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());
    CHECK_FAILS(st, tlp_session_need(&need, plan, o, -1));
    cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());
}

Test(adapter, sessions_that_cannot_run_it)
{
    tiny_spec spec = tiny_default();
    tlp_adapter *a = opened(saved(2, 5));
    tlp_model *other = NULL;
    tlp_plan *plan = parse("lp-code:1-2"), *foreign = NULL;
    tlp_session_options o = rig_f32(1, 1);

    o.adapter = a;
    expect_no_session(plan, &o, TLP_ENOTSUP, "mode lp-code");
    tlp_plan_free(plan);
    plan = parse("merge:1-2");
    expect_no_session(plan, &o, TLP_ENOTSUP, "mode merge");
    tlp_plan_free(plan);
    plan = parse("serial");
    o.adapter_scale = NAN;
    expect_no_session(plan, &o, TLP_EINVAL, "adapter_scale");
    o.adapter = NULL;
    o.adapter_scale = 2;
    expect_no_session(plan, &o, TLP_EINVAL, "but no adapter");
    CHECK_OK(tlp_model_open(&other, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&foreign, other, "serial"));
    o.adapter = a;
    expect_no_session(foreign, &o, TLP_EMISMATCH, "another model");
    tlp_plan_free(foreign);
    tlp_model_free(other);
    tlp_plan_free(plan);
    tlp_adapter_free(a);
}

/* Everything that makes or changes plans. */
Test(adapter, plans_are_made_without_it)
{
    enum { N = 256 };
    tlp_plan *plan = parse("nosync@2:1"), *out = NULL;
    tlp_adapter *a = opened(saved(2, 5));
    tlp_session_options session = plan_rig_session(32);
    tlp_plan_adjust_options adjust = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan_bake_options bake = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan_train_options train = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_plan_make_options make = TLP_PLAN_MAKE_OPTIONS_INIT;
    int32_t text[N];

    rig_tokens(text, N, (size_t)model->hp.n_vocab, 3);
    session.adapter = a;
    adjust.session = bake.session = train.session = make.session = &session;
    adjust.norms = train.norms = 1;
    make.exchanges = 8;
    for (int i = 0; i < 4; i++) {
        tlp_status st =
            i == 0   ? tlp_plan_adjust(&out, NULL, plan, text, N, &adjust)
            : i == 1 ? tlp_plan_bake(&out, NULL, plan, tiny_path("b.gguf"),
                                     text, N, &bake)
            : i == 2 ? tlp_plan_train(&out, NULL, plan, NULL, text, N, &train)
                     : tlp_plan_make(&out, model, text, N, &make);

        cr_expect_eq(st, TLP_ENOTSUP, "%d", i);
        cr_expect(strstr(tlp_last_error(), "session option adapter"), "%d: %s",
                  i, tlp_last_error());
    }
    tlp_adapter_free(a);
    tlp_plan_free(plan);
}

Test(adapter, plans_without_lora_have_none_to_write)
{
    tlp_plan *plan = parse("par:1-2");
    tlp_plan *with = lora_parse(model, "par:1-2", 0, 2);
    const char *file = tiny_path("never.gguf");

    CHECK_FAILS(TLP_EINVAL, tlp_plan_save_adapter(plan, file));
    cr_expect(strstr(tlp_last_error(), "no LoRA"), "%s", tlp_last_error());
    CHECK_FAILS(TLP_EINVAL, tlp_plan_save_adapter(with, path));
    cr_expect(strstr(tlp_last_error(), "own file"), "%s", tlp_last_error());
    CHECK_FAILS(TLP_EINVAL, tlp_plan_save_adapter(NULL, file));
    cr_expect(access(file, F_OK) != 0);
    tlp_plan_free(with);
    tlp_plan_free(plan);
}
