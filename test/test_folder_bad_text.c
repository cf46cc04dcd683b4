/*
 * test_folder_bad_text.c - folders of Hugging Face whose tokenizer is malformed
 * or not understood.
 */
#include <unistd.h>

#include "support/check.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

TestSuite(folder_bad_text, .timeout = 60);

/* ==== tokenizer.json ===================================================== */

#define TOKENS(path, value, status, text)                                      \
    {                                                                          \
        "llama", "tokenizer.json", path, value, status,                        \
            "/tokenizer.json: key " text                                       \
    }

static const hf_bad token_edits[] = {
    TOKENS("model", NULL, TLP_EFORMAT, "model: missing, an object"),
    TOKENS("model/type", "\"Unigram\"", TLP_ENOTSUP,
           "model.type: \"Unigram\", \"BPE\" expected"),
    TOKENS("model/dropout", "0.1", TLP_ENOTSUP,
           "model.dropout: 0.1, not supported"),
    TOKENS("model/end_of_word_suffix", "\"</w>\"", TLP_ENOTSUP,
           "model.end_of_word_suffix: \"</w>\", not supported"),
    TOKENS("model/vocab", "[]", TLP_EFORMAT,
           "model.vocab: an array of 0, an object expected"),
    TOKENS("model/vocab/!", "288", TLP_EFORMAT,
           "model.vocab.!: 288, an id below vocab_size, 288, expected"),
    TOKENS("model/vocab/!", "-1", TLP_EFORMAT,
           "model.vocab.!: -1, an id below vocab_size, 288, expected"),
    TOKENS("model/vocab/!", "34", TLP_EFORMAT, "model.vocab."),
    TOKENS("model/merges", NULL, TLP_EFORMAT,
           "model.merges: missing, an array expected"),
    TOKENS("model/merges/2", "\"one\"", TLP_EFORMAT,
           "model.merges[2]: two tokens expected"),
    TOKENS("model/merges/2", "[\"a\"]", TLP_EFORMAT,
           "model.merges[2]: two tokens expected"),
    TOKENS("model/merges/2", "[\"a\", 1]", TLP_EFORMAT,
           "model.merges[2]: two tokens expected"),
    TOKENS("model/merges/2", "[\"a b\", \"c\"]", TLP_EFORMAT,
           "model.merges[2]: a blank in a token is not supported"),
    TOKENS("model/byte_fallback", "true", TLP_ENOTSUP,
           "model.byte_fallback: true, but bytes are spelt (ByteLevel)"),
    TOKENS("pre_tokenizer", "null", TLP_ENOTSUP,
           "model.byte_fallback: missing, true, or a pre-tokenizer"),
    TOKENS("model/ignore_merges", "true", TLP_ENOTSUP,
           "pre_tokenizer: an object of 2 keys, with ignore_merges true "
           "these steps are not known"),
    TOKENS("pre_tokenizer/pretokenizers/0/individual_digits", "false",
           TLP_ENOTSUP,
           "pre_tokenizer.pretokenizers[0].individual_digits: false, true "
           "expected"),
    TOKENS(
        "pre_tokenizer/pretokenizers/0", "{\"type\": \"Whitespace\"}",
        TLP_ENOTSUP,
        "pre_tokenizer.pretokenizers[0].type: \"Whitespace\", not supported"),
    TOKENS("pre_tokenizer/pretokenizers/1/add_prefix_space", "true",
           TLP_ENOTSUP,
           "pre_tokenizer.pretokenizers[1].add_prefix_space: true, false "
           "expected"),
    TOKENS(
        "pre_tokenizer/pretokenizers/0",
        "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\w+\"}, "
        "\"behavior\": \"Isolated\", \"invert\": false}",
        TLP_ENOTSUP,
        "pre_tokenizer.pretokenizers[0].pattern.Regex: \"\\w+\", not a known"),
    TOKENS("normalizer", "{\"type\": \"Lowercase\"}", TLP_ENOTSUP,
           "normalizer.type: \"Lowercase\", not supported"),
    TOKENS("decoder", "{\"type\": \"WordPiece\"}", TLP_ENOTSUP,
           "decoder.type: \"WordPiece\", not supported"),
    TOKENS("post_processor", "{\"type\": \"BertProcessing\"}", TLP_ENOTSUP,
           "post_processor.type: \"BertProcessing\", not supported"),
    TOKENS("post_processor",
           "{\"type\": \"TemplateProcessing\", \"single\": [{"
           "\"SpecialToken\": {\"id\": \"<|im_end|>\"}}]}",
           TLP_ENOTSUP,
           "post_processor.single: puts \"<|im_end|>\" before a text"),
    TOKENS("added_tokens/0", "7", TLP_EFORMAT,
           "added_tokens: an array of 2, objects expected"),
    TOKENS("added_tokens/0/id", "5", TLP_EFORMAT,
           "added_tokens[0].content: \"<|im_start|>\", but token 5 is"),
    TOKENS("added_tokens/0/content", "\"\"", TLP_EFORMAT,
           "added_tokens[0].content: \"\", a text expected"),
};

