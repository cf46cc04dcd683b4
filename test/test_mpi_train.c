/*
 * test_mpi_train.c - a training on several ranks: equal bits in every run and
 * in pieces, near to one rank with as many windows in a step, and a rank that
 * dies.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mpirun.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"

TestSuite(mpi_train, .timeout = 400);

typedef struct outcome {
    char status[32], text[512];
    double before, after;
    int canceled;
} outcome;

static outcome play(int n, const char *model, const char *out, const char *what,
                    const char *more)
{
    const char *argv[] = {
        "test/mpi/train_process", model, out, what, more, NULL
    };
    mpirun_options o = { .n = n,
                         .limit_s = 120,
                         .recovery = strcmp(what, "dies") == 0 };
    spawned s = mpirun(&o, argv);
    outcome r = { .text = "" };

    cr_assert_geq(sscanf(s.out, "%31s %lf %lf %d %511[^\n]", r.status,
                         &r.before, &r.after, &r.canceled, r.text),
                  4, "%d ranks, %s: \"%s\", status %d: %s", n, what, s.out,
                  s.status, s.err);
    if (!o.recovery)
        cr_expect_eq(s.status, 0, "%s", s.err);
    spawn_free(&s);
    return r;
}

static void expect_equal(const char *a, const char *b)
{
    size_t n, n_b;
    char *x = tool_read_file(a, &n), *y = tool_read_file(b, &n_b);

    cr_expect(n == n_b && memcmp(x, y, n) == 0, "%s differs from %s", a, b);
    free(x);
    free(y);
}

Test(mpi_train, equal_bits_in_every_run_and_in_pieces)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model(), *state = tiny_path("state");

    for (int n = 2; n <= 3; n++) {
        const char *first = tiny_path("a.gguf"), *second = tiny_path("b.gguf");
        outcome r = play(n, m, first, "equal", NULL);

        cr_expect_str_eq(r.status, "TLP_OK", "%s", r.text);
        cr_expect(r.after < 0.97 * r.before, "KL %g, %g before", r.after,
                  r.before);
        play(n, m, second, "equal", NULL);
        expect_equal(first, second);
        if (n == 3)
            continue;
        r = play(n, m, second, "again", state);
        cr_expect_str_eq(r.status, "TLP_OK", "%s", r.text);
        expect_equal(first, second);
        r = play(3, m, second, "again", state);
        cr_expect_str_eq(r.status, "TLP_EMISMATCH");
        cr_expect(strstr(r.text, "of.n_rank"), "%s", r.text);
    }
}

Test(mpi_train, a_model_that_normalises_outputs)
{
    MPIRUN_OR_SKIP();

    tiny_spec spec = tiny_default();
    const char *first = tiny_path("a.gguf"), *second = tiny_path("b.gguf");

    spec.arch = "gemma3";
    const char *m = tiny_make(&spec);
    outcome r = play(2, m, first, "equal", NULL);

    cr_expect_str_eq(r.status, "TLP_OK", "%s", r.text);
    cr_expect_lt(r.after, r.before);
    play(2, m, second, "equal", NULL);
    expect_equal(first, second);
}

Test(mpi_train, a_rank_that_dies)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    const char *out = tiny_path("lost.gguf"), *kept = tiny_path("kept.gguf");

    for (int n = 2; n <= 3; n++) {
        outcome r = play(n, m, out, "dies", NULL);
        char victim[16];

        snprintf(victim, sizeof victim, "rank %d", n - 1);
        cr_expect_str_eq(r.status, "TLP_ECOMM");
        cr_expect(strstr(r.text, victim), "%s", r.text);
        cr_expect(!tool_exists(out));
        remove(tiny_path("lost.gguf.go"));
        out = tiny_path("lost.gguf");
    }
    outcome r = play(2, m, kept, "dies", "keep");

    cr_expect_str_eq(r.status, "TLP_OK", "%s", r.text);
    cr_expect_eq(r.canceled, 2);
    cr_expect_lt(r.after, r.before);
    cr_expect(tool_exists(kept));
}

/* ==== the tool =========================================================== */

/* A step of two ranks is that of one rank with twice the windows, up to the
 * order of sums. */
Test(mpi_train, the_tool_is_near_to_one_rank)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.gguf"), *b = tiny_path("b.gguf");
    const char *plan = tiny_path("p.json");

    tool_write_ids(ids, 640);
#define TRAIN(out)                                                             \
    "tlp", "plan", "train", "-m", m, "--plan", "par:1-2", "--tokens", ids,     \
        "--ctx", "32", "--full", "--rate", "1e-3", "--text-share", "1",        \
        "--train-tokens", "1280", "--json", "--timeout", "25", "-o", plan,     \
        "--model-out", out
    spawned two = MPIRUN(2, TRAIN(a), "-t", "1");
    spawned one = SPAWN(TRAIN(b), "--accum", "2");

    tool_expect_status(&two, 0);
    tool_expect_status(&one, 0);
    json_t *x = tool_json(&two), *y = tool_json(&one);
    const char *const keys[] = { "kl_before", "kl_after", "ppl_after",
                                 "tokens" };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double got = tool_number(x, keys[i]), want = tool_number(y, keys[i]);

        cr_expect(fabs(got - want) <= 2e-3 * fabs(want), "%s: %g, %g", keys[i],
                  got, want);
    }
    cr_expect(tool_exists(a) && tool_exists(b));
    json_decref(y);
    json_decref(x);
    spawn_free(&one);
    spawn_free(&two);
#undef TRAIN
}
