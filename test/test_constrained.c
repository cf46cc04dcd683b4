/*
 * test_constrained.c - sampling by a rule: grammars, masks and functions of the
 * program, on any number of ranks; probabilities without rows of logits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/grammar_rig.h"
#include "support/messages.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(constrained, .timeout = 300);

enum { N_VOCAB = 300, START = N_VOCAB - 2, END };

static rig r;

static void open_rig(int n_rank)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, 1);
    int32_t ids[7];

    spec.n_vocab = N_VOCAB;
    r = rig_open(tiny_make(&spec), "par:1-2", &o);
    rig_tokens(ids, 7, N_VOCAB, 3);
    CHECK_OK(tlp_session_prefill(r.session, ids, 7));
}

static void close_rig(void)
{
    rig_close(&r);
}

static const float *row(void)
{
    const float *logits = NULL;

    CHECK_OK(tlp_session_logits(&logits, r.session, 0));
    return logits;
}

static tlp_sampler *sampler_with(tlp_grammar *g, float temperature, int top_k)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;

    o.grammar = g;
    o.temperature = temperature;
    o.top_k = top_k;
    o.seed = 5;
    CHECK_OK(tlp_sampler_create(&s, r.model, &o));
    return s;
}

/* ==== grammars =========================================================== */

static const char *const grammars[] = {
    "root ::= \"{\" [a-z]* \"}\" [0-9]{3,}",
    "root ::= .*",
    "root ::= [^\\x00-\\x7f]+ \"a\"",
};

/* Tokens chosen by candidates of the ranks are those of the whole row. */
Test(constrained, candidates_and_rows_agree)
{
    static const struct {
        float temperature;
        int top_k;
    } ways[] = { { 0, 0 }, { 1, 3 }, { 1.5f, 40 }, { 2, 0 } };

    for (int ranks = 1; ranks <= 3; ranks++)
        for (size_t i = 0; i < 3; i++)
            for (size_t w = 0; w < 4; w++) {
                open_rig(ranks);
                tlp_grammar *g = rig_grammar(r.model, grammars[i]);
                tlp_sampler *a =
                    sampler_with(g, ways[w].temperature, ways[w].top_k);
                tlp_sampler *b =
                    sampler_with(g, ways[w].temperature, ways[w].top_k);
                for (int n = 0; n < 12; n++) {
                    int32_t x = -1, y = -2;
                    CHECK_OK(tlp_session_sample(&x, r.session, 0, a));
                    CHECK_OK(tlp_sampler_pick(&y, b, row()));
                    cr_assert_eq(x, y, "%d ranks, grammar %zu, way %zu, %d",
                                 ranks, i, w, n);
                    if (tlp_token_is_end(r.model, x))
                        break;
                    CHECK_OK(tlp_session_decode(r.session, x));
                }
                tlp_sampler_free(a);
                tlp_sampler_free(b);
                tlp_grammar_free(g);
                close_rig();
            }
}

/* The best allowed token, though hundreds of better tokens are forbidden. */
Test(constrained, far_from_the_best)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        open_rig(ranks);
        const float *logits = row();
        int32_t worst = 0, got = -1;
        for (int32_t i = 1; i < N_VOCAB; i++)
            worst = logits[i] < logits[worst] ? i : worst;
        uint32_t bits[(N_VOCAB + 31) / 32] = { 0 };
        bits[worst / 32] = 1u << (worst % 32);
        tlp_sampler *s = sampler_with(NULL, 0, 0);
        CHECK_OK(tlp_sampler_set_mask(s, bits, (N_VOCAB + 31) / 32));
        CHECK_OK(tlp_session_sample(&got, r.session, 0, s));
        cr_assert_eq(got, worst);
        memset(bits, 0, sizeof bits);
        CHECK_OK(tlp_sampler_set_mask(s, bits, (N_VOCAB + 31) / 32));
        CHECK_FAILS(TLP_ERROR, tlp_session_sample(&got, r.session, 0, s));
        cr_assert(strstr(tlp_last_error(), "the mask allow"), "%s",
                  tlp_last_error());
        CHECK_FAILS(TLP_EINVAL, tlp_sampler_set_mask(s, bits, 3));
        CHECK_FAILS(TLP_EINVAL, tlp_sampler_set_mask(NULL, NULL, 0));
        CHECK_OK(tlp_sampler_set_mask(s, NULL, 0));
        CHECK_OK(tlp_session_sample(&got, r.session, 0, s));
        cr_assert_neq(got, worst);
        tlp_sampler_free(s);
        close_rig();
    }
}

