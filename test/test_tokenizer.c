/*
 * test_tokenizer.c - text to ids and back.
 *
 * Expected values follow from the definitions: the published patterns of each
 * pre-tokenizer, merges by rank, scores with the leftmost first.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "text/vocab.h"
#include "support/check.h"
#include "support/vocab_file.h"

#define SP "\xc4\xa0"     /* U+0120, a blank in byte-level BPE */
#define BL "\xe2\x96\x81" /* U+2581, a blank in SentencePiece */

/* Text to at most 64 ids, written as "1 2 3". */
static const char *ids_of(const tlp_model *model, const char *text, size_t n,
                          uint32_t flags)
{
    static char buf[1024];
    int32_t ids[64];
    size_t count = 0, len = 0;

    CHECK_OK(tlp_tokenize(ids, 64, &count, model, text, n, flags));
    buf[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(buf + len, sizeof buf - len, i ? " %d" : "%d",
                                ids[i]);
    return buf;
}

static void expect_ids(const tlp_model *model, const char *text, uint32_t flags,
                       const char *want)
{
    const char *got = ids_of(model, text, strlen(text), flags);

    cr_assert_str_eq(got, want, "\"%s\": %s, not %s", text, got, want);
}

static void expect_text(const tlp_model *model, const int32_t *ids, size_t n,
                        uint32_t flags, const char *want)
{
    char buf[256];
    size_t len = 0;

    CHECK_OK(tlp_detokenize(buf, sizeof buf, &len, model, ids, n, flags));
    cr_assert_str_eq(buf, want, "\"%s\", not \"%s\"", buf, want);
    cr_assert_eq(len, strlen(want));
}

/* ==== byte-level BPE ===================================================== */

enum {
    LO = 256,
    HE,
    LL,
    HELLO_ID = 261,
    W,
    AA,
    AAAA,
    BLANKS,
    BCD,
    CD = 267,
    END,
    TOOL,
    TOOLS
};

static const vf_token bpe_tokens[] = {
    { "lo", 1, 0 },      { "he", 1, 0 },    { "ll", 1, 0 },   { "hel", 1, 0 },
    { "llo", 1, 0 },     { "hello", 1, 0 }, { SP "w", 1, 0 }, { "aa", 1, 0 },
    { "aaaa", 1, 0 },    { SP SP, 1, 0 },   { "bcd", 1, 0 },  { "cd", 1, 0 },
    { "<|end|>", 3, 0 }, { "[T]", 4, 0 },   { "[T]+", 4, 0 },
};
static const char *const bpe_merges[] = {
    "l o",   "h e", "l l",   "he l",    "l lo", "hel lo",
    SP " w", "a a", "aa aa", SP " " SP, "c d",  "b cd",
};

static tlp_model *make_bpe(const char *pre)
{
    const vf_spec spec = { .pre = pre,
                           .token = bpe_tokens,
                           .n_token = sizeof bpe_tokens / sizeof bpe_tokens[0],
                           .merge = bpe_merges,
                           .n_merge = sizeof bpe_merges / sizeof bpe_merges[0],
                           .bos = END,
                           .eos = END };

    return vf_make(&spec);
}

Test(bpe, lowest_rank_first_then_leftmost)
{
    tlp_model *m = make_bpe("gpt-2");

    /* lo, he, then hel + lo: "l lo" is never met */
    expect_ids(m, "hello", 0, "261");
    expect_ids(m, "llo", 0, "260"); /* l + lo, not ll + o */
    expect_ids(m, "lll", 0, "258 108");
    expect_ids(m, "aaa", 0, "263 97");
    expect_ids(m, "aaaaaaa", 0, "264 263 97");
    expect_ids(m, "bcd", 0, "266");
    expect_ids(m, "", 0, "");
    tlp_model_free(m);
}

Test(bpe, merges_stay_inside_words)
{
    tlp_model *m = make_bpe("gpt-2");

    expect_ids(m, "hello world", 0, "261 262 111 114 108 100");
    expect_ids(m, "   w", 0, "265 262");
    expect_ids(m, "he'llo", 0, "257 39 258 111"); /* 'll is a word */
    tlp_model_free(m);
}

Test(bpe, every_byte_comes_back)
{
    tlp_model *m = make_bpe("smollm");
    char text[256], back[257];
    int32_t ids[256];
    size_t n = 0, len = 0;

    for (int i = 0; i < 256; i++)
        text[i] = (char)(255 - i);
    CHECK_OK(tlp_tokenize(ids, 256, &n, m, text, 256, 0));
    CHECK_OK(tlp_detokenize(back, sizeof back, &len, m, ids, n, 0));
    cr_assert_eq(len, 256);
    cr_assert(memcmp(text, back, 256) == 0);
    tlp_model_free(m);
}

/* Long words go another way than short ones: both must agree. */
Test(bpe, long_words_merge_like_short_ones)
{
    tlp_model *m = make_bpe("gpt-2");
    char text[200];

    memset(text, 'a', 131);
    memcpy(text + 131, "hellollo", 9);
    int32_t ids[64];
    size_t n = 0;
    CHECK_OK(tlp_tokenize(ids, 64, &n, m, text, strlen(text), 0));
    cr_assert_eq(n, 32 + 2 + 2); /* 32 aaaa, aa a, hello, llo */
    for (int i = 0; i < 32; i++)
        cr_assert_eq(ids[i], AAAA);
    cr_assert_eq(ids[32], AA);
    cr_assert_eq(ids[33], 'a');
    cr_assert_eq(ids[34], HELLO_ID);
    cr_assert_eq(ids[35], 260);
    tlp_model_free(m);
}

/* The definition, slowly: the best pair of all, until there is none. */
static size_t merge_slowly(const char *text, size_t n, int32_t *id)
{
    static const struct {
        int32_t left, right, joined;
    } rule[] = { { 'l', 'o', LO },     { 'h', 'e', HE }, { 'l', 'l', LL },
                 { HE, 'l', 259 },     { 'l', LO, 260 }, { 259, LO, 261 },
                 { ' ', 'w', W },      { 'a', 'a', AA }, { AA, AA, AAAA },
                 { ' ', ' ', BLANKS }, { 'c', 'd', CD }, { 'b', CD, BCD } };

    for (size_t i = 0; i < n; i++)
        id[i] = (uint8_t)text[i];
    for (size_t r = 0; r < sizeof rule / sizeof rule[0]; r++)
        for (size_t i = 0; i + 1 < n; i++) {
            if (id[i] != rule[r].left || id[i + 1] != rule[r].right)
                continue;
            id[i] = rule[r].joined;
            memmove(id + i + 1, id + i + 2, (n - i - 2) * sizeof *id);
            n--;
            r = (size_t)-1; /* from the best rule on again */
            break;
        }
    return n;
}

Test(bpe, random_words_follow_the_definition)
{
    tlp_model *m = make_bpe("gpt-2");

    srand(11);
    for (int round = 0; round < 4000; round++) {
        char text[121];
        int32_t want[121], got[121];
        size_t n = 1 + (size_t)rand() % 120, n_got = 0;
        for (size_t i = 0; i < n; i++)
            text[i] = "helloabcdl"[rand() % 10];
        CHECK_OK(tlp_tokenize(got, 121, &n_got, m, text, n, 0));
        size_t n_want = merge_slowly(text, n, want);
        cr_assert(n_got == n_want &&
                      memcmp(got, want, n_got * sizeof *got) == 0,
                  "%.*s", (int)n, text);
    }
    tlp_model_free(m);
}

Test(bpe, whole_words_before_merges_with_llama3)
{
    /* no merge leads to "xyz" */
    const vf_token token[] = { { "xyz", 1, 0 }, { "<|x|>", 3, 0 } };
    const char *const merge[] = { "x y" };
    const vf_token with_xy[] = { token[0], token[1], { "xy", 1, 0 } };
    vf_spec spec = { .pre = "llama-bpe",
                     .token = with_xy,
                     .n_token = 3,
                     .merge = merge,
                     .n_merge = 1 };
    tlp_model *m = vf_make(&spec);

    expect_ids(m, "xyz xyz", 0, "256 32 258 122");
    expect_ids(m, "<|x|>", 0, "60 124 120 124 62");
    tlp_model_free(m);
    spec.pre = "qwen2";
    m = vf_make(&spec);
    expect_ids(m, "xyz", 0, "258 122");
    tlp_model_free(m);
}

/* ==== special tokens ===================================================== */

Test(special, control_on_demand_user_defined_always)
{
    tlp_model *m = make_bpe("gpt-2");

    expect_ids(m, "a<|end|>b", TLP_TOKENIZE_SPECIAL, "97 268 98");
    expect_ids(m, "<|end|>", 0, "60 124 101 110 100 124 62");
    expect_ids(m, "a[T]b", 0, "97 269 98");
    expect_ids(m, "[T]+[T]", 0, "270 269"); /* the longest that begins here */
    expect_ids(m, "[T][", 0, "269 91");
    expect_ids(m, "<|end|<|end|>", TLP_TOKENIZE_SPECIAL,
               "60 124 101 110 100 124 268");
    tlp_model_free(m);
}

Test(special, bos_as_the_file_says)
{
    gw_file w;
    const vf_spec spec = { .pre = "gpt-2", .bos = 'B', .eos = 'E' };

    gw_init(&w);
    vf_write(&w, &spec);
    tlp_model *m = vf_open(&w);
    expect_ids(m, "x", TLP_TOKENIZE_BOS, "120"); /* BPE: not by default */
    tlp_model_free(m);
    gw_kv_bool(&w, "tokenizer.ggml.add_bos_token", true);
    gw_kv_bool(&w, "tokenizer.ggml.add_eos_token", true);
    m = vf_open(&w);
    expect_ids(m, "x", TLP_TOKENIZE_BOS, "66 120");
    expect_ids(m, "x", TLP_TOKENIZE_EOS, "120 69");
    expect_ids(m, "", TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS, "66 69");
    expect_ids(m, "x", 0, "120");
    tlp_model_free(m);
    gw_free(&w);
}

Test(special, ends_of_generation)
{
    const vf_token token[] = { { "<|endoftext|>", 3, 0 },
                               { "<|im_end|>", 3, 0 },
                               { "<|eot_id|>", 1, 0 }, /* wrongly */
                               { "</s>", 3, 0 } };
    const vf_spec spec = {
        .pre = "gpt-2", .token = token, .n_token = 4, .eos = 259
    };
    tlp_model *m = vf_make(&spec);
    const tlpi_special *s = tlpi_vocab_special(m->vocab);

    cr_assert_eq(s->eos, 259);
    cr_assert_eq(s->eot, 257);
    cr_assert_eq(s->bos, -1);
    for (int32_t id = -1; id < 262; id++)
        cr_assert_eq(tlp_token_is_end(m, id), id >= 256 && id <= 259, "%d", id);
    tlp_model_free(m);
}

/* ==== SentencePiece ====================================================== */

static const vf_token spm_tokens[] = {
    { BL, 1, -10 },    { "h", 1, -11 },    { "e", 1, -11 }, { "l", 1, -11 },
    { "o", 1, -11 },   { BL "h", 1, -3 },  { "el", 1, -1 }, { "lo", 1, -2 },
    { "ell", 1, -4 },  { BL BL, 1, -9 },   { "oo", 1, -2 }, { "[T]", 4, 0 },
    { "<|x|>", 3, 0 }, { "o" BL, 1, -20 }, { "<s", 1, -1 },
};
enum {
    S_BL = 259,
    S_H,
    S_E,
    S_L,
    S_O,
    S_BLH,
    S_EL,
    S_LO,
    S_ELL,
    S_BLBL,
    S_OO,
    S_T,
    S_X,
    S_OBL
};

static tlp_model *make_spm(void)
{
    const vf_spec spec = { .token = spm_tokens,
                           .n_token =
                               sizeof spm_tokens / sizeof spm_tokens[0] };

    return vf_make(&spec);
}

Test(spm, highest_score_first_then_leftmost)
{
    tlp_model *m = make_spm();

    expect_ids(m, "hello", 0, "264 265 266"); /* _h el lo */
    expect_ids(m, "ell", 0, "259 267");
    expect_ids(m, "ooo", 0, "259 269 263");
    expect_ids(m, "loo", 0, "259 266 263"); /* lo and oo score the same */
    expect_ids(m, "h h", 0, "264 264");
    expect_ids(m, "o h", 0, "259 263 264"); /* _h before o_ */
    expect_ids(m, "o e", 0, "259 272 261");
    expect_ids(m, "  o", 0, "268 259 263"); /* with the blank before the text */
    tlp_model_free(m);
}

Test(spm, unknown_characters_become_bytes)
{
    tlp_model *m = make_spm();

    expect_ids(m, "\xc3\xa9", 0, "259 198 172");
    expect_ids(m,
               "\xff"
               "o",
               0, "259 258 263");
    /* byte, control and unknown tokens are not spelt in a text */
    expect_ids(m, "<0x41>", 0, "259 63 51 123 55 52 65");
    expect_ids(m, "<s>", 0, "259 273 65");
    tlp_model_free(m);
}

Test(spm, special_tokens_and_blanks_before_text)
{
    tlp_model *m = make_spm();

    expect_ids(m, "o[T]o", 0, "259 263 270 259 263");
    expect_ids(m, "<|x|>h", TLP_TOKENIZE_SPECIAL, "271 264");
    expect_ids(m, "h", TLP_TOKENIZE_BOS, "1 264");
    expect_ids(m, "", TLP_TOKENIZE_BOS, "1");
    tlp_model_free(m);
}

Test(spm, text_comes_back_without_the_added_blank)
{
    tlp_model *m = make_spm();
    const int32_t ids[] = { 1, S_BLH, S_EL, S_LO, S_BL, S_BLH, 2 };

    expect_text(m, ids, 7, 0, "hello  h");
    expect_text(m, ids, 7, TLP_DETOKENIZE_SPECIAL, "<s>hello  h</s>");
    expect_text(m, ids + 4, 2, 0, " h");
    expect_text(m, ids + 2, 2, 0, "ello");
    const int32_t bytes[] = { 198, 172 };
    expect_text(m, bytes, 2, 0, "\xc3\xa9");
    tlp_model_free(m);
}

Test(spm, no_added_blank_if_the_file_says_so)
{
    gw_file w;
    const vf_spec spec = { .token = spm_tokens, .n_token = 12 };

    gw_init(&w);
    vf_write(&w, &spec);
    gw_kv_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    tlp_model *m = vf_open(&w);
    expect_ids(m, "h", 0, "260");
    const int32_t ids[] = { S_BLH };
    expect_text(m, ids, 1, 0, " h");
    tlp_model_free(m);
    gw_free(&w);
}

/* ==== the public calls =================================================== */

Test(tokens, buffers_and_misuse)
{
    tlp_model *m = make_bpe("gpt-2");
    int32_t ids[8], past = 271;
    char buf[8];
    size_t n = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_tokenize(ids, 2, &n, m, "xyz", 3, 0));
    cr_assert_eq(n, 3);
    CHECK_FAILS(TLP_EBUFS, tlp_tokenize(NULL, 0, &n, m, "xyz", 3, 0));
    cr_assert_eq(n, 3);
    CHECK_OK(tlp_tokenize(NULL, 0, &n, m, NULL, 0, 0));
    cr_assert_eq(n, 0);
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(ids, 8, &n, m, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(ids, 8, &n, NULL, "x", 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(ids, 8, &n, m, "x", 1, 8));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(ids, 8, NULL, m, "x", 1, 0));

    ids[0] = HELLO_ID;
    CHECK_FAILS(TLP_EBUFS, tlp_detokenize(buf, 5, &n, m, ids, 1, 0));
    cr_assert_eq(n, 5);
    CHECK_OK(tlp_detokenize(buf, 6, &n, m, ids, 1, 0));
    cr_assert_str_eq(buf, "hello");
    CHECK_OK(tlp_detokenize(buf, 1, &n, m, NULL, 0, 0));
    cr_assert_str_eq(buf, "");
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, m, &past, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, m, ids, 1, 2));
    cr_assert_eq(tlp_token_is_end(NULL, 0), 0);
    tlp_model_free(m);
}

