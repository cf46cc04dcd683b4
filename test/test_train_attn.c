/*
 * test_train_attn.c - attention for training against plain loops in double
 * precision, whose gradients are compared with finite differences.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/counting.h"
#include "support/random_weights.h"
#include "train/train_attn.h"

TestSuite(train_attn, .timeout = 120);

typedef struct attn_shape {
    int n_tok;
    tlpi_train_heads heads;
} attn_shape;

/* ==== reference ========================================================== */

/* Matrices of one window in double precision, rows without gaps. */
typedef struct ref_window {
    double *q, *k, *v, *o, *lse;
    double *d_o, *dq, *dk, *dv;
} ref_window;

static int kv_of(const tlpi_train_heads *h, int i)
{
    return (h->first + i) / h->group - h->first / h->group;
}

static int from_of(const tlpi_train_heads *h, int t)
{
    return h->window && t - h->window + 1 > 0 ? t - h->window + 1 : 0;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Row t of P of head i; returns the log-sum-exp. */
static double ref_row(const ref_window *r, const attn_shape *s, int i, int t,
                      double *p)
{
    const tlpi_train_heads *h = &s->heads;
    int d = h->head_dim, nq = h->n_head * d, nk = h->n_head_kv * d;
    double top = -INFINITY, sum = 0;

    for (int j = from_of(h, t); j <= t; j++) {
        p[j] = (double)h->scale *
               dot(r->q + t * nq + i * d, r->k + j * nk + kv_of(h, i) * d, d);
        if (h->cap > 0)
            p[j] = (double)h->cap * tanh(p[j] / (double)h->cap);
        top = fmax(top, p[j]);
    }
    for (int j = from_of(h, t); j <= t; j++)
        sum += exp(p[j] - top);
    for (int j = 0; j < s->n_tok; j++)
        p[j] = j >= from_of(h, t) && j <= t ? exp(p[j] - top) / sum : 0;
    return top + log(sum);
}

/* The slope of the cap at a score of head i. */
static double cap_slope(const ref_window *r, const attn_shape *s, int i, int t,
                        int j)
{
    const tlpi_train_heads *h = &s->heads;
    int d = h->head_dim, nq = h->n_head * d, nk = h->n_head_kv * d;
    double score = (double)h->scale * dot(r->q + t * nq + i * d,
                                          r->k + j * nk + kv_of(h, i) * d, d);

    return h->cap > 0 ? 1 - pow(tanh(score / (double)h->cap), 2) : 1;
}

static void ref_forward(const ref_window *r, const attn_shape *s)
{
    const tlpi_train_heads *h = &s->heads;
    int d = h->head_dim, nq = h->n_head * d, nk = h->n_head_kv * d;
    double *p = malloc((size_t)s->n_tok * sizeof *p);

    for (int i = 0; i < h->n_head; i++)
        for (int t = 0; t < s->n_tok; t++) {
            double *o = r->o + t * nq + i * d;
            r->lse[i * s->n_tok + t] = ref_row(r, s, i, t, p);
            memset(o, 0, (size_t)d * sizeof *o);
            for (int j = 0; j <= t; j++)
                for (int e = 0; e < d; e++)
                    o[e] += p[j] * r->v[j * nk + kv_of(h, i) * d + e];
        }
    free(p);
}

static void ref_backward(const ref_window *r, const attn_shape *s)
{
    const tlpi_train_heads *h = &s->heads;
    int d = h->head_dim, nq = h->n_head * d, nk = h->n_head_kv * d;
    double *p = malloc((size_t)s->n_tok * sizeof *p);

    for (int i = 0; i < h->n_head; i++)
        for (int t = 0; t < s->n_tok; t++) {
            int kv = kv_of(h, i) * d, at = t * nq + i * d;
            double mean = dot(r->d_o + at, r->o + at, d);
            ref_row(r, s, i, t, p);
            for (int j = from_of(h, t); j <= t; j++) {
                double dp = dot(r->d_o + at, r->v + j * nk + kv, d);
                double ds = (double)h->scale * p[j] * (dp - mean) *
                            cap_slope(r, s, i, t, j);
                for (int e = 0; e < d; e++) {
                    r->dq[at + e] += ds * r->k[j * nk + kv + e];
                    r->dk[j * nk + kv + e] += ds * r->q[at + e];
                    r->dv[j * nk + kv + e] += p[j] * r->d_o[at + e];
                }
            }
        }
    free(p);
}

/* ==== a window =========================================================== */

enum { N_MATRIX = 8, GAP = 3 };

/* q k v o, then dO dQ dK dV; rows of floats with a gap behind each. */
typedef struct attn_case {
    attn_shape s;
    ref_window r;
    float *x[N_MATRIX], *lse;
    size_t n[N_MATRIX]; /* columns */
} attn_case;

static double *doubles_of(const attn_case *c, int which)
{
    size_t n = c->n[which], T = (size_t)c->s.n_tok;
    double *x = calloc(T * n + 1, sizeof *x);

    for (size_t t = 0; t < T; t++)
        for (size_t j = 0; j < n; j++)
            x[t * n + j] = (double)c->x[which][t * (n + GAP) + j];
    return x;
}

static attn_case make_case(attn_shape s)
{
    attn_case c = { .s = s };
    size_t d = (size_t)s.heads.head_dim, nq = (size_t)s.heads.n_head * d;
    size_t nk = (size_t)s.heads.n_head_kv * d, T = (size_t)s.n_tok;

    for (int i = 0; i < N_MATRIX; i++) {
        c.n[i] = i % 4 == 0 || i == 3 || i == 5 ? nq : nk;
        c.x[i] = random_floats(T * (c.n[i] + GAP));
        for (size_t j = 0; i >= 5 && j < T * (c.n[i] + GAP); j++)
            c.x[i][j] = NAN;
    }
    c.lse = malloc((size_t)s.heads.n_head * T * sizeof *c.lse + 1);
    c.r = (ref_window){ .q = doubles_of(&c, 0),
                        .k = doubles_of(&c, 1),
                        .v = doubles_of(&c, 2),
                        .o = calloc(T * nq + 1, sizeof(double)),
                        .lse = calloc((size_t)s.heads.n_head * T + 1,
                                      sizeof(double)),
                        .d_o = doubles_of(&c, 4),
                        .dq = calloc(T * nq + 1, sizeof(double)),
                        .dk = calloc(T * nk + 1, sizeof(double)),
                        .dv = calloc(T * nk + 1, sizeof(double)) };
    return c;
}

static void free_case(attn_case *c)
{
    double *r[] = { c->r.q,   c->r.k,  c->r.v,  c->r.o, c->r.lse,
                    c->r.d_o, c->r.dq, c->r.dk, c->r.dv };

    for (int i = 0; i < N_MATRIX; i++)
        free(c->x[i]);
    for (size_t i = 0; i < TLPI_COUNT(r); i++)
        free(r[i]);
    free(c->lse);
}

static tlpi_train_rows rows_of(const attn_case *c, int which)
{
    return (tlpi_train_rows){ c->x[which], c->n[which] + GAP };
}

static void run_case(tlpi_train_attn *a, const attn_case *c)
{
    tlpi_train_qkv x = { c->s.n_tok,    rows_of(c, 0), rows_of(c, 3),
                         rows_of(c, 1), rows_of(c, 2), c->lse };
    tlpi_train_dqkv d = { rows_of(c, 4), rows_of(c, 5), rows_of(c, 6),
                          rows_of(c, 7) };

    tlpi_train_attn_forward(a, &c->s.heads, &x);
    tlpi_train_attn_backward(a, &c->s.heads, &x, &d);
}

static void check_matrix(const attn_case *c, int which, const double *want,
                         const char *name)
{
    size_t n = c->n[which], T = (size_t)c->s.n_tok;
    double top = 0;

    for (size_t i = 0; i < T * n; i++)
        top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < T * n; i++) {
        float got = c->x[which][i / n * (n + GAP) + i % n];
        cr_assert(fabs((double)got - want[i]) <= 4e-6 * (top + 0.05),
                  "%d tokens, %s at token %d column %d: %g, not %g", c->s.n_tok,
                  name, (int)(i / n), (int)(i % n), (double)got, want[i]);
    }
}

