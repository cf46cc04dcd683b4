/*
 * test_train_gemm.c - matrix products for training: every instruction set,
 * tensor type, range and shape against products in double precision.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/counting.h"
#include "support/random_weights.h"
#include "train/train_gemm.h"

TestSuite(train_gemm, .timeout = 120);

typedef struct gemm_rig {
    tlpi_env env;
    tlpi_pool *pool;
    tlpi_gemm *gemm; /* NULL: the machine lacks the instruction set */
} gemm_rig;

static void rig_open(gemm_rig *r, int isa, int n_thread)
{
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };

    CHECK_OK(tlpi_env_init(&r->env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pool_create(&r->pool, &r->env, &o));
    tlp_status st = tlpi_gemm_create(&r->gemm, &r->env, r->pool, isa);
    if (st == TLP_ENOTSUP)
        printf("skipped: %s\n", tlp_last_error());
    else
        CHECK_OK(st);
}

static void rig_close(gemm_rig *r)
{
    tlpi_gemm_free(r->gemm);
    tlpi_pool_free(r->pool);
}

/* ==== reference ========================================================== */

/* Element (k, n) of B; `w` has all of the matrix as floats, `cols` a row. */
static double b_at(const tlpi_gemm_source *b, const float *w, int64_t cols,
                   int64_t k, int64_t n)
{
    int64_t row = b->row + (b->trans ? n : k);
    int64_t col = b->col + (b->trans ? k : n);
    return (double)w[row * cols + col];
}

static double a_at(const tlpi_gemm_args *x, int64_t m, int64_t k)
{
    int64_t lda = (int64_t)x->lda;
    return (double)x->a[x->a_trans ? k * lda + m : m * lda + k];
}

/* Compare x->c with the product; `old` is C before it.  What lies between the
 * rows of C must be as before. */
static void check_c(const tlpi_gemm_args *x, const float *w, int64_t cols,
                    const float *old, const char *what)
{
    int64_t ldc = (int64_t)x->ldc;

    for (int64_t i = 0; i < x->m; i++)
        for (int64_t j = 0; j < ldc; j++) {
            float got = x->c[i * ldc + j];
            if (j >= x->n) {
                cr_assert(!memcmp(&got, &old[i * ldc + j], sizeof got),
                          "%s: wrote behind row %d", what, (int)i);
                continue;
            }
            double sum = 0, size = 0;
            for (int64_t k = 0; k < x->k; k++) {
                double p = a_at(x, i, k) * b_at(&x->b, w, cols, k, j);
                sum += p;
                size += fabs(p);
            }
            double want = (double)x->alpha * sum, beta = (double)x->beta;
            if (x->beta != 0)
                want += beta * (double)old[i * ldc + j];
            double tol = 2e-6 * (fabs((double)x->alpha) * size + fabs(want));
            cr_assert(fabs((double)got - want) <= tol + 1e-30,
                      "%s: %d x %d x %d at %d %d: %g, not %g", what, (int)x->m,
                      (int)x->n, (int)x->k, (int)i, (int)j, (double)got, want);
        }
}

/* ==== shapes ============================================================= */

typedef struct gemm_shape {
    int m, n, k;
    float alpha, beta;
} gemm_shape;

/* One way to store A and B as floats. */
static void check_way(gemm_rig *r, gemm_shape s, bool a_trans, bool b_trans)
{
    int lda = (a_trans ? s.m : s.k) + 3, ldb = (b_trans ? s.k : s.n) + 5;
    int ldc = s.n + 2;
    float *a = random_floats((size_t)((a_trans ? s.k : s.m) * lda));
    float *w = random_floats((size_t)((b_trans ? s.n : s.k) * ldb));
    float *old = random_floats((size_t)(s.m * ldc));
    float *c = malloc((size_t)(s.m * ldc) * sizeof *c);
    tlpi_gemm_args x = { .m = s.m,
                         .n = s.n,
                         .k = s.k,
                         .alpha = s.alpha,
                         .beta = s.beta,
                         .a = a,
                         .lda = (size_t)lda,
                         .a_trans = a_trans,
                         .b = tlpi_gemm_floats(w, (size_t)ldb),
                         .c = c,
                         .ldc = (size_t)ldc };

    x.b.trans = b_trans;
    memcpy(c, old, (size_t)(s.m * ldc) * sizeof *c);
    for (int i = 0; i < s.m && s.beta == 0; i++)
        for (int j = 0; j < s.n; j++)
            c[i * ldc + j] = NAN;
    tlpi_gemm_run(r->gemm, &x);
    check_c(&x, w, ldb, old, "floats");
    free(a);
    free(w);
    free(old);
    free(c);
}

