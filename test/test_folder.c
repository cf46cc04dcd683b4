/*
 * test_folder.c - folders of Hugging Face as models: a folder that is made from
 * a GGUF file is the model of that file again.
 *
 * The files are tiny models of every architecture.  test_parity.c compares them
 * with numbers of transformers, whose names, order of rows and norms the folder
 * has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file/mapfile.h"
#include "model/model.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

enum { N_TOKEN = 13 };

TestSuite(folder, .timeout = 60);

static const char *const archs[] = { "llama",  "granite", "smollm3",  "qwen2",
                                     "qwen3",  "gemma3",  "olmo2",    "phi3",
                                     "glm4",   "exaone4", "qwen3moe", "mixtral",
                                     "gemma2", "gpt-oss", "mistral3" };

static tiny_spec spec_of(const char *arch)
{
    tiny_spec s = tiny_default();

    s.arch = arch;
    s.type = TLPI_F32;
    if (strcmp(arch, "mixtral") == 0) {
        s.arch = "llama";
        s.n_expert = 5;
        s.n_used = 2;
    }
    if (strcmp(arch, "granite") == 0) {
        s.embedding_scale = 3;
        s.residual_scale = 0.375f;
        s.attention_scale = 0.125f;
        s.logit_scale = 1.5f;
    }
    if (strcmp(arch, "gpt-oss") == 0 || strcmp(arch, "mistral3") == 0)
        s.yarn = 4;
    if (strcmp(arch, "mistral3") == 0)
        s.yarn_log = 1;
    if (strncmp(arch, "gemma", 5) == 0 || strcmp(arch, "exaone4") == 0)
        s.window = 5;
    return s;
}

static const char *digest_of(const tlp_model *m, char out[128])
{
    CHECK_OK(tlp_model_get_digest(out, 128, &(size_t){ 0 }, m));
    return out;
}

/* Both models have equal tensors and hyper-parameters. */
static void expect_equal(const char *a_path, const char *b_path)
{
    char a_digest[128], b_digest[128];
    tlp_model *a = rig_open_model(a_path), *b = rig_open_model(b_path);

    cr_expect_str_eq(digest_of(a, a_digest), digest_of(b, b_digest),
                     "%s and %s", a_path, b_path);
    tlp_model_free(b);
    tlp_model_free(a);
}

/* Both models compute equal bits. */
static void expect_equal_logits(const char *a_path, const char *b_path)
{
    tlp_session_options o = rig_f32(1, 1);
    int32_t ids[N_TOKEN];

    rig_tokens(ids, N_TOKEN, 288, 1);
    float *a = rig_run(a_path, "serial", &o, ids, N_TOKEN);
    float *b = rig_run(b_path, "serial", &o, ids, N_TOKEN);
    cr_expect_arr_eq(a, b, N_TOKEN * 288 * sizeof *a, "%s and %s", a_path,
                     b_path);
    free(b);
    free(a);
}

/* ==== the model of the file ============================================== */

/* Every architecture, tied and untied, as transformers 5 writes and as older
 * versions did. */
Test(folder, is_the_model_of_its_file)
{
    for (int i = 0; i < 4 * COUNT(archs); i++) {
        tiny_spec s = spec_of(archs[i / 4]);

        s.tied = i & 1;
        hf_spec f = { .gguf = tiny_make(&s), .older = i & 2 };
        const char *folder = hf_make(&f);

        expect_equal(f.gguf, folder);
        expect_equal_logits(f.gguf, folder);
    }
}

/* Positions of Phi-3, at both lengths of a context, as transformers 5 writes
 * them and as older versions did. */
Test(folder, divides_angles)
{
    for (int i = 0; i < 4; i++) {
        tiny_spec s = spec_of("phi3");

        s.long_gain = 1.25f;
        s.scale_ctx = i & 1 ? 8 : 64;
        s.window = i & 1 ? 5 : 0;
        hf_spec f = { .gguf = tiny_make(&s), .older = i & 2 };
        const char *folder = hf_make(&f);

        expect_equal(f.gguf, folder);
        expect_equal_logits(f.gguf, folder);
    }
}

/* The factor of what is rotated follows from the growth of the context: the
 * number that _compute_longrope_parameters of transformers gives for a growth
 * of 8 from 64. */
Test(folder, has_the_gain_of_longrope)
{
    tiny_spec s = spec_of("phi3");

    s.n_ctx = 512;
    s.long_gain = 1.25f;
    s.scale_ctx = 64;
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f);
    hf_edit(folder, "config.json", "rope_parameters/attention_factor", NULL);
    tlp_model *m = rig_open_model(folder);
    cr_expect_eq(m->hp.n_ctx_train, 512);
    cr_expect_float_eq(m->hp.rope_gain, 1.2247449f, 1e-6);
    tlp_model_free(m);
}

