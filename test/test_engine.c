/*
 * test_engine.c - an engine: the texts of its requests, whatever runs beside
 * them, what ends them, and what is known of them already.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/engine_rig.h"
#include "support/tiny.h"

#define N_VOCAB 288
#define IM_END (N_VOCAB - 1)
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(engine, .timeout = 180);

/* ==== texts ============================================================== */

/* The tokens that a session of its own gives for a prompt. */
static void alone(const engine_rig *r, const int32_t *ids, int n,
                  const tlp_sampler_options *so, int n_predict, int32_t *out)
{
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *s = NULL;
    tlp_sampler *sampler = NULL;

    o.n_ctx = 128;
    CHECK_OK(tlp_session_create(&s, r->plan, &o));
    CHECK_OK(tlp_sampler_create(&sampler, r->model, so));
    for (int i = 0; i < n; i++)
        tlp_sampler_accept(sampler, ids[i]);
    CHECK_OK(tlp_session_prefill(s, ids, (size_t)n));
    for (int i = 0; i < n_predict; i++) {
        CHECK_OK(tlp_session_sample(&out[i], s, 0, sampler));
        CHECK_OK(tlp_session_decode(s, out[i]));
    }
    tlp_sampler_free(sampler);
    tlp_session_free(s);
}

enum { N_REQUEST = 14, PROMPT = 90 };

static int length_of(int i)
{
    return 1 + i * 61 % PROMPT;
}

static tlp_sampler_options sampler_of(int i)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;

    o.temperature = i % 3 == 0 ? 0 : 0.9f;
    o.top_k = i % 3 == 1 ? 20 : 0;
    o.repeat_penalty = i % 4 == 2 ? 1.3f : 0;
    o.seed = (uint64_t)i;
    return o;
}

static void many(const char *plan, int n_rank, int n_seq, bool step)
{
    engine_rig r = engine_rig_small(plan, n_rank, n_seq, 8);
    engine_record *rec = calloc(N_REQUEST, sizeof *rec);
    engine_record *list[N_REQUEST];
    int32_t ids[N_REQUEST][PROMPT], expected[24];

    if (!step)
        CHECK_OK(tlp_engine_start(r.engine));
    for (int i = 0; i < N_REQUEST; i++) {
        tlp_sampler_options so = sampler_of(i);

        /* Every second one shares a beginning with the one before it. */
        rig_tokens(ids[i], PROMPT, N_VOCAB, (uint64_t)i);
        if (i % 2)
            memcpy(ids[i], ids[i - 1], 40 * sizeof ids[i][0]);
        tlp_request q = engine_request(ids[i], length_of(i), 5 + i);

        q.sampler = &so;
        q.client = (uint64_t)i % 3;
        list[i] = &rec[i];
        engine_submit(&rec[i], r.engine, &q);
    }
    engine_finish(r.engine, list, N_REQUEST, step);
    for (int i = 0; i < N_REQUEST; i++) {
        tlp_sampler_options so = sampler_of(i);

        alone(&r, ids[i], length_of(i), &so, 5 + i, expected);
        cr_expect_eq(rec[i].choice[0].stop_reason, TLP_STOP_LENGTH);
        cr_expect_eq(rec[i].choice[0].n, 5 + i);
        for (int k = 0; k < 5 + i; k++)
            cr_assert_eq(rec[i].choice[0].token[k], expected[k],
                         "%s, %d ranks, request %d, token %d", plan, n_rank, i,
                         k);
    }
    free(rec);
    engine_rig_close(&r);
}

Test(engine, texts_do_not_depend_on_what_runs_beside_them)
{
    many("serial", 1, 3, true);
    many("serial", 1, 1, false);
    many("par:1-2", 2, 5, false);
    many("nosync@2:1,3f", 2, 4, true);
}

Test(engine, choices_of_a_request)
{
    engine_rig r = engine_rig_small("serial", 1, 4, 0);
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    engine_record rec, *list = &rec;
    int32_t ids[20], expected[8];
    tlp_request q = engine_request(ids, 20, 8);

    rig_tokens(ids, 20, N_VOCAB, 5);
    so.temperature = 1.5f;
    so.seed = 40;
    q.sampler = &so;
    q.n_choice = 4;
    engine_submit(&rec, r.engine, &q);
    engine_finish(r.engine, &list, 1, true);
    cr_expect_eq(rec.n_generated, 32);
    for (int i = 0; i < 4; i++) {
        alone(&r, ids, 20, &so, 8, expected);
        so.seed++;
        cr_expect(memcmp(rec.choice[i].token, expected, sizeof expected) == 0,
                  "choice %d", i);
    }
    cr_expect_eq(engine_rig_stats(&r).n_prompt, 20,
                 "the prompt is evaluated once");
    engine_rig_close(&r);
}

/* ==== beginnings that are known ========================================== */

