/*
 * test_tool_device.c - tlp info --devices, and --device of the commands that
 * compute.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/plugins.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

static void no_plugin(void)
{
    setenv("TLP_PLUGIN_PATH", "/nowhere", 1);
}

TestSuite(tool_device, .init = no_plugin, .timeout = 120);

/* The tool also looks beside itself. */
Test(tool_device, there_is_no_plug_in)
{
    char beside[PATH_MAX];

    snprintf(beside, sizeof beside, "%s/libtlp_cuda.so", spawn_build_dir());
    if (access(beside, F_OK) == 0)
        cr_skip_test("built with CUDA");

    const char *m = tool_model();
    spawned s = SPAWN("tlp", "info", "--devices");
    spawned t = SPAWN("tlp", "info", "--devices", "-m", m, "--json");
    spawned u = SPAWN("tlp", "run", "-m", m, "-p", "a", "--device", "cuda");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp info: no plug-in for CUDA in ");
    tool_expect_status(&t, 1);
    tool_expect_message(&t, "tlp info: no plug-in for CUDA in ");
    tool_expect_status(&u, 1);
    tool_expect_message(&u, "tlp run: no plug-in for CUDA in ");
    spawn_free(&s);
    spawn_free(&t);
    spawn_free(&u);
}

Test(tool_device, there_is_no_device)
{
    plugin_use("test/plugins/no_device.so");

    spawned s = SPAWN("tlp", "info", "--devices");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp info: the driver is 1.0, 2.0 is needed\n");
    spawn_free(&s);
}

Test(tool_device, list)
{
    plugin_use("test/plugins/three_devices.so");

    spawned s = SPAWN("tlp", "info", "--devices");

    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.out, "cuda:0       Listed ? \"0\"\n"
                            "compute      capability 9.0, 100 multiprocessors\n"
                            "memory       0.8 of 1.0 GB free\n"
                            "peer links   cuda:2\n"
                            "\n"
                            "cuda:1       Listed ? \"1\"\n"
                            "compute      capability 9.1, 101 multiprocessors\n"
                            "memory       1.5 of 2.0 GB free\n"
                            "peer links   none\n"
                            "\n"
                            "cuda:2       Listed ? \"2\"\n"
                            "compute      capability 9.2, 102 multiprocessors\n"
                            "memory       2.2 of 3.0 GB free\n"
                            "peer links   cuda:0\n");
    spawn_free(&s);
}

Test(tool_device, list_for_programs)
{
    const char *m = tool_model();

    plugin_use("test/plugins/three_devices.so");

    spawned s = SPAWN("tlp", "info", "--devices", "--json");
    spawned t = SPAWN("tlp", "info", "--devices", "-m", m, "--json");

    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);

    json_t *alone = json_loads(s.out, 0, NULL),
           *all = json_loads(t.out, 0, NULL);
    const char *device, *name, *compute;
    json_int_t n_sm, total, free_, peer;

    cr_assert_not_null(alone, "%s", s.out);
    cr_assert_not_null(all, "%s", t.out);
    cr_expect_eq(json_object_size(alone), 1);
    cr_expect_not_null(json_object_get(all, "model"));
    cr_expect(json_equal(json_object_get(alone, "devices"),
                         json_object_get(all, "devices")));
    cr_expect_eq(json_array_size(json_object_get(alone, "devices")), 3);
    cr_assert_eq(
        json_unpack(json_array_get(json_object_get(alone, "devices"), 2),
                    "{s:s, s:s, s:s, s:I, s:I, s:I, s:[I!]!}", "device",
                    &device, "name", &name, "compute_capability", &compute,
                    "n_sm", &n_sm, "memory_total", &total, "memory_free",
                    &free_, "peers", &peer),
        0, "%s", s.out);
    cr_expect_str_eq(device, "cuda:2");
    cr_expect_str_eq(name, "Listed \x1b \"2\"");
    cr_expect_str_eq(compute, "9.2");
    cr_expect(n_sm == 102 && total == 3000000000 && free_ == 2250000000 &&
              peer == 0);
    json_decref(alone);
    json_decref(all);
    spawn_free(&s);
    spawn_free(&t);
}

/* ==== --device =========================================================== */

Test(tool_device, texts_that_are_none)
{
    static const char *const bad[] = {
        "",         "gpu",     "cuda:",   "cuda0",
        "cuda:x",   "cuda:0,", "cuda:,0", "cuda:0,,1",
        "cuda:-1",  "cuda:+1", "cuda: 1", "cuda:64",
        "cuda:0 1", "cpu:0",   "CUDA",    "cuda:18446744073709551616",
    };
    const char *m = tool_model();

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        spawned s = SPAWN("tlp", "run", "-m", m, "-p", "a", "--device", bad[i]);

        tool_expect_status(&s, 2);
        tool_expect_message(&s, "tlp run: --device ");
        spawn_free(&s);
    }
}

Test(tool_device, cpu)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "9", "-p", "once");
    spawned t = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "9", "-p", "once",
                      "--device", "cpu");

    tool_expect_status(&t, 0);
    cr_expect_str_eq(s.out, t.out);
    spawn_free(&s);
    spawn_free(&t);
}

