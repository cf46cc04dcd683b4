/*
 * test_tool_bridge.c - tlp study --bridge: its numbers beside those of tlp
 * eval, and what it refuses.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

TestSuite(tool_bridge, .timeout = 120);

/* A text that no other number of letters begins. */
static const char *text_of(const char *name, int step)
{
    const char *path = tiny_path(name);
    char text[1500];

    for (int i = 0; i < (int)sizeof text; i++)
        text[i] = (char)('a' + i * step / 3 % 26);
    tool_write_file(path, text, sizeof text);
    return path;
}

Test(tool_bridge, json)
{
    const char *m = tool_model();
    char fit[256], judge[256];

    strcpy(fit, text_of("fit.txt", 7));
    strcpy(judge, text_of("judge.txt", 5));
    spawned s =
        SPAWN("tlp", "study", "-m", m, "--bridge", "drop:1,3", "--text", fit,
              "--max-tokens", "0", "--judge", judge, "--ctx", "50", "--json");
    spawned e = SPAWN("tlp", "eval", "-m", m, "--plan", "drop:1,3", "--against",
                      "serial", "--text", judge, "--ctx", "50", "--json");

    tool_expect_status(&s, 0);
    tool_expect_status(&e, 0);
    json_t *j = tool_json(&s), *want = tool_json(&e);
    double kl = tool_number(want, "kl_mean");

    cr_expect_eq(tool_number(j, "gaps"), 2);
    cr_expect_float_eq(tool_number(j, "kl_before"), kl, 1e-6 + 1e-4 * kl);
    cr_expect_float_eq(tool_number(j, "ppl_before"), tool_number(want, "ppl"),
                       1e-3 * tool_number(want, "ppl"));
    cr_expect_lt(tool_number(j, "kl_after"), kl);
    json_decref(want);
    json_decref(j);
    spawn_free(&e);
    spawn_free(&s);
}

Test(tool_bridge, options_that_do_not_go_together)
{
    static const struct {
        const char *option, *value, *message;
    } cases[] = {
        { "--kind", "prune", "tlp study: --bridge and --kind" },
        { "--csv", "x.csv", "tlp study: --bridge and --csv" },
        { "--why", NULL, "tlp study: --bridge and --why" },
    };
    const char *m = tool_model(), *text = text_of("fit.txt", 7);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spawned s =
            SPAWN("tlp", "study", "-m", m, "--bridge", "drop:1", "--text", text,
                  "--judge", text, cases[i].option, cases[i].value);

        tool_expect_status(&s, 2);
        tool_expect_message(&s, cases[i].message);
        spawn_free(&s);
    }
}

Test(tool_bridge, messages)
{
    const char *m = tool_model(), *text = text_of("fit.txt", 7);
    spawned alone =
        SPAWN("tlp", "study", "-m", m, "--bridge", "drop:1", "--text", text);
    spawned without =
        SPAWN("tlp", "study", "-m", m, "--text", text, "--judge", text);
    spawned whole = SPAWN("tlp", "study", "-m", m, "--bridge", "serial",
                          "--text", text, "--judge", text, "--ctx", "50");

    tool_expect_status(&alone, 2);
    tool_expect_message(&alone, "tlp study: no text to judge on");
    tool_expect_status(&without, 2);
    tool_expect_message(&without, "tlp study: --judge, --judge-tokens");
    tool_expect_status(&whole, 1);
    tool_expect_message(&whole, "tlp study: plan: it drops no layer");
    spawn_free(&whole);
    spawn_free(&without);
    spawn_free(&alone);
}
