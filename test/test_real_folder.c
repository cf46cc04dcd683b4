/*
 * test_real_folder.c - a folder of SmolLM2-135M-Instruct, made from its GGUF
 * file: weights in F32, rows of queries and keys in the order of transformers,
 * and a tokenizer.json from the file's vocabulary.
 *
 * Runs when TLP_TEST_MODEL names the GGUF file, as scripts/fetch-model.sh
 * fetches it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/hf_folder.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

enum { N_TOKEN = 24, MAX_ID = 512 };

static const char *gguf;

static void find_model(void)
{
    gguf = getenv("TLP_TEST_MODEL");
    if (!gguf || !*gguf)
        cr_skip("TLP_TEST_MODEL is not set to SmolLM2-135M-Instruct.Q4_1.gguf");
}

TestSuite(real_folder, .init = find_model, .timeout = 600);

static tlp_model *open_model(const char *path)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, path, NULL));
    return m;
}

/* Logits of the folder are those of the GGUF file in F32, bit by bit. */
Test(real_folder, logits)
{
    const char *f32 = tiny_path("f32.gguf");
    const hf_spec f = { .gguf = gguf };
    tlp_session_options o = rig_f32(1, 1);
    int32_t ids[N_TOKEN];
    tlp_model *m = open_model(gguf);

    CHECK_OK(tlp_model_quantize(NULL, m, f32, "F32", NULL));
    tlp_model_free(m);
    rig_tokens(ids, N_TOKEN, 49152, 3);
    float *a = rig_run(f32, "serial", &o, ids, N_TOKEN);
    float *b = rig_run(hf_make(&f), "serial", &o, ids, N_TOKEN);
    cr_expect_arr_eq(a, b, N_TOKEN * 49152 * sizeof *a);
    free(b);
    free(a);
}

static void expect_equal_ids(const tlp_model *a, const tlp_model *b,
                             const char *text, uint32_t flags)
{
    int32_t x[MAX_ID], y[MAX_ID];
    size_t nx = 0, ny = 0;

    CHECK_OK(tlp_tokenize(x, MAX_ID, &nx, a, text, strlen(text), flags));
    CHECK_OK(tlp_tokenize(y, MAX_ID, &ny, b, text, strlen(text), flags));
    cr_expect_eq(nx, ny, "\"%s\": %zu and %zu ids", text, nx, ny);
    if (nx == ny)
        cr_expect_arr_eq(x, y, nx * sizeof *x, "\"%s\"", text);
}

Test(real_folder, ids)
{
    static const char *const texts[] = {
        "",
        " ",
        "Hello world",
        "  two  blanks   three\n\n\nlines\t\ttabs\r\n",
        "I'm sure they'll say we've DON'T won't 'tis",
        "1 22 333 4444 55555 3.14159 1,000,000 0x1F",
        "def f(x):\n    return x ** 2  # squares\n",
        "L'été dernier, naïve café, Straße, Ελληνικά, русский",
        "日本語の文章です。 中文 한국어 ภาษาไทย",
        "🦙🚀👩‍👩‍👧‍👦 \u200b\u00a0\u3000|",
        "<|im_start|>user\nHi<|im_end|>\n<|endoftext|> <repo_name>x",
        "a\xff\xfe b \xc3( \xe2\x82",
        "!!!???...===---<<<>>>{}[]()'\"`~@#$%^&*_+",
        "supercalifragilisticexpialidocious antidisestablishmentarianism",
    };
    const hf_spec f = { .gguf = gguf, .older = true };
    tlp_model *file = open_model(gguf), *folder = open_model(hf_make(&f));

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (uint32_t flags = 0; flags < 4; flags++)
            expect_equal_ids(file, folder, texts[i],
                             (flags & 1 ? TLP_TOKENIZE_BOS : 0) |
                                 (flags & 2 ? TLP_TOKENIZE_SPECIAL : 0));
    tlp_model_free(folder);
    tlp_model_free(file);
}
