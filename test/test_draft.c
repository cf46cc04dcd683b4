/*
 * test_draft.c - guesses at the next tokens: what is guessed, how much of it is
 * evaluated, and that texts do not depend on it.
 */
#include <math.h>
#include <string.h>

#include "engine/engine_state.h"
#include "support/engine_rig.h"

#define N_VOCAB 288
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(draft, .timeout = 120);

/* ==== what is guessed ==================================================== */

Test(draft, the_longest_match_then_the_latest)
{
    static const struct {
        const char *text, *guess;
        int most;
    } t[] = {
        { "abcdab", "cdab", 4 },
        { "abcdab", "cd", 2 },
        { "abcab", "cab", 4 },
        { "xyab1ab2ab", "2ab", 3 },
        { "zab1ab2zab", "1ab2", 4 },
        { "aaaa", "a", 4 },
        { "abcdefgb", "", 4 },
        { "ab", "", 4 },
        { "a", "", 4 },
        { "abab", "ab", 4 },
    };
    int32_t text[32], got[8];

    for (int i = 0; i < COUNT(t); i++) {
        int32_t n = (int32_t)strlen(t[i].text);
        char out[9] = { 0 };

        for (int32_t k = 0; k < n; k++)
            text[k] = t[i].text[k];
        int32_t last = text[n - 1];
        text[n - 1] = -7; /* the last token is not in the array */
        int32_t k = tlpi_draft_find(got, text, n - 1, last, t[i].most);
        for (int32_t j = 0; j < k; j++)
            out[j] = (char)got[j];
        cr_expect_str_eq(out, t[i].guess, "%s: %s", t[i].text, out);
    }
}

/* A period that is longer than the tokens compared at most. */
Test(draft, long_matches)
{
    int32_t text[100], got[4];

    for (int32_t i = 0; i < 100; i++)
        text[i] = i % 40;
    cr_assert_eq(tlpi_draft_find(got, text, 99, text[99], 4), 4);
    for (int32_t i = 0; i < 4; i++)
        cr_expect_eq(got[i], (100 + i) % 40);
}

/* ==== how much of it ===================================================== */

Test(draft, as_many_as_pay)
{
    double plain[3] = { 0 };
    tlpi_draft_cost c = { plain, 0 };

    cr_expect_eq(tlpi_draft_length(&c, 1, 1, 8), 0, "no time is known");
    tlpi_draft_time(&c, 1, 0, 1.0);
    cr_expect_eq(tlpi_draft_length(&c, 1, 1, 8), 8,
                 "what is not known is tried");
    cr_expect_eq(tlpi_draft_length(&c, 1, 0.01, 8), 0, "nothing comes true");
    tlpi_draft_time(&c, 1, 4, 5.0); /* a guess takes as long as a token */
    cr_expect_eq(tlpi_draft_length(&c, 1, 1, 8), 0);
    for (int i = 0; i < 100; i++)
        tlpi_draft_time(&c, 1, 4, 1.4); /* a tenth */
    cr_expect_eq(tlpi_draft_length(&c, 1, 1, 8), 8);
    cr_expect_eq(tlpi_draft_length(&c, 1, 0.5, 8), 3); /* 1/8 > 0.115 > 1/16 */
    cr_expect_eq(tlpi_draft_length(&c, 1, 0.5, 2), 2);
    tlpi_draft_time(&c, 2, 0, 1.0); /* two texts give twice as much */
    cr_expect_eq(tlpi_draft_length(&c, 2, 0.5, 8), 2);
}

/* ==== texts ============================================================== */

/* The tokens of a request with at most n_draft guesses in a step; its end. */
static tlp_event end_of(int n_draft, const tlp_sampler_options *so,
                        const int32_t *ids, int n, int n_predict,
                        int32_t *token)
{
    tlp_session_options s = rig_f32(2, 1);
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    tlp_event *v = NULL, end = { 0 };
    uint64_t id = 0;

    s.n_ctx = 128;
    s.n_seq = 2;
    o.session = &s;
    o.n_draft = n_draft;
    engine_rig r = engine_rig_open(NULL, "par:1-2", &o);
    tlp_request q = engine_request(ids, n, n_predict);

    q.sampler = so;
    CHECK_OK(tlp_engine_submit(&id, r.engine, &q));
    while (end.kind != TLP_EVENT_END) {
        CHECK_OK(tlp_engine_step(NULL, r.engine));
        do {
            CHECK_OK(tlp_engine_next(&v, r.engine, 0));
            if (v && v->kind == TLP_EVENT_TOKEN)
                token[v->n_generated - 1] = v->token;
            if (v && v->kind == TLP_EVENT_END)
                end = *v;
            tlp_event_free(v);
        } while (v);
    }
    /* A later prompt finds what the text left. */
    cr_expect_eq(tlp_session_pos(r.engine->session, 0),
                 n + end.n_generated - 1);
    engine_rig_close(&r);
    return end;
}

/* Greedy; one token alone, so that every guess comes true; all tokens; three.
 */
Test(draft, texts_do_not_depend_on_guesses)
{
    tlp_logit_bias few[N_VOCAB];
    int32_t ids[40], with[128], without[128];

    for (int i = 0; i < 40; i++)
        ids[i] = i % 5;
    for (int k = 0; k < 4; k++) {
        tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;

        for (int32_t i = 0; i < N_VOCAB; i++)
            few[i] = (tlp_logit_bias){ i, i < k ? 0 : -INFINITY };
        so.temperature = k == 0 ? 0 : 1;
        so.seed = (uint64_t)k;
        so.bias = k % 2 ? few : NULL;
        so.n_bias = k % 2 ? N_VOCAB : 0;
        /* to n_predict, or until the context is full */
        tlp_event a = end_of(8, &so, ids, 40, k < 2 ? 70 : 0, with);
        tlp_event b = end_of(-1, &so, ids, 40, k < 2 ? 70 : 0, without);

        cr_expect_eq(a.n_generated, k < 2 ? 70 : 89);
        cr_expect_eq(a.n_generated, b.n_generated);
        cr_expect(memcmp(with, without, (size_t)a.n_generated * sizeof *with) ==
                      0,
                  "sampler %d", k);
        cr_expect(b.n_draft == 0 && b.n_accepted == 0);
        cr_expect_leq(a.n_accepted, a.n_draft);
        if (k == 1) /* what a guess costs is not known before the first one */
            cr_expect(a.n_accepted > 0, "no guess of %d came true", a.n_draft);
    }
}

Test(draft, option_is_checked)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    engine_rig r = engine_rig_small("serial", 1, 1, 0);
    tlp_engine *e = NULL;

    o.n_draft = -2;
    cr_expect_eq(tlp_engine_create(&e, r.plan, &o), TLP_EINVAL);
    o.n_draft = 17;
    cr_expect_eq(tlp_engine_create(&e, r.plan, &o), TLP_EINVAL);
    engine_rig_close(&r);
}
