/*
 * test_train_vec.c - training's operations on rows, of every instruction set,
 * against libm in double.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu.h"
#include "train/train_vec.h"

#define N 150 /* lengths: every rest of a vector, and whole blocks */

static const int isas[] = { TLP_ISA_SCALAR, TLP_ISA_AVX2, TLP_ISA_AVX512 };

static const tlpi_train_vec *table(size_t i)
{
    bool ok = isas[i] <= tlpi_cpu_detect();

    if (!ok)
        printf("skipped: this machine lacks instruction set %d\n", isas[i]);
    return ok ? tlpi_train_vec_of(isas[i]) : NULL;
}

/* For every instruction set that is here. */
#define EACH_TABLE(vec)                                                        \
    for (size_t isa_ = 0; isa_ < TLPI_COUNT(isas); isa_++)                     \
        for (const tlpi_train_vec *vec = table(isa_); vec; vec = NULL)

static uint32_t state = 1;

static float uniform(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

/* n numbers in [-size, size] and a 7 behind them. */
static void fill(float *x, size_t n, float size)
{
    for (size_t i = 0; i < n; i++)
        x[i] = size * uniform();
    x[n] = 7;
}

/* |x - want| <= error * size */
static void near(double x, double want, double error, double size,
                 const char *what, size_t i)
{
    cr_assert(fabs(x - want) <= error * size, "%s, element %zu: %.9g, not %.9g",
              what, i, x, want);
}

Test(train_vec, exponentials)
{
    enum { COUNT = 1 << 18 };
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);

    EACH_TABLE (vec) {
        double most = 0, sum = 0;

        for (size_t i = 0; i < COUNT; i++)
            x[i] = y[i] = 3 - 86 * (float)i / COUNT;
        double got = vec->exponentials(y, 3, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            double want = exp((double)x[i] - 3);

            near(y[i], want, 3e-7, want, "e^x", i);
            most = fmax(most, fabs(y[i] / want - 1));
            sum += y[i];
        }
        near(got, sum, 1e-6, sum, "sum", 0);
        printf("instruction set %d: relative error of e^x %.2g\n", isas[isa_],
               most);
    }
    free(x);
    free(y);
}

Test(train_vec, exponentials_of_every_length)
{
    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float x[N + 1], y[N + 1];
            double sum = 0;

            fill(x, n, 20);
            memcpy(y, x, sizeof y);
            double got = vec->exponentials(y, 21, n);
            for (size_t i = 0; i < n; i++) {
                double want = exp((double)(x[i] - 21));

                near(y[i], want, 3e-7, want, "e^x", i);
                sum += y[i];
            }
            near(got, sum, 1e-6, sum, "sum", n);
            cr_assert_eq(y[n], 7.0f, "wrote past %zu", n);
        }
}

/* What is no number stays one, in every lane; what is far below the largest
 * becomes next to nothing. */
Test(train_vec, exponentials_at_the_ends)
{
    EACH_TABLE (vec)
        for (size_t at = 0; at < 40; at++) {
            float x[40] = { 0 };

            x[at] = NAN;
            cr_assert(isnan(vec->exponentials(x, 0, 40)) && isnan(x[at]));
            x[at] = -INFINITY;
            cr_assert(isfinite(vec->exponentials(x, 1, 40)));
            cr_assert(x[at] >= 0 && x[at] < 1e-37);
            x[at] = INFINITY;
            cr_assert(isnan(vec->exponentials(x, INFINITY, 40)));
        }
}

