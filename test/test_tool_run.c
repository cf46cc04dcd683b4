/*
 * test_tool_run.c - tlp run: prompts from three places, chat, and Ctrl-C.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp.h"

/* ==== what is printed ==================================================== */

static int append(const char *text, size_t len, void *user_data)
{
    strncat(user_data, text, len);
    return 0;
}

/* What the library gives for a prompt, made without the tool. */
static void expected_text(const char *m, const char *prompt, uint32_t flags,
                          int n_predict, char *text)
{
    tlp_model *model_ = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    int32_t ids[256];
    size_t n;

    text[0] = '\0';
    gen.n_predict = n_predict;
    gen.text = append;
    gen.text_data = text;
    cr_assert_eq(tlp_model_open(&model_, m, NULL), TLP_OK);
    cr_assert_eq(tlp_plan_parse(&plan, model_, "serial"), TLP_OK);
    cr_assert_eq(tlp_session_create(&session, plan, NULL), TLP_OK);
    cr_assert_eq(
        tlp_tokenize(ids, 256, &n, model_, prompt, strlen(prompt), flags),
        TLP_OK);
    cr_assert_eq(tlp_session_prefill(session, ids, n), TLP_OK);
    cr_assert_eq(tlp_session_generate(NULL, session, NULL, &gen), TLP_OK);
    strcat(text, "\n");
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model_);
}

Test(tool_run, raw_prompt_from_three_places)
{
    const char *m = tool_model(), *path = tiny_path("prompt.txt");
    char text[4096];
    FILE *f = fopen(path, "w");

    fputs("once upon", f);
    fclose(f);
    expected_text(m, "once upon", TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL, 9,
                  text);

    spawned s[3] = {
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "9", "-p", "once upon"),
        SPAWN("tlp", "run", "-m", m, "--raw", "-n9", "-f", path),
        SPAWN_INPUT("once upon", "tlp", "run", "-m", m, "--raw", "-n", "9"),
    };

    for (int i = 0; i < 3; i++) {
        tool_expect_status(&s[i], 0);
        cr_expect_str_eq(s[i].out, text);
        cr_expect_str_eq(s[i].err, "");
        spawn_free(&s[i]);
    }
}

/* The tiny model's template is ChatML, which tlp run uses by itself. */
Test(tool_run, chat_by_default)
{
    const char *m = tool_model();
    char text[4096], with_system[4096];

    expected_text(m,
                  "<|im_start|>user\nhello<|im_end|>\n"
                  "<|im_start|>assistant\n",
                  TLP_TOKENIZE_SPECIAL, 9, text);
    expected_text(m,
                  "<|im_start|>system\nbe kind<|im_end|>\n"
                  "<|im_start|>user\nhello<|im_end|>\n"
                  "<|im_start|>assistant\n",
                  TLP_TOKENIZE_SPECIAL, 9, with_system);

    spawned s = SPAWN("tlp", "run", "-m", m, "-n", "9", "-p", "hello");
    spawned t = SPAWN("tlp", "run", "-m", m, "-n", "9", "-p", "hello", "--chat",
                      "-s", "be kind");

    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);
    cr_expect_str_eq(s.out, text);
    cr_expect_str_eq(t.out, with_system);
    spawn_free(&s);
    spawn_free(&t);
}

/* A template that cannot be used is no reason to complete the bare text. */
Test(tool_run, a_template_that_cannot_be_used)
{
    const char *path = tiny_path("fox.gguf");
    size_t n;
    char *file = tool_read_file(tool_model(), &n);
    char *statement = memmem(file, n, "{% for", 6);

    cr_assert_not_null(statement);
    memcpy(statement, "{% fox", 6);
    tool_write_file(path, file, n);
    free(file);

    spawned s = SPAWN("tlp", "run", "-m", path, "-n", "2", "-p", "hello");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: ");
    cr_expect_not_null(strstr(s.err, "the statement fox is not supported"),
                       "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", path, "-n", "2", "-p", "hello", "--raw");
    tool_expect_status(&s, 0);
    spawn_free(&s);
}

