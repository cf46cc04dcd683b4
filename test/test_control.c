/*
 * test_control.c - special tokens of files whose types, ids or flags are
 * missing or contradict the texts: the right tokens, and a warning.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "text/vocab.h"
#include "support/check.h"
#include "support/gguf_writer.h"
#include "support/log_lines.h"
#include "support/tiny.h"
#include "support/vocab_file.h"

#define BL "\xe2\x96\x81" /* U+2581, a blank in SentencePiece */
#define TYPES "tokenizer.ggml.token_type"

static log_lines seen; /* warnings of the last file */
static gw_file file;

static void set_up(void)
{
    gw_init(&file);
}

static void tear_down(void)
{
    gw_free(&file);
}

TestSuite(control, .init = set_up, .fini = tear_down);

/* Open `file`, which starts anew. */
static tlp_status open_file(tlp_model **m)
{
    const char *path = tiny_path("control.gguf");
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    seen = (log_lines){ 0 };
    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = &seen;
    cr_assert(gw_save(&file, path));
    gw_free(&file);
    gw_init(&file);
    return tlp_model_open(m, path, &o);
}

static tlp_model *must_open(void)
{
    tlp_model *m = NULL;

    CHECK_OK(open_file(&m));
    return m;
}

static void expect_warning(const char *part)
{
    cr_expect(strstr(seen.text, part), "\"%s\" expected: %s", part, seen.text);
}

static void expect_ids(const tlp_model *m, const char *text, uint32_t flags,
                       const char *want)
{
    int32_t ids[64];
    size_t n = 0, len = 0;
    char got[512] = "";

    CHECK_OK(tlp_tokenize(ids, 64, &n, m, text, strlen(text), flags));
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(got + len, sizeof got - len, i ? " %d" : "%d",
                                ids[i]);
    cr_expect_str_eq(got, want, "\"%s\": %s, not %s", text, got, want);
}

static void expect_text(const tlp_model *m, int32_t id, const char *want)
{
    char buf[64];
    size_t n = 0;

    CHECK_OK(tlp_detokenize(buf, sizeof buf, &n, m, &id, 1, 0));
    cr_expect_str_eq(buf, want, "%d: \"%s\", not \"%s\"", id, buf, want);
}

/* A vocabulary with these tokens behind the bytes: BPE with `pre`, else
 * SentencePiece, with the ids of <s> and </s>. */
static void write_tokens(const char *pre, const vf_token *token, size_t n)
{
    static const char *const merge[] = { "x y" };

    vf_write(&file, &(vf_spec){ .pre = pre,
                                .token = token,
                                .n_token = n,
                                .merge = merge,
                                .n_merge = 0 });
    if (pre)
        return;
    gw_kv_u32(&file, "tokenizer.ggml.bos_token_id", 1);
    gw_kv_u32(&file, "tokenizer.ggml.eos_token_id", 2);
}

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
};
#define N_END (sizeof end_texts / sizeof end_texts[0])

/* An end of any type is one token, gives no text and ends a generation. */
Test(control, ends_of_every_type_by_text)
{
    static const int32_t types[] = { 3, 1, 4, 5 };
    char token[64];

    for (size_t i = 0; i < N_END; i++)
        for (size_t k = 0; k < 4; k++) {
            const vf_token one = { end_texts[i], types[k], 0 };

            write_tokens("smollm", &one, 1);
            tlp_model *m = must_open();
            snprintf(token, sizeof token, "\"%s\"", end_texts[i]);
            cr_expect_eq(tlp_token_is_end(m, 256), 1, "%s", token);
            cr_expect_eq(tlp_token_is_end(m, 255), 0);
            expect_ids(m, end_texts[i], TLP_TOKENIZE_SPECIAL, "256");
            expect_text(m, 256, "");
            cr_expect_eq(seen.n, types[k] != 3, "%s", seen.text);
            if (types[k] != 3) {
                expect_warning(TYPES "[256]");
                expect_warning(token);
            }
            tlp_model_free(m);
        }
}

/* Content that spells an end never becomes the end. */
Test(control, a_user_defined_end_is_not_in_text)
{
    const vf_token one = { "<|im_end|>", 4, 0 };

    write_tokens("smollm", &one, 1);
    tlp_model *m = must_open();
    expect_ids(m, "<|", 0, "60 124");
    expect_ids(m, "<|im_end|>", 0, "60 124 105 109 95 101 110 100 124 62");
    tlp_model_free(m);
}