static void check_case(tlpi_train_attn *a, attn_shape s)
{
    attn_case c = make_case(s);

    run_case(a, &c);
    ref_forward(&c.r, &s);
    ref_backward(&c.r, &s);
    check_matrix(&c, 3, c.r.o, "o");
    check_matrix(&c, 5, c.r.dq, "dq");
    check_matrix(&c, 6, c.r.dk, "dk");
    check_matrix(&c, 7, c.r.dv, "dv");
    for (int i = 0; i < s.heads.n_head * s.n_tok; i++)
        cr_assert(fabs((double)c.lse[i] - c.r.lse[i]) <= 1e-5, "lse %d: %g", i,
                  (double)c.lse[i]);
    for (int i = 0; i < N_MATRIX; i++)
        for (int t = 0; i >= 5 && t < s.n_tok; t++)
            cr_assert(isnan(c.x[i][(size_t)t * (c.n[i] + GAP) + c.n[i]]),
                      "matrix %d: wrote behind row %d", i, t);
    free_case(&c);
}

/* ==== the reference itself =============================================== */

/* The sum of O times dO, whose gradients are dQ, dK and dV. */
static double loss_of(const ref_window *r, const attn_shape *s)
{
    ref_forward(r, s);
    return dot(r->o, r->d_o, s->n_tok * s->heads.n_head * s->heads.head_dim);
}

