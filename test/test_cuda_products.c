/*
 * test_cuda_products.c - products of the CUDA backend against sums in double.
 */
#include <math.h>
#include <stdlib.h>

#include "support/both.h"
#include "support/check.h"
#include "support/random_weights.h"

TestSuite(cuda_products, .init = both_open, .fini = both_close, .timeout = 300);

/* Rows and columns of a group: odd, more than a chunk of inputs, small. */
typedef struct size {
    int rows, cols;
} size;

static const int n_toks[] = { 1, 2, 4, 5, 8, 9, 33, 34 };

/* y = (add ? y : 0) + bias + scale W x, in double */
static double product(const float *w, const float *x, int n, double *abs)
{
    double sum = 0;

    for (int i = 0; i < n; i++) {
        sum += (double)w[i] * (double)x[i];
        *abs += fabs((double)w[i] * (double)x[i]);
    }
    return sum;
}

/* A weight cut from the middle of a tensor. */
typedef struct product_piece {
    tlpi_tensor t;
    float *all; /* its floats */
    int r0, c0;
    size s;
    tlpi_weight *w;
} product_piece;

static product_piece cut(tlpi_dtype type, size s)
{
    int block = tlpi_dtype_get(type)->block;
    product_piece p = { .r0 = 3, .c0 = block, .s = s };

    p.s.cols = (s.cols + block - 1) / block * block;
    p.t = random_tensor(type, s.rows + 5, p.s.cols + 2 * block);
    p.all = tensor_floats(&p.t);
    p.w = weigh(gpu, &p.t, p.r0, p.r0 + s.rows, p.c0, p.c0 + p.s.cols);
    return p;
}

static const float *row_of(const product_piece *p, int r)
{
    return p->all + (p->r0 + r) * p->t.ne[0] + p->c0;
}

static void drop(product_piece *p)
{
    gpu->ops->weight_free(p->w);
    free(p->all);
    tensor_free(&p->t);
}

/* One item: two terms, a bias, or added to what is there. */
static void check_item(tlpi_dtype type, tlpi_dtype other, size s, int n_tok)
{
    product_piece p[2] = { cut(type, s), cut(other, s) };
    bool add = n_tok % 2 == 0;
    size_t n_y = (size_t)(n_tok * s.rows);
    float *bias = random_floats((size_t)s.rows), *y0 = random_floats(n_y);

    for (size_t k = 0; k < n_y && !add; k++)
        y0[k] = NAN; /* must not be looked at */
    float *x[2], *dx[2], *db = put(gpu, bias, (size_t)s.rows);
    float *dy = put(gpu, y0, n_y);
    const float scale[2] = { 1, 0.625f };
    tlpi_term term[2];

    for (int i = 0; i < 2; i++) {
        size_t n = (size_t)(n_tok * p[i].s.cols);
        x[i] = random_floats(n);
        dx[i] = put(gpu, x[i], n);
        term[i] = (tlpi_term){ p[i].w, dx[i], scale[i], NULL, NULL };
    }
    tlpi_matmul m = { term, 2, add ? NULL : db, add, dy };
    gpu->ops->matmul(gpu, n_tok, &m, 1);
    float *y = take(gpu, dy, n_y);
    for (int k = 0; k < n_tok * s.rows; k++) {
        double abs = 1, want = (double)(add ? y0[k] : bias[k % s.rows]);
        for (int i = 0; i < 2; i++)
            want += (double)scale[i] * product(row_of(&p[i], k % s.rows),
                                               x[i] + k / s.rows * p[i].s.cols,
                                               p[i].s.cols, &abs);
        cr_assert(fabs((double)y[k] - want) <= 2e-6 * abs,
                  "%s+%s %dx%d, %d tokens, element %d: %g, not %g",
                  tlpi_dtype_name(type), tlpi_dtype_name(other), s.rows, s.cols,
                  n_tok, k, (double)y[k], want);
    }
    for (int i = 0; i < 2; i++) {
        drop(&p[i]);
        free(x[i]);
        gpu->ops->buffer_free(gpu, dx[i]);
    }
    gpu->ops->buffer_free(gpu, db);
    free(y);
    free(y0);
    free(bias);
}

Test(cuda_products, products)
{
    static const size sizes[] = { { 13, 96 }, { 1, 7 }, { 70, 261 } };

    for (int i = 0; i < WEIGHTS_N_TYPE; i++)
        for (size_t k = 0; k < TLPI_COUNT(n_toks); k++)
            check_item(weights_type[i], weights_type[i],
                       sizes[(size_t)i % TLPI_COUNT(sizes)], n_toks[k]);
}

Test(cuda_products, products_longer_than_the_shared_memory)
{
    size s = { 5, 1024 };

    check_item(TLPI_BF16, TLPI_BF16, s, 8);
    check_item(TLPI_Q4_K, TLPI_Q4_K, s, 7);
    check_item(TLPI_Q8_0, TLPI_Q8_0, s, 8);
}

