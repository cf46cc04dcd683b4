/*
 * test_tool_measure.c - tlp eval, bench and info: the numbers, and JSON with
 * the keys that other programs read.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"
#include "tlp.h"

/* Keys in the order of the text; jansson keeps the order of insertion. */
static void expect_keys(json_t *object, const char *const *keys, size_t n)
{
    const char *key;
    json_t *value;
    size_t i = 0;

    json_object_foreach(object, key, value)
    {
        cr_assert_lt(i, n, "extra key %s", key);
        cr_expect_str_eq(key, keys[i]);
        i++;
    }
    cr_expect_eq(i, n);
}

/* ==== eval =============================================================== */

static const char *const eval_keys[] = { "tokens",
                                         "predictions",
                                         "windows",
                                         "bos",
                                         "nll",
                                         "ppl",
                                         "ppl_ci",
                                         "effective_depth",
                                         "allreduces_per_token",
                                         "exchanges_per_token",
                                         "seconds" };

/* -log p of each id of a window but the first, from the logits of a window. */
static double window_nll(const char *m, const char *ids_path, int n)
{
    const char *out = tiny_path("window.f32");
    size_t size, n_ids;
    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids_path,
                      "--compute", "f32", "-o", out);
    float *row = (float *)(void *)tool_read_file(out, &size);
    unsigned char *ids = (unsigned char *)tool_read_file(ids_path, &n_ids);
    double sum = 0;

    cr_assert_eq(size, (size_t)n * TOOL_N_VOCAB * sizeof *row);
    for (int t = 0; t + 1 < n; t++) {
        double total = 0;

        for (int v = 0; v < TOOL_N_VOCAB; v++)
            total += exp((double)row[t * TOOL_N_VOCAB + v]);
        sum += log(total) - (double)row[t * TOOL_N_VOCAB + ids[4 * (t + 1)]];
    }
    free(row);
    free(ids);
    spawn_free(&s);
    return sum;
}

/* 20 tokens in windows of 8: 7 + 7 + 3 predictions, each window by itself. */
Test(tool_measure, eval_json)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *part = tiny_path("part.i32");
    double nll = 0;
    size_t size;

    tool_write_ids(ids, 20);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "8",
                      "--compute", "f32", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    char *all = tool_read_file(ids, &size);

    for (size_t at = 0; at < 20; at += 8) {
        size_t n = at + 8 <= 20 ? 8 : 4;

        tool_write_file(part, all + 4 * at, 4 * n);
        nll += window_nll(m, part, (int)n);
    }
    expect_keys(root, eval_keys, 11);
    cr_expect_eq(tool_number(root, "windows"), 3);
    cr_expect_eq(tool_number(root, "tokens"), 20);
    cr_expect_eq(tool_number(root, "predictions"), 17);
    cr_expect_float_eq(tool_number(root, "nll"), nll / 17, 1e-4);
    cr_expect_float_eq(tool_number(root, "ppl"), exp(nll / 17), 0.1);
    cr_expect_eq(tool_number(root, "effective_depth"), 5);
    cr_expect_eq(tool_number(root, "allreduces_per_token"), 0);
    cr_expect_geq(tool_number(root, "seconds"), 0);
    json_decref(root);
    free(all);
    spawn_free(&s);
}

/* Two all-reduces for each of three serial layers, one for the pair. */
Test(tool_measure, eval_of_a_plan_on_two_ranks)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 17);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "8",
                      "--plan", "par:1-2", "--ranks", "2", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);

    cr_expect_eq(tool_number(root, "predictions"), 14);
    cr_expect_eq(tool_number(root, "effective_depth"), 4);
    cr_expect_eq(tool_number(root, "allreduces_per_token"), 7);
    cr_expect_eq(tool_number(root, "exchanges_per_token"), 7);
    json_decref(root);
    spawn_free(&s);
}

Test(tool_measure, eval_text_and_max_tokens)
{
    const char *m = tool_model(), *text = tiny_path("text.txt");

    tool_write_file(text, "zzqqxxjj zzqqxxjj", 17);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--text", text, "--max-tokens",
                      "5", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);

    cr_expect_eq(tool_number(root, "tokens"), 5);
    cr_expect_eq(tool_number(root, "predictions"), 4);
    json_decref(root);
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--text", text);
    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "perplexity"));
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--text", text, "--max-tokens", "1");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp eval: ");
    cr_expect(strstr(s.err, ": 1 token, at least 2 expected"), "%s", s.err);
    spawn_free(&s);
}

static double eval_nll(const char *ids, const char *ctx, const char *from,
                       const char *n, const char *spread)
{
    spawned s =
        SPAWN("tlp", "eval", "-m", tool_model(), "--tokens", ids, "--json",
              "--ctx", ctx, "--from", from, "--max-tokens", n, spread);

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    double nll = tool_number(root, "nll");

    json_decref(root);
    spawn_free(&s);
    return nll;
}

