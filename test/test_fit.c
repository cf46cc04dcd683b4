/*
 * test_fit.c - closed-form fits: linear algebra against its definitions,
 * solutions that are known, held-out tokens that choose.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tune/fit.h"
#include "support/check.h"

static uint64_t state = 1;

/* Roughly normal, of variance 1. */
static double normal(void)
{
    double sum = 0;

    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 11) * 0x1p-53 - 0.5;
    }
    return sum;
}

static double *normals(size_t n)
{
    double *x = malloc(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = normal();
    return x;
}

static float *floats(size_t n)
{
    float *x = malloc(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = (float)normal();
    return x;
}

static tlp_status no_tick(void *arg)
{
    (void)arg;
    return TLP_OK;
}

static tlpi_env env;

static tlpi_fitter open_fitter(int n_thread)
{
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };
    tlpi_fitter f = { .env = &env, .tick = { .fn = no_tick } };

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pool_create(&f.pool, &env, &o));
    return f;
}

TestSuite(fit, .timeout = 120);

/* ==== linear algebra ===================================================== */

static double plain_dot(const double *a, const double *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

Test(fit, products)
{
    static const int shape[][3] = { { 1, 1, 1 },    { 3, 2, 5 },
                                    { 17, 9, 200 }, { 33, 35, 401 },
                                    { 4, 2, 192 },  { 50, 7, 0 } };
    tlpi_fitter f = open_fitter(3);

    for (size_t s = 0; s < TLPI_COUNT(shape); s++) {
        int m = shape[s][0], n = shape[s][1], k = shape[s][2];
        double *a = normals((size_t)(m * k)), *b = normals((size_t)(n * k));
        double *c = calloc((size_t)(m * n), sizeof *c);
        float *af = malloc((size_t)(m * k + 1) * sizeof *af);
        float *bf = malloc((size_t)(n * k + 1) * sizeof *bf);
        tlpi_dgemm p = { .m = m, .n = n, .k = k, .a = a, .b = b, .c = c };

        tlpi_dgemm_run(f.pool, &p);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++)
                cr_assert_float_eq(c[i * n + j],
                                   plain_dot(a + i * k, b + j * k, k), 1e-11);
        for (int i = 0; i < m * k; i++)
            af[i] = (float)a[i];
        for (int i = 0; i < n * k; i++)
            bf[i] = (float)b[i];
        p.a = p.b = NULL;
        p.af = af;
        p.bf = bf;
        tlpi_dgemm_run(f.pool, &p); /* adds the same once more */
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++)
                cr_assert_float_eq(
                    c[i * n + j], 2 * plain_dot(a + i * k, b + j * k, k), 1e-4);
        free(a);
        free(b);
        free(c);
        free(af);
        free(bf);
    }
    tlpi_pool_free(f.pool);
}

/* x A of a row x with a symmetric A. */
static void times(const double *x, const double *a, int n, double *y)
{
    for (int i = 0; i < n; i++)
        y[i] = plain_dot(x, a + i * n, n);
}

Test(fit, cholesky_solves)
{
    static const int size[] = { 1, 2, 31, 32, 33, 100 };
    tlpi_fitter f = open_fitter(2);

    for (size_t s = 0; s < TLPI_COUNT(size); s++) {
        int n = size[s], m = 37;
        size_t nn = (size_t)(n * n);
        double *x = normals((size_t)(m * n)), *g = normals(nn);
        double *a = calloc(nn, sizeof *a), *l = malloc(nn * sizeof *l);
        double *y = malloc((size_t)(m * n) * sizeof *y);

        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                a[i * n + j] = plain_dot(g + i * n, g + j * n, n) + (i == j);
        for (int i = 0; i < m; i++)
            times(x + i * n, a, n, y + i * n);
        memcpy(l, a, nn * sizeof *l);
        cr_assert(tlpi_cholesky(f.pool, n, l));
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++) {
                double sum = plain_dot(l + i * n, l + j * n, j + 1);
                cr_assert_float_eq(sum, a[i * n + j], 1e-9);
                cr_assert_eq(l[i * n + j], l[j * n + i]);
            }
        tlpi_solve_first(f.pool, m, n, l, y);
        tlpi_solve_second(f.pool, m, n, l, y);
        for (int i = 0; i < m * n; i++)
            cr_assert_float_eq(y[i], x[i], 1e-7, "n %d: %g %g", n, y[i], x[i]);
        free(x);
        free(g);
        free(a);
        free(l);
        free(y);
    }
    tlpi_pool_free(f.pool);
}

