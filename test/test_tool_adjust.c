/*
 * test_tool_adjust.c - tlp plan adjust: an adjusted plan that is closer to the
 * serial model wherever a plan is taken; files that do not belong together.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

TestSuite(tool_adjust, .timeout = 400);

#define PLAN "par:1-2,3-4"
#define ADJUST(...)                                                            \
    SPAWN("tlp", "plan", "adjust", "-m", job.model, "--tokens", job.ids, "-c", \
          "64", "--compute", "f32", __VA_ARGS__)

static struct {
    const char *model, *ids, *out;
    char file[256]; /* of the adjustments, beside `out` */
} job;

/* The file of adjustments beside a plan's. */
static void name_file(char file[256], const char *plan)
{
    snprintf(file, 256, "%.*s.adjust.safetensors",
             (int)(strlen(plan) - strlen(".json")), plan);
}

static void set_up(void)
{
    job.model = tool_model();
    job.ids = tiny_path("ids.i32");
    tool_write_ids(job.ids, 2048);
    job.out = tiny_path("p2.json");
    name_file(job.file, job.out);
}

static json_t *printed(spawned *s)
{
    tool_expect_status(s, 0);
    json_t *root = tool_json(s);
    spawn_free(s);
    return root;
}

static double kl_of(const char *plan, const char *ranks)
{
    spawned s = SPAWN("tlp", "eval", "-m", job.model, "--tokens", job.ids, "-c",
                      "64", "--compute", "f32", "--plan", plan, "--against",
                      "serial", "--ranks", ranks, "--json");
    json_t *root = printed(&s);
    double kl = tool_number(root, "kl_mean");

    json_decref(root);
    return kl;
}

Test(tool_adjust, brings_a_plan_closer)
{
    set_up();
    spawned s = ADJUST("--plan", PLAN, "--gains", "--rank", "16", "-o", job.out,
                       "--json");
    json_t *report = printed(&s);

    cr_expect_eq(tool_number(report, "windows"), 32);
    cr_expect_eq(tool_number(report, "held_out"), 8);
    cr_expect_lt(tool_number(report, "kl_after"),
                 tool_number(report, "kl_before"));
    cr_expect_gt(tool_number(report, "low_rank") + tool_number(report, "gains"),
                 0);
    json_decref(report);
    cr_assert(tool_exists(job.file));

    double plain = kl_of(PLAN, "1"), one = kl_of(job.out, "1");
    cr_expect_lt(one, plain);
    cr_expect_float_eq(kl_of(job.out, "2"), one, 1e-3 * one);

    s = SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.out);
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", job.model, "--plan", job.out, "--raw", "-p",
              "abc", "-n", "4", "--ranks", "2");
    tool_expect_status(&s, 0);
    spawn_free(&s);
}

Test(tool_adjust, prints_a_table)
{
    set_up();
    spawned s = ADJUST("--plan", PLAN, "--rank", "16", "-o", job.out);

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    cr_expect(strstr(s.out, "8 of 32 windows held out"), "%s", s.out);
    cr_expect(strstr(s.out, "low-rank corrections"), "%s", s.out);
    spawn_free(&s);
}

/* Asked for nothing by name, it fits everything. */
Test(tool_adjust, fits_everything)
{
    set_up();
    const char *named = tiny_path("p3.json");
    char named_file[256];
    spawned s = ADJUST("--plan", PLAN, "-o", job.out, "--json");
    json_t *report = printed(&s);
    size_t n, n_named;

    cr_expect_gt(tool_number(report, "low_rank"), 0);
    json_decref(report);
    s = ADJUST("--plan", PLAN, "--gains", "--norms", "--rank", "32", "-o",
               named, "--json");
    json_decref(printed(&s));

    name_file(named_file, named);
    char *a = tool_read_file(job.file, &n);
    char *b = tool_read_file(named_file, &n_named);

    cr_assert_eq(n, n_named);
    cr_expect_eq(memcmp(a, b, n), 0);
    free(a);
    free(b);
}

