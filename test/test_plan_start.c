/*
 * test_plan_start.c - the planner when it sets out from a plan: points,
 * results, refusals.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"

enum { N_LAYER = 5, N_CTX = 32, N_TOKEN = 32 * N_CTX };

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };
static tlp_model *model;
static tlp_session_options session; /* of the options */

static void open_model(void)
{
    rig_tokens(ids, N_TOKEN, (size_t)tiny_default().n_vocab, 11);
    session = plan_rig_session(N_CTX);
    model = plan_rig_open(N_LAYER, 3);
}

static void close_model(void)
{
    tlp_model_free(model);
}

TestSuite(plan_start, .init = open_model, .fini = close_model, .timeout = 120);

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, text));
    return plan;
}

static tlp_plan_make_options options(const tlp_plan *start)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;

    o.session = &session;
    o.start = start;
    return o;
}

/* ==== results ============================================================ */

typedef struct points {
    int n, exchanges[2 * N_LAYER + 2];
    double kl[2 * N_LAYER + 2];
    char *text[2 * N_LAYER + 2];
} points;

static void keep_point(const tlp_plan_point *p, void *data)
{
    points *all = data;

    cr_assert_lt(all->n, 2 * N_LAYER + 2);
    all->exchanges[all->n] = p->exchanges;
    all->kl[all->n] = p->kl;
    all->text[all->n++] = plan_rig_format(p->plan, TLP_PLAN_TEXT);
}

static void free_points(points *all)
{
    for (int i = 0; i < all->n; i++)
        free(all->text[i]);
}

/* The first points are the serial plan and the start; the last is the plan. */
static tlp_plan *make_from(const char *text, tlp_plan_make_options o,
                           points *all)
{
    tlp_plan *plan = NULL, *start = parse(model, text);
    float *reference = text_serial_logits(model, &whole);

    o.start = start;
    o.point = keep_point;
    o.point_data = all;
    CHECK_OK(tlp_plan_make(&plan, model, ids, N_TOKEN, &o));
    double want = text_kl(model, text, &whole, reference);
    cr_assert_geq(all->n, 2);
    cr_expect_str_eq(all->text[0], "serial");
    cr_expect_str_eq(all->text[1], text);
    cr_expect_float_eq(all->kl[1], want, 1e-9 + 1e-6 * want);
    char *last = plan_rig_format(plan, TLP_PLAN_TEXT);
    cr_expect_str_eq(all->text[all->n - 1], last);
    free(last);
    free(reference);
    tlp_plan_free(start);
    return plan;
}

Test(plan_start, goes_on_to_fewer_exchanges)
{
    points all = { 0 };
    tlp_plan_make_options o = options(NULL);

    o.exchanges = 6;
    tlp_plan *plan = make_from("nosync@2:1f,3a", o, &all);
    cr_expect_eq(all.exchanges[1], 8);
    cr_expect_eq(all.exchanges[all.n - 1], 6);
    char *json = plan_rig_format(plan, TLP_PLAN_JSON);
    cr_expect_not_null(strstr(json, "\"start\": \"nosync@2:1f,3a\""), "%s",
                       json);
    free(json);
    tlp_plan_free(plan);
    free_points(&all);
}

/* The dearest of all pairs, and of all exchanges. */
static void find_dearest(const char *const *plan, int n, char *dearest)
{
    float *reference = text_serial_logits(model, &whole);
    double most = -INFINITY;

    for (int i = 0; i < n; i++) {
        double kl = text_kl(model, plan[i], &whole, reference);

        if (kl > most)
            strcpy(dearest, plan[i]);
        most = fmax(most, kl);
    }
    free(reference);
}

Test(plan_start, a_dear_pair_is_swapped)
{
    static const char *const pair[] = { "par:0-1", "par:1-2", "par:2-3",
                                        "par:3-4" };
    points all = { 0 };
    tlp_plan_make_options o = options(NULL);
    char dearest[16] = "";

    find_dearest(pair, 4, dearest);
    o.modes = 1u << TLP_MODE_PAR;
    o.depth = N_LAYER - 1;
    tlp_plan_free(make_from(dearest, o, &all));
    cr_assert_eq(all.n, 3);
    cr_expect_lt(all.kl[2], all.kl[1]);
    free_points(&all);
}

