/*
 * test_tool_quality.c - tlp eval against a reference, on tasks and on prompts
 * of its own: the numbers against a slow computation from tlp logits, the keys,
 * what is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

#define V TOOL_N_VOCAB

/* An interval around the mean that it belongs to. */
static void expect_interval(json_t *root, const char *key, double mean)
{
    json_t *ci = json_object_get(root, key);

    cr_assert_eq(json_array_size(ci), 2, "%s", key);
    double lo = json_number_value(json_array_get(ci, 0));
    double hi = json_number_value(json_array_get(ci, 1));
    cr_expect(lo <= mean + 1e-9 && mean <= hi + 1e-9, "%s: %g [%g, %g]", key,
              mean, lo, hi);
}

/* ==== against a reference ================================================ */

/* log p of a row */
static void log_softmax(const float *x, double *out)
{
    double sum = 0;

    for (int i = 0; i < V; i++)
        sum += exp((double)x[i]);
    for (int i = 0; i < V; i++)
        out[i] = (double)x[i] - log(sum);
}

static int rank_of(const float *x, int id)
{
    int rank = 0;

    for (int i = 0; i < V; i++)
        rank += x[i] > x[id] || (x[i] == x[id] && i < id);
    return rank;
}

typedef struct quality_sums {
    double n, nll, reference_nll, kl, top1, top5;
} quality_sums;

static void add_window(quality_sums *s, const float *a, const float *b,
                       const unsigned char *ids, int n)
{
    for (int t = 0; t + 1 < n; t++, a += V, b += V) {
        double p[V], q[V];
        int target = ids[4 * (t + 1)], same = 0;

        log_softmax(a, p);
        log_softmax(b, q);
        s->n++;
        s->nll -= q[target];
        s->reference_nll -= p[target];
        for (int i = 0; i < V; i++) {
            s->kl += exp(p[i]) * (p[i] - q[i]);
            s->top1 += rank_of(a, i) == 0 && rank_of(b, i) == 0;
            same += rank_of(a, i) < 5 && rank_of(b, i) < 5;
        }
        s->top5 += same == 5;
    }
}

static float *logits(const char *m, const char *ids, const char *plan)
{
    const char *out = tiny_path("rows.f32");
    size_t size;
    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--plan", plan,
                      "--compute", "f32", "-o", out);

    tool_expect_status(&s, 0);
    spawn_free(&s);
    return (float *)(void *)tool_read_file(out, &size);
}

/* 75 tokens in windows of 70: more than a chunk, and a last one of 5. */
Test(tool_quality, against_serial)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *part = tiny_path("part.i32");
    quality_sums want = { 0 };
    size_t size;

    tool_write_ids(ids, 75);
    char *all = tool_read_file(ids, &size);

    for (int at = 0; at < 75; at += 70) {
        int n = at == 0 ? 70 : 5;

        tool_write_file(part, all + 4 * at, (size_t)(4 * n));
        float *a = logits(m, part, "serial"), *b = logits(m, part, "par:1-2");
        add_window(&want, a, b, (unsigned char *)all + 4 * at, n);
        free(a);
        free(b);
    }
    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "70",
                      "--compute", "f32", "--plan", "par:1-2", "--against",
                      "serial", "--ranks", "2", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);

    cr_expect_eq(tool_number(j, "predictions"), want.n);
    cr_expect_float_eq(tool_number(j, "nll"), want.nll / want.n, 1e-4);
    cr_expect_float_eq(tool_number(j, "reference_nll"),
                       want.reference_nll / want.n, 1e-4);
    cr_expect_float_eq(tool_number(j, "reference_ppl"),
                       exp(want.reference_nll / want.n), 0.1);
    cr_expect_float_eq(tool_number(j, "ppl_ratio"),
                       exp((want.nll - want.reference_nll) / want.n), 1e-4);
    cr_expect_float_eq(tool_number(j, "kl_mean"), want.kl / want.n, 1e-5);
    cr_expect_float_eq(tool_number(j, "top1_agreement"), want.top1 / want.n,
                       0.02);
    cr_expect_float_eq(tool_number(j, "same_top5"), want.top5 / want.n, 0.03);
    cr_expect_gt(tool_number(j, "kl_mean"), 1e-4, "the plan changes nothing");
    cr_expect_gt(tool_number(j, "kl_p99"), tool_number(j, "kl_median"));
    expect_interval(j, "ppl_ci", tool_number(j, "ppl"));
    expect_interval(j, "reference_ppl_ci", tool_number(j, "reference_ppl"));
    expect_interval(j, "ppl_ratio_ci", tool_number(j, "ppl_ratio"));
    expect_interval(j, "kl_ci", tool_number(j, "kl_mean"));
    expect_interval(j, "top1_agreement_ci", tool_number(j, "top1_agreement"));
    expect_interval(j, "same_top5_ci", tool_number(j, "same_top5"));
    json_decref(j);
    free(all);
    spawn_free(&s);
}

