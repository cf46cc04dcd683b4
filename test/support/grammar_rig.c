/*
 * grammar_rig.c - small vocabularies, and matchers on them.
 */
#include "grammar_rig.h"

#include <string.h>

#include "vocab_file.h"

#define BLANK "\xe2\x96\x81"

static const vf_token bpe_tokens[] = {
    { "<|im_start|>", 3, 0 },
    { "<|im_end|>", 3, 0 },
    { "<think>", 4, 0 },
    { "</done>", 4, 0 },
    /* words, the first letters of others, and ends of JSON */
    { "ab", 1, 0 },
    { "abc", 1, 0 },
    { "abcabc", 1, 0 },
    { "aa", 1, 0 },
    { "aaaa", 1, 0 },
    { "12", 1, 0 },
    { "123", 1, 0 },
    { "\":", 1, 0 },
    { "\",", 1, 0 },
    { "\"}", 1, 0 },
    { "}}", 1, 0 },
    { "]}", 1, 0 },
    { "],", 1, 0 },
    { "{\"", 1, 0 },
    { "[\"", 1, 0 },
    { "a\",\"", 1, 0 },
    { "\\u", 1, 0 },
    { "true", 1, 0 },
    { "null,", 1, 0 },
    { "((", 1, 0 },
    { "))", 1, 0 },
    /* U+00E9 (c3 a9): its first byte alone is a token; "a" + that byte, its
     * second byte + "b" */
    { "a\xc3\x83", 1, 0 },
    { "\xc2\xa9"
      "b",
      1, 0 },
    { "\xc3\x83\xc2\xa9\xc3\x83", 1, 0 },
};

static const vf_token spm_tokens[] = {
    { BLANK, 1, -1 },
    { "a", 1, -2 },
    { "ab", 1, -3 },
    { BLANK "a", 1, -4 },
    { BLANK "ab", 1, -5 },
    { "\"", 1, -6 },
    { "\":" BLANK, 1, -7 },
    { "\xc3\xa9", 1, -8 },
    { "\xc3\xa9"
      "a",
      1, -9 },
};

tlp_model *rig_bpe(void)
{
    const vf_spec spec = { .pre = "smollm",
                           .token = bpe_tokens,
                           .n_token = sizeof bpe_tokens / sizeof *bpe_tokens,
                           .bos = RIG_START,
                           .eos = RIG_END };

    return vf_make(&spec);
}

tlp_model *rig_spm(void)
{
    const vf_spec spec = { .token = spm_tokens,
                           .n_token = sizeof spm_tokens / sizeof *spm_tokens };

    return vf_make(&spec);
}

tlp_model *rig_endless(void)
{
    const vf_spec spec = { .pre = "smollm" };

    return vf_make(&spec);
}

tlp_grammar *rig_grammar(tlp_model *model, const char *gbnf)
{
    tlp_grammar *g = NULL;

    CHECK_OK(tlp_grammar_parse(&g, model, gbnf, strlen(gbnf)));
    return g;
}

tlp_grammar *rig_schema(tlp_model *model, const char *json)
{
    tlp_grammar *g = NULL;

    CHECK_OK(tlp_grammar_from_schema(&g, model, json, strlen(json)));
    return g;
}

rig_verdict rig_match(tlp_grammar *g, const char *text, size_t n)
{
    static const rig_verdict verdicts[] = { RIG_PART, RIG_MAY, RIG_ALL };
    tlp_matcher *m = NULL;
    tlp_status st = TLP_OK;

    CHECK_OK(tlp_matcher_create(&m, g));
    for (size_t i = 0; i < n && st == TLP_OK; i++)
        st = tlp_matcher_accept(m, (unsigned char)text[i]);
    cr_assert(st == TLP_OK || st == TLP_EINVAL, "%s", tlp_last_error());
    rig_verdict v = st == TLP_OK ? verdicts[tlp_matcher_place(m)] : RIG_NO;
    tlp_matcher_free(m);
    return v;
}

void rig_check_mask(tlp_grammar *g, const tlp_model *model, tlp_matcher *m)
{
    tlp_model_info info = { .struct_size = sizeof info };
    uint32_t bits[64];
    size_t n = 0, len = 0;
    char text[1024];
    tlp_matcher *copy = NULL;

    CHECK_OK(tlp_model_get_info(&info, model));
    CHECK_OK(tlp_matcher_get_mask(bits, 64, &n, m));
    cr_assert_eq(n, ((size_t)info.n_vocab + 31) / 32);
    CHECK_OK(tlp_matcher_create(&copy, g));
    CHECK_OK(tlp_grammar_get_text(text, sizeof text, &len, g));
    for (int32_t id = 0; id < info.n_vocab; id++) {
        CHECK_OK(tlp_matcher_copy(copy, m));
        tlp_status st = tlp_matcher_accept(copy, id);
        cr_assert(st == TLP_OK || st == TLP_EINVAL, "%s", tlp_last_error());
        cr_assert_eq(bits[id / 32] >> (id % 32) & 1, st == TLP_OK,
                     "token %d: accepted %d, grammar %.40s", id, st == TLP_OK,
                     text);
    }
    for (int32_t id = info.n_vocab; id < (int32_t)(32 * n); id++)
        cr_assert_eq(bits[id / 32] >> (id % 32) & 1, 0);
    tlp_matcher_free(copy);
}

int rig_count(tlp_matcher *m)
{
    uint32_t bits[64];
    size_t n = 0;
    int count = 0;

    CHECK_OK(tlp_matcher_get_mask(bits, 64, &n, m));
    for (size_t i = 0; i < n; i++)
        count += __builtin_popcount(bits[i]);
    return count;
}
