/*
 * fit_lowrank.c - the map of a given rank that explains the missing part best.
 *
 * With A = S + ridge diag(S) = L L', ridge regression gives B = C A^-1.  Let U
 * be the first r eigenvectors of B A B' = Y Y', where Y = C L'^-1.  Of all maps
 * of rank r, U U' B loses least of what B explains: up = U, down = U' B.
 *
 * Orthogonal iteration finds U.  Its first columns do not depend on the number
 * of columns, so a map of lower rank is the first part of a map of higher rank.
 */
#include "tune/fit.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

enum { MAX_ITERATION = 40, MIN_ITERATION = 4, BLOCK = 16 };

/* Iteration ends when the relative gain of energy is below this. */
#define GAIN 1e-7

typedef struct work {
    const tlpi_fitter *f;
    int n, d, r;
    double *a;    /* [n][n] A, then L */
    double *y;    /* [d][n] C, then Y */
    double *turn; /* [n][d] Y' */
    double *m;    /* [d][d] Y Y' */
    double *u;    /* [r][d] U' */
    double *next; /* [r][d] */
    double *down; /* [r][n] */
    double *tmp;  /* [r][max(n, BLOCK)] */
} work;

static double *array(const work *w, int rows, int cols)
{
    return tlpi_alloc_array(w->f->env, (size_t)rows * (size_t)cols,
                            sizeof(double));
}

static tlp_status create(work *w)
{
    uint64_t seed = 1;

    w->a = array(w, w->n, w->n);
    w->y = array(w, w->d, w->n);
    w->turn = array(w, w->n, w->d);
    w->m = array(w, w->d, w->d);
    w->u = array(w, w->r, w->d);
    w->next = array(w, w->r, w->d);
    w->down = array(w, w->r, w->n);
    w->tmp = array(w, w->r, TLPI_MAX(w->n, BLOCK));
    if (!w->a || !w->y || !w->turn || !w->m || !w->u || !w->next || !w->down ||
        !w->tmp)
        return tlpi_fail_nomem_for("a fit");
    for (size_t i = 0; i < (size_t)w->r * (size_t)w->d; i++)
        w->u[i] = tlpi_uniform(&seed) - 0.5;
    return TLP_OK;
}

static void clear(work *w)
{
    double *all[] = {
        w->a, w->y, w->turn, w->m, w->u, w->next, w->down, w->tmp
    };

    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(w->f->env, all[i]);
}

/* c = a b' */
static void product(const work *w, int m, int n, int k, const double *a,
                    const double *b, double *c)
{
    tlpi_dgemm p = { .m = m, .n = n, .k = k, .a = a, .b = b, .c = c };

    memset(c, 0, (size_t)m * (size_t)n * sizeof(*c));
    tlpi_dgemm_run(w->f->pool, &p);
}

/* ==== eigenvectors ======================================================= */

/* Make rows [at, at + n) orthogonal to the rows before them.  The second pass
 * removes the rounding errors of the first. */
static void take_off_before(const work *w, double *rows, int at, int n)
{
    size_t d = (size_t)w->d;
    double *block = rows + (size_t)at * d;

    for (int pass = 0; pass < 2; pass++) {
        memset(w->tmp, 0, (size_t)n * (size_t)at * sizeof(*w->tmp));
        tlpi_dots(n, at, w->d, block, d, rows, d, 1, w->tmp, (size_t)at);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < at; j++)
                tlpi_axpy(w->d, -w->tmp[i * at + j], rows + (size_t)j * d,
                          block + (size_t)i * d);
    }
}

/* Gram-Schmidt.  A row in the span of the rows before it becomes zero: there
 * are no more eigenvectors. */
static void orthonormalise(const work *w, double *rows)
{
    size_t d = (size_t)w->d;

    for (int at = 0; at < w->r; at += BLOCK) {
        int n = TLPI_MIN(BLOCK, w->r - at);
        double *block = rows + (size_t)at * d, before[BLOCK];

        for (int i = 0; i < n; i++) {
            const double *x = block + (size_t)i * d;
            before[i] = tlpi_dot(w->d, x, x);
        }
        take_off_before(w, rows, at, n);
        for (int i = 0; i < n; i++) {
            double *x = block + (size_t)i * d;

            for (int pass = 0; pass < 2; pass++)
                for (int j = 0; j < i; j++) {
                    const double *z = block + (size_t)j * d;
                    tlpi_axpy(w->d, -tlpi_dot(w->d, x, z), z, x);
                }
            double left = tlpi_dot(w->d, x, x);
            double scale = left > 1e-24 * before[i] ? 1 / sqrt(left) : 0;
            for (size_t j = 0; j < d; j++)
                x[j] *= scale;
        }
    }
}

/* Starts from the u of another ridge, which is near the solution. */
static void iterate(work *w)
{
    size_t n = (size_t)w->r * (size_t)w->d;
    double before = 0;

    orthonormalise(w, w->u);
    for (int i = 0; i < MAX_ITERATION; i++) {
        product(w, w->r, w->d, w->d, w->u, w->m, w->next);
        double energy = tlpi_dot((int)n, w->u, w->next);
        double *u = w->u;

        w->u = w->next;
        w->next = u;
        orthonormalise(w, w->u);
        if (i >= MIN_ITERATION && energy - before <= GAIN * energy)
            break;
        before = energy;
    }
}

/* ==== one ridge ========================================================== */

