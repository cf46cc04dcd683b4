/*
 * fit.c - least squares for a few rates that cannot be negative.
 *
 * Every subset of the rates is solved with all other rates at zero, and the
 * best solution without a negative rate is taken.  Three rates make seven small
 * systems, and no active set has to be kept.
 */
#include "cost/measure.h"

#include <math.h>

void tlpi_fit_add(tlpi_fit *f, const double *x, double y)
{
    for (int i = 0; i < TLPI_N_RATE; i++) {
        for (int j = 0; j < TLPI_N_RATE; j++)
            f->xx[i][j] += x[i] * x[j];
        f->xy[i] += x[i] * y;
    }
}

void tlpi_fit_merge(tlpi_fit *f, const tlpi_fit *other)
{
    for (int i = 0; i < TLPI_N_RATE; i++) {
        for (int j = 0; j < TLPI_N_RATE; j++)
            f->xx[i][j] += other->xx[i][j];
        f->xy[i] += other->xy[i];
    }
}

/* Solve for the rates in `set` (bits), by Cholesky's decomposition with the
 * columns scaled to length one; false where columns depend on each other. */
static bool solve_subset(const tlpi_fit *f, unsigned set, double *rate)
{
    double l[TLPI_N_RATE][TLPI_N_RATE], scale[TLPI_N_RATE], z[TLPI_N_RATE];
    int at[TLPI_N_RATE], n = 0;

    for (int i = 0; i < TLPI_N_RATE; i++) {
        rate[i] = 0;
        if (set >> i & 1)
            at[n++] = i;
    }
    for (int i = 0; i < n; i++) {
        scale[i] = sqrt(f->xx[at[i]][at[i]]);
        if (!(scale[i] > 0))
            return false;
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = f->xx[at[i]][at[j]] / scale[i] / scale[j];
            for (int k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            if (i == j && sum < 1e-6)
                return false;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
        z[i] = f->xy[at[i]] / scale[i];
        for (int k = 0; k < i; k++)
            z[i] -= l[i][k] * z[k];
        z[i] /= l[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            z[i] -= l[k][i] * z[k];
        z[i] /= l[i][i];
        rate[at[i]] = z[i] / scale[i];
    }
    return true;
}

/* The amount by which the solution lowers the sum of squares; more is
 * better. */
static double gain(const tlpi_fit *f, const double *rate)
{
    double sum = 0;

    for (int i = 0; i < TLPI_N_RATE; i++)
        sum += rate[i] * f->xy[i];
    return sum;
}

void tlpi_fit_solve(const tlpi_fit *f, double *rate)
{
    double best = 0;

    for (int i = 0; i < TLPI_N_RATE; i++)
        rate[i] = 0;
    for (unsigned set = 1; set < 1u << TLPI_N_RATE; set++) {
        double r[TLPI_N_RATE];
        bool ok = solve_subset(f, set, r);

        for (int i = 0; i < TLPI_N_RATE; i++)
            ok = ok && r[i] >= 0;
        if (!ok || gain(f, r) <= best)
            continue;
        best = gain(f, r);
        for (int i = 0; i < TLPI_N_RATE; i++)
            rate[i] = r[i];
    }
}