Test(fit, cholesky_refuses)
{
    double indefinite[] = { 1, 2, 2, 1 }, nan[] = { NAN };
    tlpi_fitter f = open_fitter(1);

    cr_expect_not(tlpi_cholesky(f.pool, 2, indefinite));
    cr_expect_not(tlpi_cholesky(f.pool, 1, nan));
    tlpi_pool_free(f.pool);
}

/* ==== a planted map ====================================================== */

enum { D = 24, N_FEATURE = 2, N = D * N_FEATURE };

typedef struct planted {
    int n_tok;
    float *feature[N_FEATURE], *present, *target, *weight;
} planted;

/* target = present + map (features) + noise; map [D][N] */
static planted plant(int n_tok, const double *map, double noise)
{
    size_t n = (size_t)n_tok * D;
    planted p = { .n_tok = n_tok,
                  .feature = { floats(n), floats(n) },
                  .present = floats(n),
                  .target = malloc(n * sizeof(float)),
                  .weight = malloc((size_t)n_tok * sizeof(float)) };

    for (int t = 0; t < n_tok; t++) {
        p.weight[t] = (float)(0.5 + fabs(normal()));
        for (int i = 0; i < D; i++) {
            double sum = (double)p.present[t * D + i] + noise * normal();

            for (int j = 0; j < N; j++)
                sum += map[i * N + j] * (double)p.feature[j / D][t * D + j % D];
            p.target[t * D + i] = (float)sum;
        }
    }
    return p;
}

static void uproot(planted *p)
{
    for (int i = 0; i < N_FEATURE; i++)
        free(p->feature[i]);
    free(p->present);
    free(p->target);
    free(p->weight);
}

static tlpi_rows rows_of(const planted *p, const float **feature)
{
    for (int i = 0; i < N_FEATURE; i++)
        feature[i] = p->feature[i];
    return (tlpi_rows){ .n_tok = p->n_tok,
                        .d = D,
                        .n_feature = N_FEATURE,
                        .feature = feature,
                        .target = p->target,
                        .present = p->present,
                        .weight = p->weight };
}

static tlpi_moments moments_of(const tlpi_fitter *f, const planted *p)
{
    const float *feature[N_FEATURE];
    tlpi_rows rows = rows_of(p, feature);
    tlpi_moments m;

    CHECK_OK(tlpi_moments_create(&m, &env, D, N_FEATURE));
    CHECK_OK(tlpi_moments_add(&m, f->pool, &rows));
    return m;
}

/* A map [D][N] of rank r. */
static double *low_map(int r)
{
    double *a = normals((size_t)(D * r)), *b = normals((size_t)(r * N));
    double *map = calloc((size_t)(D * N), sizeof *map);

    for (int i = 0; i < D; i++)
        for (int k = 0; k < r; k++)
            for (int j = 0; j < N; j++)
                map[i * N + j] += a[i * r + k] * b[k * N + j];
    free(a);
    free(b);
    return map;
}

static double entry(const tlpi_fitted_lowrank *x, int i, int j)
{
    double sum = 0;

    for (int k = 0; k < x->rank; k++)
        sum += (double)x->up[i * x->rank + k] * (double)x->down[k * N + j];
    return sum;
}

/* Largest difference of up down from a map, over the map's largest entry. */
static double distance(const tlpi_fitted_lowrank *x, const double *map)
{
    double most = 0, off = 0;

    for (int i = 0; i < D; i++)
        for (int j = 0; j < N; j++) {
            most = fmax(most, fabs(map[i * N + j]));
            off = fmax(off, fabs(entry(x, i, j) - map[i * N + j]));
        }
    return off / most;
}