Test(control, ends_of_sentencepiece)
{
    const vf_token tokens[] = { { "a", 1, -1 }, { "<|im_end|>", 1, -2 } };

    write_tokens(NULL, tokens, 2);
    tlp_model *m = must_open();
    cr_expect_eq(tlp_token_is_end(m, 260), 1);
    cr_expect_eq(tlp_token_is_end(m, 2), 1);
    expect_ids(m, "<|im_end|>", TLP_TOKENIZE_SPECIAL, "260");
    expect_warning(TYPES "[260]: 1");
    tlp_model_free(m);
}

/* In a vocabulary of tags </s> is one of them. */
Test(control, a_tag_is_no_end)
{
    const vf_token tokens[] = { { "</s>", 1, 0 },
                                { "</b>", 1, 0 },
                                { "<eos>", 3, 0 } };

    write_tokens("smollm", tokens, 3);
    tlp_model *m = must_open();
    cr_expect_eq(tlp_token_is_end(m, 256), 0);
    cr_expect_eq(tlp_token_is_end(m, 258), 1);
    expect_text(m, 256, "</s>");
    cr_expect_eq(seen.n, 0, "%s", seen.text);
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

    vf_write(&file, &(vf_spec){ .pre = "smollm",
                                .token = tokens,
                                .n_token = 6,
                                .merge = merges,
                                .n_merge = 6 });
    tlp_model *m = must_open();
    expect_text(m, 261, "<|end|>");
    cr_expect_eq(tlp_token_is_end(m, 261), 1);
    expect_warning(TYPES "[261]: 1");
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
        write_tokens("smollm", &one, 1);
        if (keys[i].is_array)
            gw_kv_array(&file, keys[i].key, TLPI_GGUF_I32, 2, list, 8);
        else
            gw_kv_u32(&file, keys[i].key, 256);
        m = must_open();
        cr_expect_eq(tlp_token_is_end(m, 256), 1, "%s", keys[i].key);
        cr_expect_eq(tlp_token_is_end(m, 255), keys[i].is_array);
        tlp_model_free(m);
    }
    write_tokens("smollm", &one, 1);
    gw_kv_array(&file, keys[3].key, TLPI_GGUF_I32, 2, far, 8);
    CHECK_FAILS(TLP_EFORMAT, open_file(&m));
    cr_expect(strstr(tlp_last_error(), "eos_token_ids[1]: 257"), "%s",
              tlp_last_error());
}

Test(control, contradictions_give_a_warning)
{
    static const vf_token tokens[] = { { "<|im_start|>", 3, 0 },
                                       { "<|im_end|>", 3, 0 },
                                       { "<begin>", 1, 0 } };

    write_tokens("smollm", tokens, 3); /* EOS opens a turn */
    gw_kv_u32(&file, "tokenizer.ggml.eos_token_id", 256);
    tlp_model_free(must_open());
    expect_warning("eos_token_id: 256, which is \"<|im_start|>\"");

    write_tokens("smollm", tokens, 3); /* EOS is a letter */
    gw_kv_u32(&file, "tokenizer.ggml.eos_token_id", 97);
    tlp_model_free(must_open());
    expect_warning("eos_token_id: 97, which is \"a\" of type 1");

    write_tokens("smollm", tokens, 1); /* no end at all */
    tlp_model_free(must_open());
    expect_warning("eos_token_id: missing; no token ends a generation");

    write_tokens("smollm", tokens, 3); /* BOS is text */
    gw_kv_u32(&file, "tokenizer.ggml.bos_token_id", 258);
    tlp_model *m = must_open();
    expect_warning(TYPES "[258]: 1, but \"<begin>\"");
    expect_ids(m, "<begin>", TLP_TOKENIZE_SPECIAL, "258");
    tlp_model_free(m);
}

/* In this format <|end|> closes a part of an answer. */
Test(control, harmony)
{
    static const vf_token tokens[] = { { "<|end|>", 3, 0 },
                                       { "<|return|>", 3, 0 },
                                       { "<|call|>", 3, 0 } };

    write_tokens("smollm", tokens, 3);
    tlp_model *m = must_open();
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

    write_tokens("smollm", tokens, 7);
    tlp_model *m = must_open();
    for (int32_t i = 0; i < 4; i++) {
        char want[8];

        snprintf(want, sizeof want, "%d", 256 + i);
        expect_ids(m, tokens[i].text, TLP_TOKENIZE_SPECIAL, want);
        expect_text(m, 256 + i, "");
    }
    expect_ids(m, "<think>", 0, "260"); /* user-defined: always one token */
    expect_ids(m, "<|tool|>", 0, "261");
    expect_text(m, 262, "<|>");
    cr_expect_eq(seen.n, 1);
    expect_warning("\"<|im_start|>\" looks like a control token");
    expect_warning("3 tokens");
    tlp_model_free(m);
}

