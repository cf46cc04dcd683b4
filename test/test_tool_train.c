/*
 * test_tool_train.c - tlp plan train: the files it writes, its numbers beside
 * those of tlp eval, and what it refuses.
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

TestSuite(tool_train, .timeout = 120);

static const char *ids_of(int n)
{
    const char *path = tiny_path("ids.i32");

    tool_write_ids(path, n);
    return path;
}

/* KL of a plan in its file, and its perplexity. */
static json_t *eval(const char *m, const char *plan, const char *ids)
{
    spawned s = SPAWN("tlp", "eval", "-m", m, "--plan", plan, "--tokens", ids,
                      "--ctx", "32", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);

    spawn_free(&s);
    return j;
}

Test(tool_train, writes_model_plan_and_curve)
{
    const char *m = tool_model(), *ids = ids_of(640);
    char model[256], plan[256], csv[256], svg[256];
    size_t n;

    strcpy(model, tiny_path("trained.gguf"));
    strcpy(plan, tiny_path("trained.json"));
    strcpy(csv, tiny_path("curve.csv"));
    strcpy(svg, tiny_path("curve.svg"));
    spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2",
                      "--tokens", ids, "--ctx", "32", "--full", "--norms",
                      "--rate", "1e-3", "--text-share", "1", "--train-tokens",
                      "1280", "--local-tokens", "640", "--model-out", model,
                      "-o", plan, "--csv", csv, "--svg", svg, "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s), *before = eval(m, "par:1-2", ids),
           *after = eval(model, plan, ids);
    json_t *curve = json_object_get(j, "curve");

    cr_expect_geq(json_array_size(curve), 20);
    cr_expect_eq(tool_number(json_array_get(curve, 0), "tokens"), 0);
    cr_expect_lt(tool_number(j, "ppl_after"), tool_number(j, "ppl_before"));
    cr_expect_lt(tool_number(after, "ppl"), 0.8 * tool_number(before, "ppl"));
    char *text = tool_read_file(csv, &n);

    cr_expect_eq(strncmp(text, "tokens,step,loss,kl,ppl,", 24), 0, "%s", text);
    free(text);
    text = tool_read_file(svg, &n);
    cr_expect(tool_is_xml(text), "%s", text);
    cr_expect(strstr(text, "1280 tokens, step 40: loss ") &&
                  strstr(text, "640 tokens, step 20: local loss ") &&
                  strstr(text, "the state that is kept") &&
                  strstr(text, "class=\"c\"><title>"),
              "%s", text);
    free(text);
    json_decref(after);
    json_decref(before);
    json_decref(j);
    spawn_free(&s);
}

/* A text in letters, other ones for another step. */
static void write_text(const char *path, int step)
{
    char text[640];

    for (int i = 0; i < (int)sizeof text; i++)
        text[i] = (char)('a' + i * step / 3 % 26);
    tool_write_file(path, text, sizeof text);
}

Test(tool_train, a_text_for_validation)
{
    const char *m = tool_model();
    char fit[256], valid[256];

    strcpy(fit, tiny_path("fit.txt"));
    strcpy(valid, tiny_path("valid.txt"));
    write_text(fit, 7);
    write_text(valid, 5);
    spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2",
                      "--text", fit, "--ctx", "32", "--norms", "--rate", "1e-2",
                      "--compute", "f32", "--held-out-text", valid, "-o",
                      tiny_path("p.json"), "--json");
    spawned e = SPAWN("tlp", "eval", "-m", m, "--plan", "par:1-2", "--against",
                      "serial", "--text", valid, "--ctx", "32", "--compute",
                      "f32", "--json");

    tool_expect_status(&s, 0);
    tool_expect_status(&e, 0);
    json_t *j = tool_json(&s), *want = tool_json(&e);
    double ppl = tool_number(want, "ppl"), n = tool_number(j, "windows");

    cr_expect_eq(tool_number(j, "held_out"), n / 2);
    cr_expect_float_eq(tool_number(j, "ppl_before"), ppl, 1e-3 * ppl);
    json_decref(want);
    json_decref(j);
    spawn_free(&e);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2", "--text",
              fit, "--ctx", "32", "--norms", "--rate", "1e-2",
              "--held-out-text", valid, "--held-out-tokens", "64", "-o",
              tiny_path("p.json"), "--json");
    tool_expect_status(&s, 0);
    j = tool_json(&s);
    cr_expect_eq(tool_number(j, "held_out"), 2);
    json_decref(j);
    spawn_free(&s);
}

