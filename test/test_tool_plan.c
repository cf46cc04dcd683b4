/*
 * test_tool_plan.c - tlp plan: a plan made, shown, checked and compared; what
 * is refused.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"
#include "support/check.h"
#include "support/random_adjust.h"
#include "support/copies.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_tune.h"

#define MAKE(m, ids, out, ...)                                                 \
    SPAWN("tlp", "plan", "make", "-m", m, "--tokens", ids, "-c", "32", "-t",   \
          "1", "-o", out, __VA_ARGS__)

TestSuite(tool_plan, .timeout = 120);

static void expect_out(const spawned *s, const char *text)
{
    cr_expect(strstr(s->out, text), "%s expected: %s", text, s->out);
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

/* In both panels a point for each row of the CSV, which says the same, and one
 * of them chosen. */
static void expect_picture(const char *svg, const char *csv, int chosen)
{
    size_t n;
    char *picture = tool_read_file(svg, &n), *rows = tool_read_file(csv, &n);
    char *save, *row = strtok_r(rows, "\n", &save);
    int n_row = 0;

    cr_expect(tool_is_xml(picture), "%s", picture);
    while ((row = strtok_r(NULL, "\n", &save))) {
        int depth, allreduces, parsed;
        double kl, top1, ppl;
        char title[256];

        tlpi_locale locale = tlpi_locale_begin();
        parsed = sscanf(row, "%d,%d,%lf,%lf,%lf,", &depth, &allreduces, &kl,
                        &top1, &ppl);
        cr_assert_eq(parsed, 5, "%s", row);
        char *plan = strchr(row, '"') + 1;
        *strchr(plan, '"') = '\0';
        snprintf(title, sizeof title,
                 " class=\"%c\"><title>depth %d: KL %.4f, perplexity %.4g, "
                 "top-1 %.1f%%, %d all-reduces per token on 2 ranks; %s<",
                 depth == chosen ? 'c' : 'p', depth, kl, ppl, 100 * top1,
                 allreduces, plan);
        tlpi_locale_end(locale);
        cr_expect_eq(count(picture, title), 2, "%s\n%s", title, picture);
        n_row++;
    }
    cr_expect_eq(count(picture, "<title>"), 2 * n_row);
    cr_expect_eq(count(picture, "nan") + count(picture, "inf"), 0);
    free(picture);
    free(rows);
}

/* The plan's KL, by what recorded it and by tlp eval, is the same. */
Test(tool_plan, makes_what_eval_measures)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json"), *csv = tiny_path("front.csv");
    const char *svg = tiny_path("front.svg");
    size_t n;

    tool_write_ids(ids, 100);
    spawned s = MAKE(m, ids, out, "--depth", "3", "--modes", "par,asym",
                     "--pareto", csv, "--svg", svg, "--compute", "f32");

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    expect_out(&s, "\n>     3 ");
    spawn_free(&s);
    expect_picture(svg, csv, 3);

    char *text = tool_read_file(csv, &n);
    int lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    cr_expect_eq(lines, 4, "a head, depths 5, 4 and 3");
    cr_expect_eq(strncmp(text, "depth,allreduces_2_ranks,kl,", 28), 0);
    free(text);

    json_t *root = json_load_file(out, 0, NULL);
    json_t *made = json_object_get(root, "made");
    cr_assert(json_is_object(made));
    s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "-c", "32", "--plan",
              out, "--against", "serial", "--json", "--compute", "f32");
    tool_expect_status(&s, 0);
    json_t *eval = json_loadb(s.out, s.n_out, 0, NULL);
    double kl = json_number_value(json_object_get(made, "kl"));
    cr_expect_gt(kl, 0);
    cr_expect_float_eq(kl, json_number_value(json_object_get(eval, "kl_mean")),
                       1e-6 * kl);
    cr_expect_float_eq(json_number_value(json_object_get(made, "ppl")),
                       json_number_value(json_object_get(eval, "ppl")), 1e-3);
    cr_expect_eq(json_integer_value(json_object_get(eval, "effective_depth")),
                 3);
    json_decref(eval);
    json_decref(root);
    spawn_free(&s);
}

