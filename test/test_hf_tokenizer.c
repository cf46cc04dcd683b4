/*
 * test_hf_tokenizer.c - tokenizer.json files of several families: ids of hard
 * texts are those of the tokenizers package (test/data/README.md).
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/check.h"
#include "support/hf_folder.h"
#include "support/log_lines.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_tune.h"

#define DATA "test/data/tokenizers"
#define MAX_ID 512

TestSuite(hf_tokenizer, .timeout = 60);

/* Rows of an embedding for the tokenizer: one more than its largest id. */
static int n_vocab_of(const json_t *tokenizer)
{
    json_t *model = json_object_get(tokenizer, "model"), *value;
    json_int_t most = 0;
    const char *text;
    size_t i;

    json_object_foreach(json_object_get(model, "vocab"), text, value)
    {
        if (json_integer_value(value) > most)
            most = json_integer_value(value);
    }
    json_array_foreach(json_object_get(tokenizer, "added_tokens"), i, value)
    {
        json_int_t id = json_integer_value(json_object_get(value, "id"));

        most = id > most ? id : most;
    }
    return (int)most + 1;
}

/* A folder with the tokenizer, and a model of one layer without tensors. */
static const char *make_folder(const json_t *tokenizer)
{
    const char *folder = tiny_path("tokenizer");
    json_t *config = json_pack(
        "{s[s] si si si si si si sf sf}", "architectures", "LlamaForCausalLM",
        "num_hidden_layers", 1, "hidden_size", 8, "intermediate_size", 8,
        "num_attention_heads", 1, "max_position_embeddings", 64, "vocab_size",
        n_vocab_of(tokenizer), "rms_norm_eps", 1e-5, "rope_theta", 1e4);

    cr_assert_eq(mkdir(folder, 0700), 0);
    hf_save(folder, "config.json", config);
    hf_save(folder, "tokenizer.json", tokenizer);
    json_decref(config);
    return folder;
}

static json_t *load(const char *name)
{
    char file[64];

    snprintf(file, sizeof file, "%s.json", name);
    return hf_load(DATA, file);
}

static tlp_model *open_tokenizer(const json_t *tokenizer, log_lines *seen)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    const char *folder = make_folder(tokenizer);
    json_t *config = json_pack("{ss ss ss}", "bos_token", "<|endoftext|>",
                               "eos_token", "<|im_end|>", "unk_token", "<unk>");
    tlp_model *m = NULL;

    if (json_object_get(json_object_get(tokenizer, "model"), "unk_token") &&
        !json_is_null(json_object_get(json_object_get(tokenizer, "model"),
                                      "unk_token"))) {
        json_object_set_new(config, "bos_token", json_string("<s>"));
        json_object_set_new(config, "eos_token", json_string("</s>"));
    } else {
        json_object_del(config, "unk_token");
    }
    hf_save(folder, "tokenizer_config.json", config);
    json_decref(config);
    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = seen;
    CHECK_OK(tlp_model_open(&m, folder, &o));
    return m;
}

/* ==== the ids ============================================================ */

/* The library does not bring texts into the form NFC, and puts a blank before
 * a text that begins with one: warnings say so. */
static bool is_known_difference(const char *name, const char *text)
{
    return (strcmp(name, "qwen2") == 0 && strstr(text, "e\xcc\x81")) ||
           (strcmp(name, "mistral") == 0 &&
            (text[0] == ' ' || strncmp(text, "\xe2\x96\x81", 3) == 0));
}

static int parse_ids(const char *at, int32_t *ids)
{
    int n = 0;
    char *end;

    for (;; at = end) {
        long id = strtol(at, &end, 10);

        if (end == at)
            return n;
        cr_assert(n < MAX_ID);
        ids[n++] = (int32_t)id;
    }
}

static void expect_ids(tlp_model *m, const char *name, const char *text,
                       size_t n_text, const int32_t *want, int n_want)
{
    int32_t ids[MAX_ID];
    size_t n = 0;

    CHECK_OK(tlp_tokenize(ids, MAX_ID, &n, m, text, n_text,
                          TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS));
    cr_expect_eq((int)n, n_want, "%s: \"%s\": %zu ids, not %d", name, text, n,
                 n_want);
    for (int i = 0; i < n_want && i < (int)n; i++)
        cr_expect_eq(ids[i], want[i], "%s: \"%s\": id %d is %d, not %d", name,
                     text, i, ids[i], want[i]);
}