static void check_floats(gemm_rig *r, gemm_shape s)
{
    for (int way = 0; way < 4; way++)
        check_way(r, s, way & 1, way & 2);
}

static void check_shapes(int isa)
{
    static const gemm_shape shapes[] = {
        { 1, 1, 1, 1, 0 },       { 1, 16, 7, 1, 1 },
        { 2, 33, 32, 1, 0 },     { 3, 15, 40, -0.5f, 1 },
        { 4, 17, 64, 1, 0.25f }, { 5, 31, 5, 1, 0 },
        { 6, 16, 384, 1, 0 },    { 7, 65, 385, 1, 1 },
        { 11, 48, 8, 1, 1 },     { 12, 32, 256, 1, 0 },
        { 13, 100, 257, 2, -1 }, { 25, 130, 576, 1, 0 },
        { 97, 129, 193, 1, 1 },  { 200, 40, 770, 1, 0 },
        { 64, 1, 100, 1, 0 },    { 9, 3, 2100, 1, 0 },
    };
    gemm_rig r;

    rig_open(&r, isa, 2);
    for (size_t i = 0; r.gemm && i < TLPI_COUNT(shapes); i++)
        check_floats(&r, shapes[i]);
    rig_close(&r);
}

Test(train_gemm, scalar_shapes)
{
    check_shapes(TLP_ISA_SCALAR);
}

Test(train_gemm, avx2_shapes)
{
    check_shapes(TLP_ISA_AVX2);
}

Test(train_gemm, avx512_shapes)
{
    check_shapes(TLP_ISA_AVX512);
}

/* Rows of A and lengths of k that do not fit into the packing memory. */
Test(train_gemm, larger_than_the_memory)
{
    gemm_rig r;

    rig_open(&r, TLP_ISA_AUTO, 2);
    check_floats(&r, (gemm_shape){ 540, 5, 2090, 1, 0.5f });
    check_way(&r, (gemm_shape){ 9000, 17, 120, 1, 0 }, true, false);
    rig_close(&r);
}

/* ==== types ============================================================== */

/* The product with B packed before. */
static void run_with_panels(tlpi_gemm *g, tlpi_gemm_args x)
{
    float *p = malloc(tlpi_gemm_panel_floats(g, x.k, x.n) * sizeof *p);

    tlpi_gemm_pack(g, &x.b, x.k, x.n, p);
    x.b.panels = p;
    tlpi_gemm_run(g, &x);
    free(p);
}

/* A range of a weight, as W and W', with the bits of its floats; panels too. */
static void check_range(gemm_rig *r, const tlpi_tensor *t, const float *w,
                        const int64_t cut[4])
{
    int64_t rows = cut[1] - cut[0], cols = cut[3] - cut[2];
    enum { M = 14 };

    for (int trans = 0; trans < 2; trans++) {
        int64_t n = trans ? rows : cols, k = trans ? cols : rows;
        float *a = random_floats((size_t)(M * k));
        float *old = random_floats((size_t)(M * n));
        float *c = malloc((size_t)(M * n) * sizeof *c);
        float *same = malloc((size_t)(M * n) * sizeof *c);
        tlpi_gemm_args x = {
            M,         n,        k,
            1,         1,        a,
            (size_t)k, 0,        tlpi_gemm_weight(t, cut[0], cut[2]),
            c,         (size_t)n
        };
        x.b.trans = trans;
        memcpy(c, old, (size_t)(M * n) * sizeof *c);
        memcpy(same, old, (size_t)(M * n) * sizeof *c);
        tlpi_gemm_run(r->gemm, &x);
        check_c(&x, w, t->ne[0], old, tlpi_dtype_name(t->type));

        x.b =
            tlpi_gemm_floats(w + cut[0] * t->ne[0] + cut[2], (size_t)t->ne[0]);
        x.b.trans = trans;
        x.c = same;
        tlpi_gemm_run(r->gemm, &x);
        cr_assert(!memcmp(c, same, (size_t)(M * n) * sizeof *c),
                  "%s: other bits than its floats", tlpi_dtype_name(t->type));

        x.b = tlpi_gemm_weight(t, cut[0], cut[2]);
        x.b.trans = trans;
        memcpy(same, old, (size_t)(M * n) * sizeof *c);
        run_with_panels(r->gemm, x);
        cr_assert(!memcmp(c, same, (size_t)(M * n) * sizeof *c),
                  "%s: panels give other bits", tlpi_dtype_name(t->type));
        free(a);
        free(old);
        free(c);
        free(same);
    }
}

