/*
 * naive_study.c - see naive_study.h.
 */
#include "naive_study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

/* ==== streams ============================================================ */

static double *plus(const naive *v, const double *a, const double *b)
{
    size_t n = (size_t)(v->n_tok * v->d);
    double *y = malloc(n * sizeof *y);

    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
    return y;
}

static double *whole(const naive *v, int half, const double *x)
{
    double *y = ref_half(v->m, half / 2, half % 2, 0, 1, x, v->n_tok);

    ref_give(v->m, half / 2, half % 2, 1, y, v->n_tok);
    return y;
}

/* What a track adds without an exchange. */
static double *part(const naive *v, int half, int t, const double *x)
{
    double *y = ref_half(v->m, half / 2, half % 2, t, v->n_track, x, v->n_tok);

    ref_give(v->m, half / 2, half % 2, v->posts ? 1 / sqrt(v->n_track) : 1, y,
             v->n_tok);
    return y;
}

naive run_naive(const ref_model *m, int n_track, const int32_t *ids, int n)
{
    naive v = { m, n_track, n, ref_n_embd(m), ref_has_posts(m), { NULL } };

    v.x[0] = ref_embed(m, ids, n);
    for (int k = 0; k < 2 * ref_n_layer(m); k++) {
        double *f = whole(&v, k, v.x[k]);

        v.x[k + 1] = plus(&v, v.x[k], f);
        free(f);
    }
    return v;
}

void free_naive(naive *v)
{
    for (int k = 0; k <= 2 * ref_n_layer(v->m); k++)
        free(v->x[k]);
}

/* sum over tokens but the first of |a - b|² / |c - d|²; NULL is zero */
static double ratios(const naive *v, const double *a, const double *b,
                     const double *c, const double *d)
{
    double sum = 0;

    for (int t = 1; t < v->n_tok; t++) {
        double num = 0, den = 0;

        for (int i = t * v->d; i < (t + 1) * v->d; i++) {
            double x = a[i] - (b ? b[i] : 0), y = c[i] - (d ? d[i] : 0);

            num += x * x;
            den += y * y;
        }
        sum += num / den;
    }
    return sum;
}

/* a = a + b; b is freed. */
static void take(const naive *v, double *a, double *b)
{
    for (int i = 0; i < v->n_tok * v->d; i++)
        a[i] += b[i];
    free(b);
}

/* The stream behind the half-layer after `half` when the tracks did not
 * exchange in front of it. */
static double *without_exchange(const naive *v, int half, double *own)
{
    int next = half + 1;
    size_t n = (size_t)(v->n_tok * v->d);
    double *sum = calloc(n, sizeof *sum), *stream = calloc(n, sizeof *stream);

    memcpy(stream, v->x[half], n * sizeof *stream);
    for (int t = 0; t < v->n_track; t++) {
        double *f = part(v, half, t, v->x[half]);
        double *x = plus(v, v->x[half], f);

        take(v, sum,
             ref_half(v->m, next / 2, next % 2, t, v->n_track, x, v->n_tok));
        *own += ratios(v, f, NULL, v->x[half + 1], v->x[half]) / v->n_track;
        take(v, stream, f);
        free(x);
    }
    ref_give(v->m, next / 2, next % 2, 1, sum, v->n_tok);
    take(v, stream, sum);
    return stream;
}

static void add_exchange(const naive *v, const tlp_study_place *p, double *sum)
{
    int k = 2 * p->layer + (p->half == TLP_NOSYNC_FFN);
    double *const *x = v->x + k;
    double *low = whole(v, k + 1, x[0]), *high = whole(v, k + 1, x[1]);
    double *plan = without_exchange(v, k, &sum[1]);

    sum[0] += ratios(v, x[1], x[0], x[1], NULL);
    sum[2] += ratios(v, high, low, high, NULL);
    sum[3] += ratios(v, plan, x[2], x[2], NULL);
    free(low), free(high), free(plan);
}

static void add_pair(const naive *v, const tlp_study_place *p, double *sum)
{
    double *const *x = v->x + 2 * p->layer;
    double *a = whole(v, 2 * p->layer + 2, x[0]), *y = plus(v, x[0], a);
    double *f = whole(v, 2 * p->layer + 3, y), *low = plus(v, a, f);
    size_t n = (size_t)(v->n_tok * v->d);
    double *high = malloc(n * sizeof *high);

    for (size_t i = 0; i < n; i++)
        high[i] = x[4][i] - x[2][i];
    sum[0] += ratios(v, x[2], x[0], x[2], NULL);
    sum[1] += (ratios(v, x[2], x[0], x[4], x[0]) +
               ratios(v, x[4], x[2], x[4], x[0])) /
              2;
    sum[2] += ratios(v, high, low, high, NULL);
    sum[3] += ratios(v, high, low, x[4], NULL);
    free(a), free(y), free(f), free(low), free(high);
}

void naive_add_place(const naive *v, const tlp_study_place *p, double *sum)
{
    if (p->kind == TLP_PLACE_PAIR)
        add_pair(v, p, sum);
    else
        add_exchange(v, p, sum);
}

/* ==== sensitivity ======================================================== */

static double length(const double *x, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* x [n_tok][d]: noise of 0.05 |x| along g of another token, or against it. */
static void disturb(const naive *v, int half, double *x)
{
    uint64_t state = (uint64_t)half, seed = tlpi_random(&state);

    for (int t = 1; t < v->n_tok; t++) {
        uint64_t drawn = tlpi_random(&seed);
        int from = 1 + (int)((drawn >> 1) % (uint64_t)(v->n_tok - 1));
        double g[256], scale = drawn & 1 ? 0.05 : -0.05;

        for (int i = 0; i < v->d; i++)
            g[i] =
                v->x[half + 1][from * v->d + i] - v->x[half][from * v->d + i];
        scale *= length(x + t * v->d, v->d) / length(g, v->d);
        for (int i = 0; i < v->d; i++)
            x[t * v->d + i] += scale * g[i];
    }
}

/* KL of the predictions with noise behind half-layer `half`, over 0.05². */
double naive_sensitivity(const naive *v, int half)
{
    size_t n_vocab = (size_t)ref_n_vocab(v->m);
    size_t n = (size_t)(v->n_tok * v->d);
    double *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y), sum = 0;

    memcpy(x, v->x[half + 1], n * sizeof *x);
    disturb(v, half, x);
    for (int k = half + 1; k < 2 * ref_n_layer(v->m); k++) {
        double *f = whole(v, k, x), *z = plus(v, x, f);

        free(f), free(x);
        x = z;
    }
    memcpy(y, v->x[2 * ref_n_layer(v->m)], n * sizeof *y);
    x = ref_head(v->m, x, v->n_tok);
    y = ref_head(v->m, y, v->n_tok);
    for (int t = 0; t < v->n_tok - 1; t++) {
        const double *p = y + (size_t)t * n_vocab, *q = x + (size_t)t * n_vocab;
        double zp = 0, zq = 0;

        for (size_t i = 0; i < n_vocab; i++)
            zp += exp(p[i]), zq += exp(q[i]);
        for (size_t i = 0; i < n_vocab; i++)
            sum += exp(p[i]) / zp * (p[i] - log(zp) - q[i] + log(zq));
    }
    free(x), free(y);
    return sum / (v->n_tok - 1) / (0.05 * 0.05);
}
