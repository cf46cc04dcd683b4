/*
 * test_sampler.c - sampling against the distribution that the options define,
 * worked out here in double precision from the same row of logits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session/session.h"
#include "support/rig.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define N_VOCAB 288

static rig r;
static double logits[N_VOCAB]; /* of row 0, as the library gives them */

static void prefill(int n_rank)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, 1);
    const float *row = NULL;
    int32_t ids[7];

    r = rig_open(tiny_make(&spec), "par:1-2", &o);
    cr_assert_eq(r.n_vocab, N_VOCAB);
    rig_tokens(ids, 7, N_VOCAB, 3);
    CHECK_OK(tlp_session_prefill(r.session, ids, 7));
    CHECK_OK(tlp_session_logits(&row, r.session, 0));
    for (int i = 0; i < N_VOCAB; i++)
        logits[i] = (double)row[i];
}

static void open_rig(void)
{
    prefill(1);
}
static void close_rig(void)
{
    rig_close(&r);
}

TestSuite(sampler, .init = open_rig, .fini = close_rig, .timeout = 120);

static tlp_sampler *sampler_of(const tlp_sampler_options *o)
{
    tlp_sampler *s = NULL;

    CHECK_OK(tlp_sampler_create(&s, r.model, o));
    return s;
}

static int32_t sample(tlp_sampler *s)
{
    int32_t id = -1;

    CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
    cr_assert(id >= 0 && id < N_VOCAB, "token %d", id);
    return id;
}

/* Ids from the highest logit to the lowest. */
static void rank_ids(const double *x, int32_t *ids)
{
    for (int i = 0; i < N_VOCAB; i++) {
        int at = i;

        for (; at > 0 && x[ids[at - 1]] < x[i]; at--)
            ids[at] = ids[at - 1];
        ids[at] = i;
    }
}

/* ==== greedy ============================================================= */

Test(sampler, greedy_is_argmax)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    int32_t order[N_VOCAB];

    rank_ids(logits, order);
    tlp_sampler *s = sampler_of(NULL);
    cr_assert_eq(sample(s), order[0]);
    tlp_sampler_free(s);
    o.top_k = 40; /* without a temperature nothing is drawn */
    o.top_p = 0.9f;
    o.seed = 12345;
    s = sampler_of(&o);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(sample(s), order[0]);
    tlp_sampler_free(s);
}

Test(sampler, sampled_rows_are_those_of_the_batch)
{
    int32_t ids[5], order[N_VOCAB], got = -1;
    tlp_sampler *s = sampler_of(NULL);

    rig_tokens(ids, 5, N_VOCAB, 77);
    float *rows = rig_eval(&r, 0, ids, 5);
    for (size_t t = 0; t < 5; t++) {
        for (int i = 0; i < N_VOCAB; i++)
            logits[i] = (double)rows[t * N_VOCAB + (size_t)i];
        rank_ids(logits, order);
        CHECK_OK(tlp_session_sample(&got, r.session, t, s));
        cr_assert_eq(got, order[0], "row %zu: %d, %d expected", t, got,
                     order[0]);
    }
    CHECK_FAILS(TLP_EINVAL, tlp_session_sample(&got, r.session, 5, s));
    free(rows);
    tlp_sampler_free(s);
}

/* ==== distributions ====================================================== */

static const tlp_logit_bias some_bias[] = {
    { 17, 2.5f }, { 18, -3.0f }, { 19, -INFINITY }, { 20, 4.0f }
};

static const tlp_sampler_options cases[] = {
    { .temperature = 1 },
    { .temperature = 0.5f },
    { .temperature = 2 },
    { .temperature = 1, .top_k = 5 },
    { .temperature = 1.5f, .top_k = 40 },
    { .temperature = 1, .top_k = 287 },
    { .temperature = 1, .top_k = 1000 },
    { .temperature = 1, .top_k = 1 },
    { .temperature = 1, .top_p = 0.5f },
    { .temperature = 0.8f, .top_p = 0.95f },
    { .temperature = 1, .top_p = 1 },
    { .temperature = 1, .min_p = 0.1f },
    { .temperature = 2, .min_p = 0.3f },
    { .temperature = 0.8f, .top_k = 50, .top_p = 0.8f, .min_p = 0.2f },
    { .temperature = 3, .top_k = 12, .top_p = 0.9f },
    { .temperature = 1, .bias = some_bias, .n_bias = COUNT(some_bias) },
    { .temperature = 1,
      .top_k = 9,
      .bias = some_bias,
      .n_bias = COUNT(some_bias) },
};

