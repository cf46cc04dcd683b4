/*
 * test_vocab.c - vocabularies that contradict themselves are refused, and the
 * text says where.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocab.h"
#include "support/check.h"
#include "support/mem.h"
#include "support/vocab_file.h"

static gw_file file;
static tlpi_env env;

static void set_up(void)
{
    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    gw_init(&file);
}

static void tear_down(void)
{
    gw_free(&file);
}

TestSuite(vocab, .init = set_up, .fini = tear_down);

/* What tlpi_vocab_create says to `file`; *v may be used until `g` is closed. */
static tlp_status create(tlpi_vocab **v, tlpi_gguf **g, gw_bytes *bytes,
                         int n_vocab)
{
    *bytes = gw_finish(&file);
    CHECK_OK(tlpi_gguf_open_memory(g, &env, bytes->data, bytes->n));
    return tlpi_vocab_create(v, &env, *g, n_vocab);
}

static void expect_refused(tlp_status want, int n_vocab, const char *key,
                           const char *what)
{
    tlpi_vocab *v = NULL;
    tlpi_gguf *g = NULL;
    gw_bytes bytes;

    CHECK_FAILS(want, create(&v, &g, &bytes, n_vocab));
    cr_assert_null(v);
    cr_assert(strstr(tlp_last_error(), key) && strstr(tlp_last_error(), what),
              "\"%s\" names neither %s nor %s", tlp_last_error(), key, what);
    tlpi_gguf_close(g);
    free(bytes.data);
}

static const char *const abc[] = { "a", "b", "ab" };
static const char *const ab_merge[] = { "a b" };

static void begin(const char *model, const char *const *token, size_t n)
{
    gw_kv_str(&file, "tokenizer.ggml.model", model);
    if (token)
        gw_kv_strs(&file, "tokenizer.ggml.tokens", token, n);
}

static void begin_bpe(void)
{
    begin("gpt2", abc, 3);
    gw_kv_strs(&file, "tokenizer.ggml.merges", ab_merge, 1);
}

Test(vocab, a_small_one_is_accepted_and_padded)
{
    tlpi_vocab *v = NULL;
    tlpi_gguf *g = NULL;
    gw_bytes bytes;

    begin_bpe();
    CHECK_OK(create(&v, &g, &bytes, 8));
    cr_assert_eq(tlpi_vocab_size(v), 8);
    cr_assert_eq(tlpi_vocab_piece(v, 2, 0).n, 2);
    cr_assert_eq(tlpi_vocab_piece(v, 3, TLP_DETOKENIZE_SPECIAL).n, 0);
    cr_assert_eq(tlpi_vocab_piece(v, 7, TLP_DETOKENIZE_SPECIAL).n, 0);
    cr_assert_eq(tlpi_vocab_is_end(v, 7), 0);
    tlpi_ids ids = { .env = &env };
    CHECK_OK(tlpi_vocab_tokenize(v, "xab", 3, 0, &ids));
    cr_assert_eq(ids.n, 1, "x has no token and gives none");
    cr_assert_eq(ids.data[0], 2);
    tlpi_free(&env, ids.data);
    tlpi_vocab_free(v);
    tlpi_gguf_close(g);
    free(bytes.data);
    tlpi_vocab_free(NULL);
}

Test(vocab, tokenizers_that_are_not_supported)
{
    begin("t5", abc, 3);
    expect_refused(TLP_ENOTSUP, 0, "tokenizer.ggml.model", "t5");
}

Test(vocab, pre_tokenizers_that_are_not_supported)
{
    begin_bpe();
    gw_kv_str(&file, "tokenizer.ggml.pre", "falcon");
    expect_refused(TLP_ENOTSUP, 0, "tokenizer.ggml.pre", "falcon");
}

Test(vocab, no_tokens)
{
    begin("gpt2", NULL, 0);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens", "missing");
}

Test(vocab, empty_token_list)
{
    begin("gpt2", abc, 0);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens", "0 tokens");
}

Test(vocab, tokens_of_another_type)
{
    begin("gpt2", NULL, 0);
    gw_kv_u32(&file, "tokenizer.ggml.tokens", 7);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens", "strings");
}

