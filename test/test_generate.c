/*
 * test_generate.c - the generation loop: what ends it, what text it streams,
 * and that it is the sampling and decoding one could write oneself.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"

#define N_VOCAB 288
#define IM_START (N_VOCAB - 2)
#define IM_END (N_VOCAB - 1)

TestSuite(generate, .timeout = 120);

/* Text of a generation, and how it came. */
typedef struct token_sink {
    char text[4096];
    size_t n;
    int calls, stop_after;
    bool bad; /* empty, unterminated or cut inside a character */
} token_sink;

/* Bytes of the UTF-8 character at s, 0 if malformed. */
static size_t character(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static int collect(const char *text, size_t len, void *user_data)
{
    token_sink *s = user_data;
    size_t at = 0;

    s->calls++;
    s->bad |= len == 0 || text[len] != 0;
    while (at < len) {
        size_t n = character((const unsigned char *)text + at);
        s->bad |= n == 0;
        at += n ? n : 1;
    }
    s->bad |= at != len;
    if (s->n + len < sizeof s->text) {
        memcpy(s->text + s->n, text, len);
        s->text[s->n += len] = 0;
    }
    return s->stop_after && s->calls >= s->stop_after;
}

static rig start(int n_rank, const char *plan)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, 1);
    int32_t ids[6];

    o.n_ctx = 200;
    rig r = rig_open(tiny_make(&spec), plan, &o);
    rig_tokens(ids, 6, N_VOCAB, 3);
    CHECK_OK(tlp_session_prefill(r.session, ids, 6));
    return r;
}

/* A sampler that draws letters, blanks and the merges of them alone. */
static tlp_sampler *letters(const rig *r, uint64_t seed)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_logit_bias list[N_VOCAB];
    tlp_sampler *s = NULL;

    for (int32_t i = 0; i < N_VOCAB; i++)
        if (!((i >= 'a' && i <= 'z') || (i >= 256 && i < IM_START)))
            list[o.n_bias++] = (tlp_logit_bias){ i, -INFINITY };
    o.bias = list;
    o.temperature = 1;
    o.seed = seed;
    CHECK_OK(tlp_sampler_create(&s, r->model, &o));
    return s;
}

/* Greedy with one token made certain. */
static tlp_sampler *always(const rig *r, int32_t id)
{
    tlp_logit_bias b = { id, 1000 };
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;

    o.bias = &b;
    o.n_bias = 1;
    CHECK_OK(tlp_sampler_create(&s, r->model, &o));
    return s;
}

static tlp_generate_result run(rig *r, tlp_sampler *s, token_sink *out,
                               tlp_generate_options o)
{
    tlp_generate_result res = { .struct_size = sizeof res };

    o.struct_size = sizeof o;
    memset(out->text, 0, sizeof out->text);
    out->n = 0;
    out->calls = 0;
    o.text = collect;
    o.text_data = out;
    CHECK_OK(tlp_session_generate(&res, r->session, s, &o));
    cr_assert(!out->bad, "text that is empty or not whole UTF-8");
    return res;
}

/* The same by hand: tokens and their text. */
static void by_hand(rig *r, tlp_sampler *s, int n, int32_t *ids, char *text,
                    size_t cap)
{
    size_t len = 0;

    for (int i = 0; i < n; i++) {
        CHECK_OK(tlp_session_sample(&ids[i], r->session, 0, s));
        if (i + 1 < n)
            CHECK_OK(tlp_session_decode(r->session, ids[i]));
    }
    CHECK_OK(tlp_detokenize(text, cap, &len, r->model, ids, (size_t)n, 0));
}

