/*
 * test_tool_prompt_cache.c - tlp run --prompt-cache: what a later run does not
 * evaluate, and which files are replaced.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(tool_prompt_cache, .timeout = 60);

#define PROMPT "the world and hello and the world"

/* Run a prompt with further arguments. */
#define RUN(m, prompt, ...)                                                    \
    SPAWN("tlp", "run", "-m", m, "--raw", "-n", "6", "-t", "1", "-c", "128",   \
          "--stats", "-p", prompt, __VA_ARGS__)

/* Tokens of the prompt that --stats says were evaluated. */
static int n_prompt(const spawned *s)
{
    const char *at = strstr(s->err, "prompt ");
    int n = -1;

    cr_assert(at && strncmp(at, "prompt ", 7) == 0, "%s", s->err);
    for (; at && sscanf(at, "prompt %d token", &n) != 1;)
        at = strstr(at + 1, "prompt ");
    return n;
}

static void expect_text(const spawned *s, const char *text, int evaluated)
{
    tool_expect_status(s, 0);
    cr_expect_str_eq(s->out, text);
    cr_expect_eq(n_prompt(s), evaluated);
}

/* Run a prompt with a cache: how many of its tokens are evaluated.  The text is
 * that of a run without. */
static void run(const char *m, const char *prompt, const char *cache,
                int evaluated)
{
    spawned want = RUN(m, prompt, "--seed", "1");
    spawned got = RUN(m, prompt, "--prompt-cache", cache);

    tool_expect_status(&want, 0);
    expect_text(&got, want.out, evaluated < 0 ? n_prompt(&want) : evaluated);
    spawn_free(&want);
    spawn_free(&got);
}

Test(tool_prompt_cache, only_what_is_new_is_evaluated)
{
    const char *m = tool_model(), *cache = tiny_path("prompt.cache");
    size_t n = 0, again = 0;
    struct stat before, after;

    run(m, PROMPT, cache, -1);
    cr_assert_eq(stat(cache, &before), 0);
    char *first = tool_read_file(cache, &n);
    run(m, PROMPT, cache, 1);
    cr_assert_eq(stat(cache, &after), 0);
    cr_expect_eq(before.st_ino, after.st_ino, "it was written again");
    char *second = tool_read_file(cache, &again);
    cr_expect(n == again && memcmp(first, second, n) == 0);
    free(second);
    /* A longer prompt, and what its beginning has in common. */
    spawned longer =
        RUN(m, PROMPT "!?", "--prompt-cache", cache, "--prompt-cache-ro");
    cr_expect_eq(n_prompt(&longer), 2);
    spawn_free(&longer);
    second = tool_read_file(cache, &again);
    cr_expect(n == again && memcmp(first, second, n) == 0, "read only");
    free(second);
    run(m, PROMPT "!?", cache, 2);
    run(m, PROMPT "!?", cache, 1);
    run(m, "hello", cache, -1);
    run(m, "hello", cache, 1);
    free(first);
}

Test(tool_prompt_cache, an_empty_file_is_none)
{
    const char *m = tool_model(), *cache = tiny_path("empty.cache");

    tool_write_file(cache, "", 0);
    run(m, PROMPT, cache, -1);
    run(m, PROMPT, cache, 1);
}

/* Another plan's prompt gives a warning and is replaced. */
Test(tool_prompt_cache, what_does_not_fit_is_replaced)
{
    const char *m = tool_model(), *cache = tiny_path("other.cache");
    spawned s = RUN(m, PROMPT, "--plan", "par:1-2", "--prompt-cache", cache);

    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = RUN(m, PROMPT, "--prompt-cache", cache, "--prompt-cache-ro");
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.err, "warning: "), "%s", s.err);
    cr_expect(strstr(s.err, "plan: par:1-2, this session has serial"), "%s",
              s.err);
    int whole = n_prompt(&s);
    spawn_free(&s);
    run(m, PROMPT, cache, whole);
    run(m, PROMPT, cache, 1);
    /* more tokens than positions */
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "1", "-c", "4", "-p", "a",
              "--prompt-cache", cache);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.err, "warning: "), "%s", s.err);
    spawn_free(&s);
}

/* Something else keeps its bytes. */
Test(tool_prompt_cache, other_files_stay)
{
    const char *m = tool_model(), *cache = tiny_path("notes.txt");
    size_t n = 0;

    tool_write_file(cache, "my notes\n", 9);
    spawned s = RUN(m, PROMPT, "--prompt-cache", cache);
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: ");
    cr_expect(strstr(s.err, "not a saved sequence"), "%s", s.err);
    spawn_free(&s);
    char *text = tool_read_file(cache, &n);
    cr_expect(n == 9 && memcmp(text, "my notes\n", 9) == 0);
    free(text);

    const char *damaged = tiny_path("damaged.cache");
    s = RUN(m, PROMPT, "--prompt-cache", damaged);
    spawn_free(&s);
    text = tool_read_file(damaged, &n);
    text[n / 2] ^= 1;
    tool_write_file(damaged, text, n);
    s = RUN(m, PROMPT, "--prompt-cache", damaged);
    tool_expect_status(&s, 1);
    spawn_free(&s);
    free(text);

    s = RUN(m, PROMPT, "--prompt-cache", "/nonexistent/folder/x");
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "/nonexistent/folder/x"), "%s", s.err);
    spawn_free(&s);
    s = RUN(m, PROMPT, "--prompt-cache-ro");
    tool_expect_status(&s, 2);
    spawn_free(&s);
}

/* A conversation: each turn adds to the file, so that the first turn of the
 * next run finds all its tokens. */
Test(tool_prompt_cache, ranks_and_turns)
{
    const char *m = tool_model(), *cache = tiny_path("turns.cache");
    spawned want = SPAWN_INPUT("hello\nthe world\n", "tlp", "run", "-m", m,
                               "-i", "-n", "4", "--ranks", "2", "-t", "1");

    tool_expect_status(&want, 0);
    for (int i = 0; i < 2; i++) {
        spawned s = SPAWN_INPUT("hello\nthe world\n", "tlp", "run", "-m", m,
                                "-i", "-n", "4", "--ranks", "2", "-t", "1",
                                "--stats", "--prompt-cache", cache);

        tool_expect_status(&s, 0);
        cr_expect_str_eq(s.out, want.out);
        if (i == 0)
            cr_expect_gt(n_prompt(&s), 1);
        else
            cr_expect_eq(n_prompt(&s), 1);
        spawn_free(&s);
    }
    spawn_free(&want);
}
