/*
 * test_tool_mpi.c - the tool under mpirun: the numbers of ranks in one process,
 * from ranks in several; workers; refusals.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/mpirun.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

/* A busy machine takes its time to start processes. */
#define PATIENT "--timeout", "25"

/* A path of the tool, for a program after the first of an MPMD start. */
static const char *tool_path(void)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/tlp", spawn_build_dir());
    return path;
}

/* One process with `first`, n with `others`, whose arguments are separated by
 * blanks. */
static spawned run_two(const char *first, int n, const char *others)
{
    static char text[8192];
    const char *argv[64] = { "tlp" };
    int k = 1;

    snprintf(text, sizeof text, "%s --timeout 25 : -np %d %s %s --timeout 25",
             first, n, tool_path(), others);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[k++] = p;
    return mpirun(&(mpirun_options){ .n = 1 }, argv);
}

static const char *format(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Static memory, good for a few texts at a time. */
static const char *format(const char *fmt, ...)
{
    static char text[8][2048];
    static int next;
    char *t = text[next++ % 8];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(t, sizeof text[0], fmt, ap);
    va_end(ap);
    return t;
}

/* The message of a rank of "tlp COMMAND"; what other programs print, mpirun
 * included, is skipped. */
static const char *find_message(const spawned *s, const char *command, int rank)
{
    const char *start =
        format(rank ? "tlp %s (rank 1): " : "tlp %s: ", command);

    for (const char *line = s->err; *line;) {
        size_t n = strcspn(line, "\n");

        if (strncmp(line, start, strlen(start)) == 0)
            return format("%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    cr_assert_fail("rank %d says nothing: %s", rank, s->err);
    return "";
}

static void expect_message(const spawned *s, const char *command, int rank,
                           const char *word)
{
    const char *line = find_message(s, command, rank);

    cr_expect(strstr(line, word), "no \"%s\" in \"%s\"", word, line);
}

/* The end of a start that failed, and not for want of time. */
static void expect_failure(const spawned *s)
{
    cr_expect(s->status != 0 && s->status != 124, "status %d: %s", s->status,
              s->err);
    cr_expect_eq(s->n_out, 0, "%s", s->out);
}

/* Open MPI keeps some memory for good, which a leak checker would report of a
 * program that is not run by mpirun(). */
static void allow_leaks(void)
{
    setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
}

static void expect_same_text(spawned a, spawned b)
{
    tool_expect_status(&a, 0);
    tool_expect_status(&b, 0);
    cr_expect_gt(a.n_out, 1);
    cr_expect_str_eq(a.out, b.out);
    cr_expect_str_eq(a.err, "");
    cr_expect_str_eq(b.err, "");
    spawn_free(&a);
    spawn_free(&b);
}

/* ==== the same numbers =================================================== */

Test(tool_mpi, run_as_with_threads)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();

    expect_same_text(
        MPIRUN(2, "tlp", "run", PATIENT, "-m", m, "--raw", "-n", "9", "-p",
               "once upon", "--plan", "par:1-2", "-t", "1"),
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "9", "-p", "once upon",
              "--plan", "par:1-2", "--ranks", "2", "-t", "1"));
    expect_same_text(
        MPIRUN(3, "tlp", "run", PATIENT, "-m", m, "-n", "9", "-p", "hi",
               "--temp", "2", "--seed", "5", "--ranks", "3", "-t", "1"),
        SPAWN("tlp", "run", "-m", m, "-n", "9", "-p", "hi", "--temp", "2",
              "--seed", "5", "--ranks", "3", "-t", "1"));
}

/* One process is a rank by itself, with mpirun or without. */
Test(tool_mpi, run_alone)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();

    allow_leaks();

    spawned alone = SPAWN("tlp", "run", PATIENT, "-m", m, "-n", "9", "-p", "hi",
                          "--comm", "mpi");

    expect_same_text(alone, MPIRUN(1, "tlp", "run", PATIENT, "-m", m, "-n", "9",
                                   "-p", "hi", "--comm", "mpi"));
}

/* With --comm threads processes know nothing of each other. */
Test(tool_mpi, threads_under_mpirun)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    spawned s = MPIRUN(2, "tlp", "run", PATIENT, "-m", m, "-n", "3", "-p", "hi",
                       "--comm", "threads", "-t", "1");
    spawned t = SPAWN("tlp", "run", "-m", m, "-n", "3", "-p", "hi");

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_out, 2 * t.n_out);
    spawn_free(&s);
    spawn_free(&t);
}