/* Tokens without types: bytes, then these. */
static void write_untyped(const char *model, const char *const *token, size_t n)
{
    static const char *const merge[] = { "x y" };
    static const float score[300];

    vf_write_general(&file);
    gw_kv_str(&file, "tokenizer.ggml.model", model);
    gw_kv_str(&file, "tokenizer.ggml.pre", "smollm");
    gw_kv_strs(&file, "tokenizer.ggml.tokens", token, n);
    gw_kv_strs(&file, "tokenizer.ggml.merges", merge, 0);
    gw_kv_array(&file, "tokenizer.ggml.scores", TLPI_GGUF_F32, n, score, 4 * n);
}

Test(control, missing_types_are_guessed_from_texts)
{
    static const char *const bpe[] = { "a",          "b",   "<|im_start|>",
                                       "<|im_end|>", "<s>", "<mine>" };

    write_untyped("gpt2", bpe, 6);
    gw_kv_u32(&file, "tokenizer.ggml.eos_token_id", 5);
    tlp_model *m = must_open();
    expect_warning(TYPES ": missing");
    expect_warning("4 tokens, the first is 2 \"<|im_start|>\"");
    expect_ids(m, "<|im_start|>a<|im_end|><s><mine>", TLP_TOKENIZE_SPECIAL,
               "2 0 3 4 5");
    cr_expect_eq(tlp_token_is_end(m, 3), 1);
    cr_expect_eq(tlp_token_is_end(m, 5), 1);
    tlp_model_free(m);

    write_untyped("gpt2", bpe, 2);
    tlp_model_free(must_open());
    expect_warning(TYPES ": missing; no token looks like");
}

Test(control, missing_types_of_sentencepiece)
{
    static const char *const spm[] = { "<unk>",  "<s>",    "</s>", "<0x41>",
                                       "<0xC3>", "<0xA9>", BL,     "b" };

    write_untyped("llama", spm, 8);
    tlp_model *m = must_open();
    expect_warning(TYPES ": missing");
    expect_warning("3 tokens, the first is 0 \"<unk>\"");
    expect_ids(m, "b\xc3\xa9", 0, "6 7 4 5");
    expect_ids(m, "<s>b</s>", TLP_TOKENIZE_SPECIAL, "1 6 7 2");
    expect_text(m, 3, "A");
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

        vf_write_general(&file);
        gw_kv_str(&file, "tokenizer.ggml.model", "llama");
        gw_kv_strs(&file, "tokenizer.ggml.tokens", tokens, 7);
        gw_kv_array(&file, TYPES, TLPI_GGUF_I32, 7, type, sizeof type);
        gw_kv_array(&file, "tokenizer.ggml.scores", TLPI_GGUF_F32, 7, score,
                    sizeof score);
        tlp_model *m = must_open();
        expect_ids(m, "b\xc3\xa9", 0, "5 6 3 4");
        expect_ids(m, "<0xC3>", TLP_TOKENIZE_SPECIAL, "5 0 0 0 0 0 0");
        expect_warning(TYPES "[3]: ");
        expect_warning("\"<0xC3>\" is the text of a byte");
        tlp_model_free(m);
    }
}

/* ==== guesses ============================================================ */

Test(control, a_missing_pre_tokenizer_is_named)
{
    static const char *const token[] = { "a", "b", "<|im_end|>" };
    const int32_t type[] = { 1, 1, 3 };

    vf_write_general(&file);
    gw_kv_str(&file, "tokenizer.ggml.model", "gpt2");
    gw_kv_strs(&file, "tokenizer.ggml.tokens", token, 3);
    gw_kv_strs(&file, "tokenizer.ggml.merges", token, 0);
    gw_kv_array(&file, TYPES, TLPI_GGUF_I32, 3, type, sizeof type);
    tlp_model_free(must_open());
    cr_expect_eq(seen.n, 1, "%s", seen.text);
    expect_warning("key tokenizer.ggml.pre: missing; \"default\" is used");
}

Test(control, missing_ids_of_sentencepiece_are_named)
{
    vf_write(&file, &(vf_spec){ 0 });
    tlp_model_free(must_open());
    expect_warning("bos_token_id: missing; 1 \"<s>\" is used");
    expect_warning("eos_token_id: missing; 2 \"</s>\" is used");
}

