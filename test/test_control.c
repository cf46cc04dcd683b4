/*
 * test_control.c - control tokens, ends of generations and byte tokens of files
 * whose types are missing or contradict the texts: the right tokens, and a
 * warning.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "text/vocab.h"
#include "support/check.h"
#include "support/vocab_seen.h"

#define BL "\xe2\x96\x81" /* U+2581, a blank in SentencePiece */

TestSuite(control, .init = seen_set_up, .fini = seen_tear_down);

/* ==== ends =============================================================== */

static const char *const end_texts[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<EOT>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<|end_of_turn|>",
    "</s>",
    "<eos>",
    "[EOS]",
    "[EOT]",
    "<|endofturn|>",
    "[|endofturn|]",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_sentence|>",
};
#define N_END (sizeof end_texts / sizeof end_texts[0])

/* An end of any type is one token, gives no text and ends a generation. */
Test(control, ends_of_every_type_by_text)
{
    static const int32_t types[] = { 3, 1, 2, 4, 5, 6 };
    char token[64];

    for (size_t i = 0; i < N_END; i++)
        for (size_t k = 0; k < 6; k++) {
            const vf_token one = { end_texts[i], types[k], 0 };

            seen_write("smollm", &one, 1);
            tlp_model *m = seen_open();
            snprintf(token, sizeof token, "\"%s\"", end_texts[i]);
            cr_expect_eq(tlp_token_is_end(m, 256), 1, "%s", token);
            cr_expect_eq(tlp_token_is_end(m, 255), 0);
            seen_expect_ids(m, end_texts[i], TLP_TOKENIZE_SPECIAL, "256");
            seen_expect_text(m, 256, "");
            cr_expect_eq(seen.log.n, types[k] != 3, "%s", seen.log.text);
            if (types[k] != 3) {
                seen_expect_warning(TYPES "[256]");
                seen_expect_warning(token);
            }
            tlp_model_free(m);
        }
}

/* Content that spells an end never becomes the end. */
Test(control, a_user_defined_end_is_not_in_text)
{
    const vf_token one = { "<|im_end|>", 4, 0 };

    seen_write("smollm", &one, 1);
    tlp_model *m = seen_open();
    seen_expect_ids(m, "<|", 0, "60 124");
    seen_expect_ids(m, "<|im_end|>", 0, "60 124 105 109 95 101 110 100 124 62");
    tlp_model_free(m);
}

Test(control, ends_of_sentencepiece)
{
    const vf_token tokens[] = { { "a", 1, -1 }, { "<|im_end|>", 1, -2 } };

    seen_write(NULL, tokens, 2);
    tlp_model *m = seen_open();
    cr_expect_eq(tlp_token_is_end(m, 260), 1);
    cr_expect_eq(tlp_token_is_end(m, 2), 1);
    seen_expect_ids(m, "<|im_end|>", TLP_TOKENIZE_SPECIAL, "260");
    seen_expect_warning(TYPES "[260]: 1");
    tlp_model_free(m);
}

/* In a vocabulary of tags </s> is one of them. */
Test(control, a_tag_is_no_end)
{
    const vf_token tokens[] = { { "</s>", 1, 0 },
                                { "</b>", 1, 0 },
                                { "<eos>", 3, 0 } };

    seen_write("smollm", tokens, 3);
    tlp_model *m = seen_open();
    cr_expect_eq(tlp_token_is_end(m, 256), 0);
    cr_expect_eq(tlp_token_is_end(m, 258), 1);
    seen_expect_text(m, 256, "</s>");
    cr_expect_eq(seen.log.n, 0, "%s", seen.log.text);
    tlp_model_free(m);
}

/* Where merges make the text, it is text; it ends a generation all the same. */
Test(control, a_token_that_merges_make_stays_text)
{
    static const vf_token tokens[] = {
        { "<|", 1, 0 },  { "en", 1, 0 },    { "d|", 1, 0 },
        { "d|>", 1, 0 }, { "end|>", 1, 0 }, { "<|end|>", 1, 0 },
    };
    static const char *const merges[] = { "< |",  "e n",    "d |",
                                          "d| >", "en d|>", "<| end|>" };

    vf_write(&seen.file, &(vf_spec){ .pre = "smollm",
                                     .token = tokens,
                                     .n_token = 6,
                                     .merge = merges,
                                     .n_merge = 6 });
    tlp_model *m = seen_open();
    seen_expect_text(m, 261, "<|end|>");
    cr_expect_eq(tlp_token_is_end(m, 261), 1);
    seen_expect_warning(TYPES "[261]: 1");
    tlp_model_free(m);
}

