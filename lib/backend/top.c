/*
 * top.c - the k best of a row of logits, sorted.
 */
#include <math.h>

#include "backend/cpu.h"

bool tlpi_candidate_better(tlpi_candidate a, tlpi_candidate b)
{
    if (b.id < 0)
        return a.id >= 0;
    if (a.logit != b.logit)
        return a.logit > b.logit;
    return a.id >= 0 && a.id < b.id;
}

void tlpi_candidate_insert(tlpi_candidate *out, int *n, int k, tlpi_candidate c)
{
    int i = *n < k ? (*n)++ : k - 1;

    for (; i > 0 && tlpi_candidate_better(c, out[i - 1]); i--)
        out[i] = out[i - 1];
    out[i] = c;
}

void tlpi_top_k(const float *logits, int n, int base, tlpi_candidate *out,
                int k)
{
    int have = 0;

    for (int i = 0; i < n; i++) {
        float x = logits[i];
        if (have < k || x > out[k - 1].logit)
            tlpi_candidate_insert(
                out, &have, k,
                (tlpi_candidate){ base + i, isnan(x) ? -INFINITY : x });
    }
    for (; have < k; have++)
        out[have] = (tlpi_candidate){ -1, -INFINITY };
}

tlp_status tlpi_cpu_top(tlpi_backend *b, const float *x, int n, int cols,
                        int base, int k, tlpi_candidate *out)
{
    (void)b;
    for (int i = 0; i < n; i++)
        tlpi_top_k(x + (size_t)i * (size_t)cols, cols, base, out + i * k, k);
    return TLP_OK;
}