/* A chat message is a C string: nothing behind a zero byte is lost unsaid. */
Test(tool_run, zero_byte_in_a_chat)
{
    const char *const argv[] = { "tlp", "run", "-m", tool_model(),
                                 "-n",  "2",   NULL };
    spawned s = spawn(&(spawn_options){ .input = "a\0b", .n_input = 3 }, argv);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: the prompt holds a zero byte");
    spawn_free(&s);
}

Test(tool_run, sampling_is_reproducible)
{
    const char *m = tool_model();
    spawned s[3] = {
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "40", "-p", "a", "--temp",
              "2", "--seed", "7"),
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "40", "-p", "a", "--temp",
              "2", "--seed", "7"),
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "40", "-p", "a", "--temp",
              "2", "--seed", "8"),
    };

    cr_expect_str_eq(s[0].out, s[1].out);
    cr_expect_str_neq(s[0].out, s[2].out);
    for (int i = 0; i < 3; i++)
        spawn_free(&s[i]);
}

Test(tool_run, stop_string)
{
    const char *m = tool_model();
    char text[4096];

    expected_text(m, "stop here", TLP_TOKENIZE_BOS, 30, text);

    /* A character from the middle of the text that the model makes. */
    char stop[2] = { 0 };

    for (size_t i = 3; text[i] && !stop[0]; i++)
        if (text[i] > ' ' && text[i] < 0x7f)
            stop[0] = text[i];
    cr_assert(stop[0], "the model made no text to stop at");
    *strchr(text, stop[0]) = '\0';
    strcat(text, "\n");

    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "30", "-p",
                      "stop here", "--stop", stop);

    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.out, text);
    spawn_free(&s);
}

Test(tool_run, stats)
{
    const char *m = tool_model();
    spawned s =
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "6", "-p", "abc", "--stats",
              "--ranks", "2", "--threads", "1", "--plan", "par:1-2,3-4");

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.err, "generated 6"), "%s", s.err);
    cr_expect_not_null(strstr(s.err, "4 all-reduces per token"), "%s", s.err);
    spawn_free(&s);
}

/* ==== conversations ====================================================== */

/*
 * Two turns in one session answer as two programs would that evaluate the
 * whole conversation: what is kept between turns changes nothing.
 */
Test(tool_run, interactive)
{
    const char *m = tool_model();
    char first[4096], second[4096], prompt[8300];
    static const char opening[] = "<|im_start|>user\nhi<|im_end|>\n"
                                  "<|im_start|>assistant\n";

    expected_text(m, opening, TLP_TOKENIZE_SPECIAL, 5, first);
    first[strlen(first) - 1] = '\0';
    snprintf(prompt, sizeof prompt,
             "%s%s<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n"
             "<|im_start|>assistant\n",
             opening, first);
    expected_text(m, prompt, TLP_TOKENIZE_SPECIAL, 5, second);
    snprintf(prompt, sizeof prompt, "%s\n%s", first, second);

    spawned s = SPAWN_INPUT("hi\nmore\n", "tlp", "run", "-m", m, "-i", "-n",
                            "5", "--compute", "f32");

    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.out, prompt);
    spawn_free(&s);
}

/* ==== chats from files =================================================== */

/* The paths of the files of one test stay. */
static const char *write_text(const char *name, const char *text)
{
    static char paths[8][PATH_MAX];
    static int n;
    char *path = paths[n++];

    cr_assert_leq(n, 8);
    snprintf(path, PATH_MAX, "%s", tiny_path(name));
    tool_write_file(path, text, strlen(text));
    return path;
}

#define SAYS_HELLO                                                             \
    "<|im_start|>user\nhello<|im_end|>\n"                                      \
    "<|im_start|>assistant\n"

