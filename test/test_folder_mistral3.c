/*
 * test_folder_mistral3.c - folders of Hugging Face with Ministral 3, alone and
 * in a model that reads images too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/log_lines.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

TestSuite(folder_mistral3, .timeout = 60);

static tiny_spec two_layers(bool tied)
{
    tiny_spec s = tiny_default();

    s.arch = "mistral3";
    s.type = TLPI_F32;
    s.n_layer = 2;
    s.yarn = 4;
    s.yarn_log = 1;
    s.tied = tied;
    return s;
}

static const char *folder_of(bool images, bool older, bool tied)
{
    tiny_spec s = two_layers(tied);
    hf_spec f = { .gguf = tiny_make(&s), .older = older, .images = images };

    return hf_make(&f);
}

static void digest_of(const char *path, char out[128])
{
    size_t n = 0;
    tlp_model *m = rig_open_model(path);

    CHECK_OK(tlp_model_get_digest(out, 128, &n, m));
    tlp_model_free(m);
}

/* The model of texts of a model that reads images too, by names of older and of
 * newer programs, tied and untied, is that of its file. */
Test(folder_mistral3, reads_texts_alone)
{
    for (int i = 0; i < 4; i++) {
        tiny_spec s = two_layers(i & 1);
        hf_spec f = { .gguf = tiny_make(&s),
                      .older = i & 2,
                      .images = true,
                      .n_shard = i == 3 ? 2 : 0 };
        const char *folder = hf_make(&f);
        log_lines seen = { .n = 0 };
        tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
        tlp_model *m = NULL;
        char a[128], b[128];

        o.log = log_lines_add;
        o.log_data = &seen;
        CHECK_OK(tlp_model_open(&m, folder, &o));
        cr_expect(strstr(seen.text, "key vision_config: left out"), "%s",
                  seen.text);
        cr_expect_eq(seen.n, 1, "%s", seen.text);
        tlp_model_free(m);
        digest_of(f.gguf, a);
        digest_of(folder, b);
        cr_expect_str_eq(a, b, "%d", i);
    }
}

/* What converters write. */
Test(folder_mistral3, has_the_keys_of_converters)
{
    static const char *const want[][2] = {
        { "general.architecture", "mistral3" },
        { "mistral3.vocab_size", "288" },
        { "mistral3.rope.dimension_count", "16" },
        { "mistral3.rope.scaling.type", "yarn" },
        { "mistral3.rope.scaling.factor", "4" },
        { "mistral3.rope.scaling.original_context_length", "64" },
        { "mistral3.rope.scaling.yarn_log_multiplier", "1" },
        { "mistral3.attention.temperature_scale", "0.5" },
    };
    tlp_model *m = rig_open_model(folder_of(true, false, false));

    for (size_t i = 0; i < COUNT(want); i++) {
        char value[256] = "";
        size_t n = 0;

        CHECK_OK(tlp_model_get_meta(value, sizeof value, &n, m, want[i][0]));
        cr_expect_str_eq(value, want[i][1], "%s: %s", want[i][0], value);
    }
    tlp_model_free(m);
}

/* A model of texts of the type mistral: neither YaRN nor queries that grow. */
Test(folder_mistral3, with_an_older_model_of_texts)
{
    const char *folder = folder_of(true, false, false);

    hf_edit(folder, "config.json", "text_config/model_type", "\"mistral\"");
    hf_edit(folder, "config.json", "text_config/rope_parameters",
            "{\"rope_type\": \"default\", \"rope_theta\": 1e9}");
    hf_edit(folder, "config.json", "text_config/sliding_window", "null");
    tlp_model *m = rig_open_model(folder);
    cr_expect_eq(m->hp.query_scale, 0);
    cr_expect_eq(m->hp.yarn_factor, 0);
    cr_expect_eq(m->hp.rope_theta, 1e9f);
    tlp_model_free(m);
    hf_edit(folder, "config.json", "text_config/sliding_window", "64");
    hf_expect_fails(folder, TLP_ENOTSUP,
                    "key mistral3.attention.sliding_window: 64");
}

/* Where config.json says both, an output matrix counts that differs from the
 * embeddings. */
Test(folder_mistral3, whether_embeddings_are_tied)
{
    for (int tied = 0; tied < 2; tied++) {
        const char *folder = folder_of(true, false, tied);

        hf_edit(folder, "config.json", "tie_word_embeddings",
                tied ? "false" : "true");
        tlp_model *m = rig_open_model(folder);
        cr_expect_eq(m->w.t[TLPI_OUTPUT] == m->w.t[TLPI_TOKEN_EMBD], tied);
        tlp_model_free(m);
    }
    const char *folder = folder_of(true, false, false);
    hf_edit(folder, "config.json", "tie_word_embeddings", "true");
    hf_edit(folder, "config.json", "text_config/tie_word_embeddings", "true");
    hf_expect_fails(folder, TLP_ENOTSUP, "tie_word_embeddings is true, but");
    folder = folder_of(true, false, true);
    hf_edit(folder, "config.json", "tie_word_embeddings", "false");
    hf_edit(folder, "config.json", "text_config/tie_word_embeddings", "false");
    hf_expect_fails(folder, TLP_EFORMAT,
                    "key text_config.tie_word_embeddings: false, true");
}