Test(control, ends_by_id)
{
    static const struct {
        const char *key;
        bool is_array;
    } keys[] = {
        { "tokenizer.ggml.eos_token_id", false },
        { "tokenizer.ggml.eot_token_id", false },
        { "tokenizer.ggml.eom_token_id", false },
        { "tokenizer.ggml.eos_token_ids", true },
    };
    const vf_token one = { "<stop>", 3, 0 };
    const int32_t list[] = { 256, 255 }, far[] = { 255, 257 };
    tlp_model *m = NULL;

    for (size_t i = 0; i < 4; i++) {
        seen_write("smollm", &one, 1);
        if (keys[i].is_array)
            gw_kv_array(&seen.file, keys[i].key, TLPI_GGUF_I32, 2, list, 8);
        else
            gw_kv_u32(&seen.file, keys[i].key, 256);
        m = seen_open();
        cr_expect_eq(tlp_token_is_end(m, 256), 1, "%s", keys[i].key);
        cr_expect_eq(tlp_token_is_end(m, 255), keys[i].is_array);
        tlp_model_free(m);
    }
    seen_write("smollm", &one, 1);
    gw_kv_array(&seen.file, keys[3].key, TLPI_GGUF_I32, 2, far, 8);
    CHECK_FAILS(TLP_EFORMAT, seen_try(&m));
    cr_expect(strstr(tlp_last_error(), "eos_token_ids[1]: 257"), "%s",
              tlp_last_error());

    const float halves[] = { 1.5f, 2.5f };

    seen_write("smollm", &one, 1);
    gw_kv_array(&seen.file, keys[3].key, TLPI_GGUF_F32, 2, halves, 8);
    CHECK_FAILS(TLP_EFORMAT, seen_try(&m));
    cr_expect(strstr(tlp_last_error(), "array of integers"), "%s",
              tlp_last_error());
}

Test(control, contradictions_give_a_warning)
{
    static const vf_token tokens[] = { { "<|im_start|>", 3, 0 },
                                       { "<|im_end|>", 3, 0 },
                                       { "<begin>", 1, 0 } };

    seen_write("smollm", tokens, 3); /* EOS opens a turn */
    gw_kv_u32(&seen.file, "tokenizer.ggml.eos_token_id", 256);
    tlp_model_free(seen_open());
    seen_expect_warning("eos_token_id: 256, which is \"<|im_start|>\"");

    seen_write("smollm", tokens, 3); /* EOS is a letter */
    gw_kv_u32(&seen.file, "tokenizer.ggml.eos_token_id", 97);
    tlp_model_free(seen_open());
    seen_expect_warning("eos_token_id: 97, which is \"a\" of type 1");

    seen_write("smollm", tokens, 1); /* no end at all */
    tlp_model_free(seen_open());
    seen_expect_warning("eos_token_id: missing; no token ends a generation");

    seen_write("smollm", tokens, 3); /* BOS is text */
    gw_kv_u32(&seen.file, "tokenizer.ggml.bos_token_id", 258);
    tlp_model *m = seen_open();
    seen_expect_warning(TYPES "[258]: 1, but \"<begin>\"");
    seen_expect_ids(m, "<begin>", TLP_TOKENIZE_SPECIAL, "258");
    tlp_model_free(m);
}

/* In this format <|end|> closes a part of an answer. */
Test(control, harmony)
{
    static const vf_token tokens[] = { { "<|end|>", 3, 0 },
                                       { "<|return|>", 3, 0 },
                                       { "<|call|>", 3, 0 } };

    seen_write("smollm", tokens, 3);
    tlp_model *m = seen_open();
    for (int32_t id = 256; id < 259; id++)
        cr_expect_eq(tlp_token_is_end(m, id), id > 256);
    tlp_model_free(m);
}

/* ==== types ============================================================== */

Test(control, openings_of_type_normal_are_control_tokens)
{
    static const vf_token tokens[] = {
        { "<|im_start|>", 1, 0 },
        { "<|im_end|>", 3, 0 },
        { "<start_of_turn>", 1, 0 },
        { "<\xef\xbd\x9cUser\xef\xbd\x9c>", 1, 0 },
        { "<think>", 4, 0 },
        { "<|tool|>", 4, 0 },
        { "<|>", 1, 0 },
    };

    seen_write("smollm", tokens, 7);
    tlp_model *m = seen_open();
    for (int32_t i = 0; i < 4; i++) {
        char want[8];

        snprintf(want, sizeof want, "%d", 256 + i);
        seen_expect_ids(m, tokens[i].text, TLP_TOKENIZE_SPECIAL, want);
        seen_expect_text(m, 256 + i, "");
    }
    seen_expect_ids(m, "<think>", 0,
                    "260"); /* user-defined: always one token */
    seen_expect_ids(m, "<|tool|>", 0, "261");
    seen_expect_text(m, 262, "<|>");
    cr_expect_eq(seen.log.n, 1);
    seen_expect_warning("\"<|im_start|>\" looks like a control token");
    seen_expect_warning("such tokens: 3");
    tlp_model_free(m);
}

