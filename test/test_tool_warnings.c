/*
 * test_tool_warnings.c - every command of the tool shows the library's warnings
 * on standard error, each once, in every process.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support/mpirun.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

#define WARNING "key acme.note: a note, not understood and left out\n"

TestSuite(tool_warnings, .timeout = 120);

/* A model with a key that gives a warning. */
static const char *noted_model(void)
{
    tiny_spec spec = tiny_default();

    spec.note = "acme.note";
    return tiny_make(&spec);
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

Test(tool_warnings, of_every_command)
{
    static const char *const commands[][16] = {
        { "run", "-m", "MODEL", "-p", "hi", "-n", "2", "-t", "1" },
        { "info", "-m", "MODEL", "--json" },
        { "tokenize", "-m", "MODEL" },
        { "detokenize", "-m", "MODEL" },
        { "logits", "-m", "MODEL", "--ids", "1 2", "-o", "OUT", "-t", "1" },
        { "eval", "-m", "MODEL", "--tokens", "IDS", "-t", "1" },
        { "study", "-m", "MODEL", "--tokens", "IDS", "--kind", "prune",
          "--ranges", "1-2", "-t", "1" },
        { "plan", "show", "-m", "MODEL", "--plan", "par:1-2" },
        { "plan", "check", "-m", "MODEL", "--plan", "par:1-2" },
        { "plan", "diff", "-m", "MODEL", "--plan", "par:1-2", "--against",
          "par:1-2" },
        { "plan", "make", "-m", "MODEL", "--tokens", "IDS", "--depth", "4",
          "-o", "OUT", "-t", "1" },
        { "plan", "adjust", "-m", "MODEL", "--tokens", "IDS", "--plan",
          "par:1-2", "--gains", "-c", "16", "-o", "OUT" },
        { "quantize", "MODEL", "OUT", "F16", "-t", "1" },
        { "bench", "-m", "MODEL", "--prompt", "4", "--gen", "2", "--repeat",
          "1", "-t", "1" },
    };
    const char *model = noted_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 64);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const char *argv[18] = { "tlp" };

        for (int k = 0; k < 16 && commands[i][k]; k++) {
            const char *word = commands[i][k];

            argv[k + 1] = !strcmp(word, "MODEL") ? model
                          : !strcmp(word, "IDS") ? ids
                          : !strcmp(word, "OUT") ? tiny_path("out")
                                                 : word;
        }
        spawned s = spawn(&(spawn_options){ .input = "1 2" }, argv);

        cr_expect_eq(s.status, 0, "%s: %s", commands[i][0], s.err);
        cr_expect_eq(strncmp(s.err, "tlp: warning: ", 14), 0, "%s: %s",
                     commands[i][0], s.err);
        cr_expect_eq(count(s.err, WARNING), 1, "%s: %s", commands[i][0], s.err);
        cr_expect_eq(count(s.out, "warning"), 0, "%s", s.out);
        spawn_free(&s);
    }
}

/* A command that opens a file twice shows its warnings once. */
Test(tool_warnings, once_for_a_file)
{
    const char *model = noted_model(), *out = tiny_path("carried.json");
    spawned s = SPAWN("tlp", "plan", "carry", "-m", model, "--from", model,
                      "--plan", "par:1-2", "-o", out);

    cr_expect_eq(count(s.err, WARNING), 1, "%s", s.err);
    spawn_free(&s);
}

/* A file without anything to warn of gives no line at all. */
Test(tool_warnings, none_without_reason)
{
    spawned s = SPAWN("tlp", "info", "-m", tool_model());

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    spawn_free(&s);
}

Test(tool_warnings, of_other_processes)
{
    MPIRUN_OR_SKIP();

    const char *model = noted_model(), *other = noted_model();
    char worker[4096], tool[4096], line[4200];

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    snprintf(worker, sizeof worker, "%s", other);
    const char *argv[] = {
        "tlp",    "run", "-m",        model, "-p", "hi",        "-n", "2",
        "-t",     "1",   "--timeout", "25",  ":",  "-np",       "1",  tool,
        "worker", "-m",  worker,      "-t",  "1",  "--timeout", "25", NULL
    };
    spawned s = mpirun(&(mpirun_options){ .n = 1 }, argv);

    tool_expect_status(&s, 0);
    snprintf(line, sizeof line, "tlp: warning: %s: " WARNING, model);
    cr_expect_eq(count(s.err, line), 1, "%s", s.err);
    snprintf(line, sizeof line, "tlp (rank 1): warning: %s: " WARNING, other);
    cr_expect_eq(count(s.err, line), 1, "%s", s.err);
    spawn_free(&s);
}
