/*
 * test_route.c - the experts that a router's scores choose, and their weights.
 */
#include <math.h>
#include <stdlib.h>

#include "backend/cpu_route.h"
#include "support/check.h"

enum { N_EXPERT = 6, N_USED = 3, N_TOK = 4 };

static tlpi_env env;
static tlpi_backend *b;

static void set_up(void)
{
    const tlpi_backend_options o = {
        .n_thread = 1,
        .isa = TLP_ISA_SCALAR,
        .max_tok = N_TOK,
        .max_cols = 32,
        .max_terms = 1,
        .max_attn = 1,
        .max_used = N_USED,
    };

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_backend_cpu_create(&b, &env, &o));
}

static void tear_down(void)
{
    b->ops->free(b);
}

TestSuite(route, .timeout = 10, .init = set_up, .fini = tear_down);

static tlpi_routes *routes_of(bool norm, float scale, const float *score,
                              int n_tok)
{
    const tlpi_route_rule rule = { N_EXPERT, N_USED, norm, scale };
    tlpi_route item = { .score = score };

    CHECK_OK(b->ops->routes_create(b, &item.routes, &rule));
    b->ops->route(b, n_tok, &item, 1);
    cr_assert_eq(item.routes->n_entry, n_tok * N_USED);
    return item.routes;
}

/* The weight of an expert for a token, or 0; an expert has an entry at most. */
static float weight_of(const tlpi_routes *r, int token, int expert)
{
    float w = 0;
    int n = 0;

    for (int i = 0; i < r->n_run; i++)
        for (int j = r->run[i].begin; j < r->run[i + 1].begin; j++) {
            cr_assert_eq(r->run_of[j], i);
            if (r->run[i].expert == expert && r->token[j] == token) {
                w = r->weight[j];
                n++;
            }
        }
    cr_assert_leq(n, 1);
    return w;
}

static void expect_weights(const tlpi_routes *r, int token, const double *want)
{
    for (int e = 0; e < N_EXPERT; e++)
        cr_expect_float_eq(weight_of(r, token, e), want[e], 1e-6,
                           "token %d, expert %d: %g", token, e,
                           (double)weight_of(r, token, e));
}

Test(route, softmax_over_the_best_or_over_all)
{
    static const float score[N_EXPERT] = { 0, 3, -1, 1, 2, -5 };
    double e1 = exp(3), e3 = exp(1), e4 = exp(2);
    double used = e1 + e3 + e4, all = used + 1 + exp(-1) + exp(-5);
    tlpi_routes *r = routes_of(true, 1, score, 1);

    expect_weights(r, 0,
                   (double[]){ 0, e1 / used, 0, e3 / used, e4 / used, 0 });
    b->ops->routes_free(b, r);
    r = routes_of(false, 2.5f, score, 1);
    expect_weights(
        r, 0,
        (double[]){ 0, 2.5 * e1 / all, 0, 2.5 * e3 / all, 2.5 * e4 / all, 0 });
    b->ops->routes_free(b, r);
}

/* Runs of experts rise, and so do tokens within a run. */
Test(route, entries_are_sorted)
{
    static const float score[N_TOK][N_EXPERT] = { { 5, 4, 3, 2, 1, 0 },
                                                  { 0, 1, 2, 3, 4, 5 },
                                                  { 5, 0, 4, 1, 3, 2 },
                                                  { 0, 0, 9, 0, 9, 9 } };
    tlpi_routes *r = routes_of(true, 1, score[0], N_TOK);

    for (int i = 0; i < r->n_run; i++) {
        cr_expect(r->run[i].begin < r->run[i + 1].begin);
        cr_expect(r->run[i].expert < r->run[i + 1].expert);
        for (int j = r->run[i].begin + 1; j < r->run[i + 1].begin; j++)
            cr_expect(r->token[j - 1] < r->token[j]);
    }
    cr_expect_eq(r->run[r->n_run].begin, N_TOK * N_USED);
    expect_weights(r, 3, (double[]){ 0, 0, 1 / 3., 0, 1 / 3., 1 / 3. });
    b->ops->routes_free(b, r);
}

Test(route, ties_go_to_lower_experts)
{
    static const float score[2][N_EXPERT] = { { 1, 1, 1, 1, 1, 1 },
                                              { 0, 7, 0, 7, 0, 0 } };
    double low = 1 / (1 + 2 * exp(7)), high = exp(7) * low;
    tlpi_routes *r = routes_of(true, 1, score[0], 2);

    expect_weights(r, 0, (double[]){ 1 / 3., 1 / 3., 1 / 3., 0, 0, 0 });
    expect_weights(r, 1, (double[]){ low, high, 0, high, 0, 0 });
    b->ops->routes_free(b, r);
}

/* Large scores do not overflow, and -inf is an expert without weight. */
Test(route, scores_without_measure)
{
    static const float score[2][N_EXPERT] = { { 1e30f, -1e30f, 0, 1e30f, 0, 0 },
                                              { -INFINITY, 1, -INFINITY, 1,
                                                -INFINITY, -INFINITY } };
    tlpi_routes *r = routes_of(true, 1, score[0], 2);

    expect_weights(r, 0, (double[]){ 0.5, 0, 0, 0.5, 0, 0 });
    expect_weights(r, 1, (double[]){ 0, 0.5, 0, 0.5, 0, 0 });
    b->ops->routes_free(b, r);
}

/* A token without a choice gets weights that are no numbers, and the other
 * tokens are as they were. */
Test(route, scores_that_are_no_numbers)
{
    static const float score[N_TOK][N_EXPERT] = {
        { 0, 1, NAN, 3, 4, 5 },
        { 0, 1, 2, 0, 0, 0 },
        { 0, INFINITY, 2, 3, 4, 5 },
        { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY },
    };
    tlpi_routes *r = routes_of(true, 1, score[0], N_TOK);

    for (int t = 0; t < N_TOK; t++)
        for (int e = 0; e < N_USED; e++)
            cr_expect(isnan(weight_of(r, t, e)) == (t != 1),
                      "token %d, expert %d: %g", t, e,
                      (double)weight_of(r, t, e));
    b->ops->routes_free(b, r);
}
