/*
 * test_task.c - multiple choice: files, tokens, answers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_eval.h"

static rig r;

static void open_rig(void)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(1, 1);

    r = rig_open(tiny_make(&spec), "par:1-2", &o);
}

static void close_rig(void)
{
    rig_close(&r);
}

TestSuite(task, .init = open_rig, .fini = close_rig, .timeout = 60);

static const char *write_task(const char *text)
{
    const char *path = tiny_path("task.jsonl");

    tool_write_file(path, text, strlen(text));
    return path;
}

static tlp_task *load(const char *text, const tlp_task_options *o)
{
    tlp_task *t = NULL;

    CHECK_OK(tlp_task_load(&t, r.model, write_task(text), o));
    return t;
}

/* ==== files ============================================================== */

#define GOOD                                                                   \
    "{\"query\": \"hello and\", \"choices\": [\"a\", \"b\"], \"gold\": 1}"

Test(task, texts)
{
    tlp_task *t =
        load(GOOD "\n\n"
                  "{\"gold\": 0, \"choices\": [\"\\u00e9\", \"b\", "
                  "\"c\"], \"query\": \"\", \"id\": {\"x\": [1]}}\r\n",
             NULL);
    tlp_task_info info = { .struct_size = sizeof info };
    tlp_task_item item = { .struct_size = sizeof item };

    CHECK_OK(tlp_task_get_info(&info, t));
    cr_expect_eq(info.n_item, 2);
    cr_expect_eq(info.n_cut, 0);
    CHECK_OK(tlp_task_get_item(&item, t, 0));
    cr_expect_str_eq(item.query, "hello and");
    cr_expect_eq(item.n_choice, 2);
    cr_expect_eq(item.gold, 1);
    cr_expect_str_eq(item.choices[1], "b");
    CHECK_OK(tlp_task_get_item(&item, t, 1));
    cr_expect_str_eq(item.query, "");
    cr_expect_str_eq(item.choices[0], "\xc3\xa9");
    CHECK_FAILS(TLP_EINVAL, tlp_task_get_item(&item, t, 2));
    tlp_task_free(t);
}

/* Line 2 is bad: the whole file is refused, with line and key. */
static const struct {
    const char *line, *text;
} bad[] = {
    { "{\"choices\": [\"a\", \"b\"], \"gold\": 0}", "\"query\": a string" },
    { "{\"query\": 1, \"choices\": [\"a\", \"b\"], \"gold\": 0}",
      "\"query\": a string" },
    { "{\"query\": \"q\", \"gold\": 0}", "\"choices\": an array of 2 to 256" },
    { "{\"query\": \"q\", \"choices\": [], \"gold\": 0}", "\"choices\"" },
    { "{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 0}", "\"choices\"" },
    { "{\"query\": \"q\", \"choices\": \"ab\", \"gold\": 0}", "\"choices\"" },
    { "{\"query\": \"q\", \"choices\": {\"a\": 1, \"b\": 2}, \"gold\": 0}",
      "\"choices\"" },
    { "{\"query\": \"q\", \"choices\": [\"a\", 7], \"gold\": 0}",
      "\"choices\", element 1" },
    { "{\"query\": \"q\", \"choices\": [\"\", \"a\"], \"gold\": 0}",
      "\"choices\", element 0" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"]}",
      "\"gold\": an integer" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": \"0\"}",
      "\"gold\": an integer" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 0.5}",
      "\"gold\": an integer" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": true}",
      "\"gold\": an integer" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 2}",
      "\"gold\": 2 is outside 0 to 1" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": -1}",
      "\"gold\": -1 is outside" },
    { "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], "
      "\"gold\": 99999999999999999999}",
      "line 2, column" },
    { "{\"query\": \"q\", \"query\": \"p\", \"choices\": [\"a\", \"b\"], "
      "\"gold\": 0}",
      "duplicate object key" },
    { "{\"query\": \"\xff\xfe\", \"choices\": [\"a\", \"b\"], \"gold\": 0}",
      "line 2, column" },
    { "{\"query\": \"\\u0000\", \"choices\": [\"a\", \"b\"], \"gold\": 0}",
      "line 2, column" },
    { "[\"query\"]", "a JSON object expected" },
    { "{\"query\": \"q\", \"choices\": [\"a\", ", "line 2, column" },
    { GOOD " " GOOD, "line 2, column" },
    { "not json", "line 2, column" },
    { "[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]", "nested deeper" },
};