/* ==== large and hostile texts ============================================ */

typedef struct tokenize_job {
    const tlp_model *model;
    const char *unit; /* repeated */
    size_t n_bytes, count;
    tlp_status status;
} tokenize_job;

static void *run_job(void *arg)
{
    tokenize_job *j = arg;
    size_t unit = strlen(j->unit), n = j->n_bytes / unit * unit;
    char *text = malloc(n);

    for (size_t i = 0; i < n; i++)
        text[i] = j->unit[i % unit];
    j->status = tlp_tokenize(NULL, 0, &j->count, j->model, text, n,
                             TLP_TOKENIZE_SPECIAL);
    free(text);
    return NULL;
}

/* On a small stack; a quadratic step would take hours. */
static size_t count_ids(const tlp_model *model, const char *unit)
{
    tokenize_job j = { model, unit, 10000000 / CHECK_SLOWDOWN, 0, TLP_OK };
    pthread_attr_t attr;
    pthread_t thread;

    cr_assert_eq(pthread_attr_init(&attr), 0);
    cr_assert_eq(pthread_attr_setstacksize(
                     &attr, CHECK_SLOWDOWN > 1 ? 1 << 20 : 128 << 10),
                 0);
    cr_assert_eq(pthread_create(&thread, &attr, run_job, &j), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
    cr_assert_eq(j.status, TLP_EBUFS);
    return j.count;
}

Test(large, bpe_is_not_quadratic, .timeout = 120)
{
    tlp_model *m = make_bpe("llama3");
    size_t n = 10000000 / CHECK_SLOWDOWN;

    cr_assert_eq(count_ids(m, "a"), (n + 3) / 4);
    cr_assert_eq(count_ids(m, " "), n / 2);
    cr_assert_eq(count_ids(m, "\n"), n);
    cr_assert_eq(count_ids(m, "\n "), n);
    cr_assert_eq(count_ids(m, "1"), n);
    cr_assert_eq(count_ids(m, "\xf0\x9f\x98\x80"), n / 4 * 4);
    cr_assert_eq(count_ids(m, "\xff"), n);
    cr_assert_eq(count_ids(m, "<|end|"), n / 6 * 6);
    cr_assert_eq(count_ids(m, "hell"), n / 4 * 2);
    tlp_model_free(m);
}

Test(large, spm_is_not_quadratic, .timeout = 120)
{
    tlp_model *m = make_spm();
    size_t n = 10000000 / CHECK_SLOWDOWN;

    cr_assert_eq(count_ids(m, "o"), n / 2 + 1);
    cr_assert_eq(count_ids(m, " "), n / 2 + 1);
    cr_assert_eq(count_ids(m, "\xff"), n + 1);
    tlp_model_free(m);
}

/* ==== the real model ===================================================== */

Test(real, smollm2)
{
    static const char text[] = "Hello world, it's 2024!\n\n  caf\xc3\xa9 "
                               "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e";
    const char *path = getenv("TLP_TEST_MODEL");
    tlp_model *m = NULL;
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    char buf[128];
    int32_t ids[64];
    size_t n = 0, len = 0;

    if (!path)
        cr_skip_test("TLP_TEST_MODEL does not name SmolLM2-135M-Instruct\n");
    opts.vocab_only = 1;
    CHECK_OK(tlp_model_open(&m, path, &opts));
    expect_ids(m, text, 0,
               "19556 905 28 357 506 216 34 32 34 36 "
               "17 8866 37366 17097 241 115 40993 179 120 248");
    expect_ids(m, "<|im_start|>user\nHi<|im_end|>\n", TLP_TOKENIZE_SPECIAL,
               "1 4093 198 26843 2 198");
    CHECK_OK(tlp_tokenize(ids, 64, &n, m, text, sizeof text - 1, 0));
    CHECK_OK(tlp_detokenize(buf, sizeof buf, &len, m, ids, n, 0));
    cr_assert_str_eq(buf, text);
    cr_assert_eq(tlp_token_is_end(m, 2), 1);
    cr_assert_eq(tlp_token_is_end(m, 0), 1);
    cr_assert_eq(tlp_token_is_end(m, 1), 0);
    tlp_model_free(m);
}
