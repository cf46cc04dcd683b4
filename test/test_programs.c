/*
 * test_programs.c - a rank runs two programs over one store: the serial plan
 * and another plan take turns on sequences of their own, with the bits of
 * sessions that run each plan alone.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rank/forward.h"
#include "session/session.h"
#include "support/random_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(programs, .timeout = 60);

enum { MAX_N_RANK = 2, N_PROMPT = 5, N_STEP = 4, N_PROGRAM = 2 };
enum { N_ROW = N_PROMPT + N_STEP - 1 }; /* of a program, over all steps */

/* Rank 0 to n - 1 as threads; program k evaluates ids[k] in sequence k. */
typedef struct fixture {
    tlp_model *model;
    rig alone[N_PROGRAM]; /* a session of each plan */
    int32_t ids[N_PROGRAM][N_ROW];
    float *logits[N_PROGRAM]; /* [N_ROW][n_vocab], each rank its columns */
    tlpi_rank_sizes sizes;    /* of all ranks */
} fixture;

typedef struct worker {
    fixture *f;
    tlpi_rank_setup setup;
    pthread_t thread;
    tlpi_rank_sizes sizes; /* of all ranks, on rank 0 */
    uint32_t version[N_PROGRAM];
    tlp_status st;
} worker;

/* Tokens of a step: the prompt, then single tokens. */
static int n_tok(int step)
{
    return step == 0 ? N_PROMPT : 1;
}

static int first_row(int step)
{
    return step == 0 ? 0 : N_PROMPT + step - 1;
}

static tlp_status run_step(tlpi_rank *r, fixture *f, int k, int step)
{
    int32_t seq[N_PROMPT], pos[N_PROMPT], row[N_PROMPT];
    int at = first_row(step), n = n_tok(step);
    size_t cols = (size_t)r->scratch.logit_cols, n_vocab = f->alone[0].n_vocab;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n; i++) {
        seq[i] = k;
        pos[i] = at + i;
        row[i] = i;
    }
    tlpi_step s = { n, f->ids[k] + at, seq, pos };
    TLP_TRY(tlpi_forward_logits(r, &r->program[k], &s, row, n, 0));
    for (int i = 0; i < n; i++)
        TLP_TRY(r->b->ops->read(
            r->b, f->logits[k] + (size_t)(at + i) * n_vocab + r->store.vocab0,
            tlpi_rank_logits(r, i), cols));
done:
    return st;
}

static void *run_rank(void *arg)
{
    worker *w = arg;
    tlpi_rank *r = NULL;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_rank_create(&r, &w->setup, &w->sizes));
    for (int k = 0; k < N_PROGRAM; k++)
        w->version[k] = r->program[k].version;
    for (int step = 0; step < N_STEP; step++)
        for (int k = 0; k < N_PROGRAM; k++)
            TLP_TRY(run_step(r, w->f, k, step));
done:
    if (r && st != TLP_OK)
        tlpi_rank_abort(r, st);
    tlpi_rank_free(r);
    w->st = st;
    return NULL;
}

/* Sequences have their pages from the beginning. */
static tlpi_session_config without_session(const tlpi_session_config *cfg)
{
    tlpi_session_config c = *cfg;

    c.n_page = 0;
    return c;
}

static void run_ranks(fixture *f)
{
    const tlp_session *first = f->alone[0].session,
                      *second = f->alone[1].session;
    const tlpi_program_spec more = { second->plan, second->shards };
    const tlpi_session_config own = without_session(&first->cfg), *cfg = &own;
    tlpi_comm *comm[MAX_N_RANK] = { NULL };
    worker w[MAX_N_RANK];

    CHECK_OK(tlpi_comm_threads_create(comm, &f->model->env, cfg->n_rank,
                                      cfg->n_machine, cfg->timeout_ms));
    for (int i = 0; i < cfg->n_rank; i++) {
        w[i] = (worker){ .f = f,
                         .setup = { .plan = first->plan,
                                    .shards = first->shards,
                                    .more = &more,
                                    .n_more = 1,
                                    .cfg = cfg,
                                    .comm = comm[i] } };
        cr_assert_eq(pthread_create(&w[i].thread, NULL, run_rank, &w[i]), 0);
    }
    for (int i = 0; i < cfg->n_rank; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < cfg->n_rank; i++) {
        cr_assert_eq(w[i].st, TLP_OK, "rank %d: status %d", i, w[i].st);
        cr_expect_neq(w[i].version[0], w[i].version[1],
                      "a device would replay steps of the other program");
    }
    f->sizes = w[0].sizes;
}

/* What a session of the plan alone makes of the steps. */
static void check_logits(fixture *f, int k, const char *what)
{
    rig *alone = &f->alone[k];

    for (int step = 0; step < N_STEP; step++) {
        int at = first_row(step), n = n_tok(step);
        float *want = rig_eval(alone, k, f->ids[k] + at, n);
        const float *got = f->logits[k] + (size_t)at * alone->n_vocab;

        cr_expect_eq(
            memcmp(got, want, (size_t)n * alone->n_vocab * sizeof *want), 0,
            "%s: program %d, step %d: other bits than alone", what, k, step);
        free(want);
    }
}

static void adjust_plan(tlp_plan **plan)
{
    tlp_plan *adjusted = NULL;

    CHECK_OK(fitted_plan(&adjusted, *plan, FITTED_ALL, 5, 7));
    tlp_plan_free(*plan);
    *plan = adjusted;
}

