/*
 * test_cuda_ops.c - operations of the CUDA backend on rows and on logits
 * against the scalar ones of the CPU; what is refused.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "support/both.h"
#include "support/check.h"
#include "support/random_weights.h"

TestSuite(cuda_ops, .init = both_open, .fini = both_close, .timeout = 300);

/* ==== rows =============================================================== */

Test(cuda_ops, embedding)
{
    enum { ROWS = 40, N = 5 };
    const int32_t id[N] = { 39, 0, 7, 7, 31 }, seq[N] = { 0 };
    const int32_t pos[N] = { 0, 1, 2, 3, 4 };
    tlpi_step step = { N, id, seq, pos };

    for (int i = 0; i < WEIGHTS_N_TYPE; i++) {
        int block = tlpi_dtype_get(weights_type[i])->block;
        int cols = block > 1 ? 2 * block : 35;
        size_t n = (size_t)(N * cols);
        tlpi_tensor t = random_tensor(weights_type[i], ROWS, cols);
        tlpi_weight *w = weigh_all(gpu, &t);
        float *zero = calloc(n, sizeof *zero);
        float *a = put(cpu, zero, n), *b = put(gpu, zero, n);

        cpu->ops->embed(cpu, &step, &t, NULL, 1.5f, a);
        gpu->ops->begin_step(gpu, &step, NULL);
        gpu->ops->embed(gpu, &step, &t, w, 1.5f, b);
        CHECK_OK(gpu->ops->end_step(gpu, TLP_OK));
        expect_equal(take(cpu, a, n), take(gpu, b, n), n, 1e-6,
                     tlpi_dtype_name(weights_type[i]));
        gpu->ops->weight_free(w);
        free(zero);
        tensor_free(&t);
    }
}

/* sum: 0 none, 1 in place, 2 elsewhere.  bare: the last norm has no weights. */
static void check_norm(int n_tok, int cols, bool with_delta, int sum,
                       int n_norm, bool bare)
{
    size_t n = (size_t)(n_tok * cols);
    float *x = random_floats(n), *d = random_floats(n);
    float *w = random_floats((size_t)cols), *out[2][3] = { 0 };

    for (int i = 0; i < 2; i++) {
        tlpi_backend *b = each(i);
        float *dx = put(b, x, n), *dd = put(b, d, n), *ds = put(b, x, n);
        float *dw = put(b, w, (size_t)cols), *y[2];
        tlpi_norm norm[2];
        for (int k = 0; k < 2; k++) {
            y[k] = put(b, d, n);
            norm[k] = (tlpi_norm){ bare && k == n_norm - 1 ? NULL : dw, y[k] };
        }
        b->ops->add_norm(b, n_tok, cols, dx, with_delta ? dd : NULL,
                         sum == 1   ? dx
                         : sum == 2 ? ds
                                    : NULL,
                         norm, n_norm, 1e-5f);
        out[i][0] = take(b, sum == 1 ? dx : ds, n);
        out[i][1] = take(b, y[0], n);
        out[i][2] = take(b, y[1], n);
        b->ops->buffer_free(b, sum == 1 ? ds : dx);
        b->ops->buffer_free(b, dd);
        b->ops->buffer_free(b, dw);
    }
    for (int k = 0; k < 3; k++)
        expect_equal(out[0][k], out[1][k], n, 1e-5, "norm");
    free(x);
    free(d);
    free(w);
}

Test(cuda_ops, norms)
{
    for (int sum = 0; sum < 3; sum++)
        for (int n_norm = sum ? 0 : 1; n_norm <= 2; n_norm++) {
            check_norm(1, 96, true, sum, n_norm, false);
            check_norm(3, 1001, sum == 1, sum, n_norm, false);
            check_norm(3, 1001, sum == 1, sum, n_norm, true);
        }
}

/* Items of one sum, more than a launch takes. */
Test(cuda_ops, squares)
{
    enum { T = 3, COLS = 37, N = 70 };
    float *x = random_floats(T * COLS * N), *start = random_floats(2 * T);
    float *out[2];

    for (int i = 0; i < 2; i++) {
        tlpi_backend *b = each(i);
        float *dx = put(b, x, T * COLS * N), *y = put(b, start, 2 * T);
        tlpi_square item[N];

        for (int k = 0; k < N; k++)
            item[k] = (tlpi_square){ dx + k * T * COLS, k % 5 ? COLS : 7,
                                     y + k % 2 * T };
        b->ops->sum_squares(b, T, item, N);
        out[i] = take(b, y, 2 * T);
        b->ops->buffer_free(b, dx);
    }
    expect_equal(out[0], out[1], 2 * T, 1e-3, "squares");
    free(x);
    free(start);
}

Test(cuda_ops, adding_and_gathering)
{
    enum { ROWS = 9, COLS = 33, N = 4 };
    const int32_t rows[N] = { 8, 0, 3, 3 };
    float *x = random_floats(ROWS * COLS), *out[2][2];

    for (int i = 0; i < 2; i++) {
        tlpi_backend *b = each(i);
        float *dx = put(b, x, ROWS * COLS), *y = put(b, x, ROWS * COLS);
        b->ops->zero(b, y, 2 * COLS);
        b->ops->add(b, y + COLS, dx, 5 * COLS);
        b->ops->gather(b, y, rows, N, COLS, dx);
        out[i][0] = take(b, y, ROWS * COLS);
        out[i][1] = take(b, dx, ROWS * COLS);
    }
    for (int k = 0; k < 2; k++)
        expect_equal(out[0][k], out[1][k], ROWS * COLS, 0, "rows");
    free(x);
}

