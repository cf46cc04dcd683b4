/*
 * test_adapter_file.c - adapters in GGUF files as other programs write them,
 * and files that do not fit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/adapter.h"
#include "support/check.h"
#include "support/gguf_writer.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static tlp_model *model;
static const char *path;

static void open_model(void)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F32;
    path = tiny_make(&spec);
    CHECK_OK(tlp_model_open(&model, path, NULL));
}

static void close_model(void)
{
    tlp_model_free(model);
}

TestSuite(adapter_file, .init = open_model, .fini = close_model,
          .timeout = 120);

static tlp_adapter *opened(const char *file)
{
    tlp_adapter *a = NULL;

    CHECK_OK(tlp_adapter_open(&a, model, file));
    return a;
}

/* ==== files of other programs ============================================ */

static gw_file begin(const char *type, const char *arch, const char *kind,
                     float alpha)
{
    gw_file w;

    gw_init(&w);
    if (arch)
        gw_kv_str(&w, "general.architecture", arch);
    if (type)
        gw_kv_str(&w, "general.type", type);
    gw_kv_str(&w, "general.name", "an adapter");
    if (kind)
        gw_kv_str(&w, "adapter.type", kind);
    if (alpha >= 0)
        gw_kv_f32(&w, "adapter.lora.alpha", alpha);
    return w;
}

static void add(gw_file *w, const char *name, tlpi_dtype type, int rows,
                int cols, float value)
{
    const uint64_t ne[] = { (uint64_t)cols, (uint64_t)rows };
    size_t row = tlpi_row_bytes(type, cols);
    float *x = malloc((size_t)cols * sizeof *x);
    uint8_t *data = malloc((size_t)rows * row);

    cr_assert(x && data);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < cols; j++)
            x[j] = value * (float)(i + 1);
        tlpi_quantize(type, x, data + (size_t)i * row, cols);
    }
    gw_tensor(w, name, type, 2, ne, data, (size_t)rows * row);
    free(data);
    free(x);
}

static const char *finish(gw_file *w)
{
    const char *file = tiny_path("other.gguf");

    cr_assert(gw_save(w, file));
    gw_free(w);
    return file;
}

/* alpha / rank multiplies b; alpha 0 and no alpha leave it. */
Test(adapter_file, alpha_is_a_part_of_b)
{
    static const struct {
        float alpha, scale;
        tlpi_dtype type, want;
    } cases[] = {
        { 4, 2, TLPI_F16, TLPI_F16 },        { 0, 1, TLPI_F32, TLPI_F16 },
        { -1, 1, TLPI_BF16, TLPI_F16 },      { 3, 1.5f, TLPI_F32, TLPI_F16 },
        { 0.3f, 0.15f, TLPI_F16, TLPI_F32 },
    };

    for (int i = 0; i < COUNT(cases); i++) {
        gw_file w = begin("adapter", "llama", "lora", cases[i].alpha);

        add(&w, "blk.2.attn_k.weight.lora_a", TLPI_Q8_0, 2, 96, 0);
        add(&w, "blk.2.attn_k.weight.lora_b", cases[i].type, 48, 2, 1);
        tlp_adapter *a = opened(finish(&w));
        const tlpi_lowrank *p = &a->lora[2].pair[TLPI_ATTN_K];
        float row[2];

        cr_assert_eq(p->rank, 2);
        cr_expect_eq(p->up.type, cases[i].want, "%d", i);
        tlpi_read_row(&p->up, 4, row, 2);
        cr_expect_float_eq(row[1], 5 * cases[i].scale, 1e-6f, "%g", row[1]);
        tlp_adapter_free(a);
    }
}

static void expect_refused(gw_file *w, tlp_status status, const char *text)
{
    tlp_adapter *a = NULL;

    CHECK_FAILS(status, tlp_adapter_open(&a, model, finish(w)));
    cr_expect(strstr(tlp_last_error(), text), "\"%s\" expected, got: %s", text,
              tlp_last_error());
    cr_expect(strstr(tlp_last_error(), "other.gguf"), "%s", tlp_last_error());
    cr_expect_null(strchr(tlp_last_error(), '\n'));
    cr_expect_null(a);
}

static void add_pair(gw_file *w)
{
    add(w, "blk.0.attn_q.weight.lora_a", TLPI_F32, 2, 96, 1);
    add(w, "blk.0.attn_q.weight.lora_b", TLPI_F32, 96, 2, 1);
}

Test(adapter_file, keys_that_do_not_fit_are_refused)
{
    static const struct {
        const char *type, *arch, *kind;
        float alpha;
        tlp_status st;
        const char *text;
    } cases[] = {
        { NULL, "llama", "lora", 1, TLP_EFORMAT,
          "key general.type is missing" },
        { "adapter", NULL, "lora", 1, TLP_EFORMAT,
          "key general.architecture is missing" },
        { "adapter", "llama", NULL, 1, TLP_EFORMAT,
          "key adapter.type is missing" },
        { "model", "llama", "lora", 1, TLP_ENOTSUP,
          "key general.type: model is not supported, adapter expected" },
        { "adapter", "qwen2", "lora", 1, TLP_ENOTSUP,
          "key general.architecture: qwen2 is not supported, llama" },
        { "adapter", "llama", "dora", 1, TLP_ENOTSUP,
          "key adapter.type: dora is not supported, lora expected" },
        { "adapter", "llama", "lora", INFINITY, TLP_EFORMAT,
          "key adapter.lora.alpha: inf, a finite number" },
    };

    for (int i = 0; i < COUNT(cases); i++) {
        gw_file w =
            begin(cases[i].type, cases[i].arch, cases[i].kind, cases[i].alpha);

        add_pair(&w);
        expect_refused(&w, cases[i].st, cases[i].text);
    }
}

