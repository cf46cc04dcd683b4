/*
 * top.c - the k best of a row of logits, sorted; the logits that no token can
 * be chosen by.
 */
#include <float.h>
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
        if (have == k && x <= out[k - 1].logit) /* false for NaN */
            continue;
        if (isnan(x)) {
            out[0] = (tlpi_candidate){ base + i, x };
            have = 1;
            break;
        }
        tlpi_candidate_insert(out, &have, k, (tlpi_candidate){ base + i, x });
    }
    for (; have < k; have++)
        out[have] = (tlpi_candidate){ -1, -INFINITY };
}

size_t tlpi_find_unsound(const float *logits, size_t n, bool *possible)
{
    enum { LANES = 16 };
    size_t i = 0, whole = n / LANES * LANES;
    unsigned finite = 0;

    for (; i < whole; i += LANES) {
        unsigned bad = 0;
        for (size_t k = 0; k < LANES; k++) { /* becomes vectors */
            bad |= !(logits[i + k] <= FLT_MAX);
            finite |= logits[i + k] > -INFINITY;
        }
        if (bad)
            break;
    }
    while (i < n && logits[i] <= FLT_MAX)
        finite |= logits[i++] > -INFINITY;
    *possible = finite;
    return i;
}

tlp_status tlpi_cpu_top(tlpi_backend *b, const float *x, int n, int cols,
                        int base, int k, tlpi_candidate *out)
{
    (void)b;
    for (int i = 0; i < n; i++)
        tlpi_top_k(x + (size_t)i * (size_t)cols, cols, base, out + i * k, k);
    return TLP_OK;
}