Test(tool_train, norms_need_no_model)
{
    const char *m = tool_model(), *ids = ids_of(640);
    char plan[256];

    strcpy(plan, tiny_path("norms.json"));
    spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "nosync:1,2a",
                      "--tokens", ids, "--ctx", "32", "--norms", "--gains",
                      "--rate", "1e-2", "--text-share", "1", "-o", plan);

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "KL divergence"));
    json_decref(eval(m, plan, ids));
    spawn_free(&s);
}

/* LoRA beside the plan, and what the other parts of tlp plan say of it. */
Test(tool_train, lora_beside_the_plan)
{
    const char *m = tool_model(), *ids = ids_of(1280);
    char plan[256], merged[256], merged_plan[256];

    strcpy(plan, tiny_path("lora.json"));
    strcpy(merged, tiny_path("merged.gguf"));
    strcpy(merged_plan, tiny_path("merged.json"));
    spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2",
                      "--tokens", ids, "--lora", "2", "--text-share", "1",
                      "--rate", "3e-3", "--ctx", "64", "-o", plan);

    tool_expect_status(&s, 0);
    spawn_free(&s);
    json_t *before = eval(m, plan, ids);
    s = SPAWN("tlp", "plan", "show", "-m", m, "--plan", plan);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "0 gains, 0 norms, 0 low-rank corrections, LoRA of "
                            "14 matrices"),
              "%s", s.out);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "merge", "-m", m, "--plan", plan, "-o", merged,
              "--plan-out", merged_plan, "--type", "F32");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    json_t *after = eval(merged, merged_plan, ids);
    cr_expect_float_eq(tool_number(after, "ppl"), tool_number(before, "ppl"),
                       0.01 * tool_number(before, "ppl"));
    json_decref(after);
    json_decref(before);
    s = SPAWN("tlp", "plan", "merge", "-m", m, "--plan", "par:1-2", "-o",
              tiny_path("no.gguf"));
    tool_expect_message(&s, "tlp plan merge: plan: it has no LoRA to merge");
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", plan, "--tokens", ids,
              "--lora", "3", "--ctx", "64", "-o", tiny_path("no.json"));
    tool_expect_message(&s, "tlp plan train: plan: the LoRA of blk.1.");
    spawn_free(&s);
}

/* A plan's LoRA as an adapter: with the plan's stages it is the plan. */
Test(tool_train, lora_as_an_adapter)
{
    const char *m = tool_model(), *ids = ids_of(1280);
    char plan[256], adapter[256];

    strcpy(plan, tiny_path("lora.json"));
    strcpy(adapter, tiny_path("lora.gguf"));
    spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2",
                      "--tokens", ids, "--lora", "2", "--text-share", "1",
                      "--rate", "3e-3", "--ctx", "64", "-o", plan);
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "merge", "-m", m, "--plan", plan, "--lora-out",
              adapter);
    tool_expect_status(&s, 0);
    spawn_free(&s);
    json_t *beside = eval(m, plan, ids);
    s = SPAWN("tlp", "eval", "-m", m, "--plan", "par:1-2", "--tokens", ids,
              "--ctx", "32", "--lora", adapter, "--json");
    tool_expect_status(&s, 0);
    json_t *added = tool_json(&s);
    cr_expect_eq(tool_number(added, "ppl"), tool_number(beside, "ppl"));
    json_decref(added);
    json_decref(beside);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", m, "-p", "a", "-n", "4", "--lora", adapter,
              "--lora-scale", "-0.5", "--ranks", "2");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", m, "-p", "a", "--lora", m);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "key general.type"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", m, "-p", "a", "--lora-scale", "2");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp run: --lora-scale is for --lora");
    spawn_free(&s);
}

/* ==== cut short ========================================================== */

