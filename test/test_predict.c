/*
 * test_predict.c - the cost model: predictions for links that are made up,
 * against sums worked out here; what is measured, and that it harms nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cost/measure.h"
#include "support/fake_model.h"
#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(predict, .timeout = 400);
TestSuite(measure, .timeout = 400);

/* ==== predictions ======================================================== */

/*
 * Four layers in F32.  Of a layer, attention has 4 matrices of 64 x 64, 65536
 * bytes with 4 query heads; the feed-forward part 3 of 64 x 128, 98304 bytes.
 * The output head has 256 x 64, 65536 bytes.
 */
static const fake_shape shape = { 4, 64, 128, 4, 4, 16, 256 };

#define ATTN_BYTES 65536.0
#define FFN_BYTES 98304.0
#define HEAD_BYTES 65536.0
#define N_HEAD 4

#define L 200e-6 /* one way */

/* Free of everything but latency, but for what a test adds. */
static tlp_link latency_only(void)
{
    return (tlp_link){ .struct_size = sizeof(tlp_link),
                       .n_rank = 2,
                       .n_thread = 1,
                       .n_batch = 16,
                       .n_size = 2,
                       .command = L,
                       .size = { 1, 64 },
                       .allreduce = { L, L },
                       .send = { L, L } };
}

static tlp_link with_work(void)
{
    tlp_link l = latency_only();

    l.decode = (tlp_link_rates){ 3e-6, 1e-9, 2e-8, 0 };
    l.prefill = (tlp_link_rates){ 1e-6, 5e-10, 1e-8, 0 };
    l.head_byte = 4e-10;
    return l;
}

static tlp_prediction predict_steps(const char *text, const tlp_link *link,
                                    int n_rank, int n_tok, int pos)
{
    static const tlpi_dtype f32[] = { TLPI_F32 };
    tlp_prediction p = { .struct_size = sizeof p };
    tlp_model *model = fake_model(&shape, f32, 1);
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, model, text));
    CHECK_OK(tlp_plan_predict(&p, plan, link, n_rank, n_tok, pos));
    tlp_plan_free(plan);
    tlp_model_free(model);
    return p;
}

static tlp_prediction predict(const char *text, const tlp_link *link,
                              int n_rank)
{
    return predict_steps(text, link, n_rank, 1, 0);
}

static void check_near(double got, double want, const char *what)
{
    cr_assert(fabs(got - want) <= 1e-9 * (1 + fabs(want)) * 1e-3,
              "%s: %.9f us, %.9f expected", what, got * 1e6, want * 1e6);
}

/*
 * Rank 1 begins one way after rank 0.  In the first all-reduce rank 0 waits two
 * ways for it and rank 1 not at all; in the second it is the other way round.
 * At last the answer goes back: n all-reduces take n + 2 ways if n is even, and
 * n + 1 if it is odd.
 */
Test(predict, ways_over_a_link)
{
    static const struct {
        const char *plan;
        int ways;
    } cases[] = {
        { "serial", 8 + 2 },
        { "lp:0-1", 6 + 2 },
        { "lp:0-1,2-3", 4 + 2 },
        { "par:0-1", 5 + 1 },
        { "par:0-1,2-3", 2 + 2 },
        { "drop:3;par:0-1", 3 + 1 },
        { "merge:0-1;par:2-3", 3 + 1 },
        /* Member 2's rank waits for member 1's: in the first stage it was late
         * anyway, so that only the second stage takes a way more, which rank
         * 0 would have waited for at the end. */
        { "asym:0-1,2-3", 2 + 2 },
    };
    tlp_link l = latency_only();

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_prediction p = predict(cases[i].plan, &l, 2);

        check_near(p.seconds, cases[i].ways * L, cases[i].plan);
        cr_assert_eq(p.compute_seconds, 0);
    }
}

Test(predict, parts_add_up)
{
    static const char *const plans[] = { "serial", "lp:0-1", "par:0-1,2-3",
                                         "asym:0-1,2-3", "par:0-2" };
    tlp_link l = with_work();

    for (int ranks = 1; ranks <= 5; ranks++)
        for (size_t i = 0; i < TLPI_COUNT(plans); i++) {
            tlp_prediction p = predict(plans[i], &l, ranks);

            check_near(p.compute_seconds + p.command_seconds + p.send_seconds +
                           p.allreduce_seconds,
                       p.seconds, plans[i]);
            cr_assert(p.compute_seconds > 0 && p.command_seconds >= 0 &&
                      p.send_seconds >= 0 && p.allreduce_seconds >= 0);
            cr_assert_eq(p.allreduce_seconds > 0, ranks > 1, "%s, %d ranks",
                         plans[i], ranks);
        }
}