/* A session of a plan, adjusted or not; the model is the fixture's. */
static rig open_alone(tlp_model *m, const char *text, bool adjust, int n_rank)
{
    tlp_session_options o = rig_f32(n_rank, 1);
    rig r = { .model = m, .n_vocab = (size_t)m->hp.n_vocab };

    o.n_seq = N_PROGRAM;
    CHECK_OK(tlp_plan_parse(&r.plan, m, text));
    if (adjust)
        adjust_plan(&r.plan);
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    return r;
}

static fixture open_fixture(const char *text, bool adjust, int n_rank)
{
    tiny_spec spec = tiny_default();
    fixture f = { .model = NULL };

    spec.arch = "qwen2";
    spec.out_bias = true;
    CHECK_OK(tlp_model_open(&f.model, tiny_make(&spec), NULL));
    f.alone[0] = open_alone(f.model, "serial", false, n_rank);
    f.alone[1] = open_alone(f.model, text, adjust, n_rank);
    for (int k = 0; k < N_PROGRAM; k++) {
        rig_tokens(f.ids[k], N_ROW, f.alone[k].n_vocab, (uint64_t)k + 1);
        f.logits[k] = calloc(N_ROW * f.alone[k].n_vocab, sizeof(float));
        cr_assert(f.logits[k] != NULL, "out of memory");
    }
    return f;
}

static void close_fixture(fixture *f)
{
    for (int k = 0; k < N_PROGRAM; k++) {
        tlp_session_free(f->alone[k].session);
        tlp_plan_free(f->alone[k].plan);
        free(f->logits[k]);
    }
    tlp_model_free(f->model);
}

static tlp_session_stats stats_of(const rig *r)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_session_get_stats(&s, r->session));
    return s;
}

/* Does the store hold what both programs use once?  On one rank only lp-code
 * cuts a layer, and only merge has weights and caches of its own; on two ranks
 * the layers outside groups are cut alike. */
static void check_sizes(const fixture *f, const char *text, int n_rank,
                        const char *what)
{
    tlp_session_stats a = stats_of(&f->alone[0]), b = stats_of(&f->alone[1]);
    const tlpi_rank_sizes *s = &f->sizes;

    cr_expect_lt(s->weights, a.weight_bytes + b.weight_bytes, "%s", what);
    cr_expect_lt(s->kv, a.kv_most_bytes + b.kv_most_bytes, "%s", what);
    cr_expect_geq(s->weights, a.weight_bytes, "%s", what);
    cr_expect_geq(s->kv, a.kv_most_bytes, "%s", what);
    if (n_rank > 1 || strstr(text, "merge"))
        return;
    cr_expect_eq(s->kv, a.kv_most_bytes, "%s", what);
    if (!strstr(text, "lp-code") && b.weight_bytes == a.weight_bytes)
        cr_expect_eq(s->weights, a.weight_bytes, "%s", what);
}

static void check_plan(const char *text, bool adjust)
{
    char what[96];

    for (int n_rank = 1; n_rank <= MAX_N_RANK; n_rank++) {
        fixture f = open_fixture(text, adjust, n_rank);

        snprintf(what, sizeof what, "%s%s, %d ranks", text,
                 adjust ? " adjusted" : "", n_rank);
        run_ranks(&f);
        for (int k = 0; k < N_PROGRAM; k++)
            check_logits(&f, k, what);
        check_sizes(&f, text, n_rank, what);
        close_fixture(&f);
    }
}

Test(programs, take_turns_over_one_store)
{
    static const char *const plans[] = { "lp:1-2",      "par:1-2",   "asym:1-2",
                                         "lp-code:1-2", "merge:1-2", "par:0-2",
                                         "asym:1-3" };

    for (size_t i = 0; i < TLPI_COUNT(plans); i++)
        check_plan(plans[i], false);
}

/* Norms, gains and corrections of one program leave the other alone. */
Test(programs, keep_their_adjustments_apart)
{
    static const char *const plans[] = { "lp:1-2", "par:1-2", "asym:1-3" };

    for (size_t i = 0; i < TLPI_COUNT(plans); i++)
        check_plan(plans[i], true);
}

/* Adjusting one program while both run: the other keeps its bits. */
Test(programs, one_is_adjusted_while_both_run)
{
    fixture f = open_fixture("par:1-2", true, 1);
    const tlp_session *s = f.alone[1].session;
    const tlpi_session_config cfg = without_session(&f.alone[0].session->cfg);
    tlpi_rank_setup setup = { .plan = f.alone[0].plan,
                              .shards = f.alone[0].session->shards,
                              .cfg = &cfg };
    const tlpi_program_spec more = { s->plan, s->shards };
    tlpi_rank *r = NULL;

    setup.more = &more;
    setup.n_more = 1;
    CHECK_OK(tlpi_comm_self_create(&setup.comm, &f.model->env));
    CHECK_OK(tlpi_rank_create(&r, &setup, NULL));
    CHECK_OK(run_step(r, &f, 0, 0));
    uint32_t serial = r->program[0].version, pair = r->program[1].version;
    CHECK_OK(tlpi_program_adjust_stage(&r->program[1], 1, NULL));
    cr_expect_eq(r->program[0].version, serial);
    cr_expect_neq(r->program[1].version, pair);
    for (int step = 1; step < N_STEP; step++)
        CHECK_OK(run_step(r, &f, 0, step));
    check_logits(&f, 0, "serial beside a plan that changes");
    tlpi_rank_free(r);
    close_fixture(&f);
}