/* More decoded floats than the workspace holds. */
Test(cuda_products, products_in_pieces)
{
    check_item(TLPI_Q8_0, TLPI_Q8_0, (size){ 2300, 512 }, 9);
}

Test(cuda_products, terms_of_two_types)
{
    size s = { 9, 64 };

    check_item(TLPI_Q4_0, TLPI_F16, s, 1);
    check_item(TLPI_F32, TLPI_Q6_K, s, 3);
    check_item(TLPI_Q5_1, TLPI_BF16, s, 12);
}

/* Items in one call that need several launches, and whose types alternate so
 * that none may begin with what another type left. */
Test(cuda_products, many_items)
{
    enum { N = 31, COLS = 32 };
    tlpi_dtype types[3] = { TLPI_Q4_0, TLPI_F32, TLPI_Q8_0 };
    product_piece p[N];
    tlpi_term term[N];
    tlpi_matmul m[N];
    float *x = random_floats(2 * COLS), *dx = put(gpu, x, 2 * COLS), *y[N];
    int n_item = 0;

    for (int i = 0; i < N; i++) {
        p[i] = cut(types[i % 3], (size){ 6, COLS });
        term[i] = (tlpi_term){ p[i].w, dx, 1, NULL, NULL };
    }
    for (int i = 0; i < N; n_item++) { /* of 1, 2, 3, ... terms */
        int n = TLPI_MIN(n_item + 1, N - i);
        float nan[12];
        for (int k = 0; k < 12; k++)
            nan[k] = NAN;
        y[n_item] = put(gpu, nan, 12);
        m[n_item] = (tlpi_matmul){ &term[i], n, NULL, false, y[n_item] };
        i += n;
    }
    gpu->ops->matmul(gpu, 2, m, n_item);
    for (int j = 0, i = 0; j < n_item; i += m[j].n_term, j++) {
        float *out = take(gpu, y[j], 12);
        for (int k = 0; k < 12; k++) {
            double abs = 1, want = 0;
            for (int t = i; t < i + m[j].n_term; t++)
                want +=
                    product(row_of(&p[t], k % 6), x + k / 6 * COLS, COLS, &abs);
            cr_assert(fabs((double)out[k] - want) <= 2e-6 * abs,
                      "item %d, element %d: %g, not %g", j, k, (double)out[k],
                      want);
        }
        free(out);
    }
    for (int i = 0; i < N; i++)
        drop(&p[i]);
    gpu->ops->buffer_free(gpu, dx);
    free(x);
}

static void check_gate_up(tlpi_dtype gate, tlpi_dtype up, int n_tok)
{
    enum { ROWS = 37 };
    size s = { ROWS, 256 };
    product_piece p[4] = { cut(gate, s), cut(up, s), cut(gate, s), cut(up, s) };
    size_t n_x = (size_t)(n_tok * s.cols), n_y = (size_t)(n_tok * ROWS);
    float *x = random_floats(n_x), *dx = put(gpu, x, n_x);
    float *y[2] = { put(gpu, x, n_y), put(gpu, x, n_y) };
    tlpi_gate_up item[2] = {
        { .gate = p[0].w, .up = p[1].w, .x = dx, .y = y[0] },
        { .gate = p[2].w,
          .up = p[3].w,
          .x = dx,
          .y = y[1],
          .gate_fn = TLPI_GATE_GELU },
    };

    gpu->ops->gate_up(gpu, n_tok, item, 2);
    for (int i = 0; i < 2; i++) {
        float *out = take(gpu, y[i], n_y);
        for (int k = 0; k < n_tok * ROWS; k++) {
            const float *in = x + k / ROWS * s.cols;
            double a = 1, b = 1;
            double g = product(row_of(&p[2 * i], k % ROWS), in, s.cols, &a);
            double u = product(row_of(&p[2 * i + 1], k % ROWS), in, s.cols, &b);
            double gelu =
                g / 2 * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
            double want = (i ? gelu : g / (1 + exp(-g))) * u;
            cr_assert(fabs((double)out[k] - want) <= 4e-6 * a * b,
                      "%s, %d tokens, element %d: %g, not %g",
                      tlpi_dtype_name(gate), n_tok, k, (double)out[k], want);
        }
        free(out);
    }
    for (int i = 0; i < 4; i++)
        drop(&p[i]);
    gpu->ops->buffer_free(gpu, dx);
    free(x);
}

Test(cuda_products, gates)
{
    check_gate_up(TLPI_BF16, TLPI_BF16, 1);
    check_gate_up(TLPI_Q4_K, TLPI_Q4_K, 3);
    check_gate_up(TLPI_Q5_0, TLPI_Q5_0, 8);
    check_gate_up(TLPI_Q4_1, TLPI_Q4_1, 11);
    check_gate_up(TLPI_Q4_K, TLPI_Q6_K, 2); /* not in one launch */
}
