/*
 * test_model_study.c - what tlp_model_study says of each place, against the
 * reference's half-layers and against sessions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "support/naive_study.h"
#include "support/rig.h"
#include "support/text_kl.h"
#include "support/tiny.h"
#include "tlp_tune.h"

enum { N_CTX = 14, N_TOKEN = 2 * N_CTX + 5, MAX_PLACE = 16 };

static int32_t ids[N_TOKEN];

TestSuite(model_study, .timeout = 120);

/* ==== places that a study shows ========================================== */

typedef struct seen {
    tlp_study_place place[MAX_PLACE]; /* their plans are NULL */
    double kl[MAX_PLACE];             /* of their plans, by sessions */
    char plan[MAX_PLACE][32];
    int n;
    tlp_model *model;
    const text_windows *text; /* or NULL: leave kl out */
    const float *serial;
} seen;

static void see(const tlp_study_place *p, void *data)
{
    seen *s = data;
    size_t n;

    cr_assert_lt(s->n, MAX_PLACE);
    cr_expect_eq(p->struct_size, sizeof *p);
    tlp_status st = tlp_plan_format(s->plan[s->n], sizeof s->plan[0], &n,
                                    p->plan, TLP_PLAN_TEXT);
    cr_assert(st == TLP_OK || st == TLP_ENOMEM, "%s", tlp_last_error());
    if (s->text)
        s->kl[s->n] = text_kl(s->model, s->plan[s->n], s->text, s->serial);
    s->place[s->n] = *p;
    s->place[s->n++].plan = NULL;
}

static tlp_session_options session_options(void)
{
    tlp_session_options o = rig_f32(1, 1);

    o.n_ctx = N_CTX;
    return o;
}

static seen study(tlp_model *m, const tlp_study_options *given)
{
    tlp_session_options session = session_options();
    tlp_study_options o = *given;
    seen s = { .model = m };

    o.session = o.session ? o.session : &session;
    o.place = see;
    o.place_data = &s;
    CHECK_OK(tlp_model_study(m, ids, N_TOKEN, &o));
    return s;
}

static tlp_model *open_model(const char *path, const tiny_spec *spec)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, path, NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec->n_vocab, 5);
    return m;
}

static void expect_near(const seen *s, int i, const char *name, double got,
                        double want)
{
    cr_expect_float_eq(got, want, 1e-3 * want, "%s: %s %.9g, %.9g expected",
                       s->plan[i], name, got, want);
}

static void expect_naive(const ref_model *ref, int n_track, const seen *s)
{
    double sum[MAX_PLACE][4] = { { 0 } };
    int n = N_TOKEN - 3; /* three windows */

    for (int at = 0; at < N_TOKEN; at += N_CTX) {
        int left = N_TOKEN - at;
        naive v =
            run_naive(ref, n_track, ids + at, left < N_CTX ? left : N_CTX);

        for (int i = 0; i < s->n; i++)
            naive_add_place(&v, &s->place[i], sum[i]);
        free_naive(&v);
    }
    for (int i = 0; i < s->n; i++) {
        const tlp_study_place *p = &s->place[i];

        expect_near(s, i, "step", p->step, sqrt(sum[i][0] / n));
        expect_near(s, i, "own", p->own, sqrt(sum[i][1] / n));
        expect_near(s, i, "change", p->change, sqrt(sum[i][2] / n));
        expect_near(s, i, "error", p->error, sqrt(sum[i][3] / n));
    }
}

static void check_study(const tiny_spec *spec, int n_track)
{
    const char *path = tiny_make(spec);
    tlp_model *m = open_model(path, spec);
    ref_model *ref = ref_open(path);
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;

    o.n_track = n_track;
    seen s = study(m, &o);
    cr_assert_eq(s.n, 3 * spec->n_layer - 2);
    expect_naive(ref, n_track ? n_track : 2, &s);
    ref_close(ref);
    tlp_model_free(m);
}

/* ==== errors ============================================================= */

Test(model_study, errors_are_those_of_half_layers)
{
    static const char *const archs[] = { "llama", "granite", "smollm3",
                                         "gemma3" };

    for (int i = 0; i < 4; i++) {
        tiny_spec spec = tiny_default();

        spec.arch = archs[i];
        spec.type = TLPI_F32;
        spec.out_bias = i == 0;
        check_study(&spec, i >= 2 ? 3 : 0);
    }
}