/* The seconds of one token's halves of a stage, a rank having that share. */
static double attn_half(const tlp_link_rates *r, double share, int n_attended)
{
    return r->half + share * ATTN_BYTES * r->byte +
           share * N_HEAD * n_attended * r->attend;
}

static double ffn_half(const tlp_link_rates *r, double share)
{
    return r->half + share * FFN_BYTES * r->byte;
}

Test(predict, work_of_a_token)
{
    tlp_link l = with_work();
    const tlp_link_rates *r = &l.decode;

    /* at position 9, which sees 10 */
    for (int ranks = 1; ranks <= 4; ranks *= 2) {
        double share = 1.0 / ranks;
        double head = share * HEAD_BYTES * l.head_byte;
        double layer = attn_half(r, share, 10) + ffn_half(r, share);
        tlp_prediction p = predict_steps("serial", &l, ranks, 1, 9);

        check_near(p.compute_seconds, 4 * layer + head, "serial");
    }
    /* two whole layers side by side on a rank each: half the halves */
    double layer = attn_half(r, 1, 10) + ffn_half(r, 1);
    double head = HEAD_BYTES / 2 * l.head_byte;
    tlp_prediction p = predict_steps("par:0-1,2-3", &l, 2, 1, 9);
    check_near(p.compute_seconds, 2 * layer + head, "par");
    /* and both on one rank */
    layer = attn_half(r, 2, 10) + ffn_half(r, 2);
    p = predict_steps("par:0-1,2-3", &l, 1, 1, 9);
    check_near(p.compute_seconds, 2 * layer + 2 * head, "par on one rank");
    check_near(p.seconds, p.compute_seconds, "one rank");
}

Test(predict, work_of_a_prefill)
{
    tlp_link l = with_work();
    const tlp_link_rates *r = &l.prefill;
    double sum = HEAD_BYTES * l.head_byte;

    /* 40 tokens after 5: steps of 16, 16 and 8, each token seeing all before */
    int seen = 0;
    for (int i = 0; i < 40; i++)
        seen += 5 + i + 1;
    sum += 4 * 40 * (2 * r->half + (ATTN_BYTES + FFN_BYTES) * r->byte);
    sum += 4.0 * N_HEAD * seen * r->attend;
    tlp_prediction p = predict_steps("serial", &l, 1, 40, 5);
    check_near(p.seconds, sum, "prefill");
    /* A step of two takes at least what a step of one does. */
    tlp_prediction one = predict_steps("serial", &l, 1, 1, 0);
    tlp_prediction two = predict_steps("serial", &l, 1, 2, 0);
    cr_assert_geq(two.seconds, one.seconds);
}

Test(predict, bytes_and_ranks_of_an_allreduce)
{
    tlp_link l = latency_only();

    l.command = 0;
    l.allreduce[0] = 10e-6;
    l.allreduce[1] = 30e-6;
    /* All level: 8 all-reduces of 64 floats. */
    check_near(predict("serial", &l, 2).seconds, 8 * 30e-6, "64 floats");
    /* The line goes on: 16 tokens have 1024 floats. */
    double line = 10e-6 + (1024.0 - 1) / 63 * 20e-6;
    check_near(predict_steps("serial", &l, 2, 16, 0).seconds, 8 * line,
               "1024 floats");
    /* Four ranks: one latency, three others' bytes. */
    check_near(predict("serial", &l, 4).seconds, 8 * (10e-6 + 3 * 20e-6),
               "four ranks");
    /* Two ranks share each member: an inner sum of two, then one of four. */
    check_near(predict("par:0-1,2-3", &l, 4).seconds,
               2 * (30e-6 + 10e-6 + 3 * 20e-6), "inner sums");
    /* The last one to come, rank 1, has only its own call to work through. */
    l.late[0] = l.late[1] = 5e-6;
    l.command = 100e-6;
    check_near(predict("drop:2,3;par:0-1", &l, 2).seconds,
               100e-6 + 5e-6 + 100e-6, "late");
}

