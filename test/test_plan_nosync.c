/*
 * test_plan_nosync.c - the planner of left-out exchanges on small models:
 * against all plans there are, against sessions, interrupted, refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"

enum {
    N_LAYER = 5,
    N_PLACE = 2 * N_LAYER - 1,
    N_EXCHANGE = 2 * N_LAYER,
    N_CTX = 32,
    N_TOKEN = 5 * N_CTX + 9
};

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };
static tlp_session_options session;

static tlp_model *open_tiny(uint64_t seed)
{
    rig_tokens(ids, N_TOKEN, (size_t)tiny_default().n_vocab, 11);
    return plan_rig_open(N_LAYER, seed);
}

static tlp_plan_make_options options(int exchanges)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;

    o.exchanges = exchanges;
    session = plan_rig_session(N_CTX);
    o.session = &session;
    return o;
}

TestSuite(plan_nosync, .timeout = 300);

/* ==== points ============================================================= */

typedef struct nosync_front {
    int n, n_chosen, n_rank;
    double kl[N_EXCHANGE + 1]; /* by exchanges */
    char *text[N_EXCHANGE + 1];
} nosync_front;

static void keep_point(const tlp_plan_point *p, void *data)
{
    nosync_front *f = data;

    cr_assert_eq(p->exchanges, N_EXCHANGE - f->n, "one step, one exchange");
    cr_expect_eq(p->depth, N_LAYER);
    cr_expect_eq(p->n_rank, f->n_rank);
    f->n++;
    f->n_chosen += p->chosen;
    f->kl[p->exchanges] = p->kl;
    f->text[p->exchanges] = plan_rig_format(p->plan, TLP_PLAN_TEXT);
}

static void free_front(nosync_front *f)
{
    for (int i = 0; i <= N_EXCHANGE; i++)
        free(f->text[i]);
    *f = (nosync_front){ 0 };
}

static void expect_points(tlp_model *m, int n_track)
{
    nosync_front f = { .n_rank = n_track ? n_track : 2 };
    tlp_plan_make_options o = options(1);
    float *reference = text_serial_logits(m, &whole);
    char head[16];

    snprintf(head, sizeof head, "nosync@%d:", f.n_rank);
    o.n_track = n_track;
    o.point = keep_point;
    o.point_data = &f;
    free(plan_rig_make(m, &whole, &o));
    cr_expect_eq(f.n, N_EXCHANGE, "down to the last exchange");
    cr_expect_eq(f.n_chosen, 1);
    cr_expect_str_eq(f.text[N_EXCHANGE], "serial");
    for (int i = 1; i < N_EXCHANGE; i++) {
        double want = text_kl(m, f.text[i], &whole, reference);

        cr_expect_eq(strncmp(f.text[i], head, strlen(head)), 0, "%s",
                     f.text[i]);
        cr_expect_float_eq(f.kl[i], want, 1e-9 + 1e-6 * want,
                           "%s: %.9f, %.9f by sessions", f.text[i], f.kl[i],
                           want);
    }
    free_front(&f);
    free(reference);
}

/* Streams begin at places of every kind on the way to one exchange. */
Test(plan_nosync, points_equal_sessions)
{
    tlp_model *m = open_tiny(3);

    expect_points(m, 0);
    expect_points(m, 3);
    tlp_model_free(m);
}

/* ==== against all plans ================================================== */

/* The text form of left-out places a and b; b may be a. */
static void put_plan(char *text, size_t cap, int a, int b)
{
    int n = snprintf(text, cap, "nosync:%d%c", a / 2, "af"[a % 2]);

    if (b != a)
        snprintf(text + n, cap - (size_t)n, ",%d%c", b / 2, "af"[b % 2]);
}

