/*
 * test_tool_study.c - tlp study: its numbers against tlp eval's, the forms of
 * its results, what it refuses.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

/* Lines of a CSV before the rows: comments and names. */
enum { N_HEADER = 12 };

TestSuite(tool_study, .timeout = 120);

static const char *ids_of(int n)
{
    const char *path = tiny_path("ids.i32");

    tool_write_ids(path, n);
    return path;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

/* ==== values ============================================================= */

/* The plan of a cell, as it is written for the other commands. */
static void plan_of(json_t *cell, char *out, size_t cap)
{
    const char *kind = text_of(cell, "kind"), *mode = text_of(cell, "mode");
    int a = (int)tool_number(cell, "start"), b = (int)tool_number(cell, "end");

    if (!strcmp(kind, "serial"))
        snprintf(out, cap, "serial");
    else if (!strcmp(kind, "shuffle")) /* of two layers: only one other order */
        snprintf(out, cap, "order:0,2,1,3,4");
    else if (!strcmp(kind, "prune"))
        snprintf(out, cap, "drop:%d-%d", a, b);
    else if (!strcmp(kind, "merge"))
        snprintf(out, cap, "merge:%d-%d", a, b);
    else if (!strcmp(kind, "parallel"))
        snprintf(out, cap, "%s:%d-%d", mode, a, b);
    else
        snprintf(out, cap, "pairs:%d-%d@%s", a, b, mode);
}

static void expect_near(double got, double want, const char *what)
{
    cr_expect_float_eq(got, want, 1e-8 * (1 + fabs(want)), "%s: %.12g, %.12g",
                       what, got, want);
}

static void expect_as_eval(json_t *cell, const char *m, const char *ids,
                           bool with_kl)
{
    char plan[64];

    plan_of(cell, plan, sizeof plan);
    spawned s =
        with_kl ? SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "70",
                        "--json", "--plan", plan, "--against", "serial")
                : SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "70",
                        "--json", "--plan", plan);

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);

    expect_near(tool_number(cell, "nll"), tool_number(j, "nll"), plan);
    expect_near(tool_number(cell, "ppl"), tool_number(j, "ppl"), plan);
    cr_expect_eq(tool_number(cell, "effective_depth"),
                 tool_number(j, "effective_depth"));
    if (with_kl) {
        expect_near(tool_number(cell, "kl_mean"), tool_number(j, "kl_mean"),
                    plan);
        expect_near(tool_number(cell, "ppl_ratio"), tool_number(j, "ppl_ratio"),
                    plan);
    }
    json_decref(j);
    spawn_free(&s);
}

/* Windows of 70 tokens: more than a chunk, and a last one of 5. */
Test(tool_study, as_eval)
{
    const char *m = tool_model(), *ids = ids_of(75);

    for (int with_kl = 0; with_kl < 2; with_kl++) {
        spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--ctx",
                          "70", "--ranges", "1-2", "--mode", "asym,lp,par",
                          "--json", with_kl ? "--kl" : "--no-mmap");

        tool_expect_status(&s, 0);
        json_t *j = tool_json(&s), *cells = json_object_get(j, "cells");

        cr_expect_eq(tool_number(j, "tokens"), 75);
        /* serial, shuffle, prune, merge, and two kinds in three modes */
        cr_assert_eq(json_array_size(cells), 10);
        for (size_t i = 0; i < 10; i++)
            expect_as_eval(json_array_get(cells, i), m, ids, with_kl);
        json_decref(j);
        spawn_free(&s);
    }
}

/* Longer ranges, and a single layer, which can only be left out. */
Test(tool_study, ranges)
{
    const char *m = tool_model(), *ids = ids_of(40);
    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--ctx", "70",
                      "--kind", "pairs,prune,parallel,merge", "--ranges",
                      "3-3,0-3,0-4,0-3", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s), *cells = json_object_get(j, "cells");

    /* prune cannot take all layers, the others need two */
    cr_assert_eq(json_array_size(cells), 1 + 2 + 2 + 2 + 2);
    for (size_t i = 0; i < json_array_size(cells); i++)
        expect_as_eval(json_array_get(cells, i), m, ids, false);
    json_decref(j);
    spawn_free(&s);
}