Test(predict, stall_of_an_allreduce)
{
    tlp_link l = latency_only();

    l.command = 0;
    l.decode.stall = 7e-6;
    l.prefill.stall = 1e-6;
    check_near(predict("serial", &l, 2).seconds, 8 * (L + 7e-6), "decode");
    check_near(predict_steps("serial", &l, 2, 10, 0).seconds,
               8 * (L + 10 * 1e-6), "prefill");
    check_near(predict("serial", &l, 1).seconds, 0, "one rank");
}

Test(predict, slower_links_take_longer)
{
    static const char *const plans[] = { "serial", "lp:0-1", "par:0-1,2-3",
                                         "asym:0-1,2-3", "asym:0-2" };

    for (int ranks = 2; ranks <= 6; ranks++)
        for (size_t i = 0; i < TLPI_COUNT(plans); i++) {
            double before = 0;
            for (int us = 1; us <= 1000; us *= 10) {
                tlp_link l = with_work();

                l.command = us * 1e-6;
                for (int k = 0; k < l.n_size; k++)
                    l.allreduce[k] = l.send[k] = us * 1e-6;
                double now = predict(plans[i], &l, ranks).seconds;
                cr_assert_gt(now, before, "%s on %d ranks at %d us", plans[i],
                             ranks, us);
                before = now;
            }
        }
}

Test(predict, misuse_is_refused)
{
    static const tlpi_dtype f32[] = { TLPI_F32 };
    tlp_model *model = fake_model(&shape, f32, 1);
    tlp_plan *plan = NULL;
    tlp_prediction p = { .struct_size = sizeof p };
    tlp_link good = with_work(), l = good;

    CHECK_OK(tlp_plan_parse(&plan, model, "serial"));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, NULL, &l, 2, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, NULL, 2, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(NULL, plan, &l, 2, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, &l, 0, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, &l, 65, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, &l, 2, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, &l, 2, INT64_MAX, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_predict(&p, plan, &l, 2, 1, -1));

#define BAD(status, change)                                                    \
    do {                                                                       \
        l = good;                                                              \
        change;                                                                \
        CHECK_FAILS(status, tlp_plan_predict(&p, plan, &l, 2, 1, 0));          \
    } while (0)
    BAD(TLP_EMISMATCH, strcpy(l.fingerprint, "sha256:00"));
    BAD(TLP_EINVAL, memset(l.fingerprint, 'x', sizeof l.fingerprint));
    BAD(TLP_EINVAL, l.n_rank = 1);
    BAD(TLP_EINVAL, l.n_batch = 0);
    BAD(TLP_EINVAL, l.n_size = 1);
    BAD(TLP_EINVAL, l.n_size = TLP_LINK_SIZES + 1);
    BAD(TLP_EINVAL, l.size[1] = l.size[0]);
    BAD(TLP_EINVAL, l.size[0] = 0);
    BAD(TLP_EINVAL, l.command = NAN);
    BAD(TLP_EINVAL, l.decode.byte = -1);
    BAD(TLP_EINVAL, l.prefill.stall = INFINITY);
    BAD(TLP_EINVAL, l.allreduce[1] = -1e-6);
    BAD(TLP_EINVAL, l.late[0] = NAN);
    BAD(TLP_EINVAL, l.send[1] = -1);
    BAD(TLP_EINVAL, l.head_byte = -1);
    /* Of one rank only work is known, and that is enough for one rank. */
    l = good;
    l.n_rank = 1;
    l.n_size = 0;
    CHECK_OK(tlp_plan_predict(&p, plan, &l, 1, 1, 0));
    strcpy(l.fingerprint, tlpi_model_fingerprint(model));
    CHECK_OK(tlp_plan_predict(&p, plan, &l, 1, 1, 0));
    tlp_plan_free(plan);
    tlp_model_free(model);
}

/* ==== fitting ============================================================ */

static void solve(const double (*x)[3], const double *y, int n, double *rate)
{
    tlpi_fit f = { 0 };

    for (int i = 0; i < n; i++)
        tlpi_fit_add(&f, x[i], y[i]);
    tlpi_fit_solve(&f, rate);
}

Test(measure, fit_finds_the_rates)
{
    static const double x[5][3] = { { 1, 100, 5 },
                                    { 1, 300, 0 },
                                    { 2, 400, 50 },
                                    { 1, 100, 90 },
                                    { 1, 0, 0 } };
    static const double want[3] = { 7e-6, 3e-9, 2e-8 };
    double y[5], rate[3];

    for (int i = 0; i < 5; i++)
        y[i] = x[i][0] * want[0] + x[i][1] * want[1] + x[i][2] * want[2];
    solve(x, y, 5, rate);
    for (int i = 0; i < 3; i++)
        cr_assert(fabs(rate[i] / want[i] - 1) < 1e-9, "%d: %g", i, rate[i]);
}