Test(task, bad_lines)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[1024];
        tlp_task *t = (tlp_task *)&r;

        snprintf(text, sizeof text, GOOD "\n%s\n" GOOD "\n", bad[i].line);
        CHECK_FAILS(TLP_EFORMAT,
                    tlp_task_load(&t, r.model, write_task(text), NULL));
        cr_expect_null(t);
        cr_expect(strstr(tlp_last_error(), "task.jsonl: line 2") &&
                      strstr(tlp_last_error(), bad[i].text),
                  "%s: %s", bad[i].line, tlp_last_error());
    }
}

Test(task, files_that_are_none)
{
    tlp_task *t = NULL;

    CHECK_FAILS(TLP_EFORMAT, tlp_task_load(&t, r.model, write_task(""), NULL));
    cr_expect(strstr(tlp_last_error(), "no items"));
    CHECK_FAILS(TLP_EFORMAT,
                tlp_task_load(&t, r.model, write_task("\n\n"), NULL));
    CHECK_FAILS(TLP_EIO, tlp_task_load(&t, r.model, "/nonexistent/x", NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_task_load(&t, NULL, "x", NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_task_load(&t, r.model, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_task_load(NULL, r.model, "x", NULL));

    tlp_task_options o = TLP_TASK_OPTIONS_INIT;

    o.n_ctx = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_task_load(&t, r.model, write_task(GOOD), &o));
    o.n_ctx = -5;
    CHECK_FAILS(TLP_EINVAL, tlp_task_load(&t, r.model, write_task(GOOD), &o));
}

/* A megabyte of choices in one line, and one choice too many. */
Test(task, huge)
{
    size_t cap = 3 << 20, n = 0;
    char *text = malloc(cap);
    const char *path = tiny_path("huge.jsonl");
    tlp_task *t = NULL;

    n = (size_t)sprintf(text, "{\"query\": \"");
    memset(text + n, 'a', 1 << 20);
    n += 1 << 20;
    n += (size_t)sprintf(text + n, "\", \"choices\": [\"x\", \"y\"], "
                                   "\"gold\": 0}\n");
    tool_write_file(path, text, n);
    CHECK_OK(tlp_task_load(&t, r.model, path, NULL));
    tlp_task_info info = { .struct_size = sizeof info };
    CHECK_OK(tlp_task_get_info(&info, t));
    cr_expect_eq(info.n_cut, 1);
    tlp_task_free(t);

    n = (size_t)sprintf(text, "{\"query\": \"q\", \"gold\": 0, \"choices\": [");
    for (int i = 0; i < 257; i++)
        n += (size_t)sprintf(text + n, "%s\"x\"", i ? ", " : "");
    n += (size_t)sprintf(text + n, "]}");
    tool_write_file(path, text, n);
    CHECK_FAILS(TLP_EFORMAT, tlp_task_load(&t, r.model, path, NULL));
    cr_expect(strstr(tlp_last_error(), "2 to 256"));
    free(text);
}

/* ==== answers ============================================================ */

/* tokens of a text; their number */
static size_t encode(const char *text, size_t n_text, int32_t *ids, size_t cap)
{
    size_t n = 0;

    CHECK_OK(tlp_tokenize(ids, cap, &n, r.model, text, n_text, 0));
    return n;
}

/*
 * The definition, on a fresh sequence: n_context tokens, of which n_ctx keep
 * what fits, then those of `whole` beyond n_query.
 */
static double direct(const int32_t *context, size_t n_context,
                     const char *whole_text, size_t n_query, size_t n_ctx)
{
    int32_t whole[256], all[512];
    float logprob[512];
    size_t n_whole = encode(whole_text, strlen(whole_text), whole, 256);
    size_t n_answer = n_whole - n_query, n = n_context + n_answer;
    double sum = 0;

    memcpy(all, context, n_context * sizeof *all);
    memcpy(all + n_context, whole + n_query, n_answer * sizeof *all);
    size_t cut = n > n_ctx ? n - n_ctx : 0;
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_score(logprob, r.session, 0, all + cut, n - cut));
    for (size_t i = n - cut - n_answer; i < n - cut; i++)
        sum += (double)logprob[i];
    return sum;
}

static tlp_answer answer(const tlp_task *t, size_t i, double *logprob)
{
    tlp_answer a = { .struct_size = sizeof a };

    CHECK_OK(tlp_task_answer(&a, logprob, t, i, r.session));
    return a;
}

/* Query, delimiter and choices as they are; blanks at the end of the query and
 * merges over the seam (" and" is one token, and so is "hello"). */
Test(task, answers_as_defined)
{
    static const char *const choice[3] = { "and the world", "lo and the world",
                                           "qqq zz" };
    static const struct {
        const char *query, *kept, *delimiter;
    } c[] = {
        { "the world is in", "the world is in", NULL },
        { "the world is in  ", "the world is in", NULL },
        { "the world is in\\n", "the world is in", "" },
        { "the world is in\\u00a0\\u3000\\u2009", "the world is in", NULL },
        { "the world is in\\u001f\\u0085", "the world is in", "" },
        /* a blank of no width is no white space */
        { "the world is in\\u200b", "the world is in\xe2\x80\x8b", NULL },
        { "hel", "hel", "" },
        { "the", "the", ": " },
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        tlp_task_options o = TLP_TASK_OPTIONS_INIT;
        char line[256], whole[256];
        double got[3], want[3], norm[3];
        int32_t context[64];
        int best = 0, best_norm = 0;
        tlp_task_item item = { .struct_size = sizeof item };

        o.delimiter = c[i].delimiter;
        o.n_ctx = 64;
        snprintf(line, sizeof line,
                 "{\"query\": \"%s\", \"choices\": [\"%s\", \"%s\", \"%s\"], "
                 "\"gold\": 0}",
                 c[i].query, choice[0], choice[1], choice[2]);
        tlp_task *t = load(line, &o);
        tlp_answer a = answer(t, 0, got);
        size_t n = encode(c[i].kept, strlen(c[i].kept), context, 64);

        CHECK_OK(tlp_task_get_item(&item, t, 0));
        for (int k = 0; k < 3; k++) {
            snprintf(whole, sizeof whole, "%s%s%s", item.query,
                     c[i].delimiter ? c[i].delimiter : " ", choice[k]);
            want[k] = direct(context, n, whole, n, 64);
            norm[k] = want[k] / (double)strlen(choice[k]);
            cr_expect_float_eq(got[k], want[k], 1e-4, "%zu, %d: %g, %g", i, k,
                               got[k], want[k]);
            best = want[k] > want[best] ? k : best;
            best_norm = norm[k] > norm[best_norm] ? k : best_norm;
        }
        cr_expect_eq(a.best, best);
        cr_expect_eq(a.best_norm, best_norm);
        tlp_task_free(t);
    }
}

/* "hello" is one token where "hel" alone is two. */
Test(task, choice_that_adds_no_token)
{
    tlp_task_options o = TLP_TASK_OPTIONS_INIT;
    tlp_task *t = NULL;

    o.delimiter = "";
    CHECK_FAILS(TLP_EFORMAT,
                tlp_task_load(&t, r.model,
                              write_task("{\"query\": \"hel\", \"choices\": "
                                         "[\"p\", \"lo\"], \"gold\": 0}"),
                              &o));
    cr_expect(strstr(tlp_last_error(), "line 1: key \"choices\", element 1"));
}

/* An empty query is BOS; with bos it stands before every query. */
Test(task, bos)
{
    tlp_task_options o = TLP_TASK_OPTIONS_INIT;
    tlp_model_info info = { .struct_size = sizeof info };
    double got[2];
    int32_t context[64];

    o.n_ctx = 64;
    o.bos = 1;
    CHECK_OK(tlp_model_get_info(&info, r.model));
    context[0] = info.bos;

    tlp_task *t = load("{\"query\": \" \", \"choices\": [\"hello\", \"and\"], "
                       "\"gold\": 0}\n"
                       "{\"query\": \"the\", \"choices\": [\"hello\", "
                       "\"and\"], \"gold\": 0}",
                       &o);

    answer(t, 0, got);
    cr_expect_float_eq(got[1], direct(context, 1, "  and", 0, 64), 1e-4);
    size_t n = encode("the", 3, context + 1, 63);
    answer(t, 1, got);
    cr_expect_float_eq(got[1], direct(context, n + 1, "the and", n, 64), 1e-4);
    tlp_task_free(t);
}

/* Each choice keeps as much of the query's end as fits beside it. */
Test(task, long_query_is_cut)
{
    static const char query[] = "the world is in the world and it is on the "
                                "world hello hello in the end";
    tlp_task_options o = TLP_TASK_OPTIONS_INIT;
    tlp_task_info info = { .struct_size = sizeof info };
    char line[256];
    double got[2];
    int32_t context[128];

    o.n_ctx = 12;
    snprintf(line, sizeof line,
             "{\"query\": \"%s\", \"choices\": [\"and\", \"zqzqz\"], "
             "\"gold\": 0}",
             query);
    tlp_task *t = load(line, &o);
    size_t n = encode(query, strlen(query), context, 128);
    char a[128], b[128];

    cr_assert_gt(n, 12);
    CHECK_OK(tlp_task_get_info(&info, t));
    cr_expect_eq(info.n_cut, 1);
    cr_expect_eq(info.max_token, 12);
    answer(t, 0, got);
    snprintf(a, sizeof a, "%s and", query);
    snprintf(b, sizeof b, "%s zqzqz", query);
    cr_expect_float_eq(got[0], direct(context, n, a, n, 12), 1e-4);
    cr_expect_float_eq(got[1], direct(context, n, b, n, 12), 1e-4);
    tlp_task_free(t);

    /* No room for a token of the query beside the second choice. */
    int32_t ids[32];

    o.n_ctx = (int32_t)encode(" zqzqz", 6, ids, 32);
    CHECK_FAILS(TLP_EFORMAT, tlp_task_load(&t, r.model, write_task(line), &o));
    cr_expect(strstr(tlp_last_error(), "line 1") &&
              strstr(tlp_last_error(), "element 1"));
}

/* Characters divide, not bytes: lm-evaluation-harness counts Python's. */
Test(task, norm_is_per_character)
{
    static const char line[] =
        "{\"query\": \"the\", \"choices\": [\"\xc3\xa9\xc3\xa9\xc3\xa9\", "
        "\"abc\"], \"gold\": 0}";
    tlp_task *t = load(line, NULL);
    double got[2];
    tlp_answer a = answer(t, 0, got);

    /* Both have three: the order is that of the sums, whatever the bytes. */
    cr_expect_eq(a.best, got[1] > got[0]);
    cr_expect_eq(a.best_norm, a.best);
    tlp_task_free(t);
}

Test(task, answer_arguments)
{
    tlp_task *t = load(GOOD, NULL);
    tlp_answer a = { .struct_size = sizeof a };

    CHECK_OK(tlp_task_answer(&a, NULL, t, 0, r.session));
    CHECK_FAILS(TLP_EINVAL, tlp_task_answer(&a, NULL, t, 1, r.session));
    CHECK_FAILS(TLP_EINVAL, tlp_task_answer(&a, NULL, NULL, 0, r.session));
    CHECK_FAILS(TLP_EINVAL, tlp_task_answer(&a, NULL, t, 0, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_task_answer(NULL, NULL, t, 0, r.session));
    tlp_task_free(t);
    tlp_task_free(NULL);
}

/* ==== memory ============================================================= */

/* Every allocation of loading and answering fails once; nothing is left. */
Test(task, out_of_memory)
{
    tiny_spec spec = tiny_default();
    const char *model_path = tiny_make(&spec);
    const char *path = write_task(GOOD "\n" GOOD "\n");
    mem m = { 0 };
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;

    mo.allocator = mem_hooks(&m);
    CHECK_OK(tlp_model_open(&model, model_path, &mo));
    long base = m.live, n = 1;

    for (;; n++) {
        tlp_task *t = NULL;

        m.calls = m.failed = 0;
        m.fail_at = n;
        tlp_status st = tlp_task_load(&t, model, path, NULL);
        cr_assert_eq(st, m.failed ? TLP_ENOMEM : TLP_OK, "allocation %ld", n);
        cr_assert_eq(t == NULL, st != TLP_OK);
        tlp_task_free(t);
        cr_assert_eq(m.live, base, "allocation %ld: %ld left", n,
                     m.live - base);
        if (st == TLP_OK)
            break;
    }
    cr_expect_gt(n, 10);
    m.fail_at = 0;
    tlp_model_free(model);
}