static void check_types(int isa)
{
    static const int64_t cuts[][4] = { { 0, 53, 0, 768 },
                                       { 3, 50, 256, 512 },
                                       { 7, 8, 32, 608 },
                                       { 1, 40, 5, 300 } };
    static const int64_t small[][4] = { { 0, 19, 0, 75 }, { 1, 18, 33, 52 } };
    gemm_rig r;

    rig_open(&r, isa, 2);
    for (size_t i = 0; r.gemm && i < WEIGHTS_N_TYPE; i++) {
        tlpi_tensor t = random_tensor(weights_type[i], 53, 768);
        float *w = tensor_floats(&t);
        for (size_t j = 0; j < TLPI_COUNT(cuts); j++)
            check_range(&r, &t, w, cuts[j]);
        free(w);
        tensor_free(&t);
    }
    for (size_t i = 0; r.gemm && i < 3; i++) {
        tlpi_tensor t = random_tensor(weights_type[i], 19, 75);
        float *w = tensor_floats(&t);
        for (size_t j = 0; j < TLPI_COUNT(small); j++)
            check_range(&r, &t, w, small[j]);
        free(w);
        tensor_free(&t);
    }
    rig_close(&r);
}

Test(train_gemm, scalar_types)
{
    check_types(TLP_ISA_SCALAR);
}

Test(train_gemm, avx2_types)
{
    check_types(TLP_ISA_AVX2);
}

Test(train_gemm, avx512_types)
{
    check_types(TLP_ISA_AVX512);
}

/* A file may put floats at any address. */
Test(train_gemm, floats_at_an_odd_address)
{
    tlpi_tensor t = random_tensor(TLPI_F32, 21, 50);
    float *w = tensor_floats(&t);
    char *odd = malloc(t.n_bytes + 1);
    const void *data = t.data;
    gemm_rig r;

    memcpy(odd + 1, data, t.n_bytes);
    t.data = odd + 1;
    rig_open(&r, TLP_ISA_AUTO, 1);
    check_range(&r, &t, w, (int64_t[]){ 2, 20, 3, 49 });
    rig_close(&r);
    t.data = data;
    tensor_free(&t);
    free(odd);
    free(w);
}

/* ==== products of a layer ================================================ */

Test(train_gemm, products_of_a_layer)
{
    enum { T = 20, IN = 64, OUT = 96 };
    tlpi_tensor t = random_tensor(TLPI_Q4_1, OUT, IN);
    float *w = tensor_floats(&t), *x = random_floats(T * IN);
    float *y = random_floats(T * OUT), *old = random_floats(OUT * OUT);
    float *c = malloc(OUT * OUT * sizeof *c);
    gemm_rig r;

    rig_open(&r, TLP_ISA_AUTO, 2);
    memcpy(c, old, OUT * OUT * sizeof *c);
    tlpi_gemm_forward(r.gemm, T, IN, OUT, x, IN, tlpi_gemm_weight(&t, 0, 0), 0,
                      c, OUT);
    tlpi_gemm_args f = {
        T, OUT, IN, 1, 0, x, IN, false, tlpi_gemm_weight(&t, 0, 0), c, OUT
    };
    f.b.trans = true;
    check_c(&f, w, IN, old, "forward");

    memcpy(c, old, OUT * OUT * sizeof *c);
    tlpi_gemm_input_grad(r.gemm, T, IN, OUT, y, OUT, tlpi_gemm_weight(&t, 0, 0),
                         1, c, IN);
    tlpi_gemm_args i = {
        T, IN, OUT, 1, 1, y, OUT, false, tlpi_gemm_weight(&t, 0, 0), c, IN
    };
    check_c(&i, w, IN, old, "gradient of inputs");

    memcpy(c, old, OUT * OUT * sizeof *c);
    tlpi_gemm_weight_grad(r.gemm, T, IN, OUT, y, OUT, x, IN, 1, c, IN);
    tlpi_gemm_args g = {
        OUT, IN, T, 1, 1, y, OUT, true, tlpi_gemm_floats(x, IN), c, IN
    };
    check_c(&g, x, IN, old, "gradient of weights");
    rig_close(&r);
    tensor_free(&t);
    free(w);
    free(x);
    free(y);
    free(old);
    free(c);
}

/* ==== promises =========================================================== */

/* The product with n_thread threads; the caller frees it. */
static float *product_on(int n_thread, tlpi_gemm_args x)
{
    size_t n = (size_t)(x.m * x.n);
    float *c = calloc(n, sizeof *c);
    gemm_rig r;

    rig_open(&r, TLP_ISA_AUTO, n_thread);
    x.c = c;
    x.ldc = (size_t)x.n;
    tlpi_gemm_run(r.gemm, &x);
    rig_close(&r);
    return c;
}