/* A plan that was changed by hand, numbers of another plan, none at all. */
Test(tool_adjust, files_that_do_not_belong_together)
{
    size_t n;

    set_up();
    spawned s = ADJUST("--plan", PLAN, "--rank", "16", "-o", job.out, "--json");
    json_decref(printed(&s));

    char *image = tool_read_file(job.file, &n);
    image[n - 1] ^= 1;
    tool_write_file(job.file, image, n);
    s = SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "p2.adjust.safetensors"), "%s", s.err);
    spawn_free(&s);
    image[n - 1] ^= 1;
    tool_write_file(job.file, image, n);
    free(image);

    char *json = tool_read_file(job.out, &n);
    char *at = strstr(json, "\"par\"");
    cr_assert_not_null(at);
    memcpy(at, "\"lp\" ", 5);
    tool_write_file(job.out, json, n);
    free(json);
    s = SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "p2.adjust.safetensors"), "%s", s.err);
    spawn_free(&s);

    unlink(job.file);
    s = SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "p2.adjust.safetensors"), "%s", s.err);
    spawn_free(&s);
}

Test(tool_adjust, carried_to_another_type)
{
    set_up();
    const char *small = tiny_path("small.gguf");
    const char *carried = tiny_path("p3.json");
    spawned s = ADJUST("--plan", PLAN, "--rank", "16", "-o", job.out, "--json");
    json_decref(printed(&s));

    s = SPAWN("tlp", "quantize", job.model, small, "Q8_0");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "check", "-m", small, "--plan", job.out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "fingerprint"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "carry", "-m", small, "--from", job.model,
              "--plan", job.out, "-o", carried);
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_out + s.n_err, 0, "%s%s", s.out, s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "show", "-m", small, "--plan", carried);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "\"carried_from\""), "%s", s.out);
    cr_expect(strstr(s.out, "\"adjusted\": {\"tool\": \"tlp_plan_adjust\""),
              "%s", s.out);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "carry", "-m", small, "--plan", job.out, "-o",
              carried);
    tool_expect_status(&s, 2);
    cr_expect(strstr(s.err, "--from"), "%s", s.err);
    spawn_free(&s);
}

Test(tool_adjust, refuses)
{
    set_up();
    spawned s = ADJUST("--rank", "16", "-o", job.out);

    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = ADJUST("--plan", PLAN, "--rank", "16");
    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = ADJUST("--plan", "serial", "--rank", "16", "-o", job.out);
    tool_expect_message(&s, "tlp plan adjust: ");
    tool_expect_status(&s, 1);
    spawn_free(&s);
    s = ADJUST("--plan", PLAN, "--rank", "4000", "-o", job.out);
    tool_expect_message(&s, "tlp plan adjust: ");
    tool_expect_status(&s, 1);
    spawn_free(&s);
    s = ADJUST("--plan", PLAN, "--rank", "16", "--max-tokens", "64", "-o",
               job.out);
    tool_expect_message(&s, "tlp plan adjust: ");
    tool_expect_status(&s, 1);
    spawn_free(&s);
    s = ADJUST("--plan", PLAN, "--rank", "16", "-o", "/nowhere/p.json");
    tool_expect_message(&s, "tlp plan adjust: ");
    tool_expect_status(&s, 1);
    spawn_free(&s);
    cr_expect(!tool_exists(job.out) && !tool_exists(job.file));
}

/* What was adjusted cannot be adjusted again: it would be counted twice. */
Test(tool_adjust, an_adjusted_plan)
{
    set_up();
    spawned s = ADJUST("--plan", PLAN, "--rank", "16", "-o", job.out, "--json");
    json_decref(printed(&s));
    s = ADJUST("--plan", job.out, "--rank", "16", "-o", tiny_path("p3.json"));
    tool_expect_message(&s, "tlp plan adjust: ");
    tool_expect_status(&s, 1);
    spawn_free(&s);
}