static void transpose(int m, int n, const double *x, double *y)
{
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t j = 0; j < (size_t)n; j++)
            y[j * (size_t)m + i] = x[i * (size_t)n + j];
}

/* Fills u and down; false where all features are zero. */
static bool solve(work *w, const tlpi_moments *m, double ridge)
{
    size_t n = (size_t)w->n;
    tlpi_dgemm yy = { .m = w->d, .n = w->d, .k = w->n, .lower = true };
    double most = 0;

    memcpy(w->a, m->s, n * n * sizeof(*w->a));
    memcpy(w->y, m->c, (size_t)w->d * n * sizeof(*w->y));
    for (size_t i = 0; i < n; i++)
        most = TLPI_MAX(most, m->s[i * n + i]);
    for (size_t i = 0; i < n; i++)
        w->a[i * n + i] += ridge * m->s[i * n + i] + 1e-12 * most;
    if (!tlpi_cholesky(w->f->pool, w->n, w->a))
        return false;
    tlpi_solve_first(w->f->pool, w->d, w->n, w->a, w->y);
    transpose(w->d, w->n, w->y, w->turn);
    memset(w->m, 0, (size_t)w->d * (size_t)w->d * sizeof(*w->m));
    yy.a = yy.b = w->y;
    yy.c = w->m;
    tlpi_dgemm_run(w->f->pool, &yy);
    tlpi_mirror(w->d, w->m);
    iterate(w);
    product(w, w->r, w->n, w->d, w->u, w->turn, w->down);
    tlpi_solve_second(w->f->pool, w->r, w->n, w->a, w->down);
    return true;
}

/* ==== choosing =========================================================== */

/* gain[k]: by how much row k of u and down lowers the error on `held`.  The
 * rows of u are orthonormal, so the gains add up. */
static void measure(const work *w, const tlpi_moments *held, double *gain)
{
    product(w, w->r, w->n, w->n, w->down, held->s, w->tmp);
    for (size_t k = 0; k < (size_t)w->r; k++)
        gain[k] = -tlpi_dot(w->n, w->down + k * (size_t)w->n,
                            w->tmp + k * (size_t)w->n);
    product(w, w->r, w->d, w->n, w->down, held->c, w->tmp);
    for (size_t k = 0; k < (size_t)w->r; k++)
        gain[k] += 2 * tlpi_dot(w->d, w->u + k * (size_t)w->d,
                                w->tmp + k * (size_t)w->d);
}

static tlp_status choose(work *w, const tlpi_moments *m,
                         const tlpi_moments *held, tlpi_choice *choice)
{
    double least = TLPI_HELPS * held->missing;
    double *gain = array(w, w->r, 1);
    tlp_status st = gain ? TLP_OK : tlpi_fail_nomem_for("a fit");

    *choice = (tlpi_choice){ 0 };
    if (held->missing <= TLPI_NOISE * held->target)
        goto done;
    for (int i = 0; i < TLPI_N_RIDGE && st == TLP_OK; i++) {
        double error = held->missing;

        if (!solve(w, m, tlpi_ridge[i]))
            continue;
        measure(w, held, gain);
        for (int k = 1; k <= w->r; k++) {
            bool offered = k == w->r / 4 || k == w->r / 2 || k == w->r;

            error -= gain[k - 1];
            if (!offered || error >= least)
                continue;
            least = error;
            *choice = (tlpi_choice){ tlpi_ridge[i], k };
        }
        st = tlpi_tick_call(&w->f->tick);
    }
done:
    tlpi_free(w->f->env, gain);
    return st;
}

static tlp_status hand_out(const work *w, tlpi_fitted_lowrank *out)
{
    size_t r = (size_t)w->r, n = (size_t)w->n, d = (size_t)w->d;

    out->rank = w->r;
    out->down = tlpi_alloc_array(w->f->env, r * n, sizeof(float));
    out->up = tlpi_alloc_array(w->f->env, d * r, sizeof(float));
    if (!out->down || !out->up)
        return tlpi_fail_nomem_for("a fit");
    for (size_t i = 0; i < r * n; i++)
        out->down[i] = (float)w->down[i];
    for (size_t j = 0; j < d; j++)
        for (size_t k = 0; k < r; k++)
            out->up[j * r + k] = (float)w->u[k * d + j];
    return TLP_OK;
}

tlp_status tlpi_fit_lowrank(const tlpi_fitter *f, const tlpi_moments *m,
                            const tlpi_moments *held, int max_rank,
                            tlpi_choice *choice, tlpi_fitted_lowrank *out)
{
    work w = { .f = f, .n = m->n, .d = m->d, .r = max_rank };
    tlp_status st = TLP_OK;

    *out = (tlpi_fitted_lowrank){ 0 };
    TLP_TRY(create(&w));
    if (held)
        TLP_TRY(choose(&w, m, held, choice));
    if (choice->rank == 0)
        goto done;
    w.r = choice->rank;
    if (solve(&w, m, choice->ridge))
        st = hand_out(&w, out);
    if (st == TLP_OK)
        st = tlpi_tick_call(&f->tick);
done:
    if (st != TLP_OK)
        tlpi_fitted_lowrank_free(f->env, out);
    clear(&w);
    return st;
}

void tlpi_fitted_lowrank_free(const tlpi_env *env, tlpi_fitted_lowrank *x)
{
    tlpi_free(env, x->down);
    tlpi_free(env, x->up);
    *x = (tlpi_fitted_lowrank){ 0 };
}
