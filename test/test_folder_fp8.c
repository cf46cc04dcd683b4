/*
 * test_folder_fp8.c - folders of Hugging Face whose matrices are 8-bit
 * floating-point numbers with scales.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf/hf_tensors.h"
#include "model/model.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/hf_scaled.h"
#include "support/log_lines.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(folder_fp8, .timeout = 60);

#define CONFIG(more) "{\"quant_method\": \"fp8\"" more "}"

static const char *folder_of(const char *arch, bool images,
                             const hf_fp8_spec *spec, const char *config)
{
    tiny_spec s = tiny_default();

    s.arch = arch;
    s.type = TLPI_F32;
    s.n_layer = 2;
    if (strcmp(arch, "mistral3") == 0) {
        s.yarn = 4;
        s.yarn_log = 1;
    }
    hf_spec f = { .gguf = tiny_make(&s), .vector = TLPI_F32, .images = images };
    const char *folder = hf_make(&f);

    hf_fp8(folder, spec);
    if (!spec->wide)
        hf_edit(folder, "config.json", "quantization_config", config);
    return folder;
}

static void digest_of(const char *path, char out[128])
{
    size_t n = 0;
    tlp_model *m = rig_open_model(path);

    CHECK_OK(tlp_model_get_digest(out, 128, &n, m));
    tlp_model_free(m);
}

/* The model is that of a folder with the products in BF16. */
static void expect_products(const char *arch, bool images, hf_fp8_spec spec,
                            const char *config)
{
    char a[128], b[128];

    digest_of(folder_of(arch, images, &spec, config), a);
    spec.wide = true;
    digest_of(folder_of(arch, images, &spec, NULL), b);
    cr_expect_str_eq(a, b, "%s, blocks of %d x %d", arch, spec.rows, spec.cols);
}

/* All numbers, against the definition. */
Test(folder_fp8, numbers)
{
    float value[256];

    tlpi_hf_fp8_values(value);
    for (int i = 0; i < 256; i++) {
        double want = hf_fp8_value(i);

        cr_expect(isnan(want) ? isnan(value[i]) : (double)value[i] == want,
                  "%d: %g, %g expected", i, (double)value[i], want);
    }
    cr_expect_eq(value[0x7e], 448);
    cr_expect_eq(value[1], 0.001953125f);
}

/* One scale for a matrix, and blocks that do not divide it: rows change places
 * (llama), or do not (qwen3). */
Test(folder_fp8, products)
{
    hf_fp8_spec one = { .scale = TLPI_F32, .extra = true };
    hf_fp8_spec block = { .rows = 40, .cols = 25, .scale = TLPI_BF16 };

    expect_products("llama", false, one,
                    CONFIG(", \"activation_scheme\": \"static\", "
                           "\"weight_block_size\": null"));
    expect_products("llama", false, block,
                    CONFIG(", \"weight_block_size\": [40, 25]"));
    expect_products("qwen3", false, block,
                    CONFIG(", \"fmt\": \"e4m3\", \"activation_scheme\": "
                           "\"dynamic\", \"weight_block_size\": [40, 25]"));
    expect_products("mistral3", true, one,
                    CONFIG(", \"modules_to_not_convert\": [\"lm_head\"], "
                           "\"dequantize\": false"));
}

/* Known keys give no warning, others do. */
Test(folder_fp8, warnings)
{
    hf_fp8_spec spec = { .scale = TLPI_F32 };
    const char *folder =
        folder_of("qwen3", false, &spec, CONFIG(", \"shifts\": 3"));
    log_lines seen = { .n = 0 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    o.log = log_lines_add;
    o.log_data = &seen;
    CHECK_OK(tlp_model_open(&m, folder, &o));
    cr_expect_eq(seen.n, 1, "%s", seen.text);
    cr_expect(strstr(seen.text, "quantization_config.shifts"), "%s", seen.text);
    tlp_model_free(m);
}

/* ==== what is refused ==================================================== */

Test(folder_fp8, bad_keys)
{
    static const struct {
        const char *config, *text;
        tlp_status status;
    } row[] = {
        { CONFIG(", \"fmt\": \"e5m2\""), "fmt: \"e5m2\", \"e4m3\" expected",
          TLP_ENOTSUP },
        { CONFIG(", \"weight_block_size\": [0, 128]"),
          "weight_block_size: an array of 2", TLP_EFORMAT },
        { CONFIG(", \"weight_block_size\": [128]"),
          "weight_block_size: an array of 1", TLP_EFORMAT },
        { CONFIG(", \"weight_block_size\": [128, 99999]"),
          "two sizes from 1 to", TLP_EFORMAT },
        { CONFIG(", \"weight_block_size\": [32, 32]"),
          "weight_scale_inv: 1 numbers, 3 x 3 expected", TLP_EFORMAT },
        { "null", "weight_scale_inv: not known for", TLP_ENOTSUP },
        { "{\"quant_method\": \"awq\"}", "\"awq\", \"fp8\" expected",
          TLP_ENOTSUP },
    };
    hf_fp8_spec spec = { .scale = TLPI_F32 };

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        hf_expect_fails(folder_of("qwen3", false, &spec, row[i].config),
                        row[i].status, row[i].text);
}

Test(folder_fp8, bad_tensors)
{
    static const struct {
        const char *from, *to, *text;
        tlp_status status;
    } row[] = {
        { "layers.1.mlp.up_proj.weight_scale_inv",
          "layers.1.mlp.up_proj.activation_scale", "but the file has no",
          TLP_EFORMAT },
        { "layers.1.mlp.up_proj.weight\"", "layers.1.mlp.dd_proj.weight\"",
          "not known for", TLP_ENOTSUP },
        { "layers.1.mlp.up_proj.weight_scale_inv",
          "layers.9.mlp.up_proj.weight_scale_inv", "the model has 2 layers",
          TLP_EFORMAT },
        { "F8_E4M3", "F8_E5M2", "dtype F8_E5M2", TLP_ENOTSUP },
    };
    hf_fp8_spec spec = { .scale = TLPI_F32 };

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const char *folder = folder_of("qwen3", false, &spec, CONFIG(""));

        hf_patch(folder, row[i].from, row[i].to);
        hf_expect_fails(folder, row[i].status, row[i].text);
    }
}

/* Bytes that stand for no number. */
Test(folder_fp8, not_a_number)
{
    hf_fp8_spec spec = { .scale = TLPI_F32 };
    const char *folder = folder_of("qwen3", false, &spec, CONFIG(""));
    FILE *f = fopen(hf_file(folder, "model.safetensors"), "r+b");

    cr_assert(f && fseek(f, -5, SEEK_END) == 0); /* inside an 8-bit matrix */
    fputc(0x7f, f);
    fclose(f);
    hf_expect_fails(folder, TLP_EFORMAT, "a number is not finite");
}
