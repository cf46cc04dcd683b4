/*
 * test_supported.c - the names of what the library loads are those of files
 * that it loads.
 */
#include <string.h>

#include "support/rig.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_tune.h"

TestSuite(supported, .timeout = 60);

Test(supported, files_of_every_architecture_open)
{
    size_t n = 0;

    for (const char *name; (name = tlp_arch_name(n)); n++) {
        tiny_spec spec = tiny_default();
        tlp_model_info info = { .struct_size = sizeof info };
        tlp_model *m = NULL;

        spec.arch = name;
        CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
        CHECK_OK(tlp_model_get_info(&info, m));
        cr_expect_str_eq(info.arch, name);
        tlp_model_free(m);
    }
    cr_expect_geq(n, 6);
    cr_expect_null(tlp_arch_name(n + 1));
    cr_expect_null(tlp_arch_name((size_t)-1));
}

static const char *type_of(tlp_model *m, const char *tensor)
{
    static tlp_tensor_info t;

    t.struct_size = sizeof t;
    for (size_t i = 0; tlp_model_get_tensor(&t, m, i) == TLP_OK; i++)
        if (strcmp(t.name, tensor) == 0)
            return t.type;
    return "";
}

Test(supported, files_of_every_type_open)
{
    tiny_spec spec = tiny_default();
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_model *m = NULL, *q = NULL;
    size_t n = 0;

    spec.n_embd = spec.n_ff = 256;
    o.pure = 1;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (const char *name; (name = tlp_type_name(n)); n++) {
        const char *path = tiny_path("typed.gguf");

        CHECK_OK(tlp_model_quantize(NULL, m, path, name, &o));
        CHECK_OK(tlp_model_open(&q, path, NULL));
        cr_expect_str_eq(type_of(q, "blk.0.attn_q.weight"), name);
        tlp_model_free(q);
    }
    cr_expect_geq(n, 14);
    cr_expect_null(tlp_type_name((size_t)-1));
    tlp_model_free(m);
}

Test(supported, the_tool_lists_them)
{
    spawned s = SPAWN("tlp", "info", "--arch");
    spawned with = SPAWN("tlp", "info", "--arch", "-m", tool_model());

    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "models       llama ") &&
                  strstr(s.out, "\ntensors      F32 "),
              "%s", s.out);
    cr_expect_eq(strncmp(with.out, s.out, s.n_out), 0);
    cr_expect_not_null(strstr(with.out, "\narch         llama"));
    spawn_free(&with);
    spawn_free(&s);
}
