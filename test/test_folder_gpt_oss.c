/*
 * test_folder_gpt_oss.c - folders of Hugging Face with the experts of gpt-oss:
 * numbers of gates and ups in turns, in MXFP4 or transposed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { N_TOKEN = 13, N_VOCAB = 288 };

TestSuite(folder_gpt_oss, .timeout = 60);

static tiny_spec two_layers(tlpi_dtype type)
{
    tiny_spec s = tiny_default();

    s.arch = "gpt-oss";
    s.type = type;
    s.n_layer = 2;
    s.yarn = 4;
    return s;
}

static const char *folder_of(tlpi_dtype type, bool packed, int n_shard)
{
    tiny_spec s = two_layers(type);
    hf_spec f = { .gguf = tiny_make(&s), .packed = packed, .n_shard = n_shard };

    return hf_make(&f);
}

static void expect_equal_bits(const char *a_path, const char *b_path)
{
    tlp_session_options o = rig_f32(1, 1);
    int32_t ids[N_TOKEN];

    rig_tokens(ids, N_TOKEN, N_VOCAB, 1);
    float *a = rig_run(a_path, "serial", &o, ids, N_TOKEN);
    float *b = rig_run(b_path, "serial", &o, ids, N_TOKEN);
    cr_expect_arr_eq(a, b, N_TOKEN * N_VOCAB * sizeof *a);
    free(b);
    free(a);
}

/* ==== numbers ============================================================ */

/* Every byte of the stacks is that of the file from which the folder was made,
 * also where codes and exponents lie in different files. */
Test(folder_gpt_oss, packed_experts_are_those_of_the_file)
{
    static const tlpi_layer_id ids[] = {
        TLPI_FFN_GATE,      TLPI_FFN_UP,      TLPI_FFN_DOWN,
        TLPI_FFN_GATE_BIAS, TLPI_FFN_UP_BIAS, TLPI_FFN_DOWN_BIAS,
        TLPI_ATTN_SINKS,    TLPI_FFN_NORM,    TLPI_FFN_ROUTER_BIAS,
    };

    for (int n_shard = 0; n_shard <= 60; n_shard += 20) {
        tiny_spec s = two_layers(TLPI_MXFP4);
        hf_spec f = { .gguf = tiny_make(&s),
                      .packed = true,
                      .n_shard = n_shard };
        tlp_model *file = rig_open_model(f.gguf),
                  *m = rig_open_model(hf_make(&f));

        for (int l = 0; l < s.n_layer; l++)
            for (size_t i = 0; i < COUNT(ids); i++) {
                const tlpi_tensor *a = file->w.layer[l].t[ids[i]];
                const tlpi_tensor *b = m->w.layer[l].t[ids[i]];

                cr_assert_eq(a->type, b->type, "%s", a->name);
                cr_assert_eq(a->n_bytes, b->n_bytes, "%s", a->name);
                cr_expect(memcmp(a->data, b->data, a->n_bytes) == 0, "%s",
                          a->name);
            }
        cr_expect_eq(m->w.layer[0].t[TLPI_FFN_UP]->type, TLPI_MXFP4);
        tlp_model_free(m);
        tlp_model_free(file);
    }
}

/* Bytes at the beginning of a tensor's data in the only file of tensors. */
static void write_bytes(const char *folder, const char *tensor,
                        const uint8_t *bytes, size_t n)
{
    const char *path = hf_file(folder, "model.safetensors");
    FILE *f = fopen(path, "r+b");
    uint64_t n_header = 0;
    long begin = 0;

    cr_assert(f && fread(&n_header, 8, 1, f) == 1);
    char *head = calloc(1, n_header + 1);
    cr_assert(head && fread(head, 1, n_header, f) == n_header);
    const char *at = strstr(head, tensor);
    cr_assert(at && sscanf(strstr(at, "data_offsets"), "data_offsets\":[%ld",
                           &begin) == 1);
    cr_assert_eq(fseek(f, 8 + (long)n_header + begin, SEEK_SET), 0);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
    free(head);
}

/* Codes of a block and their numbers: those of _convert_moe_packed_tensors in
 * transformers for the exponent 126. */