/* With windows, layers of EXAONE 4 without one do not rotate, also where no
 * layer has a window. */
Test(folder, layers_without_rotation)
{
#define FULL "\"full_attention\""
    static const struct {
        const char *key, *value;
        int step;
    } edits[] = {
        { "layer_types", NULL, 4 },
        { "layer_types", "[" FULL ", " FULL ", " FULL ", " FULL ", " FULL "]",
          1 },
        { "sliding_window", "null", 0 },
    };
    tiny_spec s = spec_of("exaone4");
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f);

    for (int i = 0; i < COUNT(edits); i++) {
        hf_edit(folder, "config.json", edits[i].key, edits[i].value);
        tlp_model *m = rig_open_model(folder);
        cr_expect_eq(m->hp.no_rope_step, edits[i].step);
        tlp_model_free(m);
    }
}

/* Experts in a tensor each, over files of two tensors at most, or in one of all
 * gates and ups; weights that do not sum to 1. */
Test(folder, stacks_experts)
{
    for (int i = 0; i < 8; i++) {
        tiny_spec s = spec_of(i & 1 ? "mixtral" : "qwen3moe");

        s.raw_weights = !(i & 1) && (i & 4);
        hf_spec f = { .gguf = tiny_make(&s),
                      .fused = i & 2,
                      .n_shard = i & 4 ? 60 : 0 };
        const char *folder = hf_make(&f);

        expect_equal(f.gguf, folder);
        expect_equal_logits(f.gguf, folder);
    }
}

/* Halves of a model in F16 and BF16, with norms in F32. */
Test(folder, keeps_types)
{
    static const tlpi_dtype types[] = { TLPI_F16, TLPI_BF16 };

    for (int i = 0; i < 2 * COUNT(archs); i++) {
        tiny_spec s = spec_of(archs[i / 2]);

        s.type = types[i % 2];
        hf_spec f = { .gguf = tiny_make(&s) };

        expect_equal(f.gguf, hf_make(&f));
    }
}

Test(folder, scales_positions)
{
    for (int older = 0; older < 2; older++) {
        tiny_spec s = spec_of("llama");

        s.rope_scale = 4;
        hf_spec f = { .gguf = tiny_make(&s), .older = older };
        expect_equal(f.gguf, hf_make(&f));

        s = spec_of("olmo2");
        s.window = 5;
        s.yarn = 4;
        f.gguf = tiny_make(&s);
        expect_equal(f.gguf, hf_make(&f));
    }
}

/* Llama 3.1's scaling becomes the table of divisors: numbers of transformers'
 * _compute_llama3_parameters for these settings. */
Test(folder, makes_the_table_of_llama3)
{
    static const float want[] = { 1, 1, 2.3391168f, 8, 8, 8, 8, 8 };
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f);
    json_t *c = hf_load(folder, "config.json");

    json_object_set_new(c, "rope_parameters",
                        json_pack("{ss sf sf sf sf si}", "rope_type", "llama3",
                                  "rope_theta", 10000.0, "factor", 8.0,
                                  "low_freq_factor", 1.0, "high_freq_factor",
                                  4.0, "original_max_position_embeddings",
                                  128));
    hf_save(folder, "config.json", c);
    json_decref(c);

    tlp_model *m = rig_open_model(folder);
    const tlpi_tensor *t = m->w.t[TLPI_ROPE_FREQS];
    cr_assert(t && t->ne[0] == 8 && t->type == TLPI_F32);
    for (int i = 0; i < 8; i++)
        cr_expect_float_eq(((const float *)t->data)[i], want[i], 1e-6, "%d: %g",
                           i, (double)((const float *)t->data)[i]);
    tlp_model_free(m);
}

/* The base of layers with windows, under its names in time. */
Test(folder, reads_the_base_of_windows)
{
    for (int older = 0; older < 2; older++) {
        tiny_spec s = spec_of("gemma3");
        hf_spec f = { .gguf = tiny_make(&s), .older = older };
        const char *folder = hf_make(&f);

        if (older)
            hf_edit(folder, "config.json", "rope_local_base_freq", "5000");
        else
            hf_edit(folder, "config.json",
                    "rope_parameters/sliding_attention/rope_theta", "5000");
        tlp_model *m = rig_open_model(folder);
        cr_expect_eq(m->hp.window_theta, 5000);
        cr_expect_eq(m->hp.rope_theta, 1e6f);
        tlp_model_free(m);
    }
}