Test(folder_bad_text, tokenizer)
{
    hf_try(token_edits, COUNT(token_edits));
}

/* The reader of GGUF's keys checks merges. */
Test(folder_bad_text, merges)
{
    static const hf_bad edits[] = {
        { "llama", "tokenizer.json", "model/merges/2", "[\"zzz\", \"e\"]",
          TLP_EFORMAT,
          ": key tokenizer.ggml.merges[2]: \"zzz e\": the left part is no" },
        { "llama", "tokenizer.json", "model/merges/2", "\"z zzz\"", TLP_EFORMAT,
          ": key tokenizer.ggml.merges[2]: \"z zzz\": the right part is no" },
        { "llama", "tokenizer.json", "model/merges/2", "\"z z\"", TLP_EFORMAT,
          ": key tokenizer.ggml.merges[2]: \"z z\": the joined text is no" },
    };

    hf_try(edits, COUNT(edits));
}

/* A token without a row is left out; a row without a token is padding. */
Test(folder_bad_text, holes_are_padding)
{
    const char *folder = hf_small("llama", 0, false);
    tlp_model *m = NULL;
    char text[64];
    size_t n = 0;
    const int32_t id = 279;

    json_t *root = hf_load(folder, "tokenizer.json");
    json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    const char *name;
    json_t *value;
    json_object_foreach(vocab, name, value)
    {
        if (json_integer_value(value) == id)
            break;
    }
    cr_assert(name != NULL);
    json_object_del(vocab, name);
    json_object_set_new(model, "merges", json_array());
    json_array_append_new(json_object_get(root, "added_tokens"),
                          json_pack("{si ss sb}", "id", 288, "content",
                                    "<|beyond|>", "special", 1));
    hf_save(folder, "tokenizer.json", root);
    json_decref(root);
    CHECK_OK(tlp_model_open(&m, folder, NULL));
    CHECK_OK(tlp_detokenize(text, sizeof text, &n, m, &id, 1,
                            TLP_DETOKENIZE_SPECIAL));
    cr_expect_str_eq(text, "[PAD279]");
    tlp_model_free(m);
}

Test(folder_bad_text, other_files_of_text)
{
    static const hf_bad edits[] = {
        { "llama", "tokenizer_config.json", "bos_token", "7", TLP_EFORMAT,
          "/tokenizer_config.json: key bos_token: 7.0, a text expected" },
        { "llama", "tokenizer_config.json", "add_bos_token", "1", TLP_EFORMAT,
          "/tokenizer_config.json: key add_bos_token: 1.0, true or false" },
        { "llama", "config.json", "eos_token_id", "[1, 288]", TLP_EFORMAT,
          "/config.json: key eos_token_id: an array of 2, ids below "
          "vocab_size, 288, expected" },
    };
    const char *folder = hf_small("llama", 0, false);

    hf_try(edits, COUNT(edits));
    cr_assert_eq(unlink(hf_file(folder, "tokenizer.json")), 0);
    hf_expect_fails(folder, TLP_EIO, "/tokenizer.json: No such file");
}
