/*
 * test_quality.c - rows of logits compared, confidence intervals, drills.
 *
 * The expected numbers of the rows are PyTorch's, in float64: kl_div and
 * logsumexp of the same rows.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_eval.h"

TestSuite(quality, .timeout = 120);

/* ==== rows =============================================================== */

static tlp_divergence compare(const float *a, const float *b, size_t n)
{
    tlp_divergence d = { .struct_size = sizeof d };

    CHECK_OK(tlp_logits_compare(&d, a, b, n));
    return d;
}

Test(quality, short_rows)
{
    float a[12], b[12];

    for (int i = 0; i < 12; i++) {
        a[i] = (float)(i * 7 % 12) * 0.5f - 1.25f;
        b[i] = (float)(i * 5 % 12) * 0.375f + 0.5f;
    }
    tlp_divergence d = compare(a, b, 12);

    cr_expect_float_eq(d.kl, 2.655573584605, 1e-6);
    cr_expect_float_eq(d.reference_lse, 5.180270300198, 1e-6);
    cr_expect_float_eq(d.lse, 5.776305566912, 1e-6);
    cr_expect_eq(d.reference_top1, 5);
    cr_expect_eq(d.top1, 7);
    cr_expect_eq(d.same_top5, 0);
}

/* Several pieces of the kernel and a tail; equal logits far apart. */
Test(quality, long_rows)
{
    static float a[5000], b[5000];

    for (int64_t i = 0; i < 5000; i++) {
        a[i] = (float)(i * 7919 % 1009) / 64 - 6;
        b[i] = a[i] + (float)(i * 104729 % 257) / 256 - 0.5f;
    }
    tlp_divergence d = compare(a, b, 5000);

    cr_expect_float_eq(d.kl, 0.041587583598, 1e-6);
    cr_expect_float_eq(d.reference_lse, 15.519686599783, 1e-6);
    cr_expect_float_eq(d.lse, 15.559030268150, 1e-6);
    cr_expect_eq(d.reference_top1, 765, "the first of five equal ones");
    cr_expect_eq(d.top1, 765);
    cr_expect_eq(d.same_top5, 0);

    d = compare(a, a, 5000);
    cr_expect_eq(d.kl, 0);
    cr_expect_eq(d.same_top5, 1);
}

/* The size of a vocabulary, confident rows with logits far from 0: against the
 * definition in double. */
Test(quality, confident_rows)
{
    enum { N = 49152 };
    static float a[N], b[N];
    double p = 0, q = 0, kl = 0;

    for (int i = 0; i < N; i++) {
        a[i] = -35 + 20 * sinf((float)i * 0.7f);
        b[i] = a[i] + 0.01f * cosf((float)i * 1.3f) + 4;
    }
    a[777] = 21.3f;
    b[777] = 24.9f;
    for (int i = 0; i < N; i++) {
        p += exp((double)a[i]);
        q += exp((double)b[i]);
    }
    for (int i = 0; i < N; i++)
        kl += exp((double)a[i]) / p *
              ((double)a[i] - log(p) - (double)b[i] + log(q));

    tlp_divergence d = compare(a, b, N);

    cr_expect_float_eq(d.kl, kl, 1e-6, "%.9f, %.9f expected", d.kl, kl);
    cr_expect_float_eq(d.lse, log(q), 1e-6);
    cr_expect_eq(d.top1, 777);
}

/* Five tokens in another order are the same five; another fifth is not. */
Test(quality, same_top5)
{
    const float a[8] = { 9, 8, 7, 6, 5, 4, 3, 2 };
    const float order[8] = { 5, 6, 7, 8, 9, 4, 3, 2 };
    const float fifth[8] = { 9, 8, 7, 6, 3, 4, 3, 2 };
    const float tie[8] = { 9, 8, 7, 6, 4, 4, 4, 4 };

    cr_expect_eq(compare(a, order, 8).same_top5, 1);
    cr_expect_eq(compare(a, order, 8).top1, 4);
    cr_expect_eq(compare(a, fifth, 8).same_top5, 0);
    cr_expect_eq(compare(a, tie, 8).same_top5, 1, "the lowest id of equals");
    cr_expect_eq(compare(a, order, 3).same_top5, 1, "of three tokens all");
}