static void check_slope(const ref_window *r, const attn_shape *s, double *x,
                        const double *grad, int n, const char *name)
{
    const double step = 1e-5;

    for (int i = 0; i < n; i++) {
        double was = x[i];
        x[i] = was + step;
        double up = loss_of(r, s);
        x[i] = was - step;
        double down = loss_of(r, s);
        x[i] = was;
        double slope = (up - down) / (2 * step);
        cr_assert(fabs(slope - grad[i]) <= 1e-7 * (1 + fabs(slope)),
                  "%s %d: %g, not %g", name, i, grad[i], slope);
    }
}

Test(train_attn, gradients_are_slopes)
{
    attn_shape shapes[] = { { 9, { 4, 2, 5, 2, 0, 0.6f, 0, 0 } },
                            { 9, { 4, 2, 5, 2, 0, 0.6f, 0, 0.7f } },
                            { 11, { 3, 2, 4, 3, 1, 0.5f, 4, 0 } } };

    for (size_t i = 0; i < TLPI_COUNT(shapes); i++) {
        const attn_shape *s = &shapes[i];
        attn_case c = make_case(*s);
        int nq = s->n_tok * s->heads.n_head * s->heads.head_dim;
        int nk = s->n_tok * s->heads.n_head_kv * s->heads.head_dim;
        ref_forward(&c.r, s);
        ref_backward(&c.r, s);
        check_slope(&c.r, s, c.r.q, c.r.dq, nq, "dq");
        check_slope(&c.r, s, c.r.k, c.r.dk, nk, "dk");
        check_slope(&c.r, s, c.r.v, c.r.dv, nk, "dv");
        free_case(&c);
    }
}

/* ==== kernels ============================================================ */

typedef struct attn_rig {
    tlpi_env env;
    tlpi_pool *pool;
    tlpi_train_attn *attn; /* NULL: the machine lacks the instruction set */
} attn_rig;

static const tlpi_train_attn_sizes most = { 300, 9, 8, 128 };

static void rig_open(attn_rig *r, int isa, int n_thread)
{
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };

    CHECK_OK(tlpi_env_init(&r->env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pool_create(&r->pool, &r->env, &o));
    tlp_status st =
        tlpi_train_attn_create(&r->attn, &r->env, r->pool, isa, &most);
    if (st == TLP_ENOTSUP)
        printf("skipped: %s\n", tlp_last_error());
    else
        CHECK_OK(st);
}

static void rig_close(attn_rig *r)
{
    tlpi_train_attn_free(r->attn);
    tlpi_pool_free(r->pool);
}

/* Tokens; query heads, kv heads, head_dim, group, first, scale, window, cap. */
static const attn_shape shapes[] = {
    { 1, { 1, 1, 16, 1, 0, 0.25f, 0, 0 } },
    { 2, { 2, 1, 7, 2, 0, 0.4f, 1, 0 } },
    { 16, { 4, 2, 32, 2, 0, 0.2f, 0, 0 } },
    { 47, { 3, 3, 20, 1, 5, 0.3f, 0, 0 } },
    { 49, { 9, 3, 64, 3, 0, 0.125f, 0, 0 } },
    { 96, { 2, 1, 64, 3, 4, 0.125f, 0, 0 } }, /* two heads of one kv head */
    { 97, { 5, 2, 64, 3, 1, 0.125f, 5, 0 } }, /* a part of the first kv head */
    { 130, { 8, 8, 24, 1, 8, 0.2f, 50, 0 } },
    { 256, { 2, 1, 128, 2, 0, 0.09f, 100, 0 } },
    { 300, { 3, 1, 64, 3, 6, 0.125f, 0, 0 } },
    { 300, { 4, 4, 16, 1, 0, 0.25f, 16, 0 } },
    { 300, { 2, 2, 16, 1, 0, 0.25f, 299, 0 } },
    { 40, { 2, 2, 16, 2, 0, 0.25f, 0, 0 } }, /* a kv head that nobody reads */
    { 97, { 5, 2, 64, 3, 1, 0.125f, 5, 0.5f } },
    { 130, { 3, 3, 20, 1, 0, 0.6f, 0, 1 } },
    { 300, { 4, 2, 32, 2, 0, 0.3f, 130, 50 } },
};

