/*
 * test_tool_why.c - tlp study --why: the forms of its results, its rank
 * correlations, what it refuses.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

enum { N_PLACE = 13, N_EXCHANGE = 9, N_HEADER = 11 };

TestSuite(tool_why, .timeout = 120);

static const char *ids_of(int n)
{
    const char *path = tiny_path("ids.i32");

    tool_write_ids(path, n);
    return path;
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* ==== values ============================================================= */

static const char *const measures[] = { "step",       "own",      "change",
                                        "error",      "estimate", "kl_mean",
                                        "sensitivity" };
enum { N_MEASURE = sizeof measures / sizeof *measures };

static void expect_place(json_t *place, int i)
{
    static const char *const plans[N_PLACE] = {
        "nosync@2:0a", "nosync@2:0f", "nosync@2:1a", "nosync@2:1f",
        "nosync@2:2a", "nosync@2:2f", "nosync@2:3a", "nosync@2:3f",
        "nosync@2:4a", "par:0-1",     "par:1-2",     "par:2-3",
        "par:3-4"
    };
    bool pair = i >= N_EXCHANGE;
    double e = tool_number(place, "error");
    double estimate = tool_number(place, "sensitivity") * e * e;

    cr_expect_str_eq(text_of(place, "plan"), plans[i]);
    cr_expect_str_eq(text_of(place, "kind"), pair ? "pair" : "exchange");
    cr_expect_eq(tool_number(place, "layer"), pair ? i - N_EXCHANGE : i / 2);
    cr_expect_str_eq(text_of(place, "half"), pair    ? ""
                                             : i % 2 ? "ffn"
                                                     : "attn");
    for (int k = 0; k < N_MEASURE; k++)
        cr_expect_gt(tool_number(place, measures[k]), 0, "%s", measures[k]);
    cr_expect_float_eq(tool_number(place, "estimate"), estimate,
                       1e-6 * estimate);
}

/* The KL divergence of a place is what tlp eval measures. */
static void expect_as_eval(json_t *place, const char *m, const char *ids)
{
    spawned s =
        SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "20", "--json",
              "--plan", text_of(place, "plan"), "--against", "serial");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);
    double want = tool_number(j, "kl_mean");

    cr_expect_float_eq(tool_number(place, "kl_mean"), want, 1e-7 + 1e-5 * want);
    json_decref(j);
    spawn_free(&s);
}

/* Spearman's rho for n values without ties: 1 - 6 sum d² / (n³ - n). */
static double spearman(json_t *places, int first, int n, const char *measure)
{
    double sum = 0;

    for (int i = first; i < first + n; i++) {
        int rank[2] = { 0, 0 };

        for (int j = first; j < first + n; j++) {
            json_t *a = json_array_get(places, (size_t)i);
            json_t *b = json_array_get(places, (size_t)j);

            rank[0] += tool_number(b, measure) < tool_number(a, measure);
            rank[1] += tool_number(b, "kl_mean") < tool_number(a, "kl_mean");
        }
        sum += (rank[0] - rank[1]) * (rank[0] - rank[1]);
    }
    return 1 - 6 * sum / (n * (n * n - 1));
}

static void expect_correlations(json_t *j, json_t *places)
{
    json_t *all = json_object_get(j, "rank_correlation");
    json_t *exchange = json_object_get(all, "exchange");
    json_t *pair = json_object_get(all, "pair");

    cr_expect_eq(tool_number(exchange, "n"), N_EXCHANGE);
    cr_expect_eq(tool_number(pair, "n"), N_PLACE - N_EXCHANGE);
    for (int k = 0; k < N_MEASURE; k++) {
        if (!strcmp(measures[k], "kl_mean"))
            continue;
        cr_expect_float_eq(tool_number(exchange, measures[k]),
                           spearman(places, 0, N_EXCHANGE, measures[k]), 1e-9);
        cr_expect_float_eq(
            tool_number(pair, measures[k]),
            spearman(places, N_EXCHANGE, N_PLACE - N_EXCHANGE, measures[k]),
            1e-9);
    }
}

Test(tool_why, json)
{
    const char *m = tool_model(), *ids = ids_of(45);
    spawned s = SPAWN("tlp", "study", "--why", "-m", m, "--tokens", ids,
                      "--ctx", "20", "--json");

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    json_t *j = tool_json(&s), *places = json_object_get(j, "places");

    cr_expect_eq(tool_number(j, "tokens"), 45);
    cr_expect_eq(tool_number(j, "ctx"), 20);
    cr_expect_eq(tool_number(j, "tracks"), 2);
    cr_expect_eq(tool_number(j, "n_layer"), 5);
    cr_expect_eq(tool_number(j, "places_wanted"), N_PLACE);
    cr_assert_eq(json_array_size(places), N_PLACE);
    for (int i = 0; i < N_PLACE; i++)
        expect_place(json_array_get(places, (size_t)i), i);
    expect_as_eval(json_array_get(places, 2), m, ids);
    expect_as_eval(json_array_get(places, 11), m, ids);
    expect_correlations(j, places);
    json_decref(j);
    spawn_free(&s);
}

