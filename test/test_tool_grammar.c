/*
 * test_tool_grammar.c - tlp run with a grammar or a JSON schema.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(tool_grammar, .timeout = 120);

static const char *file_of(const char *name, const char *text)
{
    const char *path = tiny_path(name);

    tool_write_file(path, text, strlen(text));
    return path;
}

/* The tiny model babbles; with a grammar it cannot. */
Test(tool_grammar, text_matches)
{
    const char *m = tool_model();
    const char *gbnf = file_of("g.gbnf", "root ::= \"<\" [0-9]{5} \">\"");
    const char *schema =
        file_of("s.json", "{\"properties\": {\"a\": {\"type\": \"integer\", "
                          "\"minimum\": 10, \"maximum\": 12}}, \"required\": "
                          "[\"a\"]}");
    spawned s[] = {
        SPAWN("tlp", "run", "-m", m, "--raw", "-p", "x", "--grammar", gbnf),
        SPAWN("tlp", "run", "-m", m, "-p", "x", "--grammar", gbnf, "--temp",
              "2", "--ranks", "2"),
        SPAWN("tlp", "run", "-m", m, "-p", "x", "--json-schema", schema,
              "--temp", "1"),
    };

    for (int i = 0; i < 3; i++) {
        tool_expect_status(&s[i], 0);
        int a = 0, end = 0;
        if (i < 2)
            sscanf(s[i].out, "<%*5d>\n%n", &end);
        else
            sscanf(s[i].out, "{\"a\":%d}\n%n", &a, &end);
        cr_expect(end > 0 && s[i].out[end] == '\0', "%s", s[i].out);
        cr_expect(i < 2 || (a >= 10 && a <= 12), "%s", s[i].out);
        spawn_free(&s[i]);
    }
}

/* A model that writes in channels: thoughts go to standard error, and no
 * control word is left in the answer. */
Test(tool_grammar, channels)
{
    const char *m = tool_model();
    const char *template =
        file_of("t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}"
                           "{# <|channel|> <|message|> #}");
    const char *gbnf = file_of(
        "g.gbnf", "root ::= \"<|channel|>analysis<|message|>So.<|end|>\" "
                  "\"<|start|>assistant<|channel|>final<|message|>A <b> \" "
                  "[0-9] \".<|end|><|start|>assistant<|channel|>commentary \" "
                  "\"to=functions.f <|constrain|>json<|message|>{}<|call|>\"");
    spawned s = SPAWN("tlp", "run", "-m", m, "-p", "x", "--chat-template",
                      template, "--grammar", gbnf);
    int end = 0;

    tool_expect_status(&s, 0);
    sscanf(s.out,
           "A <b> %*1d.<|start|>assistant<|channel|>commentary "
           "to=functions.f <|constrain|>json<|message|>{}\n%n",
           &end);
    cr_expect(end > 0 && s.out[end] == '\0', "%s", s.out);
    cr_expect_eq(strncmp(s.err, "So.\n", 4), 0, "%s", s.err);
    spawn_free(&s);
}

Test(tool_grammar, refused)
{
    const char *m = tool_model();
    const char *bad = file_of("bad.gbnf", "root ::= x");
    const char *schema = file_of("bad.json", "{\"not\": {}}");
    char want[512];
    spawned s = SPAWN("tlp", "run", "-m", m, "-p", "x", "--grammar", bad);

    snprintf(want, sizeof want, "tlp run: %s: grammar: line 1: rule x", bad);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, want);
    spawn_free(&s);

    s = SPAWN("tlp", "run", "-m", m, "-p", "x", "--json-schema", schema);
    snprintf(want, sizeof want, "tlp run: %s: schema: #: keyword not", schema);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, want);
    spawn_free(&s);

    s = SPAWN("tlp", "run", "-m", m, "-p", "x", "--json-schema", schema,
              "--grammar", bad);
    tool_expect_status(&s, 2);
    spawn_free(&s);

    s = SPAWN("tlp", "run", "-m", m, "-p", "x", "--grammar", "/nothing");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: /nothing");
    spawn_free(&s);
}