Test(fit, moments_are_sums)
{
    tlpi_fitter f = open_fitter(3);
    double *map = low_map(2);
    planted p = plant(500, map, 0.1);
    tlpi_moments m = moments_of(&f, &p);
    double missing = 0, target = 0;

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double s = 0, c = 0;

            for (int t = 0; t < p.n_tok; t++) {
                double w = (double)p.weight[t];
                double x = (double)p.feature[j / D][t * D + j % D];
                int at = t * D + i % D;

                s += w * x * (double)p.feature[i / D][at];
                c += w * x * ((double)p.target[at] - (double)p.present[at]);
            }
            cr_assert_float_eq(m.s[i * N + j], s, 1e-2);
            if (i < D)
                cr_assert_float_eq(m.c[i * N + j], c, 5e-2);
        }
    for (int t = 0; t < p.n_tok; t++)
        for (int at = t * D; at < (t + 1) * D; at++) {
            double x = (double)p.target[at] - (double)p.present[at];
            missing += (double)p.weight[t] * x * x;
            target += (double)p.weight[t] * (double)p.target[at] *
                      (double)p.target[at];
        }
    cr_expect_float_eq(m.missing, missing, 1e-5 * missing);
    cr_expect_float_eq(m.target, target, 1e-5 * target);
    tlpi_moments_free(&m);
    uproot(&p);
    free(map);
    tlpi_pool_free(f.pool);
}

Test(fit, planted_map_is_recovered)
{
    tlpi_fitter f = open_fitter(2);
    double *map = low_map(4);
    planted p = plant(700, map, 0);
    tlpi_moments m = moments_of(&f, &p);
    tlpi_choice choice = { 1e-8, 4 };
    tlpi_fitted_lowrank x;

    CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, 4, &choice, &x));
    cr_expect_eq(x.rank, 4);
    cr_expect_lt(distance(&x, map), 1e-4, "%g", distance(&x, map));
    tlpi_fitted_lowrank_free(&env, &x);
    /* A higher rank finds no more. */
    choice.rank = 12;
    CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, 12, &choice, &x));
    cr_expect_lt(distance(&x, map), 1e-4, "%g", distance(&x, map));
    tlpi_fitted_lowrank_free(&env, &x);
    tlpi_moments_free(&m);
    uproot(&p);
    free(map);
    tlpi_pool_free(f.pool);
}

/* Solves a x = b for the columns of b [n][m] by Gauss's elimination. */
static void eliminate(double *a, int n, double *b, int m)
{
    for (int p = 0; p < n; p++) {
        int best = p;

        for (int i = p + 1; i < n; i++)
            if (fabs(a[i * n + p]) > fabs(a[best * n + p]))
                best = i;
        for (int j = 0; j < n; j++) {
            double x = a[p * n + j];
            a[p * n + j] = a[best * n + j];
            a[best * n + j] = x;
        }
        for (int j = 0; j < m; j++) {
            double x = b[p * m + j];
            b[p * m + j] = b[best * m + j];
            b[best * m + j] = x;
        }
        for (int i = 0; i < n; i++) {
            double by = a[i * n + p] / a[p * n + p];

            for (int j = 0; i != p && j < n; j++)
                a[i * n + j] -= by * a[p * n + j];
            for (int j = 0; i != p && j < m; j++)
                b[i * m + j] -= by * b[p * m + j];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            b[i * m + j] /= a[i * n + i];
}

/* Ridge regression by elimination, then its first direction by the power
 * method on B A B', taken off before the next. */
static double *plain_fit(const tlpi_moments *m, double ridge, int r)
{
    double *a = malloc(N * N * sizeof *a), *keep = malloc(N * N * sizeof *a);
    double *b = malloc(N * D * sizeof *b), g[D][D] = { { 0 } };
    double *map = calloc(D * N, sizeof *map);

    for (int i = 0; i < N * N; i++)
        keep[i] = a[i] = m->s[i] * (i % (N + 1) == 0 ? 1 + ridge : 1);
    for (int i = 0; i < D; i++)
        for (int j = 0; j < N; j++)
            b[j * D + i] = m->c[i * N + j];
    eliminate(a, N, b, D); /* b [N][D]: B' */
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++)
            for (int p = 0; p < N; p++)
                for (int q = 0; q < N; q++)
                    g[i][j] += b[p * D + i] * keep[p * N + q] * b[q * D + j];
    for (int k = 0; k < r; k++) {
        double u[D], v[D], length = 0;

        for (int i = 0; i < D; i++)
            u[i] = normal();
        for (int turn = 0; turn < 3000; turn++) {
            length = 0;
            for (int i = 0; i < D; i++) {
                v[i] = plain_dot(g[i], u, D);
                length += v[i] * v[i];
            }
            for (int i = 0; i < D; i++)
                u[i] = v[i] / sqrt(length);
        }
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++)
                g[i][j] -= sqrt(length) * u[i] * u[j];
        for (int j = 0; j < N; j++) {
            double down = plain_dot(u, b + j * D, D);
            for (int i = 0; i < D; i++)
                map[i * N + j] += u[i] * down;
        }
    }
    free(a);
    free(keep);
    free(b);
    return map;
}