/* The ends of a text may stand beside the model of texts. */
Test(folder_mistral3, has_ends)
{
    const char *folder = folder_of(true, false, false);
    char value[256] = "";
    size_t n = 0;

    hf_edit(folder, "config.json", "eos_token_id", "[287, 5]");
    hf_edit(folder, "config.json", "text_config/eos_token_id", "6");
    tlp_model *m = rig_open_model(folder);
    CHECK_OK(tlp_model_get_meta(value, sizeof value, &n, m,
                                "tokenizer.ggml.eos_token_ids"));
    cr_expect(strstr(value, "287") && strstr(value, "5") && strstr(value, "6"),
              "%s", value);
    tlp_model_free(m);
}

/* ==== refused ============================================================ */

#define ROPE "rope_parameters"
#define CONFIG(path, value, status, text)                                      \
    HF_CONFIG("mistral3", path, value, status, text)

Test(folder_mistral3, keys)
{
    static const hf_bad edits[] = {
        CONFIG(ROPE "/rope_type", "\"default\"", TLP_ENOTSUP,
               ROPE ".rope_type: \"default\", \"yarn\" expected of Ministral3"),
        CONFIG(ROPE, NULL, TLP_ENOTSUP,
               "rope_scaling.rope_type: missing, \"yarn\""),
        CONFIG(ROPE "/llama_4_scaling_beta", NULL, TLP_EFORMAT,
               ROPE ".llama_4_scaling_beta: missing, a number expected"),
        CONFIG(ROPE "/llama_4_scaling_beta", "-1", TLP_EFORMAT,
               ROPE ".llama_4_scaling_beta: -1, a number from 0"),
        CONFIG(ROPE "/mscale", "2.0", TLP_ENOTSUP,
               ROPE ".mscale: 2.0, 1 expected"),
        CONFIG(ROPE "/mscale", NULL, TLP_ENOTSUP,
               ROPE ".mscale: missing, 1 expected"),
        CONFIG(ROPE "/mscale_all_dim", "-1", TLP_EFORMAT,
               ROPE ".mscale_all_dim: -1, a number from 0 expected"),
        CONFIG(ROPE "/attention_factor", "1.5", TLP_ENOTSUP,
               ROPE ".attention_factor: 1.5, not supported with"),
        CONFIG("quantization_config", "{\"quant_method\": \"awq\"}",
               TLP_ENOTSUP,
               "quantization_config.quant_method: \"awq\", \"fp8\""),
        { "llama", "config.json", ROPE "/llama_4_scaling_beta", "0.1",
          TLP_ENOTSUP,
          "/config.json: key " ROPE ".llama_4_scaling_beta: 0.1, not" },
    };

    hf_try(edits, COUNT(edits));
    const char *folder = folder_of(false, false, false);
    hf_edit(folder, "config.json", "sliding_window", "64");
    hf_expect_fails(folder, TLP_ENOTSUP,
                    "key mistral3.attention.sliding_window: 64");
}

Test(folder_mistral3, keys_of_images)
{
    static const struct {
        const char *path, *value;
        tlp_status status;
        const char *text;
    } bad[] = {
        { "text_config", NULL, TLP_EFORMAT,
          "/config.json: key text_config: missing, an object expected" },
        { "text_config", "[]", TLP_EFORMAT,
          "/config.json: key text_config: an array of 0, an object expected" },
        { "text_config/model_type", "\"mistral4\"", TLP_ENOTSUP,
          "/config.json: key text_config.model_type: \"mistral4\", not "
          "supported" },
        { "text_config/model_type", NULL, TLP_EFORMAT,
          "/config.json: key text_config.model_type: missing, a text "
          "expected" },
        { "model_type", "\"llama\"", TLP_EFORMAT,
          "/config.json: key model_type: \"llama\", \"mistral3\" expected" },
        { "quantization_config", "{\"quant_method\": \"awq\"}", TLP_ENOTSUP,
          "/config.json: key quantization_config.quant_method: \"awq\", " },
        { "text_config/hidden_size", "-1", TLP_EFORMAT,
          "/config.json: key text_config.hidden_size: -1, an integer from 1" },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *folder = folder_of(true, false, false);

        hf_edit(folder, "config.json", bad[i].path, bad[i].value);
        hf_expect_fails(folder, bad[i].status, bad[i].text);
    }
}

/* Names of a model of texts are not names of a model that reads images too. */
Test(folder_mistral3, names)
{
    const char *folder = folder_of(false, false, false);
    json_t *c = hf_load(folder, "config.json");

    json_object_del(c, "architectures");
    json_t *outer =
        json_pack("{ss so}", "model_type", "mistral3", "text_config", c);
    hf_save(folder, "config.json", outer);
    json_decref(outer);
    hf_expect_fails(folder, TLP_ENOTSUP,
                    "not known for Mistral3ForConditionalGeneration");
}
