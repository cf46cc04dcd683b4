/*
 * test_rows.c - rows of logits know what they belong to: where a generation
 * begins after rewinds, copies and batches, and what it refuses; the window of
 * the penalties; room for rows.
 */
#include <stdlib.h>
#include <string.h>

#include "session/session.h"
#include "support/rig.h"
#include "support/tiny.h"

#define N_VOCAB 288
#define N_SEQ 4

static rig r;

static void open_rig(void)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);

    o.n_seq = N_SEQ;
    r = rig_open(tiny_make(&spec), "par:1-2", &o);
}

static void close_rig(void)
{
    rig_close(&r);
}

TestSuite(rows, .init = open_rig, .fini = close_rig, .timeout = 120);

static const int32_t abc[3] = { 97, 98, 99 };

/* The token that follows n tokens greedily, from a session of its own. */
static int32_t token_after(const int32_t *ids, size_t n)
{
    tlp_session *s = NULL;
    tlp_sampler *greedy = NULL;
    int32_t token = -1;

    CHECK_OK(tlp_session_create(
        &s, r.plan,
        &(tlp_session_options){ sizeof(tlp_session_options), .n_ctx = 64,
                                .n_thread = 1, .compute = TLP_COMPUTE_F32,
                                .kv_type = TLP_KV_F32 }));
    CHECK_OK(tlp_sampler_create(&greedy, r.model, NULL));
    CHECK_OK(tlp_session_prefill(s, ids, n));
    CHECK_OK(tlp_session_sample(&token, s, 0, greedy));
    tlp_sampler_free(greedy);
    tlp_session_free(s);
    return token;
}

static tlp_status generate(int32_t seq, int32_t *token)
{
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result res = { .struct_size = sizeof res, .last_token = -7 };

    o.n_predict = 1;
    o.ignore_end = 1;
    o.seq = seq;
    tlp_status st = tlp_session_generate(&res, r.session, NULL, &o);
    *token = res.last_token;
    return st;
}

/* The generation begins after these tokens, wherever their row is. */
static void begins_after(int32_t seq, const int32_t *ids, size_t n)
{
    int32_t token = -1, want = token_after(ids, n);

    CHECK_OK(generate(seq, &token));
    cr_assert_eq(token, want, "sequence %d after %zu tokens: %d, %d expected",
                 seq, n, token, want);
}

/* Refused with this in the text; nothing moved. */
static void refused(int32_t seq, const char *text)
{
    int32_t token = -1, pos[N_SEQ];
    size_t row = 0;

    for (int32_t i = 0; i < N_SEQ; i++)
        pos[i] = tlp_session_pos(r.session, i);
    CHECK_FAILS(TLP_ESTATE, generate(seq, &token));
    cr_assert(strstr(tlp_last_error(), text), "\"%s\" in \"%s\"", text,
              tlp_last_error());
    cr_assert_eq(token, -7, "the result was written");
    CHECK_FAILS(TLP_ESTATE, tlp_session_find_row(&row, r.session, seq));
    cr_assert_eq(row, SIZE_MAX);
    for (int32_t i = 0; i < N_SEQ; i++)
        cr_assert_eq(tlp_session_pos(r.session, i), pos[i]);
}

static void eval(const int32_t *ids, const int32_t *seqs, const uint8_t *want,
                 size_t n)
{
    tlp_batch b = { sizeof b, n, ids, seqs, want };

    CHECK_OK(tlp_session_eval(r.session, &b));
}

/* ==== where a generation begins ========================================== */

Test(rows, nothing_yet)
{
    refused(0, "sequence 0 is empty");
    refused(3, "sequence 3 is empty");
}

Test(rows, rewound_and_cleared)
{
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    CHECK_OK(tlp_session_rewind(r.session, 0, 3)); /* nothing changes */
    begins_after(0, abc, 3);
    CHECK_OK(tlp_session_rewind(r.session, 0, 1));
    refused(0, "position 0");
    CHECK_OK(tlp_session_clear(r.session, 0));
    refused(0, "empty");
}

