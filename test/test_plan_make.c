/*
 * test_plan_make.c - the planner on small models: against all plans there are,
 * against sessions, interrupted, refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_eval.h"

enum { N_LAYER = 7, N_CTX = 32, N_TOKEN = 4 * N_CTX + 9 };

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };

static tlp_model *open_tiny(uint64_t seed)
{
    rig_tokens(ids, N_TOKEN, (size_t)tiny_default().n_vocab, 11);
    return plan_rig_open(N_LAYER, seed);
}

/* Where the options that a test makes point. */
static tlp_session_options session;

static tlp_plan_make_options options(int depth)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;

    o.depth = depth;
    session = plan_rig_session(N_CTX);
    o.session = &session;
    return o;
}

TestSuite(plan_make, .timeout = 300);

/* ==== points ============================================================= */

typedef struct front {
    int n, n_chosen;
    double kl[N_LAYER + 1], ppl[N_LAYER + 1], top1[N_LAYER + 1]; /* by depth */
    char *text[N_LAYER + 1];
} front;

static void keep_point(const tlp_plan_point *p, void *data)
{
    front *f = data;

    cr_assert(p->depth >= 1 && p->depth <= N_LAYER);
    cr_expect_eq(p->depth, N_LAYER - f->n, "by falling depth");
    f->n++;
    f->n_chosen += p->chosen;
    f->kl[p->depth] = p->kl;
    f->ppl[p->depth] = p->ppl;
    f->top1[p->depth] = p->top1_agreement;
    f->text[p->depth] = plan_rig_format(p->plan, TLP_PLAN_TEXT);
}

static void free_front(front *f)
{
    for (int i = 0; i <= N_LAYER; i++)
        free(f->text[i]);
}

/* A model's windows cut by another hand give the same numbers. */
Test(plan_make, points_equal_sessions)
{
    tlp_model *m = open_tiny(3);
    front f = { 0 };
    tlp_plan_make_options o = options(4);
    float *reference = text_serial_logits(m, &whole);

    o.point = keep_point;
    o.point_data = &f;
    free(plan_rig_make(m, &whole, &o));
    cr_expect_eq(f.n, 4);
    cr_expect_eq(f.n_chosen, 1);
    for (int depth = 4; depth <= N_LAYER; depth++) {
        tlp_plan *plan = NULL;

        CHECK_OK(tlp_plan_parse(&plan, m, f.text[depth]));
        text_figures want = text_compare(m, plan, &whole, reference);
        cr_expect_float_eq(f.kl[depth], want.kl, 1e-9 + 1e-6 * want.kl,
                           "%s: %.9f, %.9f by sessions", f.text[depth],
                           f.kl[depth], want.kl);
        cr_expect_float_eq(f.ppl[depth], want.ppl, 1e-5 * want.ppl);
        cr_expect_float_eq(f.top1[depth], want.top1, 1e-12);
        tlp_plan_free(plan);
    }
    cr_expect_eq(f.kl[N_LAYER], 0);
    cr_expect_str_eq(f.text[N_LAYER], "serial");
    free_front(&f);
    free(reference);
    tlp_model_free(m);
}

/* ==== against all plans ================================================== */

static const char *const mode_name[] = { "lp", "par", "asym" };

/* Of all plans with one pair, and with two, the least KL; and of those with two
 * of which one is the best single pair. */
typedef struct least {
    double one, two, greedy;
} least;

static least enumerate(tlp_model *m, const float *reference)
{
    least r = { INFINITY, INFINITY, INFINITY };
    char text[64];
    int best_place = 0, best_mode = 0;

    for (int a = 0; a < N_LAYER - 1; a++)
        for (int i = 0; i < 3; i++) {
            snprintf(text, sizeof text, "%s:%d-%d", mode_name[i], a, a + 1);
            double kl = text_kl(m, text, &whole, reference);
            if (kl < r.one) {
                r.one = kl;
                best_place = a;
                best_mode = i;
            }
        }
    for (int k = 0; k < (N_LAYER - 1) * (N_LAYER - 1) * 9; k++) {
        int a = k / 9 % (N_LAYER - 1), b = k / 9 / (N_LAYER - 1);
        int i = k % 3, j = k / 3 % 3;

        if (b < a + 2)
            continue;
        snprintf(text, sizeof text, "%s:%d-%d;%s:%d-%d", mode_name[i], a, a + 1,
                 mode_name[j], b, b + 1);
        double kl = text_kl(m, text, &whole, reference);
        r.two = fmin(r.two, kl);
        if ((a == best_place && i == best_mode) ||
            (b == best_place && j == best_mode))
            r.greedy = fmin(r.greedy, kl);
    }
    return r;
}

