/*
 * test_tool_self.c - text that the model writes itself: --self of eval, alone
 * and between the windows of a file, serial and under a plan.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"
#include "tlp.h"

enum { CTX = 16 };

static tlp_model *model;
static tlp_session *session;
static const char *path;

/* A session under a plan, which the session keeps. */
static tlp_session *session_of(const char *text)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_session *out = NULL;
    tlp_plan *plan = NULL;

    o.n_ctx = CTX + 1;
    CHECK_OK(tlp_plan_parse(&plan, model, text));
    CHECK_OK(tlp_session_create(&out, plan, &o));
    tlp_plan_free(plan);
    return out;
}

static void open_session(void)
{
    path = tool_model();
    CHECK_OK(tlp_model_open(&model, path, NULL));
    session = session_of("serial");
}

static void close_session(void)
{
    tlp_session_free(session);
    tlp_model_free(model);
}

TestSuite(tool_self, .init = open_session, .fini = close_session,
          .timeout = 60);

/* ==== what the tool should do, made without it =========================== */

/* A window of n ids after BOS or an opening, drawn in session `by` with a
 * seed. */
static void write_window_in(tlp_session *by, int32_t *ids, size_t n,
                            const char *opening, uint64_t seed)
{
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_sampler *sampler = NULL;
    size_t at = 0, row;

    so.temperature = 1;
    so.seed = seed;
    CHECK_OK(tlp_sampler_create(&sampler, model, &so));
    CHECK_OK(tlp_model_get_info(&info, model));
    CHECK_OK(tlp_session_clear(by, 0));
    if (opening) {
        CHECK_OK(tlp_tokenize(ids, n, &at, model, opening, strlen(opening), 0));
        CHECK_OK(tlp_session_prefill(by, ids, at));
    } else {
        CHECK_OK(tlp_session_prefill(by, &info.bos, 1));
    }
    while (at < n) {
        CHECK_OK(tlp_session_find_row(&row, by, 0));
        CHECK_OK(tlp_session_sample(&ids[at], by, row, sampler));
        CHECK_OK(tlp_session_decode(by, ids[at++]));
    }
    tlp_sampler_free(sampler);
}

static void write_window(int32_t *ids, size_t n, const char *opening,
                         uint64_t seed)
{
    write_window_in(session, ids, n, opening, seed);
}

/* Sum of -log p of a window; *n grows by its predictions. */
static double nll_of(const int32_t *ids, size_t n_id, int *n)
{
    float logprob[CTX];
    double sum = 0;

    CHECK_OK(tlp_session_clear(session, 0));
    CHECK_OK(tlp_session_score(logprob, session, 0, ids, n_id));
    for (size_t i = 1; i < n_id; i++)
        sum -= (double)logprob[i];
    *n += (int)n_id - 1;
    return sum;
}

static double nll_in(const spawned *s)
{
    tool_expect_status(s, 0);
    json_t *root = tool_json(s);
    double nll = tool_number(root, "nll");

    json_decref(root);
    return nll;
}

#define EVAL(...)                                                              \
    SPAWN("tlp", "eval", "-m", path, "-c", "16", "--json", __VA_ARGS__)

/* ========================================================================= */

/* More windows than are written at once, and a short one at the end. */
Test(tool_self, each_window_is_drawn_from_the_model)
{
    double sum = 0;
    int n = 0;
    spawned s = EVAL("--self", "150", "--self-seed", "40");
    spawned other = EVAL("--self", "150", "--self-seed", "41");

    for (int k = 0; k < 10; k++) {
        int32_t ids[CTX];
        size_t length = k < 9 ? CTX : 6;

        write_window(ids, length, NULL, 40 + (uint64_t)k);
        sum += nll_of(ids, length, &n);
    }
    cr_expect_float_eq(nll_in(&s), sum / n, 1e-6);
    cr_expect_neq(nll_in(&other), nll_in(&s));
    spawn_free(&s);
    spawn_free(&other);
}

Test(tool_self, windows_begin_with_prompts_in_turn)
{
    static const char *const opening[] = { "once", "hello and a" };
    const char *file = tiny_path("prompts.txt"), *text = "once\n\nhello and a";
    double sum = 0;
    int n = 0;

    tool_write_file(file, text, strlen(text));
    spawned s = EVAL("--self", "48", "--self-prompts", file);
    for (int k = 0; k < 3; k++) {
        int32_t ids[CTX];

        write_window(ids, CTX, opening[k % 2], (uint64_t)k);
        sum += nll_of(ids, CTX, &n);
    }
    cr_expect_float_eq(nll_in(&s), sum / n, 1e-6);
    spawn_free(&s);
}

