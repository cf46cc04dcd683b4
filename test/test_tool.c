/*
 * test_tool.c - the command line that other programs rely on: help, errors and
 * exit status, tokens, logits.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp.h"

static const char *const commands[] = { "run",        "info",   "tokenize",
                                        "detokenize", "logits", "eval",
                                        "bench",      "worker", "embed" };
#define N_COMMANDS (sizeof commands / sizeof commands[0])

/* ==== help and errors ==================================================== */

Test(tool, help_of_every_command)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        spawned s = SPAWN("tlp", commands[i], "--help");

        tool_expect_status(&s, 0);
        cr_expect_eq(s.n_err, 0);
        cr_expect_not_null(strstr(s.out, commands[i]));
        cr_expect_not_null(strstr(s.out, "-m, --model FILE"));
        spawn_free(&s);
    }
}

Test(tool, help_and_version)
{
    spawned s = SPAWN("tlp", "--help");

    tool_expect_status(&s, 0);
    for (size_t i = 0; i < N_COMMANDS; i++)
        cr_expect_not_null(strstr(s.out, commands[i]));
    spawn_free(&s);

    s = SPAWN("tlp", "--version");
    tool_expect_status(&s, 0);
    cr_expect_eq(strncmp(s.out, "tlp ", 4), 0);
    cr_expect_eq(
        strncmp(s.out + 4, tlp_version_string(), strlen(tlp_version_string())),
        0);
    spawn_free(&s);
}

static void expect_usage(spawned s, const char *start)
{
    tool_expect_status(&s, 2);
    tool_expect_message(&s, start);
    spawn_free(&s);
}

Test(tool, usage_errors)
{
    spawned s = SPAWN("tlp");

    tool_expect_status(&s, 2);
    spawn_free(&s);
    expect_usage(SPAWN("tlp", "frobnicate"), "tlp: unknown command");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char start[64];

        snprintf(start, sizeof start, "tlp %s: unknown option --frob",
                 commands[i]);
        expect_usage(SPAWN("tlp", commands[i], "--frob"), start);
    }
    expect_usage(SPAWN("tlp", "run", "-p", "x"), "tlp run: no model");
    expect_usage(SPAWN("tlp", "run", "-m"), "tlp run: option -m needs");
    expect_usage(SPAWN("tlp", "run", "stray"), "tlp run: unexpected argument");
    expect_usage(SPAWN("tlp", "run", "-n", "1.5"), "tlp run: --predict 1.5");
    expect_usage(SPAWN("tlp", "run", "-n", "12x"), "tlp run: --predict 12x");
    expect_usage(SPAWN("tlp", "run", "--top-p", "2"), "tlp run: --top-p 2");
    expect_usage(SPAWN("tlp", "run", "--temp", "nan"), "tlp run: --temp nan");
    expect_usage(SPAWN("tlp", "run", "--seed", "-1"), "tlp run: --seed -1");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-p", "a", "--top-k", "3"),
                 "tlp run: --top-k, --top-p and --min-p need --temp");
    expect_usage(SPAWN("tlp", "info", "--devices", "--meta"),
                 "tlp info: no model");
    expect_usage(SPAWN("tlp", "run", "--isa", "mmx"), "tlp run: --isa mmx");
    expect_usage(SPAWN("tlp", "run", "--ranks", "65"), "tlp run: --ranks 65");
    expect_usage(SPAWN("tlp", "run", "--comm", "ib"), "tlp run: --comm ib");
    expect_usage(SPAWN("tlp", "run", "--wire", "f16"), "tlp run: --wire f16");
    expect_usage(SPAWN("tlp", "run", "--timeout", "0"), "tlp run: --timeout 0");
    expect_usage(SPAWN("tlp", "worker"), "tlp worker: no model");
    expect_usage(SPAWN("tlp", "run", "--raw=1"), "tlp run: option --raw=1");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "--raw", "--chat"),
                 "tlp run: --raw excludes");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-p", "a", "-f", "b"),
                 "tlp run: -p, -f, -i and --messages");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-p", "a", "--messages", "b"),
                 "tlp run: -p, -f, -i and --messages");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-s", "a", "--messages", "b"),
                 "tlp run: --messages excludes");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-p", "a", "--continue"),
                 "tlp run: --continue needs");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "--raw", "--tools", "b"),
                 "tlp run: --raw excludes");
    expect_usage(SPAWN("tlp", "eval", "-m", "x"), "tlp eval: one of --text");
    expect_usage(SPAWN("tlp", "logits", "-m", "x", "--ids", "1"),
                 "tlp logits: no output");
    expect_usage(SPAWN("tlp", "logits", "-m", "x", "--ids", "1", "--tokens",
                       "f", "-o", "o"),
                 "tlp logits: either");
}