Test(plan_make, finds_the_best_pairs)
{
    enum { N_MODEL = CHECK_SLOWDOWN > 1 ? 1 : 6 };
    int n_two = 0;

    for (int k = 0; k < N_MODEL; k++) {
        tlp_model *m = open_tiny((uint64_t)k + 1);
        float *reference = text_serial_logits(m, &whole);
        least want = enumerate(m, reference);
        front f = { 0 };
        tlp_plan_make_options o = options(N_LAYER - 2);

        o.max_group = 2;
        o.objective = TLP_OBJECTIVE_KL;
        o.point = keep_point;
        o.point_data = &f;
        free(plan_rig_make(m, &whole, &o));
        cr_expect_float_eq(f.kl[N_LAYER - 1], want.one, 1e-6,
                           "model %d: %s has %.6f, the best pair %.6f", k,
                           f.text[N_LAYER - 1], f.kl[N_LAYER - 1], want.one);
        cr_expect_leq(f.kl[N_LAYER - 2], want.greedy + 1e-6,
                      "model %d: %s has %.6f, greedy %.6f", k,
                      f.text[N_LAYER - 2], f.kl[N_LAYER - 2], want.greedy);
        n_two += f.kl[N_LAYER - 2] < want.two + 1e-6;
        free_front(&f);
        free(reference);
        tlp_model_free(m);
    }
    cr_expect_geq(n_two, N_MODEL - 1, "%d of %d are the best two pairs", n_two,
                  N_MODEL);
}

/* The best pairs by each objective have least of it, on the whole: a single one
 * may have lost a race that it should have won. */
Test(plan_make, objectives)
{
    double cost[3][3] = { { 0 } }; /* by objective: of plans for another */

    for (int k = 0; k < 4; k++) {
        tlp_model *m = open_tiny((uint64_t)k + 1);

        for (int objective = 0; objective < 3; objective++) {
            front f = { 0 };
            tlp_plan_make_options o = options(N_LAYER - 1);

            o.objective = objective;
            o.point = keep_point;
            o.point_data = &f;
            free(plan_rig_make(m, &whole, &o));
            double kl = f.kl[N_LAYER - 1], nll = log(f.ppl[N_LAYER - 1]);
            cost[TLP_OBJECTIVE_BOTH][objective] += kl + nll;
            cost[TLP_OBJECTIVE_KL][objective] += kl;
            cost[TLP_OBJECTIVE_NLL][objective] += nll;
            free_front(&f);
        }
        tlp_model_free(m);
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            cr_expect(i == j || cost[i][i] < cost[i][j],
                      "objective %d: %.6f, by objective %d %.6f", i, cost[i][i],
                      j, cost[i][j]);
}

/* ==== the same answer ==================================================== */

/* Without memory for streams and reference everything runs whole. */
Test(plan_make, memory_and_threads_change_nothing)
{
    tlp_model *m = open_tiny(5);
    tlp_plan_make_options o = options(3);
    char *want = plan_rig_make(m, &whole, &o);

    for (int i = 0; i < 4; i++) {
        static const uint64_t bytes[] = { 1, 200000, 600000, 0 };

        o.max_bytes = bytes[i];
        session.n_thread = i == 3 ? 3 : 1;
        char *found = plan_rig_make(m, &whole, &o);
        cr_expect_str_eq(found, want, "%llu bytes",
                         (unsigned long long)bytes[i]);
        free(found);
    }
    free(want);
    tlp_model_free(m);
}

typedef struct make_brake {
    int left, n;
    double last;
} make_brake;

static int step(double done, void *data)
{
    make_brake *b = data;

    cr_expect(done >= b->last && done <= 1, "%g after %g", done, b->last);
    b->last = done;
    b->n++;
    return b->left > 0 && --b->left == 0;
}

Test(plan_make, resumes)
{
    tlp_model *m = open_tiny(6);
    tlp_plan_make_options o = options(4);
    const char *state = tiny_path("state.json");
    make_brake b = { 0 };
    tlp_plan *plan = NULL;
    tlp_status st = TLP_ECANCELED;
    int n_run = 0;

    o.progress = step;
    o.progress_data = &b;
    char *want = plan_rig_make(m, &whole, &o);
    int n_whole = b.n;

    o.resume = state;
    for (; st == TLP_ECANCELED && n_run < 200; n_run++) {
        b = (make_brake){ .left = 45 };
        st = tlp_plan_make(&plan, m, ids, N_TOKEN, &o);
    }
    CHECK_OK(st);
    cr_expect_gt(n_run, 2, "%d steps", n_whole);
    char *found = plan_rig_format(plan, TLP_PLAN_JSON);
    cr_expect_str_eq(found, want);
    tlp_plan_free(plan);
    free(found);
    free(want);

    /* All scores are there: nothing but the streams is made again. */
    b = (make_brake){ 0 };
    free(plan_rig_make(m, &whole, &o));
    cr_expect_lt(b.n, n_whole / 2, "%d of %d", b.n, n_whole);

    /* They serve another target. */
    o.depth = 5;
    o.resume = NULL;
    b = (make_brake){ 0 };
    want = plan_rig_make(m, &whole, &o);
    n_whole = b.n;
    o.resume = state;
    b = (make_brake){ 0 };
    found = plan_rig_make(m, &whole, &o);
    cr_expect_str_eq(found, want);
    cr_expect_lt(b.n, n_whole * 2 / 3, "%d of %d", b.n, n_whole);
    free(found);
    free(want);
    tlp_model_free(m);
}

/* ==== targets ============================================================ */

Test(plan_make, stays_within_a_budget)
{
    tlp_model *m = open_tiny(8);
    front all = { 0 }, f;
    tlp_plan_make_options o = options(2);

    o.point = keep_point;
    o.point_data = &all;
    free(plan_rig_make(m, &whole, &o));
    o.depth = 0;
    o.point_data = &f;
    for (int depth = 3; depth < N_LAYER; depth++) {
        tlp_plan *plan = NULL;

        if (all.kl[depth] >= all.kl[depth - 1])
            continue;
        f = (front){ 0 };
        o.max_kl = (all.kl[depth] + all.kl[depth - 1]) / 2;
        CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
        char *text = plan_rig_format(plan, TLP_PLAN_TEXT);
        cr_expect_str_eq(text, all.text[depth], "within %g", o.max_kl);
        cr_expect_eq(f.n_chosen, 1);
        free(text);
        free_front(&f);
        tlp_plan_free(plan);
    }

    /* Nothing fits: the serial plan.  Everything fits: all that can be. */
    f = (front){ 0 };
    o.max_kl = 1e-9;
    char *text = plan_rig_make(m, &whole, &o);
    cr_expect_eq(f.n, 2);
    cr_expect_null(strstr(text, "\"mode\""), "%s", text);
    free(text);
    free_front(&f);
    f = (front){ 0 };
    o.max_kl = 1e9;
    free(plan_rig_make(m, &whole, &o));
    cr_expect_leq(N_LAYER + 1 - f.n, 3);
    free_front(&f);
    free_front(&all);
    tlp_model_free(m);
}

static int depth_of(const tlp_plan *plan)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };

    CHECK_OK(tlp_plan_get_cost(&cost, plan, 1));
    return cost.effective_depth;
}

