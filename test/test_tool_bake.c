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

/* The plan that is written beside OUT.gguf. */
static const char *beside(const char *out)
{
    static char path[512];

    snprintf(path, sizeof path, "%.*s.plan.json", (int)strlen(out) - 5, out);
    return path;
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
    expect_status(
        SPAWN("tlp", "plan", "check", "-m", job.out, "--plan", beside(job.out)),
        0); /* no --plan-out: beside the model */
}

/* ==== the cut and adjustments ============================================ */

static void adjust(const char *model, const char *plan, const char *out)
{
    expect_status(SPAWN("tlp", "plan", "adjust", "-m", model, "--plan", plan,
                        "--tokens", job.ids, "-c", "64", "--compute", "f32",
                        "--rank", "8", "-o", out),
                  0);
}

/* The plan for the baked file can be adjusted, and gains. */
Test(tool_bake, a_baked_plan_is_adjusted)
{
    const char *adjusted = tiny_path("p4.json");
    double nll;

    set_up();
    expect_status(BAKE("--plan", PLAN, "-o", job.out, "--plan-out", job.plan),
                  0);
    adjust(job.out, job.plan, adjusted);
    cr_expect_lt(kl_of(job.out, adjusted, &nll),
                 kl_of(job.out, job.plan, &nll));
    spawned s = SPAWN("tlp", "plan", "show", "-m", job.out, "--plan", adjusted);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "\"baked\": {"), "%s", s.out);
    cr_expect(strstr(s.out, "\"adjusted\": {"), "%s", s.out);
    spawn_free(&s);
}

/* Adjustments belong to the order that they were fitted to: an adjusted plan
 * is neither baked nor carried to a file in another order. */
Test(tool_bake, an_adjusted_plan_keeps_its_order)
{
    const char *adjusted = tiny_path("p4.json"),
               *carried = tiny_path("p5.json");

    set_up();
    adjust(job.model, PLAN, adjusted);
    spawned s = BAKE("--plan", adjusted, "-o", job.out);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp plan bake: plan: it has adjustments");
    cr_expect(!tool_exists(job.out) && !tool_exists(beside(job.out)));
    spawn_free(&s);

    expect_status(BAKE("--plan", PLAN, "-o", job.out), 0);
    s = SPAWN("tlp", "plan", "carry", "-m", job.out, "--from", job.model,
              "--plan", adjusted, "-o", carried);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "would have other hidden units"), "%s", s.err);
    cr_expect(!tool_exists(carried));
    spawn_free(&s);
}

static void expect_refused(spawned s, int status, const char *words)
{
    tool_expect_status(&s, status);
    if (status == 1)
        tool_expect_message(&s, "tlp plan bake: ");
    cr_expect(strstr(s.err, words), "%s", s.err);
    cr_expect(!tool_exists(job.out) && !tool_exists(beside(job.out)));
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
    expect_refused(BAKE("--plan", PLAN, "-o", job.model), 1, "own file");
    expect_refused(BAKE("--plan", PLAN, "-o", "/nowhere/x.gguf"), 1, "nowhere");
    expect_refused(
        BAKE("--plan", PLAN, "-o", job.out, "--plan-out", "/nowhere/p.json"), 1,
        "nowhere");
    expect_refused(BAKE("--plan", PLAN, "-o", job.out, "--max-tokens", "64"), 1,
                   "two windows");
}