Test(tool_mpi, eval_as_with_threads)
{
    MPIRUN_OR_SKIP();

    static const char *const keys[] = { "nll", "ppl", "predictions",
                                        "effective_depth",
                                        "allreduces_per_token" };
    const char *m = tool_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 40);
    for (int n = 2; n <= 3; n++) {
        spawned s = MPIRUN(n, "tlp", "eval", PATIENT, "-m", m, "--tokens", ids,
                           "-c", "16", "--plan", "lp:2-3", "--json", "-t", "1");
        spawned t =
            SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "-c", "16", "--plan",
                  "lp:2-3", "--json", "-t", "1", "--ranks", format("%d", n));

        tool_expect_status(&s, 0);

        json_t *a = tool_json(&s), *b = tool_json(&t);

        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            cr_expect(json_equal(json_object_get(a, keys[i]),
                                 json_object_get(b, keys[i])),
                      "%s: %s%s", keys[i], s.out, t.out);
        json_decref(a);
        json_decref(b);
        spawn_free(&s);
        spawn_free(&t);
    }
}

Test(tool_mpi, logits_as_with_threads)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();

    for (int n = 2; n <= 3; n++) {
        const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
        spawned s =
            MPIRUN(n, "tlp", "logits", PATIENT, "-m", m, "--ids", "3 1 4 1 5 9",
                   "-o", a, "--plan", "asym:1-3", "-t", "1");
        spawned t =
            SPAWN("tlp", "logits", "-m", m, "--ids", "3 1 4 1 5 9", "-o", b,
                  "--plan", "asym:1-3", "-t", "1", "--ranks", format("%d", n));
        size_t n_a, n_b;

        tool_expect_status(&s, 0);
        tool_expect_status(&t, 0);

        char *x = tool_read_file(a, &n_a), *y = tool_read_file(b, &n_b);

        cr_expect_eq(n_a, 6 * TOOL_N_VOCAB * sizeof(float));
        cr_expect_eq(n_a, n_b);
        cr_expect_arr_eq(x, y, n_a);
        free(x);
        free(y);
        spawn_free(&s);
        spawn_free(&t);
    }
}

/* ==== bench ============================================================== */

static void expect_text(json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "%s is no text", key);
    cr_expect_str_eq(value, text);
}