Test(plan_make, speedup)
{
    tlp_model *m = open_tiny(9);
    tlp_plan_make_options o = options(0);
    tlp_plan *plan = NULL, *serial = NULL;

    o.speedup = 1.4; /* 7 / 5 */
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    cr_expect_eq(depth_of(plan), 5);
    tlp_plan_free(plan);

    /* A link where messages are all that costs. */
    tlp_link link = { .struct_size = sizeof link,
                      .n_rank = 2,
                      .n_thread = 1,
                      .n_batch = 32,
                      .n_size = 2,
                      .size = { 64, 4096 },
                      .allreduce = { 1e-3, 1e-3 },
                      .late = { 1e-4, 1e-4 },
                      .send = { 1e-3, 1e-3 } };
    tlp_prediction a = { .struct_size = sizeof a },
                   b = { .struct_size = sizeof b };

    o.link = &link;
    o.speedup = 1.2;
    o.modes = 1u << TLP_MODE_PAR;
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    CHECK_OK(tlp_plan_parse(&serial, m, "serial"));
    CHECK_OK(tlp_plan_predict(&a, serial, &link, 2, 1, N_CTX / 2));
    CHECK_OK(tlp_plan_predict(&b, plan, &link, 2, 1, N_CTX / 2));
    cr_expect_geq(a.seconds, 1.2 * b.seconds);
    cr_expect_geq(depth_of(plan), 5, "a pair saves three of four");
    tlp_plan_free(plan);
    tlp_plan_free(serial);
    tlp_model_free(m);
}