/* A damaged copy is refused, unless it is to be known by its sample. */
Test(tool_plan, a_damaged_copy)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json");

    tool_write_ids(ids, 40);
    spawned s = MAKE(m, ids, out, "--speedup", "1.25");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    const char *copy =
        copy_flipped(m, place_of(m, "blk.3.ffn_down.weight", 300));
    s = SPAWN("tlp", "plan", "check", "-m", copy, "--plan", out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "key \"model.digest\""), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "plan", "check", "-m", copy, "--plan", out,
              "--trust-sample");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "info", "-m", m, "--digest");
    spawned t = SPAWN("tlp", "info", "-m", copy, "--digest");
    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);
    expect_out(&s, "\ndigest       sha256:");
    cr_expect_str_neq(strstr(s.out, "\ndigest"), strstr(t.out, "\ndigest"));
    *strstr(s.out, "\ndigest") = *strstr(t.out, "\ndigest") = '\0';
    cr_expect_str_eq(s.out, t.out);
    spawn_free(&t);
    spawn_free(&s);
}

Test(tool_plan, shows_and_compares)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json"), *bad = tiny_path("bad.json");
    const char *text = "{\"tlp_plan\": 1, \"model\": {\"fingerprint\": "
                       "\"sha256:0\"}, \"stages\": []}";

    tool_write_ids(ids, 40);
    spawned s = MAKE(m, ids, out, "--speedup", "1.25");
    tool_expect_status(&s, 0);
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "show", "-m", m, "--plan", out);
    tool_expect_status(&s, 0);
    expect_out(&s, "effective depth 4 of 5 layers");
    expect_out(&s, "made {\"tool\": \"tlp_plan_make\"");
    expect_out(&s, "\"target\": {\"speedup\": 1.25, \"of\": \"depth\"}");
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "check", "-m", m, "--plan", out);
    tool_expect_status(&s, 0);
    expect_out(&s, "the plan fits");
    spawn_free(&s);

    tool_write_file(bad, text, strlen(text));
    s = SPAWN("tlp", "plan", "check", "-m", m, "--plan", bad);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp plan check: ");
    cr_expect(strstr(s.err, "bad.json: key \"model.fingerprint\""), "%s",
              s.err);
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", out, "--against", out);
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_out, 0);
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", "par:1-2,3-4",
              "--against", "par:1-2;asym:3-4");
    tool_expect_status(&s, 1);
    cr_expect_str_eq(s.out, "-  par     3 4\n+  asym    3 4\n");
    spawn_free(&s);
}

/* Saves the plan with some adjustments; the file's checksum. */
static const char *save_adjusted(const char *model_path, const char *path,
                                 int kinds)
{
    static char hash[2][72];
    static int turn;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL, *adjusted = NULL;
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    turn = !turn;
    cr_assert_eq(tlp_model_open(&model, model_path, NULL), TLP_OK);
    cr_assert_eq(tlp_plan_parse(&plan, model, "par:1-2"), TLP_OK);
    cr_assert_eq(fitted_plan(&adjusted, plan, kinds, 4, 1), TLP_OK);
    cr_assert_eq(tlp_plan_save(adjusted, path), TLP_OK);
    cr_assert_eq(tlp_plan_get_adjust(&info, adjusted), TLP_OK);
    snprintf(hash[turn], sizeof hash[turn], "%s", info.sha256);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return hash[turn];
}

Test(tool_plan, names_adjustments)
{
    const char *m = tool_model();
    const char *a = tiny_path("a.json"), *b = tiny_path("b.json");
    const char *hash_a = save_adjusted(m, a, FITTED_ALL);
    const char *hash_b = save_adjusted(m, b, FITTED_GAINS);
    char want[256];

    spawned s = SPAWN("tlp", "plan", "show", "-m", m, "--plan", a);
    tool_expect_status(&s, 0);
    expect_out(&s, "\nadjusted: 4 gains, 4 norms, 5 low-rank corrections, ");
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "check", "-m", m, "--plan", a);
    tool_expect_status(&s, 0);
    expect_out(&s, "the plan and its adjustments fit ");
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", a, "--against", a);
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_out, 0);
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", a, "--against", b);
    tool_expect_status(&s, 1);
    snprintf(want, sizeof want, "-  adjusted %s\n+  adjusted %s\n", hash_a,
             hash_b);
    cr_expect_str_eq(s.out, want);
    spawn_free(&s);

    s = SPAWN("tlp", "plan", "diff", "-m", m, "--plan", "par:1-2", "--against",
              b);
    tool_expect_status(&s, 1);
    snprintf(want, sizeof want, "+  adjusted %s\n", hash_b);
    cr_expect_str_eq(s.out, want);
    spawn_free(&s);
}