Test(generate, is_sample_and_decode)
{
    static const char *const plans[] = { "serial", "par:1-2,3-4", "lp:0-2" };

    for (int ranks = 1; ranks <= 3; ranks++) {
        rig a = start(ranks, plans[ranks - 1]), b = start(1, plans[ranks - 1]);
        tlp_sampler *sa = letters(&a, 9), *sb = letters(&b, 9);
        int32_t ids[40];
        char text[1024];
        token_sink out = { 0 };

        tlp_generate_result res =
            run(&a, sa, &out, (tlp_generate_options){ .n_predict = 40 });
        by_hand(&b, sb, 40, ids, text, sizeof text);
        cr_assert_eq(res.n_generated, 40);
        cr_assert_eq(res.stop_reason, TLP_STOP_LENGTH);
        cr_assert_eq(res.last_token, ids[39]);
        cr_assert_str_eq(out.text, text, "%d ranks", ranks);
        cr_assert_eq(tlp_session_pos(a.session, 0), 6 + 39);
        cr_assert_gt(out.calls, 10, "the text came in %d pieces", out.calls);
        tlp_sampler_free(sa);
        tlp_sampler_free(sb);
        rig_close(&a);
        rig_close(&b);
    }
}

/* Without a sampler: greedy; the last token is there to go on with. */
Test(generate, greedy_goes_on)
{
    rig a = start(2, "par:1-2"), b = start(1, "par:1-2");
    tlp_generate_options o = { .n_predict = 12, .ignore_end = 1 };
    token_sink one = { 0 }, two = { 0 }, whole = { 0 };

    tlp_generate_result res = run(&a, NULL, &one, o);
    CHECK_OK(tlp_session_decode(a.session, res.last_token));
    run(&a, NULL, &two, o);
    o.n_predict = 24;
    tlp_generate_result all = run(&b, NULL, &whole, o);
    cr_assert_eq(all.n_generated, 24);
    cr_assert_eq(tlp_session_pos(a.session, 0), tlp_session_pos(b.session, 0));
    for (int i = 0; i < 2; i++) /* both stand before their last token */
        CHECK_OK(tlp_session_decode((i ? a : b).session, all.last_token));
    float *x = rig_logits(&a, NULL), *y = rig_logits(&b, NULL);
    cr_assert(rig_diff_f(x, y, N_VOCAB) < 1e-4);
    free(x);
    free(y);
    rig_close(&a);
    rig_close(&b);
}

/* ==== endings ============================================================ */

Test(generate, end_token)
{
    rig r = start(1, "serial");
    tlp_sampler *s = always(&r, IM_END);
    token_sink out = { 0 };

    tlp_generate_result res =
        run(&r, s, &out, (tlp_generate_options){ .n_predict = 9 });
    cr_assert_eq(res.stop_reason, TLP_STOP_END);
    cr_assert_eq(res.n_generated, 1);
    cr_assert_eq(res.last_token, IM_END);
    cr_assert_eq(out.calls, 0);
    cr_assert_eq(tlp_session_pos(r.session, 0), 6);
    res = run(&r, s, &out,
              (tlp_generate_options){ .n_predict = 9, .ignore_end = 1 });
    cr_assert_eq(res.stop_reason, TLP_STOP_LENGTH);
    cr_assert_eq(res.n_generated, 9);
    cr_assert_eq(out.calls, 0); /* control tokens have no text */
    CHECK_OK(tlp_session_decode(r.session, res.last_token));
    res = run(&r, s, &out,
              (tlp_generate_options){ .n_predict = 2,
                                      .ignore_end = 1,
                                      .flags = TLP_DETOKENIZE_SPECIAL });
    cr_assert_str_eq(out.text, "<|im_end|><|im_end|>");
    tlp_sampler_free(s);
    rig_close(&r);
}

Test(generate, context_ends)
{
    rig r = start(2, "par:1-2");
    tlp_sampler *s = always(&r, 'x');
    token_sink out = { 0 };

    tlp_generate_result res = run(&r, s, &out, (tlp_generate_options){ 0 });
    cr_assert_eq(res.stop_reason, TLP_STOP_CONTEXT);
    cr_assert_eq(tlp_session_pos(r.session, 0), 200);
    /* 6 to 199 are evaluated, one more is sampled from the last logits */
    cr_assert_eq(res.n_generated, 195);
    cr_assert_eq(out.n, 195);
    cr_assert_eq(strspn(out.text, "x"), 195);
    tlp_sampler_free(s);
    rig_close(&r);
}

