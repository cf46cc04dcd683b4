/*
 * test_random_model.c - scripts/make-random-model.py writes models that the
 * library takes and that compute numbers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/rig.h"
#include "support/tiny.h"

#define SCRIPT "scripts/make-random-model.py"

TestSuite(random_model, .timeout = 120);

/* An interpreter with what the script imports: TLP_PYTHON, or python3. */
static const char *python(void)
{
    char command[1024];
    const char *name = getenv("TLP_PYTHON");

    if (!name)
        name = "python3";
    snprintf(command, sizeof command,
             "'%s' -c 'import gguf, numpy' 2>/dev/null >&2", name);
    if (access(SCRIPT, R_OK) != 0)
        cr_skip_test("not run from the project's folder");
    if (system(command) != 0)
        cr_skip_test("%s has no gguf and numpy (TLP_PYTHON names another)",
                     name);
    return name;
}

/* A file of a shape with these options. */
static const char *make(const char *shape, const char *options)
{
    char command[2048];
    const char *path = tiny_path("random.gguf");

    snprintf(command, sizeof command, "'%s' " SCRIPT " %s '%s' %s", python(),
             shape, path, options);
    cr_assert_eq(system(command), 0, "%s", command);
    return path;
}

/* The type asked for, a few layers of the shape, logits that differ. */
Test(random_model, types)
{
    static const char *const types[] = { "F32", "F16", "BF16", "Q4_0", "Q8_0" };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char options[128];
        tlp_model_info info = { .struct_size = sizeof info };
        int32_t ids[12];
        size_t n_row = 0;

        snprintf(options, sizeof options,
                 "--type %s --set n_layer=3 n_vocab=700", types[i]);

        tlp_session_options o = rig_f32(1, 1);
        rig r = rig_open(make("smollm2-135m", options), "par:1-2", &o);

        CHECK_OK(tlp_model_get_info(&info, r.model));
        cr_expect_str_eq(info.quant, types[i]);
        cr_expect(info.n_layer == 3 && info.n_embd == 576 &&
                  info.n_ff == 1536 && info.n_head == 9 &&
                  info.n_head_kv == 3 && info.n_vocab == 700);
        rig_tokens(ids, 12, r.n_vocab, 1);
        CHECK_OK(tlp_session_prefill(r.session, ids, 12));

        float *row = rig_logits(&r, &n_row), lo = row[0], hi = row[0];

        for (size_t k = 0; k < r.n_vocab; k++) {
            cr_assert(isfinite(row[k]));
            lo = fminf(lo, row[k]);
            hi = fmaxf(hi, row[k]);
        }
        cr_expect(hi - lo > 1 && hi < 100 && lo > -100, "%f to %f", (double)lo,
                  (double)hi);
        free(row);
        rig_close(&r);
    }
}

Test(random_model, shapes)
{
    static const struct {
        const char *name, *arch;
        int n_embd, n_ff, n_head, n_head_kv, head_dim;
    } shape[] = {
        { "llama-2-7b", "llama", 4096, 11008, 32, 32, 128 },
        { "llama-3.2-1b", "llama", 2048, 8192, 32, 8, 64 },
        { "llama-3.2-3b", "llama", 3072, 8192, 24, 8, 128 },
        { "qwen3-4b", "qwen3", 2560, 9728, 32, 8, 128 },
        { "granite-3.1-2b", "granite", 2048, 8192, 32, 8, 64 },
        { "olmo2-1b", "olmo2", 2048, 8192, 16, 16, 128 },
        { "qwen3-30b-a3b", "qwen3moe", 2048, 768, 32, 4, 128 },
        { "smollm3-3b", "smollm3", 2048, 11008, 16, 4, 128 },
    };

    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        tlp_model *m = NULL;
        tlp_model_info info = { .struct_size = sizeof info };
        const char *path =
            make(shape[i].name, "--type Q4_0 --set n_layer=1 n_vocab=300");

        CHECK_OK(tlp_model_open(&m, path, NULL));
        CHECK_OK(tlp_model_get_info(&info, m));
        cr_expect_str_eq(info.arch, shape[i].arch);
        cr_expect(info.n_embd == shape[i].n_embd &&
                  info.n_ff == shape[i].n_ff &&
                  info.n_head == shape[i].n_head &&
                  info.n_head_kv == shape[i].n_head_kv &&
                  info.head_dim == shape[i].head_dim);
        tlp_model_free(m);
    }
}

/* --help asks for no package that is not Python's. */
Test(random_model, help_needs_no_packages)
{
    if (access(SCRIPT, R_OK) != 0)
        cr_skip_test("not run from the project's folder");
    if (system("python3 -c '' 2>/dev/null") != 0)
        cr_skip_test("there is no python3");
    /* -S: without the folder of installed packages */
    cr_expect_eq(system("python3 -S -E " SCRIPT " --help >/dev/null"), 0);
}

/* Equal seeds give equal files. */
Test(random_model, seeds)
{
    static const char *const options[] = {
        "--set n_layer=1 n_vocab=300", "--set n_layer=1 n_vocab=300 --seed 1",
        "--set n_layer=1 n_vocab=300 --seed 2"
    };
    char print[3][72];

    for (int i = 0; i < 3; i++) {
        tlp_model *m = NULL;
        tlp_model_info info = { .struct_size = sizeof info };

        CHECK_OK(tlp_model_open(&m, make("smollm2-135m", options[i]), NULL));
        CHECK_OK(tlp_model_get_info(&info, m));
        memcpy(print[i], info.fingerprint, sizeof print[i]);
        tlp_model_free(m);
    }
    cr_expect_str_eq(print[0], print[1]);
    cr_expect_str_neq(print[0], print[2]);
}
