/*
 * test_train_resume.c - a training cut short goes on to the bits of a training
 * in one piece.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/number.h"
#include "support/plan_rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/train_course.h"

TestSuite(train_resume, .timeout = 300);

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void expect_same_points(const course *a, const course *b)
{
    cr_assert_eq(a->n_point, b->n_point);
    for (int i = 0; i < a->n_point; i++) {
        const tlp_train_point *p = &a->point[i], *q = &b->point[i];

        cr_expect(p->n_token == q->n_token && p->step == q->step &&
                      p->n_step == q->n_step && same(p->loss, q->loss) &&
                      p->kl == q->kl && p->ppl == q->ppl &&
                      p->top1_agreement == q->top1_agreement &&
                      p->rate == q->rate,
                  "point %d", i);
        cr_expect(i == 0 || q->seconds > b->point[i - 1].seconds);
    }
}

/* ==== equal bits ========================================================= */

/* Cut after every `part` steps, each piece with another number of threads. */
static void expect_equal_bits(tlp_model *m, const tlp_plan_train_options *given,
                              int part)
{
    tlp_plan_train_options o = *given;
    course *c = o.progress_data, whole;
    char *want = NULL, *got = NULL;
    size_t n_want = 0, n_got = 0;
    tlp_status st = TLP_ECANCELED;
    int n_run = 0;

    *c = (course){ 0 };
    CHECK_OK(course_train(m, &o, &want));
    char *want_file = tool_read_file(course_result, &n_want);

    whole = *c;
    unlink(course_result);
    o.resume_path = course_state;
    for (; st == TLP_ECANCELED && n_run < 100; n_run++) {
        *c = (course){ .cancel_at = part };
        course_session.n_thread = course_session.n_thread_prefill =
            1 + n_run % 3;
        st = course_train(m, &o, &got);
    }
    CHECK_OK(st);
    cr_expect_gt(n_run, 3);
    cr_expect(c->n_point == 0 || c->point[0].resumed);
    expect_same_points(&whole, c);
    char *got_file = tool_read_file(course_result, &n_got);

    cr_expect_str_eq(got, want);
    cr_expect(n_got == n_want && memcmp(got_file, want_file, n_got) == 0,
              "other bits after %d pieces", n_run);

    /* All steps are done: nothing is left but to write the results. */
    *c = (course){ 0 };
    free(got);
    CHECK_OK(course_train(m, &o, &got));
    cr_expect_eq(c->n_call, 0);
    cr_expect_str_eq(got, want);
    free(got_file);
    free(want_file);
    free(got);
    free(want);
    unlink(o.resume_path);
}

Test(train_resume, pieces_give_the_bits_of_the_whole)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o = course_options(&c);

    o.full = o.norms = 1;
    expect_equal_bits(m, &o, 7);
    o.full = 0;
    o.rank = 4;
    o.gains = 1;
    o.n_accum = 2;
    o.weight_decay = 0.1;
    o.text_share = 0.3;
    o.seed = 5;
    expect_equal_bits(m, &o, 5);
    o.n_local_token = 24 * COURSE_CTX; /* pieces end in both phases */
    expect_equal_bits(m, &o, 4);
    tlp_model_free(m);
}

Test(train_resume, pieces_of_a_model_that_normalises_outputs)
{
    course c;
    tlp_model *m = course_model_of("gemma3", 1);
    tlp_plan_train_options o = course_options(&c);

    o.full = o.norms = o.gains = 1;
    expect_equal_bits(m, &o, 9);
    tlp_model_free(m);
}

