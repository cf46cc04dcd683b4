/*
 * test_tool_quantize_plan.c - tlp quantize --plan: a quantised model and the
 * plan for it, with or without the plan's cut.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"
#include "support/written.h"

TestSuite(tool_quantize_plan, .timeout = 120);

#define PLAN "nosync:1a,2,3a"
#define QUANTIZE(...) SPAWN("tlp", "quantize", job.model, job.out, __VA_ARGS__)
#define TEXT "--tokens", job.ids, "-c", "64", "--compute", "f32"

static struct {
    const char *model, *ids, *out;
    char plan[512]; /* beside `out` */
} job;

static void set_up_as(tlpi_dtype type, int n_ff)
{
    tiny_spec spec = tiny_default();

    spec.type = type;
    spec.n_ff = n_ff;
    job.model = tiny_make(&spec);
    job.ids = tiny_path("ids.i32");
    tool_write_ids(job.ids, 1024);
    job.out = tiny_path("small.gguf");
    snprintf(job.plan, sizeof job.plan, "%.*s.plan.json",
             (int)strlen(job.out) - 5, job.out);
}

static void set_up(void)
{
    set_up_as(TLPI_F16, 256);
}

static void expect_status(spawned s, int status)
{
    tool_expect_status(&s, status);
    spawn_free(&s);
}

static void expect_written(spawned s)
{
    char want[600];

    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "small.gguf: Q8_0, "), "%s", s.out);
    snprintf(want, sizeof want, "%s: the plan for that file\n", job.plan);
    cr_expect(strstr(s.out, want), "%s", s.out);
    spawn_free(&s);
    expect_status(
        SPAWN("tlp", "plan", "check", "-m", job.out, "--plan", job.plan), 0);
    expect_status(
        SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.plan), 1);
}

static double kl_of(const char *plan)
{
    spawned s = SPAWN("tlp", "eval", "-m", job.out, TEXT, "--plan", plan,
                      "--against", "serial", "--json");

    tool_expect_status(&s, 0);
    json_t *root = tool_json(&s);
    double kl = tool_number(root, "kl_mean");
    json_decref(root);
    spawn_free(&s);
    return kl;
}

Test(tool_quantize_plan, carries_a_plan)
{
    set_up();
    expect_written(QUANTIZE("Q8_0", "--plan", PLAN));
    expect_written(QUANTIZE("Q8_0", "--plan", "par:1-2"));
}

Test(tool_quantize_plan, bakes_a_cut)
{
    set_up();
    expect_written(QUANTIZE("Q8_0", "--plan", PLAN));
    double carried = kl_of(job.plan);

    spawned s = QUANTIZE("Q8_0", "--plan", PLAN, TEXT);
    cr_expect(strstr(s.out, "4 of 16 windows held out"), "%s", s.out);
    cr_expect(strstr(s.out, "hidden units changed their track"), "%s", s.out);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    expect_written(s);
    cr_expect_lt(kl_of(job.plan), carried);

    s = SPAWN("tlp", "plan", "show", "-m", job.out, "--plan", job.plan);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "\"baked\": {\"tool\": \"tlp_plan_bake\""), "%s",
              s.out);
    cr_expect(strstr(s.out, "\"type\": \"Q8_0\""), "%s", s.out);
    spawn_free(&s);
}

/* The units of one block have one order: the file keeps it, and a warning says
 * so. */
Test(tool_quantize_plan, goes_on_without_gain)
{
    set_up_as(TLPI_Q4_0, 32);
    spawned s = QUANTIZE("Q8_0", "--plan", PLAN, TEXT);

    cr_expect(strstr(s.err, "tlp: warning: no other order of units lowers"),
              "%s", s.err);
    cr_expect(strstr(s.err, "the file keeps its order"), "%s", s.err);
    cr_expect(!strstr(s.out, "changed their track"), "%s", s.out);
    expect_written(s);
}

static void expect_refused(spawned s, int status, const char *words)
{
    tool_expect_status(&s, status);
    tool_expect_message(&s, "tlp quantize: ");
    cr_expect(strstr(s.err, words), "%s", s.err);
    cr_expect(!tool_exists(job.out) && !tool_exists(job.plan));
    spawn_free(&s);
}

Test(tool_quantize_plan, refuses)
{
    set_up();
    expect_refused(QUANTIZE("Q8_0", TEXT), 2, "--plan PLAN is required");
    expect_refused(QUANTIZE("Q8_0", "--plan-out", job.plan), 2,
                   "--plan PLAN is required");
    expect_refused(QUANTIZE("Q8_0", "--plan", PLAN, "--max-tokens", "99"), 2,
                   "no text");
    expect_refused(QUANTIZE("Q8_0", "--plan", PLAN, "--seed", "1"), 2,
                   "no text");
    expect_refused(
        QUANTIZE("Q8_0", "--plan", PLAN, "--plan-out", job.out, TEXT), 2,
        "two results in one file");
    expect_refused(QUANTIZE("Q9_0", "--plan", PLAN, TEXT), 1, "type Q9_0");
    expect_refused(QUANTIZE("Q8_0", "--plan", "nosync:7"), 1, "7");
    expect_refused(QUANTIZE("Q8_0", "--plan", "par:1-2", TEXT), 1,
                   "leaves out no exchange");
    expect_refused(
        QUANTIZE("Q8_0", "--plan", PLAN, "--plan-out", "/nowhere/p.json"), 1,
        "nowhere");
    expect_refused(QUANTIZE("Q8_0", "--plan", PLAN, TEXT, "--max-tokens", "64"),
                   1, "two windows");
}

/* Ctrl-C while the cut is chosen: both old files stay, and alone. */
Test(tool_quantize_plan, is_interrupted)
{
    const struct timespec nap = { 0, 300000000 };
    char tool[4096];
    int status = 0;
    size_t n;

    set_up();
    tool_write_ids(job.ids, 400000);
    tool_write_file(job.out, "old", 3);
    tool_write_file(job.plan, "old", 3);
    int before = written_n_beside(job.out);
    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        execl(tool, "tlp", "quantize", job.model, job.out, "Q8_0", "--plan",
              PLAN, "--tokens", job.ids, "-t", "1", (char *)NULL);
        _exit(127);
    }
    nanosleep(&nap, NULL);
    cr_assert_eq(waitpid(pid, &status, WNOHANG), 0, "it was over too soon");
    kill(pid, SIGINT);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 130, "%x",
              (unsigned)status);
    cr_expect_eq(written_n_beside(job.out), before);
    char *x = tool_read_file(job.out, &n), *y = tool_read_file(job.plan, &n);
    cr_expect_str_eq(x, "old");
    cr_expect_str_eq(y, "old");
    free(y);
    free(x);
}