Test(plan_make, modes_and_groups)
{
    tlp_model *m = open_tiny(2);
    tlp_plan_make_options o = options(2);
    tlp_plan *plan = NULL;

    o.modes = 1u << TLP_MODE_ASYM;
    o.max_group = 5;
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    cr_expect_eq(depth_of(plan), 2);
    for (size_t i = 0; i < 2; i++) {
        tlp_stage_info s = { .struct_size = sizeof s };

        CHECK_OK(tlp_plan_get_stage(&s, plan, i));
        cr_expect_leq(s.n_member, 5);
        cr_expect(s.mode == TLP_MODE_ASYM || s.n_member == 1);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== refusals =========================================================== */

static void refuse(tlp_model *m, const tlp_plan_make_options *o, tlp_status st,
                   const char *word)
{
    tlp_plan *plan = (tlp_plan *)1;

    CHECK_FAILS(st, tlp_plan_make(&plan, m, ids, N_TOKEN, o));
    cr_expect_null(plan);
    cr_expect(strstr(tlp_last_error(), word), "%s: %s expected",
              tlp_last_error(), word);
}

Test(plan_make, refuses_options)
{
    tlp_model *m = open_tiny(1);
    tlp_plan_make_options o = options(0);

    refuse(m, &o, TLP_EINVAL, "depth");
    refuse(m, NULL, TLP_EINVAL, "depth");
    o = options(5);
    o.max_kl = 0.1;
    refuse(m, &o, TLP_EINVAL, "one of");
    o = options(8);
    refuse(m, &o, TLP_EINVAL, "depth 8");
    o = options(1);
    refuse(m, &o, TLP_EUNREACHED, "depth 1");
    o = options(-1);
    refuse(m, &o, TLP_EINVAL, "depth -1");
    o = options(5);
    o.modes = 1;
    refuse(m, &o, TLP_EINVAL, "modes");
    o = options(5);
    o.max_group = 1;
    refuse(m, &o, TLP_EINVAL, "max_group");
    o = options(5);
    session.n_ctx = 1;
    refuse(m, &o, TLP_EINVAL, "n_ctx");
    o = options(5);
    session.struct_size = 3;
    refuse(m, &o, TLP_EINVAL, "tlp_session_options");
    o = options(0);
    o.speedup = 0.5;
    refuse(m, &o, TLP_EINVAL, "speedup");
    o = options(0);
    o.max_kl = NAN;
    refuse(m, &o, TLP_EINVAL, "max_kl");
    o = options(5);
    ids[7] = 288;
    refuse(m, &o, TLP_EINVAL, "token 7");
    tlp_model_free(m);
}

static void refuse_state(tlp_model *m, tlp_plan_make_options *o,
                         const char *text, tlp_status st, const char *word)
{
    const char *path = tiny_path("bad.json");

    tool_write_file(path, text, strlen(text));
    o->resume = path;
    refuse(m, o, st, word);
    cr_expect(strstr(tlp_last_error(), path));
}

Test(plan_make, refuses_foreign_scores)
{
    tlp_model *m = open_tiny(1), *other;
    tlp_plan_make_options o = options(6);
    const char *path = tiny_path("state.json");
    size_t n;

    o.resume = path;
    free(plan_rig_make(m, &whole, &o));
    char *good = tool_read_file(path, &n);

    o.seed = 1;
    refuse(m, &o, TLP_EMISMATCH, "seed");
    o.seed = 0;
    session.n_ctx = 16;
    refuse(m, &o, TLP_EMISMATCH, "n_ctx");
    session.n_ctx = N_CTX;
    session.compute = TLP_COMPUTE_DEFAULT;
    refuse(m, &o, TLP_EMISMATCH, "compute");
    session.compute = TLP_COMPUTE_F32;
    ids[3]++;
    refuse(m, &o, TLP_EMISMATCH, "tokens");
    other = open_tiny(2);
    refuse(other, &o, TLP_EMISMATCH, "model");
    tlp_model_free(other);

    refuse_state(m, &o, "", TLP_EFORMAT, "bad.json");
    refuse_state(m, &o, "{\"tlp_search\": 3}", TLP_EMISMATCH, "of.");
    refuse_state(m, &o, "{\"tlp_search\": 2}", TLP_EFORMAT, "tlp_search");
    refuse_state(m, &o, "[[[[[[[[[[[[[[", TLP_EFORMAT, "bad.json");
    for (int i = 0; i < 3; i++) {
        static const char *const cut[] = { "\"kl\": [[", "\"top1\": [",
                                           "\"draft\": \"" };
        static const char *const with[] = { "\"kl\": [[-1,", "\"top1\": [0,",
                                            "\"draft\": \"-" };
        char *at = strstr(good, cut[i]);
        char *bad = malloc(n + 64);

        cr_assert_not_null(at);
        snprintf(bad, n + 64, "%.*s%s%s", (int)(at - good), good, with[i],
                 at + strlen(cut[i]));
        refuse_state(m, &o, bad, TLP_EFORMAT, "scores[");
        free(bad);
    }
    free(good);
    o.resume = tiny_path("no/such/folder.json");
    refuse(m, &o, TLP_EIO, "folder.json");
    tlp_model_free(m);
}
