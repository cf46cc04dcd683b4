/*
 * test_pretok.c - texts cut into words.
 *
 * Expected words follow from the published pattern of each pre-tokenizer.
 */
#include <string.h>

#include "text/vocab_impl.h"
#include "support/check.h"

static tlp_status add_word(void *arg, const char *s, size_t n)
{
    char *out = arg;

    if (*out)
        strcat(out, "|");
    strncat(out, s, n);
    return TLP_OK;
}

static void expect_words(const char *pre, const char *text, const char *want)
{
    char got[512] = "";
    tlpi_env env;
    tlpi_pretok *p = NULL;
    tlpi_pretok_rules rules;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pretok_create(&p, &env, "file",
                                (tlpi_str){ pre, strlen(pre) }, &rules));
    CHECK_OK(tlpi_pretok_split(p, text, strlen(text), add_word, got));
    cr_assert_str_eq(got, want, "%s: %s, not %s", pre, got, want);
    tlpi_pretok_free(p);
}

Test(pretok, words_numbers_and_contractions)
{
    expect_words("gpt-2", "I've 12 dogs", "I|'ve| 12| dogs");
    expect_words("smollm", "I've 12 dogs", "I|'ve| |1|2| dogs");
    expect_words("refact", "I've 12 dogs", "I|'ve| |1|2| dogs");
    expect_words("llama-bpe", "I've 1234 dogs", "I|'ve| |123|4| dogs");
    expect_words("dbrx", "I'VE 1234 dogs", "I|'VE| |123|4| dogs");
    expect_words("olmo", "I've 1234 dogs", "I|'ve| 1234| dogs");
    expect_words("qwen2", "I've 12 dogs", "I|'ve| |1|2| dogs");
    expect_words("default", "b 1234.", "b| |123|4|.");
    expect_words("gpt-2", "I'VE it's", "I|'|VE| it|'s");
    expect_words("llama3", "I'VE it'S", "I|'VE| it|'S");
    expect_words("default", "I've", "I|'|ve");
}

Test(pretok, blanks)
{
    expect_words("gpt-2", "a   b\n\n c", "a|  | b|\n\n| c");
    expect_words("gpt-2", "x \n \n  y", "x| \n \n | y");
    expect_words("llama3", "x \n \n  y", "x| \n \n| | y");
    expect_words("gpt-2", "a  ", "a|  ");
    expect_words("gpt-2", "a  1", "a| | 1");
    expect_words("smollm", "a  1", "a|  |1");
    expect_words("llama3", "a  1", "a| | |1");
    expect_words("llama3", "\n\n  ", "\n\n|  ");
    /* no-break and ideographic blanks are blanks, U+180E is none */
    expect_words("gpt-2", "a\xc2\xa0\xe3\x80\x80 b",
                 "a|\xc2\xa0\xe3\x80\x80| b");
    expect_words("gpt-2", "x \xe1\xa0\x8ey", "x| \xe1\xa0\x8e|y");
}

Test(pretok, punctuation)
{
    expect_words("gpt-2", "end.\n\nNew", "end|.|\n|\n|New");
    expect_words("llama3", "end.\n\nNew", "end|.\n\n|New");
    expect_words("llama3", "a !?\r\nb-c", "a| !?\r\n|b|-c");
    expect_words("gpt-2", "b-c (d)", "b|-|c| (|d|)");
    expect_words("default", "a-b <c>", "a|-|b| |<|c|>");
}

Test(pretok, scripts)
{
    expect_words("gpt-2", "日本語 и 12", "日本語| и| 12");
    expect_words("smollm", "x\xc2\xb2\xe2\x85\xa7", "x|\xc2\xb2|\xe2\x85\xa7");
    expect_words("gpt-2", "e\xcc\x81t", "e|\xcc\x81|t"); /* a mark: no letter */
    expect_words("llama3", "e\xcc\x81t", "e|\xcc\x81t");
    expect_words("gpt-2", "\xf0\x9f\x98\x80\xf0\x9f\x98\x80!",
                 "\xf0\x9f\x98\x80\xf0\x9f\x98\x80!");
}

/* Letters without case and marks end a run of capitals and begin a small
 * one. */
Test(pretok, capitals)
{
    expect_words("tekken", "helloWorld HTTPServer iPhone",
                 "hello|World| HTTPServer| i|Phone");
    expect_words("tekken", "ABC ABcdEF x", "ABC| ABcd|EF| x");
    expect_words("tekken", "it's IT'S 123", "it|'s| IT|'S| |1|2|3");
    expect_words("gpt-4o", "it's IT'S 1234", "it's| IT'S| |123|4");
    expect_words("gpt-4o", "aB's'll A'sb", "a|B's|'ll| A's|b");
    expect_words("gpt-4o", "文ABc日bC", "文ABc日b|C");
    expect_words("tekken",
                 "ΑΒγΔ Éa aÉ \xc7\x85\xc7\x85 \xca\xb0"
                 "A",
                 "ΑΒγ|Δ| Éa| a|É| \xc7\x85\xc7\x85| \xca\xb0|A");
    expect_words("tekken", "ÉÉe ́x ́", "ÉÉe| ́x| ́");
    expect_words("tekken", "a/b//\n/c !/\r\n", "a|/b|//\n/|c| !/\r\n");
    expect_words("gpt-4o", "x \n \n  y", "x| \n \n| | y");
    expect_words("llama3", "helloWorld a//\n/", "helloWorld| a|//\n|/");
}