/* Of 20 ids the last 18, of them 8 in windows of 3: 2-4, 10-12 and 18-19. */
Test(tool_measure, eval_of_windows_all_over_a_text)
{
    const char *all = tiny_path("all.i32"), *some = tiny_path("some.i32");
    size_t n;

    tool_write_ids(all, 20);

    char *ids = tool_read_file(all, &n);
    char *kept = malloc(8 * 4);

    memcpy(kept, ids + 2 * 4, 3 * 4);
    memcpy(kept + 3 * 4, ids + 10 * 4, 3 * 4);
    memcpy(kept + 6 * 4, ids + 18 * 4, 2 * 4);
    tool_write_file(some, kept, 8 * 4);
    cr_expect_eq(eval_nll(all, "3", "2", "8", "--spread"),
                 eval_nll(some, "3", "0", "0", NULL));
    cr_expect_neq(eval_nll(all, "3", "2", "8", NULL),
                  eval_nll(some, "3", "0", "0", NULL));
    free(kept);
    free(ids);

    spawned s = SPAWN("tlp", "eval", "-m", tool_model(), "--tokens", all,
                      "--from", "19");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp eval: ");
    cr_expect(strstr(s.err, ": 1 token after those of --from"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", tool_model(), "--tokens", all, "--spread");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp eval: --spread needs --max-tokens");
    spawn_free(&s);
}

/* ==== bench, info ======================================================== */

static const char *const bench_keys[] = { "plan",
                                          "effective_depth",
                                          "allreduces_per_token",
                                          "exchanges_per_token",
                                          "prefill",
                                          "decode",
                                          "comm_seconds",
                                          "decode_ratio",
                                          "prefill_ratio" };

static void check_contender(json_t *plan, json_t *first)
{
    static const char *const keys[] = { "median", "min", "max" };
    static const char *const speeds[] = { "prefill", "decode" };

    expect_keys(plan, bench_keys, 9);
    for (size_t i = 0; i < 2; i++) {
        json_t *s = json_object_get(plan, speeds[i]);
        json_t *base = json_object_get(first, speeds[i]);
        char ratio[32];

        expect_keys(s, keys, 3);
        cr_expect_gt(tool_number(s, "min"), 0);
        cr_expect_leq(tool_number(s, "min"), tool_number(s, "median"));
        cr_expect_leq(tool_number(s, "median"), tool_number(s, "max"));
        snprintf(ratio, sizeof ratio, "%s_ratio", speeds[i]);
        cr_expect_float_eq(
            tool_number(plan, ratio),
            tool_number(s, "median") / tool_number(base, "median"), 1e-6);
    }
}

/* A plan from a file whose name needs escaping, and is no UTF-8. */
static const char *write_plan(const char *m)
{
    const char *path = tiny_path("a \"\\\n\xff plan.json");
    tlp_model *model_ = NULL;
    tlp_plan *plan = NULL;

    cr_assert_eq(tlp_model_open(&model_, m, NULL), TLP_OK);
    cr_assert_eq(tlp_plan_parse(&plan, model_, "asym:2-4"), TLP_OK);
    cr_assert_eq(tlp_plan_save(plan, path), TLP_OK);
    tlp_plan_free(plan);
    tlp_model_free(model_);
    return path;
}

Test(tool_measure, bench_json)
{
    const char *m = tool_model(), *file = write_plan(m);
    spawned s = SPAWN("tlp", "bench", "-m", m, "--plan", "serial", "--plan",
                      file, "--prompt", "9", "--gen", "5", "--repeat", "4",
                      "--ranks", "2", "--threads", "1", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    json_t *plans = json_object_get(root, "plans");

    expect_keys(root,
                (const char *[]){ "device", "comm", "wire", "n_rank",
                                  "link_path", "link_seconds", "plans" },
                7);
    cr_expect_str_eq(json_string_value(json_object_get(root, "link_path")),
                     "threads");
    cr_expect_gt(tool_number(root, "link_seconds"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(root, "device")), "cpu");
    cr_expect_str_eq(json_string_value(json_object_get(root, "comm")),
                     "threads");
    cr_expect_str_eq(json_string_value(json_object_get(root, "wire")), "f32");
    cr_expect_eq(tool_number(root, "n_rank"), 2);
    cr_assert_eq(json_array_size(plans), 2);
    for (size_t i = 0; i < 2; i++)
        check_contender(json_array_get(plans, i), json_array_get(plans, 0));

    json_t *second = json_array_get(plans, 1);
    const char *name = json_string_value(json_object_get(second, "plan"));

    cr_expect_not_null(strstr(name, "a \"\\\n\xef\xbf\xbd plan.json"));
    cr_expect_eq(tool_number(second, "effective_depth"), 3);
    cr_expect_eq(tool_number(json_array_get(plans, 0), "allreduces_per_token"),
                 10);
    json_decref(root);
    spawn_free(&s);
}

Test(tool_measure, bench_table)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "bench", "-m", m, "--prompt", "4", "--gen", "2",
                      "--repeat", "1");

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "serial"));
    cr_expect_not_null(strstr(s.out, "1.000"));
    spawn_free(&s);
}