/* The best single exchange is found, and the best two in nearly all models. */
Test(plan_nosync, finds_the_best_exchanges)
{
    enum { N_MODEL = CHECK_SLOWDOWN > 1 ? 1 : 5 };
    int n_two = 0;

    for (int k = 0; k < N_MODEL; k++) {
        tlp_model *m = open_tiny((uint64_t)k + 1);
        float *reference = text_serial_logits(m, &whole);
        double one = INFINITY, two = INFINITY;
        nosync_front f = { .n_rank = 2 };
        tlp_plan_make_options o = options(N_EXCHANGE - 2);
        char text[64];

        for (int a = 0; a < N_PLACE; a++)
            for (int b = a; b < N_PLACE; b++) {
                put_plan(text, sizeof text, a, b);
                double kl = text_kl(m, text, &whole, reference);
                one = a == b ? fmin(one, kl) : one;
                two = a != b ? fmin(two, kl) : two;
            }
        o.objective = TLP_OBJECTIVE_KL;
        o.point = keep_point;
        o.point_data = &f;
        free(plan_rig_make(m, &whole, &o));
        cr_expect_float_eq(f.kl[N_EXCHANGE - 1], one, 1e-6, "model %d: %s", k,
                           f.text[N_EXCHANGE - 1]);
        n_two += f.kl[N_EXCHANGE - 2] < two + 1e-6;
        free_front(&f);
        free(reference);
        tlp_model_free(m);
    }
    cr_expect_geq(n_two, N_MODEL - 1, "%d of %d are the best two exchanges",
                  n_two, N_MODEL);
}

/* ==== repeated, interrupted ============================================== */