Test(quality, impossible_tokens)
{
    const float inf = INFINITY;
    const float a[4] = { 1, -inf, 0.5f, 2 }, b[4] = { 0.25f, 3, 1.5f, 1 };
    tlp_divergence d = compare(a, b, 4);

    cr_expect_float_eq(d.kl, 1.549677353800, 1e-9);
    cr_expect_float_eq(d.reference_lse, 2.464368784108, 1e-9);
    cr_expect_float_eq(d.lse, 3.352340878646, 1e-9);
    cr_expect_eq(d.same_top5, 0, "three tokens and four");
    cr_expect_eq(compare(b, a, 4).kl, inf, "ruled out by the second row");
    cr_expect_eq(compare(a, a, 4).kl, 0);

    /* Huge negative numbers mean the same. */
    const float low[4] = { 1, -3e38f, 0.5f, 2 };

    cr_expect_float_eq(compare(low, b, 4).kl, 1.549677353800, 1e-9);
    cr_expect_gt(compare(b, low, 4).kl, 1e37);
}

Test(quality, rows_that_are_none)
{
    tlp_divergence d = { .struct_size = sizeof d };
    const float good[3] = { 1, 2, 3 };
    const float bad[3][3] = { { 1, NAN, 3 },
                              { INFINITY, 2, 3 },
                              { -INFINITY, -INFINITY, -INFINITY } };

    for (int i = 0; i < 3; i++) {
        CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, good, bad[i], 3));
        cr_expect(strstr(tlp_last_error(), "logits:"));
        CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, bad[i], good, 3));
        cr_expect(strstr(tlp_last_error(), "reference:"));
    }
    CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, good, good, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, NULL, good, 3));
    CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, good, NULL, 3));
    CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(NULL, good, good, 3));
    d.struct_size = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_logits_compare(&d, good, good, 3));
}

/* ==== intervals ========================================================== */

