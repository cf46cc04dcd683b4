/*
 * test_examples.c - the example programs work as their comments say.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mpirun.h"
#include "support/plugins.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

static void expect_success(const spawned *s)
{
    cr_expect_eq(s->status, 0, "status %d: %s", s->status, s->err);
    cr_expect_str_eq(s->err, "");
}

Test(examples, generate)
{
    const char *m = tool_model();
    spawned s = SPAWN("examples/01_generate", m, "once", "12");
    spawned tool =
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "12", "-p", "once");

    expect_success(&s);
    cr_expect_str_eq(s.out, tool.out);
    spawn_free(&tool);
    spawn_free(&s);
}

Test(examples, stream_cancel)
{
    const char *m = tool_model();
    spawned s = SPAWN("examples/02_stream_cancel", m, "hello", "10");

    expect_success(&s);
    cr_expect_not_null(strstr(s.out, "[stopped by: "), "%s", s.out);
    spawn_free(&s);
}

Test(examples, two_ranks)
{
    const char *m = tool_model();
    spawned s = SPAWN("examples/03_two_ranks", m, "once", "par:1-2,3-4");

    expect_success(&s);
    cr_expect_not_null(strstr(s.out, "serial: depth 5, 10 all-reduces"));
    cr_expect_not_null(strstr(s.out, "par:1-2,3-4: depth 3, 4 all-reduces"));
    spawn_free(&s);
}

Test(examples, from_cxx)
{
    const char *m = tool_model();
    spawned c = SPAWN("examples/01_generate", m, "once", "32");
    spawned s = SPAWN("examples/04_from_cxx", m, "once");

    expect_success(&s);
    cr_expect_str_eq(s.out, c.out);
    spawn_free(&c);
    spawn_free(&s);
}

Test(examples, dlopen)
{
    const char *m = tool_model();
    char library[4096];

    snprintf(library, sizeof library, "%s/libtlp.so", spawn_build_dir());

    spawned s = SPAWN("examples/05_dlopen", library, m);

    expect_success(&s);
    cr_expect_not_null(strstr(s.out, "llama, 5 layers"), "%s", s.out);
    spawn_free(&s);

    s = SPAWN("examples/05_dlopen", "/none/libtlp.so", m);
    cr_expect_eq(s.status, 1);
    cr_expect_not_null(strstr(s.err, "/none/libtlp.so"));
    spawn_free(&s);
}

/* The line that one rank writes, in any number of processes. */
Test(examples, processes)
{
    const char *m = tool_model();

    mpirun_allow_leaks();
    spawned alone = SPAWN("examples/06_processes", m, "once", "par:1-2,3-4");

    expect_success(&alone);
    cr_expect_not_null(strstr(alone.out, "[1 ranks, 0 all-reduces a token]"));
    for (int n = 2; n <= 3 && !mpirun_missing(); n++) {
        spawned s =
            MPIRUN(n, "examples/06_processes", m, "once", "par:1-2,3-4");
        char count[64];

        snprintf(count, sizeof count, "[%d ranks, ", n);
        expect_success(&s);
        cr_expect_not_null(strstr(s.out, count), "%s", s.out);
        const char *last = strrchr(s.out, '[');
        cr_expect_eq(strncmp(s.out, alone.out, (size_t)(last - s.out)), 0);
        spawn_free(&s);
    }
    spawn_free(&alone);
}

/* A line of `out` that begins and ends so, and has a speed between. */
static void expect_line(const char *out, const char *start, const char *end)
{
    const char *line = strstr(out, start);
    double speed = 0;

    cr_assert_not_null(line, "%s: %s", start, out);
    cr_expect_eq(sscanf(line + strlen(start), "%lf tokens/s,", &speed), 1);
    cr_expect_gt(speed, 0);
    cr_expect_eq(
        strncmp(strchr(line, '\n') - strlen(end) + 1, end, strlen(end)), 0,
        "%s", out);
}

/* Two ranks, wherever they can be: the same counts on the CPU, on one
 * GPU and on two. */
