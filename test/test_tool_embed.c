/*
 * test_tool_embed.c - tlp embed: the library's vectors as lines and as JSON,
 * and what is refused.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "support/check.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/vector_of.h"

TestSuite(tool_embed, .timeout = 60);

enum { D = 96 };

/* Read the numbers of a line; returns what follows its newline. */
static const char *expect_line(const char *line, const float *want)
{
    for (int i = 0; i < D; i++) {
        char *end = NULL;
        float x = (float)tlpi_strtod(line, &end);

        cr_assert_neq(line, end, "number %d is missing", i);
        cr_expect_eq(x, want[i], "number %d: %g, %g expected", i, (double)x,
                     (double)want[i]);
        line = end;
    }
    cr_assert_eq(*line, '\n');
    return line + 1;
}

Test(tool_embed, lines)
{
    const char *m = tool_model(), *path = tiny_path("texts.txt");
    float one[D], two[D];
    const char *at;

    vector_of(m, "the world", TLP_POOLING_LAST, 0, one);
    vector_of(m, "hello", TLP_POOLING_LAST, 0, two);
    tool_write_file(path, "the world\nhello\n", 16);
    for (int i = 0; i < 2; i++) {
        spawned s = i == 0 ? SPAWN("tlp", "embed", "-m", m, "-t", "1", "-p",
                                   "the world", "-p", "hello")
                           : SPAWN("tlp", "embed", "-m", m, "-f", path);

        tool_expect_status(&s, 0);
        at = expect_line(s.out, one);
        at = expect_line(at, two);
        cr_expect_eq(*at, '\0');
        spawn_free(&s);
    }
}

Test(tool_embed, json)
{
    const char *m = tool_model();
    float want[D];
    spawned s = SPAWN("tlp", "embed", "-m", m, "-p", "hello", "-p", "the world",
                      "--pooling", "mean", "--no-normalize", "--json");

    tool_expect_status(&s, 0);
    json_t *o = json_loads(s.out, 0, NULL);
    json_t *data = json_object_get(o, "data");
    cr_assert_eq(json_array_size(data), 2);
    json_t *second = json_array_get(data, 1);
    json_t *list = json_object_get(second, "embedding");
    cr_expect_eq(json_integer_value(json_object_get(second, "index")), 1);
    cr_assert_eq(json_array_size(list), D);
    vector_of(m, "the world", TLP_POOLING_MEAN, 1, want);
    for (size_t i = 0; i < D; i++)
        cr_expect_eq((float)json_number_value(json_array_get(list, i)),
                     want[i]);
    json_decref(o);
    spawn_free(&s);
}

/* Two ranks under a plan have a direction of their own. */
Test(tool_embed, plans_and_ranks)
{
    const char *m = tool_model();
    spawned a = SPAWN("tlp", "embed", "-m", m, "-p", "hello", "--compute",
                      "f32", "--plan", "par:1-2", "--ranks", "2");
    spawned b = SPAWN("tlp", "embed", "-m", m, "-p", "hello", "--compute",
                      "f32", "--plan", "par:1-2");
    spawned c =
        SPAWN("tlp", "embed", "-m", m, "-p", "hello", "--compute", "f32");
    char *at[3] = { a.out, b.out, c.out };
    double ab = 0, bc = 0;

    tool_expect_status(&a, 0);
    tool_expect_status(&b, 0);
    tool_expect_status(&c, 0);
    for (int i = 0; i < D; i++) {
        double x[3];

        for (int k = 0; k < 3; k++)
            x[k] = tlpi_strtod(at[k], &at[k]);
        ab = fmax(ab, fabs(x[0] - x[1]));
        bc = fmax(bc, fabs(x[1] - x[2]));
    }
    cr_expect_lt(ab, 1e-5);
    cr_expect_gt(bc, 1e-3);
    spawn_free(&a);
    spawn_free(&b);
    spawn_free(&c);
}

static void expect_failure(spawned s, int status, const char *start)
{
    tool_expect_status(&s, status);
    tool_expect_message(&s, start);
    spawn_free(&s);
}

Test(tool_embed, refused)
{
    const char *m = tool_model(), *path = tiny_path("texts.txt");

    tool_write_file(path, "the\n\nhello\n", 11);
    expect_failure(SPAWN("tlp", "embed", "-p", "a"), 2, "tlp embed: no model");
    expect_failure(SPAWN("tlp", "embed", "-m", m, "-p", "a", "-f", path), 2,
                   "tlp embed: -p and -f");
    expect_failure(
        SPAWN("tlp", "embed", "-m", m, "-p", "a", "--pooling", "max"), 2,
        "tlp embed: --pooling");
    expect_failure(SPAWN("tlp", "embed", "-m", m, "-p", ""), 1,
                   "tlp embed: text 1 is empty");
    expect_failure(SPAWN("tlp", "embed", "-m", m, "-f", path), 1,
                   "tlp embed: text 2 is empty");
    tool_write_file(path, "", 0);
    expect_failure(SPAWN("tlp", "embed", "-m", m, "-f", path), 1,
                   "tlp embed: ");
    expect_failure(SPAWN("tlp", "embed", "-m", m, "-f", "/nonexistent"), 1,
                   "tlp embed: /nonexistent");
}