/* As a program that checks drafts does it. */
Test(rows, rewound_to_a_row_that_is_kept)
{
    const uint8_t all[3] = { 1, 1, 1 };

    eval(abc, NULL, all, 3);
    for (int32_t n = 3; n > 0; n--) {
        CHECK_OK(tlp_session_rewind(r.session, 0, n));
        begins_after(0, abc, (size_t)n);
    }
}

Test(rows, batches_of_several_sequences)
{
    const int32_t ids[4] = { 120, 121, 97, 98 }, seqs[4] = { 1, 1, 0, 2 };

    eval(ids, seqs, NULL, 4);
    begins_after(0, ids + 2, 1);
    begins_after(1, ids, 2);
    begins_after(2, ids + 3, 1);
    refused(3, "empty");
    eval(abc, (const int32_t[3]){ 3, 3, 3 }, NULL, 3);
    begins_after(3, abc, 3);
    refused(0, "not kept"); /* an evaluation of another sequence */
}

Test(rows, last_token_without_logits)
{
    eval(abc, NULL, (const uint8_t[3]){ 1, 0, 0 }, 3);
    refused(0, "position 2");
    eval(abc, (const int32_t[3]){ 1, 1, 1 }, (const uint8_t[3]){ 0, 0, 0 }, 3);
    refused(1, "position 2");
}

Test(rows, scores_keep_none)
{
    float lp[3];

    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    CHECK_OK(tlp_session_score(lp, r.session, 0, abc, 3));
    refused(0, "position 5");
}

/* A copy continues as its source does, and each without the other. */
Test(rows, copies)
{
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    CHECK_OK(tlp_session_fork(r.session, 2, 0));
    CHECK_OK(tlp_session_fork(r.session, 3, 2));
    begins_after(0, abc, 3);
    begins_after(2, abc, 3);
    begins_after(3, abc, 3);
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_clear(r.session, 2));
    refused(0, "empty");
    begins_after(3, abc, 3);
    CHECK_OK(tlp_session_fork(r.session, 0, 3));
    begins_after(0, abc, 3);
}

/* The row of a sequence that became a copy of another is nobody's. */
Test(rows, overwritten_by_a_copy)
{
    const int32_t ids[4] = { 120, 121, 97, 98 }, seqs[4] = { 0, 0, 1, 1 };
    tlp_sampler *greedy = NULL;
    int32_t token = -1;

    CHECK_OK(tlp_sampler_create(&greedy, r.model, NULL));
    eval(ids, seqs, NULL, 4);
    CHECK_OK(tlp_session_fork(r.session, 0, 1));
    begins_after(0, ids + 2, 2);
    CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&token, r.session, 0, greedy));
    cr_assert_eq(token, -1);
    CHECK_OK(tlp_session_sample(&token, r.session, 1, greedy));
    tlp_sampler_free(greedy);
}

/* ==== rows by number ===================================================== */

Test(rows, places)
{
    const int32_t seqs[3] = { 2, 0, 2 };
    int32_t seq = 5, pos = 5;
    size_t row = 0;

    CHECK_FAILS(TLP_ESTATE, tlp_session_get_place(&seq, &pos, r.session, 0));
    cr_assert(seq == -1 && pos == -1);
    eval(abc, seqs, NULL, 3);
    eval(abc, seqs, (const uint8_t[3]){ 1, 1, 0 }, 3);
    CHECK_OK(tlp_session_get_place(&seq, &pos, r.session, 0));
    cr_assert(seq == 2 && pos == 2, "%d %d", seq, pos);
    CHECK_OK(tlp_session_get_place(&seq, &pos, r.session, 1));
    cr_assert(seq == 0 && pos == 1, "%d %d", seq, pos);
    CHECK_FAILS(TLP_EINVAL, tlp_session_get_place(&seq, &pos, r.session, 2));
    CHECK_OK(tlp_session_find_row(&row, r.session, 0));
    cr_assert_eq(row, 1);
    CHECK_FAILS(TLP_ESTATE, tlp_session_find_row(&row, r.session, 2));
    CHECK_OK(tlp_session_rewind(r.session, 2, 3));
    CHECK_OK(tlp_session_find_row(&row, r.session, 2));
    cr_assert_eq(row, 0);
}

