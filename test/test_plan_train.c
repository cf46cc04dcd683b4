/*
 * test_plan_train.c - tlp_plan_train: what it gains, what it writes, equal bits
 * for any number of threads, refusals.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/plan.h"
#include "support/random_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/train_rig.h"
#include "support/written.h"

TestSuite(plan_train, .timeout = 300);

/* ==== what training gains ================================================ */

static void expect_gain(tlpi_dtype type, const char *text,
                        const tlp_plan_train_options *o, double share)
{
    train_expect_gain("llama", type, text, o, share);
}

Test(plan_train, matrices)
{
    tlp_plan_train_options o = train_options();

    o.full = 1;
    expect_gain(TLPI_F32, "par:1-2", &o, 0.6);
    expect_gain(TLPI_F32, "nosync@2:1,2a", &o, 0.6);
    expect_gain(TLPI_Q8_0, "asym:1-2;lp:3-4", &o, 0.6);
}

Test(plan_train, lora)
{
    tlp_plan_train_options o = train_options();

    o.rank = 8;
    o.rate = 3e-3;
    expect_gain(TLPI_F16, "par:1-2,3-4", &o, 0.7);
    expect_gain(TLPI_F16, "nosync@2:1f,3", &o, 0.7);
}

Test(plan_train, norms_and_gains)
{
    tlp_plan_train_options o = train_options();

    o.norms = o.gains = 1;
    o.rate = 1e-2;
    expect_gain(TLPI_F16, "par:1-2,3-4", &o, 0.98);
    expect_gain(TLPI_F16, "nosync@2:1f,3", &o, 0.98);
}

/* The points of a training whose first phase is local. */
typedef struct phases {
    int n[2]; /* not local, local */
    int64_t last_local;
    double first[2], last[2]; /* loss */
    bool wrong;
} phases;

static void see_phase(const tlp_train_point *p, void *arg)
{
    phases *s = arg;

    s->wrong |= p->local && s->n[0] > 1; /* the first point has no loss */
    if (p->local)
        s->last_local = p->n_token;
    if (s->n[p->local]++ == (p->local ? 0 : 1))
        s->first[p->local] = p->loss;
    s->last[p->local] = p->loss;
}

Test(plan_train, local_losses_first)
{
    tlp_plan_train_options o = train_options();
    phases s = { .last_local = 0 };

    o.full = 1;
    o.point = see_phase;
    o.point_data = &s;
    o.n_local_token = o.n_token; /* no other phase */
    expect_gain(TLPI_F32, "par:1-2", &o, 0.8);
    cr_expect(s.n[0] == 1 && s.n[1] >= 10 && !s.wrong);
    cr_expect_lt(s.last[1], s.first[1]);
    cr_expect_lt(s.last[1], 1, "a section is worse than none: %g", s.last[1]);

    s = (phases){ .last_local = 0 };
    o.n_local_token = o.n_token / 3;
    expect_gain(TLPI_F32, "nosync@2:1,2a;par:3-4", &o, 0.8);
    cr_expect(s.n[0] >= 20 && s.n[1] >= 10 && !s.wrong);
    cr_expect_eq(s.last_local, o.n_local_token);
}

Test(plan_train, matrices_and_norms_together)
{
    tlp_plan_train_options o = train_options();

    o.full = o.norms = 1;
    expect_gain(TLPI_F16, "nosync@2:1,2a", &o, 0.6);
}

/* Corrections that a plan has, here random ones, go on to be trained. */
Test(plan_train, an_adjusted_plan)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *adjusted = NULL,
             *trained = NULL;
    tlp_plan_train_options o = train_options();
    tlp_plan_train_report r = { .struct_size = sizeof r };
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    float *reference = text_serial_logits(m, &train_text);

    CHECK_OK(fitted_plan(&adjusted, plan, FITTED_ATTN_IN | FITTED_OUT, 8, 3));
    o.corrections = 1;
    CHECK_OK(tlp_plan_train(&trained, &r, adjusted, NULL, train_ids,
                            TRAIN_TOKENS, &o));
    double before = text_compare(m, adjusted, &train_text, reference).kl;
    double after = text_compare(m, trained, &train_text, reference).kl;

    cr_expect_lt(after, 0.98 * before, "KL %g, %g before", after, before);
    CHECK_OK(tlp_plan_get_adjust(&info, trained));
    cr_expect_gt(info.n_low_rank, 0);
    cr_expect_eq(info.n_norm, 0);
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void see_rate(const tlp_train_point *p, void *arg)
{
    double *highest = arg;

    *highest = fmax(*highest, p->rate);
}