Test(adapter_file, keys_of_other_kinds_are_refused)
{
    const int32_t tokens[] = { 1, 2 };
    gw_file w = begin("adapter", "llama", "lora", -1);

    add_pair(&w);
    gw_kv_str(&w, "adapter.lora.alpha", "16");
    expect_refused(&w, TLP_EFORMAT, "adapter.lora.alpha");
    w = begin("adapter", "llama", "lora", 1);
    add_pair(&w);
    gw_kv_array(&w, "adapter.alora.invocation_tokens", TLPI_GGUF_I32, 2, tokens,
                sizeof tokens);
    expect_refused(&w, TLP_ENOTSUP, "adapter.alora.invocation_tokens");
    w = begin("adapter", "llama", "lora", 1);
    add_pair(&w);
    gw_kv_u32(&w, "split.count", 2);
    expect_refused(&w, TLP_ENOTSUP, "split.count");
    w = begin("adapter", "llama", "lora", 1);
    expect_refused(&w, TLP_EFORMAT, "no tensors");
}

typedef struct bad_tensor {
    const char *name;
    int rows, cols;
    float value;
    tlp_status st;
    const char *text;
} bad_tensor;

/* Beside a pair that is right. */
Test(adapter_file, tensors_that_do_not_fit_are_refused)
{
    static const bad_tensor bad[] = {
        { "blk.1.attn_q.weight.lora_a", 2, 96, 1, TLP_EFORMAT,
          "blk.1.attn_q: lora_a has rank 2, lora_b has 0" },
        { "blk.1.ffn_down.weight.lora_b", 96, 2, 1, TLP_EFORMAT,
          "blk.1.ffn_down: lora_a has rank 0, lora_b has 2" },
        { "blk.1.attn_q.weight.lora_a", 2, 64, 1, TLP_EFORMAT,
          "blk.1.attn_q.lora_a: 2 dims, [2][64]; [rank][96] expected" },
        { "blk.1.attn_v.weight.lora_b", 96, 2, 1, TLP_EFORMAT,
          "[48][rank] expected" },
        { "blk.1.attn_q.weight.lora_a", 97, 96, 1, TLP_EFORMAT,
          "rank 97, at most 96 expected" },
        { "blk.1.attn_q.weight.lora_a", 2, 96, NAN, TLP_EFORMAT,
          "is not a finite number" },
        { "blk.5.attn_q.weight.lora_a", 2, 96, 1, TLP_EFORMAT,
          "the model has 5 layers (0-4)" },
        { "blk.1.attn_q.weight", 2, 96, 1, TLP_ENOTSUP,
          "lora_a or lora_b of attn_q" },
        { "blk.1.attn_norm.weight.lora_a", 2, 96, 1, TLP_ENOTSUP,
          "tensor blk.1.attn_norm.weight.lora_a: lora_a or lora_b" },
        { "blk.1.attn_qkv.weight.lora_a", 2, 96, 1, TLP_ENOTSUP,
          "tensor blk.1.attn_qkv.weight.lora_a: lora_a or lora_b" },
        { "token_embd.weight.lora_a", 2, 96, 1, TLP_ENOTSUP,
          "tensor token_embd.weight.lora_a: lora_a or lora_b" },
        { "output.weight.lora_b", 288, 2, 1, TLP_ENOTSUP,
          "tensor output.weight.lora_b: lora_a or lora_b" },
        { "blk.1.attn_q.lora_a", 2, 96, 1, TLP_ENOTSUP, "lora_a or lora_b" },
    };

    for (int i = 0; i < COUNT(bad); i++) {
        gw_file w = begin("adapter", "llama", "lora", 1);

        add_pair(&w);
        add(&w, bad[i].name, TLPI_F32, bad[i].rows, bad[i].cols, bad[i].value);
        expect_refused(&w, bad[i].st, bad[i].text);
    }
}

Test(adapter_file, other_shapes_are_refused)
{
    const uint64_t three[] = { 96, 2, 1 }, one[] = { 96 };
    float x[192] = { 0 };
    gw_file w = begin("adapter", "llama", "lora", 1);

    gw_tensor(&w, "blk.0.attn_q.weight.lora_a", TLPI_F32, 3, three, x,
              sizeof x);
    expect_refused(&w, TLP_EFORMAT, "3 dims, 2 expected");
    w = begin("adapter", "llama", "lora", 1);
    gw_tensor(&w, "blk.0.attn_q.weight.lora_a", TLPI_F32, 1, one, x,
              96 * sizeof *x);
    expect_refused(&w, TLP_EFORMAT, "1 dims, 2 expected");
}

/* A model is no adapter, and an adapter no model. */
Test(adapter_file, other_files_are_refused)
{
    gw_file w = begin("adapter", "llama", "lora", 1);
    tlp_adapter *a = NULL;
    tlp_model *m = NULL;

    add_pair(&w);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&m, finish(&w), NULL));
    CHECK_FAILS(TLP_EFORMAT, tlp_adapter_open(&a, model, path));
    CHECK_FAILS(TLP_EIO, tlp_adapter_open(&a, model, "/no/such/file"));
    CHECK_FAILS(TLP_EINVAL, tlp_adapter_open(&a, NULL, path));
}