Test(folder_gpt_oss, unpacks_as_transformers_does)
{
    static const uint8_t codes[16] = { 0x10, 0x32, 0x54, 0x76, 0x98, 0xba,
                                       0xdc, 0xfe, 0x01, 0x23, 0x45, 0x67,
                                       0x89, 0xab, 0xcd, 0xef };
    static const float want[32] = {
        0,      0.25f,  0.5f,   0.75f,  1,     1.5f,  2,  3,
        -0.0f,  -0.25f, -0.5f,  -0.75f, -1,    -1.5f, -2, -3,
        0.25f,  0,      0.75f,  0.5f,   1.5f,  1,     3,  2,
        -0.25f, -0.0f,  -0.75f, -0.5f,  -1.5f, -1,    -3, -2
    };
    static const uint8_t exponent[1] = { 126 };
    static const struct {
        const char *tensor;
        tlpi_layer_id id;
    } of[] = { { "layers.1.mlp.experts.gate_up_proj", TLPI_FFN_GATE },
               { "layers.0.mlp.experts.down_proj", TLPI_FFN_DOWN } };

    for (size_t i = 0; i < COUNT(of); i++) {
        const char *folder = folder_of(TLPI_MXFP4, true, 0);
        char name[96];
        float got[32];

        snprintf(name, sizeof name, "%s_blocks", of[i].tensor);
        write_bytes(folder, name, codes, sizeof codes);
        snprintf(name, sizeof name, "%s_scales", of[i].tensor);
        write_bytes(folder, name, exponent, 1);
        tlp_model *m = rig_open_model(folder);
        tlpi_read_row(m->w.layer[1 - i].t[of[i].id], 0, got, 32);
        for (int k = 0; k < 32; k++)
            cr_expect_eq(got[k], want[k], "%d: %g", k, (double)got[k]);
        tlp_model_free(m);
    }
}

/* ==== converted ========================================================== */

Test(folder_gpt_oss, equals_its_converted_file)
{
    for (int packed = 0; packed < 2; packed++) {
        const char *folder =
            folder_of(packed ? TLPI_MXFP4 : TLPI_BF16, packed, 3);
        const char *out = tiny_path("out.gguf");
        char a[128], b[128];
        size_t n = 0;
        tlp_model *m = rig_open_model(folder);

        CHECK_OK(tlp_model_quantize(NULL, m, out, NULL, NULL));
        tlp_model *file = rig_open_model(out);
        CHECK_OK(tlp_model_get_digest(a, sizeof a, &n, m));
        CHECK_OK(tlp_model_get_digest(b, sizeof b, &n, file));
        cr_expect_str_eq(a, b);
        rig_expect_meta(file, "general.file_type", packed ? "38" : "32");
        rig_expect_meta(file, "general.size_label", "6x206K");
        rig_expect_meta(file, "gpt-oss.attention.sliding_window", "5");
        rig_expect_meta(file, "gpt-oss.expert_count", "6");
        rig_expect_meta(file, "gpt-oss.expert_used_count", "3");
        rig_expect_meta(file, "gpt-oss.expert_feed_forward_length", "160");
        rig_expect_meta(file, "gpt-oss.feed_forward_length", "160");
        rig_expect_meta(file, "gpt-oss.rope.scaling.type", "yarn");
        cr_expect_eq(
            tlp_model_get_meta(a, sizeof a, &n, file, "gpt-oss.vocab_size"),
            TLP_EINVAL);
        tlp_model_free(file);
        tlp_model_free(m);
        expect_equal_bits(folder, out);
    }
}

/* Windows of every second layer are no key; windows of no layer are a window of
 * 0, and other layers are listed. */
Test(folder_gpt_oss, has_windows)
{
    static const struct {
        const char *types;
        int n_window, step;
    } of[] = {
        { NULL, 5, 2 },
        { "[\"full_attention\", \"full_attention\"]", 0, 0 },
        { "[\"sliding_attention\", \"sliding_attention\"]", 5, 3 },
    };

    for (size_t i = 0; i < COUNT(of); i++) {
        const char *folder = folder_of(TLPI_F32, false, 0);

        hf_edit(folder, "config.json", "layer_types", of[i].types);
        tlp_model *m = rig_open_model(folder);
        cr_expect_eq(m->hp.n_window, of[i].n_window);
        cr_expect_eq(m->hp.window_step, of[i].step, "%d", m->hp.window_step);
        tlp_model_free(m);
    }
}

/* ==== refused ============================================================ */

#define CONFIG(path, value, status, text)                                      \
    HF_CONFIG("gpt-oss", path, value, status, text)