/* Without memory for streams every plan runs from its embeddings. */
Test(plan_nosync, memory_and_threads_change_nothing)
{
    tlp_model *m = open_tiny(5);
    tlp_plan_make_options o = options(3);
    char *want = plan_rig_make(m, &whole, &o);

    for (int i = 0; i < 4; i++) {
        static const uint64_t bytes[] = { 1, 100000, 300000, 0 };

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

static int brake(double done, void *data)
{
    int *left = data;

    (void)done;
    return *left > 0 && --*left == 0;
}

Test(plan_nosync, resumes)
{
    tlp_model *m = open_tiny(6);
    tlp_plan_make_options o = options(4);
    tlp_plan *plan = NULL;
    tlp_status st = TLP_ECANCELED;
    int n_run = 0, left;
    char *want = plan_rig_make(m, &whole, &o);

    o.progress = brake;
    o.progress_data = &left;
    o.resume = tiny_path("state.json");
    for (; st == TLP_ECANCELED && n_run < 200; n_run++) {
        left = 65;
        st = tlp_plan_make(&plan, m, ids, N_TOKEN, &o);
    }
    CHECK_OK(st);
    cr_expect_gt(n_run, 2);
    char *found = plan_rig_format(plan, TLP_PLAN_JSON);
    cr_expect_str_eq(found, want);
    tlp_plan_free(plan);
    free(found);
    free(want);

    /* The scores are of plans with two tracks. */
    o.n_track = 3;
    left = 0;
    CHECK_FAILS(TLP_EMISMATCH, tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    cr_expect_not_null(strstr(tlp_last_error(), "n_track"));
    tlp_model_free(m);
}

/* ==== targets ============================================================ */

static int count_exchanges(const tlp_plan *plan, int n_rank)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };

    CHECK_OK(tlp_plan_get_cost(&cost, plan, n_rank));
    return cost.exchanges;
}

Test(plan_nosync, reaches_targets)
{
    tlp_model *m = open_tiny(8);
    nosync_front all = { .n_rank = 2 };
    tlp_plan_make_options o = options(4);
    tlp_plan *plan = NULL;

    o.point = keep_point;
    o.point_data = &all;
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    cr_expect_eq(count_exchanges(plan, 2), 4);
    tlp_plan_free(plan);

    /* A budget of KL, between the points of 7 and 6 exchanges. */
    cr_assert_lt(all.kl[7], all.kl[6]);
    o = options(0);
    o.modes = TLP_MAKE_NOSYNC;
    o.max_kl = (all.kl[7] + all.kl[6]) / 2;
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    char *text = plan_rig_format(plan, TLP_PLAN_TEXT);
    cr_expect_str_eq(text, all.text[7]);
    free(text);
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
    o.max_kl = 0;
    o.speedup = 1.3;
    o.link = &link;
    CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
    cr_expect_lt(count_exchanges(plan, 2), N_EXCHANGE);
    cr_expect_geq(count_exchanges(plan, 2), 6);
    tlp_plan_free(plan);
    free_front(&all);
    tlp_model_free(m);
}

/* ==== with groups ========================================================= */

static void keep_mixed(const tlp_plan_point *p, void *data)
{
    nosync_front *f = data;

    cr_assert_eq(count_exchanges(p->plan, 2), p->exchanges);
    for (int i = 1; i <= p->exchanges; i++)
        cr_assert_null(f->text[i], "%d exchanges after %d", p->exchanges, i);
    f->n++;
    f->n_chosen += p->chosen;
    f->kl[p->exchanges] = p->kl;
    f->text[p->exchanges] = plan_rig_format(p->plan, TLP_PLAN_TEXT);
}

/* Every plan on the way is the plan that sessions run, whatever memory there
 * is, and a resumed search finds it again. */
static void expect_mixed(tlp_model *m, tlp_plan_make_options *o,
                         const char *word)
{
    nosync_front f = { .n_rank = 2 };
    float *reference = text_serial_logits(m, &whole);

    o->point = keep_mixed;
    o->point_data = &f;
    char *want = plan_rig_make(m, &whole, o);
    cr_expect_not_null(strstr(want, word), "%s", want);
    cr_expect_eq(f.n_chosen, 1);
    for (int i = 1; i < N_EXCHANGE; i++) {
        if (!f.text[i])
            continue;
        double kl = text_kl(m, f.text[i], &whole, reference);
        cr_expect_float_eq(f.kl[i], kl, 1e-9 + 1e-6 * kl, "%s", f.text[i]);
    }
    free_front(&f);
    free(reference);

    o->point = NULL;
    o->max_bytes = 1;
    o->resume = tiny_path("mixed.json");
    for (int i = 0; i < 2; i++) {
        char *found = plan_rig_make(m, &whole, o);
        cr_expect_str_eq(found, want);
        free(found);
    }
    free(want);
}

Test(plan_nosync, leaves_out_exchanges_and_joins_layers)
{
    tlp_model *m = open_tiny(4);
    tlp_plan_make_options o = options(3);

    o.modes = TLP_MAKE_NOSYNC | 1u << TLP_MODE_LP | 1u << TLP_MODE_PAR |
              1u << TLP_MODE_ASYM;
    expect_mixed(m, &o, "\"modes\": [\"lp\", \"par\", \"asym\", \"nosync\"]");
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

Test(plan_nosync, refuses_options)
{
    tlp_model *m = open_tiny(1);
    tlp_plan_make_options o = options(N_EXCHANGE + 1);

    refuse(m, &o, TLP_EINVAL, "exchanges 11: 1 to 10 expected");
    o = options(-1);
    refuse(m, &o, TLP_EINVAL, "exchanges -1: 1 to 10 expected");
    o = options(5);
    o.depth = 4;
    refuse(m, &o, TLP_EINVAL, "one of");
    o = options(5);
    o.modes = 1u << TLP_MODE_PAR;
    refuse(m, &o, TLP_EINVAL, "nosync expected");
    o.modes = TLP_MAKE_NOSYNC | 1u << TLP_MODE_MERGE;
    refuse(m, &o, TLP_EINVAL, "bits of lp, par, asym and nosync");
    o = options(0);
    o.modes = TLP_MAKE_NOSYNC | 1u << TLP_MODE_PAR;
    o.depth = 4;
    refuse(m, &o, TLP_EINVAL, "expected as the target");
    o = options(5);
    o.n_track = 7; /* the model has six heads */
    refuse(m, &o, TLP_EINVAL, "n_track 7: 2 to 6 expected");
    o.n_track = 1;
    refuse(m, &o, TLP_EINVAL, "n_track 1: 2 to 6 expected");
    o = options(0);
    o.modes = TLP_MAKE_NOSYNC;
    o.depth = 4;
    refuse(m, &o, TLP_EINVAL, "expected as the target");
    o.depth = 0;
    o.speedup = 1.2;
    refuse(m, &o, TLP_EINVAL, "expected as the target");

    /* Three ranks cannot run two tracks: refused before the search begins. */
    tlp_link link = { .struct_size = sizeof link,
                      .n_rank = 3,
                      .n_thread = 1,
                      .n_batch = 32,
                      .n_size = 2,
                      .size = { 64, 4096 },
                      .allreduce = { 1e-3, 1e-3 },
                      .late = { 1e-4, 1e-4 },
                      .send = { 1e-3, 1e-3 } };
    int left = 1;
    o.link = &link;
    o.progress = brake;
    o.progress_data = &left;
    refuse(m, &o, TLP_EINVAL, "2 tracks");
    tlp_model_free(m);
}