/* Train with the rate that stands for 0, whether that helps or not; return the
 * highest rate of the points, the peak of a training is between two. */
static double default_rate(const tlp_plan *plan, int lora)
{
    tlp_plan_train_options o = train_options();
    tlp_plan *trained = NULL;
    double highest = 0;

    o.norms = !lora;
    o.rank = lora;
    o.rate = 0;
    o.point = see_rate;
    o.point_data = &highest;
    tlp_status st =
        tlp_plan_train(&trained, NULL, plan, NULL, train_ids, TRAIN_TOKENS, &o);
    cr_expect(st == TLP_OK || st == TLP_ENOGAIN, "%s", tlp_last_error());
    tlp_plan_free(trained);
    return highest;
}

Test(plan_train, the_rate_depends_on_the_plan)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *adjusted = NULL;

    CHECK_OK(fitted_plan(&adjusted, plan, FITTED_ATTN_IN | FITTED_OUT, 8, 3));
    const double got[] = { default_rate(plan, 0), default_rate(adjusted, 0),
                           default_rate(adjusted, 4) };
    const double expected[] = { 1e-4, 4e-5, 1e-3 };

    for (size_t i = 0; i < TLPI_COUNT(got); i++)
        cr_expect(got[i] > 0.9 * expected[i] && got[i] <= expected[i],
                  "rate %g, %g expected", got[i], expected[i]);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Rounding to four bits would undo what training changed: trained matrices get
 * eight, all other matrices stay. */
Test(plan_train, few_bits_become_eight)
{
    tlp_plan_train_options o = train_options();
    tlp_model *m = train_model(TLPI_Q4_1);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    float *reference = text_serial_logits(m, &train_text);

    o.full = 1;
    CHECK_OK(tlp_plan_train(&trained, NULL, plan, tiny_path("eight.gguf"),
                            train_ids, TRAIN_TOKENS, &o));
    const tlpi_layer *l = trained->model->w.layer;

    cr_expect_eq(l[1].t[TLPI_FFN_UP]->type, TLPI_Q8_0);
    cr_expect_eq(l[3].t[TLPI_FFN_UP]->type, m->w.layer[3].t[TLPI_FFN_UP]->type);
    cr_expect_lt(
        text_compare(trained->model, trained, &train_text, reference).kl,
        0.8 * text_compare(m, plan, &train_text, reference).kl);
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== equal bits ========================================================= */

/* The bytes of the trained file. */
static char *trained_bytes(const char *text, const tlp_plan_train_options *o,
                           size_t *n)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, text), *trained = NULL;
    const char *path = tiny_path("trained.gguf");
    FILE *f;
    char *data;

    CHECK_OK(
        tlp_plan_train(&trained, NULL, plan, path, train_ids, TRAIN_TOKENS, o));
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
    f = fopen(path, "rb");
    cr_assert(f && fseek(f, 0, SEEK_END) == 0);
    *n = (size_t)ftell(f);
    rewind(f);
    data = malloc(*n);
    cr_assert(data && fread(data, 1, *n, f) == *n);
    fclose(f);
    return data;
}

Test(plan_train, equal_bits_for_any_number_of_threads)
{
    tlp_plan_train_options o = train_options();
    size_t n[3];
    char *bytes[3];

    o.full = 1;
    o.n_token = 0;
    for (int i = 0; i < 3; i++) {
        o.seed = i == 2;
        train_session.n_thread = train_session.n_thread_prefill =
            i == 1 ? 3 : 1;
        o.max_bytes = i == 1 ? 1 : 0; /* no tape of its own for any stage */
        bytes[i] = trained_bytes("nosync@2:1,2a", &o, &n[i]);
    }
    cr_assert(n[0] == n[1] && n[0] == n[2]);
    cr_expect(memcmp(bytes[0], bytes[1], n[0]) == 0,
              "another number of threads gives other bits");
    cr_expect(memcmp(bytes[0], bytes[2], n[0]) != 0,
              "another seed gives equal bits");
    for (int i = 0; i < 3; i++)
        free(bytes[i]);
}

