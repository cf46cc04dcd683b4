/*
 * test_train_panels.c - products whose operands are packed before: frozen
 * matrices as panels, and an A that stays.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/random_weights.h"
#include "train/train_gemm.h"

TestSuite(train_panels, .timeout = 120);

typedef struct panel_rig {
    tlpi_env env;
    tlpi_pool *pool;
    tlpi_gemm *gemm;
} panel_rig;

static void rig_open(panel_rig *r, int n_thread)
{
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };

    CHECK_OK(tlpi_env_init(&r->env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pool_create(&r->pool, &r->env, &o));
    CHECK_OK(tlpi_gemm_create(&r->gemm, &r->env, r->pool, TLP_ISA_AUTO));
}

static void rig_close(panel_rig *r)
{
    tlpi_gemm_free(r->gemm);
    tlpi_pool_free(r->pool);
}

/* The product by memory that has packed nothing before. */
static float *product(tlpi_gemm_args x)
{
    panel_rig r;
    float *c = malloc((size_t)(x.m * x.n) * sizeof *c);

    rig_open(&r, 1);
    x.c = c;
    x.ldc = (size_t)x.n;
    tlpi_gemm_run(r.gemm, &x);
    rig_close(&r);
    return c;
}

/* Of a B that is larger than all memory of a product. */
Test(train_panels, panels_change_no_bit)
{
    enum { M = 300, N = 310, K = 4352 };
    tlpi_tensor t = random_tensor(TLPI_Q8_0, N, K);
    float *a = random_floats((size_t)M * K);
    panel_rig r;

    rig_open(&r, 2);
    for (int trans = 0; trans < 2; trans++) {
        tlpi_gemm_args x = { M,
                             trans ? N : K,
                             trans ? K : N,
                             1,
                             0,
                             a,
                             K,
                             false,
                             tlpi_gemm_weight(&t, 0, 0),
                             NULL,
                             0 };
        float *one, *two = malloc((size_t)(M * x.n) * sizeof *two);

        x.b.trans = trans;
        one = product(x);
        x.c = two;
        x.ldc = (size_t)x.n;
        float *panels =
            malloc(tlpi_gemm_panel_floats(r.gemm, x.k, x.n) * sizeof *panels);

        tlpi_gemm_pack(r.gemm, &x.b, x.k, x.n, panels);
        x.b.panels = panels;
        tlpi_gemm_run(r.gemm, &x);
        free(panels);
        cr_assert(!memcmp(one, two, (size_t)(M * x.n) * sizeof *one));
        free(one);
        free(two);
    }
    rig_close(&r);
    free(a);
    tensor_free(&t);
}

/* A promise holds for the A of the last product alone: at another address, with
 * other sizes, or larger than the memory, A is packed again. */
Test(train_panels, a_promise_changes_no_bit)
{
    enum { N = 40, K = 2600, ROWS = 700 };
    static const struct {
        int m, k, from;
        bool a_trans;
    } next[] = { { 70, 200, 0, false }, { 70, 200, 1, false },
                 { 71, 200, 0, false }, { 70, 201, 0, false },
                 { 70, 200, 0, true },  { 70, 200, 0, true },
                 { ROWS, K, 0, false }, { ROWS, K, 0, false },
                 { 70, 200, 0, false } };
    float *a = random_floats((size_t)ROWS * K + K);
    float *b = random_floats((size_t)K * N);
    float *c = malloc(ROWS * N * sizeof *c);
    panel_rig r;

    rig_open(&r, 2);
    for (size_t i = 0; i < TLPI_COUNT(next); i++) {
        tlpi_gemm_args x = { next[i].m,
                             N,
                             next[i].k,
                             1,
                             0,
                             a + next[i].from,
                             K,
                             next[i].a_trans,
                             tlpi_gemm_floats(b, N),
                             NULL,
                             0 };
        float *want = product(x);

        x.c = c;
        x.ldc = N;
        for (int again = 0; again < 2; again++) {
            tlpi_gemm_again(r.gemm);
            tlpi_gemm_run(r.gemm, &x);
            cr_assert(!memcmp(want, c, (size_t)(x.m * N) * sizeof *c),
                      "product %zu", i);
        }
        free(want);
    }
    rig_close(&r);
    free(c);
    free(b);
    free(a);
}