/* A row that is no sequence's can be read, but gives no token. */
Test(rows, stale_rows)
{
    const float *logits = NULL;
    tlp_sampler *greedy = NULL;
    int32_t token = -1;

    CHECK_OK(tlp_sampler_create(&greedy, r.model, NULL));
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&token, r.session, 0, greedy));
    cr_assert_eq(token, -1);
    cr_assert(strstr(tlp_last_error(), "position 2"), "%s", tlp_last_error());
    CHECK_OK(tlp_session_logits(&logits, r.session, 0));
    tlp_sampler_free(greedy);
}

/* Batches that are cut into steps of n_batch tokens. */
Test(rows, across_steps)
{
    tlp_session_options o = rig_f32(1, 1);
    int32_t ids[20], seqs[20], seq = -1, pos = -1;

    o.n_batch = 3;
    o.n_seq = 2;
    rig_close(&r);
    tiny_spec spec = tiny_default();
    r = rig_open(tiny_make(&spec), "serial", &o);
    for (int i = 0; i < 20; i++) {
        ids[i] = 40 + i;
        seqs[i] = i % 3 == 0;
    }
    uint8_t all[20];
    memset(all, 1, sizeof all);
    eval(ids, seqs, all, 20);
    for (int i = 0, at[2] = { 0, 0 }; i < 20; i++) {
        CHECK_OK(tlp_session_get_place(&seq, &pos, r.session, (size_t)i));
        cr_assert(seq == seqs[i] && pos == at[seqs[i]]++, "row %d: %d %d", i,
                  seq, pos);
    }
}

/* ==== penalties ========================================================== */

static int32_t generate_with(tlp_sampler *s, int32_t keep_window, int32_t seq)
{
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result res = { .struct_size = sizeof res };

    o.n_predict = 1;
    o.ignore_end = 1;
    o.keep_window = keep_window;
    o.seq = seq;
    CHECK_OK(tlp_session_generate(&res, r.session, s, &o));
    return res.last_token;
}

/* The likeliest of the last n of four tokens. */
static int32_t best_of_last(const float *logits, const int32_t *ids, int n)
{
    int32_t best = ids[3];

    for (int i = 4 - n; i < 4; i++)
        if (logits[ids[i]] > logits[best])
            best = ids[i];
    return best;
}

/* A negative penalty favours what is in the window: the last tokens of the
 * prompt, in whatever sequence, and nothing before them. */
Test(rows, penalties_count_the_prompt)
{
    const int32_t seqs[4] = { 1, 1, 1, 1 };
    int n_differ = 0;

    for (int window = 3; window <= 4; window++) {
        tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
        tlp_sampler *s = NULL;

        o.presence_penalty = -1000;
        o.penalty_last_n = window;
        CHECK_OK(tlp_sampler_create(&s, r.model, &o));
        for (int i = 0; i < 20; i++) {
            int32_t prompt[4];
            const float *logits = NULL;

            rig_tokens(prompt, 4, N_VOCAB, (uint64_t)i);
            CHECK_OK(tlp_session_clear(r.session, 1));
            eval(prompt, seqs, NULL, 4);
            CHECK_OK(tlp_session_logits(&logits, r.session, 0));
            int32_t want = best_of_last(logits, prompt, window);
            cr_assert_eq(generate_with(s, 0, 1), want, "prompt %d", i);
            n_differ += want != best_of_last(logits, prompt, 7 - window);
        }
        tlp_sampler_free(s);
    }
    cr_assert_gt(n_differ, 2, "the windows do not differ");
}

/* Greedy with a penalty walks through new tokens only, and a new generation in
 * the sequence remembers those of the one before; another sequence does not. */