Test(vocab, more_tokens_than_rows)
{
    begin_bpe();
    expect_refused(TLP_EFORMAT, 2, "tokenizer.ggml.tokens", "3 tokens, 1 to 2");
}

Test(vocab, a_token_twice)
{
    static const char *const twice[] = { "a", "b", "a" };

    begin("gpt2", twice, 3);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens", "at 0 and at 2");
}

Test(vocab, no_merges)
{
    begin("gpt2", abc, 3);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.merges", "missing");
}

static void expect_bad_merge(const char *merge, const char *what)
{
    const char *const list[] = { "a b", merge };

    gw_free(&file);
    gw_init(&file);
    begin("gpt2", abc, 3);
    gw_kv_strs(&file, "tokenizer.ggml.merges", list, 2);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.merges[1]", what);
}

Test(vocab, merges_of_what_is_no_token)
{
    expect_bad_merge("x b", "\"x b\": the left part");
    expect_bad_merge("a x", "the right part");
    expect_bad_merge("b a", "the joined text");
    expect_bad_merge("ab", "two tokens");
    expect_bad_merge("", "two tokens");
    expect_bad_merge(" ", "two tokens");
    expect_bad_merge("a ", "two tokens");
    expect_bad_merge(" b", "two tokens");
}

Test(vocab, merges_into_control_tokens)
{
    const int32_t type[] = { 1, 1, 3 };

    begin_bpe();
    gw_kv_array(&file, "tokenizer.ggml.token_type", TLPI_GGUF_I32, 3, type, 12);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.merges[0]", "control token");
}

Test(vocab, token_types)
{
    const int32_t good[] = { 1, 1, 3, 1 }, bad[] = { 1, 0, 1 };
    const float real[] = { 1, 1, 1 };
    const char *key = "tokenizer.ggml.token_type";

    begin_bpe();
    gw_kv_array(&file, key, TLPI_GGUF_I32, 4, good, sizeof good);
    expect_refused(TLP_EFORMAT, 0, key, "4 elements, 3 expected");
    gw_free(&file);
    gw_init(&file);
    begin_bpe();
    gw_kv_array(&file, key, TLPI_GGUF_I32, 3, bad, sizeof bad);
    expect_refused(TLP_EFORMAT, 0, key, "[1]: 0, 1 to 6");
    gw_free(&file);
    gw_init(&file);
    begin_bpe();
    gw_kv_array(&file, key, TLPI_GGUF_F32, 3, real, sizeof real);
    expect_refused(TLP_EFORMAT, 0, key, "integers");
    gw_free(&file);
    gw_init(&file);
    begin_bpe();
    gw_kv_strs(&file, key, abc, 3);
    expect_refused(TLP_EFORMAT, 0, key, "numbers");
}

Test(vocab, scores)
{
    const float score[] = { 0, -1, NAN };
    const char *key = "tokenizer.ggml.scores";

    begin("llama", abc, 3);
    expect_refused(TLP_EFORMAT, 0, key, "missing");
    gw_kv_array(&file, key, TLPI_GGUF_F32, 2, score, 8);
    expect_refused(TLP_EFORMAT, 0, key, "2 elements, 3 expected");
    gw_free(&file);
    gw_init(&file);
    begin("llama", abc, 3);
    gw_kv_array(&file, key, TLPI_GGUF_F32, 3, score, 12);
    expect_refused(TLP_EFORMAT, 0, key, "[2]");
}

Test(vocab, byte_tokens_that_spell_no_byte)
{
    static const char *const token[] = { "<0x41>", "<0x4G>" };
    const int32_t type[] = { 6, 6 };
    const float score[] = { 0, 0 };

    begin("llama", token, 2);
    gw_kv_array(&file, "tokenizer.ggml.token_type", TLPI_GGUF_I32, 2, type, 8);
    gw_kv_array(&file, "tokenizer.ggml.scores", TLPI_GGUF_F32, 2, score, 8);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens[1]", "<0x4G>");
}