/* Noise of full rank: every direction counts. */
Test(fit, low_rank_equals_another_method)
{
    tlpi_fitter f = open_fitter(2);
    double *map = low_map(6);
    planted p = plant(300, map, 3);
    tlpi_moments m = moments_of(&f, &p);

    for (int rank = 1; rank <= D; rank = rank == 1 ? 4 : rank == 4 ? D : D + 1)
        for (double ridge = 1e-3; ridge <= 1; ridge *= 1e3) {
            tlpi_choice choice = { ridge, rank };
            double *want = plain_fit(&m, ridge, rank);
            tlpi_fitted_lowrank x;

            CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, rank, &choice, &x));
            cr_expect_lt(distance(&x, want), 2e-3, "rank %d, ridge %g: %g",
                         rank, ridge, distance(&x, want));
            tlpi_fitted_lowrank_free(&env, &x);
            free(want);
        }
    tlpi_moments_free(&m);
    uproot(&p);
    free(map);
    tlpi_pool_free(f.pool);
}

static double error_of(const planted *p, const tlpi_fitted_lowrank *x)
{
    double sum = 0;

    for (int t = 0; t < p->n_tok; t++)
        for (int i = 0; i < D; i++) {
            int at = t * D + i;
            double e = (double)p->target[at] - (double)p->present[at];

            for (int j = 0; x && j < N; j++)
                e -= entry(x, i, j) * (double)p->feature[j / D][t * D + j % D];
            sum += (double)p->weight[t] * e * e;
        }
    return sum;
}

/* Few tokens and much noise: what was planted is of rank 3, the rest hurts.
 * The choice is the best of all that are offered, by plain evaluation. */
Test(fit, held_out_tokens_choose)
{
    tlpi_fitter f = open_fitter(2);
    double *map = low_map(3), least = INFINITY;
    planted p = plant(120, map, 8), q = plant(400, map, 8);
    tlpi_moments m = moments_of(&f, &p), held = moments_of(&f, &q);
    tlpi_choice choice, best = { 0 };
    tlpi_fitted_lowrank x;

    CHECK_OK(tlpi_fit_lowrank(&f, &m, &held, 12, &choice, &x));
    cr_expect_eq(x.rank, 3, "rank %d", x.rank);
    cr_expect_eq(choice.rank, 3);
    double got = error_of(&q, &x);
    cr_expect_lt(got, 0.95 * error_of(&q, NULL));
    tlpi_fitted_lowrank_free(&env, &x);
    for (int i = 0; i < TLPI_N_RIDGE; i++)
        for (int rank = 3; rank <= 12; rank *= 2) {
            tlpi_choice one = { tlpi_ridge[i], rank };

            CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, 12, &one, &x));
            if (error_of(&q, &x) < least) {
                least = error_of(&q, &x);
                best = one;
            }
            tlpi_fitted_lowrank_free(&env, &x);
        }
    cr_expect_eq(best.rank, choice.rank);
    cr_expect_eq(best.ridge, choice.ridge, "%g, %g by evaluation", choice.ridge,
                 best.ridge);
    cr_expect_float_eq(got, least, 1e-4 * least);
    tlpi_moments_free(&m);
    tlpi_moments_free(&held);
    uproot(&p);
    uproot(&q);
    free(map);
    tlpi_pool_free(f.pool);
}