Test(train_gemm, threads_change_no_bit)
{
    tlpi_tensor t = random_tensor(TLPI_Q5_K, 210, 768);
    float *a = random_floats(300 * 768);

    for (int trans = 0; trans < 2; trans++) {
        tlpi_gemm_args x = { 300,
                             trans ? 210 : 768,
                             trans ? 768 : 210,
                             1,
                             1,
                             a,
                             768,
                             false,
                             tlpi_gemm_weight(&t, 0, 0),
                             NULL,
                             0 };
        x.b.trans = trans;
        size_t n_bytes = (size_t)(x.m * x.n) * sizeof(float);
        float *one = product_on(1, x);
        for (int n = 2; n <= 3; n++) {
            float *more = product_on(n, x);
            cr_assert(!memcmp(one, more, n_bytes), "%d threads", n);
            free(more);
        }
        free(one);
    }
    free(a);
    tensor_free(&t);
}

/* A row's bits do not depend on how many rows there are. */
Test(train_gemm, rows_change_no_bit)
{
    float *a = random_floats(50 * 600), *b = random_floats(600 * 70);
    tlpi_gemm_args x = {
        50, 70, 600, 1, 0, a, 600, false, tlpi_gemm_floats(b, 70), NULL, 0
    };
    float *all = product_on(1, x);

    for (x.m = 1; x.m < 14; x.m++) {
        float *some = product_on(1, x);
        cr_assert(!memcmp(all, some, (size_t)x.m * 70 * sizeof *some),
                  "%d rows", (int)x.m);
        free(some);
    }
    free(all);
    free(a);
    free(b);
}

Test(train_gemm, nothing_to_multiply)
{
    float c[6] = { 1, 2, 3, 4, 5, 6 };
    gemm_rig r;

    rig_open(&r, TLP_ISA_AUTO, 1);
    tlpi_gemm_args x = {
        .m = 2, .n = 2, .alpha = 1, .beta = 2, .c = c, .ldc = 3
    };
    tlpi_gemm_run(r.gemm, &x);
    cr_assert(c[0] == 2 && c[1] == 4 && c[2] == 3 && c[3] == 8 && c[4] == 10);
    x.m = 0;
    tlpi_gemm_run(r.gemm, &x);
    cr_assert(c[0] == 2);
    x.m = 1;
    x.beta = 0;
    c[1] = NAN;
    x.k = 5;
    x.alpha = 0;
    tlpi_gemm_run(r.gemm, &x);
    cr_assert(c[0] == 0 && c[1] == 0 && c[3] == 8);
    rig_close(&r);
}

/* ==== lifetime =========================================================== */

Test(train_gemm, bad_isa_is_refused)
{
    gemm_rig r;
    tlpi_gemm *g;

    rig_open(&r, TLP_ISA_AUTO, 1);
    CHECK_FAILS(TLP_EINVAL, tlpi_gemm_create(&g, &r.env, r.pool, -1));
    cr_assert_null(g);
    CHECK_FAILS(TLP_EINVAL, tlpi_gemm_create(&g, &r.env, r.pool, 5));
    cr_assert_null(g);
    rig_close(&r);
}

/* Every failing allocation is an error that leaks nothing; a product allocates
 * nothing. */
Test(train_gemm, memory)
{
    float a[6] = { 1, 2, 3, 4, 5, 6 }, c[4];
    gemm_rig r;
    counting count = { 0 };
    tlp_allocator mem = counting_allocator(&count);
    tlpi_env env;
    tlpi_gemm *g = NULL;

    rig_open(&r, TLP_ISA_AUTO, 2);
    CHECK_OK(tlpi_env_init(&env, &mem, NULL, NULL));
    for (long n = 1; !g; n++) {
        count.calls = 0;
        count.fail_at = n;
        tlp_status st = tlpi_gemm_create(&g, &env, r.pool, TLP_ISA_AUTO);
        if (g)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert(strstr(tlp_last_error(), "products"), "%s", tlp_last_error());
        cr_assert_eq(count.n_live, 0);
        cr_assert(n < 9);
    }
    count.calls = 0;
    cr_assert(tlpi_gemm_bytes(g) <= count.live);
    cr_assert(tlpi_gemm_bytes(g) + 4096 >= count.live);
    tlpi_gemm_run(g, &(tlpi_gemm_args){ .m = 2,
                                        .n = 2,
                                        .k = 3,
                                        .alpha = 1,
                                        .a = a,
                                        .lda = 3,
                                        .b = tlpi_gemm_floats(a, 2),
                                        .c = c,
                                        .ldc = 2 });
    cr_assert(c[0] == 22 && c[1] == 28 && c[2] == 49 && c[3] == 64);
    cr_assert_eq(count.calls, 0);
    tlpi_gemm_free(g);
    tlpi_gemm_free(NULL);
    cr_assert_eq(count.n_live, 0);
    cr_assert_eq(count.bad, 0);
    rig_close(&r);
}