static void expect_cached(const engine_rig *r, const int32_t *ids, int n,
                          int cached)
{
    engine_record rec, *list = &rec;
    tlp_request q = engine_request(ids, n, 3);
    int32_t expected[3];
    tlp_sampler_options greedy = TLP_SAMPLER_OPTIONS_INIT;

    engine_submit(&rec, r->engine, &q);
    engine_finish(r->engine, &list, 1, true);
    cr_expect_eq(rec.n_cached, cached, "%d of %d tokens are known, %d expected",
                 rec.n_cached, n, cached);
    alone(r, ids, n, &greedy, 3, expected);
    cr_expect(memcmp(rec.choice[0].token, expected, sizeof expected) == 0);
}

Test(engine, known_beginnings_are_not_evaluated_again)
{
    engine_rig r = engine_rig_small("serial", 1, 3, 0);
    int32_t a[60], b[60];

    rig_tokens(a, 60, N_VOCAB, 1);
    rig_tokens(b, 60, N_VOCAB, 2);
    expect_cached(&r, a, 50, 0);
    expect_cached(&r, b, 50, 0);
    expect_cached(&r, a, 60, 50); /* the last token of a text is not held */
    expect_cached(&r, a, 60, 59); /* its row of logits is needed */
    memcpy(b, a, 30 * sizeof a[0]);
    b[30] = a[30] ^ 1;
    expect_cached(&r, b, 60, 30);
    expect_cached(&r, a, 60, 59);
    engine_rig_close(&r);
}

/* A beginning that a text holds while it is written. */
Test(engine, beginnings_of_running_requests)
{
    engine_rig r = engine_rig_small("serial", 2, 3, 0);
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    int32_t ids[50];
    tlp_request q = engine_request(ids, 50, 30);

    rig_tokens(ids, 50, N_VOCAB, 1);
    engine_submit(&rec[0], r.engine, &q);
    while (rec[0].choice[0].n < 5) {
        engine_step(r.engine);
    }
    engine_submit(&rec[1], r.engine, &q);
    engine_finish(r.engine, list, 2, true);
    cr_expect_eq(rec[1].n_cached, 49);
    cr_expect(memcmp(rec[0].choice[0].token, rec[1].choice[0].token,
                     30 * sizeof(int32_t)) == 0);
    engine_rig_close(&r);
}

/* ==== ends =============================================================== */

/* A request whose sampler always gives `token`. */
static int reason_of(const engine_rig *r, tlp_request *q, int32_t token,
                     engine_record *rec)
{
    tlp_logit_bias b = { token, INFINITY };
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;

    so.bias = &b;
    so.n_bias = 1;
    q->sampler = &so;
    engine_submit(rec, r->engine, q);
    engine_finish(r->engine, &rec, 1, true);
    return rec->choice[0].stop_reason;
}

Test(engine, ends_of_texts)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    static const char *const stop[] = { "aaaa" };
    int32_t ids[120], stop_token = 'b';
    engine_record rec;

    rig_tokens(ids, 120, N_VOCAB, 1);
    tlp_request q = engine_request(ids, 10, 7);

    cr_expect_eq(reason_of(&r, &q, 'a', &rec), TLP_STOP_LENGTH);
    cr_expect(rec.choice[0].n == 7 && rec.n_prompt == 10);
    cr_expect_str_eq(rec.choice[0].text, "aaaaaaa");

    q.stop = stop;
    q.n_stop = 1;
    cr_expect_eq(reason_of(&r, &q, 'a', &rec), TLP_STOP_STRING);
    cr_expect(rec.choice[0].n == 4 && rec.choice[0].n_text == 0);

    q.n_predict = 3; /* the text that was held back comes with the end */
    cr_expect_eq(reason_of(&r, &q, 'a', &rec), TLP_STOP_LENGTH);
    cr_expect_str_eq(rec.choice[0].text, "aaa");

    q.stop_tokens = &stop_token;
    q.n_stop_token = 1;
    cr_expect_eq(reason_of(&r, &q, 'b', &rec), TLP_STOP_TOKEN);
    cr_expect(rec.choice[0].n == 1 && rec.choice[0].n_text == 0);

    q.ignore_end = 0;
    cr_expect_eq(reason_of(&r, &q, IM_END, &rec), TLP_STOP_END);
    q.ignore_end = 1;
    cr_expect_eq(reason_of(&r, &q, IM_END, &rec), TLP_STOP_LENGTH);

    q.n_predict = 0;
    q.n_token = 120;
    cr_expect_eq(reason_of(&r, &q, 'c', &rec), TLP_STOP_CONTEXT);
    cr_expect_eq(rec.choice[0].n, 9); /* n_ctx 128: the ninth is not held */
    engine_rig_close(&r);
}