/* splitmix64, for samples. */
static double uniform(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/*
 * 300 samples of 60 units: unit i holds 1 to 4 values around the true mean 2,
 * all shifted alike.  A 90% interval holds the truth in 270 of 300, give or
 * take 5.2; percentile intervals of 60 units are a little narrow.
 */
Test(quality, interval_covers)
{
    enum { N = 60, ROUNDS = 300 };
    uint64_t x = 12345;
    int held = 0;
    double width = 0;

    for (int round = 0; round < ROUNDS; round++) {
        double sum[N], weight[N], lo, hi;

        for (int i = 0; i < N; i++) {
            double shift = 2 * uniform(&x) - 1;

            weight[i] = 1 + floor(4 * uniform(&x));
            sum[i] = weight[i] * (2 + shift);
        }
        CHECK_OK(
            tlp_bootstrap_mean(&lo, &hi, sum, weight, N, 0.9, (uint64_t)round));
        held += lo <= 2 && 2 <= hi;
        width += (hi - lo) / ROUNDS;
    }
    cr_expect(held >= 250 && held <= 288, "%d of %d", held, ROUNDS);
    /* sd of the mean: sqrt(sum w^2 / 3) / sum w = 0.0816; times 2 * 1.645 */
    cr_expect_float_eq(width, 0.268, 0.015, "width %g", width);
}

Test(quality, interval_is_deterministic)
{
    const double v[6] = { 1, 2, 3, 4, 5, 60 };
    double lo, hi, lo2, hi2;

    CHECK_OK(tlp_bootstrap_mean(&lo, &hi, v, NULL, 6, 0.95, 7));
    CHECK_OK(tlp_bootstrap_mean(&lo2, &hi2, v, NULL, 6, 0.95, 7));
    cr_expect_eq(lo, lo2);
    cr_expect_eq(hi, hi2);
    cr_expect(lo >= 1 && lo < 12.5 && hi > 12.5 && hi <= 60);
    CHECK_OK(tlp_bootstrap_mean(&lo2, &hi2, v, NULL, 6, 0.5, 7));
    cr_expect(lo2 > lo && hi2 < hi);
    CHECK_OK(tlp_bootstrap_mean(&lo2, &hi2, v, NULL, 6, 0.95, 8));
    cr_expect(lo2 != lo || hi2 != hi, "the seed has no effect");
}

/* Equal means of units of any weight leave no doubt; infinity stays. */
Test(quality, interval_extremes)
{
    const double v[3] = { 2, 4, 8 }, weight[3] = { 1, 2, 4 };
    const double infinite[3] = { INFINITY, 1, 1 };
    double lo, hi;

    CHECK_OK(tlp_bootstrap_mean(&lo, &hi, v, weight, 3, 0.95, 0));
    cr_expect_eq(lo, 2);
    cr_expect_eq(hi, 2);
    CHECK_OK(tlp_bootstrap_mean(&lo, &hi, infinite, NULL, 3, 0.95, 0));
    cr_expect_eq(lo, 1);
    cr_expect_eq(hi, INFINITY);
}

Test(quality, interval_refuses)
{
    const double v[2] = { 1, 2 }, nan[2] = { 1, NAN };
    const double zero[2] = { 1, 0 }, minus[2] = { 1, -1 };
    double lo, hi;

    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, NULL, 1, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, nan, NULL, 2, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, zero, 2, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, minus, 2, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, nan, 2, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, NULL, 2, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, NULL, 2, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(&lo, &hi, v, NULL, 2, NAN, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_bootstrap_mean(NULL, &hi, v, NULL, 2, 0.9, 0));
    CHECK_FAILS(TLP_EINVAL,
                tlp_bootstrap_mean(&lo, &hi, NULL, NULL, 2, 0.9, 0));
}

/* ==== drills ============================================================= */

static tlp_drill drill(int kind, uint64_t seed, uint64_t index)
{
    tlp_drill d = { .struct_size = sizeof d };

    CHECK_OK(tlp_drill_get(&d, kind, seed, index));
    return d;
}

/* The last line asks what the answer answers. */
Test(quality, drills_are_right)
{
    for (int kind = 0; kind < TLP_N_DRILL; kind++)
        for (uint64_t i = 0; i < 200; i++) {
            tlp_drill d = drill(kind, 3, i);
            const char *line = strrchr(d.prompt, '\n');
            int a, b;

            cr_assert(line != NULL);
            line++;
            if (kind == TLP_DRILL_ADD || kind == TLP_DRILL_ADD_TENS) {
                cr_assert_eq(sscanf(line, "%d + %d =", &a, &b), 2);
                cr_assert_eq(atoi(d.answer), a + b, "%s %s", line, d.answer);
                cr_assert(kind == TLP_DRILL_ADD ? a < 10 && b < 10
                                                : a > 9 && b > 9);
            } else {
                cr_assert_not_null(strstr(line, d.answer));
            }
        }
}

Test(quality, drills_depend_on_seed_and_index_alone)
{
    tlp_drill a = drill(TLP_DRILL_COPY_WORDS, 1, 5);
    tlp_drill b = drill(TLP_DRILL_COPY_WORDS, 1, 5);
    int same = 0;

    cr_expect_str_eq(a.name, "copy-words");
    cr_expect_eq(memcmp(&a, &b, sizeof a), 0);
    cr_expect_str_neq(a.prompt, drill(TLP_DRILL_COPY_WORDS, 2, 5).prompt);
    for (uint64_t i = 0; i < 100; i++)
        same += i != 5 &&
                !strcmp(drill(TLP_DRILL_COPY_WORDS, 1, i).answer, a.answer);
    cr_expect_eq(same, 0);
}

Test(quality, drill_arguments)
{
    tlp_drill d = { .struct_size = sizeof d };

    CHECK_FAILS(TLP_EINVAL, tlp_drill_get(&d, -1, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_drill_get(&d, TLP_N_DRILL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_drill_get(NULL, 0, 0, 0));
}

typedef struct said {
    char text[256];
    size_t n;
} said;

static int keep_text(const char *text, size_t len, void *user_data)
{
    said *s = user_data;

    cr_assert_lt(s->n + len, sizeof s->text);
    memcpy(s->text + s->n, text, len + 1);
    s->n += len;
    return 0;
}

/* What the model says after a prompt, if that is a line which it ends within
 * sixteen tokens. */
static bool says_a_line(rig *r, const char *prompt, said *s)
{
    static const char *const stop[] = { "\n" };
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result res = { .struct_size = sizeof res };
    int32_t ids[64];
    size_t n;

    *s = (said){ .n = 0 };
    o.n_predict = 16;
    o.stop = stop;
    o.n_stop = 1;
    o.text = keep_text;
    o.text_data = s;
    CHECK_OK(tlp_tokenize(ids, 64, &n, r->model, prompt, strlen(prompt), 0));
    CHECK_OK(tlp_session_clear(r->session, 0));
    CHECK_OK(tlp_session_prefill(r->session, ids, n));
    CHECK_OK(tlp_session_generate(&res, r->session, NULL, &o));
    return (res.stop_reason == TLP_STOP_END ||
            res.stop_reason == TLP_STOP_STRING) &&
           s->n > 0 && s->n < 60 && strlen(s->text) == s->n &&
           res.n_generated <= (int32_t)s->n + 2 && s->text[0] != ' ' &&
           s->text[s->n - 1] != ' ';
}

/* One that often ends its line soon. */
static const char *terse_model(void)
{
    tiny_spec spec = tiny_default();

    spec.seed = 10;
    spec.n_layer = 1;
    spec.n_embd = 32;
    spec.n_head = spec.n_head_kv = 2;
    spec.n_ff = 64;
    spec.n_vocab = 270;
    return tiny_make(&spec);
}

/* Just the line that the model says is right. */
Test(quality, drill_is_judged)
{
    tlp_session_options o = rig_f32(1, 1);
    rig r = rig_open(terse_model(), "serial", &o);
    int found = 0;

    for (int i = 0; i < 200 && found < 3; i++) {
        tlp_drill d = { .struct_size = sizeof d };
        said s = { .n = 0 };
        int32_t exact = -1;

        snprintf(d.prompt, sizeof d.prompt, "%d and %d", i, i * i);
        if (!says_a_line(&r, d.prompt, &s))
            continue;
        found++;
        memcpy(d.answer, s.text, s.n + 1);
        CHECK_OK(tlp_drill_run(&exact, &d, r.model, r.session));
        cr_expect_eq(exact, 1, "\"%s\" after \"%s\"", s.text, d.prompt);
        strcat(d.answer, "x");
        CHECK_OK(tlp_drill_run(&exact, &d, r.model, r.session));
        cr_expect_eq(exact, 0);
        d.answer[s.n - 1] = '\0';
        CHECK_OK(tlp_drill_run(&exact, &d, r.model, r.session));
        cr_expect_eq(exact, 0);
    }
    cr_expect_gt(found, 0, "no line was found to try");
    rig_close(&r);
}

Test(quality, drill_that_cannot_run)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(1, 1);
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    tlp_drill d = { .struct_size = sizeof d, .answer = "1" };
    int32_t exact;

    memset(d.prompt, 'a', sizeof d.prompt);
    CHECK_FAILS(TLP_EINVAL, tlp_drill_run(&exact, &d, r.model, r.session));
    d.prompt[sizeof d.prompt - 1] = '\0';
    CHECK_FAILS(TLP_EFULL, tlp_drill_run(&exact, &d, r.model, r.session));
    CHECK_FAILS(TLP_EINVAL, tlp_drill_run(&exact, &d, r.model, NULL));
    rig_close(&r);
}