/* p[i] by the order of tlp.h: bias, top-k, temperature, top-p, min-p. */
static void distribution(const tlp_sampler_options *o, double *p)
{
    double x[N_VOCAB], sum = 0, before = 0;
    int32_t order[N_VOCAB];
    int n = o->top_k > 0 && o->top_k < N_VOCAB ? o->top_k : N_VOCAB, keep;

    memcpy(x, logits, sizeof x);
    for (size_t i = 0; i < o->n_bias; i++)
        x[o->bias[i].token] += (double)o->bias[i].bias;
    rank_ids(x, order);
    memset(p, 0, N_VOCAB * sizeof *p);
    for (int i = 0; i < n; i++)
        sum += p[order[i]] =
            exp((x[order[i]] - x[order[0]]) / (double)o->temperature);
    for (keep = 0; keep < n; keep++) {
        double share = p[order[keep]] / sum;

        if (o->top_p > 0 && before >= (double)o->top_p)
            break;
        if (share < (double)o->min_p * (p[order[0]] / sum))
            break;
        before += share;
    }
    for (int i = 0; i < N_VOCAB; i++)
        p[order[i]] = i < keep ? p[order[i]] / (before * sum) : 0;
}

/*
 * Pearson's sum over tokens that should come five times and more; the rest is
 * one cell.  Five standard deviations: the seeds are fixed, so a right sampler
 * passes always and a wrong one is far out.
 */
static void expect_distribution(const tlp_sampler_options *o, int n_draw)
{
    double p[N_VOCAB], chi = 0, rest = 0, rest_seen = 0;
    int seen[N_VOCAB] = { 0 }, cells = -1;
    tlp_sampler *s = sampler_of(o);

    distribution(o, p);
    for (int i = 0; i < n_draw; i++)
        seen[sample(s)]++;
    tlp_sampler_free(s);
    for (int i = 0; i < N_VOCAB; i++) {
        double want = p[i] * n_draw;

        cr_assert(p[i] > 0 || seen[i] == 0, "token %d came %d times", i,
                  seen[i]);
        if (want < 5) {
            rest += want;
            rest_seen += seen[i];
            continue;
        }
        chi += (seen[i] - want) * (seen[i] - want) / want;
        cells++;
    }
    if (rest >= 5) {
        chi += (rest_seen - rest) * (rest_seen - rest) / rest;
        cells++;
    }
    cr_assert(chi <= cells + 5 * sqrt(2.0 * cells) + 1e-9,
              "temperature %g, top_k %d, top_p %g, min_p %g: chi-square %g "
              "over %d cells",
              (double)o->temperature, o->top_k, (double)o->top_p,
              (double)o->min_p, chi, cells);
}

Test(sampler, distributions)
{
    for (int i = 0; i < COUNT(cases); i++) {
        tlp_sampler_options o = cases[i];

        o.struct_size = sizeof o;
        o.seed = (uint64_t)i;
        expect_distribution(&o, 20000 / CHECK_SLOWDOWN);
    }
}

/* ==== the random sequence ================================================ */

Test(sampler, seeds)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    int32_t first[64];
    int same = 0;

    o.temperature = 1;
    o.seed = 42;
    tlp_sampler *a = sampler_of(&o), *b = sampler_of(&o);
    for (int i = 0; i < 64; i++) {
        first[i] = sample(a);
        cr_assert_eq(sample(b), first[i]);
    }
    tlp_sampler_reset(a);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(sample(a), first[i]);
    tlp_sampler_free(b);
    o.seed = 43;
    b = sampler_of(&o);
    for (int i = 0; i < 64; i++)
        same += sample(b) == first[i];
    cr_assert(same < 32, "another seed gave %d of 64 tokens again", same);
    tlp_sampler_free(a);
    tlp_sampler_free(b);
}