/* A token that the candidates decide costs no message of its own. */
Test(constrained, messages)
{
    open_rig(2);
    tlp_grammar *g = rig_grammar(r.model, "root ::= .*");
    tlp_sampler *s = sampler_with(g, 0, 0);
    int32_t id = 1;

    CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
    count_messages(r.session);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(tlp_session_decode(r.session, id));
        CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
        cr_assert(n_bcast == 1 && n_gather == 1, "%d, %d", n_bcast, n_gather);
        n_bcast = n_gather = 0;
    }
    tlp_sampler_free(s);
    tlp_grammar_free(g);
    close_rig();
}

typedef struct written {
    char text[512];
    size_t n;
} written;

static int keep(const char *text, size_t len, void *data)
{
    written *w = data;

    memcpy(w->text + w->n, text, len);
    w->n += len;
    w->text[w->n] = '\0';
    return 0;
}

/* Whole texts, one after the other: each matches, and ends where it must. */
Test(constrained, generate)
{
    open_rig(2);
    tlp_grammar *g =
        rig_grammar(r.model, "root ::= \"<\" [a-c]{2,5} \"|\" [0-9] \">\"");
    tlp_sampler *s = sampler_with(g, 2, 0);
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    written w = { .n = 0 };

    o.text = keep;
    o.text_data = &w;
    for (int i = 0; i < 3; i++) {
        tlp_generate_result res = { .struct_size = sizeof res };
        w.n = 0;
        CHECK_OK(tlp_session_generate(&res, r.session, s, &o));
        cr_assert_eq(res.stop_reason, TLP_STOP_END, "%d", res.stop_reason);
        cr_assert(tlp_token_is_end(r.model, res.last_token));
        cr_assert_eq(rig_match(g, w.text, w.n), RIG_ALL, "%s", w.text);
        CHECK_FAILS(TLP_ESTATE,
                    tlp_session_sample(&res.last_token, r.session, 0, s));
        CHECK_OK(tlp_session_rewind(r.session, 0, 6));
        CHECK_OK(tlp_session_decode(r.session, i));
    }
    o.ignore_end = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_generate(NULL, r.session, s, &o));
    o.ignore_end = 0;

    /* In pieces: the second call goes on with the text of the first. */
    o.n_predict = 3;
    w.n = 0;
    tlp_sampler_reset(s);
    CHECK_OK(tlp_session_generate(NULL, r.session, s, &o));
    cr_assert_eq(rig_match(g, w.text, w.n), RIG_PART, "%s", w.text);
    cr_assert_eq(tlp_matcher_place(tlp_sampler_matcher(s)), TLP_PLACE_INSIDE);
    tlp_sampler_reset(s);
    cr_assert_eq(tlp_matcher_accept(tlp_sampler_matcher(s), '<'), TLP_OK);
    cr_assert_null(tlp_sampler_matcher(NULL));
    tlp_sampler_free(s);

    s = sampler_with(NULL, 0, 0);
    cr_assert_null(tlp_sampler_matcher(s));
    tlp_sampler_free(s);
    tlp_grammar_free(g);
    close_rig();
}

/* A grammar and a sampler of two models. */
Test(constrained, another_model)
{
    open_rig(1);
    tlp_model *other = rig_bpe();
    tlp_grammar *g = rig_grammar(other, "root ::= \"a\"");
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;

    o.grammar = g;
    CHECK_FAILS(TLP_EMISMATCH, tlp_sampler_create(&s, r.model, &o));
    cr_assert_null(s);
    tlp_grammar_free(g);
    tlp_model_free(other);
    close_rig();
}

/* Without a token that ends a text, a complete grammar ends the generation:
 * the matcher allows nothing more. */