/* Start a training, and send it a signal once its state is in the file. */
static int cut(char *const argv[], const char *state, int sig)
{
    const struct timespec nap = { 0, 2000000 };
    char tool[4096];
    int status = 0;
    pid_t pid;

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        if (!freopen("/dev/null", "w", stdout) ||
            !freopen("/dev/null", "w", stderr))
            _exit(127);
        execv(tool, argv);
        _exit(127);
    }
    cr_assert_gt(pid, 0);
    while (!tool_exists(state)) {
        cr_assert_neq(waitpid(pid, &status, WNOHANG), pid, "it ended: %d",
                      status);
        nanosleep(&nap, NULL);
    }
    kill(pid, sig);
    waitpid(pid, &status, 0);
    return status;
}

/* Columns of seconds differ: "tokens,step,loss,kl,ppl,top1,seconds,rate". */
static void drop_seconds(char *csv)
{
    char *to = csv;
    int comma = 0;

    for (const char *c = csv; *c; c++) {
        comma = *c == '\n' ? 0 : comma + (*c == ',');
        if (comma != 6)
            *to++ = *c;
    }
    *to = '\0';
}

static void expect_equal_files(const char *a, const char *b, bool csv)
{
    size_t n, n_b;
    char *x = tool_read_file(a, &n), *y = tool_read_file(b, &n_b);

    if (csv) {
        drop_seconds(x);
        drop_seconds(y);
        n = strlen(x);
        n_b = strlen(y);
    }
    cr_expect(n == n_b && memcmp(x, y, n) == 0, "%s differs from %s", a, b);
    free(x);
    free(y);
}

Test(tool_train, a_killed_training_goes_on)
{
    const char *m = tool_model(), *ids = ids_of(640);
    const char *whole = tiny_path("whole.gguf"), *got = tiny_path("got.gguf");
    const char *whole_csv = tiny_path("whole.csv"), *csv = tiny_path("got.csv");
    const char *state = tiny_path("state"), *plan = tiny_path("p.json");

#define TRAIN(model, table, ...)                                               \
    "tlp", "plan", "train", "-m", m, "--plan", "par:1-2", "--tokens", ids,     \
        "--ctx", "32", "--full", "--rate", "1e-3", "--text-share", "1",        \
        "--train-tokens", "9600", "-o", plan, "--model-out", model, "--csv",   \
        table, "--resume", __VA_ARGS__
    const char *const argv[] = { TRAIN(got, csv, state), NULL };
    int status = cut((char *const *)(uintptr_t)argv, state, SIGKILL);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect(!tool_exists(got));
    spawned s = SPAWN(TRAIN(got, csv, state, "-t", "2"));

    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN(TRAIN(whole, whole_csv, tiny_path("other"), "-t", "1"));
    tool_expect_status(&s, 0);
    spawn_free(&s);
    expect_equal_files(got, whole, false);
    expect_equal_files(csv, whole_csv, true);
    s = SPAWN(TRAIN(got, csv, state, "--seed", "7"));
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp plan train: ");
    cr_expect(strstr(s.err, "of.seed"), "%s", s.err);
    spawn_free(&s);
#undef TRAIN
}

Test(tool_train, messages)
{
    static const struct {
        const char *args[6], *message;
    } cases[] = {
        { { "--norms", "--full" }, "--full writes a model" },
        { { "--full", "--lora", "4", "--model-out", "m.gguf" },
          "--full and --lora: give one" },
        { { "--train-tokens", "9", "--minutes", "1", "--norms" },
          "--train-tokens and --minutes" },
        { { "--train-tokens", "9", "--local-tokens", "10", "--norms" },
          "--local-tokens: at most" },
        { { "--seed", "1" }, "nothing to train" },
        { { "--norms", "--held-out", "0.1", "--held-out-text", "x" },
          "--held-out and --held-out-text: give one" },
        { { "--norms", "--held-out-tokens", "9" },
          "--held-out-tokens needs --held-out-text" },
        { { "--norms", "--type", "Q8_0" }, "--model-out and --type are for" },
        { { "--lora", "2", "--type", "Q8_0" }, "--type is for the model" },
    };
    const char *m = tool_model(), *ids = ids_of(64);
    char want[128];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const *a = cases[i].args;
        spawned s = SPAWN("tlp", "plan", "train", "-m", m, "--plan", "par:1-2",
                          "--tokens", ids, "-o", tiny_path("p.json"), a[0],
                          a[1], a[2], a[3], a[4], a[5]);

        snprintf(want, sizeof want, "tlp plan train: %s", cases[i].message);
        tool_expect_status(&s, 2);
        tool_expect_message(&s, want);
        spawn_free(&s);
    }
}