/* Candidates cross ranks, not logits; the choice is the same. */
Test(sampler, ranks_agree)
{
    enum { N = 100 };
    static int32_t want[COUNT(cases) + 1][N];

    for (int ranks = 1; ranks <= 4; ranks++) {
        rig_close(&r);
        prefill(ranks);
        for (int c = 0; c <= COUNT(cases); c++) {
            tlp_sampler_options o = { 0 };

            if (c < COUNT(cases))
                o = cases[c];
            o.struct_size = sizeof o;
            o.seed = 5;
            tlp_sampler *s = sampler_of(&o);
            for (int i = 0; i < N; i++) {
                int32_t id = sample(s);

                if (ranks == 1)
                    want[c][i] = id;
                cr_assert_eq(id, want[c][i], "case %d, %d ranks, draw %d", c,
                             ranks, i);
            }
            tlp_sampler_free(s);
        }
    }
}

/* ==== penalties and bias ================================================= */

/* Only these two ids stay possible. */
static tlp_logit_bias *only(int32_t a, int32_t b, size_t *n)
{
    tlp_logit_bias *list = malloc(N_VOCAB * sizeof *list);

    cr_assert(list != NULL);
    *n = 0;
    for (int32_t i = 0; i < N_VOCAB; i++)
        if (i != a && i != b)
            list[(*n)++] = (tlp_logit_bias){ i, -INFINITY };
    return list;
}

/* The greedy choice after `times` acceptances of `id`. */
static int32_t after(const tlp_sampler_options *o, int32_t id, int times)
{
    tlp_sampler *s = sampler_of(o);

    for (int i = 0; i < times; i++)
        tlp_sampler_accept(s, id);
    int32_t got = sample(s);
    tlp_sampler_free(s);
    return got;
}

static tlp_sampler_options plain(void)
{
    return (tlp_sampler_options)TLP_SAMPLER_OPTIONS_INIT;
}

Test(sampler, penalties_tip_at_the_gap)
{
    int32_t order[N_VOCAB];

    rank_ids(logits, order);
    int32_t a = order[0], b = order[1];
    float gap = (float)(logits[a] - logits[b]);
    float ratio = (float)(logits[a] / logits[b]);
    cr_assert(gap > 1e-3f && logits[b] > 0, "gap %g", (double)gap);

    for (int side = 0; side < 2; side++) {
        float f = side ? 1.02f : 0.98f;
        int32_t want = side ? b : a;
        tlp_sampler_options o = plain();

        o.presence_penalty = f * gap; /* once, however often it came */
        cr_assert_eq(after(&o, a, 1), want);
        cr_assert_eq(after(&o, a, 7), want);
        cr_assert_eq(after(&o, a, 0), a);
        o = plain();
        o.frequency_penalty = f * gap / 3; /* for each time it came */
        cr_assert_eq(after(&o, a, 1), a);
        cr_assert_eq(after(&o, a, 3), want);
        o = plain();
        o.repeat_penalty = 1 + (ratio - 1) * f; /* divides, once */
        cr_assert_eq(after(&o, a, 1), want);
        cr_assert_eq(after(&o, a, 5), want);
        o = plain();
        o.bias = &(tlp_logit_bias){ b, f * gap };
        o.n_bias = 1;
        cr_assert_eq(after(&o, a, 0), want);
    }
}

/* A penalty above one must push negative logits down, not up. */
Test(sampler, repeat_penalty_of_negative_logits)
{
    int32_t order[N_VOCAB];

    rank_ids(logits, order);
    int32_t b = order[N_VOCAB - 1], a = order[N_VOCAB - 20];
    cr_assert(logits[a] < -0.5 && logits[b] < logits[a] * 1.1);
    float ratio = (float)(logits[b] / logits[a]);
    tlp_sampler_options o = plain();
    tlp_logit_bias *list = only(a, b, &o.n_bias);
    o.bias = list;
    o.repeat_penalty = ratio * 0.99f;
    cr_assert_eq(after(&o, a, 1), a);
    o.repeat_penalty = ratio * 1.01f;
    cr_assert_eq(after(&o, a, 1), b);
    cr_assert_eq(after(&o, a, 0), a);
    free(list);
}

/* Bias comes first: the penalty divides the biased logit. */
Test(sampler, bias_before_penalties)
{
    int32_t order[N_VOCAB];
    float up = 20;

    rank_ids(logits, order);
    int32_t a = order[100], b = order[0];
    float ratio = (float)((logits[a] + (double)up) / logits[b]);
    tlp_sampler_options o = plain();
    o.bias = &(tlp_logit_bias){ a, up };
    o.n_bias = 1;
    o.repeat_penalty = ratio * 0.99f;
    cr_assert_eq(after(&o, a, 1), a);
    o.repeat_penalty = ratio * 1.01f;
    cr_assert_eq(after(&o, a, 1), b);
}