/* The front and the picture of a search that leaves out exchanges are by their
 * number. */
Test(tool_plan, makes_exchanges)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json"), *csv = tiny_path("front.csv");
    const char *svg = tiny_path("front.svg");
    size_t n;

    tool_write_ids(ids, 100);
    spawned s = MAKE(m, ids, out, "--exchanges", "7", "--tracks", "3",
                     "--pareto", csv, "--svg", svg);

    tool_expect_status(&s, 0);
    expect_out(&s, "\n>     5           7         7 ");
    expect_out(&s, "  nosync@3:");
    spawn_free(&s);
    char *rows = tool_read_file(csv, &n), *picture = tool_read_file(svg, &n);
    cr_expect_not_null(strstr(rows, ",plan,exchanges_3_ranks\n"));
    cr_expect_not_null(strstr(rows, "\"serial\",10\n"));
    cr_expect_eq(count(rows, "\n"), 5, "a head, 10, 9, 8 and 7: %s", rows);
    cr_expect(tool_is_xml(picture));
    cr_expect_eq(count(picture, "exchanges per token</text>"), 2);
    cr_expect_eq(count(picture, "7 all-reduces per token on 3 ranks; nosync"),
                 2);
    free(picture);
    free(rows);

    const char *next = tiny_path("next.json");
    s = MAKE(m, ids, next, "--exchanges", "6", "--tracks", "3", "--start", out);
    tool_expect_status(&s, 0);
    expect_out(&s, "         6 ");
    spawn_free(&s);
    s = MAKE(m, ids, next, "--exchanges", "6", "--start", out);
    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "between 3 tracks"), "%s", s.err);
    spawn_free(&s);

    s = MAKE(m, ids, out, "--exchanges", "7", "--modes", "nosync,par",
             "--max-group", "2", "--tracks", "2");
    tool_expect_status(&s, 0);
    expect_out(&s, "         7 ");
    spawn_free(&s);
    s = MAKE(m, ids, out, "--exchanges", "7", "--modes", "par");
    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "nosync expected"), "%s", s.err);
    spawn_free(&s);
    s = MAKE(m, ids, out, "--exchanges", "11");
    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "exchanges 11: 1 to 10"), "%s", s.err);
    spawn_free(&s);
}

/* SIGINT keeps what was scored; the same command goes on. */
Test(tool_plan, is_interrupted)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *want = tiny_path("want.json"), *out = tiny_path("plan.json");
    const char *state = tiny_path("state.json");
    const char *argv[] = { "tlp", "plan", "make", "-m",       m,     "--tokens",
                           ids,   "-c",   "32",   "-t",       "1",   "--depth",
                           "2",   "-o",   out,    "--resume", state, NULL };
    spawn_options o = { .signal = 2, .after_ms = 150 };
    size_t n, n_want;
    int n_run = 0;

    tool_write_ids(ids, 3000 / CHECK_SLOWDOWN);
    spawned s = MAKE(m, ids, want, "--depth", "2");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    for (int status = 130; status == 130 && n_run < 60; n_run++) {
        s = spawn(&o, argv);
        status = s.status;
        cr_expect(status == 0 || status == 130, "%d: %s", status, s.err);
        if (status == 130)
            cr_expect_neq(access(out, F_OK), 0);
        o.after_ms += 50 + o.after_ms / 4; /* a busy machine, or a sanitizer,
                                              may not even load in time */
        spawn_free(&s);
    }
    cr_expect_gt(n_run, 1);
    char *a = tool_read_file(want, &n_want), *b = tool_read_file(out, &n);
    cr_expect(n == n_want && memcmp(a, b, n) == 0, "another plan");
    free(a);
    free(b);
}