Test(hf_tokenizer, ids)
{
    FILE *f = fopen(DATA "/ids.txt", "r");
    static char line[8192];
    char open_name[32] = "";
    tlp_model *m = NULL;
    log_lines seen = { .n = 0 };
    int n_line = 0;

    cr_assert(f != NULL, DATA "/ids.txt: cannot be read");
    while (fgets(line, sizeof line, f)) {
        char name[32];
        int at = 0, want_n;
        int32_t want[MAX_ID];
        char *bar = NULL;

        cr_assert_eq(sscanf(line, "%31[^ ] | %n", name, &at), 1, "%s", line);
        for (char *p = line; (p = strstr(p, "\" | ")) != NULL; p++)
            bar = p + 1;
        cr_assert(bar != NULL, "%s", line);
        *bar = '\0';
        json_t *text =
            json_loads(line + at, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        cr_assert(text != NULL, "%s", line);
        want_n = parse_ids(bar + 3, want);
        if (strcmp(name, open_name) != 0) {
            json_t *tokenizer = load(name);

            tlp_model_free(m);
            m = open_tokenizer(tokenizer, &seen);
            json_decref(tokenizer);
            strcpy(open_name, name);
        }
        if (!is_known_difference(name, json_string_value(text)))
            expect_ids(m, name, json_string_value(text),
                       json_string_length(text), want, want_n);
        json_decref(text);
        n_line++;
    }
    fclose(f);
    tlp_model_free(m);
    cr_expect(n_line >= 8 * 28, "%d lines", n_line);
    cr_expect(strstr(seen.text, "key normalizer.type: \"NFC\", left out"));
    cr_expect(strstr(seen.text, "key pre_tokenizer.prepend_scheme: \"first\", "
                                "a text that begins with a blank gets one"));
    cr_expect_eq(seen.n, 2, "%s", seen.text);
}

/* The names that converters give. */
Test(hf_tokenizer, names)
{
    static const char *const names[][3] = {
        { "gpt-2", "gpt2", "gpt-2" },         { "smollm", "gpt2", "smollm" },
        { "llama-bpe", "gpt2", "llama-bpe" }, { "dbrx", "gpt2", "dbrx" },
        { "qwen2", "gpt2", "qwen2" },         { "llama-2", "llama", "default" },
        { "gemma", "llama", "default" },
    };
    log_lines seen = { .n = 0 };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *tokenizer = load(names[i][0]);
        tlp_model *m = open_tokenizer(tokenizer, &seen);
        char text[64];
        size_t n;

        CHECK_OK(tlp_model_get_meta(text, sizeof text, &n, m,
                                    "tokenizer.ggml.model"));
        cr_expect_str_eq(text, names[i][1]);
        CHECK_OK(
            tlp_model_get_meta(text, sizeof text, &n, m, "tokenizer.ggml.pre"));
        cr_expect_str_eq(text, names[i][2]);
        tlp_model_free(m);
        json_decref(tokenizer);
    }
}

/* ==== merges that are no scores ========================================== */

static void expect_refused(const json_t *tokenizer, const char *want)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    o.vocab_only = 1;
    CHECK_FAILS(TLP_ENOTSUP, tlp_model_open(&m, make_folder(tokenizer), &o));
    cr_expect(strstr(tlp_last_error(), want), "%s", tlp_last_error());
}

Test(hf_tokenizer, merges_must_mean_scores)
{
    json_t *tokenizer = load("gemma");
    json_t *model = json_object_get(tokenizer, "model");
    json_t *merges = json_object_get(model, "merges");
    size_t n = json_array_size(merges);

    /* the last merge goes: its token has one pair less */
    json_t *last = json_incref(json_array_get(merges, n - 1));
    json_array_remove(merges, n - 1);
    expect_refused(tokenizer, "no scores mean these merges");

    /* and stands first: its token's other merge is far away */
    json_array_insert(merges, 0, last);
    json_array_append(merges, last);
    expect_refused(tokenizer, "which other merges before the one before it "
                              "make too: no scores mean this order");
    json_decref(last);
    json_decref(tokenizer);
}

Test(hf_tokenizer, all_bytes_are_needed)
{
    json_t *tokenizer = load("gemma");
    json_t *model = json_object_get(tokenizer, "model");

    json_object_del(json_object_get(model, "vocab"), "<0x41>");
    expect_refused(tokenizer, "/tokenizer.json: key model.vocab: no token "
                              "<0x41>, all 256 expected");
    json_decref(tokenizer);
}

/* ==== templates ========================================================== */

/* A list of templates, and the ends of a generation. */
Test(hf_tokenizer, templates_and_ends)
{
    json_t *tokenizer = load("smollm");
    const char *folder = make_folder(tokenizer);
    json_t *config =
        json_pack("{s{ss} ss s[{ssss} {ssss}] sb}", "bos_token", "content",
                  "<|im_start|>", "eos_token", "<|im_end|>", "chat_template",
                  "name", "default", "template", "A", "name", "tool use",
                  "template", "B", "add_eos_token", 0);
    json_t *generation =
        json_pack("{s[iii] si}", "eos_token_id", 2, 0, 2, "bos_token_id", 1);
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    log_lines seen = { .n = 0 };
    tlp_model *m = NULL;

    hf_save(folder, "tokenizer_config.json", config);
    hf_save(folder, "generation_config.json", generation);
    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = &seen;
    CHECK_OK(tlp_model_open(&m, folder, &o));
    rig_expect_meta(m, "tokenizer.chat_template", "A");
    rig_expect_meta(m, "tokenizer.chat_template.tool_use", "B");
    rig_expect_meta(m, "tokenizer.chat_templates", "str[1] \"tool_use\"");
    rig_expect_meta(m, "tokenizer.ggml.bos_token_id", "1");
    rig_expect_meta(m, "tokenizer.ggml.eos_token_ids", "i32[2] 2, 0");
    rig_expect_meta(m, "tokenizer.ggml.add_eos_token", "false");
    tlp_model_free(m);

    /* a file of its own wins */
    hf_write(folder, "chat_template.jinja", "C", 1);
    CHECK_OK(tlp_model_open(&m, folder, &o));
    rig_expect_meta(m, "tokenizer.chat_template", "C");
    cr_expect_eq(seen.n, 1, "%s", seen.text);
    cr_expect(strstr(seen.text, "key chat_template: an array of 2, left out "
                                "for chat_template.jinja"),
              "%s", seen.text);
    tlp_model_free(m);
    json_decref(generation);
    json_decref(config);
    json_decref(tokenizer);
}