/* nll of the only shuffle of a study */
static double shuffled(const char *m, const char *ids, const char *seed,
                       const char *draws)
{
    spawned s =
        SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--ranges", "0-4",
              "--kind", "shuffle", "--seed", seed, "--draws", draws, "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);
    json_t *cell = json_array_get(json_object_get(j, "cells"), 1);
    double nll = tool_number(cell, "nll");

    cr_expect_eq(tool_number(cell, "draws"), atoi(draws));
    json_decref(j);
    spawn_free(&s);
    return nll;
}

Test(tool_study, shuffles)
{
    const char *m = tool_model(), *ids = ids_of(40);
    double one = shuffled(m, ids, "0", "1"), two = shuffled(m, ids, "0", "2");

    cr_expect_eq(one, shuffled(m, ids, "0", "1"));
    cr_expect_neq(one, shuffled(m, ids, "1", "1"));
    cr_expect_neq(one, two, "a second draw is like the first");
}

/* ==== forms ============================================================== */

Test(tool_study, files)
{
    const char *m = tool_model(), *ids = ids_of(20);
    const char *csv = tiny_path("a.csv"), *svg = tiny_path("a.svg");
    const char *json = tiny_path("a.json");
    size_t n;
    spawned s =
        SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--step", "2", "--mode",
              "par", "--csv", csv, "--svg", svg, "--json", json);

    tool_expect_status(&s, 0);
    /* Blocks 0-1, 2-3, 4: ranges 0-1 0-3 0-4 2-3 2-4, and 4-4 to prune */
    int n_cell = 1 + 4 * 5 + 5;
    char *text = tool_read_file(csv, &n);

    cr_expect_eq(count(text, "\n"), N_HEADER + n_cell);
    cr_expect_eq(count(strstr(text, "\nkind,"), ","), 8 * (1 + n_cell));
    free(text);

    text = tool_read_file(json, &n);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(j, "%s", text);
    cr_expect_eq(json_array_size(json_object_get(j, "cells")), n_cell);
    cr_expect_eq(tool_number(j, "cells_wanted"), n_cell);
    json_decref(j);
    free(text);

    text = tool_read_file(svg, &n);
    cr_expect(tool_is_xml(text), "%s", text);
    cr_expect_eq(count(text, "<title>"), n_cell - 1);
    cr_expect_eq(count(text, "<svg "), 1);
    cr_expect_eq(count(text, ">last layer<"), 5);
    cr_expect_eq(count(text, "nan"), 0);
    cr_expect_not_null(strstr(text, "perplexity / serial"));
    cr_expect_not_null(strstr(text, "parallel, par"));
    free(text);

    /* The table; without a terminal no colours and no bar. */
    cr_expect_not_null(strstr(s.out, "perplexity / serial"));
    cr_expect_not_null(strstr(s.out, "pairs, par"));
    cr_expect_null(strchr(s.out, '\033'));
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    spawn_free(&s);
}

/* "-" is standard output, and then nothing else is printed there. */
Test(tool_study, to_stdout)
{
    const char *m = tool_model(), *ids = ids_of(20);
    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                      "merge", "--csv", "-");

    tool_expect_status(&s, 0);
    cr_expect_eq(strncmp(s.out, "# tlp study 1\n", 14), 0);
    cr_expect_eq(count(s.out, "\n"), N_HEADER + 1 + 10);
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind", "merge",
              "--svg", "-");
    tool_expect_status(&s, 0);
    cr_expect(tool_is_xml(s.out));
    cr_expect_not_null(strstr(s.out, "</svg>\n"));
    spawn_free(&s);
}

/* ==== on a terminal ====================================================== */