/* A track without heads of its own kv head, and a model of two layers. */
Test(model_study, uneven_tracks)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    spec.n_layer = 2;
    spec.n_embd = 80;
    spec.n_ff = 200;
    spec.n_head = 5;
    spec.n_head_kv = 1;
    check_study(&spec, 2);
    check_study(&spec, 4);
}

/* ==== prices ============================================================= */

Test(model_study, kl_is_that_of_the_plan)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_model(tiny_make(&spec), &spec);
    const text_windows text = { ids, N_TOKEN, N_CTX };
    float *serial = text_serial_logits(m, &text);
    tlp_session_options session = session_options();
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    seen s = { .model = m, .text = &text, .serial = serial };
    static const char *const plans[] = {
        "nosync@3:0a", "nosync@3:0f", "nosync@3:1a", "nosync@3:1f",
        "nosync@3:2a", "nosync@3:2f", "nosync@3:3a", "nosync@3:3f",
        "nosync@3:4a", "par:0-1",     "par:1-2",     "par:2-3",
        "par:3-4"
    };

    o.session = &session;
    o.n_track = 3;
    o.place = see;
    o.place_data = &s;
    CHECK_OK(tlp_model_study(m, ids, N_TOKEN, &o));
    cr_assert_eq(s.n, 13);
    for (int i = 0; i < s.n; i++) {
        const tlp_study_place *p = &s.place[i];
        bool pair = i >= 9;

        cr_expect_str_eq(s.plan[i], plans[i]);
        cr_expect_eq(p->kind, pair ? TLP_PLACE_PAIR : TLP_PLACE_EXCHANGE);
        cr_expect_eq(p->layer, pair ? i - 9 : i / 2);
        cr_expect_eq(p->half, pair    ? 0
                              : i % 2 ? TLP_NOSYNC_FFN
                                      : TLP_NOSYNC_ATTN);
        cr_expect_eq(p->n_track, pair ? 0 : 3);
        cr_expect_float_eq(p->kl, s.kl[i], 1e-6 + 1e-3 * s.kl[i],
                           "%s: KL %.9g, %.9g by sessions", s.plan[i], p->kl,
                           s.kl[i]);
        cr_expect_gt(p->kl, 0, "%s", s.plan[i]);
    }
    free(serial);
    tlp_model_free(m);
}

/* ==== sensitivity ======================================================== */

/* One window, so that its noise does not depend on the order of windows. */
Test(model_study, sensitivity_is_the_kl_of_noise)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    const char *path = tiny_make(&spec);
    tlp_model *m = open_model(path, &spec);
    ref_model *ref = ref_open(path);
    naive v = run_naive(ref, 2, ids, N_CTX);
    tlp_session_options session = session_options();
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    seen s = { .model = m };

    o.session = &session;
    o.place = see;
    o.place_data = &s;
    CHECK_OK(tlp_model_study(m, ids, N_CTX, &o));
    for (int i = 0; i < s.n; i++) {
        const tlp_study_place *p = &s.place[i];
        int half = p->kind == TLP_PLACE_PAIR
                       ? 2 * p->layer + 3
                       : 2 * p->layer + (p->half == TLP_NOSYNC_FFN) + 1;
        double want = naive_sensitivity(&v, half);

        cr_expect_float_eq(p->sensitivity, want, 0.01 * want,
                           "%s: sensitivity %.9g, %.9g expected", s.plan[i],
                           p->sensitivity, want);
    }
    free_naive(&v);
    ref_close(ref);
    tlp_model_free(m);
}

static bool equal(const seen *a, const seen *b)
{
    return a->n == b->n &&
           memcmp(a->place, b->place, (size_t)a->n * sizeof a->place[0]) == 0;
}

/* Threads, and memory that saves time, change no bit; the seed changes the
 * noise. */
Test(model_study, equal_arguments_give_equal_numbers)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_model(tiny_make(&spec), &spec);
    tlp_session_options session = session_options();
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    seen first = study(m, &o);

    o.max_bytes = 1;
    session.n_thread = 3;
    o.session = &session;
    seen again = study(m, &o);
    cr_expect(equal(&first, &again));
    o.seed = 1;
    seen other = study(m, &o);
    cr_expect_not(equal(&first, &other));
    for (int i = 0; i < first.n; i++) {
        cr_expect_float_eq(first.place[i].kl, other.place[i].kl,
                           1e-9 + 1e-6 * first.place[i].kl);
        cr_expect_neq(first.place[i].sensitivity, other.place[i].sensitivity);
    }
    tlp_model_free(m);
}

