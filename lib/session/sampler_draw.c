/*
 * sampler_draw.c - find places in the order of logits by counting digits.
 *
 * The bits of a logit are mapped to an integer of equal order.  A pass sums the
 * weights of all candidates by the first digit of that integer; the digit that
 * covers the wanted point is then known, and only its candidates go to the next
 * pass.  After three passes the remaining candidates have equal logits.
 */
#include "session/sampler_draw.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

/* Passes: bits 21 to 31, 10 to 20 and 0 to 9 of a key. */
static const int shifts[] = { 21, 10, 0 };

/* Larger for a better logit; -0 equals 0. */
static uint32_t key_of(float x)
{
    uint32_t bits;

    if (x == 0)
        x = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static uint32_t digit_of(float x, int shift)
{
    uint32_t mask = shift ? TLPI_N_DIGIT - 1 : (1u << shifts[1]) - 1;

    return key_of(x) >> shift & mask;
}

static uint64_t weight_of(const tlpi_draw *d, bool unit, int i)
{
    return unit ? 1 : d->weight[i];
}

/* ==== the order ========================================================== */

/* d->sum[digit] = weight of the candidates with that first digit. */
static void sum_digits(tlpi_draw *d, bool unit)
{
    memset(d->sum, 0, sizeof d->sum);
    for (int i = 0; i < d->n; i++)
        d->sum[digit_of(d->logit[i], shifts[0])] += weight_of(d, unit, i);
}

/* d->part[digit] = weight of the first n listed candidates with that digit. */
static void sum_listed(tlpi_draw *d, bool unit, int n, int shift)
{
    memset(d->part, 0, sizeof d->part);
    for (int i = 0; i < n; i++) {
        int place = d->list[i];
        d->part[digit_of(d->logit[place], shift)] += weight_of(d, unit, place);
    }
}

/* The digit that covers point `at`; *before grows by the weight of the better
 * digits. */
static uint32_t cover(const uint64_t *sum, uint64_t at, uint64_t *before)
{
    uint32_t digit = TLPI_N_DIGIT - 1;

    for (; digit > 0 && at - *before >= sum[digit]; digit--)
        *before += sum[digit];
    return digit;
}

/*
 * The place of the candidate that covers point `at`, which is less than the
 * weight of all, in the order of logits; *end is the weight of all candidates
 * up to it.  d->sum holds the sums of the first digits (sum_digits).
 */
static int locate(tlpi_draw *d, bool unit, uint64_t at, uint64_t *end)
{
    uint64_t before = 0;
    uint32_t digit = cover(d->sum, at, &before);
    int n = 0, kept = 0, i = 0;

    for (; i < d->n; i++)
        if (digit_of(d->logit[i], shifts[0]) == digit)
            d->list[n++] = i;
    for (size_t pass = 1; pass < TLPI_COUNT(shifts) && n > 1; pass++) {
        sum_listed(d, unit, n, shifts[pass]);
        digit = cover(d->part, at, &before);
        for (i = 0, kept = 0; i < n; i++)
            if (digit_of(d->logit[d->list[i]], shifts[pass]) == digit)
                d->list[kept++] = d->list[i];
        n = kept;
    }
    for (i = 0; i + 1 < n; i++) { /* equal logits, by place */
        uint64_t w = weight_of(d, unit, d->list[i]);

        if (at - before < w)
            break;
        before += w;
    }
    *end = before + weight_of(d, unit, d->list[i]);
    return d->list[i];
}

/* ==== top-k and best ===================================================== */

void tlpi_draw_keep(tlpi_draw *d, int k, int32_t *ids)
{
    uint64_t end;
    int kept = 0;

    sum_digits(d, true);
    int last = locate(d, true, (uint64_t)k - 1, &end);
    uint32_t bar = key_of(d->logit[last]);
    for (int i = 0; i < d->n; i++) {
        uint32_t key = key_of(d->logit[i]);

        if (key < bar || (key == bar && i > last))
            continue;
        ids[kept] = d->id ? d->id[i] : i;
        d->logit[kept++] = d->logit[i];
    }
    d->id = ids;
    d->n = kept;
}

int tlpi_draw_best(const tlpi_draw *d)
{
    enum { LANES = 16 };
    float lane[LANES], best = d->logit[0];
    int i = 0, whole = d->n / LANES * LANES;

    for (int k = 0; k < LANES; k++)
        lane[k] = best;
    for (; i < whole; i += LANES)
        for (int k = 0; k < LANES; k++) /* becomes vectors */
            lane[k] = d->logit[i + k] > lane[k] ? d->logit[i + k] : lane[k];
    for (; i < d->n; i++)
        best = d->logit[i] > best ? d->logit[i] : best;
    for (int k = 0; k < LANES; k++)
        best = lane[k] > best ? lane[k] : best;
    for (i = 0; d->logit[i] != best; i++)
        ;
    return i;
}

/* ==== weights ============================================================ */

typedef struct totals {
    uint64_t all;
    uint64_t likely; /* of the candidates that min-p keeps */
} totals;

/* The weight of the best candidate is 2^bits; n of them fit into 2^62. */
static int weight_bits(int n)
{
    int bits = 62;

    for (uint32_t x = (uint32_t)n - 1; x > 0; x >>= 1)
        bits--;
    return bits;
}

/* d->weight = probabilities in units of the best one's 2^-bits. */
static totals weigh(tlpi_draw *d, const tlpi_draw_rule *rule, float best)
{
    int bits = weight_bits(d->n);
    double scale = ldexp(1, bits);
    float least = -0.7f * (float)bits; /* its exp is less than 2^-bits */
    totals t = { 0 };

    for (int i = 0; i < d->n; i++) {
        float x = d->logit[i], p = 1;

        if (x != best) { /* also of infinite logits */
            float power = (x - best) / rule->temperature;
            p = power > least ? expf(power) : 0;
        }
        d->weight[i] = (uint64_t)((double)p * scale);
        t.all += d->weight[i];
        if (p >= rule->min_p)
            t.likely += d->weight[i];
    }
    return t;
}

/* ==== drawing ============================================================ */

/* The point of [0, total) that the next random number gives. */
static uint64_t next_point(uint64_t total, uint64_t *random)
{
    uint64_t at = (uint64_t)(tlpi_uniform(random) * (double)total);

    return TLPI_MIN(at, total - 1);
}

/* In the order of places. */
static int walk(const tlpi_draw *d, uint64_t at)
{
    int i = 0;

    for (; i + 1 < d->n && at >= d->weight[i]; i++)
        at -= d->weight[i];
    return i;
}

int tlpi_draw_take(tlpi_draw *d, const tlpi_draw_rule *rule, int best,
                   uint64_t *random)
{
    bool top_p = rule->top_p > 0 && rule->top_p < 1;
    totals t = weigh(d, rule, d->logit[best]);
    uint64_t kept = t.all, end;

    if (!d->ordered && !top_p && !(rule->min_p > 0))
        return walk(d, next_point(kept, random));
    sum_digits(d, false);
    if (top_p) {
        /* Keep the shortest prefix with at least this weight. */
        double want = ceil((double)rule->top_p * (double)t.all);
        uint64_t point = (uint64_t)fmin(want, (double)t.all);

        locate(d, false, TLPI_MIN(TLPI_MAX(point, 1), t.all) - 1, &end);
        kept = end;
    }
    if (rule->min_p > 0)
        kept = TLPI_MIN(kept, t.likely);
    return locate(d, false, next_point(kept, random), &end);
}