Test(tool_self, a_plan_writes_the_windows)
{
    double sum = 0;
    int n = 0;
    spawned s = EVAL("--self", "48", "--self-plan", "par:1-2");
    spawned serial = EVAL("--self", "48");
    tlp_session *by = session_of("par:1-2");

    for (int k = 0; k < 3; k++) {
        int32_t ids[CTX];

        write_window_in(by, ids, CTX, NULL, (uint64_t)k);
        sum += nll_of(ids, CTX, &n);
    }
    cr_expect_float_eq(nll_in(&s), sum / n, 1e-6);
    cr_expect_neq(nll_in(&serial), nll_in(&s));
    tlp_session_free(by);
    spawn_free(&serial);
    spawn_free(&s);
}

/* The windows of a file are whole, and all of them are there. */
Test(tool_self, own_windows_stand_between_those_of_a_file)
{
    const char *file = tiny_path("ids");
    int32_t ids[40], own[CTX];
    double sum = 0;
    int n = 0;

    tool_write_ids(file, 40);
    for (int i = 0; i < 40; i++)
        ids[i] = (37 * i + 11) % 256;
    spawned s = EVAL("--tokens", file, "--self", "48");
    for (int k = 0; k < 2; k++)
        sum += nll_of(ids + CTX * k, CTX, &n);
    for (int k = 0; k < 3; k++) {
        write_window(own, CTX, NULL, (uint64_t)k);
        sum += nll_of(own, CTX, &n);
    }
    cr_expect_float_eq(nll_in(&s), sum / n, 1e-6);
    spawn_free(&s);
}

/* A study has a default for --max-tokens, which is of a file. */
Test(tool_self, a_study_needs_no_file)
{
    spawned s = SPAWN("tlp", "study", "-m", path, "-c", "16", "--self", "48",
                      "--kind", "prune", "--ranges", "1-2", "--json");
    double sum = 0;
    int n = 0;

    tool_expect_status(&s, 0);
    json_t *root = tool_json(&s);
    for (int k = 0; k < 3; k++) {
        int32_t ids[CTX];

        write_window(ids, CTX, NULL, (uint64_t)k);
        sum += nll_of(ids, CTX, &n);
    }
    json_t *serial = json_array_get(json_object_get(root, "cells"), 0);
    cr_expect_float_eq(tool_number(serial, "nll"), sum / n, 1e-6);
    json_decref(root);
    spawn_free(&s);
}

Test(tool_self, misuse_is_refused)
{
    const char *empty = tiny_path("empty"), *zero = tiny_path("zero");
    const char *ids = tiny_path("ids");

    tool_write_file(empty, "\n\n", 2);
    tool_write_file(zero, "a\0b", 3);
    tool_write_ids(ids, 10);

    const struct {
        spawned s;
        int status;
        const char *text;
    } runs[] = {
        { EVAL("--self-seed", "3", "--tokens", ids), 2, "need --self" },
        { EVAL("--self-seed", "3", "--task", "x"), 2, "need --self" },
        { EVAL("--self-prompts", "x", "--generate", "3"), 2, "need --self" },
        { EVAL("--self", "32", "--self-prompts", empty), 1, "no line" },
        { EVAL("--self", "32", "--self-prompts", zero), 1, "a zero byte" },
        { EVAL("--self", "32", "--self-prompts", "/none"), 1, "/none" },
        { EVAL("--self-plan", "serial", "--tokens", ids), 2, "need --self" },
        { EVAL("--self", "32", "--self-plan", "par:1-"), 1, "par:1-" },
        { EVAL("--self", "32", "--self-plan", "no.json"), 1, "no.json" },
        { EVAL("--self", "32", "--from", "3"), 2, "--from" },
        { EVAL("--self", "32", "--tokens", ids), 1, "at least a window of 16" },
        { SPAWN("tlp", "plan", "make", "-m", path, "--depth", "3", "-o", "x"),
          2, "or --self" },
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        spawned s = runs[i].s;

        tool_expect_status(&s, runs[i].status);
        tool_expect_message(&s, "tlp ");
        cr_expect_not_null(strstr(s.err, runs[i].text), "%s", s.err);
        spawn_free(&s);
    }
}