/* ==== forms ============================================================== */

Test(tool_why, files)
{
    const char *m = tool_model(), *ids = ids_of(30);
    const char *csv = tiny_path("a.csv"), *svg = tiny_path("a.svg");
    size_t n;
    spawned s =
        SPAWN("tlp", "study", "--why", "-m", m, "--tokens", ids, "--tracks",
              "3", "--seed", "7", "--csv", csv, "--svg", svg);

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    char *text = tool_read_file(csv, &n);

    cr_expect_eq(strncmp(text, "# tlp study --why 1\n# model ", 28), 0, "%s",
                 text);
    cr_expect_not_null(strstr(text, "\n# seed 7\n# tracks 3\n"));
    cr_expect_not_null(strstr(text,
                              "\nkind,layer,half,plan,step,own,change,error,"
                              "sensitivity,estimate,kl\nexchange,0,attn,"
                              "nosync@3:0a,"));
    cr_expect_eq(count(text, "\n"), N_HEADER + N_PLACE);
    cr_expect_eq(count(strstr(text, "\nkind,"), ","), 10 * (1 + N_PLACE));
    free(text);

    text = tool_read_file(svg, &n);
    cr_expect(tool_is_xml(text), "%s", text);
    /* two measures of each place */
    cr_expect_eq(count(text, "<title>"), 2 * N_PLACE);
    cr_expect_eq(count(text, "nan") + count(text, "inf"), 0);
    cr_expect_eq(count(text, ", rank correlation "), 4);
    cr_expect_eq(count(text, ">KL divergence, nats<"), 4);
    free(text);

    cr_expect_not_null(strstr(s.out, "30 tokens in windows of 30, 13 of 13"));
    cr_expect_eq(count(s.out, "\nnosync@3:"), N_EXCHANGE);
    cr_expect_eq(count(s.out, "\npar:"), N_PLACE - N_EXCHANGE);
    cr_expect_not_null(strstr(s.out, "\n9 exchanges "));
    cr_expect_not_null(strstr(s.out, "\n4 pairs "));
    spawn_free(&s);
}

/* "-" is standard output, and then nothing else is printed there. */
Test(tool_why, to_stdout)
{
    const char *m = tool_model(), *ids = ids_of(20);
    spawned s =
        SPAWN("tlp", "study", "--why", "-m", m, "--tokens", ids, "--csv", "-");

    tool_expect_status(&s, 0);
    cr_expect_eq(count(s.out, "\n"), N_HEADER + N_PLACE);
    cr_expect_eq(count(s.out, "Rank correlation"), 0);
    spawn_free(&s);
    s = SPAWN("tlp", "study", "--why", "-m", m, "--tokens", ids, "--svg", "-");
    tool_expect_status(&s, 0);
    cr_expect(tool_is_xml(s.out));
    spawn_free(&s);
}

/* ==== wrong usage ======================================================== */

static void expect_usage(const char *option, const char *value, int status,
                         const char *why)
{
    const char *csv = tiny_path("no.csv");
    spawned s = SPAWN("tlp", "study", "-m", tool_model(), "--tokens",
                      ids_of(20), "--why", "--csv", csv, option, value);

    tool_expect_status(&s, status);
    tool_expect_message(&s, "tlp study: ");
    cr_expect_not_null(strstr(s.err, why), "%s: %s", why, s.err);
    cr_expect_not(tool_exists(csv), "%s", csv);
    spawn_free(&s);
}

Test(tool_why, usage)
{
    expect_usage("--kind", "prune", 2, "--why and --kind exclude each other");
    expect_usage("--mode", "lp", 2, "--why and --mode exclude each other");
    expect_usage("--step", "1", 2, "--why and --step exclude each other");
    expect_usage("--ranges", "0-1", 2, "--why and --ranges exclude");
    expect_usage("--draws", "3", 2, "--why and --draws exclude each other");
    expect_usage("--resume", "a.csv", 2, "--why and --resume exclude");
    expect_usage("--tracks", "1", 2, "--tracks 1");
    expect_usage("--tracks", "7", 1, "n_track 7: 2 to 6 expected");
    expect_usage("--svg", "/nonexistent/a.svg", 1, "/nonexistent/a.svg");

    const char *m = tool_model(), *ids = ids_of(20);
    spawned s =
        SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kl", "--why");

    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp study: --why and --kl exclude each other");
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--tracks", "3");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp study: --tracks goes with --why only");
    spawn_free(&s);
}