/* One session after the other, each served by the same processes. */
Test(tool_mpi, bench)
{
    MPIRUN_OR_SKIP();

    spawned s =
        MPIRUN(2, "tlp", "bench", PATIENT, "-m", tool_model(), "--plan",
               "serial", "--plan", "par:1-2", "--prompt", "9", "--gen", "5",
               "--repeat", "3", "--wire", "bf16", "-t", "1", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    json_t *plans = json_object_get(root, "plans");

    expect_text(root, "comm", "mpi");
    expect_text(root, "wire", "bf16");
    cr_expect_eq(tool_number(root, "n_rank"), 2);
    cr_assert_eq(json_array_size(plans), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *speed = json_object_get(json_array_get(plans, i), "decode");

        cr_expect_gt(tool_number(speed, "min"), 0);
        cr_expect_leq(tool_number(speed, "min"), tool_number(speed, "median"));
        cr_expect_leq(tool_number(speed, "median"), tool_number(speed, "max"));
    }
    cr_expect_eq(tool_number(json_array_get(plans, 1), "allreduces_per_token"),
                 7);
    json_decref(root);
    spawn_free(&s);
}

/* Ranks of several processes are measured together, and predicted. */
Test(tool_mpi, bench_link)
{
    MPIRUN_OR_SKIP();

    spawned s = MPIRUN(3, "tlp", "bench", "-m", tool_model(), "--plan",
                       "par:1-2", "--prompt", "9", "--gen", "5", "--repeat",
                       "2", "-t", "1", "--measure-link", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    json_t *rows = json_object_get(root, "predictions");
    json_t *link = json_object_get(root, "link");

    cr_assert_eq(json_array_size(rows), 1);
    cr_expect_gt(tool_number(json_array_get(rows, 0), "decode"), 0);
    cr_expect_gt(tool_number(json_array_get(rows, 0), "allreduce_seconds"), 0);
    cr_expect_gt(tool_number(link, "command"), 0);
    cr_expect_gt(json_array_size(json_object_get(link, "sizes")), 2);
    json_decref(root);
    spawn_free(&s);
}

/* ==== workers ============================================================ */

/* The worker's copy of the model lies elsewhere. */
Test(tool_mpi, worker)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model(), *copy = tool_model();

    for (int n = 1; n <= 2; n++)
        expect_same_text(
            run_two(format("run -m %s -n 9 -p hi --plan par:1-3 -t 1 "
                           "--compute f32 -c 64",
                           m),
                    n, format("worker -m %s -t 1", copy)),
            SPAWN("tlp", "run", "-m", m, "-n", "9", "-p", "hi", "--plan",
                  "par:1-3", "-t", "1", "--compute", "f32", "-c", "64",
                  "--ranks", format("%d", n + 1)));
}

/* It stays when a session fails, until rank 0 has left. */
Test(tool_mpi, worker_outlives_a_session)
{
    MPIRUN_OR_SKIP();

    tiny_spec other = tiny_default();

    other.seed++;

    spawned s = run_two(format("run -m %s -n 9 -p hi", tool_model()), 1,
                        format("worker -m %s", tiny_make(&other)));

    expect_failure(&s);
    expect_message(&s, "run", 0, "tensor blk.0.attn_k.weight differs");
    expect_message(&s, "worker", 1, "tensor blk.0.attn_k.weight differs");
    spawn_free(&s);
}

Test(tool_mpi, worker_with_nobody_to_work_for)
{
    MPIRUN_OR_SKIP();

    allow_leaks();

    const char *m = tool_model();
    spawned s = SPAWN("tlp", "worker", PATIENT, "-m", m);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp worker: a worker cannot be rank 0 of 1");
    spawn_free(&s);

    s = MPIRUN(2, "tlp", "worker", PATIENT, "-m", m);
    expect_failure(&s);
    expect_message(&s, "worker", 0, "a worker cannot be rank 0 of 2");
    spawn_free(&s);
}

/* ==== refusals =========================================================== */

/* Both ranks say which field differs, and give both values. */
static void expect_mismatch(const char *options_a, const char *options_b,
                            const char *const words[3])
{
    const char *m = tool_model();
    spawned s = run_two(format("run -m %s -n 3 -p hi %s", m, options_a), 1,
                        format("run -m %s -n 3 -p hi %s", m, options_b));

    expect_failure(&s);
    for (int i = 0; i < 3; i++) {
        expect_message(&s, "run", 0, words[i]);
        expect_message(&s, "run", 1, words[i]);
    }
    spawn_free(&s);
}

Test(tool_mpi, mismatches)
{
    MPIRUN_OR_SKIP();

    expect_mismatch("--plan par:1-2", "--plan lp:1-2",
                    (const char *[]){ "plan", "par", "lp" });
    expect_mismatch("-c 64", "-c 128",
                    (const char *[]){ "n_ctx", "64", "128" });
    expect_mismatch("--kv f32", "--kv bf16",
                    (const char *[]){ "kv_type", "f32", "bf16" });
    expect_mismatch("--wire bf16", "--wire q8",
                    (const char *[]){ "wire", "bf16", "q8" });
}

Test(tool_mpi, models_differ)
{
    MPIRUN_OR_SKIP();

    tiny_spec other = tiny_default();

    other.seed++;

    spawned s = run_two(format("run -m %s -n 3 -p hi", tool_model()), 1,
                        format("run -m %s -n 3 -p hi", tiny_make(&other)));

    expect_failure(&s);
    expect_message(&s, "run", 0, "tensor blk.0.attn_k.weight differs");
    expect_message(&s, "run", 1, "tensor blk.0.attn_k.weight differs");
    spawn_free(&s);
}

/* Who cannot open the model says so, and the others do not wait for it. */
Test(tool_mpi, a_model_that_one_process_lacks)
{
    MPIRUN_OR_SKIP();

    spawned s = run_two(format("run -m %s -n 3 -p hi", tool_model()), 1,
                        "run -m /none/x.gguf -n 3 -p hi");

    expect_failure(&s);
    expect_message(&s, "run", 1, "/none/x.gguf");
    expect_message(&s, "run", 0, "rank 1");
    spawn_free(&s);
}

Test(tool_mpi, wrong_number_of_ranks)
{
    MPIRUN_OR_SKIP();

    spawned s = MPIRUN(2, "tlp", "run", PATIENT, "-m", tool_model(), "-n", "3",
                       "-p", "hi", "--ranks", "3");

    expect_failure(&s);
    expect_message(&s, "run", 0, "n_rank: 3, but the job has 2 processes");
    spawn_free(&s);
}

/* A copy of the tool with no plug-in anywhere near it. */
Test(tool_mpi, no_plug_in)
{
    char folder[] = "alone-XXXXXX", dir[4096], program[64];
    size_t n;

    snprintf(dir, sizeof dir, "%s/%s", spawn_build_dir(), folder);
    cr_assert_not_null(mkdtemp(dir));

    const char *name = strrchr(dir, '/') + 1;
    const char *copy = format("%s/tlp", dir);
    char *bytes = tool_read_file(tool_path(), &n);

    snprintf(program, sizeof program, "%s/tlp", name);
    tool_write_file(copy, bytes, n);
    chmod(copy, 0755);
    free(bytes);
    setenv("TLP_PLUGIN_PATH", dir, 1);

    spawned s =
        SPAWN(program, "run", "-m", tool_model(), "-p", "hi", "--comm", "mpi");

    unlink(copy);
    rmdir(dir);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: ");
    cr_expect_not_null(strstr(s.err, "libtlp_mpi.so"), "%s", s.err);
    spawn_free(&s);
}