Test(constrained, no_end_token)
{
    tlp_model *m = rig_endless();
    tlp_grammar *g = rig_grammar(m, "root ::= \"a\"");
    tlp_matcher *matcher = NULL;

    CHECK_OK(tlp_matcher_create(&matcher, g));
    CHECK_OK(tlp_matcher_accept(matcher, 'a'));
    cr_assert_eq(tlp_matcher_place(matcher), TLP_PLACE_COMPLETE);
    cr_assert_eq(rig_count(matcher), 0);
    tlp_matcher_free(matcher);
    tlp_grammar_free(g);
    tlp_model_free(m);
}

/* ==== functions of the program =========================================== */

typedef struct rule {
    int32_t wanted;
    float to;
    int calls, stop;
} rule;

static int change(float *logits, int32_t n_vocab, void *data)
{
    rule *x = data;

    x->calls++;
    cr_assert_eq(n_vocab, N_VOCAB);
    logits[x->wanted] = x->to;
    return x->stop;
}

Test(constrained, logits_function)
{
    for (int ranks = 1; ranks <= 2; ranks++) {
        open_rig(ranks);
        rule x = { .wanted = 77, .to = 1e9f };
        tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
        tlp_sampler *s = NULL;
        float before = row()[77];
        int32_t got = -1;

        o.logits = change;
        o.logits_data = &x;
        CHECK_OK(tlp_sampler_create(&s, r.model, &o));
        CHECK_OK(tlp_session_sample(&got, r.session, 0, s));
        cr_assert_eq(got, 77);
        cr_assert_eq(x.calls, 1);
        cr_assert_eq(row()[77], before); /* the session's row stays */
        x.to = INFINITY;
        CHECK_OK(tlp_session_sample(&got, r.session, 0, s));
        cr_assert_eq(got, 77);
        x.to = NAN;
        CHECK_FAILS(TLP_EINVAL, tlp_session_sample(&got, r.session, 0, s));
        cr_assert(strstr(tlp_last_error(), "token 77 NaN"), "%s",
                  tlp_last_error());
        x.to = 0;
        x.stop = 1;
        CHECK_FAILS(TLP_ECANCELED, tlp_session_sample(&got, r.session, 0, s));
        cr_assert_eq(got, -1);
        tlp_sampler_free(s);
        close_rig();
    }
}

/* The grammar has the last word: no bias makes a token certain against it. */
Test(constrained, grammar_beats_bias)
{
    open_rig(1);
    tlp_grammar *g = rig_grammar(r.model, "root ::= [a-c]+");
    const tlp_logit_bias bias[] = { { 'z', INFINITY }, { 'a', -INFINITY } };
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;
    int32_t got = -1;

    o.grammar = g;
    o.bias = bias;
    o.n_bias = 2;
    CHECK_OK(tlp_sampler_create(&s, r.model, &o));
    CHECK_OK(tlp_session_sample(&got, r.session, 0, s));
    cr_assert(got != 'z' && got != 'a', "%d", got);
    tlp_sampler_free(s);
    tlp_grammar_free(g);
    close_rig();
}

Test(constrained, pick_checks_its_row)
{
    open_rig(1);
    float logits[N_VOCAB];
    tlp_sampler *s = sampler_with(NULL, 0, 0);
    int32_t got = -1;

    memcpy(logits, row(), sizeof logits);
    logits[9] = NAN;
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_pick(&got, s, logits));
    logits[9] = INFINITY;
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_pick(&got, s, logits));
    for (int i = 0; i < N_VOCAB; i++)
        logits[i] = -INFINITY;
    CHECK_FAILS(TLP_ERROR, tlp_sampler_pick(&got, s, logits));
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_pick(NULL, s, logits));
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_pick(&got, NULL, logits));
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_pick(&got, s, NULL));
    logits[4] = 0;
    CHECK_OK(tlp_sampler_pick(&got, s, logits));
    cr_assert_eq(got, 4);
    tlp_sampler_free(s);
    close_rig();
}

/* ==== probabilities ====================================================== */

