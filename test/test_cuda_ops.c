/*
 * test_cuda_ops.c - operations of the CUDA backend against the scalar ones of
 * the CPU, and products against sums in double.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/gpu.h"
#include "support/weights.h"

static tlpi_backend *cpu, *gpu;

static void open_both(void)
{
    cpu = weights_backend(TLP_ISA_SCALAR, TLP_COMPUTE_F32, 1);
    gpu = gpu_backend(TLP_COMPUTE_F32);
}

static void close_both(void)
{
    gpu->ops->free(gpu);
    cpu->ops->free(cpu);
}

TestSuite(cuda_ops, .init = open_both, .fini = close_both, .timeout = 300);

/* ==== buffers of a backend =============================================== */

static float *put(tlpi_backend *b, const float *host, size_t n)
{
    float *x = NULL;

    CHECK_OK(b->ops->buffer_create(b, &x, n));
    b->ops->write(b, x, host, n);
    return x;
}

/* What stands in a buffer, which is freed. */
static float *take(tlpi_backend *b, float *x, size_t n)
{
    float *host = malloc(n * sizeof *host);

    CHECK_OK(b->ops->read(b, host, x, n));
    b->ops->buffer_free(b, x);
    return host;
}

static void expect_equal(float *a, float *b, size_t n, double tol,
                         const char *what)
{
    for (size_t i = 0; i < n; i++)
        cr_assert(fabs((double)a[i] - (double)b[i]) <=
                      tol * (1 + fabs((double)a[i])),
                  "%s, element %zu: %g on the CPU, %g on the GPU", what, i,
                  (double)a[i], (double)b[i]);
    free(a);
    free(b);
}

/* ==== products =========================================================== */

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
typedef struct piece {
    tlpi_tensor t;
    float *all; /* its floats */
    int r0, c0;
    size s;
    tlpi_weight *w;
} piece;

static piece cut(tlpi_dtype type, size s)
{
    int block = tlpi_dtype_get(type)->block;
    piece p = { .r0 = 3, .c0 = block, .s = s };

    p.s.cols = (s.cols + block - 1) / block * block;
    p.t = random_tensor(type, s.rows + 5, p.s.cols + 2 * block);
    p.all = tensor_floats(&p.t);
    p.w = weigh(gpu, &p.t, p.r0, p.r0 + s.rows, p.c0, p.c0 + p.s.cols);
    return p;
}

static const float *row_of(const piece *p, int r)
{
    return p->all + (p->r0 + r) * p->t.ne[0] + p->c0;
}

static void drop(piece *p)
{
    gpu->ops->weight_free(p->w);
    free(p->all);
    tensor_free(&p->t);
}

