/*
 * test_stream.c - token streams: whole characters, stop strings.
 *
 * The vocabulary's first 256 ids are the bytes, so any bytes can be pushed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/vocab_file.h"

#define FFFD "\xef\xbf\xbd"

static const vf_token tokens[] = {
    { "he", 1, 0 }, { "ll", 1, 0 },         { "hell", 1, 0 },
    { "op", 1, 0 }, { "top", 1, 0 },        { "\xc4\xa0s", 1, 0 },
    { "EN", 1, 0 }, { "<|im_end|>", 3, 0 }, { "[TOOL]", 4, 0 },
};
static const char *const merges[] = { "h e",  "l l",        "he ll", "o p",
                                      "t op", "\xc4\xa0 s", "E N" };
enum {
    HELL = 258,
    TOP = 260,
    BLANK_S = 261,
    EN = 262,
    IM_END = 263,
    TOOL = 264
};

static tlp_model *model;

static void set_up(void)
{
    const vf_spec spec = { .pre = "gpt-2",
                           .token = tokens,
                           .n_token = sizeof tokens / sizeof tokens[0],
                           .merge = merges,
                           .n_merge = sizeof merges / sizeof merges[0] };

    model = vf_make(&spec);
}

static void tear_down(void)
{
    tlp_model_free(model);
}

TestSuite(stream, .init = set_up, .fini = tear_down);

static tlp_stream *create(const char *const *stop, size_t n, uint32_t flags)
{
    tlp_stream *s = NULL;

    CHECK_OK(tlp_stream_create(&s, model, stop, n, flags));
    return s;
}

static void expect_push(tlp_stream *s, int32_t token, const char *want,
                        int want_stop)
{
    const char *text = NULL;
    size_t len = 99;
    int stopped = -1;

    CHECK_OK(tlp_stream_push(&text, &len, &stopped, s, token));
    cr_assert_str_eq(text, want, "token %d: \"%s\", not \"%s\"", token, text,
                     want);
    cr_assert_eq(len, strlen(want));
    cr_assert_eq(stopped, want_stop, "token %d", token);
}

static void expect_flush(tlp_stream *s, const char *want)
{
    const char *text = NULL;
    size_t len = 99;

    CHECK_OK(tlp_stream_flush(&text, &len, s));
    cr_assert_str_eq(text, want, "flush: \"%s\", not \"%s\"", text, want);
    cr_assert_eq(len, strlen(want));
}

Test(stream, text_passes_at_once)
{
    tlp_stream *s = create(NULL, 0, 0);

    expect_push(s, HELL, "hell", 0);
    expect_push(s, 'o', "o", 0);
    expect_push(s, BLANK_S, " s", 0);
    expect_flush(s, "");
    tlp_stream_free(s);
}

Test(stream, characters_wait_until_whole)
{
    tlp_stream *s = create(NULL, 0, 0);

    expect_push(s, 0xf0, "", 0); /* U+1F600 */
    expect_push(s, 0x9f, "", 0);
    expect_push(s, 0x98, "", 0);
    expect_push(s, 0x80, "\xf0\x9f\x98\x80", 0);
    expect_push(s, 0xc3, "", 0);
    expect_push(s, 0xa9, "\xc3\xa9", 0);
    tlp_stream_free(s);
}

Test(stream, invalid_bytes_become_fffd)
{
    tlp_stream *s = create(NULL, 0, 0);

    expect_push(s, 0xff, FFFD, 0);
    expect_push(s, 0x80, FFFD, 0);
    expect_push(s, 0xe2, "", 0);
    expect_push(s, 0x82, "", 0);
    expect_push(s, 'A', FFFD "A", 0); /* one for the two bytes before it */
    expect_push(s, 0xe0, "", 0);
    expect_push(s, 0x80, FFFD FFFD, 0); /* E0 80 would be overlong */
    expect_push(s, 0xed, "", 0);
    expect_push(s, 0xa0, FFFD FFFD, 0); /* a surrogate */
    expect_push(s, 0xc3, "", 0);
    expect_push(s, 0xe2, FFFD, 0); /* cut by the start of another */
    expect_flush(s, FFFD);
    expect_flush(s, "");
    tlp_stream_free(s);
}