/* Without memory every window and stage is run again in every step, and every
 * product converts its matrix.  The plan's first trained stage has layers
 * before it; in the second plan the stream differs between tracks there. */
Test(plan_train, equal_bits_for_any_memory)
{
    static const char *const text[] = { "par:2-3", "nosync@2:1f,2" };
    static const uint64_t memory[] = { 1, 100000, 300000, 0 };
    tlp_plan_train_options o = train_options();

    o.rank = 4;
    for (size_t i = 0; i < TLPI_COUNT(text); i++) {
        size_t n, n_more;
        o.max_bytes = memory[0];
        char *bytes = trained_bytes(text[i], &o, &n);

        for (size_t k = 1; k < TLPI_COUNT(memory); k++) {
            o.max_bytes = memory[k];
            char *more = trained_bytes(text[i], &o, &n_more);

            cr_expect(n == n_more && memcmp(bytes, more, n) == 0,
                      "%s: %d bytes", text[i], (int)memory[k]);
            free(more);
        }
        free(bytes);
    }
}

/* ==== points, cancelling ================================================= */

typedef struct seen {
    int n;
    int64_t token;
    bool wrong;
} seen;

static void see(const tlp_train_point *p, void *arg)
{
    seen *s = arg;

    s->wrong |= s->n == 0 ? p->n_token != 0 || !isnan(p->loss)
                          : p->n_token <= s->token || !(p->loss > 0);
    s->wrong |= !(p->kl > 0) || !(p->ppl > 1) || !(p->top1_agreement <= 1);
    s->token = p->n_token;
    s->n++;
}