Test(train_vec, top_and_find_above)
{
    EACH_TABLE (vec) {
        cr_assert_eq(vec->top(NULL, 0), -INFINITY);
        for (size_t n = 1; n < N; n++) {
            float x[N + 1];
            size_t at = n * 7 % n;

            fill(x, n, 1);
            x[at] = 2;
            cr_assert_eq(vec->top(x, n), 2.0f);
            x[n - 1] = 3;
            cr_assert_eq(vec->top(x, n), 3.0f);
            cr_assert_eq(vec->find_above(x, 0, n, 2), n - 1);
            cr_assert_eq(vec->find_above(x, 0, n, 3), n);
            for (size_t i = 0; i < n; i++) {
                size_t want = i;

                while (want < n && !(x[want] > 0.5f))
                    want++;
                cr_assert_eq(vec->find_above(x, i, n, 0.5f), want);
            }
            x[n - 1] = NAN;
            cr_assert_eq(vec->find_above(x, n - 1, n, -9), n);
        }
    }
}

/* fn(x) / x, and the derivative of fn. */
static double share_of(int fn, double x, double *slope)
{
    double u = x, by_u = 1;

    if (fn == TLPI_GATE_GELU) {
        u = 2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        by_u = 2 * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    }
    double p = 1 / (1 + exp(-u));

    *slope = p + x * p * (1 - p) * by_u;
    return p;
}

/* Bound of relative errors of e^-u in f32: u is rounded before. */
static double error_of(int fn, double x)
{
    return fn == TLPI_GATE_GELU ? 6e-7 + 2e-7 * fabs(x * (1 + 0.05 * x * x))
                                : 6e-7;
}

static void check_gate(const tlpi_train_vec *vec, int fn)
{
    for (size_t n = 0; n < N; n++) {
        float g[N + 1], u[N + 1], y[N + 1], a[N + 1], b[N + 1];

        fill(g, n, n % 2 ? 4 : 100);
        fill(u, n, 1);
        fill(b, n, 1);
        y[n] = 7;
        memcpy(a, g, sizeof a);
        vec->gate[fn](y, g, u, n);
        float gy[N + 1];
        memcpy(gy, b, sizeof gy);
        vec->gate_back[fn](a, u, b, n);
        for (size_t i = 0; i < n; i++) {
            double x = g[i], slope, p = share_of(fn, x, &slope);
            double size = fabs(x * p) + 1e-30, error = error_of(fn, x);

            near(y[i], x * p * u[i], error, size, "gate", i);
            near(b[i], x * p * gy[i], error, size, "gradient by up", i);
            near(a[i], slope * gy[i] * u[i], error, p + size * (1 + x * x),
                 "gradient by gate", i);
        }
        cr_assert(y[n] == 7 && a[n] == 7 && b[n] == 7, "wrote past %zu", n);
    }
}

Test(train_vec, gate)
{
    EACH_TABLE (vec)
        for (int fn = 0; fn < TLPI_N_DENSE_GATE; fn++)
            check_gate(vec, fn);
}

/* A gate that overflows e^x gives 0 or itself, and no NaN. */
Test(train_vec, gate_at_the_ends)
{
    EACH_TABLE (vec)
        for (int fn = 0; fn < TLPI_N_DENSE_GATE; fn++)
            for (float far = 1e4f; far < 1e31f; far *= 1e13f) {
                float g[3] = { -far, far, NAN }, u[3] = { 1, 1, 1 }, y[3];

                vec->gate[fn](y, g, u, 3);
                cr_assert(fabsf(y[0]) < 1e-36f * far && y[1] == far);
                cr_assert(isnan(y[2]));
                float gy[3] = { 1, 1, 1 };
                vec->gate_back[fn](g, u, gy, 3);
                cr_assert(fabsf(g[0]) < 1e-30f * far && g[1] == 1);
                cr_assert(fabsf(gy[0]) < 1e-36f * far && gy[1] == far);
                cr_assert(isnan(g[2]) && isnan(gy[2]));
            }
}

Test(train_vec, sums)
{
    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float x[N + 1], y[N + 1], z[N + 1];
            double two = 0, three = 0;

            fill(x, n, 1);
            fill(y, n, 1);
            fill(z, n, 1);
            for (size_t i = 0; i < n; i++) {
                two += (double)x[i] * y[i];
                three += (double)x[i] * y[i] * z[i];
            }
            near(vec->dot(x, y, n), two, 1e-14, 1 + (double)n, "dot", n);
            near(vec->dot3(x, y, z, n), three, 1e-7, 1 + (double)n, "dot3", n);
        }
}

