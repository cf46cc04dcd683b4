/*
 * test_tool_messages.c - what tlp says, and its exit status: a context that is
 * full or too long, logits that are no numbers, output that is lost, BOS,
 * counts.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/copies.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(tool_messages, .timeout = 120);

#define TEXT "the world is in the hand of the men"

static const char *model_with_bos(void)
{
    tiny_spec s = tiny_default();

    s.add_bos = true;
    return tiny_make(&s);
}

static const char *text_file(const char *text)
{
    const char *path = tiny_path("text.txt");

    tool_write_file(path, text, strlen(text));
    return path;
}

/* ==== the context ======================================================== */

Test(tool_messages, a_full_context_is_said)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "the world", "-c",
                      "12", "-t", "1");

    tool_expect_status(&s, 0);
    cr_expect(strstr(s.err, "the context of 12 positions is full"), "%s",
              s.err);
    spawn_free(&s);
    /* the caller asked for the end */
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "the world", "-c", "12",
              "-n", "1", "-t", "1");
    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.err, "");
    spawn_free(&s);
    /* no answer: nothing on standard output */
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", TEXT, "-c", "3", "-t", "1");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: sequence 0: ");
    spawn_free(&s);
}

Test(tool_messages, positions_beyond_training_are_warned_of)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "the", "-n", "1",
                      "-c", "257", "-t", "1");

    tool_expect_status(&s, 0);
    cr_expect(strstr(s.err, "warning: 257 positions, but the model was trained "
                            "with 256"),
              "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "the", "-n", "1", "-c",
              "256", "-t", "1");
    cr_expect_str_eq(s.err, "");
    spawn_free(&s);
}

/* ==== counts ============================================================= */

Test(tool_messages, communication_is_a_part_of_the_time)
{
    const char *m = tool_model();

    for (int i = 0; i < 5; i++) {
        spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "a", "-n", "3",
                          "-t", "1", "--ranks", "2", "--link-delay-us", "2000",
                          "--temp", "1", "--stats");
        const char *at = strstr(s.err, "all-reduces per token, ");
        int percent = -1;

        tool_expect_status(&s, 0);
        cr_assert_not_null(at, "%s", s.err);
        cr_assert_eq(sscanf(at, "all-reduces per token, %d%%", &percent), 1);
        cr_expect(percent > 0 && percent <= 100, "%s", s.err);
        cr_expect(strstr(s.err, "prompt 1 token, "), "%s", s.err);
        spawn_free(&s);
    }
}

Test(tool_messages, too_short_a_text)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "eval", "-m", m, "--text", text_file("a"));

    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "text.txt: 1 token, at least 2 expected"), "%s",
              s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--text", text_file(""));
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "text.txt: 0 tokens, at least 2 expected"), "%s",
              s.err);
    spawn_free(&s);
    /* BOS predicts the only token */
    s = SPAWN("tlp", "eval", "-m", m, "--text", text_file("a"), "--bos");
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "1 token, 1 prediction in 1 window, BOS in each, "),
              "%s", s.out);
    spawn_free(&s);
}

/* ==== logits that are no numbers ========================================= */

/* A weight of the last norm is infinite. */
static const char *infinite_model(void)
{
    const char *good = tool_model(), *path = tiny_path("infinite.gguf");
    const float weight = INFINITY;
    size_t n, at = place_of(good, "output_norm.weight", 3 * sizeof weight);
    char *file = tool_read_file(good, &n);

    memcpy(file + at, &weight, sizeof weight);
    tool_write_file(path, file, n);
    free(file);
    return path;
}

Test(tool_messages, infinite_logits_are_failures)
{
    const char *m = infinite_model(), *text = text_file(TEXT);
    const char *out = tiny_path("out");
    const char *const runs[][20] = {
        { "tlp", "run", "-m", m, "--raw", "-p", "the", "-n", "3" },
        { "tlp", "run", "-m", m, "--raw", "-p", "the", "-n", "3", "--temp",
          "1" },
        { "tlp", "run", "-m", m, "-p", "the", "-n", "3" },
        { "tlp", "logits", "-m", m, "--ids", "1 2", "-o", out },
        { "tlp", "eval", "-m", m, "--text", text },
        { "tlp", "eval", "-m", m, "--text", text, "--against", "par:1-2" },
        { "tlp", "eval", "-m", m, "--self", "20" },
        { "tlp", "eval", "-m", m, "--generate", "2" },
        { "tlp", "study", "-m", m, "--text", text, "--kind", "prune" },
        { "tlp", "plan", "make", "-m", m, "--text", text, "--depth", "4", "-o",
          out },
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        spawned s = spawn(&(spawn_options){ .input = "" }, runs[i]);

        tool_expect_status(&s, 1);
        cr_expect_not_null(strstr(s.err, "the logit of token"), "%s %s: %s",
                           runs[i][1], runs[i][5], s.err);
        cr_expect_null(strstr(s.out, "nan"), "%s", s.out);
        cr_expect_not(tool_exists(out));
        spawn_free(&s);
    }
}

/* ==== lost output ======================================================== */

static spawned into_full_disk(const char *const argv[])
{
    return spawn(&(spawn_options){ .out_path = "/dev/full", .input = TEXT },
                 argv);
}