Test(plan_train, points_and_progress)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    tlp_plan_train_options o = train_options();
    written_meter meter = { .calls = 0 };
    seen s = { .n = 0 };

    o.norms = 1;
    o.seconds = 1000; /* n_token goes before it */
    o.point = see;
    o.point_data = &s;
    o.progress = written_count;
    o.progress_data = &meter;
    CHECK_OK(tlp_plan_train(&trained, NULL, plan, NULL, train_ids, TRAIN_TOKENS,
                            &o));
    cr_expect(s.n >= 20 && !s.wrong, "%d points", s.n);
    cr_expect_eq(s.token, o.n_token);
    cr_expect(!meter.backwards && meter.last == 1, "progress ends at %g",
              meter.last);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_train, cancelled_training_leaves_nothing)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    tlp_plan_train_options o = train_options();
    const char *path = tiny_path("cancelled.gguf");
    int n_beside = written_n_beside(path);

    o.full = 1;
    o.progress = written_count;
    for (int at = 1; at < 60; at += 19) {
        written_meter meter = { .cancel_at = at };

        o.progress_data = &meter;
        CHECK_FAILS(TLP_ECANCELED, tlp_plan_train(&trained, NULL, plan, path,
                                                  train_ids, TRAIN_TOKENS, &o));
        cr_expect_eq(meter.calls, at);
        cr_expect_null(trained);
        cr_expect_eq(written_n_beside(path), n_beside);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* With `keep`, cancelling after some progress hands out the best state. */
Test(plan_train, a_cancelled_training_can_be_kept)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    tlp_plan_train_options o = train_options();
    tlp_plan_train_report r = { .struct_size = sizeof r };
    written_meter meter = { .cancel_at = 30 };
    float *reference = text_serial_logits(m, &train_text);

    o.full = o.keep = 1;
    o.progress = written_count;
    o.progress_data = &meter;
    CHECK_OK(tlp_plan_train(&trained, &r, plan, tiny_path("kept.gguf"),
                            train_ids, TRAIN_TOKENS, &o));
    cr_expect_eq(r.canceled, 1);
    cr_expect(r.n_token > 0 && r.n_token <= 30 * TRAIN_CTX);
    cr_expect_lt(
        text_compare(trained->model, trained, &train_text, reference).kl,
        text_compare(m, plan, &train_text, reference).kl);
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== refusals =========================================================== */

static void refuse(tlp_model *m, const char *text, const char *path,
                   const tlp_plan_train_options *o, tlp_status want,
                   const char *says)
{
    tlp_plan *plan = train_plan(m, text), *trained = NULL;

    CHECK_FAILS(want, tlp_plan_train(&trained, NULL, plan, path, train_ids,
                                     TRAIN_TOKENS, o));
    cr_expect(strstr(tlp_last_error(), says), "\"%s\" expected: %s", says,
              tlp_last_error());
    cr_expect_null(trained);
    tlp_plan_free(plan);
}

Test(plan_train, plans_and_options_are_checked)
{
    tlp_model *m = train_model(TLPI_F16);
    const char *path = tiny_path("never.gguf");
    tlp_plan_train_options o = train_options(), full = train_options();

    full.full = 1;
    refuse(m, "serial", path, &full, TLP_EINVAL, "no group");
    refuse(m, "lp-code:1-2", path, &full, TLP_ENOTSUP, "lp-code");
    refuse(m, "merge:1-2", path, &full, TLP_ENOTSUP, "merge");
    refuse(m, "par:1-2", NULL, &full, TLP_EINVAL, "path");
    refuse(m, "par:1-2", m->path, &full, TLP_EINVAL, "own file");
    refuse(m, "par:1-2", path, &o, TLP_EINVAL, "one of full");
    full.rank = 4;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "full and rank");
    full.rank = 0;
    full.rate = -1;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "rate -1");
    full.rate = NAN;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "rate");
    full.rate = 0;
    full.text_share = 1.5;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "text_share 1.5");
    full.text_share = 0;
    full.type = "Q9_9";
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "Q9_9");
    full.type = NULL;
    train_session.n_rank = 2;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "n_rank 2");
    train_session.n_rank = 0;
    full.n_local_token = -1;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "n_local_token -1");
    full.n_local_token = full.n_token + 1;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "n_local_token");
    full.n_local_token = 32;
    refuse(m, "order:0,2,1,3,4;par:3-4", path, &full, TLP_ENOTSUP, "order");
    full.n_local_token = 0;
    full.n_token = -1;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "n_token -1");
    full.seconds = -1; /* though n_token would go before it */
    full.n_token = 1;
    refuse(m, "par:1-2", path, &full, TLP_EINVAL, "seconds -1");
    cr_expect(access(path, F_OK) != 0);
    tlp_model_free(m);
}

/* Steps that are far too long lead away from the serial model. */
Test(plan_train, a_training_that_does_not_help)
{
    tlp_model *m = train_model(TLPI_F16);
    tlp_plan *plan = train_plan(m, "par:1-2"), *trained = NULL;
    tlp_plan_train_options o = train_options();
    tlp_plan_train_report r = { .struct_size = sizeof r };
    const char *path = tiny_path("never.gguf");

    o.full = 1;
    o.rate = 0.5;
    o.clip = 1e9;
    o.warm_up = 1e-9;
    CHECK_FAILS(TLP_ENOGAIN, tlp_plan_train(&trained, &r, plan, path, train_ids,
                                            TRAIN_TOKENS, &o));
    cr_expect_eq(r.kl_after, r.kl_before);
    cr_expect_eq(r.n_token, 0);
    cr_expect(access(path, F_OK) != 0);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_train, fused_tensors_are_refused_before_the_work)
{
    tiny_spec spec = tiny_default();
    tlp_plan_train_options o = train_options();
    tlp_model *m = NULL;

    spec.fused = true;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(train_ids, TRAIN_TOKENS, (size_t)spec.n_vocab, 11);
    o.full = 1;
    refuse(m, "par:1-2", tiny_path("never.gguf"), &o, TLP_ENOTSUP, "fused");
    tlp_model_free(m);
}