Test(folder_gpt_oss, keys)
{
    static const hf_bad edits[] = {
        CONFIG("swiglu_limit", "6.0", TLP_ENOTSUP,
               "swiglu_limit: 6.0, 7 expected"),
        CONFIG("swiglu_limit", "0", TLP_ENOTSUP, "swiglu_limit: 0, 7 expected"),
        CONFIG("swiglu_alpha", "1.5", TLP_ENOTSUP,
               "swiglu_alpha: 1.5, 1.702 expected"),
        CONFIG("experts_per_token", "2", TLP_EFORMAT,
               "experts_per_token: 2, but num_experts_per_tok is 3"),
        CONFIG("quantization_config", "{\"quant_method\": \"awq\"}",
               TLP_ENOTSUP,
               "quantization_config.quant_method: \"awq\", \"mxfp4\" "
               "expected"),
        CONFIG("quantization_config", "{}", TLP_EFORMAT,
               "quantization_config.quant_method: missing, a text expected"),
        CONFIG("rope_parameters", NULL, TLP_EFORMAT,
               "rope_parameters: missing, an object expected"),
        CONFIG("rope_parameters/truncate", "true", TLP_ENOTSUP,
               "rope_parameters.truncate: true, false expected"),
        CONFIG("rope_parameters/truncate", NULL, TLP_ENOTSUP,
               "rope_parameters.truncate: missing, false expected"),
        CONFIG("rope_parameters/mscale", "1.0", TLP_ENOTSUP,
               "rope_parameters.mscale: 1.0, not supported"),
        { "llama", "config.json", "swiglu_limit", "7.0", TLP_ENOTSUP,
          "/config.json: key swiglu_limit: 7.0, not supported" },
        { "llama", "config.json", "experts_per_token", "2", TLP_ENOTSUP,
          "/config.json: key experts_per_token: 2, not supported" },
    };

    hf_try(edits, COUNT(edits));
}

Test(folder_gpt_oss, tensors)
{
    static const struct {
        bool packed;
        const char *from, *to;
        tlp_status status;
        const char *text;
    } bad[] = {
        { true, "layers.1.mlp.experts.gate_up_proj_scales",
          "layers.1.mlp.experts.gate_up_proj_scalez", TLP_ENOTSUP,
          "gate_up_proj_scalez: not known for GptOssForCausalLM" },
        { true,
          "layers.1.mlp.experts.gate_up_proj_blocks\":{\"dtype\":\"U8\","
          "\"shape\":[6,320,3,16]",
          "layers.1.mlp.experts.gate_up_proj_blocks\":{\"dtype\":\"U8\","
          "\"shape\":[6,320,6, 8]",
          TLP_EFORMAT,
          "gate_up_proj_blocks: shape 8 x 6 x 320 x 6, 16 x 3 x 320 x 6 "
          "expected" },
        { false, "layers.1.mlp.experts.down_proj\":{\"dtype\":\"F32\"",
          "layers.1.mlp.experts.down_proj\":{\"dtype\":\"U8\" ", TLP_EFORMAT,
          "of data, its shape takes" },
        { false,
          "mlp.experts.down_proj\":{\"dtype\":\"F32\",\"shape\":[6,160,"
          "96]",
          "mlp.experts.down_proj\":{\"dtype\":\"F32\",\"shape\":[6,96,160]",
          TLP_EFORMAT,
          "down_proj: shape 160 x 96 x 6 x 1, 96 x 160 x 6 expected" },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *folder =
            folder_of(bad[i].packed ? TLPI_MXFP4 : TLPI_F32, bad[i].packed, 0);

        hf_patch(folder, bad[i].from, bad[i].to);
        hf_expect_fails(folder, bad[i].status, bad[i].text);
    }
}

#define INDEX "model.safetensors.index.json"
#define LAYER "model.layers.1.mlp.experts."

/* Codes without exponents, and exponents without codes. */
Test(folder_gpt_oss, tensors_that_are_missing)
{
    static const char *const names[] = {
        LAYER "down_proj_blocks",
        LAYER "down_proj_scales",
        LAYER "gate_up_proj_blocks",
        LAYER "gate_up_proj_scales",
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        const char *folder = folder_of(TLPI_MXFP4, true, 60);
        char path[128], want[128];

        snprintf(path, sizeof path, "weight_map/%s", names[i]);
        hf_edit(folder, INDEX, path, NULL);
        snprintf(want, sizeof want, ": tensor %s: missing", names[i]);
        hf_expect_fails(folder, TLP_EFORMAT, want);
    }
}

/* The file of a tensor, by the index of its folder. */
static const char *file_of(const char *folder, const char *tensor)
{
    static char name[64];
    json_t *index = hf_load(folder, INDEX);
    json_t *map = json_object_get(index, "weight_map");

    snprintf(name, sizeof name, "%s",
             json_string_value(json_object_get(map, tensor)));
    json_decref(index);
    return name;
}

/* A matrix as codes and as numbers. */
Test(folder_gpt_oss, tensors_that_are_there_twice)
{
    static const char tensor[] = LAYER "down_proj";
    const char *from = tiny_keep_path(folder_of(TLPI_F32, false, 60));
    const char *folder = folder_of(TLPI_MXFP4, true, 60);
    static char bytes[1 << 20];
    FILE *f = fopen(hf_file(from, file_of(from, tensor)), "rb");

    cr_assert_not_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    cr_assert(n > 0 && n < sizeof bytes && fclose(f) == 0);
    hf_write(folder, "more.safetensors", bytes, n);
    hf_edit(folder, INDEX, "weight_map/" LAYER "down_proj",
            "\"more.safetensors\"");
    hf_expect_fails(folder, TLP_EFORMAT, "there twice");
}