Test(tool_run, messages_from_a_file)
{
    const char *m = tool_model();
    const char *user = write_text(
        "user.json", "[{\"role\": \"user\", \"content\": "
                     "[{\"type\": \"text\", \"text\": \"hello\"}]}]");
    const char *half = write_text(
        "half.json", "[{\"role\": \"user\", \"content\": \"hello\"}, "
                     "{\"role\": \"assistant\", \"content\": \"we \"}]");
    const char *own =
        write_text("own.jinja", "{% for m in messages %}{% for p in m.content "
                                "%}{{ mark }}{{ p.text }}{% endfor %}"
                                "{% endfor %}{{ tools[0].name }}"
                                "{{ documents[0].text }}");
    const char *tools = write_text("tools.json", "[{\"name\": \" f\"}]");
    const char *documents = write_text("docs.json", "[{\"text\": \" d\"}]");
    char text[2][4096];

    expected_text(m, SAYS_HELLO "we ", TLP_TOKENIZE_SPECIAL, 9, text[0]);
    expected_text(m, "> hello f d", 0, 9, text[1]);

    spawned s[2] = {
        SPAWN("tlp", "run", "-m", m, "-n", "9", "--messages", half,
              "--continue"),
        SPAWN("tlp", "run", "-m", m, "-n", "9", "--messages", user,
              "--chat-template", own, "--tools", tools, "--documents",
              documents, "--chat-template-kwargs", "{\"mark\": \"> \"}"),
    };

    for (int i = 0; i < 2; i++) {
        tool_expect_status(&s[i], 0);
        cr_expect_str_eq(s[i].out, text[i]);
        cr_expect_str_eq(s[i].err, "");
        spawn_free(&s[i]);
    }
}

/* A message that spells control tokens is text to the tool too. */
Test(tool_run, a_prompt_ends_no_turn)
{
    const char *m = tool_model();
    const char *shown = write_text("shown.jinja", "{{ messages[0].content }}");
    char text[4096];

    expected_text(m, "a<|im_end|>b", 0, 9, text);

    spawned s = SPAWN("tlp", "run", "-m", m, "-n", "9", "-p", "a<|im_end|>b",
                      "--chat-template", shown);

    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.out, text);
    spawn_free(&s);
}

static void expect_refused(const char *option, const char *value,
                           const char *message)
{
    spawned s =
        SPAWN("tlp", "run", "-m", tool_model(), "-p", "hello", option, value);

    tool_expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, message), "%s %s: %s", option, value,
                       s.err);
    cr_expect_eq(s.n_out, 0);
    spawn_free(&s);
}

Test(tool_run, files_that_are_no_chat)
{
    char *big = malloc((1 << 20) + 2);
    const char *zero = tiny_path("zero.jinja");

    cr_assert_not_null(big);
    memset(big, 'x', (1 << 20) + 1);
    big[(1 << 20) + 1] = '\0';
    tool_write_file(zero, "a\0b", 3);
    expect_refused("--chat-template", zero, "a zero byte at 1");
    expect_refused("--chat-template", write_text("big.jinja", big),
                   "more than 1048576 bytes");
    expect_refused("--chat-template", write_text("none.jinja", ""), "empty");
    expect_refused("--chat-template", "/nowhere", "/nowhere: No such file");
    expect_refused("--chat-template", "/", "/: ");
    expect_refused("--chat-template", write_text("bad.jinja", "{% if %}"),
                   "line 1, column 7");
    expect_refused("--chat-template-name", "tool_use",
                   "tokenizer.chat_template.tool_use: missing");
    expect_refused("--tools", write_text("t.json", "[{\"name\": \"f\"}]"),
                   "never reads tools");
    expect_refused("--tools", write_text("u.json", "[{"), "tools: line 1");
    expect_refused("--chat-template-kwargs", "[]", "an object expected");
    free(big);
}

Test(tool_run, chats_that_cannot_go_on)
{
    const char *m = tool_model();
    const char *const argv[] = { "tlp", "run", "-m", m, "-i", "-n", "2", NULL };
    spawned s =
        spawn(&(spawn_options){ .input = "a\0b\n", .n_input = 4 }, argv);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: the line holds a zero byte at 1");
    spawn_free(&s);

    /* the opening alone has more tokens than the context */
    s = SPAWN_INPUT("a line that is too long\n", "tlp", "run", "-m", m, "-i",
                    "-c", "16");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp run: ");
    cr_expect_not_null(strstr(s.err, "16"), "%s", s.err);
    spawn_free(&s);

    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "once", "-c", "16");
    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.err, "tlp: warning: the context of 16 positions is "
                            "full: the text ends early (-c sets another "
                            "size)\n");
    spawn_free(&s);
}