Test(folder, has_biases)
{
    tiny_spec s = spec_of("qwen2");
    hf_spec f = { .gguf = tiny_make(&s) };
    tlp_model *m = rig_open_model(hf_make(&f));

    cr_expect(m->w.layer[0].t[TLPI_ATTN_Q_BIAS] != NULL);
    cr_expect(m->w.layer[0].t[TLPI_ATTN_OUTPUT_BIAS] == NULL);
    tlp_model_free(m);
}

/* Vectors of 16 bits become F32, and norms of gemma3 get their 1 after that. */
Test(folder, widens_vectors)
{
    for (int i = 0; i < 2; i++) {
        tiny_spec s = spec_of(i ? "gemma3" : "qwen2");
        hf_spec f = { .gguf = tiny_make(&s), .vector = TLPI_BF16 };
        tlp_model *m = rig_open_model(hf_make(&f)),
                  *file = rig_open_model(f.gguf);
        const tlpi_tensor *t = m->w.t[TLPI_OUTPUT_NORM];
        const float *x = t->data, *w = file->w.t[TLPI_OUTPUT_NORM]->data;

        cr_assert_eq(t->type, TLPI_F32);
        for (int k = 0; k < s.n_embd; k++) {
            uint16_t half = tlpi_f32_to_bf16(w[k] - (float)i);

            cr_expect_eq(x[k], tlpi_bf16_to_f32(half) + (float)i);
        }
        tlp_model_free(file);
        tlp_model_free(m);
    }
}

/* Matrices that decide between experts become F32 too. */
Test(folder, widens_routers)
{
    tiny_spec s = spec_of("mixtral");
    hf_spec f = { .gguf = tiny_make(&s), .vector = TLPI_BF16 };
    tlp_model *m = rig_open_model(hf_make(&f)), *file = rig_open_model(f.gguf);
    const tlpi_tensor *t = m->w.layer[1].t[TLPI_FFN_ROUTER];
    const float *x = t->data, *w = file->w.layer[1].t[TLPI_FFN_ROUTER]->data;

    cr_assert_eq(t->type, TLPI_F32);
    for (int k = 0; k < s.n_embd * s.n_expert; k++)
        cr_expect_eq(x[k], tlpi_bf16_to_f32(tlpi_f32_to_bf16(w[k])));
    tlp_model_free(file);
    tlp_model_free(m);
}

Test(folder, in_several_files)
{
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s), .n_shard = 3 };
    const char *folder = hf_make(&f);
    tlp_model *m = rig_open_model(folder);

    cr_expect_eq(m->n_file, 4);
    cr_expect_str_eq(m->file[1]->path,
                     hf_file(folder, "model-00001-of-00003.safetensors"));
    tlp_model_free(m);
    expect_equal(f.gguf, folder);
    expect_equal_logits(f.gguf, folder);
}

/* A single file wins over an index beside it, as in transformers. */
Test(folder, single_file_wins)
{
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f);

    hf_write(folder, "model.safetensors.index.json", "{}", 2);
    expect_equal(f.gguf, folder);
}

/* Read instead of mapped; opened through a link, with a slash behind it. */
Test(folder, however_it_is_opened)
{
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f), *link = tiny_path("link");
    char slash[1024], a[128], b[128];
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL, *file = rig_open_model(f.gguf);

    cr_assert_eq(symlink(folder, link), 0);
    snprintf(slash, sizeof slash, "%s/", link);
    o.no_mmap = 1;
    CHECK_OK(tlp_model_open(&m, slash, &o));
    cr_expect_str_eq(digest_of(m, a), digest_of(file, b));
    tlp_model_free(m);
    tlp_model_free(file);
}

/* With vocab_only no tensors are needed. */
Test(folder, vocabulary_alone)
{
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    const char *folder = hf_make(&f);
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    int32_t a[64], b[64];
    size_t na = 0, nb = 0;
    const char *text = "Hello world and 123 <|im_end|> others";
    tlp_model *m = NULL, *file = rig_open_model(f.gguf);

    cr_assert_eq(unlink(hf_file(folder, "model.safetensors")), 0);
    o.vocab_only = 1;
    CHECK_OK(tlp_model_open(&m, folder, &o));
    CHECK_OK(tlp_tokenize(a, 64, &na, m, text, strlen(text),
                          TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS));
    CHECK_OK(tlp_tokenize(b, 64, &nb, file, text, strlen(text),
                          TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS));
    cr_assert(na == nb && na > 10);
    cr_expect_arr_eq(a, b, na * sizeof *a);
    tlp_model_free(m);
    tlp_model_free(file);
}

