/*
 * bootstrap.c - percentile bootstrap of a weighted mean.
 *
 * A sample draws whole units with replacement, so values that correlate inside
 * a unit stay together.
 */
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/random.h"
#include "tlp_eval.h"

#define N_RESAMPLE 2000

static tlp_status check(const double *sum, const double *weight, size_t n)
{
    if (n < 2)
        return tlpi_fail(TLP_EINVAL, "%zu units, at least 2 expected", n);
    for (size_t i = 0; i < n; i++)
        if (isnan(sum[i]) ||
            (weight && !(weight[i] > 0 && isfinite(weight[i]))))
            return tlpi_fail(TLP_EINVAL, "unit %zu: sum %g, weight %g", i,
                             sum[i], weight ? weight[i] : 1);
    return TLP_OK;
}

static double resample(const double *sum, const double *weight, size_t n,
                       uint64_t *random)
{
    double total = 0, total_weight = 0;

    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)(tlpi_uniform(random) * (double)n);

        total += sum[k];
        total_weight += weight ? weight[k] : 1;
    }
    return total / total_weight;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Linear between neighbours; the lower neighbour if one is infinite. */
static double quantile(const double *sorted, double q)
{
    double at = q * (N_RESAMPLE - 1);
    size_t i = (size_t)at;
    double x = sorted[i], y = sorted[TLPI_MIN(i + 1, N_RESAMPLE - 1)];

    return isfinite(x) && isfinite(y) ? x + (at - (double)i) * (y - x) : x;
}

tlp_status tlp_bootstrap_mean(double *lo, double *hi, const double *sum,
                              const double *weight, size_t n, double level,
                              uint64_t seed)
{
    double mean[N_RESAMPLE];
    tlp_status st = TLP_OK;

    if (!sum || !lo || !hi || !(level > 0 && level < 1))
        return tlpi_fail(TLP_EINVAL,
                         "sum, lo, hi and level between 0 and 1 are required");
    TLP_TRY(check(sum, weight, n));
    for (int i = 0; i < N_RESAMPLE; i++)
        mean[i] = resample(sum, weight, n, &seed);
    qsort(mean, N_RESAMPLE, sizeof *mean, compare);
    *lo = quantile(mean, (1 - level) / 2);
    *hi = quantile(mean, (1 + level) / 2);
done:
    return st;
}