/* An id that nothing needs counts as missing when it is out of range. */
Test(control, spare_ids_out_of_range)
{
    static const char *const keys[] = { "tokenizer.ggml.unknown_token_id",
                                        "tokenizer.ggml.padding_token_id" };
    static const int32_t values[] = { 257, -1, INT32_MAX, INT32_MIN };
    const vf_token one = { "<|im_end|>", 3, 0 };
    char want[64];

    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 4; k++) {
            tlp_model_info info = { .struct_size = sizeof info };

            write_tokens("smollm", &one, 1);
            gw_kv(&file, keys[i], TLPI_GGUF_I32, &values[k], 4);
            tlp_model *m = must_open();
            snprintf(want, sizeof want, "%s: %d, less than 257", keys[i],
                     values[k]);
            expect_warning(want);
            CHECK_OK(tlp_model_get_info(&info, m));
            cr_expect_eq(info.pad, -1);
            tlp_model_free(m);
        }
}

Test(control, lost_bytes_are_named)
{
    static const char *const token[] = { "a", "b", "<|im_end|>" };
    const int32_t type[] = { 1, 1, 3 };

    vf_write_general(&file);
    gw_kv_str(&file, "tokenizer.ggml.model", "gpt2");
    gw_kv_str(&file, "tokenizer.ggml.pre", "smollm");
    gw_kv_strs(&file, "tokenizer.ggml.tokens", token, 3);
    gw_kv_strs(&file, "tokenizer.ggml.merges", token, 0);
    gw_kv_array(&file, TYPES, TLPI_GGUF_I32, 3, type, sizeof type);
    tlp_model *m = must_open();
    expect_ids(m, "ab", 0, "0 1");
    cr_expect_eq(seen.n, 0, "%s", seen.text);
    expect_ids(m, "axbyyy", 0, "0 1");
    expect_warning("4 of 6");
    tlp_model_free(m);
}

/* ==== BOS, EOS and blanks ================================================ */

Test(control, one_bos)
{
    static const vf_token a = { BL "a", 1, -1 };

    write_tokens(NULL, &a, 1);
    gw_kv_bool(&file, "tokenizer.ggml.add_bos_token", true);
    tlp_model *m = must_open();
    const uint32_t both = TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL;

    expect_ids(m, "a", both, "1 259");
    expect_ids(m, "<s>a", both, "1 259");
    expect_ids(m, "<s>", both, "1");
    expect_ids(m, "<s><s>a", both, "1 1 259"); /* the text has two */
    expect_ids(m, "a<s>a", both, "1 259 1 259");
    expect_ids(m, "<s>a", TLP_TOKENIZE_SPECIAL, "1 259");
    tlp_model_free(m);
}

Test(control, eos_closes_a_text_only_on_demand)
{
    static const vf_token a = { BL "a", 1, -1 };

    for (int on = 0; on < 2; on++) {
        write_tokens(NULL, &a, 1);
        gw_kv_bool(&file, "tokenizer.ggml.add_eos_token", on);
        tlp_model *m = must_open();
        expect_ids(m, "a", TLP_TOKENIZE_BOS, "1 259");
        expect_ids(m, "a", TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS,
                   on ? "1 259 2" : "1 259");
        tlp_model_free(m);
    }
}

/* The blank before a text, and before a text behind a special token. */
Test(control, blanks_as_the_flags_say)
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
        write_tokens(NULL, tokens, 4);
        if (cases[i].prefix >= 0)
            gw_kv_bool(&file, "tokenizer.ggml.add_space_prefix",
                       cases[i].prefix);
        if (cases[i].legacy >= 0)
            gw_kv_bool(&file, "tokenizer.ggml.legacy", cases[i].legacy);
        tlp_model *m = must_open();
        for (size_t k = 0; k < 3; k++)
            expect_ids(m, texts[k], TLP_TOKENIZE_SPECIAL, cases[i].want[k]);
        tlp_model_free(m);
    }
}

Test(control, a_blank_before_byte_level_bpe_gives_a_warning)
{
    const vf_token one = { "<|im_end|>", 3, 0 };

    for (int on = 0; on < 2; on++) {
        write_tokens("smollm", &one, 1);
        gw_kv_bool(&file, "tokenizer.ggml.add_space_prefix", on);
        tlp_model_free(must_open());
        cr_expect_eq(seen.n, on, "%s", seen.text);
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
    seen = (log_lines){ 0 };
    o.log = log_lines_add;
    o.log_data = &seen;
    CHECK_OK(tlp_model_open(&m, path, &o));
    cr_expect_eq(seen.n, 0, "%s", seen.text);
    tlp_model_free(m);
}