/* ==== converted ========================================================== */

/* Equal bits and digests, and metadata: the keys of the folder. */
Test(folder, equals_its_converted_file)
{
    for (int i = 0; i < COUNT(archs); i++) {
        tiny_spec s = spec_of(archs[i]);
        hf_spec f = { .gguf = tiny_make(&s), .n_shard = i % 3 };
        const char *folder = hf_make(&f), *out = tiny_path("out.gguf");
        tlp_quantize_result r = { .struct_size = sizeof r };
        tlp_model_info a = { .struct_size = sizeof a }, b = a;
        tlp_model *m = rig_open_model(folder);

        CHECK_OK(tlp_model_quantize(&r, m, out, NULL, NULL));
        cr_expect_eq(r.n_converted, 0);
        tlp_model *file = rig_open_model(out);
        CHECK_OK(tlp_model_get_info(&a, m));
        CHECK_OK(tlp_model_get_info(&b, file));
        cr_expect_eq(r.n_tensor, b.n_tensor);
        cr_expect_str_eq(a.fingerprint, b.fingerprint);
        cr_assert_eq(a.n_meta, b.n_meta);
        for (size_t k = 0; k < (size_t)a.n_meta; k++) {
            char x[512], y[512];
            size_t nx = 0, ny = 0;
            const char *key = tlp_model_meta_key(m, k);

            CHECK_OK(tlp_model_get_meta(x, sizeof x, &nx, m, key));
            CHECK_OK(tlp_model_get_meta(y, sizeof y, &ny, file, key));
            cr_expect_str_eq(x, y, "%s", key);
        }
        tlp_model_free(file);
        tlp_model_free(m);
        expect_equal(folder, out);
        expect_equal_logits(folder, out);
    }
}

/* A type: the file is that of the GGUF file in this type. */
Test(folder, quantizes_like_a_file)
{
    tiny_spec s = spec_of("qwen3");
    hf_spec f = { .gguf = tiny_make(&s), .n_shard = 2 };
    const char *a = tiny_path("a.gguf"), *b = tiny_path("b.gguf");
    tlp_model *m = rig_open_model(hf_make(&f)), *file = rig_open_model(f.gguf);

    CHECK_OK(tlp_model_quantize(NULL, m, a, "Q8_0", NULL));
    CHECK_OK(tlp_model_quantize(NULL, file, b, "Q8_0", NULL));
    expect_equal(a, b);
    tlp_model_free(file);
    tlp_model_free(m);
}

/* What converters write beside shapes. */
Test(folder, has_the_keys_of_converters)
{
    static const char *const want[][2] = {
        { "general.architecture", "llama" },
        { "general.type", "model" },
        { "general.file_type", "0" },
        { "general.size_label", "425K" },
        { "llama.vocab_size", "288" },
        { "llama.rope.dimension_count", "16" },
        { "tokenizer.ggml.model", "gpt2" },
        { "tokenizer.ggml.pre", "smollm" },
        { "tokenizer.ggml.bos_token_id", "286" },
        { "tokenizer.ggml.eos_token_id", "287" },
        { "tokenizer.ggml.add_bos_token", "false" },
    };
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    tlp_model *m = rig_open_model(hf_make(&f));

    for (int i = 0; i < COUNT(want); i++) {
        char value[256] = "";
        size_t n = 0;

        CHECK_OK(tlp_model_get_meta(value, sizeof value, &n, m, want[i][0]));
        cr_expect_str_eq(value, want[i][1], "%s: %s", want[i][0], value);
    }
    tlp_model_free(m);
}

/* ==== memory ============================================================= */

/* Matrices stay in the mapping, but those of queries and keys. */
Test(folder, copies_only_what_changes)
{
    tiny_spec s = spec_of("llama");
    hf_spec f = { .gguf = tiny_make(&s) };
    tlp_model *m = rig_open_model(hf_make(&f));
    const tlpi_gguf *g = m->file[1];

    for (size_t i = 0; i < g->n_tensor; i++) {
        const tlpi_tensor *t = &g->tensor[i];
        const uint8_t *at = t->data;
        bool mapped = at >= g->map->data && at < g->map->data + g->map->size;
        bool moved = strstr(t->name, "attn_q.") || strstr(t->name, "attn_k.");

        cr_expect_eq(mapped, !moved, "%s", t->name);
    }
    tlp_model_free(m);
}