/* Against itself nothing differs; one window gives no interval. */
Test(tool_quality, against_itself)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 20);
    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--plan",
                      "par:1-2", "--against", "par:1-2", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);

    cr_expect_eq(tool_number(j, "kl_mean"), 0);
    cr_expect_eq(tool_number(j, "kl_p99"), 0);
    cr_expect_eq(tool_number(j, "top1_agreement"), 1);
    cr_expect_eq(tool_number(j, "same_top5"), 1);
    cr_expect_eq(tool_number(j, "ppl_ratio"), 1);
    cr_expect(json_is_null(json_object_get(j, "kl_ci")));
    cr_expect(json_is_null(json_object_get(j, "ppl_ci")));
    json_decref(j);
    spawn_free(&s);
}

/* The reference is the serial model of another file. */
Test(tool_quality, against_another_file)
{
    const char *ids = tiny_path("ids.i32"), *q = tiny_path("q4.gguf");
    char *m = strdup(tool_model());
    quality_sums want = { 0 };
    size_t size;

    spawned s = SPAWN("tlp", "quantize", m, q, "Q4_0");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    tool_write_ids(ids, 30);
    char *all = tool_read_file(ids, &size);
    float *a = logits(m, ids, "serial"), *b = logits(q, ids, "par:1-2");
    add_window(&want, a, b, (unsigned char *)all, 30);
    s = SPAWN("tlp", "eval", "-m", q, "--tokens", ids, "--compute", "f32",
              "--plan", "par:1-2", "--against-model", m, "--json");
    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);
    cr_expect_float_eq(tool_number(j, "nll"), want.nll / want.n, 1e-4);
    cr_expect_float_eq(tool_number(j, "reference_nll"),
                       want.reference_nll / want.n, 1e-4);
    cr_expect_float_eq(tool_number(j, "kl_mean"), want.kl / want.n, 1e-5);
    cr_expect_str_eq(json_string_value(json_object_get(j, "against")),
                     "serial");
    cr_expect_str_eq(json_string_value(json_object_get(j, "against_model")), m);
    json_decref(j);
    spawn_free(&s);
    free(b);
    free(a);
    free(all);
    free(m);
}

/* Tasks and prompts of their own run with the other file's model. */
Test(tool_quality, tasks_against_another_file)
{
    static const char line[] = "{\"query\": \"hello\", \"choices\": "
                               "[\"in\", \"on\"], \"gold\": 1}\n";
    const char *task = tiny_path("task.jsonl");
    char *m = strdup(tool_model()), *other = strdup(tool_model());

    tool_write_file(task, line, sizeof line - 1);
    spawned s = SPAWN("tlp", "eval", "-m", m, "--task", task, "--against-model",
                      other, "--json");
    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);
    cr_expect_eq(tool_number(j, "agreement"), 1);
    json_decref(j);
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--generate", "1", "--against-model",
              other);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "against serial of ") && strstr(s.out, other), "%s",
              s.out);
    spawn_free(&s);
    free(other);
    free(m);
}

Test(tool_quality, another_vocabulary_is_refused)
{
    tiny_spec spec = tiny_default();
    const char *ids = tiny_path("ids.i32"), *patched = tiny_path("word.gguf");
    char *m = strdup(tool_model());
    size_t n;

    spec.n_vocab += 4;
    char *large = strdup(tiny_make(&spec)), *bytes = tool_read_file(m, &n);
    char *end = memmem(bytes, n, "<|im_end|>", 10);
    cr_assert_not_null(end);
    memcpy(end, "<|im_ond|>", 10);
    tool_write_file(patched, bytes, n);
    tool_write_ids(ids, 10);

    const struct {
        const char *path, *text;
    } runs[] = { { large, "tokens" },
                 { patched, "different texts" },
                 { "/none.gguf", "/none.gguf" } };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids,
                          "--against-model", runs[i].path);

        tool_expect_status(&s, 1);
        tool_expect_message(&s, "tlp eval: ");
        cr_expect_not_null(strstr(s.err, runs[i].text), "%s", s.err);
        spawn_free(&s);
    }
    free(bytes);
    free(large);
    free(m);
}

