/*
 * test_tool_bake.c - tlp plan bake: a model file for a plan, and the plan for
 * that file.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

TestSuite(tool_bake, .timeout = 120);

#define PLAN "nosync:1a,2,3a"
#define BAKE(...)                                                              \
    SPAWN("tlp", "plan", "bake", "-m", job.model, "--tokens", job.ids, "-c",   \
          "64", "--compute", "f32", __VA_ARGS__)

static struct {
    const char *model, *ids, *out, *plan;
} job;

static void set_up(void)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F16;
    job.model = tiny_make(&spec);
    job.ids = tiny_path("ids.i32");
    tool_write_ids(job.ids, 1024);
    job.out = tiny_path("baked.gguf");
    job.plan = tiny_path("p2.json");
}

static json_t *printed(spawned *s)
{
    tool_expect_status(s, 0);
    json_t *root = tool_json(s);
    spawn_free(s);
    return root;
}

/* KL divergence from serial, and serial's own loss. */
static double kl_of(const char *model, const char *plan, double *nll)
{
    spawned s = SPAWN("tlp", "eval", "-m", model, "--tokens", job.ids, "-c",
                      "64", "--compute", "f32", "--plan", plan, "--against",
                      "serial", "--json");
    json_t *root = printed(&s);
    double kl = tool_number(root, "kl_mean");

    *nll = tool_number(root, "reference_nll");
    json_decref(root);
    return kl;
}

static void expect_status(spawned s, int status)
{
    tool_expect_status(&s, status);
    spawn_free(&s);
}

Test(tool_bake, writes_a_model_and_its_plan)
{
    double serial, baked;

    set_up();
    spawned s =
        BAKE("--plan", PLAN, "-o", job.out, "--plan-out", job.plan, "--json");
    json_t *report = printed(&s);

    cr_expect_eq(tool_number(report, "windows"), 16);
    cr_expect_eq(tool_number(report, "held_out"), 4);
    cr_expect_eq(tool_number(report, "sites"), 3);
    cr_expect_geq(tool_number(report, "layers"), 1);
    cr_expect_gt(tool_number(report, "units"), 0);
    cr_expect_lt(tool_number(report, "kl_after"),
                 tool_number(report, "kl_before"));
    json_decref(report);

    /* The plan is closer to a serial model that is as good as before. */
    double before = kl_of(job.model, PLAN, &serial);
    double after = kl_of(job.out, job.plan, &baked);
    cr_expect_lt(after, before);
    cr_expect_float_eq(baked, serial, 1e-5 * serial);

    expect_status(
        SPAWN("tlp", "plan", "check", "-m", job.out, "--plan", job.plan), 0);
    expect_status(
        SPAWN("tlp", "plan", "check", "-m", job.model, "--plan", job.plan), 1);
    s = SPAWN("tlp", "plan", "show", "-m", job.out, "--plan", job.plan);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "\"baked\": {\"tool\": \"tlp_plan_bake\""), "%s",
              s.out);
    spawn_free(&s);

    /* The way from F16 to a quantised file: bake, quantise, carry. */
    const char *small = tiny_path("small.gguf"),
               *carried = tiny_path("p3.json");
    expect_status(SPAWN("tlp", "quantize", job.out, small, "Q8_0"), 0);
    expect_status(SPAWN("tlp", "plan", "carry", "-m", small, "--from", job.out,
                        "--plan", job.plan, "-o", carried),
                  0);
    cr_expect_lt(kl_of(small, carried, &baked), before);
}

Test(tool_bake, prints_a_table)
{
    set_up();
    spawned s = BAKE("--plan", PLAN, "-o", job.out);

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    cr_expect(strstr(s.out, "4 of 16 windows held out"), "%s", s.out);
    cr_expect(strstr(s.out, "hidden units changed their track"), "%s", s.out);
    cr_expect(!tool_exists(job.plan));
    spawn_free(&s);
}

static void expect_refused(spawned s, int status, const char *words)
{
    tool_expect_status(&s, status);
    if (status == 1)
        tool_expect_message(&s, "tlp plan bake: ");
    cr_expect(strstr(s.err, words), "%s", s.err);
    cr_expect(!tool_exists(job.out));
    spawn_free(&s);
}

Test(tool_bake, refuses)
{
    set_up();
    expect_refused(BAKE("-o", job.out), 2, "--plan PLAN");
    expect_refused(BAKE("--plan", PLAN), 2, "-o FILE");
    expect_refused(SPAWN("tlp", "plan", "bake", "-m", job.model, "--plan", PLAN,
                         "-o", job.out),
                   2, "--text");
    expect_refused(BAKE("--plan", "serial", "-o", job.out), 1,
                   "leaves out no exchange");
    expect_refused(BAKE("--plan", "nosync:2f", "-o", job.out), 1,
                   "after an attention");
    expect_refused(BAKE("--plan", PLAN, "-o", job.model), 1, "own file");
    expect_refused(BAKE("--plan", PLAN, "-o", "/nowhere/x.gguf"), 1, "nowhere");
    expect_refused(
        BAKE("--plan", PLAN, "-o", job.out, "--plan-out", "/nowhere/p.json"), 1,
        "nowhere");
    expect_refused(BAKE("--plan", PLAN, "-o", job.out, "--max-tokens", "64"), 1,
                   "two windows");
}