/* Fitted to noise alone: nothing is kept, and nothing is made. */
Test(fit, noise_is_refused)
{
    tlpi_fitter f = open_fitter(1);
    double *map = calloc(D * N, sizeof *map);
    planted p = plant(150, map, 1), q = plant(150, map, 1);
    tlpi_moments m = moments_of(&f, &p), held = moments_of(&f, &q);
    tlpi_choice choice = { 1, 1 };
    tlpi_fitted_lowrank x;

    CHECK_OK(tlpi_fit_lowrank(&f, &m, &held, 8, &choice, &x));
    cr_expect_eq(choice.rank, 0);
    cr_expect_eq(x.rank, 0);
    cr_expect_null(x.up);
    tlpi_moments_free(&m);
    tlpi_moments_free(&held);
    uproot(&p);
    uproot(&q);
    /* And so is rounding. */
    p = plant(150, map, 1e-7);
    q = plant(150, map, 1e-7);
    m = moments_of(&f, &p);
    held = moments_of(&f, &q);
    choice.rank = 1;
    CHECK_OK(tlpi_fit_lowrank(&f, &m, &held, 8, &choice, &x));
    cr_expect_eq(choice.rank, 0);
    tlpi_moments_free(&m);
    tlpi_moments_free(&held);
    uproot(&p);
    uproot(&q);
    free(map);
    tlpi_pool_free(f.pool);
}

/* Columns that are always zero, as where a member has no attention sum. */
Test(fit, dead_features)
{
    tlpi_fitter f = open_fitter(1);
    double *map = low_map(4);
    planted p = plant(400, map, 0);
    tlpi_choice choice = { 1e-8, 4 };
    tlpi_fitted_lowrank x;

    memset(p.feature[1], 0, (size_t)p.n_tok * D * sizeof(float));
    tlpi_moments m = moments_of(&f, &p);
    CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, 4, &choice, &x));
    for (int i = 0; i < x.rank * N; i++) {
        cr_assert(isfinite(x.down[i]));
        if (i % N >= D)
            cr_assert_eq(x.down[i], 0);
    }
    tlpi_fitted_lowrank_free(&env, &x);
    tlpi_moments_free(&m);
    memset(p.feature[0], 0, (size_t)p.n_tok * D * sizeof(float));
    m = moments_of(&f, &p);
    CHECK_OK(tlpi_fit_lowrank(&f, &m, NULL, 4, &choice, &x));
    cr_expect_eq(x.rank, 0, "no features at all");
    tlpi_moments_free(&m);
    uproot(&p);
    free(map);
    tlpi_pool_free(f.pool);
}

Test(fit, threads_change_no_bit)
{
    double *map = low_map(5);
    planted p = plant(333, map, 1), q = plant(100, map, 1);
    tlpi_fitted_lowrank x[3];

    for (int i = 0; i < 3; i++) {
        tlpi_fitter f = open_fitter(1 + 2 * i);
        tlpi_moments m = moments_of(&f, &p), held = moments_of(&f, &q);
        tlpi_choice choice;

        CHECK_OK(tlpi_fit_lowrank(&f, &m, &held, 8, &choice, &x[i]));
        cr_assert_gt(x[i].rank, 0);
        cr_expect_eq(x[i].rank, x[0].rank);
        size_t n = (size_t)x[0].rank * sizeof(float);
        cr_expect_eq(memcmp(x[i].down, x[0].down, n * N), 0);
        cr_expect_eq(memcmp(x[i].up, x[0].up, n * D), 0);
        tlpi_moments_free(&m);
        tlpi_moments_free(&held);
        tlpi_pool_free(f.pool);
    }
    for (int i = 0; i < 3; i++)
        tlpi_fitted_lowrank_free(&env, &x[i]);
    uproot(&p);
    uproot(&q);
    free(map);
}

