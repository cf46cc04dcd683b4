/*
 * test_guess.c - what a vocabulary leaves to guess is named; BOS, EOS and
 * blanks are added as its flags say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "text/vocab.h"
#include "support/check.h"
#include "support/vocab_seen.h"

#define BL "\xe2\x96\x81" /* U+2581, a blank in SentencePiece */

TestSuite(guess, .init = seen_set_up, .fini = seen_tear_down);

/* ==== guesses ============================================================ */

Test(guess, a_missing_pre_tokenizer_is_named)
{
    static const char *const token[] = { "a", "b", "<|im_end|>" };
    const int32_t type[] = { 1, 1, 3 };

    vf_write_general(&seen.file);
    gw_kv_str(&seen.file, "tokenizer.ggml.model", "gpt2");
    gw_kv_strs(&seen.file, "tokenizer.ggml.tokens", token, 3);
    gw_kv_strs(&seen.file, "tokenizer.ggml.merges", token, 0);
    gw_kv_array(&seen.file, TYPES, TLPI_GGUF_I32, 3, type, sizeof type);
    tlp_model_free(seen_open());
    cr_expect_eq(seen.log.n, 1, "%s", seen.log.text);
    seen_expect_warning("key tokenizer.ggml.pre: missing; \"default\" is used");
}

Test(guess, missing_ids_of_sentencepiece_are_named)
{
    vf_write(&seen.file, &(vf_spec){ 0 });
    tlp_model_free(seen_open());
    seen_expect_warning("bos_token_id: missing; 1 \"<s>\" is used");
    seen_expect_warning("eos_token_id: missing; 2 \"</s>\" is used");
}

/* An id that nothing needs counts as missing when it is out of range. */
Test(guess, spare_ids_out_of_range)
{
    static const char *const keys[] = { "tokenizer.ggml.unknown_token_id",
                                        "tokenizer.ggml.padding_token_id" };
    static const int32_t values[] = { 257, -1, INT32_MAX, INT32_MIN };
    const vf_token one = { "<|im_end|>", 3, 0 };
    char want[64];

    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 4; k++) {
            tlp_model_info info = { .struct_size = sizeof info };

            seen_write("smollm", &one, 1);
            gw_kv(&seen.file, keys[i], TLPI_GGUF_I32, &values[k], 4);
            tlp_model *m = seen_open();
            snprintf(want, sizeof want, "%s: %d, less than 257", keys[i],
                     values[k]);
            seen_expect_warning(want);
            CHECK_OK(tlp_model_get_info(&info, m));
            cr_expect_eq(info.pad, -1);
            tlp_model_free(m);
        }
}

Test(guess, lost_bytes_are_named)
{
    static const char *const token[] = { "a", "b", "<|im_end|>" };
    const int32_t type[] = { 1, 1, 3 };

    vf_write_general(&seen.file);
    gw_kv_str(&seen.file, "tokenizer.ggml.model", "gpt2");
    gw_kv_str(&seen.file, "tokenizer.ggml.pre", "smollm");
    gw_kv_strs(&seen.file, "tokenizer.ggml.tokens", token, 3);
    gw_kv_strs(&seen.file, "tokenizer.ggml.merges", token, 0);
    gw_kv_array(&seen.file, TYPES, TLPI_GGUF_I32, 3, type, sizeof type);
    tlp_model *m = seen_open();
    seen_expect_ids(m, "ab", 0, "0 1");
    cr_expect_eq(seen.log.n, 0, "%s", seen.log.text);
    seen_expect_ids(m, "axbyyy", 0, "0 1");
    seen_expect_warning("4 of 6");
    tlp_model_free(m);
}

/* ==== BOS, EOS and blanks ================================================ */

Test(guess, one_bos)
{
    static const vf_token a = { BL "a", 1, -1 };

    seen_write(NULL, &a, 1);
    gw_kv_bool(&seen.file, "tokenizer.ggml.add_bos_token", true);
    tlp_model *m = seen_open();
    const uint32_t both = TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL;

    seen_expect_ids(m, "a", both, "1 259");
    seen_expect_ids(m, "<s>a", both, "1 259");
    seen_expect_ids(m, "<s>", both, "1");
    seen_expect_ids(m, "<s><s>a", both, "1 1 259"); /* the text has two */
    seen_expect_ids(m, "a<s>a", both, "1 259 1 259");
    seen_expect_ids(m, "<s>a", TLP_TOKENIZE_SPECIAL, "1 259");
    tlp_model_free(m);
}

Test(guess, eos_closes_a_text_only_on_demand)
{
    static const vf_token a = { BL "a", 1, -1 };

    for (int on = 0; on < 2; on++) {
        seen_write(NULL, &a, 1);
        gw_kv_bool(&seen.file, "tokenizer.ggml.add_eos_token", on);
        tlp_model *m = seen_open();
        seen_expect_ids(m, "a", TLP_TOKENIZE_BOS, "1 259");
        seen_expect_ids(m, "a", TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS,
                        on ? "1 259 2" : "1 259");
        tlp_model_free(m);
    }
}

/* The blank before a text, and before a text behind a special token. */
Test(guess, blanks_as_the_flags_say)
{
    static const vf_token tokens[] = {
        { BL "a", 1, -1 }, { "a", 1, -1 }, { "<|x|>", 3, 0 }, { "[T]", 4, 0 }
    };
    static const struct {
        int prefix, legacy; /* -1: no key */
        const char *want[3];
    } cases[] = {
        { -1, -1, { "259", "261 259", "259 262 259" } },
        { 1, 1, { "259", "261 259", "259 262 259" } },
        { 1, 0, { "259", "261 260", "259 262 260" } },
        { -1, 0, { "259", "261 260", "259 262 260" } },
        { 0, -1, { "260", "261 260", "260 262 260" } },
        { 0, 0, { "260", "261 260", "260 262 260" } },
    };
    static const char *const texts[] = { "a", "<|x|>a", "a[T]a" };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        seen_write(NULL, tokens, 4);
        if (cases[i].prefix >= 0)
            gw_kv_bool(&seen.file, "tokenizer.ggml.add_space_prefix",
                       cases[i].prefix);
        if (cases[i].legacy >= 0)
            gw_kv_bool(&seen.file, "tokenizer.ggml.legacy", cases[i].legacy);
        tlp_model *m = seen_open();
        for (size_t k = 0; k < 3; k++)
            seen_expect_ids(m, texts[k], TLP_TOKENIZE_SPECIAL,
                            cases[i].want[k]);
        tlp_model_free(m);
    }
}

Test(guess, a_blank_before_byte_level_bpe_gives_a_warning)
{
    const vf_token one = { "<|im_end|>", 3, 0 };

    for (int on = 0; on < 2; on++) {
        seen_write("smollm", &one, 1);
        gw_kv_bool(&seen.file, "tokenizer.ggml.add_space_prefix", on);
        tlp_model_free(seen_open());
        cr_expect_eq(seen.log.n, on, "%s", seen.log.text);
    }
}