Test(model_study, a_model_of_one_layer_has_one_exchange)
{
    tiny_spec spec = tiny_default();

    spec.n_layer = 1;
    tlp_model *m = open_model(tiny_make(&spec), &spec);
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    seen s = study(m, &o);

    cr_assert_eq(s.n, 1);
    cr_expect_str_eq(s.plan[0], "nosync@2:0a");
    cr_expect(s.place[0].kl > 0 && s.place[0].sensitivity > 0);
    tlp_model_free(m);
}

/* ==== progress =========================================================== */

typedef struct bar {
    double done;
    int left; /* calls until it cancels */
} bar;

static int step(double done, void *data)
{
    bar *b = data;

    cr_expect(done >= b->done && done <= 1);
    b->done = done;
    return b->left-- <= 0;
}

Test(model_study, progress_and_cancellation)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_model(tiny_make(&spec), &spec);
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    bar b = { .left = INT32_MAX };
    int n_call;

    o.progress = step;
    o.progress_data = &b;
    study(m, &o);
    cr_expect_eq(b.done, 1);
    n_call = INT32_MAX - b.left;
    for (int left = 0; left < n_call; left += n_call / 5) {
        tlp_session_options session = session_options();
        seen s = { .model = m };

        b = (bar){ .left = left };
        o.session = &session;
        o.place = see;
        o.place_data = &s;
        CHECK_FAILS(TLP_ECANCELED, tlp_model_study(m, ids, N_TOKEN, &o));
        cr_expect_lt(s.n, 13);
    }
    tlp_model_free(m);
}

/* Each allocation fails once, or nearly each: the study works without it, or
 * says that memory ran out, and keeps nothing. */
Test(model_study, memory_runs_out_anywhere)
{
    mem hooks = { 0 };
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options session = session_options();
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;
    tlp_model *m = NULL;
    tlp_status st = TLP_ENOMEM;
    long n = 1;

    spec.n_layer = 2;
    mo.allocator = mem_hooks(&hooks);
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &mo));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 5);
    o.session = &session;
    o.place = see;
    long live = hooks.live;
    for (; n < 10000; n += 1 + n / 40) {
        seen s = { .model = m };

        o.place_data = &s;
        hooks.calls = 0;
        hooks.fail_at = n;
        st = tlp_model_study(m, ids, N_CTX, &o);
        cr_assert(st == TLP_OK || st == TLP_ENOMEM, "%s", tlp_last_error());
        cr_assert_eq(hooks.live, live, "call %ld", n);
        if (hooks.calls < n) /* none failed */
            break;
    }
    cr_expect_eq(st, TLP_OK);
    cr_expect_gt(n, 100);
    tlp_model_free(m);
    cr_expect_eq(hooks.live, 0);
}

/* ==== refusals =========================================================== */

static void refuse(tlp_model *m, size_t n, const tlp_study_options *o,
                   const char *text)
{
    CHECK_FAILS(TLP_EINVAL, tlp_model_study(m, ids, n, o));
    cr_expect_not_null(strstr(tlp_last_error(), text), "%s: %s", text,
                       tlp_last_error());
}

static void see_nothing(const tlp_study_place *p, void *data)
{
    (void)p, (void)data;
}

Test(model_study, refusals)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_model *m = open_model(path, &spec), *words = NULL;
    tlp_model_options vocab = TLP_MODEL_OPTIONS_INIT;
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;

    refuse(NULL, N_TOKEN, &o, "model and tokens");
    refuse(m, N_TOKEN, NULL, "place is required");
    refuse(m, N_TOKEN, &o, "place is required");
    o.place = see_nothing;
    CHECK_FAILS(TLP_EINVAL, tlp_model_study(m, NULL, N_TOKEN, &o));
    refuse(m, 1, &o, "1");
    for (int i = 0; i < 3; i++) {
        o.n_track = (int[]){ 1, 7, -1 }[i];
        refuse(m, N_TOKEN, &o, "2 to 6 expected");
    }
    o.n_track = 0;
    ids[3] = spec.n_vocab;
    refuse(m, N_TOKEN, &o, "token 3: id");
    vocab.vocab_only = 1;
    CHECK_OK(tlp_model_open(&words, path, &vocab));
    refuse(words, N_TOKEN, &o, "vocab_only");
    tlp_model_free(words);
    tlp_model_free(m);
    spec.n_head = spec.n_head_kv = 1;
    m = open_model(tiny_make(&spec), &spec);
    refuse(m, N_TOKEN, &o, "one query head");
    tlp_model_free(m);
}
