/*
 * test_soft_cap.c - soft caps by the kernels of every instruction set, which
 * give equal bits, against the definition in double.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/vec_tables.h"

/* Equal bits in all tables, close to the definition, whatever is behind. */
Test(soft_cap, of_numbers)
{
    static const float caps[] = { 50, 0.75f, 30 * 1.442695f, 1e-3f };
    static const float sizes[] = { 1e-6f, 0.05f, 1, 4, 20, 1e4f };

    for (size_t n = 0; n < 70; n++)
        for (size_t i = 0; i < TLPI_COUNT(caps) * TLPI_COUNT(sizes); i++) {
            float cap = caps[i % TLPI_COUNT(caps)];
            float x[71], first[71];

            vec_fill(x, 70);
            for (size_t j = 0; j < n; j++)
                x[j] *= cap * sizes[i / TLPI_COUNT(caps)];
            memcpy(first, x, sizeof first);
            tlpi_cpu_vec_scalar.soft_cap(first, n, cap);
            EACH_TABLE (vec) {
                float y[71];

                memcpy(y, x, sizeof y);
                y[n] = 7;
                vec->soft_cap(y, n, cap);
                for (size_t j = 0; j < n; j++) {
                    double want = (double)cap * tanh((double)x[j] / cap);

                    cr_assert(fabs(y[j] - want) <= 5e-7 * fabs(want),
                              "%g: %.9g, not %.9g", x[j], y[j], want);
                }
                cr_assert_arr_eq(y, first, n * sizeof *y);
                cr_assert_eq(y[n], 7.0f, "wrote past %zu", n);
            }
        }
}

Test(soft_cap, of_no_number)
{
    EACH_TABLE (vec) {
        float x[20];

        for (int i = 0; i < 20; i++)
            x[i] = i % 4 == 0   ? NAN
                   : i % 4 == 1 ? INFINITY
                   : i % 4 == 2 ? -INFINITY
                                : -0.0f;
        vec->soft_cap(x, 20, 30);
        for (int i = 0; i < 20; i += 4) {
            cr_expect(isnan(x[i]));
            cr_expect_eq(x[i + 1], 30.0f);
            cr_expect_eq(x[i + 2], -30.0f);
            cr_expect_eq(x[i + 3], 0.0f);
        }
    }
}