Test(generate, callback_stops)
{
    for (int after = 1; after <= 5; after++) {
        rig r = start(1, "serial");
        tlp_sampler *s = letters(&r, 4);
        token_sink out = { .stop_after = after };

        tlp_generate_result res =
            run(&r, s, &out, (tlp_generate_options){ .n_predict = 50 });
        cr_assert_eq(res.stop_reason, TLP_STOP_CALLBACK);
        cr_assert_eq(out.calls, after);
        cr_assert_lt(res.n_generated, 50);
        CHECK_OK(tlp_session_decode(r.session, res.last_token));
        tlp_sampler_free(s);
        rig_close(&r);
    }
}

/* Where `text` must end for these stop strings. */
static size_t cut_at(const char *text, const char *const *stop, size_t n)
{
    size_t best = strlen(text);

    for (size_t i = 0; i < n; i++) {
        const char *at = strstr(text, stop[i]);
        if (at && (size_t)(at - text) < best)
            best = (size_t)(at - text);
    }
    return best;
}

/* Every piece of the text, at every place and length, must stop it there. */
Test(generate, stop_strings_across_tokens)
{
    rig r = start(1, "serial");
    char full[1024];
    token_sink out = { 0 };

    tlp_sampler *s = letters(&r, 21);
    run(&r, s, &out, (tlp_generate_options){ .n_predict = 30 });
    memcpy(full, out.text, sizeof full);
    for (size_t len = 2; len <= 9; len++)
        for (size_t at = 0; at + len <= strlen(full); at += 3) {
            char piece[16] = { 0 };
            const char *stop[2] = { "never-there", piece };

            memcpy(piece, full + at, len);
            tlp_sampler_reset(s);
            CHECK_OK(tlp_session_rewind(r.session, 0, 5));
            int32_t last[6];
            rig_tokens(last, 6, N_VOCAB, 3);
            CHECK_OK(tlp_session_decode(r.session, last[5]));
            tlp_generate_result res =
                run(&r, s, &out,
                    (tlp_generate_options){
                        .n_predict = 30, .stop = stop, .n_stop = 2 });
            cr_assert_eq(res.stop_reason, TLP_STOP_STRING, "\"%s\" in \"%s\"",
                         piece, full);
            cr_assert_eq(out.n, cut_at(full, stop, 2), "\"%s\": \"%s\"", piece,
                         out.text);
            cr_assert_eq(strncmp(out.text, full, out.n), 0);
        }
    tlp_sampler_free(s);
    rig_close(&r);
}

/* A stop string that only begins at the end is given out after all. */
Test(generate, unfinished_stop_string)
{
    rig r = start(1, "serial");
    tlp_sampler *s = always(&r, 'x');
    const char *stop[1] = { "xxxxxxxxxxy" };
    token_sink out = { 0 };

    tlp_generate_result res = run(
        &r, s, &out,
        (tlp_generate_options){ .n_predict = 6, .stop = stop, .n_stop = 1 });
    cr_assert_eq(res.stop_reason, TLP_STOP_LENGTH);
    cr_assert_str_eq(out.text, "xxxxxx");
    tlp_sampler_free(s);
    rig_close(&r);
}

/* Bytes at random are mostly not UTF-8; the text must be nonetheless. */
Test(generate, text_is_utf8)
{
    rig r = start(1, "serial");
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;
    token_sink out = { 0 };

    o.temperature = 3;
    o.seed = 2;
    CHECK_OK(tlp_sampler_create(&s, r.model, &o));
    tlp_generate_result res =
        run(&r, s, &out,
            (tlp_generate_options){ .n_predict = 190, .ignore_end = 1 });
    cr_assert_eq(res.n_generated, 190);
    cr_assert_gt(out.n, 190, "mostly U+FFFD is expected: %zu bytes", out.n);
    tlp_sampler_free(s);
    rig_close(&r);
}