Test(vocab, special_ids_out_of_range)
{
    static const char *const keys[] = {
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        gw_free(&file);
        gw_init(&file);
        begin_bpe();
        gw_kv_u32(&file, keys[i], 3);
        expect_refused(TLP_EFORMAT, 0, keys[i], "3, less than 3");
    }
    gw_free(&file);
    gw_init(&file);
    begin_bpe();
    gw_kv_u32(&file, keys[0], UINT32_MAX);
    expect_refused(TLP_EFORMAT, 0, keys[0], "4294967295");
}

Test(vocab, bos_wanted_but_missing)
{
    begin_bpe();
    gw_kv_bool(&file, "tokenizer.ggml.add_bos_token", true);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.add_bos_token",
                   "tokenizer.ggml.bos_token_id");
}

Test(vocab, special_tokens_of_any_length_are_refused)
{
    char text[300];
    const char *const token[] = { "a", text };
    const int32_t type[] = { 1, 4 };

    memset(text, 'x', 257);
    text[257] = '\0';
    begin("gpt2", token, 2);
    gw_kv_strs(&file, "tokenizer.ggml.merges", ab_merge, 0);
    gw_kv_array(&file, "tokenizer.ggml.token_type", TLPI_GGUF_I32, 2, type, 8);
    expect_refused(TLP_EFORMAT, 0, "tokenizer.ggml.tokens[1]", "257 bytes");
}

/* ==== memory ============================================================= */

/* Read the file and tokenize a text of long and short words. */
static tlp_status use(const gw_bytes *bytes, const tlpi_env *hooked)
{
    static const char text[] = "ab ababababababababababababababababababababa";
    tlp_status st;
    tlpi_gguf *g = NULL;
    tlpi_vocab *v = NULL;
    tlpi_ids ids = { .env = hooked };

    TLP_TRY(tlpi_gguf_open_memory(&g, hooked, bytes->data, bytes->n));
    TLP_TRY(tlpi_vocab_create(&v, hooked, g, 0));
    TLP_TRY(tlpi_vocab_tokenize(v, text, sizeof text - 1, 0, &ids));
done:
    tlpi_free(hooked, ids.data);
    tlpi_vocab_free(v);
    tlpi_gguf_close(g);
    return st;
}

/* Some failures may be none: without memory for machine code, PCRE2 interprets
 * its patterns. */
static void fail_each_allocation(bool some_are_none)
{
    gw_bytes bytes = gw_finish(&file);
    long n = 0, n_refused = 0;

    for (bool failed = true; failed;) {
        mem m = { .fail_at = ++n };
        tlp_allocator hooks = mem_hooks(&m);
        tlpi_env hooked;
        CHECK_OK(tlpi_env_init(&hooked, &hooks, NULL, NULL));
        tlp_status st = use(&bytes, &hooked);
        cr_assert(st == TLP_OK || st == TLP_ENOMEM, "allocation %ld: %s: %s", n,
                  tlp_status_name(st), tlp_last_error());
        cr_assert_eq(m.live, 0, "allocation %ld: %ld left", n, (long)m.live);
        failed = m.failed != 0;
        cr_assert(failed || st == TLP_OK);
        n_refused += st != TLP_OK;
    }
    cr_assert_gt(n_refused, 10);
    cr_assert(some_are_none || n_refused == n - 1);
    free(bytes.data);
}

Test(vocab, every_allocation_may_fail)
{
    const char *const merges[] = { "a b", "ab a" };
    const char *const token[] = { "a", "b", "ab", "aba", "[T]" };
    const int32_t type[] = { 1, 1, 1, 1, 4 };
    const float score[] = { 0, 0, 1, 2, 0 };

    for (int spm = 0; spm < 2; spm++) {
        gw_free(&file);
        gw_init(&file);
        begin(spm ? "llama" : "gpt2", token, 5);
        gw_kv_strs(&file, "tokenizer.ggml.merges", merges, 2);
        gw_kv_array(&file, "tokenizer.ggml.token_type", TLPI_GGUF_I32, 5, type,
                    sizeof type);
        gw_kv_array(&file, "tokenizer.ggml.scores", TLPI_GGUF_F32, 5, score,
                    sizeof score);
        fail_each_allocation(!spm);
    }
}
