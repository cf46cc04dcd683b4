/*
 * cpu_lse.c - log sum exp of rows of logits.
 *
 * The softmax kernel of attention works in place with powers of two.  A row is
 * processed in pieces, whose (max, sum) pairs are merged in double.
 */
#include <math.h>

#include "backend/cpu.h"
#include "backend/cpu_vec.h"

#define PIECE 1024
#define LOG2E 1.4426950408889634
#define LN2 0.6931471805599453

typedef struct lse_job {
    const tlpi_cpu_vec *vec;
    const float *x; /* [n][cols] */
    int cols;
    float *lse; /* [n] */
} lse_job;

static float row_lse(const tlpi_cpu_vec *vec, const float *x, int cols)
{
    float s[PIECE + TLPI_PANEL];
    double max = -INFINITY, sum = 0;
    bool possible;

    for (int at = 0; at < cols; at += PIECE) {
        int n = TLPI_MIN(PIECE, cols - at);
        int padded = (n + TLPI_PANEL - 1) / TLPI_PANEL * TLPI_PANEL;
        float piece_max, piece_sum;

        /* The kernel would turn NaN into a number. */
        if (tlpi_find_unsound(x + at, (size_t)n, &possible) < (size_t)n)
            return NAN;
        vec->scale(s, x + at, NULL, (float)LOG2E, (size_t)n);
        vec->softmax(s, PIECE, &n, 1, padded, &piece_max, &piece_sum);
        double top = fmax(max, (double)piece_max);
        if (top == -INFINITY)
            continue;
        sum = sum * exp2(max - top) +
              (double)piece_sum * exp2((double)piece_max - top);
        max = top;
    }
    return (float)((max + log2(sum)) * LN2);
}

static void run(void *arg, int i, int n)
{
    const lse_job *j = arg;

    (void)n;
    j->lse[i] = row_lse(j->vec, j->x + (size_t)i * (size_t)j->cols, j->cols);
}

tlp_status tlpi_cpu_log_sum_exp(tlpi_backend *b, const float *x, int n,
                                int cols, const int32_t *index, float *lse,
                                float *at)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    lse_job j = { c->vec, x, cols, lse };

    tlpi_pool_map(c->pool, n, run, &j);
    for (int i = 0; i < n; i++)
        at[i] = index[i] < 0 ? -INFINITY
                             : x[(size_t)i * (size_t)cols + (size_t)index[i]];
    return TLP_OK;
}
