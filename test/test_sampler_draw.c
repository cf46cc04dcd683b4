/*
 * test_sampler_draw.c - draws by counting digits against draws by sorting.
 *
 * The reference sorts all candidates with ties by place, forms probabilities
 * and their running sums in double precision, cuts by top-p and min-p, and
 * walks along what is left.  Both must choose one token for one random number.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "session/sampler_draw.h"
#include "support/check.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define MAX_N 5000

TestSuite(sampler_draw, .timeout = 120);

typedef struct draw_case {
    float temperature, top_p, min_p;
    int top_k;
} draw_case;

typedef struct entry {
    int place;
    float logit;
    double p;
} entry;

static int by_logit(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->place - y->place;
}

/* ==== the reference ====================================================== */

static int cut(const draw_case *c, const entry *e, int n, double sum)
{
    double have = 0;
    int keep = n;

    if (c->top_p > 0 && c->top_p < 1)
        for (keep = 0; keep < n && have < (double)c->top_p * sum; keep++)
            have += e[keep].p;
    while (keep > 1 && e[keep - 1].p < (double)c->min_p)
        keep--;
    return keep > 0 ? keep : 1;
}

static int sorted_draw(const draw_case *c, const float *logit, int n,
                       uint64_t *random)
{
    static entry e[MAX_N];
    bool limited = c->top_k > 0 && c->top_k < n;
    bool ordered = limited || c->min_p > 0 || (c->top_p > 0 && c->top_p < 1);
    float best = -INFINITY;
    double sum = 0, kept = 0;

    for (int i = 0; i < n; i++) {
        e[i] = (entry){ i, logit[i], 0 };
        best = fmaxf(best, logit[i]);
    }
    if (ordered)
        qsort(e, (size_t)n, sizeof *e, by_logit);
    if (limited)
        n = c->top_k;
    for (int i = 0; i < n; i++) {
        e[i].p = e[i].logit == best
                     ? 1
                     : (double)expf((e[i].logit - best) / c->temperature);
        sum += e[i].p;
    }
    n = cut(c, e, n, sum);
    for (int i = 0; i < n; i++)
        kept += e[i].p;
    double u = tlpi_uniform(random) * kept;
    int i = 0;
    for (; i + 1 < n && u >= e[i].p; i++)
        u -= e[i].p;
    return e[i].place;
}

/* ==== the library ======================================================== */

static int counted_draw(const draw_case *c, const float *logit, int n,
                        uint64_t *random)
{
    static float x[MAX_N];
    static uint64_t weight[MAX_N];
    static int32_t list[MAX_N], kept[MAX_N];
    static tlpi_draw d;
    const tlpi_draw_rule rule = { c->temperature, c->top_p, c->min_p };

    memcpy(x, logit, (size_t)n * sizeof *x);
    d = (tlpi_draw){ .n = n, .logit = x, .weight = weight, .list = list };
    d.ordered = c->top_k > 0 && c->top_k < n;
    if (d.ordered)
        tlpi_draw_keep(&d, c->top_k, kept);
    int place = tlpi_draw_take(&d, &rule, tlpi_draw_best(&d), random);
    return d.id ? d.id[place] : place;
}

/* ==== rows =============================================================== */

enum { N_KIND = 8 };

static float logit_of(int kind, int i, uint64_t *random)
{
    double u = tlpi_uniform(random), v = tlpi_uniform(random);
    double normal = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);

    switch (kind) {
    case 0:
        return (float)(3 * normal);
    case 1: /* very peaked */
        return (float)(20 * normal);
    case 2: /* nearly flat */
        return (float)(0.01 * normal);
    case 3: /* ties everywhere */
        return (float)((int)(4 * u) - 2);
    case 4: /* all equal */
        return 1.5f;
    case 5: /* many masked */
        return u < 0.7 && i > 0 ? -INFINITY : (float)normal;
    case 6: /* zeros of both signs, and tiny numbers */
        return u < 0.4 ? 0.0f : u < 0.8 ? -0.0f : (float)(1e-42 * normal);
    default: /* neighbours in the last bit */
        return nextafterf(7, u < 0.5 ? 8 : 6);
    }
}