Test(tool_quality, table)
{
    static const char *const words[] = { "perplexity",      "against serial",
                                         "KL divergence",   "median",
                                         "top-1 agreement", "same top 5",
                                         "over the windows" };
    const char *m = tool_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 20);
    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "8",
                      "--plan", "par:1-2", "--against", "serial");

    tool_expect_status(&s, 0);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        cr_expect_not_null(strstr(s.out, words[i]), "%s: %s", words[i], s.out);
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--against", "par:1-99");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp eval: ");
    spawn_free(&s);
}

/* ==== tasks ============================================================== */

static const char lines[] =
    "{\"query\": \"the world\", \"choices\": [\"is\", \"and\"], \"gold\": 0}\n"
    "{\"query\": \"hello\", \"choices\": [\"in\", \"on\", \"at\"], "
    "\"gold\": 2}\n"
    "{\"query\": \"the world is in the end of the world and hello\", "
    "\"choices\": [\"it\", \"he\"], \"gold\": 1}\n";

Test(tool_quality, task)
{
    const char *m = tool_model(), *task = tiny_path("task.jsonl");

    tool_write_file(task, lines, sizeof lines - 1);
    spawned s = SPAWN("tlp", "eval", "-m", m, "--task", task, "--plan",
                      "par:1-2", "--against", "serial", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s);

    cr_expect_eq(tool_number(j, "items"), 3);
    cr_expect_eq(tool_number(j, "truncated"), 0);
    expect_interval(j, "acc_ci", tool_number(j, "acc"));
    expect_interval(j, "acc_norm_ci", tool_number(j, "acc_norm"));
    expect_interval(j, "reference_acc_ci", tool_number(j, "reference_acc"));
    expect_interval(j, "agreement_ci", tool_number(j, "agreement"));
    cr_expect_float_eq(tool_number(j, "acc_difference"),
                       tool_number(j, "acc") - tool_number(j, "reference_acc"),
                       1e-8);
    json_decref(j);
    spawn_free(&s);

    /* The same plan against itself agrees in all; a short context cuts. */
    s = SPAWN("tlp", "eval", "-m", m, "--task", task, "--against", "serial",
              "--ctx", "6", "--json");
    tool_expect_status(&s, 0);
    j = tool_json(&s);
    cr_expect_eq(tool_number(j, "agreement"), 1);
    cr_expect_eq(tool_number(j, "acc_norm_difference"), 0);
    cr_expect_eq(tool_number(j, "truncated"), 1);
    json_decref(j);
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--task", task);
    tool_expect_status(&s, 0);
    cr_expect(strstr(s.out, "3 questions") && strstr(s.out, "acc_norm"));
    spawn_free(&s);
}

Test(tool_quality, bad_task)
{
    const char *m = tool_model(), *task = tiny_path("bad.jsonl");
    static const char bad[] = "{\"query\": \"a\", \"choices\": [\"b\", \"c\"], "
                              "\"gold\": 5}\n";

    tool_write_file(task, bad, sizeof bad - 1);
    spawned s = SPAWN("tlp", "eval", "-m", m, "--task", task, "--json");

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp eval: ");
    cr_expect_not_null(strstr(s.err, "bad.jsonl: line 1: key \"gold\": 5"));
    spawn_free(&s);
}

/* ==== drills ============================================================= */

Test(tool_quality, generate)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "eval", "-m", m, "--generate", "2", "--plan",
                      "par:1-2", "--against", "serial", "--json");

    tool_expect_status(&s, 0);
    json_t *j = tool_json(&s), *kinds = json_object_get(j, "kinds");

    cr_expect_eq(tool_number(j, "items"), 2);
    cr_assert_eq(json_array_size(kinds), 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *kind = json_array_get(kinds, i);

        /* A random model cannot add. */
        cr_expect_eq(tool_number(kind, "exact_match"), 0);
        cr_expect_eq(tool_number(kind, "reference_exact_match"), 0);
        expect_interval(kind, "exact_match_ci", 0);
    }
    cr_expect_str_eq(
        json_string_value(json_object_get(json_array_get(kinds, 3), "kind")),
        "add-tens");
    json_decref(j);
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--generate", "2");
    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "copy-digits"));
    spawn_free(&s);
}

Test(tool_quality, usage)
{
    const char *m = tool_model();
    spawned s = SPAWN("tlp", "eval", "-m", m);

    tool_expect_status(&s, 2);
    tool_expect_message(&s,
                        "tlp eval: one of --text, --tokens, --self, --task");
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--task", "x", "--generate", "2");
    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--generate", "2", "--bos");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp eval: --bos and --no-bos need");
    spawn_free(&s);
    s = SPAWN("tlp", "eval", "-m", m, "--task", "x", "--max-tokens", "2");
    tool_expect_status(&s, 2);
    spawn_free(&s);
}