Test(sampler, penalties_look_back_so_far)
{
    int32_t order[N_VOCAB];
    tlp_sampler_options o = plain();

    rank_ids(logits, order);
    o.presence_penalty = 100;
    o.penalty_last_n = 4;
    tlp_sampler *s = sampler_of(&o);
    tlp_sampler_accept(s, order[0]);
    for (int i = 0; i < 3; i++)
        tlp_sampler_accept(s, order[50 + i]);
    cr_assert_eq(sample(s), order[1]); /* four back: still seen */
    cr_assert_eq(sample(s), order[0]); /* five back: forgotten */
    tlp_sampler_free(s);
}

/* Sampled tokens count by themselves: greedy walks down the ranking. */
Test(sampler, samples_are_accepted)
{
    int32_t order[N_VOCAB];
    tlp_sampler_options o = plain();

    rank_ids(logits, order);
    o.presence_penalty = 100;
    tlp_sampler *s = sampler_of(&o);
    for (int i = 0; i <= 64; i++) /* the default window holds 64 */
        cr_assert_eq(sample(s), order[i], "choice %d", i);
    cr_assert_eq(sample(s), order[0]);
    tlp_sampler_reset(s);
    cr_assert_eq(sample(s), order[0]);
    tlp_sampler_free(s);
}

/* ==== refusals =========================================================== */

Test(sampler, nothing_possible)
{
    tlp_sampler_options o = plain();
    tlp_logit_bias list[N_VOCAB];
    int32_t id = 7;

    for (int32_t i = 0; i < N_VOCAB; i++)
        list[i] = (tlp_logit_bias){ i, -INFINITY };
    o.bias = list;
    o.n_bias = N_VOCAB;
    for (int t = 0; t < 2; t++) {
        o.temperature = (float)t;
        tlp_sampler *s = sampler_of(&o);
        tlp_status st = tlp_session_sample(&id, r.session, 0, s);
        cr_assert(st < 0 && id == -1, "%s, token %d", tlp_status_name(st), id);
        tlp_sampler_free(s);
    }
}

Test(sampler, options_are_checked)
{
    tlp_logit_bias nan_bias = { 3, NAN }, outside = { N_VOCAB, 1 };
    tlp_logit_bias opposite[2] = { { 3, INFINITY }, { 3, -INFINITY } };
    const tlp_sampler_options bad[] = {
        { .temperature = -1 },
        { .temperature = NAN },
        { .top_k = -1 },
        { .top_p = 1.5f },
        { .top_p = -0.1f },
        { .top_p = NAN },
        { .min_p = 2 },
        { .min_p = NAN },
        { .repeat_penalty = -1 },
        { .repeat_penalty = 1e-45f },
        { .repeat_penalty = 0.0009f },
        { .repeat_penalty = 1001 },
        { .repeat_penalty = NAN },
        { .frequency_penalty = NAN },
        { .presence_penalty = INFINITY },
        { .penalty_last_n = -1 },
        { .penalty_last_n = INT32_MAX },
        { .n_bias = 1 },
        { .bias = &nan_bias, .n_bias = 1 },
        { .bias = &outside, .n_bias = 1 },
        { .bias = opposite, .n_bias = 2 },
    };

    for (int i = 0; i < COUNT(bad); i++) {
        tlp_sampler_options o = bad[i];
        tlp_sampler *s = (tlp_sampler *)&o;

        o.struct_size = sizeof o;
        CHECK_FAILS(TLP_EINVAL, tlp_sampler_create(&s, r.model, &o));
        cr_assert_null(s, "case %d", i);
    }
}

Test(sampler, another_models_sampler)
{
    tiny_spec spec = tiny_default();
    tlp_model *other = NULL;
    tlp_sampler *s = NULL;
    int32_t id = 7;

    spec.n_vocab = 300;
    CHECK_OK(tlp_model_open(&other, tiny_make(&spec), NULL));
    CHECK_OK(tlp_sampler_create(&s, other, NULL));
    tlp_status st = tlp_session_sample(&id, r.session, 0, s);
    cr_assert(st == TLP_EMISMATCH || st == TLP_EINVAL, "%s",
              tlp_status_name(st));
    cr_assert_eq(id, -1);
    tlp_sampler_free(s);
    tlp_model_free(other);
}