/* ==== the link =========================================================== */

static const char *const forecast_keys[] = { "plan",
                                             "n_rank",
                                             "decode",
                                             "decode_ratio",
                                             "prefill",
                                             "decode_error_percent",
                                             "prefill_error_percent",
                                             "seconds",
                                             "compute_seconds",
                                             "command_seconds",
                                             "send_seconds",
                                             "allreduce_seconds" };

/* What was predicted for a plan that ran stands beside what was measured. */
static void check_error(json_t *forecast, json_t *plan, const char *speed)
{
    json_t *measured = json_object_get(plan, speed);
    char key[32];

    snprintf(key, sizeof key, "%s_error_percent", speed);
    cr_expect_float_eq(
        tool_number(forecast, key),
        100 * (tool_number(forecast, speed) / tool_number(measured, "median") -
               1),
        1e-3);
}

static void check_sizes(json_t *sizes)
{
    double before = 0;

    cr_assert_gt(json_array_size(sizes), 2);
    for (size_t i = 0; i < json_array_size(sizes); i++) {
        json_t *size = json_array_get(sizes, i);

        cr_expect_gt(tool_number(size, "floats"), before);
        cr_expect_gt(tool_number(size, "allreduce"), 0);
        before = tool_number(size, "floats");
    }
}

Test(tool_measure, bench_link_json)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "bench", "-m", m, "--plan", "asym:1-2", "--prompt",
                      "9", "--gen", "5", "--repeat", "2", "--ranks", "2",
                      "--threads", "1", "--measure-link", "--predict",
                      "par:0-1,2-3", "--predict-ranks", "3", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    json_t *link = json_object_get(root, "link");
    json_t *rows = json_object_get(root, "predictions");

    check_sizes(json_object_get(link, "sizes"));
    cr_expect_eq(json_array_size(json_object_get(link, "stage")), 5);
    /* on two ranks what ran and what did not; on three serial as well */
    cr_assert_eq(json_array_size(rows), 2 + 3);

    json_t *ran = json_array_get(rows, 0);

    expect_keys(ran, forecast_keys, 12);
    cr_expect_eq(tool_number(ran, "n_rank"), 2);
    check_error(ran, json_array_get(json_object_get(root, "plans"), 0),
                "decode");
    check_error(ran, json_array_get(json_object_get(root, "plans"), 0),
                "prefill");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);

        cr_expect_float_eq(
            tool_number(row, "decode") * tool_number(row, "seconds"), 1, 1e-6);
        cr_expect_gt(tool_number(row, "allreduce_seconds"), 0);
        cr_expect_eq(tool_number(row, "n_rank"), i < 2 ? 2 : 3);
    }
    cr_expect_eq(tool_number(json_array_get(rows, 2), "decode_ratio"), 1);
    cr_expect_not_null(
        strstr(json_string_value(json_object_get(root, "verdict")),
               "% of a token here"));
    json_decref(root);
    spawn_free(&s);
}

Test(tool_measure, bench_link_table)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "bench", "-m", m, "--prompt", "4", "--gen", "2",
                      "--repeat", "1", "--measure-link");

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "work of a serial stage"));
    cr_expect_not_null(strstr(s.out, "one rank makes no all-reduces"));
    spawn_free(&s);
    s = SPAWN("tlp", "bench", "-m", m, "--predict", "serial");
    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = SPAWN("tlp", "bench", "-m", m, "--prompt", "4", "--gen", "2",
              "--measure-link", "--predict", "par:0-99");
    tool_expect_status(&s, 1);
    spawn_free(&s);
}

Test(tool_measure, info)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "info", "-m", m, "--plan", "par:1-2,3-4",
                      "--ranks", "2", "--meta", "--tensors", "--json");

    tool_expect_status(&s, 0);

    json_t *root = tool_json(&s);
    json_t *facts = json_object_get(root, "model");
    json_t *plan = json_object_get(root, "plan");

    cr_expect_str_eq(json_string_value(json_object_get(facts, "arch")),
                     "llama");
    cr_expect_eq(tool_number(facts, "n_layer"), 5);
    cr_expect_eq(tool_number(facts, "n_vocab"), TOOL_N_VOCAB);
    cr_expect_eq(tool_number(plan, "effective_depth"), 3);
    cr_expect_eq(tool_number(plan, "allreduces_per_token"), 4);
    cr_expect_eq(json_array_size(json_object_get(plan, "stages")), 3);
    cr_expect_eq((double)json_array_size(json_object_get(root, "tensors")),
                 tool_number(facts, "n_tensor"));
    cr_expect_gt(json_object_size(json_object_get(root, "meta")), 10);
    json_decref(root);
    spawn_free(&s);

    s = SPAWN("tlp", "info", "-m", m, "--meta", "--tensors");
    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "general.architecture = llama"));
    cr_expect_not_null(strstr(s.out, "token_embd.weight"));
    spawn_free(&s);
}