/* "-" is standard output, and then nothing else is printed there.  A front of
 * the serial plan alone can be drawn too. */
Test(tool_plan, draws_to_stdout)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json");

    tool_write_ids(ids, 40);
    spawned s = MAKE(m, ids, out, "--depth", "5", "--svg", "-");
    tool_expect_status(&s, 0);
    cr_expect(tool_is_xml(s.out), "%s", s.out);
    cr_expect_eq(count(s.out, "<title>depth 5: KL 0.0000, "), 2);
    cr_expect_eq(count(s.out, "nan") + count(s.out, "inf"), 0, "%s", s.out);
    spawn_free(&s);
    s = MAKE(m, ids, out, "--depth", "4", "--pareto", "-");
    tool_expect_status(&s, 0);
    cr_expect_eq(strncmp(s.out, "depth,", 6), 0);
    cr_expect_eq(count(s.out, "\n"), 3, "%s", s.out);
    spawn_free(&s);
}

static void refuse(spawned s, int status, const char *text)
{
    tool_expect_status(&s, status);
    cr_expect(strstr(s.err, text), "%s expected: %s", text, s.err);
    spawn_free(&s);
}

Test(tool_plan, refuses)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *out = tiny_path("plan.json"), *state = tiny_path("state.json");

    tool_write_ids(ids, 40);
    refuse(SPAWN("tlp", "plan"), 2, "plan make");
    refuse(SPAWN("tlp", "plan", "fix"), 2,
           "make, adjust, carry, bake, train, merge, show, check and diff");
    refuse(MAKE(m, ids, out, "--seed", "1"), 2, "--depth, --max-kl");
    refuse(MAKE(m, ids, out, "--depth", "3", "--max-kl", "1"), 2, "--depth");
    refuse(MAKE(m, ids, out, "--depth", "3", "--modes", "par,pear"), 2, "pear");
    refuse(MAKE(m, ids, out, "--depth", "9"), 1, "depth 9");
    refuse(MAKE(m, ids, out, "--depth", "4", "--svg", "/nonexistent/a.svg"), 1,
           "/nonexistent/a.svg: ");
    refuse(MAKE(m, ids, out, "--depth", "4", "--svg", "-", "--pareto", "-"), 2,
           "only one of --pareto and --svg");
    refuse(MAKE(m, ids, out, "--depth", "3", "--ranks", "2"), 2, "--speedup");
    refuse(MAKE(m, ids, out, "--depth", "3", "--tracks", "2"), 2, "--tracks");
    refuse(MAKE(m, ids, out, "--exchanges", "7", "--max-group", "2"), 2,
           "--max-group");
    refuse(MAKE(m, ids, out, "--max-kl", "1", "--modes", "nosync",
                "--max-group", "2"),
           2, "--max-group");
    refuse(MAKE(m, ids, out, "--depth", "3", "--resume", out), 2,
           "two results in one file");
    refuse(MAKE(m, ids, m, "--depth", "3"), 1, "is a GGUF file");
    refuse(MAKE(m, ids, "/nonexistent/p.json", "--depth", "3"), 1,
           "/nonexistent/p.json");
    refuse(MAKE(m, ids, out, "--speedup", "1.25", "--link-delay-us", "9"), 2,
           "--link-delay-us");
    refuse(
        SPAWN("tlp", "plan", "make", "-m", m, "--tokens", ids, "--depth", "3"),
        2, "-o FILE");
    refuse(SPAWN("tlp", "plan", "show", "-m", m), 2, "--plan PLAN");
    refuse(SPAWN("tlp", "plan", "diff", "-m", m, "--plan", "serial"), 2,
           "--against");
    tool_write_file(state, "{}", 2);
    refuse(MAKE(m, ids, out, "--depth", "4", "--resume", state), 1,
           "state.json: key \"tlp_search\"");
    cr_expect_neq(access(out, F_OK), 0, "nothing was made");
}