Test(pretok, steps_of_deepseek_coder)
{
    expect_words("deepseek-coder", "a  b\n\nC 12 (x)",
                 "a| | b|\n|\n|C| |1|2| (|x|)");
    expect_words("deepseek-coder", "日本語abc 文 +=! $x",
                 "日本語|abc| |文| +=|!| $|x");
    expect_words("deepseek-coder", "é ꀨ नमस्ते", "e|́| ꀨ| |नमस|्|त|े");
}

Test(pretok, names_of_equal_steps)
{
    static const char *const pairs[][2] = {
        { "glm4", "dbrx" },      { "chatglm-bpe", "dbrx" },
        { "smaug-bpe", "dbrx" }, { "falcon3", "llama-bpe" },
        { "pixtral", "llama3" }, { "midm-2.0", "llama3" },
        { "exaone4", "gpt-2" },  { "exaone", "smollm" },
        { "trillion", "gpt-2" }, { "mellum", "gpt-2" },
        { "a.x-4.0", "gpt-2" },  { "minerva-7b", "smollm" },
        { "megrez", "qwen2" },
    };
    static const char text[] = "It's IT'S 1234  a\n\n !b.\n";

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char want[512] = "";
        tlpi_env env;
        tlpi_pretok *p = NULL;
        tlpi_pretok_rules a, b;

        CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
        CHECK_OK(tlpi_pretok_create(
            &p, &env, "file", (tlpi_str){ pairs[i][0], strlen(pairs[i][0]) },
            &a));
        tlpi_pretok_free(p);
        CHECK_OK(tlpi_pretok_create(
            &p, &env, "file", (tlpi_str){ pairs[i][1], strlen(pairs[i][1]) },
            &b));
        CHECK_OK(tlpi_pretok_split(p, text, strlen(text), add_word, want));
        tlpi_pretok_free(p);
        expect_words(pairs[i][0], text, want);
        cr_assert(a.add_bos == b.add_bos && a.ignore_merges == b.ignore_merges,
                  "%s, %s", pairs[i][0], pairs[i][1]);
    }
}

Test(pretok, bytes_that_are_not_utf8_stand_alone)
{
    expect_words("gpt-2",
                 "a\xff"
                 "b \xe4\xb8",
                 "a|\xff|b| |\xe4|\xb8");
    expect_words("gpt-2", "\xed\xa0\x80", "\xed|\xa0|\x80");
    expect_words("llama3", "  \xc3", "  |\xc3");
}

Test(pretok, unknown_is_named)
{
    tlpi_env env;
    tlpi_pretok *p = NULL;
    tlpi_pretok_rules rules;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_FAILS(TLP_ENOTSUP,
                tlpi_pretok_create(&p, &env, "f.gguf", (tlpi_str){ "teken", 5 },
                                   &rules));
    cr_assert(strstr(tlp_last_error(), "f.gguf") &&
                  strstr(tlp_last_error(), "\"teken\""),
              "%s", tlp_last_error());
}

/* ==== long texts ========================================================= */

#define LONG_TEXT 100000

static tlp_status add_length(void *arg, const char *s, size_t n)
{
    (void)s;
    *(size_t *)arg += n;
    return TLP_OK;
}

static void expect_cut(const char *pre, const char *text, size_t n)
{
    tlpi_env env;
    tlpi_pretok *p = NULL;
    tlpi_pretok_rules rules;
    size_t total = 0;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_pretok_create(&p, &env, "file",
                                (tlpi_str){ pre, strlen(pre) }, &rules));
    CHECK_OK(tlpi_pretok_split(p, text, n, add_length, &total));
    cr_assert_eq(total, n, "%s: %zu bytes of %zu", pre, total, n);
    tlpi_pretok_free(p);
}

/* PCRE2's limits fail a split: no pattern may meet them, on any text. */
Test(pretok, long_runs_meet_no_limit, .timeout = 300)
{
    static const char *const sets[] = { "gpt-2",   "smollm",        "llama-bpe",
                                        "qwen2",   "tekken",        "gpt-4o",
                                        "default", "deepseek-coder" };
    static const char *const units[] = {
        " ",         "\n",       "\r\n",
        " \n",       "\t\n \r",  "a",
        "A",         "AB文",     "文",
        "aB's",      "//\n",     "1",
        "!",         "'",        "'s",
        " a",        " 1",       " !",
        "!\n",       "\xc2\xa0", "\xe3\x80\x80\n",
        "e\xcc\x81", "\xcc\x81", "\xf0\x9f\x98\x80",
        "$1,",       "'\n ",     "1a!",
        "\xff"
    };
    /* what a run of blanks ends with decides where its match goes back to */
    static const char *const ends[] = { "", "x", "1", "\n", " !" };
    static char text[LONG_TEXT + 64];

    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            size_t n = 0, len = strlen(units[u]);

            for (; n + len <= LONG_TEXT; n += len)
                memcpy(text + n, units[u], len);
            memcpy(text + n, ends[e], strlen(ends[e]));
            n += strlen(ends[e]);
            for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
                expect_cut(sets[i], text, n);
        }
    }
}