/* A generation in sequence 2 gives the text of sequence 0, and leaves the
 * positions of all further sequences alone. */
Test(generate, in_another_sequence)
{
    static const int32_t prompt[3] = { 40, 41, 42 };
    static const int32_t seqs[3] = { 2, 2, 2 };
    tiny_spec spec = tiny_default();
    tlp_session_options so = rig_f32(2, 1);
    tlp_generate_options o = { .n_predict = 10, .ignore_end = 1 };
    tlp_batch b = TLP_BATCH_INIT;
    token_sink first = { 0 }, second = { 0 };

    so.n_seq = 3;
    rig r = rig_open(tiny_make(&spec), "par:1-2", &so);
    CHECK_OK(tlp_session_prefill(r.session, prompt, 3));
    tlp_generate_result want = run(&r, NULL, &first, o);

    b.n = 3;
    b.tokens = prompt;
    b.seqs = seqs;
    CHECK_OK(tlp_session_eval(r.session, &b));
    o.seq = 2;
    tlp_generate_result res = run(&r, NULL, &second, o);
    cr_assert_eq(res.n_generated, 10);
    cr_assert_eq(res.last_token, want.last_token);
    cr_assert_str_eq(second.text, first.text);
    for (int32_t seq = 0; seq < 3; seq++)
        cr_assert_eq(tlp_session_pos(r.session, seq), seq == 1 ? 0 : 12);
    rig_close(&r);
}

/* A bias of +INFINITY makes a token certain, however it is drawn. */
Test(generate, infinite_bias)
{
    const tlp_logit_bias b = { 200, INFINITY };
    rig r = start(1, "serial");

    for (int i = 0; i < 3; i++) {
        tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
        tlp_sampler *s = NULL;

        o.bias = &b;
        o.n_bias = 1;
        o.temperature = 1;
        o.top_p = i == 1 ? 0.9f : 0;
        o.top_k = i == 2 ? 5 : 0;
        CHECK_OK(tlp_sampler_create(&s, r.model, &o));
        for (int k = 0; k < 20; k++) {
            int32_t id = -1;
            CHECK_OK(tlp_session_sample(&id, r.session, 0, s));
            cr_assert_eq(id, 200, "case %d: token %d", i, id);
        }
        tlp_sampler_free(s);
    }
    rig_close(&r);
}

Test(generate, refusals)
{
    tiny_spec spec = tiny_default();
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result res = { .struct_size = sizeof res };
    rig r = rig_open(tiny_make(&spec), "serial", NULL);
    const char *none[1] = { NULL };

    CHECK_FAILS(TLP_ESTATE, tlp_session_generate(&res, r.session, NULL, NULL));
    CHECK_OK(tlp_session_decode(r.session, 1));
    o.n_predict = -1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_generate(&res, r.session, NULL, &o));
    o.n_predict = 1;
    o.n_stop = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_generate(&res, r.session, NULL, &o));
    o.stop = none;
    CHECK_FAILS(TLP_EINVAL, tlp_session_generate(&res, r.session, NULL, &o));
    o.stop = NULL;
    o.n_stop = 0;
    for (o.seq = -1; o.seq <= 1; o.seq += 2)
        CHECK_FAILS(TLP_EINVAL,
                    tlp_session_generate(&res, r.session, NULL, &o));
    o.seq = 0;
    cr_assert_eq(tlp_session_pos(r.session, 0), 1);
    o.stop = NULL;
    o.n_stop = 0;
    CHECK_OK(tlp_session_generate(NULL, r.session, NULL, &o));
    rig_close(&r);
}