/* One item: two terms, a bias, or added to what is there. */
static void check_item(tlpi_dtype type, tlpi_dtype other, size s, int n_tok)
{
    piece p[2] = { cut(type, s), cut(other, s) };
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
        term[i] = (tlpi_term){ p[i].w, dx[i], scale[i] };
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

Test(cuda_ops, products)
{
    static const size sizes[] = { { 13, 96 }, { 1, 7 }, { 70, 261 } };

    for (int i = 0; i < WEIGHTS_N_TYPE; i++)
        for (size_t k = 0; k < TLPI_COUNT(n_toks); k++)
            check_item(weights_type[i], weights_type[i],
                       sizes[(size_t)i % TLPI_COUNT(sizes)], n_toks[k]);
}

Test(cuda_ops, products_longer_than_the_shared_memory)
{
    size s = { 5, 1024 };

    check_item(TLPI_BF16, TLPI_BF16, s, 8);
    check_item(TLPI_Q4_K, TLPI_Q4_K, s, 7);
    check_item(TLPI_Q8_0, TLPI_Q8_0, s, 8);
}

/* More decoded floats than the workspace holds. */
Test(cuda_ops, products_in_pieces)
{
    check_item(TLPI_Q8_0, TLPI_Q8_0, (size){ 2300, 512 }, 9);
}

Test(cuda_ops, terms_of_two_types)
{
    size s = { 9, 64 };

    check_item(TLPI_Q4_0, TLPI_F16, s, 1);
    check_item(TLPI_F32, TLPI_Q6_K, s, 3);
    check_item(TLPI_Q5_1, TLPI_BF16, s, 12);
}

/* Items in one call that need several launches, and whose types alternate so
 * that none may begin with what another type left. */
Test(cuda_ops, many_items)
{
    enum { N = 31, COLS = 32 };
    tlpi_dtype types[3] = { TLPI_Q4_0, TLPI_F32, TLPI_Q8_0 };
    piece p[N];
    tlpi_term term[N];
    tlpi_matmul m[N];
    float *x = random_floats(2 * COLS), *dx = put(gpu, x, 2 * COLS), *y[N];
    int n_item = 0;

    for (int i = 0; i < N; i++) {
        p[i] = cut(types[i % 3], (size){ 6, COLS });
        term[i] = (tlpi_term){ p[i].w, dx, 1 };
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
    piece p[4] = { cut(gate, s), cut(up, s), cut(gate, s), cut(up, s) };
    size_t n_x = (size_t)(n_tok * s.cols), n_y = (size_t)(n_tok * ROWS);
    float *x = random_floats(n_x), *dx = put(gpu, x, n_x);
    float *y[2] = { put(gpu, x, n_y), put(gpu, x, n_y) };
    tlpi_gate_up item[2] = { { p[0].w, p[1].w, dx, y[0] },
                             { p[2].w, p[3].w, dx, y[1] } };

    gpu->ops->gate_up(gpu, n_tok, item, 2);
    for (int i = 0; i < 2; i++) {
        float *out = take(gpu, y[i], n_y);
        for (int k = 0; k < n_tok * ROWS; k++) {
            const float *in = x + k / ROWS * s.cols;
            double a = 1, b = 1;
            double g = product(row_of(&p[2 * i], k % ROWS), in, s.cols, &a);
            double u = product(row_of(&p[2 * i + 1], k % ROWS), in, s.cols, &b);
            double want = g / (1 + exp(-g)) * u;
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

Test(cuda_ops, gates)
{
    check_gate_up(TLPI_BF16, TLPI_BF16, 1);
    check_gate_up(TLPI_Q4_K, TLPI_Q4_K, 3);
    check_gate_up(TLPI_Q5_0, TLPI_Q5_0, 8);
    check_gate_up(TLPI_Q4_1, TLPI_Q4_1, 11);
    check_gate_up(TLPI_Q4_K, TLPI_Q6_K, 2); /* not in one launch */
}

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

        cpu->ops->embed(cpu, &step, &t, NULL, a);
        gpu->ops->begin_step(gpu, &step, NULL);
        gpu->ops->embed(gpu, &step, &t, w, b);
        CHECK_OK(gpu->ops->end_step(gpu, TLP_OK));
        expect_equal(take(cpu, a, n), take(gpu, b, n), n, 1e-6,
                     tlpi_dtype_name(weights_type[i]));
        gpu->ops->weight_free(w);
        free(zero);
        tensor_free(&t);
    }
}

static tlpi_backend *each(int i)
{
    return i ? gpu : cpu;
}

/* sum: 0 none, 1 in place, 2 elsewhere */
static void check_norm(int n_tok, int cols, bool with_delta, int sum,
                       int n_norm)
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
            norm[k] = (tlpi_norm){ dw, y[k] };
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
            check_norm(1, 96, true, sum, n_norm);
            check_norm(3, 1001, sum == 1, sum, n_norm);
        }
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

/* ==== attention ========================================================== */

typedef struct heads {
    int n_head, n_head_kv, h, n_rot;
    bool neox, norm;
    int kv_type;
} heads;

enum { N_SEQ = 2, N_CTX = 400, N_ITEM = 2 };

/* One backend's caches and buffers. */
typedef struct side {
    tlpi_backend *b;
    tlpi_rope *rope;
    tlpi_kv *kv[N_ITEM];
    float *norm;
} side;

static side side_open(tlpi_backend *b, const heads *s)
{
    side x = { .b = b };
    double inv[128];
    float w[256];

    for (int i = 0; i < s->n_rot / 2; i++)
        inv[i] = pow(10000, -2.0 * i / s->n_rot);
    for (int i = 0; i < s->h; i++)
        w[i] = 0.5f + (float)(i % 7) / 4;
    CHECK_OK(b->ops->rope_create(b, &x.rope, inv, s->n_rot, N_CTX, s->neox));
    for (int i = 0; i < N_ITEM; i++)
        CHECK_OK(b->ops->kv_create(b, &x.kv[i], N_SEQ, N_CTX, s->n_head_kv + i,
                                   s->h, s->kv_type));
    x.norm = put(b, w, (size_t)s->h);
    return x;
}

static void side_close(side *x)
{
    x->b->ops->buffer_free(x->b, x->norm);
    for (int i = 0; i < N_ITEM; i++)
        x->b->ops->kv_free(x->b, x->kv[i]);
    x->b->ops->rope_free(x->b, x->rope);
}

/* The second item has a kv head more. */
static size_t n_q(const heads *s, int i)
{
    return (size_t)(s->n_head / s->n_head_kv * (s->n_head_kv + i) * s->h);
}

static size_t n_kv(const heads *s, int i)
{
    return (size_t)((s->n_head_kv + i) * s->h);
}

/* A step on one side; what it gives for both items. */
static void attend(side *x, const heads *s, const tlpi_step *step,
                   float *const q[N_ITEM], float *const k[N_ITEM],
                   float *const v[N_ITEM], float *out[N_ITEM])
{
    size_t n = (size_t)step->n_tok;
    tlpi_backend *b = x->b;
    tlpi_attn a[N_ITEM];

    for (int i = 0; i < N_ITEM; i++) {
        int kv = s->n_head_kv + i;
        a[i] = (tlpi_attn){ .q = put(b, q[i], n * n_q(s, i)),
                            .k = put(b, k[i], n * n_kv(s, i)),
                            .v = put(b, v[i], n * n_kv(s, i)),
                            .q_norm = s->norm ? x->norm : NULL,
                            .k_norm = s->norm ? x->norm : NULL,
                            .kv = x->kv[i],
                            .n_head = s->n_head / s->n_head_kv * kv,
                            .n_head_kv = kv,
                            .y = put(b, q[i], n * n_q(s, i)) };
    }
    b->ops->begin_step(b, step, NULL);
    b->ops->attention(b, step, x->rope, a, N_ITEM, s->h, 1e-5f);
    CHECK_OK(b->ops->end_step(b, TLP_OK));
    for (int i = 0; i < N_ITEM; i++) {
        out[i] = take(b, a[i].y, n * n_q(s, i));
        b->ops->buffer_free(b, a[i].q);
        b->ops->buffer_free(b, a[i].k);
        b->ops->buffer_free(b, (float *)(uintptr_t)a[i].v);
    }
}

static void step_both(side x[2], const heads *s, int n_tok, const int32_t *seq,
                      const int32_t *pos)
{
    int32_t id[64] = { 0 };
    tlpi_step step = { n_tok, id, seq, pos };
    float *q[N_ITEM], *k[N_ITEM], *v[N_ITEM], *out[2][N_ITEM];
    size_t n = (size_t)n_tok;

    for (int i = 0; i < N_ITEM; i++) {
        q[i] = random_floats(n * n_q(s, i));
        k[i] = random_floats(n * n_kv(s, i));
        v[i] = random_floats(n * n_kv(s, i));
    }
    for (int i = 0; i < 2; i++)
        attend(&x[i], s, &step, q, k, v, out[i]);
    for (int i = 0; i < N_ITEM; i++) {
        expect_equal(out[0][i], out[1][i], n * n_q(s, i), 3e-5, "attention");
        free(q[i]);
        free(k[i]);
        free(v[i]);
    }
}

/* A prompt in sequence 1, another behind it in both, single tokens; a copy of
 * a sequence goes on as the first does. */
static void check_attention(heads s, int n_long)
{
    side x[2] = { side_open(cpu, &s), side_open(gpu, &s) };
    int32_t seq[64], pos[64];
    int at = 0;

    for (; at < n_long; at += 50) { /* of one sequence: tiles are cut */
        for (int t = 0; t < 50; t++) {
            seq[t] = 1;
            pos[t] = at + t;
        }
        step_both(x, &s, 50, seq, pos);
    }
    for (int t = 0; t < 20; t++) {
        seq[t] = t < 7 ? 0 : 1;
        pos[t] = t < 7 ? t : at + t - 7;
    }
    step_both(x, &s, 20, seq, pos);
    at += 13;
    for (int t = 0; t < 5; t++) {
        seq[t] = t < 2 ? 0 : 1;
        pos[t] = t < 2 ? 7 + t : at + t - 2;
    }
    step_both(x, &s, 5, seq, pos);
    for (int i = 0; i < N_ITEM; i++) {
        cpu->ops->kv_copy(cpu, x[0].kv[i], 0, 1, at);
        gpu->ops->kv_copy(gpu, x[1].kv[i], 0, 1, at);
    }
    seq[0] = 0;
    pos[0] = at;
    step_both(x, &s, 1, seq, pos);
    side_close(&x[0]);
    side_close(&x[1]);
}

Test(cuda_ops, attention_of_equal_heads)
{
    check_attention((heads){ 2, 2, 64, 64, true, false, TLP_KV_F32 }, 50);
    check_attention((heads){ 3, 3, 20, 12, false, false, TLP_KV_F16 }, 50);
}

Test(cuda_ops, attention_of_grouped_heads)
{
    check_attention((heads){ 4, 2, 16, 16, false, true, TLP_KV_F32 }, 50);
    check_attention((heads){ 7, 1, 64, 64, true, true, TLP_KV_BF16 }, 50);
    check_attention((heads){ 6, 2, 128, 64, true, false, TLP_KV_F16 }, 0);
    check_attention((heads){ 2, 1, 256, 256, true, false, TLP_KV_F32 }, 0);
}

/* More positions than one block takes. */
Test(cuda_ops, attention_over_long_caches)
{
    check_attention((heads){ 3, 1, 32, 32, true, false, TLP_KV_F32 }, 350);
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
