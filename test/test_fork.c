/*
 * test_fork.c - a child of fork() has none of a session's threads: each call on
 * the parent's session returns at once, and models work.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_eval.h"
#include "tlp_tune.h"

#define N_VOCAB 288

TestSuite(fork, .timeout = 120);

static const int32_t ids[4] = { 97, 98, 99, 100 };

/* In the child: the exit status is the line of the first failure. */
#define EXPECT(status, call)                                                   \
    do {                                                                       \
        if ((call) != (status))                                                \
            _exit(1 + __LINE__ % 200);                                         \
    } while (0)

/* The child ends by itself within the time limit of its alarm. */
static void run_child(void (*child)(rig *r), rig *r)
{
    int status = 0;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        alarm(60); /* a call that hangs ends the child by a signal */
        child(r);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "failure at line %d (mod 200)",
                 WEXITSTATUS(status) - 1);
}

static void use_session(rig *r)
{
    tlp_session *s = r->session;
    tlp_batch b = { sizeof b, 4, ids, NULL, NULL };
    tlp_session_stats stats = { .struct_size = sizeof stats };
    tlp_link link = { .struct_size = sizeof link };
    tlp_drill d = { .struct_size = sizeof d, .prompt = "a", .answer = "b" };
    tlp_sampler *sampler = NULL;
    const float *row = NULL;
    int32_t id = 0, pos = 0, exact = 0;
    size_t n = 0;
    float lp[4];

    EXPECT(TLP_OK, tlp_sampler_create(&sampler, r->model, NULL));
    EXPECT(TLP_ESTATE, tlp_session_prefill(s, ids, 4));
    EXPECT(TLP_ESTATE, tlp_session_decode(s, 1));
    EXPECT(TLP_ESTATE, tlp_session_eval(s, &b));
    EXPECT(TLP_ESTATE, tlp_session_logits(&row, s, 0));
    EXPECT(TLP_ESTATE, tlp_session_score(lp, s, 0, ids, 4));
    EXPECT(TLP_ESTATE, tlp_session_embed(lp, s, 0, ids, 4, NULL));
    EXPECT(TLP_ESTATE, tlp_session_sample(&id, s, 0, sampler));
    EXPECT(TLP_ESTATE, tlp_session_generate(NULL, s, NULL, NULL));
    EXPECT(TLP_ESTATE, tlp_session_get_place(&id, &pos, s, 0));
    EXPECT(TLP_ESTATE, tlp_session_find_row(&n, s, 0));
    EXPECT(TLP_ESTATE, tlp_session_rewind(s, 0, 0));
    EXPECT(TLP_ESTATE, tlp_session_clear(s, 0));
    EXPECT(TLP_ESTATE, tlp_session_fork(s, 1, 0));
    EXPECT(TLP_ESTATE, tlp_session_get_stats(&stats, s));
    EXPECT(TLP_ESTATE, tlp_session_measure(&link, NULL, s));
    EXPECT(TLP_ESTATE, tlp_session_measure_link(&link.command, s));
    EXPECT(TLP_ESTATE, tlp_drill_run(&exact, &d, r->model, s));
    if (!strstr(tlp_last_error(), "create a session here"))
        _exit(255);
    tlp_session_reset_stats(s);
    tlp_session_abort(s);
    tlp_session_free(s);
    tlp_sampler_free(sampler);
}

/* A session of the child's own, and a search. */
static void use_model(rig *r)
{
    tlp_session_options o = rig_f32(2, 2);
    tlp_plan_make_options mo = TLP_PLAN_MAKE_OPTIONS_INIT;
    tlp_session *s = NULL;
    tlp_plan *plan = NULL;
    const float *row = NULL;
    int32_t many[32];

    tlp_session_free(r->session);
    rig_tokens(many, 32, N_VOCAB, 1);
    EXPECT(TLP_OK, tlp_session_create(&s, r->plan, &o));
    EXPECT(TLP_OK, tlp_session_prefill(s, ids, 4));
    EXPECT(TLP_OK, tlp_session_logits(&row, s, 0));
    tlp_session_free(s);
    mo.depth = 4;
    EXPECT(TLP_OK, tlp_plan_make(&plan, r->model, many, 32, &mo));
    tlp_plan_free(plan);
    tlp_plan_free(r->plan);
    tlp_model_free(r->model);
}

static void fork_with(int n_rank, int n_thread)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, n_thread);

    o.n_seq = 2;
    rig r = rig_open(tiny_make(&spec), "par:1-2", &o);
    CHECK_OK(tlp_session_prefill(r.session, ids, 4));
    float *before = rig_logits(&r, NULL);

    run_child(use_session, &r);
    run_child(use_model, &r);
    /* The parent goes on. */
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_prefill(r.session, ids, 4));
    float *after = rig_logits(&r, NULL);
    cr_assert_eq(memcmp(before, after, N_VOCAB * sizeof *before), 0);
    free(before);
    free(after);
    rig_close(&r);
}

Test(fork, one_thread)
{
    fork_with(1, 1);
}

Test(fork, threads_of_a_rank)
{
    CHECK_SKIP_FORK();
    fork_with(1, 3);
}

Test(fork, ranks)
{
    CHECK_SKIP_FORK();
    fork_with(3, 2);
}