/* Tokens without types: bytes, then these. */
static void write_untyped(const char *model, const char *const *token, size_t n)
{
    static const char *const merge[] = { "x y" };
    static const float score[300];

    vf_write_general(&seen.file);
    gw_kv_str(&seen.file, "tokenizer.ggml.model", model);
    gw_kv_str(&seen.file, "tokenizer.ggml.pre", "smollm");
    gw_kv_strs(&seen.file, "tokenizer.ggml.tokens", token, n);
    gw_kv_strs(&seen.file, "tokenizer.ggml.merges", merge, 0);
    gw_kv_array(&seen.file, "tokenizer.ggml.scores", TLPI_GGUF_F32, n, score,
                4 * n);
}

Test(control, missing_types_are_guessed_from_texts)
{
    static const char *const bpe[] = { "a",          "b",   "<|im_start|>",
                                       "<|im_end|>", "<s>", "<mine>" };

    write_untyped("gpt2", bpe, 6);
    gw_kv_u32(&seen.file, "tokenizer.ggml.eos_token_id", 5);
    tlp_model *m = seen_open();
    seen_expect_warning(TYPES ": missing");
    seen_expect_warning("4 tokens, the first is 2 \"<|im_start|>\"");
    seen_expect_ids(m, "<|im_start|>a<|im_end|><s><mine>", TLP_TOKENIZE_SPECIAL,
                    "2 0 3 4 5");
    cr_expect_eq(tlp_token_is_end(m, 3), 1);
    cr_expect_eq(tlp_token_is_end(m, 5), 1);
    tlp_model_free(m);

    write_untyped("gpt2", bpe, 2);
    tlp_model_free(seen_open());
    seen_expect_warning(TYPES ": missing; no token looks like");
}

Test(control, missing_types_of_sentencepiece)
{
    static const char *const spm[] = { "<unk>",  "<s>",    "</s>", "<0x41>",
                                       "<0xC3>", "<0xA9>", BL,     "b" };

    write_untyped("llama", spm, 8);
    tlp_model *m = seen_open();
    seen_expect_warning(TYPES ": missing");
    seen_expect_warning("3 tokens, the first is 0 \"<unk>\"");
    seen_expect_ids(m, "b\xc3\xa9", 0, "6 7 4 5");
    seen_expect_ids(m, "<s>b</s>", TLP_TOKENIZE_SPECIAL, "1 6 7 2");
    seen_expect_text(m, 3, "A");
    cr_expect_eq(tlp_token_is_end(m, 2), 1);
    tlp_model_free(m);
}

Test(control, byte_tokens_by_their_text)
{
    static const int32_t types[] = { 1, 2, 3, 4, 5 };
    static const char *const tokens[] = { "<unk>",  "<s>", "</s>", "<0xC3>",
                                          "<0xa9>", BL,    "b" };
    static const float score[7];

    for (size_t i = 0; i < 5; i++) {
        const int32_t type[] = { 2, 3, 3, types[i], types[i], 1, 1 };

        vf_write_general(&seen.file);
        gw_kv_str(&seen.file, "tokenizer.ggml.model", "llama");
        gw_kv_strs(&seen.file, "tokenizer.ggml.tokens", tokens, 7);
        gw_kv_array(&seen.file, TYPES, TLPI_GGUF_I32, 7, type, sizeof type);
        gw_kv_array(&seen.file, "tokenizer.ggml.scores", TLPI_GGUF_F32, 7,
                    score, sizeof score);
        tlp_model *m = seen_open();
        seen_expect_ids(m, "b\xc3\xa9", 0, "5 6 3 4");
        seen_expect_ids(m, "<0xC3>", TLP_TOKENIZE_SPECIAL, "5 0 0 0 0 0 0");
        seen_expect_warning(TYPES "[3]: ");
        seen_expect_warning("\"<0xC3>\" is the text of a byte");
        tlp_model_free(m);
    }
}

/* ==== the real model ===================================================== */

Test(control, a_published_file_gives_no_warning)
{
    const char *path = getenv("TLP_TEST_MODEL");
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    if (!path)
        cr_skip_test("TLP_TEST_MODEL does not name SmolLM2-135M-Instruct\n");
    seen.log = (log_lines){ 0 };
    o.log = log_lines_add;
    o.log_data = &seen.log;
    CHECK_OK(tlp_model_open(&m, path, &o));
    cr_expect_eq(seen.log.n, 0, "%s", seen.log.text);
    tlp_model_free(m);
}