Test(stream, control_tokens_show_only_on_demand)
{
    tlp_stream *s = create(NULL, 0, 0);
    tlp_stream *shown = create(NULL, 0, TLP_DETOKENIZE_SPECIAL);

    expect_push(s, IM_END, "", 0);
    expect_push(s, TOOL, "[TOOL]", 0);
    expect_push(shown, IM_END, "<|im_end|>", 0);
    tlp_stream_free(s);
    tlp_stream_free(shown);
}

Test(stream, stop_string_across_tokens)
{
    const char *const stop[] = { "stop" };
    tlp_stream *s = create(stop, 1, 0);

    expect_push(s, HELL, "hell", 0);
    expect_push(s, BLANK_S, " ", 0);
    expect_push(s, TOP, "", 1);
    expect_push(s, HELL, "", 1);
    expect_flush(s, "");
    tlp_stream_free(s);
}

Test(stream, held_text_comes_when_it_is_no_stop)
{
    const char *const stop[] = { "stop!" };
    tlp_stream *s = create(stop, 1, 0);

    expect_push(s, BLANK_S, " ", 0);
    expect_push(s, TOP, "", 0);
    expect_push(s, 's', "stop", 0); /* the new s may begin one again */
    expect_push(s, 't', "", 0);
    expect_flush(s, "st");
    expect_push(s, 'o', "o", 0);
    tlp_stream_free(s);
}

Test(stream, stop_inside_a_token_and_text_before_it)
{
    const char *const stop[] = { "l" };
    tlp_stream *s = create(stop, 1, 0);

    expect_push(s, HELL, "he", 1);
    tlp_stream_free(s);
}

Test(stream, first_stop_to_end_wins_and_longest_of_those)
{
    const char *const stop[] = { "abcd", "bc", "xbc" };
    tlp_stream *s = create(stop, 3, 0);

    expect_push(s, 'x', "", 0);
    expect_push(s, 'a', "x", 0);
    expect_push(s, 'b', "", 0);
    expect_push(s, 'c', "a", 1); /* "bc" ends before "abcd" can */
    tlp_stream_free(s);

    s = create(stop, 3, 0);
    expect_push(s, 'x', "", 0);
    expect_push(s, 'b', "", 0);
    expect_push(s, 'c', "", 1); /* "xbc", not "bc" */
    tlp_stream_free(s);
}

Test(stream, stop_that_repeats_itself)
{
    const char *const stop[] = { "aab" };
    tlp_stream *s = create(stop, 1, 0);

    expect_push(s, 'a', "", 0);
    expect_push(s, 'a', "", 0);
    expect_push(s, 'a', "a", 0);
    expect_push(s, 'a', "a", 0);
    expect_push(s, 'b', "", 1);
    tlp_stream_free(s);
}

/* A control token gives no text, and stops at its own. */
Test(stream, stop_that_is_a_control_token)
{
    const char *const stop[] = { "top", "<|im_end|>" };
    tlp_stream *s = create(stop, 2, 0);

    expect_push(s, 't', "", 0); /* may begin "top" */
    expect_push(s, IM_END, "t", 1);
    expect_push(s, 'a', "", 1);
    expect_flush(s, "");
    tlp_stream_free(s);
    s = create(stop, 1, 0); /* not a stop string here */
    expect_push(s, IM_END, "", 0);
    expect_push(s, TOP, "", 1);
    tlp_stream_free(s);
    s = create(stop, 2, 0);
    expect_push(s, 0xc3, "", 0); /* a character that stays incomplete */
    expect_push(s, IM_END, FFFD, 1);
    tlp_stream_free(s);
    s = create(stop, 2, TLP_DETOKENIZE_SPECIAL);
    expect_push(s, 'a', "a", 0);
    expect_push(s, IM_END, "", 1);
    tlp_stream_free(s);
}