/* ==== gains and norms ==================================================== */

/* present = f_0 + f_1 + more; target = g_0 f_0 + g_1 f_1 + more.  The first
 * token is off, but has hardly any weight. */
static planted plant_gains(int n_tok, const double *g)
{
    double *zero = calloc(D * N, sizeof *zero);
    planted p = plant(n_tok, zero, 0);

    for (int i = 0; i < n_tok * D; i++) {
        double x = (double)p.feature[0][i], y = (double)p.feature[1][i];
        double more = normal();

        p.present[i] = (float)(x + y + more);
        p.target[i] = (float)(g[0] * x + g[1] * y + more);
    }
    for (int i = 0; i < D; i++)
        p.target[i] = 1e4f;
    p.weight[0] = 1e-14f;
    free(zero);
    return p;
}

Test(fit, planted_gains_are_recovered)
{
    static const double planted_gain[2] = { 0.75, 1.3 };
    static const double one[2] = { 1, 1 };
    tlpi_fitter f = open_fitter(1);
    const float *feature[N_FEATURE];
    float gain[2];

    for (int known = 0; known < 2; known++) {
        const double *g = known ? planted_gain : one;
        planted p = plant_gains(300, g), q = plant_gains(100, g);
        tlpi_gain_moments m = { 0 }, held = { 0 };
        tlpi_choice choice = { 1, 1 };
        tlpi_rows rows = rows_of(&p, feature);

        tlpi_gains_add(&m, &rows);
        rows = rows_of(&q, feature);
        tlpi_gains_add(&held, &rows);
        CHECK_OK(tlpi_fit_gains(&f, &m, &held, &choice, gain));
        cr_expect_eq(choice.rank, known);
        for (int i = 0; i < 2; i++)
            cr_expect_float_eq((double)gain[i], g[i], 1e-3, "%g, not %g",
                               (double)gain[i], g[i]);
        choice = (tlpi_choice){ 0, 1 };
        CHECK_OK(tlpi_fit_gains(&f, &m, NULL, &choice, gain));
        for (int i = 0; i < 2; i++)
            cr_expect_float_eq((double)gain[i], g[i], 1e-6, "%g, not %g",
                               (double)gain[i], g[i]);
        uproot(&p);
        uproot(&q);
    }
    tlpi_pool_free(f.pool);
}

Test(fit, planted_norms_are_recovered)
{
    tlpi_fitter f = open_fitter(1);
    double *zero = calloc(D * N, sizeof *zero), *g = normals(D);
    const float *feature[N_FEATURE];
    tlpi_norm_moments m, held;
    float scale[D];

    for (int noisy = 0; noisy < 2; noisy++) {
        planted p = plant(300, zero, 0), q = plant(200, zero, 0);
        const planted *all[] = { &p, &q };
        tlpi_choice choice;

        CHECK_OK(tlpi_norms_create(&m, &env, D));
        CHECK_OK(tlpi_norms_create(&held, &env, D));
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < all[k]->n_tok * D; i++) {
                double x = (double)all[k]->present[i];
                all[k]->target[i] =
                    (float)(noisy ? x + normal() : x * (1 + g[i % D]));
            }
            tlpi_rows rows = rows_of(all[k], feature);
            tlpi_norms_add(k == 0 ? &m : &held, &rows);
        }
        tlpi_fit_norms(&m, &held, &choice, scale);
        cr_expect_eq(choice.rank, !noisy);
        for (int j = 0; j < D; j++)
            cr_expect_float_eq((double)scale[j], noisy ? 1 : 1 + g[j], 4e-3);
        tlpi_norms_free(&m);
        tlpi_norms_free(&held);
        uproot(&p);
        uproot(&q);
    }
    free(zero);
    free(g);
    tlpi_pool_free(f.pool);
}