Test(tool_messages, output_that_is_lost_is_a_failure)
{
    const char *m = tool_model(), *text = text_file(TEXT);
    const char *const runs[][16] = {
        { "tlp", "run", "-m", m, "--raw", "-p", "the", "-n", "3", "-t", "1" },
        { "tlp", "info", "-m", m },
        { "tlp", "tokenize", "-m", m },
        { "tlp", "eval", "-m", m, "--text", text, "-t", "1" },
        { "tlp", "study", "-m", m, "--text", text, "-t", "1", "--kind",
          "prune" },
        { "tlp", "plan", "show", "-m", m, "--plan", "serial" },
        { "tlp", "plan", "check", "-m", m, "--plan", "serial" },
        { "tlp", "bench", "-m", m, "-t", "1", "--prompt", "2", "--gen", "2",
          "--repeat", "1" },
        { "tlp", "logits", "-m", m, "--ids", "1 2", "-t", "1", "-o",
          "/dev/full" },
        { "tlp", "--help" },
        { "tlp", "--version" },
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        spawned s = into_full_disk(runs[i]);

        cr_expect_eq(s.status, 1, "%s %s: status %d", runs[i][0], runs[i][1],
                     s.status);
        cr_expect_neq(s.n_err, 0, "%s: no message", runs[i][1]);
        spawn_free(&s);
    }
}

/* 1 is a difference, so trouble needs another status. */
Test(tool_messages, plan_diff_has_the_statuses_of_diff)
{
    const char *m = tool_model();
    const char *const differ[] = { "tlp",     "plan",   "diff",   "-m",
                                   m,         "--plan", "serial", "--against",
                                   "par:1-2", NULL };
    spawned s = spawn(&(spawn_options){ 0 }, differ);

    tool_expect_status(&s, 1);
    cr_expect_str_eq(s.err, "");
    spawn_free(&s);
    s = into_full_disk(differ);
    tool_expect_status(&s, 2);
    cr_expect(strstr(s.err, "standard output"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", "serial", "--against",
              "bogus");
    tool_expect_status(&s, 2);
    spawn_free(&s);
}

/* ==== BOS ================================================================ */

static double number(const spawned *s, const char *key)
{
    json_t *root = json_loadb(s->out, s->n_out, 0, NULL);

    cr_assert_not_null(root, "status %d: %s%s", s->status, s->out, s->err);
    double x = json_number_value(json_object_get(root, key));

    json_decref(root);
    return x;
}

/* An evaluation of the text, or of ids; `flag`: --bos, --no-bos or --json. */
static spawned evaluate(const char *model, const char *kind, const char *path,
                        const char *ctx, const char *flag)
{
    return SPAWN("tlp", "eval", "-m", model, kind, path, "-c", ctx, "-t", "1",
                 "--json", flag);
}

Test(tool_messages, bos_begins_each_window_where_the_file_asks)
{
    const char *plain = tool_model(), *asks = model_with_bos();
    const char *text = text_file(TEXT);
    spawned without = evaluate(plain, "--text", text, "7", "--json");
    spawned with = evaluate(asks, "--text", text, "7", "--json");
    spawned forced = evaluate(plain, "--text", text, "7", "--bos");
    spawned refused = evaluate(asks, "--text", text, "7", "--no-bos");
    int n = (int)number(&without, "tokens");

    cr_expect_eq(number(&without, "bos"), 0);
    cr_expect_eq(number(&with, "bos"), 1);
    cr_expect_eq(number(&with, "tokens"), n);
    /* every token is predicted; 6 of the text in a window */
    cr_expect_eq(number(&with, "predictions"), n);
    cr_expect_eq(number(&with, "windows"), (n + 5) / 6);
    cr_expect_eq(number(&forced, "nll"), number(&with, "nll"));
    cr_expect_eq(number(&refused, "nll"), number(&without, "nll"));
    cr_expect_neq(number(&with, "nll"), number(&without, "nll"));
    spawn_free(&without);
    spawn_free(&with);
    spawn_free(&forced);
    spawn_free(&refused);
}

/* The ids with BOS before them are one window of the text. */
Test(tool_messages, bos_is_the_token_that_the_file_names)
{
    const char *m = model_with_bos(), *text = text_file(TEXT);
    const char *path = tiny_path("ids.bin");
    spawned t = SPAWN_INPUT(TEXT, "tlp", "tokenize", "-m", m, "--bos", "--ids");
    unsigned char ids[4 * 64];
    size_t n = 0;

    for (char *at = t.out, *end; n < 64; at = end) {
        long id = strtol(at, &end, 10);

        if (end == at)
            break;
        for (int k = 0; k < 4; k++)
            ids[4 * n + (size_t)k] = (unsigned char)(id >> 8 * k);
        n++;
    }
    cr_assert_eq(ids[0] | ids[1] << 8, TOOL_N_VOCAB - 2);
    tool_write_file(path, ids, 4 * n);
    spawned a = evaluate(m, "--text", text, "64", "--json");
    spawned b = evaluate(m, "--tokens", path, "64", "--json");

    cr_expect_eq(number(&a, "nll"), number(&b, "nll"));
    cr_expect_eq(number(&b, "bos"), 0); /* ids are taken as they are */
    spawn_free(&t);
    spawn_free(&a);
    spawn_free(&b);
}

static const char *task_file(void)
{
    return text_file("{\"query\": \"the\", \"choices\": [\"world\", \"men\"], "
                     "\"gold\": 0}\n");
}

Test(tool_messages, bos_of_other_commands)
{
    const char *m = model_with_bos(), *text = text_file(TEXT);
    const char *const runs[][16] = {
        { "tlp", "study", "-m", m, "--text", text, "-t", "1", "--kind", "prune",
          "--bos", "--no-bos" },
        { "tlp", "eval", "-m", m, "--task", task_file(), "--bos", "--no-bos" },
        { "tlp", "plan", "make", "-m", m, "--text", text, "--depth", "4", "-o",
          "/dev/null", "--bos", "--no-bos" },
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        spawned s = spawn(&(spawn_options){ 0 }, runs[i]);

        tool_expect_status(&s, 2);
        cr_expect(strstr(s.err, "--bos and --no-bos exclude each other"), "%s",
                  s.err);
        spawn_free(&s);
    }
}