Test(constrained, logprobs)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        open_rig(ranks);
        double sum = 0, max = -INFINITY;
        tlp_logprob top[256];
        float lp = 0;
        float logits[N_VOCAB];

        memcpy(logits, row(), sizeof logits);
        for (int i = 0; i < N_VOCAB; i++)
            max = fmax(max, (double)logits[i]);
        for (int i = 0; i < N_VOCAB; i++)
            sum += exp((double)logits[i] - max);
        double lse = max + log(sum);
        for (int32_t id = 0; id < N_VOCAB; id += 13) {
            CHECK_OK(tlp_session_logprobs(top, 5, &lp, r.session, 0, id));
            cr_assert_float_eq(lp, (double)logits[id] - lse, 1e-5);
        }
        CHECK_OK(tlp_session_logprobs(top, 256, NULL, r.session, 0, -5));
        for (int i = 0; i < 256; i++) {
            int better = 0;
            for (int k = 0; k < N_VOCAB; k++)
                better +=
                    logits[k] > logits[top[i].token] ||
                    (logits[k] == logits[top[i].token] && k < top[i].token);
            cr_assert_eq(better, i);
            cr_assert_float_eq(top[i].logprob,
                               (double)logits[top[i].token] - lse, 1e-5);
        }
        CHECK_OK(tlp_session_logprobs(NULL, 0, &lp, r.session, 0, 3));
        CHECK_FAILS(TLP_EINVAL,
                    tlp_session_logprobs(NULL, 1, &lp, r.session, 0, 3));
        CHECK_FAILS(TLP_EINVAL,
                    tlp_session_logprobs(top, 257, NULL, r.session, 0, 3));
        CHECK_FAILS(TLP_EINVAL,
                    tlp_session_logprobs(top, 1, &lp, r.session, 0, N_VOCAB));
        CHECK_FAILS(TLP_EINVAL,
                    tlp_session_logprobs(top, 1, &lp, r.session, 9, 0));
        CHECK_FAILS(TLP_EINVAL, tlp_session_logprobs(top, 1, &lp, NULL, 0, 0));
        close_rig();
    }
}

/* They are the score of a text, and cost one broadcast and two gathers. */
Test(constrained, logprobs_are_scores)
{
    open_rig(2);
    const int32_t next[] = { 5, 6 };
    float lp = 0, score[2];
    tlp_logprob top[3];

    count_messages(r.session);
    CHECK_OK(tlp_session_logprobs(top, 3, &lp, r.session, 0, 5));
    cr_assert(n_bcast == 1 && n_gather == 2, "%d, %d", n_bcast, n_gather);
    CHECK_OK(tlp_session_score(score, r.session, 0, next, 2));
    cr_assert_float_eq(score[0], lp, 1e-6);
    close_rig();
}

/* ==== tokens ============================================================= */

Test(constrained, pieces)
{
    tlp_model *m = rig_spm();
    char buf[16];
    size_t len = 0;

    CHECK_OK(tlp_token_get_piece(buf, sizeof buf, &len, m, 3 + 0xe9));
    cr_assert(len == 1 && (unsigned char)buf[0] == 0xe9);
    cr_assert_eq(tlp_token_kind(m, 3 + 0xe9), TLP_TOKEN_BYTE);
    CHECK_OK(tlp_token_get_piece(buf, sizeof buf, &len, m, 262));
    cr_assert_str_eq(buf, " a");
    cr_assert_eq(tlp_token_kind(m, 262), 0);
    CHECK_OK(tlp_token_get_piece(buf, sizeof buf, &len, m, 1));
    cr_assert_str_eq(buf, "<s>");
    cr_assert_eq(tlp_token_kind(m, 1), TLP_TOKEN_CONTROL);
    cr_assert_eq(tlp_token_kind(m, 2), TLP_TOKEN_CONTROL | TLP_TOKEN_END);
    cr_assert_eq(tlp_token_kind(m, -1), 0);
    CHECK_FAILS(TLP_EBUFS, tlp_token_get_piece(buf, 2, &len, m, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_token_get_piece(buf, 2, &len, m, 100000));
    CHECK_FAILS(TLP_EINVAL, tlp_token_get_piece(buf, 2, &len, NULL, 1));
    tlp_model_free(m);

    m = rig_bpe();
    cr_assert_eq(tlp_token_kind(m, RIG_THINK), TLP_TOKEN_USER);
    tlp_model_free(m);
}
