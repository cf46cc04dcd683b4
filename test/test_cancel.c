/*
 * test_cancel.c - stopping calls: progress callbacks and tlp_session_abort,
 * at every place and at random moments.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(cancel, .timeout = 120);

/* ==== progress =========================================================== */

typedef struct call_meter {
    int calls, cancel_at; /* 0 = never */
    double last;
    bool backwards;
    pthread_t thread;
} call_meter;

static int count_progress(double done, void *user_data)
{
    call_meter *m = user_data;

    m->calls++;
    m->backwards |=
        done < m->last || done > 1 || !pthread_equal(m->thread, pthread_self());
    m->last = done;
    return m->calls == m->cancel_at;
}

static call_meter meter_at(int cancel_at)
{
    return (call_meter){ .cancel_at = cancel_at, .thread = pthread_self() };
}

static tlp_status open_with(tlp_model **out, const char *path, call_meter *p,
                            mem *m)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    o.progress = count_progress;
    o.progress_data = p;
    o.allocator = mem_hooks(m);
    return tlp_model_open(out, path, &o);
}

Test(cancel, model_open)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    call_meter p = meter_at(0);
    mem m = { 0 };
    tlp_model *model = NULL;

    CHECK_OK(open_with(&model, path, &p, &m));
    cr_assert(p.calls > 0 && !p.backwards && p.last == 1.0, "%d calls up to %g",
              p.calls, p.last);
    tlp_model_free(model);
    for (int n = 1, all = p.calls; n <= all; n++) {
        p = meter_at(n);
        CHECK_FAILS(TLP_ECANCELED, open_with(&model, path, &p, &m));
        cr_assert_null(model);
        cr_assert_eq(p.calls, n, "went on after call %d", n);
        cr_assert_eq(atomic_load(&m.live), 0);
    }
}

Test(cancel, session_create)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);

    for (int ranks = 1; ranks <= 3; ranks++) {
        mem m = { 0 };
        call_meter open = meter_at(0), p = meter_at(0);
        tlp_model *model = NULL;
        tlp_plan *plan = NULL;
        tlp_session *s = NULL;
        tlp_session_options o = rig_f32(ranks, 1);

        CHECK_OK(open_with(&model, path, &open, &m));
        CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2,3-4"));
        o.progress = count_progress;
        o.progress_data = &p;
        long before = atomic_load(&m.live);
        CHECK_OK(tlp_session_create(&s, plan, &o));
        tlp_session_free(s);
        cr_assert(p.calls > 0 && !p.backwards && p.last == 1.0,
                  "%d ranks: %d calls up to %g", ranks, p.calls, p.last);
        cr_assert_eq(atomic_load(&m.live), before);
        for (int n = 1, all = p.calls; n <= all; n++) {
            p = meter_at(n);
            CHECK_FAILS(TLP_ECANCELED, tlp_session_create(&s, plan, &o));
            cr_assert_null(s);
            cr_assert_eq(p.calls, n, "went on after call %d", n);
            cr_assert_eq(atomic_load(&m.live), before);
        }
        tlp_plan_free(plan);
        tlp_model_free(model);
        cr_assert_eq(atomic_load(&m.live), 0);
    }
}

/* ==== abort ============================================================== */

#define N_TOKEN 48

static const char *const plans[] = { "serial", "par:1-2,3-4", "asym:0-2" };

static rig start(int n_rank, int32_t *ids)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, 1);

    o.n_batch = 4; /* many steps to a call */
    rig r = rig_open(tiny_make(&spec), plans[n_rank - 1], &o);
    rig_tokens(ids, N_TOKEN, r.n_vocab, 1);
    return r;
}

/* All calls that run the network stop; then they give what they should. */
Test(cancel, abort_before_a_call)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        int32_t ids[N_TOKEN], id = -1;
        rig r = start(ranks, ids);
        float lp[8], vector[96];
        tlp_sampler *s = NULL;
        tlp_batch b = { sizeof b, 8, ids + 8, NULL, NULL };

        CHECK_OK(tlp_sampler_create(&s, r.model, NULL));
        float *want = rig_eval(&r, 0, ids, 16);
        CHECK_OK(tlp_session_rewind(r.session, 0, 8));
        for (int i = 0; i < 5; i++) {
            tlp_session_abort(r.session);
            tlp_session_abort(r.session); /* twice is once */
            tlp_status st =
                i == 0   ? tlp_session_prefill(r.session, ids + 8, 8)
                : i == 1 ? tlp_session_decode(r.session, ids[8])
                : i == 2 ? tlp_session_eval(r.session, &b)
                : i == 3
                    ? tlp_session_score(lp, r.session, 0, ids + 8, 8)
                    : tlp_session_embed(vector, r.session, 0, ids + 8, 8, NULL);
            cr_assert_eq(st, TLP_ECANCELED, "call %d: %s", i,
                         tlp_status_name(st));
            cr_assert_eq(tlp_session_pos(r.session, 0), 8);
            cr_assert_eq(tlp_session_n_logits(r.session), 0);
            CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&id, r.session, 0, s));
            float *got = rig_eval(&r, 0, ids + 8, 8);
            cr_assert(rig_diff_f(got, want + 8 * r.n_vocab, 8 * r.n_vocab) <
                      1e-4);
            free(got);
            CHECK_OK(tlp_session_rewind(r.session, 0, 8));
        }
        CHECK_OK(tlp_session_decode(r.session, ids[8]));
        tlp_session_abort(r.session);
        CHECK_FAILS(TLP_ECANCELED,
                    tlp_session_generate(NULL, r.session, s, NULL));
        CHECK_OK(tlp_session_clear(r.session, 0));
        CHECK_OK(tlp_session_prefill(r.session, ids, 16));
        tlp_sampler_free(s);
        free(want);
        rig_close(&r);
    }
    tlp_session_abort(NULL);
}