Test(plan_start, a_dear_exchange_is_swapped)
{
    static const char *const place[] = { "nosync@2:0a", "nosync@2:0f",
                                         "nosync@2:1a", "nosync@2:1f",
                                         "nosync@2:2a", "nosync@2:2f",
                                         "nosync@2:3a", "nosync@2:3f" };
    points all = { 0 };
    tlp_plan_make_options o = options(NULL);
    char dearest[16] = "";

    find_dearest(place, 8, dearest);
    o.exchanges = 2 * N_LAYER - 1;
    o.objective = TLP_OBJECTIVE_KL;
    tlp_plan_free(make_from(dearest, o, &all));
    cr_assert_eq(all.n, 3);
    cr_expect_lt(all.kl[2], all.kl[1]);
    cr_expect_eq(all.exchanges[2], 2 * N_LAYER - 1);
    free_points(&all);
}

/* A start beyond the budget leaves the serial plan. */
Test(plan_start, a_start_beyond_the_budget)
{
    tlp_plan *start = parse(model, "par:0-1"), *plan = NULL;
    tlp_plan_make_options o = options(start);

    o.max_kl = 1e-9;
    CHECK_OK(tlp_plan_make(&plan, model, ids, N_TOKEN, &o));
    char *text = plan_rig_format(plan, TLP_PLAN_TEXT);
    cr_expect_str_eq(text, "serial");
    free(text);
    tlp_plan_free(plan);
    tlp_plan_free(start);
}

/* ==== refusals =========================================================== */

static void refuse(const char *text, tlp_plan_make_options o, const char *word)
{
    tlp_plan *plan = NULL, *start = parse(model, text);

    o.start = start;
    CHECK_FAILS(TLP_ENOTSUP, tlp_plan_make(&plan, model, ids, N_TOKEN, &o));
    cr_expect_null(plan);
    cr_expect(strstr(tlp_last_error(), word), "%s: %s", text, tlp_last_error());
    tlp_plan_free(start);
}

Test(plan_start, refuses_plans_that_a_search_does_not_make)
{
    tlp_plan_make_options depth = options(NULL), exchanges = options(NULL);

    depth.depth = 3;
    exchanges.exchanges = 7;
    refuse("drop:2", depth, "layer 3: 2 expected");
    refuse("drop:4", depth, "layer 4 is dropped");
    refuse("order:1,0,2,3,4", depth, "layer 1: 0 expected");
    refuse("lp-code:1-2", depth, "mode lp-code");
    refuse("merge:1-2", depth, "mode merge");
    refuse("nosync@2:1a", depth, "between 2 tracks");
    refuse("nosync@3:1a", exchanges, "between 3 tracks, the search between 2");
    refuse("par:1-2", exchanges, "mode par");
    depth.modes = 1u << TLP_MODE_PAR;
    refuse("asym:1-2", depth, "mode asym");
}

Test(plan_start, refuses_another_model_and_adjustments)
{
    tlp_model *other = plan_rig_open(N_LAYER, 4);
    tlp_plan *plan = NULL, *adjusted = NULL;
    tlp_plan *start = parse(other, "par:1-2"), *pair = parse(model, "par:1-2");
    tlp_plan_make_options o = options(start);
    tlp_plan_adjust_options a = TLP_PLAN_ADJUST_OPTIONS_INIT;

    o.depth = 3;
    CHECK_FAILS(TLP_EMISMATCH, tlp_plan_make(&plan, model, ids, N_TOKEN, &o));

    a.session = &session;
    a.gains = a.norms = 1;
    a.rank = 8;
    a.held_out = 0.5;
    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, pair, ids, N_TOKEN, &a));
    o.start = adjusted;
    CHECK_FAILS(TLP_ENOTSUP, tlp_plan_make(&plan, model, ids, N_TOKEN, &o));
    cr_expect(strstr(tlp_last_error(), "adjustments"), "%s", tlp_last_error());
    tlp_plan_free(adjusted);
    tlp_plan_free(pair);
    tlp_plan_free(start);
    tlp_model_free(other);
}