Test(tool, failures_are_one_line)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char start[64];
        const char *argv[16] = { "tlp", commands[i], "-m", "/none/x.gguf" };

        if (!strcmp(commands[i], "worker"))
            continue; /* wants MPI before a model: test_tool_mpi.c */
        if (!strcmp(commands[i], "logits"))
            memcpy(argv + 4, (const char *[]){ "--ids", "1", "-o", "-" },
                   4 * sizeof *argv);
        if (!strcmp(commands[i], "eval"))
            memcpy(argv + 4, (const char *[]){ "--text", "/none/x" },
                   2 * sizeof *argv);
        snprintf(start, sizeof start, "tlp %s: ", commands[i]);

        spawned s = spawn(&(spawn_options){ 0 }, argv);

        tool_expect_status(&s, 1);
        tool_expect_message(&s, start);
        cr_expect_not_null(strstr(s.err, "/none/x.gguf"));
        spawn_free(&s);
    }
}

Test(tool, bad_plan)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "info", "-m", m, "--plan", "par:3-9");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp info: ");
    spawn_free(&s);
    s = SPAWN("tlp", "info", "-m", m, "--plan", "/none/p.json");
    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "/none/p.json"));
    spawn_free(&s);
}

Test(tool, serial_is_a_plan_whatever_files_there_are)
{
    const char *m = tool_model(), *dir = tiny_path("somewhere");

    cr_assert_eq(mkdir(dir, 0700), 0);
    cr_assert_eq(chdir(dir), 0);
    tool_write_file("serial", "", 0);

    spawned s = SPAWN("tlp", "info", "-m", m);

    tool_expect_status(&s, 0);
    spawn_free(&s);
    unlink("serial");
    rmdir(dir);
}

/* Escape, delete, and CSI as one character; the rest of UTF-8 stays. */
Test(tool, messages_hold_no_control_characters)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "info", "-m", m, "--plan",
                      "a\x1b[1m\x7f\xc2\x9b\xc2\xa0.json");

    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "a?[1m??\xc2\xa0.json"), "%s", s.err);
    spawn_free(&s);
}

Test(tool, full_disk_is_a_failure)
{
    const char *m = tool_model();
    spawned s = spawn(&(spawn_options){ .out_path = "/dev/full" },
                      (const char *const[]){ "tlp", "info", "-m", m, NULL });

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp info: standard output: ");
    spawn_free(&s);
}

/* ==== tokenize, detokenize =============================================== */

Test(tool, tokenize_round_trip)
{
    static const char text[] = "the <|im_start|> \xc3\xa9\xff\n tail";
    const char *m = tool_model();
    spawned ids = SPAWN_INPUT(text, "tlp", "tokenize", "-m", m, "--ids");
    spawned same = SPAWN_INPUT(text, "tlp", "tokenize", "-m", m);

    tool_expect_status(&ids, 0);
    cr_expect_str_eq(ids.out, same.out);
    cr_expect_eq(ids.out[ids.n_out - 1], '\n');
    cr_expect_eq(strspn(ids.out, "0123456789 \n"), ids.n_out);

    spawned back = SPAWN_INPUT(ids.out, "tlp", "detokenize", "-m", m);

    tool_expect_status(&back, 0);
    cr_expect_str_eq(back.out, text);
    spawn_free(&back);
    spawn_free(&same);
    spawn_free(&ids);
}

Test(tool, tokenize_special)
{
    const char *m = tool_model();
    spawned s =
        SPAWN_INPUT("<|im_start|>", "tlp", "tokenize", "-m", m, "--special");

    /* The second of the last two tokens of the tiny vocabulary's order. */
    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.out, "286\n");

    spawned hidden = SPAWN_INPUT(s.out, "tlp", "detokenize", "-m", m);
    spawned shown =
        SPAWN_INPUT(s.out, "tlp", "detokenize", "-m", m, "--special");

    cr_expect_str_eq(hidden.out, "");
    cr_expect_str_eq(shown.out, "<|im_start|>");
    spawn_free(&shown);
    spawn_free(&hidden);
    spawn_free(&s);
}