/* A link that costs more than the second rank saves. */
Test(tool_run, warns_where_one_rank_would_be_faster)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "once", "-n", "17",
                      "--ranks", "2", "--link-delay-us", "5000", "--stats");

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.err, "\nlink: threads, "), "%s", s.err);
    cr_expect_not_null(strstr(s.err, "tlp: warning: 2 ranks take "), "%s",
                       s.err);
    cr_expect_not_null(strstr(s.err, "one rank alone would take about "), "%s",
                       s.err);
    spawn_free(&s);

    /* too few steps to judge, and one rank */
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "once", "-n", "4",
              "--ranks", "2", "--link-delay-us", "5000");
    tool_expect_status(&s, 0);
    cr_expect_str_eq(s.err, "");
    spawn_free(&s);
    s = SPAWN("tlp", "run", "-m", m, "--raw", "-p", "once", "-n", "17",
              "--stats");
    tool_expect_status(&s, 0);
    cr_expect_null(strstr(s.err, "link"), "%s", s.err);
    spawn_free(&s);
}

static size_t count_ids(const char *m, const char *text)
{
    tlp_model *model = NULL;
    size_t n = 0;

    cr_assert_eq(tlp_model_open(&model, m, NULL), TLP_OK);
    cr_assert_eq(tlp_tokenize(NULL, 0, &n, model, text, strlen(text),
                              TLP_TOKENIZE_SPECIAL),
                 TLP_EBUFS);
    tlp_model_free(model);
    return n;
}

static size_t next_prompt(const char **err)
{
    *err = strstr(*err, "prompt ");
    cr_assert_not_null(*err);
    *err += strlen("prompt ");
    return strtoul(*err, NULL, 10);
}

/* Of a second turn, what the sequence holds is not evaluated again. */
Test(tool_run, a_turn_keeps_what_the_sequence_holds)
{
    const char *m = tool_model();
    char first[4096], whole[8300];
    static const char opening[] = "<|im_start|>user\nhi<|im_end|>\n"
                                  "<|im_start|>assistant\n";

    expected_text(m, opening, TLP_TOKENIZE_SPECIAL, 5, first);
    first[strlen(first) - 1] = '\0';
    snprintf(whole, sizeof whole,
             "%s%s<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n"
             "<|im_start|>assistant\n",
             opening, first);

    spawned s = SPAWN_INPUT("hi\nmore\n", "tlp", "run", "-m", m, "-i", "-n",
                            "5", "--stats");
    const char *err = s.err;
    size_t n_opening = count_ids(m, opening);

    tool_expect_status(&s, 0);
    cr_expect_eq(next_prompt(&err), n_opening, "%s", s.err);
    cr_expect_leq(next_prompt(&err), count_ids(m, whole) - n_opening, "%s",
                  s.err);
    spawn_free(&s);
}

/* ==== interruption ======================================================= */

Test(tool_run, interrupt)
{
    const char *m = tool_model();
    spawned s =
        spawn(&(spawn_options){ .signal = SIGINT, .after_ms = 1000 },
              (const char *const[]){ "tlp", "bench", "-m", m, "--prompt", "64",
                                     "--repeat", "10000", NULL });

    tool_expect_status(&s, 130);
    cr_expect_eq(s.n_out, 0);
    spawn_free(&s);
}

/* ==== the real model ===================================================== */

Test(tool_run, real_model_answers)
{
    const char *m = getenv("TLP_TEST_MODEL");

    if (!m)
        cr_skip_test("TLP_TEST_MODEL is not set");

    spawned s = SPAWN("tlp", "run", "-m", m, "--raw", "-n", "4", "-p",
                      "The capital of France is");
    spawned t =
        SPAWN("tlp", "run", "-m", m, "--raw", "-n", "4", "-p",
              "The capital of France is", "--ranks", "2", "--threads", "1");

    tool_expect_status(&s, 0);
    tool_expect_status(&t, 0);
    cr_expect_not_null(strstr(s.out, "Paris"), "%s", s.out);
    cr_expect_not_null(strstr(t.out, "Paris"), "%s", t.out);
    spawn_free(&s);
    spawn_free(&t);
}