Test(tool_device, devices_that_are_not_there)
{
    const char *m = tool_model();

    plugin_use("test/plugins/three_devices.so");

    spawned s = SPAWN("tlp", "run", "-m", m, "-p", "a", "--device", "cuda:0,3");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: session option devices: 3 is outside 0 "
                            "to 2\n");
    spawn_free(&s);
}

/* ==== on an emulated GPU ================================================= */

#define EMULATED_OR_SKIP(n_device)                                             \
    do {                                                                       \
        const char *reason = plugin_use_emulated(n_device);                    \
        if (reason)                                                            \
            cr_skip_test("%s", reason);                                        \
    } while (0)

/* The same text wherever it is computed, in exact arithmetic. */
Test(tool_device, run)
{
    static const char *const where[] = { "cpu", "cuda", "cuda:1", "cuda:0,0",
                                         "cuda:1,0" };
    const char *m = tool_model();
    char *text = NULL;

    EMULATED_OR_SKIP(2);
    for (size_t i = 0; i < sizeof where / sizeof where[0]; i++) {
        spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "4", "-p",
                          "once", "--plan", "par:1-2,3-4", "--compute", "f32",
                          "--stats", "--device", where[i]);
        char ranks[64];

        tool_expect_status(&s, 0);
        snprintf(ranks, sizeof ranks, "ranks %d, ",
                 strchr(where[i], ',') ? 2 : 1);
        cr_expect_not_null(strstr(s.err, ranks), "%s", s.err);
        cr_expect_not_null(strstr(s.err, i ? ", cuda" : ", "), "%s", s.err);
        if (!text)
            text = strdup(s.out);
        cr_expect_str_eq(s.out, text, "%s: %s, %s", where[i], s.out, text);
        spawn_free(&s);
    }
    free(text);
}

Test(tool_device, logits)
{
    const char *m = tool_model(), *path[2];
    static const char *const where[] = { "cpu", "cuda" };
    float *row[2];
    size_t n[2];

    EMULATED_OR_SKIP(1);
    for (int i = 0; i < 2; i++) {
        path[i] = tiny_path("rows.f32");

        spawned s =
            SPAWN("tlp", "logits", "-m", m, "--ids", "5 6 7 8", "-o", path[i],
                  "--compute", "f32", "--kv", "f32", "--device", where[i]);

        tool_expect_status(&s, 0);
        spawn_free(&s);
        row[i] = (float *)(void *)tool_read_file(path[i], &n[i]);
    }
    cr_assert_eq(n[0], 4 * TOOL_N_VOCAB * sizeof(float));
    cr_assert_eq(n[0], n[1]);
    for (size_t i = 0; i < n[0] / sizeof(float); i++)
        cr_expect_float_eq(row[0][i], row[1][i], 1e-3);
    free(row[0]);
    free(row[1]);
}

Test(tool_device, eval_and_bench)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    double nll, own, decode;
    const char *device;

    EMULATED_OR_SKIP(1);
    tool_write_ids(ids, 24);

    spawned s =
        SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--plan", "lp:1-2",
              "--against", "lp:1-2", "--device", "cuda:0", "--json");
    spawned cpu = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--plan",
                        "lp:1-2", "--json", "--compute", "f32");
    spawned b = SPAWN("tlp", "bench", "-m", m, "--prompt", "4", "--gen", "2",
                      "--repeat", "1", "--device", "cuda", "--json");

    tool_expect_status(&s, 0);
    tool_expect_status(&cpu, 0);
    tool_expect_status(&b, 0);

    json_t *gpu = json_loads(s.out, 0, NULL);
    json_t *host = json_loads(cpu.out, 0, NULL);
    json_t *speed = json_loads(b.out, 0, NULL);

    cr_assert_eq(json_unpack(gpu, "{s:f}", "nll", &nll), 0, "%s", s.out);
    cr_assert_eq(json_unpack(host, "{s:f}", "nll", &own), 0, "%s", cpu.out);
    cr_expect_float_eq(nll, own, 2e-2);
    cr_assert_eq(json_unpack(speed, "{s:s, s:[{s:{s:f}}]}", "device", &device,
                             "plans", "decode", "median", &decode),
                 0, "%s", b.out);
    cr_expect_str_eq(device, "cuda");
    cr_expect_gt(decode, 0);
    json_decref(gpu);
    json_decref(host);
    json_decref(speed);
    spawn_free(&s);
    spawn_free(&cpu);
    spawn_free(&b);
}

/* What does not fit is told before anything is loaded. */
Test(tool_device, too_small)
{
    const char *m = tool_model();

    EMULATED_OR_SKIP(2);
    setenv("TLP_EMU_MEMORY", "256", 1); /* MiB */

    spawned s = SPAWN("tlp", "run", "-m", m, "-p", "a", "-n", "2", "-c",
                      "1000000", "--device", "cuda:1,1");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: device 1 (Emulated GPU): weights ");
    cr_expect_not_null(strstr(s.err, " for ranks 0, 1 need "), "%s", s.err);
    spawn_free(&s);
}