static const draw_case cases[] = {
    { 1, 0, 0, 0 },          { 0.2f, 0, 0, 0 },     { 1.5f, 0.99f, 0, 0 },
    { 1, 0.5f, 0, 0 },       { 0.7f, 0.95f, 0, 0 }, { 1, 1e-6f, 0, 0 },
    { 3, 0.999999f, 0, 0 },  { 1, 0, 0.05f, 0 },    { 1, 0, 1, 0 },
    { 2, 0.9f, 0.1f, 0 },    { 1, 0, 0, 1 },        { 1, 0, 0, 40 },
    { 1.5f, 0, 0, 1000 },    { 1, 0.9f, 0, 1000 },  { 2, 0.99f, 0.02f, 300 },
    { 1, 0, 0, 4999 },       { 1, 0, 0.2f, 77 },    { 1000, 0.5f, 0, 0 },
    { 1e-6f, 0.9f, 0, 500 }, { 1, 1, 0, 0 },
};

/* Rows of every kind and length, all options, several seeds. */
Test(sampler_draw, equals_sorting)
{
    static const int sizes[] = { 1, 2, 3, 17, 288, 1000, MAX_N };
    static float row[MAX_N];
    int n_combination = 0;

    for (int kind = 0; kind < N_KIND; kind++)
        for (int s = 0; s < COUNT(sizes); s++) {
            uint64_t random = (uint64_t)(100 * kind + s);

            for (int i = 0; i < sizes[s]; i++)
                row[i] = logit_of(kind, i, &random);
            for (int c = 0; c < COUNT(cases); c++, n_combination++)
                for (int seed = 0; seed < 5; seed++) {
                    uint64_t a = (uint64_t)(31 * c + seed), b = a;
                    int want = sorted_draw(&cases[c], row, sizes[s], &a);
                    int got = counted_draw(&cases[c], row, sizes[s], &b);

                    cr_assert_eq(got, want,
                                 "kind %d, %d logits, case %d, seed %d: %d, "
                                 "%d expected",
                                 kind, sizes[s], c, seed, got, want);
                    cr_assert_eq(a, b, "one random number for each draw");
                }
        }
    cr_assert_gt(n_combination, 1000);
}

/* Every candidate that sorting can draw can be drawn, in the order of logits:
 * points that go along the line of weights. */
Test(sampler_draw, keeps_what_sorting_keeps)
{
    enum { N = 200 };
    float row[N];
    uint64_t random = 5;

    for (int i = 0; i < N; i++)
        row[i] = logit_of(3, i, &random);
    for (int k = 1; k < N; k++) {
        float x[N];
        int32_t ids[N], list[N];
        uint64_t weight[N];
        entry e[N];
        tlpi_draw d = { .n = N, .logit = x, .weight = weight, .list = list };

        memcpy(x, row, sizeof x);
        for (int i = 0; i < N; i++)
            e[i] = (entry){ i, row[i], 0 };
        qsort(e, N, sizeof *e, by_logit);
        tlpi_draw_keep(&d, k, ids);
        cr_assert_eq(d.n, k);
        for (int i = 0; i < k; i++) {
            bool found = false;
            for (int j = 0; j < k; j++)
                found = found || ids[j] == e[i].place;
            cr_assert(found, "top-%d lacks candidate %d", k, i);
        }
    }
}

/* Infinite logits share all weight. */
Test(sampler_draw, infinite_logits)
{
    static const draw_case all = { 1, 0, 0, 0 }, most = { 1, 0.9f, 0.1f, 0 };
    const float row[6] = { 5, INFINITY, -INFINITY, 7, INFINITY, 1e30f };
    int seen[6] = { 0 };
    uint64_t random = 1;

    for (int i = 0; i < 2000; i++) {
        seen[counted_draw(&all, row, 6, &random)]++;
        seen[counted_draw(&most, row, 6, &random)]++;
    }
    cr_assert_eq(seen[1] + seen[4], 4000);
    cr_assert(abs(seen[1] - seen[4]) < 400, "%d, %d", seen[1], seen[4]);
}
