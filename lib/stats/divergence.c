/*
 * divergence.c - compare a row of logits with a reference row.
 *
 * Let a be the reference's logits, p their distribution, and b the logits of
 * the row.  Then KL = sum p (a - b) + lse(b) - lse(a).  The exponentials come
 * from the softmax kernel of attention, which takes powers of two of a piece of
 * a row in single precision; pieces are added in double.  The least result of
 * the kernel is 2^-125.  Rows with logits far below that use exp of the C
 * library.
 */
#include <float.h>
#include <math.h>

#include "backend/cpu.h"
#include "backend/cpu_vec.h"
#include "tlp_eval.h"

#define PIECE 1024
#define N_TOP 5
#define LOG2E 1.4426950408889634f
#define MASKED -1e30f /* logits below mean that a token is impossible */

typedef struct row {
    const float *x; /* [n] */
    size_t n;
    int32_t top[N_TOP]; /* best first: higher logit, then lower id */
    int n_top;          /* less than N_TOP if fewer are above -inf */
    float max;
    bool masked; /* some are below MASKED */
} row;

static void insert(row *r, int32_t id)
{
    int i = r->n_top < N_TOP ? r->n_top++ : N_TOP - 1;

    for (; i > 0 && r->x[id] > r->x[r->top[i - 1]]; i--)
        r->top[i] = r->top[i - 1];
    r->top[i] = id;
}

static tlp_status scan(row *r, const char *name)
{
    float bar = -INFINITY;

    for (size_t i = 0; i < r->n; i++) {
        float x = r->x[i];

        if (x <= bar && x >= MASKED)
            continue;
        if (!(x <= FLT_MAX))
            return tlpi_fail(TLP_EINVAL,
                             "%s: the logit of token %zu is %s, a finite "
                             "number or -inf expected",
                             name, i, isnan(x) ? "NaN" : "+inf");
        r->masked |= x < MASKED;
        if (x > bar)
            insert(r, (int32_t)i);
        if (r->n_top == N_TOP)
            bar = r->x[r->top[N_TOP - 1]];
    }
    if (r->n_top == 0)
        return tlpi_fail(TLP_EINVAL, "%s: every logit is -inf", name);
    r->max = r->x[r->top[0]];
    return TLP_OK;
}

static bool same_set(const row *a, const row *b)
{
    int common = 0;

    for (int i = 0; i < a->n_top; i++)
        for (int j = 0; j < b->n_top; j++)
            common += a->top[i] == b->top[j];
    return a->n_top == b->n_top && common == a->n_top;
}

/* ==== sums over a row ==================================================== */

typedef struct sums {
    double p, q; /* of e^(a - max a), of e^(b - max b) */
    double d;    /* of e^(a - max a) (b - a) */
} sums;

/* s times the returned factor is e^(x - max); *sum is the sum of s. */
static double exp_piece(const tlpi_cpu_vec *vec, const float *x, float max,
                        int n, float *s, float *sum)
{
    float top;

    for (int i = 0; i < n; i++)
        s[i] = (x[i] - max) * LOG2E;
    vec->softmax(s, PIECE, &n, 1, (int)tlpi_padded(n), &top, sum);
    return exp2((double)top);
}

/* sum of p (b - a), in lanes that a compiler can make a vector of */
static double weigh(const float *p, const float *a, const float *b, int n)
{
    double lane[8] = { 0 }, sum = 0;
    int i = 0;

    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += (double)p[i + k] * ((double)b[i + k] - (double)a[i + k]);
    for (int k = 0; k < 8; k++)
        sum += lane[k];
    for (; i < n; i++)
        sum += (double)p[i] * ((double)b[i] - (double)a[i]);
    return sum;
}

static sums sums_of(const row *a, const row *b)
{
    const tlpi_cpu_vec *vec = tlpi_cpu_vec_get(tlpi_cpu_detect());
    float s[PIECE + TLPI_PANEL], sum;
    sums r = { 0 };

    for (size_t at = 0; at < a->n; at += PIECE) {
        int n = (int)TLPI_MIN(PIECE, a->n - at);
        double scale = exp_piece(vec, b->x + at, b->max, n, s, &sum);

        r.q += scale * (double)sum;
        scale = exp_piece(vec, a->x + at, a->max, n, s, &sum);
        r.p += scale * (double)sum;
        r.d += scale * weigh(s, a->x + at, b->x + at, n);
    }
    return r;
}

static sums masked_sums_of(const row *a, const row *b)
{
    sums r = { 0 };

    for (size_t i = 0; i < a->n; i++) {
        double x = (double)a->x[i], y = (double)b->x[i];
        double p = exp(x - (double)a->max);

        r.p += p;
        r.q += exp(y - (double)b->max);
        if (x > -INFINITY) /* else the weight p is 0 */
            r.d += y > -INFINITY ? p * (y - x) : -INFINITY;
    }
    return r;
}

/* ========================================================================= */

tlp_status tlp_logits_compare(tlp_divergence *out, const float *reference,
                              const float *logits, size_t n_vocab)
{
    tlp_divergence d = { 0 };
    row a = { .x = reference, .n = n_vocab };
    row b = { .x = logits, .n = n_vocab };
    tlp_status st = TLP_OK;

    if (!reference || !logits || !out || n_vocab == 0 || n_vocab > INT32_MAX)
        return tlpi_fail(TLP_EINVAL,
                         "reference, logits, out and n_vocab from 1 to %d are "
                         "required",
                         INT32_MAX);
    TLP_TRY(tlpi_struct_check(out, sizeof d, "tlp_divergence"));
    TLP_TRY(scan(&a, "reference"));
    TLP_TRY(scan(&b, "logits"));
    sums s = a.masked || b.masked ? masked_sums_of(&a, &b) : sums_of(&a, &b);
    d.reference_lse = (double)a.max + log(s.p);
    d.lse = (double)b.max + log(s.q);
    d.kl = fmax(0, d.lse - d.reference_lse - s.d / s.p);
    d.reference_top1 = a.top[0];
    d.top1 = b.top[0];
    d.same_top5 = same_set(&a, &b);
    st = tlpi_struct_write(out, &d, sizeof d, "tlp_divergence");
done:
    return st;
}