Test(stream, misuse_is_refused)
{
    tlp_stream *s = NULL;
    const char *empty[] = { "a", "" }, *bad[] = { "\xff" };
    const char *text;
    size_t len;
    int stopped;

    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(NULL, model, NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&s, NULL, NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&s, model, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&s, model, empty, 2, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&s, model, bad, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&s, model, NULL, 0, 8));
    cr_assert_null(s);
    s = create(NULL, 0, 0);
    CHECK_FAILS(TLP_EINVAL, tlp_stream_push(&text, &len, &stopped, s, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_push(&text, &len, &stopped, s, 265));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_push(NULL, &len, &stopped, s, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_flush(&text, &len, NULL));
    tlp_stream_free(s);
    tlp_stream_free(NULL);
}

/* ==== against the definition ============================================= */

typedef struct stream_outcome {
    size_t len; /* of the text that may be shown */
    bool stopped;
} stream_outcome;

static bool ends_in(const char *text, size_t n, const char *what, size_t k)
{
    return k <= n && memcmp(text + n - k, what, k) == 0;
}

/* The same by looking at all prefixes of the text. */
static stream_outcome define(const char *text, size_t n,
                             const char *const *stop, size_t n_stop)
{
    size_t hold = 0;

    for (size_t end = 1; end <= n; end++) {
        size_t met = 0;
        for (size_t i = 0; i < n_stop; i++)
            if (strlen(stop[i]) > met &&
                ends_in(text, end, stop[i], strlen(stop[i])))
                met = strlen(stop[i]);
        if (met > 0)
            return (stream_outcome){ end - met, true };
    }
    for (size_t i = 0; i < n_stop; i++)
        for (size_t k = 1; k < strlen(stop[i]); k++)
            if (k > hold && ends_in(text, n, stop[i], k))
                hold = k;
    return (stream_outcome){ n - hold, false };
}

/* Letters of a small alphabet, in tokens of one byte and longer ones. */
Test(stream, random_texts_follow_the_definition)
{
    static const struct {
        int32_t id;
        const char *text;
    } token[] = { { 'h', "h" },  { 'e', "e" },    { 'l', "l" },  { 256, "he" },
                  { 257, "ll" }, { 258, "hell" }, { 's', "s" },  { 't', "t" },
                  { 'o', "o" },  { 259, "op" },   { 260, "top" } };
    const char *const stops[][3] = { { "hellhe", "lhel", "lll" },
                                     { "topto", "stops", "oo" },
                                     { "eeee", "lelel", "helle" } };
    srand(7);
    for (int round = 0; round < 3000; round++) {
        const char *const *stop = stops[round % 3];
        size_t n_stop = (size_t)(rand() % 4), n = 0, n_shown = 0;
        char text[256] = "", shown[256] = "";
        tlp_stream *s = create(stop, n_stop, 0);
        for (int k = 0; k < 30; k++) {
            size_t pick = (size_t)rand() % 11;
            const char *got;
            size_t len;
            int stopped;
            n += strlen(strcpy(text + n, token[pick].text));
            CHECK_OK(tlp_stream_push(&got, &len, &stopped, s, token[pick].id));
            memcpy(shown + n_shown, got, len);
            n_shown += len;
            stream_outcome want = define(text, n, stop, n_stop);
            cr_assert_eq(stopped, want.stopped, "%s", text);
            cr_assert_eq(n_shown, want.len, "%s: %zu shown, not %zu", text,
                         n_shown, want.len);
            cr_assert(memcmp(shown, text, n_shown) == 0, "%s", text);
            if (stopped)
                break;
        }
        tlp_stream_free(s);
    }
}