typedef struct aborter {
    tlp_session *s;
    _Atomic int go; /* number of the round; -1 ends the thread */
    _Atomic int done;
    unsigned seed;
} aborter;

static void nap(long ns)
{
    struct timespec t = { 0, ns };

    nanosleep(&t, NULL);
}

static void *abort_now_and_then(void *arg)
{
    aborter *a = arg;

    for (int round = 1;; round++) {
        while (atomic_load(&a->go) != round) {
            if (atomic_load(&a->go) < 0)
                return NULL;
            nap(1000);
        }
        a->seed = a->seed * 1103515245 + 12345;
        for (volatile unsigned i = 0; i < (a->seed >> 16) % 40000; i++)
            continue;
        tlp_session_abort(a->s);
        atomic_store(&a->done, round);
    }
}

/*
 * Wherever the abort falls, the call ends well or as canceled, a canceled
 * call leaves its sequence alone, and the bits after it are the right ones.
 */
static void abort_at_random(int ranks, int rounds)
{
    int32_t ids[N_TOKEN];
    rig r = start(ranks, ids);
    int canceled = 0, head = 9;
    aborter a = { .s = r.session, .seed = (unsigned)ranks };
    pthread_t thread;

    CHECK_OK(tlp_session_prefill(r.session, ids, (size_t)head));
    float *want = rig_eval(&r, 0, ids + head, N_TOKEN - head);
    cr_assert_eq(pthread_create(&thread, NULL, abort_now_and_then, &a), 0);
    for (int i = 1; i <= rounds; i++) {
        CHECK_OK(tlp_session_rewind(r.session, 0, head));
        atomic_store(&a.go, i);
        tlp_status st = tlp_session_prefill(r.session, ids + head,
                                            (size_t)(N_TOKEN - head));
        while (atomic_load(&a.done) != i)
            nap(1000);
        if (st == TLP_ECANCELED) {
            canceled++;
            cr_assert_eq(tlp_session_pos(r.session, 0), head);
        } else {
            CHECK_OK(st);
            cr_assert_eq(tlp_session_pos(r.session, 0), N_TOKEN);
            /* it came too late, and stops the next call */
            CHECK_OK(tlp_session_rewind(r.session, 0, head));
            st = tlp_session_decode(r.session, ids[head]);
            cr_assert_eq(st, TLP_ECANCELED, "the abort was lost: %s",
                         tlp_status_name(st));
            cr_assert_eq(tlp_session_pos(r.session, 0), head);
        }
        if (i % 8)
            continue;
        CHECK_OK(tlp_session_rewind(r.session, 0, head));
        float *got = rig_eval(&r, 0, ids + head, N_TOKEN - head);
        cr_assert_eq(memcmp(got, want,
                            (size_t)(N_TOKEN - head) * r.n_vocab * sizeof *got),
                     0, "round %d: other bits", i);
        free(got);
    }
    atomic_store(&a.go, -1);
    pthread_join(thread, NULL);
    cr_assert_gt(canceled, 0, "no call was met while it ran");
    free(want);
    rig_close(&r);
}

Test(cancel, abort_while_one_rank_runs)
{
    abort_at_random(1, 400 / CHECK_SLOWDOWN);
}

Test(cancel, abort_while_two_ranks_run)
{
    abort_at_random(2, 400 / CHECK_SLOWDOWN);
}

Test(cancel, abort_while_three_ranks_run)
{
    abort_at_random(3, 200 / CHECK_SLOWDOWN);
}

/* From inside the generation, as a user interface does. */
static int abort_after_three(const char *text, size_t len, void *user_data)
{
    rig *r = user_data;

    (void)text;
    (void)len;
    if (tlp_session_pos(r->session, 0) >= 10)
        tlp_session_abort(r->session);
    return 0;
}

Test(cancel, abort_in_the_text_callback)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        int32_t ids[N_TOKEN];
        rig r = start(ranks, ids);
        tlp_logit_bias b = { 'x', 1000 };
        tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
        tlp_generate_options go = TLP_GENERATE_OPTIONS_INIT;
        tlp_generate_result res = { .struct_size = sizeof res };
        tlp_sampler *s = NULL;

        so.bias = &b;
        so.n_bias = 1;
        go.text = abort_after_three;
        go.text_data = &r;
        CHECK_OK(tlp_sampler_create(&s, r.model, &so));
        CHECK_OK(tlp_session_prefill(r.session, ids, 8));
        CHECK_FAILS(TLP_ECANCELED,
                    tlp_session_generate(&res, r.session, s, &go));
        cr_assert_eq(tlp_session_pos(r.session, 0), 10);
        cr_assert_eq(res.n_generated, 3);
        CHECK_OK(tlp_session_decode(r.session, res.last_token));
        tlp_sampler_free(s);
        rig_close(&r);
    }
}