Test(measure, fit_gives_no_negative_rate)
{
    /* Best with a first rate of -1: without it, sum xy / sum xx. */
    static const double x[3][3] = { { 1, 1, 0 }, { 1, 2, 0 }, { 1, 3, 0 } };
    static const double y[3] = { 1, 3, 5 };
    double rate[3];

    solve(x, y, 3, rate);
    cr_assert_eq(rate[0], 0);
    cr_assert(fabs(rate[1] - 22.0 / 14) < 1e-12, "%g", rate[1]);
    cr_assert_eq(rate[2], 0);
}

Test(measure, fit_of_what_depends_on_each_other)
{
    /* One kind of sample says nothing about how it is made up. */
    static const double x[2][3] = { { 1, 4, 2 }, { 1, 4, 2 } };
    static const double y[2] = { 8, 8 };
    double rate[3];

    solve(x, y, 2, rate);
    cr_assert(fabs(rate[0] + 4 * rate[1] + 2 * rate[2] - 8) < 1e-9);
    solve(x, y, 0, rate);
    cr_assert(rate[0] == 0 && rate[1] == 0 && rate[2] == 0);
}

/* ==== measuring ========================================================== */

static void check_rates(const tlp_link_rates *r)
{
    cr_assert(isfinite(r->half) && isfinite(r->byte) && isfinite(r->attend) &&
              isfinite(r->stall));
    cr_assert(r->half >= 0 && r->byte >= 0 && r->attend >= 0 && r->stall >= 0);
    cr_assert_gt(r->half + r->byte, 0);
}

static void check_link(const tlp_link *l, int n_rank)
{
    cr_assert_eq(l->n_rank, n_rank);
    cr_assert_eq(l->n_thread, 1);
    check_rates(&l->decode);
    check_rates(&l->prefill);
    cr_assert(l->head_byte > 0 && isfinite(l->head_byte));
    cr_assert_eq(l->command > 0, n_rank > 1);
    /* 1, then 96 (n_embd) up to 8 (n_batch) times that by twos */
    cr_assert_eq(l->n_size, n_rank > 1 ? 5 : 0);
    for (int i = 0; i < l->n_size; i++) {
        cr_assert_eq(l->size[i], i == 0 ? 1 : 96 << (i - 1));
        cr_assert(l->allreduce[i] > 0 && isfinite(l->allreduce[i]));
        cr_assert(l->late[i] > 0 && l->send[i] >= 0);
        if (i > 0)
            cr_assert(l->allreduce[i] >= l->allreduce[i - 1] &&
                      l->late[i] >= l->late[i - 1]);
    }
}

static const struct {
    const char *plan;
    int n_rank, n_stage;
} sessions[] = {
    { "serial", 1, 5 },       { "serial", 2, 5 },
    { "lp:1-2", 2, 4 },       { "par:0-1,2-3", 2, 3 },
    { "asym:0-1,2-3", 2, 3 }, { "par:0-1", 3, 4 },
    { "asym:0-1", 3, 4 },     { "merge:0-1;par:2-3", 1, 3 },
};

Test(measure, any_plan_on_any_ranks)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);

    for (size_t i = 0; i < TLPI_COUNT(sessions); i++) {
        int n_rank = sessions[i].n_rank, n_stage = sessions[i].n_stage;
        tlp_session_options o = rig_f32(n_rank, 1);
        o.n_batch = 8;
        rig r = rig_open(path, sessions[i].plan, &o);
        tlp_link l = { .struct_size = sizeof l };
        tlp_prediction p = { .struct_size = sizeof p };
        double stage[6] = { 0, 0, 0, 0, 0, -1 };

        CHECK_OK(tlp_session_measure(&l, stage, r.session));
        check_link(&l, n_rank);
        for (int k = 0; k < n_stage; k++)
            cr_assert(stage[k] > 0 && stage[k] < 1, "%s: stage %d: %g",
                      sessions[i].plan, k, stage[k]);
        cr_assert_eq(stage[n_stage], n_stage == 5 ? -1 : 0);
        CHECK_OK(tlp_plan_predict(&p, r.plan, &l, n_rank, 1, 0));
        cr_assert(p.seconds > 0 && p.seconds < 1, "%g", p.seconds);
        rig_close(&r);
    }
}