Test(train_vec, additions)
{
    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float x[N + 1], y[N + 1], z[N + 1], a[N + 1], b[N + 1];

            fill(x, n, 1);
            fill(y, n, 1);
            fill(z, n, 1);
            float c[N + 1];
            memcpy(a, y, sizeof a);
            memcpy(b, y, sizeof b);
            c[n] = 7;
            vec->sum(c, y, x, 0.7f, n);
            vec->add(a, x, 0.7f, n);
            vec->add_product(b, x, z, 0.7f, n);
            for (size_t i = 0; i < n; i++) {
                double s = 0.7f;

                near(a[i], y[i] + s * x[i], 2e-7, 1, "add", i);
                near(c[i], y[i] + s * x[i], 2e-7, 1, "sum", i);
                near(b[i], y[i] + s * x[i] * z[i], 2e-7, 1, "add_product", i);
            }
            cr_assert(a[n] == 7 && b[n] == 7 && c[n] == 7, "wrote past %zu", n);
        }
}

Test(train_vec, norm_back)
{
    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float gx[N + 1], gy[N + 1], w[N + 1], x[N + 1], sum[N + 1];

            fill(gx, n, 1);
            fill(gy, n, 1);
            fill(w, n, 1);
            fill(x, n, 1);
            memcpy(sum, gx, sizeof sum);
            vec->norm_back(sum, gy, w, x, 0.9f, 0.4f, true, n);
            float in_place[N + 1];
            memcpy(in_place, gy, sizeof in_place);
            vec->norm_back(in_place, in_place, w, x, 0.9f, 0.4f, false, n);
            for (size_t i = 0; i < n; i++) {
                double g = (double)0.9f * gy[i] * w[i] - (double)0.4f * x[i];

                near(in_place[i], g, 3e-7, 1, "norm_back", i);
                near(sum[i], gx[i] + g, 3e-7, 1, "norm_back, added", i);
            }
            cr_assert(sum[n] == 7 && in_place[n] == 7, "wrote past %zu", n);
        }
}

Test(train_vec, adam)
{
    const tlpi_adam_rule r = { .scale = 0.5f,
                               .beta1 = 0.9f,
                               .beta2 = 0.95f,
                               .fix = 4,
                               .eps = 1e-3f,
                               .rate = 0.1f,
                               .keep = 0.98f };

    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float x[N + 1], m[N + 1], v[N + 1], g[N + 1];
            float x1[N + 1], m1[N + 1], v1[N + 1];

            fill(x, n, 1);
            fill(m, n, 1);
            fill(v, n, 1);
            fill(g, n, 1);
            for (size_t i = 0; i < n; i++)
                v[i] = fabsf(v[i]);
            memcpy(x1, x, sizeof x);
            memcpy(m1, m, sizeof m);
            memcpy(v1, v, sizeof v);
            vec->adam(&r, x1, m1, v1, g, n);
            for (size_t i = 0; i < n; i++) {
                double gi = 0.5 * g[i];
                double want_m = 0.9 * m[i] + 0.1 * gi;
                double want_v = 0.95 * v[i] + 0.05 * gi * gi;
                double step = 0.1 * want_m / (sqrt(want_v * 4) + 1e-3);

                near(m1[i], want_m, 3e-7, 1, "first moment", i);
                near(v1[i], want_v, 3e-7, 1, "second moment", i);
                near(x1[i], 0.98 * x[i] - step, 3e-7, 1 + fabs(step), "value",
                     i);
            }
            cr_assert(x1[n] == 7 && m1[n] == 7 && v1[n] == 7, "wrote past %zu",
                      n);
        }
}