/* The child goes on from step 10, and is killed seventeen steps later. */
Test(train_resume, a_killed_training_goes_on)
{
    course c, whole;
    char *want = NULL, *got = NULL;
    int status = 0;
    pid_t pid;

    CHECK_SKIP_FORK();
    tlp_plan_train_options o = course_options(&c);

    o.full = 1;
    pid = fork();
    tlp_model *m = course_model(1);

    if (pid == 0) {
        o.resume_path = course_state;
        c.cancel_at = 10;
        (void)course_train(m, &o, NULL);
        c = (course){ .kill_at = 17 };
        (void)course_train(m, &o, NULL);
        _exit(1);
    }
    cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_OK(course_train(m, &o, &want));
    whole = c;
    c = (course){ 0 };
    o.resume_path = course_state;
    cr_assert(tool_exists(o.resume_path));
    CHECK_OK(course_train(m, &o, &got));
    cr_expect(c.n_call > 0 && c.n_call <= 34, "%d steps were left", c.n_call);
    cr_expect_str_eq(got, want);
    expect_same_points(&whole, &c);
    free(got);
    free(want);
    tlp_model_free(m);
}

/* With `keep` the best state so far is handed out, and the training goes on
 * later all the same. */
Test(train_resume, a_kept_training_goes_on)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o = course_options(&c);
    char *want = NULL, *kept = NULL, *got = NULL;

    o.norms = o.gains = 1;
    o.rate = 1e-2;
    CHECK_OK(course_train(m, &o, &want));
    o.keep = 1;
    o.resume_path = course_state;
    c = (course){ .cancel_at = 25 };
    CHECK_OK(course_train(m, &o, &kept));
    c = (course){ 0 };
    CHECK_OK(course_train(m, &o, &got));
    cr_expect_str_neq(kept, want);
    cr_expect_str_eq(got, want);
    free(got);
    free(kept);
    free(want);
    tlp_model_free(m);
}

/* A number of the state in the file. */
static double number_of(const char *key)
{
    char name[64];
    size_t n;
    char *data = tool_read_file(course_state, &n);

    snprintf(name, sizeof name, "\\\"%s\\\": ", key);
    const char *at = strstr(data + 8, "\"state\":");

    at = at ? strstr(at, name) : NULL;
    cr_assert_not_null(at, "%s", key);
    double value = tlpi_strtod(at + strlen(name), NULL);

    free(data);
    return value;
}

/* The number of steps that the time allowed stays, and the time counts. */
Test(train_resume, the_time_of_earlier_runs_counts)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o = course_options(&c);
    double n_step = 0, seconds = 0;

    o.n_token = 0;
    o.seconds = 1e5;
    o.norms = 1;
    o.resume_path = course_state;
    for (int i = 0; i < 4; i++) { /* step 4 is in the second run */
        c = (course){ .cancel_at = 3 };
        CHECK_FAILS(TLP_ECANCELED, course_train(m, &o, NULL));
        cr_expect_eq(number_of("step"), 3 * (i + 1));
        cr_expect_gt(number_of("seconds"), seconds);
        seconds = number_of("seconds");
        if (i > 0)
            cr_expect_gt(number_of("n_step"), 100);
        if (i > 1)
            cr_expect_eq(number_of("n_step"), n_step);
        n_step = number_of("n_step");
    }
    cr_expect_eq(c.n_point, 4);
    cr_expect_lt(c.point[3].seconds, seconds);
    tlp_model_free(m);
}

/* ==== a full disk ======================================================== */

Test(train_resume, a_full_disk_leaves_the_older_state)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o = course_options(&c);
    char *want = NULL, *got = NULL;
    struct rlimit limit, low;
    size_t n = 0, n_then = 0;

    o.norms = 1;
    o.rate = 1e-2;
    CHECK_OK(course_train(m, &o, &want));
    o.resume_path = course_state;
    c = (course){ .cancel_at = 10 };
    CHECK_FAILS(TLP_ECANCELED, course_train(m, &o, NULL));
    char *older = tool_read_file(o.resume_path, &n);

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = limit;
    low.rlim_cur = n - 1;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    c = (course){ 0 };
    CHECK_FAILS(TLP_EIO, course_train(m, &o, NULL));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect(strstr(tlp_last_error(), o.resume_path));
    char *then = tool_read_file(o.resume_path, &n_then);

    cr_expect(n == n_then && memcmp(older, then, n) == 0);
    c = (course){ 0 };
    CHECK_OK(course_train(m, &o, &got));
    cr_expect_str_eq(got, want);
    free(then);
    free(older);
    free(got);
    free(want);
    tlp_model_free(m);
}