Test(tool, detokenize_refuses_other_text)
{
    const char *m = tool_model();
    static const char *const inputs[] = { "1 two", "-1", "1.5", "99999999999",
                                          "288" };

    for (size_t i = 0; i < 5; i++) {
        spawned s = SPAWN_INPUT(inputs[i], "tlp", "detokenize", "-m", m);

        tool_expect_status(&s, 1);
        tool_expect_message(&s, "tlp detokenize: ");
        spawn_free(&s);
    }
}

/* ==== logits ============================================================= */

Test(tool, logits_rows)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
    size_t n_a, n_b;

    tool_write_ids(ids, 3); /* 11 48 85 */

    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "-o", a);
    spawned t = SPAWN("tlp", "logits", "-m", m, "--ids", " 11 48 85", "-o", b);

    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);

    char *x = tool_read_file(a, &n_a), *y = tool_read_file(b, &n_b);

    cr_expect_eq(n_a, 3 * TOOL_N_VOCAB * sizeof(float));
    cr_assert_eq(n_a, n_b);
    cr_expect_eq(memcmp(x, y, n_a), 0);
    free(x);
    free(y);
    spawn_free(&s);
    spawn_free(&t);
}

/* A delay between two ranks changes the time and not the bytes. */
Test(tool, logits_over_a_link_with_a_delay)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
    size_t n_a, n_b;

    tool_write_ids(ids, 20);

    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--ranks", "2",
                      "--plan", "asym:1-2", "-o", a);
    spawned t = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--ranks", "2",
                      "--plan", "asym:1-2", "-o", b, "--link-delay-us", "300");

    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);

    char *x = tool_read_file(a, &n_a), *y = tool_read_file(b, &n_b);

    cr_assert(n_a == n_b && memcmp(x, y, n_a) == 0);
    free(x);
    free(y);
    spawn_free(&s);
    spawn_free(&t);
}

/* More tokens than are evaluated at once; the first rows do not depend on
 * what follows them. */
Test(tool, logits_of_many)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
    size_t n_a, n_b;

    tool_write_ids(ids, 200);

    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--compute",
                      "f32", "-o", a);

    tool_expect_status(&s, 0);
    tool_write_ids(ids, 100);

    spawned t = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--compute",
                      "f32", "--ranks", "2", "-o", b);

    tool_expect_status(&t, 0);

    float *x = (float *)(void *)tool_read_file(a, &n_a);
    float *y = (float *)(void *)tool_read_file(b, &n_b);

    cr_expect_eq(n_a, 200 * TOOL_N_VOCAB * sizeof(float));
    cr_assert_eq(n_b, 100 * TOOL_N_VOCAB * sizeof(float));
    for (size_t i = 0; i < n_b / sizeof *y; i++)
        cr_assert_float_eq(x[i], y[i], 2e-3, "value %zu: %g, %g", i,
                           (double)x[i], (double)y[i]);
    free(x);
    free(y);
    spawn_free(&s);
    spawn_free(&t);
}

static int count_files(const char *path)
{
    char dir[4096];
    int n = 0;

    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';

    DIR *d = opendir(dir);

    cr_assert_not_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

Test(tool, failed_logits_keep_the_old_file)
{
    const char *m = tool_model(), *out = tiny_path("old.f32");
    size_t n;

    tool_write_file(out, "old", 3);

    int before = count_files(out);
    spawned s = SPAWN("tlp", "logits", "-m", m, "--ids", "1 2 288", "-o", out);
    char *data = tool_read_file(out, &n);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp logits: ");
    cr_expect(n == 3 && memcmp(data, "old", 3) == 0);
    cr_expect_eq(count_files(out), before, "a temporary file was left");
    free(data);
    spawn_free(&s);
}

Test(tool, results_do_not_replace_a_model)
{
    const char *m = tool_model();
    size_t n, n_after;
    char *model = tool_read_file(m, &n);
    spawned s = SPAWN("tlp", "logits", "-m", m, "--ids", "1 2", "-o", m);
    char *after = tool_read_file(m, &n_after);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp logits: ");
    cr_expect(n == n_after && memcmp(model, after, n) == 0);
    free(model);
    free(after);
    spawn_free(&s);
}