/* The numbers of a session that measured and of one that did not. */
Test(measure, harms_nothing)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    int32_t ids[20];

    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        o.n_seq = 2;
        rig r = rig_open(path, "asym:0-1;par:2-3", &o), plain;
        tlp_link l = { .struct_size = sizeof l };
        tlp_session_stats before = { .struct_size = sizeof before };
        tlp_session_stats after = before;
        const float *row;

        plain = rig_open(path, "asym:0-1;par:2-3", &o);
        rig_tokens(ids, 20, r.n_vocab, 7);
        /* Another sequence holds something, and goes on with it. */
        free(rig_eval(&r, 1, ids, 10));
        free(rig_eval(&plain, 1, ids, 10));
        CHECK_OK(tlp_session_get_stats(&before, r.session));
        CHECK_OK(tlp_session_measure(&l, NULL, r.session));
        CHECK_OK(tlp_session_get_stats(&after, r.session));
        cr_assert_eq(before.allreduces, after.allreduces);
        cr_assert_eq(before.comm_bytes, after.comm_bytes);
        cr_assert_eq(before.n_step, after.n_step);
        CHECK_FAILS(TLP_ESTATE, tlp_session_logits(&row, r.session, 0));
        cr_assert_eq(tlp_session_pos(r.session, 0), 0);
        cr_assert_eq(tlp_session_pos(r.session, 1), 10);
        for (int seq = 0; seq < 2; seq++) {
            float *a = rig_eval(&r, seq, ids + 10, 10);
            float *b = rig_eval(&plain, seq, ids + 10, 10);

            cr_assert_arr_eq(a, b, 10 * r.n_vocab * sizeof *a,
                             "sequence %d on %d ranks", seq, ranks);
            free(a);
            free(b);
        }
        CHECK_FAILS(TLP_ESTATE, tlp_session_measure(&l, NULL, r.session));
        rig_close(&plain);
        rig_close(&r);
    }
}

Test(measure, small_sessions)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);

    for (int n = 1; n <= 3; n++) {
        tlp_session_options o = rig_f32(2, 1);
        o.n_ctx = n;
        rig r = rig_open(path, "serial", &o);
        tlp_link l = { .struct_size = sizeof l };

        CHECK_OK(tlp_session_measure(&l, NULL, r.session));
        cr_assert_eq(l.n_batch, n);
        check_rates(&l.decode);
        check_rates(&l.prefill);
        cr_assert_eq(l.size[l.n_size - 1], 96 * n);
        rig_close(&r);
    }
}

Test(measure, misuse_and_abort)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);

    o.n_batch = 8;
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    tlp_link l = { .struct_size = sizeof l }, none = { 0 };

    CHECK_FAILS(TLP_EINVAL, tlp_session_measure(&l, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_measure(NULL, NULL, r.session));
    CHECK_FAILS(TLP_EINVAL, tlp_session_measure(&none, NULL, r.session));
    tlp_session_abort(r.session);
    CHECK_FAILS(TLP_ECANCELED, tlp_session_measure(&l, NULL, r.session));
    CHECK_OK(tlp_session_measure(&l, NULL, r.session));
    check_link(&l, 2);
    rig_close(&r);
}

/* Any allocation of the call may fail: the session lives on. */
Test(measure, out_of_memory)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    mem m = { 0 };
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_link l = { .struct_size = sizeof l };

    o.n_batch = 8;
    mo.allocator = mem_hooks(&m);
    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:0-1"));
    CHECK_OK(tlp_session_create(&session, plan, &o));
    /* Those behind the first 30 come at the end, when time is spent. */
    int n_failed = 0;
    long at = 1;
    for (tlp_status st = TLP_ENOMEM; st != TLP_OK; at += at < 30 ? 2 : 30) {
        m.fail_at = atomic_load(&m.calls) + at;
        st = tlp_session_measure(&l, NULL, session);
        cr_assert(st == TLP_OK || st == TLP_ENOMEM, "%s", tlp_last_error());
        n_failed += st != TLP_OK;
    }
    cr_assert_gt(n_failed, 10, "only %d allocations failed", n_failed);
    check_link(&l, 2);
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
    cr_assert_eq(atomic_load(&m.live), 0);
}