/* What a study of n tokens writes to a terminal; free it. */
static char *on_terminal(const char *m, const char *ids)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    char tool[4096], *text = calloc(1, 1 << 20);
    size_t n = 0;

    cr_assert(text && master >= 0 && grantpt(master) == 0 &&
              unlockpt(master) == 0);
    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());

    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    pid_t pid = fork();

    if (pid == 0) {
        dup2(slave, STDOUT_FILENO);
        dup2(slave, STDERR_FILENO);
        execl(tool, "tlp", "study", "-m", m, "--tokens", ids, "--kind",
              "prune,merge", "--max-tokens", "0", NULL);
        _exit(127);
    }
    close(slave);
    /* Reading fails once the other side is closed. */
    for (ssize_t k; (k = read(master, text + n, (1 << 20) - 1 - n)) > 0;)
        n += (size_t)k;
    close(master);
    waitpid(pid, NULL, 0);
    return text;
}

Test(tool_study, terminal)
{
    const char *m = tool_model();
    bool has_bar = false;

    for (int n_ids = 400; !has_bar && n_ids < 1 << 20; n_ids *= 4) {
        char *text = on_terminal(m, ids_of(n_ids));
        char *left = strstr(text, " left");

        cr_expect_not_null(strstr(text, "\033[48;5;"), "%s", text);
        has_bar = left && left > text && isalnum((unsigned char)left[-1]) &&
                  strstr(text, "studying [");
        free(text);
    }
    cr_expect(has_bar);
}

/* ==== wrong usage ======================================================== */

static void expect_usage(const char *option, const char *value, int status,
                         const char *why)
{
    const char *csv = tiny_path("no.csv");
    spawned s = SPAWN("tlp", "study", "-m", tool_model(), "--tokens",
                      ids_of(20), "--csv", csv, option, value);

    tool_expect_status(&s, status);
    tool_expect_message(&s, "tlp study: ");
    cr_expect_not_null(strstr(s.err, why), "%s: %s", why, s.err);
    cr_expect_not(tool_exists(csv), "%s", csv);
    spawn_free(&s);
}

Test(tool_study, usage)
{
    expect_usage("--text", "x", 2, "one of --text and --tokens");
    expect_usage("--kind", "prune,melt", 2, "--kind prune,melt: shuffle|prune");
    expect_usage("--kind", "prune,", 2, "--kind prune,: ");
    expect_usage("--mode", "", 2, "--mode : lp|par|asym expected");
    expect_usage("--step", "0", 2, "--step 0");
    expect_usage("--draws", "0", 2, "--draws 0");
    expect_usage("--ranges", "3-1", 1, "--ranges 3-1: START-END");
    expect_usage("--ranges", "0-5", 1, "layers 0 to 4");
    expect_usage("--ranges", "0-1,", 1, "START-END");
    expect_usage("--ranges", "1", 1, "START-END");
    expect_usage("--ranges", "0-99999999999999999999", 1, "START-END");
    expect_usage("--ranges", "", 1, "no range");
    expect_usage("--resume", "/nonexistent/a.csv", 1, "/nonexistent/a.csv: ");

    const char *m = tool_model(), *ids = ids_of(20);
    static const char *const idle[][3] = {
        { "prune", "--mode", "par" },
        { "merge,pairs", "--draws", "2" },
        { "prune", "--seed", "2" },
    };
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        spawned t = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                          idle[i][0], idle[i][1], idle[i][2]);

        tool_expect_status(&t, 2);
        tool_expect_message(&t, "tlp study: --");
        spawn_free(&t);
    }

    spawned s = SPAWN("tlp", "study", "-m", m);

    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--csv", "-", "--json");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp study: only one of");
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--csv", "x", "--svg",
              "x");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp study: x: two results in one file");
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--step", "2",
              "--ranges", "0-1");
    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind", "merge",
              "--ranges", "2-2");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp study: no range has layers enough");
    spawn_free(&s);
}