Test(engine, a_prompt_alone)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    engine_record rec, *list = &rec;
    int32_t ids[128];
    tlp_request q = engine_request(ids, 128, -1);

    rig_tokens(ids, 128, N_VOCAB, 1);
    engine_submit(&rec, r.engine, &q);
    engine_finish(r.engine, &list, 1, true);
    cr_expect(rec.n_prompt == 128 && rec.n_generated == 0);
    cr_expect_eq(rec.choice[0].stop_reason, TLP_STOP_LENGTH);
    cr_expect_eq(rec.choice[0].status, TLP_OK);
    engine_rig_close(&r);
}

/* ==== log-probabilities ================================================== */

static double logprob_of(const float *row, int32_t token)
{
    double sum = 0, max = -INFINITY;

    for (int i = 0; i < N_VOCAB; i++)
        max = fmax(max, (double)row[i]);
    for (int i = 0; i < N_VOCAB; i++)
        sum += exp((double)row[i] - max);
    return (double)row[token] - max - log(sum);
}

Test(engine, logprobs)
{
    engine_rig r = engine_rig_small("serial", 2, 2, 7);
    engine_record rec, *list = &rec;
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *s = NULL;
    int32_t all[40];
    uint8_t want[40];
    tlp_batch b = { sizeof b, 39, all, NULL, want };

    rig_tokens(all, 40, N_VOCAB, 8);
    tlp_request q = engine_request(all, 30, 10);

    q.logprobs = q.prompt_logprobs = 1;
    for (int i = 0; i < 2; i++) { /* also of a prompt that is known */
        engine_submit(&rec, r.engine, &q);
        engine_finish(r.engine, &list, 1, true);
        cr_assert_eq(rec.n_prompt_token, 30);
    }
    cr_expect(isnan(rec.prompt_logprob[0]));
    memcpy(all + 30, rec.choice[0].token, 10 * sizeof all[0]);
    memset(want, 1, sizeof want);
    CHECK_OK(tlp_session_create(&s, r.plan, &o));
    CHECK_OK(tlp_session_eval(s, &b));
    for (size_t i = 1; i < 40; i++) {
        const float *row = NULL;
        float got =
            i < 30 ? rec.prompt_logprob[i] : rec.choice[0].logprob[i - 30];

        CHECK_OK(tlp_session_logits(&row, s, i - 1));
        cr_expect_float_eq(got, logprob_of(row, all[i]), 1e-5, "token %zu", i);
    }
    tlp_session_free(s);
    engine_rig_close(&r);
}

/* The grammar lives as long as the request.  Its end ends the text. */
Test(engine, grammar)
{
    static const char text[] = "root ::= [0-9] [0-9]? \"!\"";
    engine_rig r = engine_rig_small("par:1-2", 2, 3, 0);
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    int32_t ids[5] = { 1, 2, 3, 4, 5 };
    tlp_request q = engine_request(ids, 5, 0);

    so.temperature = 2;
    q.sampler = &so;
    q.ignore_end = 0;
    q.n_choice = 2;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(
            tlp_grammar_parse(&so.grammar, r.model, text, sizeof text - 1));
        engine_submit(&rec[i], r.engine, &q);
        tlp_grammar_free(so.grammar);
    }
    engine_finish(r.engine, list, 2, true);
    for (int i = 0; i < 4; i++) {
        const engine_text *t = &rec[i / 2].choice[i % 2];

        cr_expect_eq(t->stop_reason, TLP_STOP_END);
        cr_expect(t->n_text >= 2 && t->n_text <= 3 &&
                      t->text[t->n_text - 1] == '!' &&
                      strspn(t->text, "0123456789") == t->n_text - 1,
                  "%s", t->text);
    }
    engine_rig_close(&r);
}

/* The likeliest tokens, best first; the greedy token is the first. */
Test(engine, top_logprobs)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    int32_t ids[5] = { 1, 2, 3, 4, 5 };
    tlp_request q = engine_request(ids, 5, 4);
    tlp_event *v = NULL;
    uint64_t id;
    int n = 0;

    q.logprobs = 1;
    q.n_top = 6;
    CHECK_OK(tlp_engine_submit(&id, r.engine, &q));
    for (int kind = 0; kind != TLP_EVENT_END; tlp_event_free(v)) {
        CHECK_OK(tlp_engine_step(NULL, r.engine));
        CHECK_OK(tlp_engine_next(&v, r.engine, 0));
        cr_assert(v);
        kind = v->kind;
        if (kind != TLP_EVENT_TOKEN)
            continue;
        n++;
        cr_assert_eq(v->n_top, 6);
        cr_expect(v->top[0].token == v->token &&
                  v->top[0].logprob == v->logprob);
        for (int i = 1; i < 6; i++)
            cr_expect(v->top[i].logprob <= v->top[i - 1].logprob &&
                      v->top[i].token != v->top[i - 1].token);
    }
    cr_expect_eq(n, 4);
    engine_rig_close(&r);
}