Test(examples, two_gpu_pair)
{
    const char *m = tool_model(), *reason;
    static const char *const where[] = { "no GPU, two ranks on the CPU: ",
                                         "one GPU, both ranks on it: ",
                                         "two GPUs: " };

    for (int n = 0; n <= 2; n++) {
        if (n == 0)
            plugin_use("test/plugins/no_device.so");
        else if ((reason = plugin_use_emulated(n)))
            cr_skip_test("%s", reason);

        spawned s =
            SPAWN("examples/07_two_gpu_pair", m, "once", "lp:1-2,3-4", "3");

        expect_success(&s);
        cr_expect_eq(strncmp(s.out, where[n], strlen(where[n])), 0, "%s",
                     s.out);
        expect_line(s.out, "tensor parallelism (serial): ",
                    " 10 all-reduces per token, depth 5\n");
        expect_line(s.out, "layer parallelism (lp:1-2,3-4): ",
                    " 6 all-reduces per token, depth 3\n");
        spawn_free(&s);
    }
}

Test(examples, requests)
{
    const char *m = tool_model();
    spawned s = SPAWN("examples/08_requests", m, "once", "twice", "once");

    expect_success(&s);
    cr_expect_not_null(strstr(s.out, "once\n  "), "%s", s.out);
    cr_expect_not_null(strstr(s.out, "twice\n  "), "%s", s.out);
    spawn_free(&s);
}

/* The second run begins where the first has saved, with equal text. */
Test(examples, saved_prompt)
{
    const char *m = tool_model(), *file = tiny_path("prompt.seq");
    spawned first = SPAWN("examples/09_saved_prompt", m, "once", file, "12");
    spawned second = SPAWN("examples/09_saved_prompt", m, "once", file, "12");
    spawned plain = SPAWN("examples/01_generate", m, "once", "12");

    expect_success(&first);
    expect_success(&second);
    const char *text = strchr(first.out, '\n'),
               *again = strchr(second.out, '\n');
    cr_assert(text && again);
    cr_expect_str_eq(text + 1, plain.out);
    cr_expect_str_eq(again + 1, plain.out);
    cr_expect_not_null(strstr(first.out, "tokens evaluated]"));
    cr_expect_not_null(strstr(second.out, "tokens loaded]"));
    spawn_free(&first);
    spawn_free(&second);
    spawn_free(&plain);
}

/* What the library warns of is shown. */
Test(examples, warnings)
{
    static const char *const programs[] = {
        "examples/01_generate",     "examples/02_stream_cancel",
        "examples/03_two_ranks",    "examples/04_from_cxx",
        "examples/05_dlopen",       "examples/06_processes",
        "examples/07_two_gpu_pair", "examples/08_requests",
        "examples/09_saved_prompt"
    };
    char library[4096];
    tiny_spec spec = tiny_default();

    snprintf(library, sizeof library, "%s/libtlp.so", spawn_build_dir());
    spec.note = "acme.note";
    const char *m = tiny_make(&spec);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        bool loads = strstr(programs[i], "dlopen");
        bool saves = strstr(programs[i], "saved_prompt");
        const char *last = saves ? tiny_path("hello.seq") : "serial";
        spawned s = loads ? SPAWN(programs[i], library, m)
                          : SPAWN(programs[i], m, "hello", last);

        cr_expect_not_null(strstr(s.err, "acme.note"), "%s: %s", programs[i],
                           s.err);
        spawn_free(&s);
    }
}

/* Usage and failures: a status, and a text on standard error alone. */
Test(examples, failures)
{
    static const char *const programs[] = {
        "examples/01_generate",  "examples/02_stream_cancel",
        "examples/03_two_ranks", "examples/04_from_cxx",
        "examples/06_processes", "examples/07_two_gpu_pair",
        "examples/08_requests",  "examples/09_saved_prompt"
    };

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        spawned s = SPAWN(programs[i]);

        cr_expect_eq(s.status, 2);
        spawn_free(&s);

        s = SPAWN(programs[i], "/none/x.gguf", "hello", "serial");
        cr_expect_eq(s.status, 1);
        cr_expect_not_null(strstr(s.err, "/none/x.gguf"), "%s", s.err);
        cr_expect_str_eq(s.out, "");
        spawn_free(&s);
    }
}