Test(rows, the_window_is_the_sequence)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_generate_options go = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result res = { .struct_size = sizeof res };
    tlp_sampler *s = NULL, *fresh = NULL;
    bool seen[N_VOCAB] = { false };
    int32_t *history = tlpi_session_history(r.session, 0);

    o.presence_penalty = 1000;
    CHECK_OK(tlp_sampler_create(&s, r.model, &o));
    CHECK_OK(tlp_sampler_create(&fresh, r.model, &o));
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    go.n_predict = 10;
    go.ignore_end = 1;
    CHECK_OK(tlp_session_generate(&res, r.session, s, &go));
    CHECK_OK(tlp_session_decode(r.session, res.last_token));
    CHECK_OK(tlp_session_generate(&res, r.session, fresh, &go));
    CHECK_OK(tlp_session_decode(r.session, res.last_token));
    for (int i = 0; i < tlp_session_pos(r.session, 0); i++) {
        cr_assert(!seen[history[i]], "token %d came twice", history[i]);
        seen[history[i]] = true;
    }
    cr_assert_eq(tlp_session_pos(r.session, 0), 23);
    eval(abc, (const int32_t[3]){ 1, 1, 1 }, NULL, 3);
    int32_t want = history[3];
    cr_assert_eq(generate_with(s, 0, 1), want, "another sequence's tokens");
    tlp_sampler_free(fresh);
    tlp_sampler_free(s);
}

/* keep_window: what the program accepted, and nothing of the prompt. */
Test(rows, the_window_of_the_program)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *s = NULL;
    int32_t plain = token_after(abc, 3), prompt[4];

    memcpy(prompt, abc, sizeof abc);
    o.presence_penalty = 1000;
    CHECK_OK(tlp_sampler_create(&s, r.model, &o));
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    tlp_sampler_accept(s, plain);
    int32_t second = generate_with(s, 1, 0);
    cr_assert_neq(second, plain);
    cr_assert_eq(generate_with(s, 0, 0), plain, "the window is the prompt's");
    tlp_sampler_free(s);
}

/* ==== room =============================================================== */

static uint64_t buffer_bytes(void)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };

    CHECK_OK(tlp_session_get_stats(&stats, r.session));
    return stats.buffer_bytes;
}

Test(rows, room_is_given_back)
{
    tlp_session_options o = rig_f32(2, 1);
    tiny_spec spec = tiny_default();
    int32_t ids[50], text[51], one = 97;
    uint8_t all[50];

    memset(all, 1, sizeof all);
    rig_tokens(ids, 50, N_VOCAB, 4);
    for (size_t reserved = 0; reserved <= 50; reserved += 50) {
        rig_close(&r);
        o.n_row = reserved;
        r = rig_open(tiny_make(&spec), "par:1-2", &o);
        uint64_t before = buffer_bytes();

        for (int i = 0; i < 3; i++) {
            CHECK_OK(tlp_session_clear(r.session, 0));
            eval(ids, NULL, all, 50);
            cr_assert_eq(tlp_session_n_logits(r.session), 50);
            cr_assert(reserved ? buffer_bytes() == before
                               : buffer_bytes() > before + 50000);
            CHECK_OK(tlp_session_prefill(r.session, &one, 1));
            cr_assert_eq(buffer_bytes(), before);
            memcpy(text, ids, sizeof ids);
            text[50] = one;
            begins_after(0, text, 51);
        }
    }
}

/* ==== tokens of a sequence =============================================== */

Test(rows, sequences_tell_their_tokens)
{
    int32_t ids[8] = { 0 };
    size_t n = 7;

    CHECK_OK(tlp_session_get_tokens(NULL, 0, &n, r.session, 0));
    cr_assert_eq(n, 0);
    CHECK_OK(tlp_session_prefill(r.session, abc, 3));
    CHECK_OK(tlp_session_fork(r.session, 1, 0));
    CHECK_OK(tlp_session_rewind(r.session, 1, 2));
    CHECK_FAILS(TLP_EBUFS, tlp_session_get_tokens(ids, 2, &n, r.session, 0));
    cr_assert_eq(n, 3);
    CHECK_OK(tlp_session_get_tokens(ids, 8, &n, r.session, 0));
    cr_assert_eq(n, 3);
    cr_assert_arr_eq(ids, abc, sizeof abc);
    memset(ids, 0, sizeof ids);
    CHECK_OK(tlp_session_get_tokens(ids, 8, &n, r.session, 1));
    cr_assert_eq(n, 2);
    cr_assert(ids[0] == 97 && ids[1] == 98 && ids[2] == 0);
    CHECK_FAILS(TLP_EINVAL,
                tlp_session_get_tokens(ids, 8, &n, r.session, N_SEQ));
    CHECK_FAILS(TLP_EINVAL, tlp_session_get_tokens(NULL, 8, &n, r.session, 0));
}