/* ==== logits ============================================================= */

Test(cuda_ops, log_sum_exp)
{
    enum { N = 3, COLS = 1500 };
    const int32_t index[N] = { 1499, -1, 0 };
    float *x = random_floats(N * COLS), lse[2][N], at[2][N];

    for (int i = 0; i < N * COLS; i++)
        x[i] *= 10;
    for (int i = 0; i < 2; i++) {
        tlpi_backend *b = each(i);
        float *dx = put(b, x, N * COLS);
        CHECK_OK(b->ops->log_sum_exp(b, dx, N, COLS, index, lse[i], at[i]));
        b->ops->buffer_free(b, dx);
    }
    for (int i = 0; i < N; i++) {
        cr_assert_float_eq(lse[0][i], lse[1][i], 1e-4f);
        cr_assert(at[0][i] == at[1][i]);
    }
    free(x);
}

static void check_top(const float *x, int n, int cols, int k)
{
    tlpi_candidate top[2][TLPI_MAX_TOP];

    for (int i = 0; i < 2; i++) {
        tlpi_backend *b = each(i);
        float *dx = put(b, x, (size_t)(n * cols));
        CHECK_OK(b->ops->top(b, dx, n, cols, 100, k, top[i]));
        b->ops->buffer_free(b, dx);
    }
    for (int i = 0; i < n * k; i++)
        cr_assert(top[0][i].id == top[1][i].id &&
                      top[0][i].logit == top[1][i].logit,
                  "%d of %d, candidate %d: %d (%g) on the CPU, %d (%g) on the "
                  "GPU",
                  k, cols, i, top[0][i].id, (double)top[0][i].logit,
                  top[1][i].id, (double)top[1][i].logit);
}

/* A token with NaN comes first on both, and makes the sum NaN, as +inf does. */
Test(cuda_ops, unsound_logits)
{
    enum { COLS = 3000 };
    static const float bad[] = { NAN, -NAN, INFINITY };
    float *x = random_floats(COLS);

    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 2; i++) {
            tlpi_backend *b = each(i);
            const int32_t none = -1;
            float lse = 0, at = 0;
            tlpi_candidate best;

            x[1234] = bad[c];
            float *dx = put(b, x, COLS);
            for (int k = 1; k <= 40; k += 39) {
                tlpi_candidate top[40];
                CHECK_OK(b->ops->top(b, dx, 1, COLS, 100, k, top));
                best = top[0];
                cr_assert(best.id == 1334 && !(best.logit <= FLT_MAX),
                          "backend %d, logit %g, %d candidates: %d (%g)", i,
                          (double)bad[c], k, best.id, (double)best.logit);
            }
            CHECK_OK(b->ops->log_sum_exp(b, dx, 1, COLS, &none, &lse, &at));
            cr_assert(isnan(lse), "backend %d, logit %g: lse %g", i,
                      (double)bad[c], (double)lse);
            b->ops->buffer_free(b, dx);
        }
    free(x);
}

Test(cuda_ops, candidates)
{
    enum { N = 4, COLS = 3000 };
    float *x = random_floats(N * COLS);

    for (int i = 0; i < COLS; i++) /* many equal ones */
        x[i] = (float)(i % 5) - 2;
    x[COLS + 17] = x[COLS + 3] = 100;
    x[2 * COLS + 4] = -INFINITY;
    x[2 * COLS + 5] = INFINITY;
    check_top(x, N, COLS, 1);
    check_top(x, N, COLS, 2);
    check_top(x, N, COLS, 40);
    check_top(x, 1, COLS, TLPI_MAX_TOP);
    check_top(x, N, 6, 9);
    /* Most of the best are found by few of a block's threads. */
    for (int i = 0; i < COLS; i++)
        x[i] = i % 1024 < 255 ? 5 + (float)i / COLS : (float)i / COLS;
    check_top(x, 1, COLS, TLPI_MAX_TOP);
    free(x);
}

/* ==== what is refused ==================================================== */

Test(cuda_ops, cuts_that_are_no_blocks)
{
    tlpi_tensor t = random_tensor(TLPI_Q4_K, 4, 512);
    tlpi_weight *w = NULL;
    bool copied;

    CHECK_FAILS(TLP_EINVAL,
                gpu->ops->weight_create(gpu, &w, &t, 0, 4, 32, 512, &copied));
    CHECK_FAILS(TLP_EINVAL,
                gpu->ops->weight_create(gpu, &w, &t, 0, 5, 0, 512, &copied));
    tensor_free(&t);
}

Test(cuda_ops, more_memory_than_there_is)
{
    float *x = NULL;

    CHECK_FAILS(TLP_ENOMEM, gpu->ops->buffer_create(gpu, &x, (size_t)1 << 44));
    cr_assert_null(x);
    /* That was no failure of the device. */
    check_top((float[]){ 1, 2, 3 }, 1, 3, 1);
}
