/*
 * cpu_vec.c - operations on rows: residual sums, norms, gathering.
 *
 * Rows are independent, so splitting them over the threads does not change
 * results.  A few rows take less time than waking the threads and are
 * processed on the calling thread.
 */
#include "backend/cpu_vec.h"

#include <math.h>
#include <string.h>

#include "backend/cpu.h"

/* With fewer floats a parallel region costs more than it saves. */
#define MIN_PARALLEL 16384
#define PARTS 4 /* of a parallel region, for each thread */

const tlpi_cpu_vec *tlpi_cpu_vec_get(int isa)
{
#if defined(__x86_64__)
    if (isa >= TLP_ISA_AVX512)
        return &tlpi_cpu_vec_avx512;
    if (isa == TLP_ISA_AVX2)
        return &tlpi_cpu_vec_avx2;
#endif
    (void)isa;
    return &tlpi_cpu_vec_scalar;
}

/* Run fn over all of arg: on the calling thread, or on the pool. */
static void run(tlpi_cpu *c, size_t n_float, tlpi_task_fn fn, void *arg)
{
    int n_thread = tlpi_pool_in_use(c->pool);

    if (n_thread == 1 || n_float < MIN_PARALLEL)
        fn(arg, 0, 1);
    else
        tlpi_pool_map(c->pool, PARTS * n_thread, fn, arg);
}

/* Part ith of nth of n. */
static void share(size_t n, int ith, int nth, size_t *i0, size_t *i1)
{
    *i0 = n * (size_t)ith / (size_t)nth;
    *i1 = n * ((size_t)ith + 1) / (size_t)nth;
}

/* ==== gather ============================================================= */

typedef struct gather_job {
    const float *x;
    const int32_t *rows;
    size_t n, cols;
    float *y;
} gather_job;

static void gather_part(void *arg, int ith, int nth)
{
    const gather_job *g = arg;
    size_t i0, i1;
    share(g->n, ith, nth, &i0, &i1);
    for (size_t i = i0; i < i1; i++)
        memcpy(g->y + i * g->cols, g->x + (size_t)g->rows[i] * g->cols,
               g->cols * sizeof(float));
}

void tlpi_cpu_gather(tlpi_backend *b, const float *x, const int32_t *rows,
                     int n, int cols, float *y)
{
    gather_job g = { x, rows, (size_t)n, (size_t)cols, y };
    run(tlpi_cpu_of(b), g.n * g.cols, gather_part, &g);
}

/* ==== add_norm =========================================================== */

typedef struct norm_job {
    const tlpi_cpu_vec *vec;
    size_t n_tok, cols;
    const float *x, *delta; /* delta may be NULL */
    float *sum;             /* or NULL */
    const tlpi_norm *norm;
    int n_norm;
    float eps;
} norm_job;

static void norm_row(const norm_job *j, size_t t)
{
    size_t at = t * j->cols;
    const float *z = j->x + at;
    float *sum = j->sum ? j->sum + at : NULL;
    if (j->delta) {
        /* Without a caller's sum buffer the sum is stored in the last norm's
         * row, which is written last. */
        float *dst = sum ? sum : j->norm[j->n_norm - 1].y + at;
        j->vec->add(dst, z, j->delta + at, j->cols);
        z = dst;
    } else if (sum && sum != z) {
        memcpy(sum, z, j->cols * sizeof(float));
    }
    if (j->n_norm == 0)
        return;

    float mean = j->vec->sum_sq(z, j->cols) / (float)j->cols;
    float s = tlpi_norm_scale(mean, j->eps);
    for (int i = 0; i < j->n_norm; i++) {
        float *y = j->norm[i].y + at;
        if (j->norm[i].w)
            j->vec->scale(y, z, j->norm[i].w, s, j->cols);
        else if (y != z)
            memcpy(y, z, j->cols * sizeof(float));
    }
}

static void norm_part(void *arg, int ith, int nth)
{
    const norm_job *j = arg;
    size_t t0, t1;
    share(j->n_tok, ith, nth, &t0, &t1);
    for (size_t t = t0; t < t1; t++)
        norm_row(j, t);
}

void tlpi_cpu_add_norm(tlpi_backend *b, int n_tok, int cols, const float *x,
                       const float *delta, float *sum, const tlpi_norm *norm,
                       int n_norm, float eps)
{
    if (!sum && n_norm == 0)
        return;

    tlpi_cpu *c = tlpi_cpu_of(b);
    norm_job j = { c->vec, (size_t)n_tok, (size_t)cols, x,  delta,
                   sum,    norm,          n_norm,       eps };
    run(c, j.n_tok * j.cols, norm_part, &j);
}

/* ==== sum_squares ======================================================== */

typedef struct square_job {
    const tlpi_cpu_vec *vec;
    size_t n_tok;
    const tlpi_square *item;
    int n_item;
} square_job;

static void square_part(void *arg, int ith, int nth)
{
    const square_job *j = arg;
    size_t t0, t1;
    share(j->n_tok, ith, nth, &t0, &t1);
    for (size_t t = t0; t < t1; t++)
        for (int i = 0; i < j->n_item; i++) {
            const tlpi_square *s = &j->item[i];
            size_t cols = (size_t)s->cols;
            s->y[t] += j->vec->sum_sq(s->x + t * cols, cols);
        }
}

void tlpi_cpu_sum_squares(tlpi_backend *b, int n_tok, const tlpi_square *item,
                          int n)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    square_job j = { c->vec, (size_t)n_tok, item, n };
    size_t cols = 0;
    for (int i = 0; i < n; i++)
        cols += (size_t)item[i].cols;
    run(c, j.n_tok * cols, square_part, &j);
}

/* ==== add ================================================================ */

typedef struct add_job {
    const tlpi_cpu_vec *vec;
    float *y;
    const float *x;
    size_t n;
} add_job;

static void add_part(void *arg, int ith, int nth)
{
    const add_job *a = arg;
    size_t i0, i1;
    share(a->n, ith, nth, &i0, &i1);
    a->vec->add(a->y + i0, a->y + i0, a->x + i0, i1 - i0);
}

void tlpi_cpu_add(tlpi_backend *b, float *y, const float *x, size_t n)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    add_job a = { c->vec, y, x, n };
    run(c, n, add_part, &a);
}

/* ==== zero =============================================================== */

void tlpi_cpu_zero(tlpi_backend *b, float *y, size_t n)
{
    (void)b;
    memset(y, 0, n * sizeof(float));
}
