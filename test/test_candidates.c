/*
 * test_candidates.c - sampling costs no messages of its own: a step brings the
 * candidates along that the sampler before it asked for, and the tokens are the
 * same as without.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "support/messages.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(candidates, .timeout = 120);

static void expect_messages(int bcasts, int gathers, const char *what)
{
    cr_assert(n_bcast == bcasts && n_gather == gathers,
              "%s: %d broadcasts and %d gathers, %d and %d expected", what,
              n_bcast, n_gather, bcasts, gathers);
    n_bcast = n_gather = 0;
}

static rig open_rig(int n_rank)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, 1);

    o.n_seq = 8;
    return rig_open(tiny_make(&spec), "par:1-2", &o);
}

static tlp_sampler *make_sampler(rig *r, float temperature, int top_k)
{
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *sampler = NULL;

    so.temperature = temperature;
    so.top_k = top_k;
    so.seed = 7;
    CHECK_OK(tlp_sampler_create(&sampler, r->model, &so));
    return sampler;
}

/* ==== messages =========================================================== */

Test(candidates, a_greedy_token_is_one_broadcast_and_one_gather)
{
    for (int ranks = 2; ranks <= 3; ranks++) {
        rig r = open_rig(ranks);
        tlp_sampler *greedy = make_sampler(&r, 0, 0);
        int32_t id = 1;

        /* The first token of a page of the cache has messages of its own. */
        CHECK_OK(tlp_session_decode(r.session, id));
        count_messages(r.session);
        CHECK_OK(tlp_session_decode(r.session, id));
        expect_messages(1, 0, "before anything was sampled");
        CHECK_OK(tlp_session_sample(&id, r.session, 0, greedy));
        expect_messages(1, 1, "the first sample");
        for (int i = 0; i < 5; i++) {
            CHECK_OK(tlp_session_decode(r.session, id));
            CHECK_OK(tlp_session_sample(&id, r.session, 0, greedy));
            expect_messages(1, 1, "a token");
        }
        tlp_sampler_free(greedy);
        rig_close(&r);
    }
}

Test(candidates, generating_knows_from_the_start)
{
    rig r = open_rig(2);
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    int32_t id = 1;

    o.n_predict = 6;
    o.ignore_end = 1;
    CHECK_OK(tlp_session_prefill(r.session, &id, 1));
    count_messages(r.session);
    CHECK_OK(tlp_session_generate(NULL, r.session, NULL, &o));
    expect_messages(1 + 5, 1 + 5, "six tokens"); /* the prefill had none */
    CHECK_OK(tlp_session_prefill(r.session, &id, 1));
    CHECK_OK(tlp_session_generate(NULL, r.session, NULL, &o));
    expect_messages(6, 6, "six more");
    rig_close(&r);
}

Test(candidates, whole_rows_bring_none_along)
{
    rig r = open_rig(2);
    tlp_sampler *greedy = make_sampler(&r, 0, 0);
    const float *row = NULL;
    int32_t id = 1;

    CHECK_OK(tlp_session_decode(r.session, id));
    CHECK_OK(tlp_session_sample(&id, r.session, 0, greedy));
    count_messages(r.session);
    CHECK_OK(tlp_session_decode(r.session, id));
    expect_messages(1, 1, "after a sample");
    CHECK_OK(tlp_session_logits(&row, r.session, 0));
    expect_messages(1, 1, "the row");
    CHECK_OK(tlp_session_decode(r.session, id));
    expect_messages(1, 0, "after a row");
    tlp_sampler_free(greedy);
    rig_close(&r);
}

/* ==== the same tokens ==================================================== */

/* Tokens drawn from three sequences at once; `fused`: steps may bring
 * candidates along. */
static void draw(int ranks, int top_k, bool fused, int32_t *out, int n)
{
    rig r = open_rig(ranks);
    tlp_sampler *sampler = make_sampler(&r, 1, top_k);
    int32_t ids[3] = { 1, 2, 3 }, seqs[3] = { 0, 1, 2 };
    tlp_batch b = { sizeof b, 3, ids, seqs, NULL };

    for (int i = 0; i < n; i++) {
        if (!fused)
            tlpi_session_expect(r.session, 0);
        CHECK_OK(tlp_session_eval(r.session, &b));
        for (size_t j = 3; j-- > 0;) {
            CHECK_OK(tlp_session_sample(&ids[j], r.session, j, sampler));
            out[3 * i + (int)j] = ids[j];
        }
    }
    tlp_sampler_free(sampler);
    rig_close(&r);
}

Test(candidates, tokens_do_not_depend_on_how_candidates_came)
{
    /* 3 * 86 are more than a step brings along */
    static const int top_k[] = { 1, 5, 40, 85, 86, 256 };

    for (int ranks = 1; ranks <= 3; ranks++)
        for (size_t i = 0; i < TLPI_COUNT(top_k); i++) {
            int32_t with[30], without[30];

            draw(ranks, top_k[i], true, with, 10);
            draw(ranks, top_k[i], false, without, 10);
            cr_assert_eq(memcmp(with, without, sizeof with), 0,
                         "%d ranks, top_k %d", ranks, top_k[i]);
        }
}

/* Fewer than a step brought come out of it, more are asked for. */
Test(candidates, other_numbers_than_expected)
{
    rig r = open_rig(2);
    tlpi_candidate few[3], many[20], again[20];
    int32_t id = 1;

    tlpi_session_expect(r.session, 8);
    CHECK_OK(tlp_session_decode(r.session, id));
    count_messages(r.session);
    CHECK_OK(tlpi_session_top(r.session, 0, 3, few));
    expect_messages(0, 0, "fewer");
    CHECK_OK(tlpi_session_top(r.session, 0, 20, many));
    expect_messages(1, 1, "more");
    CHECK_OK(tlpi_session_top(r.session, 0, 20, again));
    expect_messages(0, 0, "as many");
    for (int i = 0; i < 20; i++) {
        cr_assert(many[i].id == again[i].id && many[i].id >= 0);
        cr_assert(i >= 3 || few[i].id == many[i].id);
    }
    rig_close(&r);
}

/* Candidates are those of the last evaluation, or of none. */
Test(candidates, scores_leave_none_behind)
{
    rig r = open_rig(2);
    tlpi_candidate one;
    int32_t ids[3] = { 1, 2, 3 };
    float lp[3];

    tlpi_session_expect(r.session, 1);
    CHECK_OK(tlp_session_decode(r.session, 1));
    CHECK_OK(tlpi_session_top(r.session, 0, 1, &one));
    CHECK_OK(tlp_session_score(lp, r.session, 1, ids, 3));
    CHECK_FAILS(TLP_ESTATE, tlpi_session_top(r.session, 0, 1, &one));
    rig_close(&r);
}

/* NaN must not get lost between better candidates. */
Test(candidates, nan_is_the_first_candidate)
{
    for (int at = 0; at < 4; at++)
        for (int k = 1; k <= 4; k++) {
            float x[4] = { 9, -3, 7, 2 };
            tlpi_candidate top[4];

            x[at] = NAN;
            tlpi_top_k(x, 4, 10, top, k);
            cr_assert(top[0].id == 10 + at && isnan(top[0].logit));
            for (int i = 1; i < k; i++)
                cr_assert_eq(top[i].id, -1);
        }
}