static void check_isa(int isa)
{
    attn_rig r;

    rig_open(&r, isa, 2);
    for (size_t i = 0; r.attn && i < TLPI_COUNT(shapes); i++)
        check_case(r.attn, shapes[i]);
    rig_close(&r);
}

Test(train_attn, scalar_is_exact)
{
    check_isa(TLP_ISA_SCALAR);
}

Test(train_attn, avx2_is_exact)
{
    check_isa(TLP_ISA_AVX2);
}

Test(train_attn, avx512_is_exact)
{
    check_isa(TLP_ISA_AVX512);
}

Test(train_attn, threads_change_no_bit)
{
    attn_case c =
        make_case((attn_shape){ 300, { 9, 3, 64, 3, 0, 0.125f, 0, 0 } });
    float *first[N_MATRIX] = { NULL };

    for (int n = 1; n <= 3; n++) {
        attn_rig r;
        rig_open(&r, TLP_ISA_AUTO, n);
        run_case(r.attn, &c);
        rig_close(&r);
        for (int i = 3; i < N_MATRIX; i++) {
            size_t bytes = 300 * (c.n[i] + GAP) * sizeof(float);
            if (n == 1)
                first[i] = memcpy(malloc(bytes), c.x[i], bytes);
            cr_assert(!memcmp(first[i], c.x[i], bytes), "%d threads", n);
        }
    }
    for (int i = 0; i < N_MATRIX; i++)
        free(first[i]);
    free_case(&c);
}

/* Large scores: the weights of a row are 1 and 0, and nothing overflows. */
static void large_scores(float cap)
{
    attn_case c = make_case((attn_shape){ 60, { 2, 1, 16, 2, 0, 40, 0, cap } });
    attn_rig r;

    rig_open(&r, TLP_ISA_AUTO, 1);
    run_case(r.attn, &c);
    for (int i = 3; i < N_MATRIX; i++)
        for (size_t j = 0; i != 4 && j < 60 * (c.n[i] + GAP); j++)
            if (j % (c.n[i] + GAP) < c.n[i])
                cr_assert(isfinite(c.x[i][j]), "matrix %d", i);
    rig_close(&r);
    free_case(&c);
}

Test(train_attn, large_scores)
{
    large_scores(0);
    large_scores(50);
}

/* ==== lifetime =========================================================== */

/* Every failing allocation is an error that leaks nothing; a pass allocates
 * nothing. */
Test(train_attn, memory)
{
    attn_case c =
        make_case((attn_shape){ 300, { 9, 3, 64, 3, 0, 0.125f, 0, 0 } });
    attn_rig r;
    counting count = { 0 };
    tlp_allocator mem = counting_allocator(&count);
    tlpi_env env;
    tlpi_train_attn *a = NULL;

    rig_open(&r, TLP_ISA_AUTO, 2);
    CHECK_OK(tlpi_env_init(&env, &mem, NULL, NULL));
    for (long n = 1; !a; n++) {
        count.calls = 0;
        count.fail_at = n;
        tlp_status st =
            tlpi_train_attn_create(&a, &env, r.pool, TLP_ISA_AUTO, &most);
        if (a)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert(strstr(tlp_last_error(), "attention of 300 tokens"));
        cr_assert_eq(count.n_live, 0);
        cr_assert(n < 20);
    }
    count.calls = 0;
    cr_assert(tlpi_train_attn_bytes(a) <= count.live);
    cr_assert(tlpi_train_attn_bytes(a) + 4096 >= count.live);
    run_case(a, &c);
    cr_assert_eq(count.calls, 0);
    tlpi_train_attn_free(a);
    tlpi_train_attn_free(NULL);
    cr_assert_eq(count.n_live, 0);
    cr_assert_eq(count.bad, 0);
    CHECK_FAILS(TLP_EINVAL,
                tlpi_train_attn_create(&a, &env, r.pool, -1, &most));
    rig_close(&r);
    free_case(&c);
}
