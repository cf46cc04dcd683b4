/*
 * test_dry_run.c - the traces of a step against the table of docs/design.md and
 * the counters of real sessions; their work; failures.
 */
#include <string.h>

#include "cost/dry_run.h"
#include "rank/dry_rank.h"
#include "rank/forward.h"
#include "support/fake_model.h"
#include "support/mem.h"
#include "support/random_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"

TestSuite(dry_run, .timeout = 60);

static const fake_shape shape = { 4, 64, 128, 4, 2, 16, 256 };
static const tlpi_dtype q8_0[] = { TLPI_Q8_0 };

/* ==== traces ============================================================= */

static char letter_of(const tlpi_act *a)
{
    switch (a->kind) {
    case TLPI_ACT_ATTN:
        return 'a';
    case TLPI_ACT_FFN:
        return 'f';
    case TLPI_ACT_EXCHANGE:
        break;
    }
    switch (a->exchange.kind) {
    case TLPI_COMM_SUM:
        return a->exchange.split ? 'i' : 'S';
    case TLPI_COMM_SEND:
        return '>';
    case TLPI_COMM_RECV:
        return '<';
    }
    return '?';
}

/* A stage's acts: a attention, f feed-forward, S sum over all ranks, i inner
 * sum, > and < a message to the next rank and from the previous rank. */
static const char *spell(const tlpi_trace *t, int stage, char out[32])
{
    int n = 0;

    for (int i = 0; i < t->n_act && n < 31; i++)
        if (t->act[i].stage == stage && (t->act[i].kind != TLPI_ACT_EXCHANGE ||
                                         tlpi_act_is_exchange(&t->act[i])))
            out[n++] = letter_of(&t->act[i]);
    out[n] = '\0';
    return out;
}

typedef struct expected {
    const char *plan;
    int n_rank;
    const char *group[4]; /* of stage 1, by rank */
    int vectors; /* of n_embd floats in the first exchange of the group */
} expected;

/* Stage 0 is serial and stage 1 the group.  The table of docs/design.md gives
 * the exchanges of two ranks; a member that several ranks share adds an inner
 * sum in par, and in asym makes one sum of the messages. */
static const expected traces[] = {
    { "serial", 1, { "af" }, 0 },
    { "lp:1-2", 1, { "af" }, 0 },
    { "par:1-2", 1, { "af" }, 0 },
    { "asym:1-2", 1, { "af" }, 0 },
    { "serial", 2, { "aSfS", "aSfS" }, 1 },
    { "lp:1-2", 2, { "aSfS", "aSfS" }, 1 },
    { "lp-code:1-2", 2, { "aSfS", "aSfS" }, 1 },
    { "merge:1-2", 2, { "aSfS", "aSfS" }, 1 },
    { "par:1-2", 2, { "afS", "afS" }, 1 },
    { "asym:1-2", 2, { "a>fS", "a<fS" }, 1 },
    { "lp:1-3", 3, { "aSfS", "aSfS", "aSfS" }, 1 },
    { "par:1-2", 3, { "aifS", "aiifS", "aifS" }, 1 },
    { "par:1-3", 3, { "afS", "afS", "afS" }, 1 },
    { "asym:1-2", 3, { "aSfS", "aSfS", "aSfS" }, 2 },
    { "asym:1-3", 3, { "a>fS", "a<>fS", "a<fS" }, 1 },
    { "par:1-2", 4, { "aifS", "aifS", "aifS", "aifS" }, 1 },
    { "asym:1-2", 4, { "aSfS", "aSfS", "aSfS", "aSfS" }, 2 },
};

static void check_trace(const expected *want, const tlpi_trace *t, int rank,
                        size_t n_embd)
{
    char text[32];
    const char *serial = want->n_rank > 1 ? "aSfS" : "af";
    bool first = true;

    cr_expect_str_eq(spell(t, 0, text), serial, "%s, rank %d of %d: %s",
                     want->plan, rank, want->n_rank, text);
    cr_expect_str_eq(spell(t, 1, text), want->group[rank],
                     "%s, rank %d of %d: %s", want->plan, rank, want->n_rank,
                     text);
    for (int i = 0; i < t->n_act; i++) {
        const tlpi_act *a = &t->act[i];
        size_t n = n_embd;

        if (!tlpi_act_is_exchange(a))
            continue;
        if (a->stage == 1 && first)
            n *= (size_t)want->vectors;
        first = first && a->stage < 1;
        cr_expect_eq(a->exchange.n, n, "%s, rank %d of %d, act %d", want->plan,
                     rank, want->n_rank, i);
    }
}

Test(dry_run, traces_are_those_of_the_design)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (size_t i = 0; i < TLPI_COUNT(traces); i++) {
        tlpi_dry_run run = { 0 };
        tlp_plan *plan = NULL;

        CHECK_OK(tlp_plan_parse(&plan, m, traces[i].plan));
        CHECK_OK(tlpi_dry_run_create(&run, plan, traces[i].n_rank));
        for (int r = 0; r < run.n_rank; r++)
            check_trace(&traces[i], &run.rank[r], r, (size_t)spec.n_embd);
        tlpi_dry_run_free(&run);
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

/* Norms of rows of queries and keys, in models with norms of outputs: stage 1
 * by rank, and the floats of its first exchange: of squares, or of outputs. */
static const struct rows_case {
    const char *plan;
    int n_rank;
    const char *stage[4];
    size_t n;
} rows_cases[] = {
    { "serial", 1, { "af" }, 0 },
    { "serial", 2, { "aSaSfS", "aSaSfS" }, 2 },
    { "lp:1-2", 2, { "aSfS", "aSfS" }, 2 * 96 },
    { "lp:1-3", 2, { "aSaSfS", "aSaSfS" }, 3 * 2 },
    { "lp:1-2", 3, { "aSaSfS", "aSaSfS", "aSaSfS" }, 2 * 2 },
    { "merge:1-2", 2, { "aSaSfS", "aSaSfS" }, 2 },
    { "par:1-2", 2, { "afS", "afS" }, 96 },
    { "par:1-2", 3, { "aSaifiS", "aSaiifiiS", "aSaifiS" }, 2 * 2 },
    { "par:1-2", 4, { "aiaifiS", "aiaifiS", "aiaifiS", "aiaifiS" }, 2 },
    { "asym:1-2", 2, { "a>fS", "a<fS" }, 96 },
    { "asym:1-2", 4, { "aiaSfiS", "aiaSfiS", "aiaSfiS", "aiaSfiS" }, 2 },
    { "nosync:1a", 2, { "afS", "afS" }, 2 * 96 },
    /* its feed-forward part is recorded before the next exchange */
    { "nosync:1f", 2, { "aSaS", "aSaS" }, 2 },
    { "nosync:1a", 4, { "aiaifS", "aiaifS", "aiaifS", "aiaifS" }, 2 },
};

static void check_rows(const struct rows_case *want, const tlpi_trace *t,
                       int rank)
{
    char text[32];
    size_t n = 0;

    cr_expect_str_eq(spell(t, 1, text), want->stage[rank],
                     "%s, rank %d of %d: %s", want->plan, rank, want->n_rank,
                     text);
    for (int i = t->n_act - 1; i >= 0; i--)
        if (t->act[i].stage == 1 && tlpi_act_is_exchange(&t->act[i]))
            n = t->act[i].exchange.n;
    cr_expect_eq(n, want->n, "%s, rank %d of %d: %zu floats", want->plan, rank,
                 want->n_rank, n);
}

Test(dry_run, squares_of_rows_are_exchanged)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.arch = "olmo2";
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (size_t i = 0; i < TLPI_COUNT(rows_cases); i++) {
        tlpi_dry_run run = { 0 };
        tlp_plan *plan = NULL;

        CHECK_OK(tlp_plan_parse(&plan, m, rows_cases[i].plan));
        CHECK_OK(tlpi_dry_run_create(&run, plan, rows_cases[i].n_rank));
        for (int r = 0; r < run.n_rank; r++)
            check_rows(&rows_cases[i], &run.rank[r], r);
        tlpi_dry_run_free(&run);
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

static const char *const plans[] = { "serial",      "lp:1-2",    "lp-code:1-2",
                                     "par:1-2,3-4", "par:1-3",   "asym:1-2",
                                     "asym:0-2",    "merge:1-2", "drop:3" };

/* A step of 7 tokens and one of a single token, on rank 0. */
static void check_counters(const char *arch)
{
    tiny_spec spec = tiny_default();
    int32_t ids[7];

    spec.arch = arch;
    const char *path = tiny_make(&spec);

    for (size_t i = 0; i < TLPI_COUNT(plans); i++)
        for (int n_rank = 1; n_rank <= 4; n_rank++) {
            tlp_session_options o = rig_f32(n_rank, 1);
            rig r = rig_open(path, plans[i], &o);
            tlp_session_stats s = { .struct_size = sizeof s };
            tlpi_dry_run run = { 0 };
            uint64_t sums = 0, floats = 0;

            CHECK_OK(tlpi_dry_run_create(&run, r.plan, n_rank));
            for (int k = 0; k < run.rank[0].n_act; k++) {
                const tlpi_act *a = &run.rank[0].act[k];
                bool to_peers = tlpi_act_is_exchange(a) &&
                                a->exchange.kind != TLPI_COMM_RECV;
                sums += to_peers && a->exchange.kind == TLPI_COMM_SUM;
                floats += to_peers ? a->exchange.n : 0;
            }
            rig_tokens(ids, 7, r.n_vocab, 3);
            CHECK_OK(tlp_session_prefill(r.session, ids, 7));
            CHECK_OK(tlp_session_decode(r.session, 1));
            CHECK_OK(tlp_session_get_stats(&s, r.session));
            cr_expect_eq(s.allreduces, 2 * sums, "%s on %d: %d and 2 * %d",
                         plans[i], n_rank, (int)s.allreduces, (int)sums);
            cr_expect_eq(s.comm_bytes, (7 + 1) * floats * sizeof(float),
                         "%s on %d: bytes", plans[i], n_rank);
            tlpi_dry_run_free(&run);
            rig_close(&r);
        }
}

Test(dry_run, counters_of_a_session_are_those_of_the_dry_run)
{
    check_counters("llama");
    check_counters("olmo2");
}

typedef struct follower {
    const tlpi_trace *t;
    int at;
    bool on;
} follower;

static tlp_status follow(void *arg, const tlpi_comm_event *e)
{
    follower *f = arg;

    if (!f->on)
        return TLP_OK;
    while (f->at < f->t->n_act && f->t->act[f->at].kind != TLPI_ACT_EXCHANGE)
        f->at++;
    cr_assert_lt(f->at, f->t->n_act);
    const tlpi_comm_event *want = &f->t->act[f->at++].exchange;
    cr_assert(e->kind == want->kind && e->first == want->first &&
              e->count == want->count && e->n == want->n);
    return TLP_OK;
}

/* A trace is recorded stage by stage. */
Test(dry_run, a_whole_step_makes_the_calls_of_its_stages)
{
    tlpi_session_config cfg = { .n_ctx = 1, .n_seq = 1, .n_batch = 1 };
    tlp_model *m = fake_model(&shape, q8_0, 1);
    tlp_plan *plan = NULL;
    tlpi_dry_run run = { 0 };

    cfg.n_rank = 3;
    CHECK_OK(tlp_plan_parse(&plan, m, "par:0-1;asym:2-3"));
    CHECK_OK(tlpi_dry_run_create(&run, plan, 3));
    for (int r = 0; r < 3; r++) {
        follower f = { .t = &run.rank[r] };
        tlpi_dry_setup setup = { .plan = plan,
                                 .shards = run.shards,
                                 .cfg = &cfg,
                                 .rank = r,
                                 .see = follow,
                                 .arg = &f };
        tlpi_dry_rank dry;

        CHECK_OK(tlpi_dry_rank_create(&dry, &setup));
        tlpi_step step = tlpi_dry_rank_step(&dry);
        f.on = true;
        CHECK_OK(tlpi_forward(dry.rank, dry.rank->program, &step));
        cr_assert_eq(f.at, f.t->n_act, "rank %d: %d of %d", r, f.at,
                     f.t->n_act);
        tlpi_dry_rank_free(&dry);
    }
    tlpi_dry_run_free(&run);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== work =============================================================== */

static double work_of(const tlpi_trace *t, int *n_head, int *n_half)
{
    double bytes = t->head_bytes;

    *n_head = *n_half = 0;
    for (int i = 0; i < t->n_act; i++) {
        bytes += t->act[i].bytes;
        *n_head += t->act[i].n_head;
        *n_half += t->act[i].kind != TLPI_ACT_EXCHANGE;
    }
    return bytes;
}

/* A merged stage counts as one of its layers, in the file's types. */
Test(dry_run, work_is_the_bytes_of_the_shards)
{
    static const tlpi_dtype types[] = { TLPI_Q8_0, TLPI_F16, TLPI_Q4_1 };
    static const fake_shape odd = { 5, 96, 160, 6, 3, 16, 288 };
    tlp_model *m = fake_model(&odd, types, TLPI_COUNT(types));

    for (size_t i = 0; i < TLPI_COUNT(plans); i++)
        for (int n_rank = 1; n_rank <= 5; n_rank++) {
            tlp_plan *plan = NULL;
            tlpi_dry_run run = { 0 };
            int n_head = 0, sum = 0, n_half = 0;
            int layers =
                strstr(plans[i], "merge") || plans[i][0] == 'd' ? 4 : 5;

            CHECK_OK(tlp_plan_parse(&plan, m, plans[i]));
            CHECK_OK(tlpi_dry_run_create(&run, plan, n_rank));
            for (int r = 0; r < n_rank; r++) {
                double bytes = work_of(&run.rank[r], &n_head, &n_half);

                cr_expect_eq(bytes, (double)run.shards->rank_bytes[r],
                             "%s, rank %d of %d: %.1f", plans[i], r, n_rank,
                             bytes);
                cr_expect_leq(n_half, 2 * plan->n_stage);
                sum += n_head;
            }
            cr_expect_eq(sum, layers * 6, "%s on %d", plans[i], n_rank);
            tlpi_dry_run_free(&run);
            tlp_plan_free(plan);
        }
    tlp_model_free(m);
}

/* Two query heads on three ranks: one rank has no attention.  Its half of the
 * stage is no act, and does not count as the time of a half. */
Test(dry_run, a_rank_without_a_part_of_a_half_does_not_work)
{
    static const fake_shape few = { 2, 64, 96, 2, 2, 32, 256 };
    tlp_model *m = fake_model(&few, q8_0, 1);
    tlp_plan *plan = NULL;
    tlpi_dry_run run = { 0 };
    int n_attn = 0, n_ffn = 0;

    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlpi_dry_run_create(&run, plan, 3));
    for (int r = 0; r < 3; r++)
        for (int i = 0; i < run.rank[r].n_act; i++) {
            n_attn += run.rank[r].act[i].kind == TLPI_ACT_ATTN;
            n_ffn += run.rank[r].act[i].kind == TLPI_ACT_FFN;
        }
    cr_assert_eq(n_attn, 2 * 2);
    cr_assert_eq(n_ffn, 2 * 3);
    tlpi_dry_run_free(&run);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Corrections of rank 4, in F16, are multiplied too: a rank reads down and up
 * for attention's input, for feed-forward's and for the output. */
Test(dry_run, corrections_are_work)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *plan = NULL, *adjusted = NULL;
    tlpi_dry_run plain = { 0 }, more = { 0 };
    double matrix = 4.0 * spec.n_embd * 2; /* bytes */
    int n_head = 0, n_half = 0;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&plan, m, "par:1-2"));
    CHECK_OK(fitted_plan(&adjusted, plan, FITTED_ALL, 4, 1));
    CHECK_OK(tlpi_dry_run_create(&plain, plan, 2));
    CHECK_OK(tlpi_dry_run_create(&more, adjusted, 2));
    for (int r = 0; r < 2; r++) {
        double before = work_of(&plain.rank[r], &n_head, &n_half);
        double after = work_of(&more.rank[r], &n_head, &n_half);

        /* attn_in 2, ffn_in 2; out: down of the member's feed-forward part and
         * of its attention sum, up */
        cr_expect_eq(after - before, (2 + 2 + 2 + 1) * matrix,
                     "rank %d: %.0f bytes", r, after - before);
    }
    tlpi_dry_run_free(&plain);
    tlpi_dry_run_free(&more);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* tlp.h promises costs for up to 1024 ranks, more than sessions have. */
Test(dry_run, costs_of_many_ranks)
{
    static const char *const texts[] = { "serial", "par:0-1,2-3", "asym:0-3" };
    static const int sums[] = { 8, 2, 2 };
    tlp_model *m = fake_model(&shape, q8_0, 1);

    for (int i = 0; i < 3; i++) {
        tlp_plan_cost c = { .struct_size = sizeof c };
        tlp_plan *plan = NULL;

        CHECK_OK(tlp_plan_parse(&plan, m, texts[i]));
        CHECK_OK(tlp_plan_get_cost(&c, plan, 1024));
        cr_expect_eq(c.allreduces, sums[i], "%s: %d", texts[i], c.allreduces);
        cr_expect_eq(c.n_rank, 1024);
        CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(&c, plan, 1025));
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

/* ==== failures =========================================================== */

/* Any allocation may fail, and nothing is left behind. */
Test(dry_run, out_of_memory)
{
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    mem m = { 0 };
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_link l = { .struct_size = sizeof l,
                   .n_rank = 3,
                   .n_thread = 1,
                   .n_batch = 8,
                   .n_size = 2,
                   .size = { 1, 64 } };
    int n_failed = 0;

    mo.allocator = mem_hooks(&m);
    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2;asym:3-4"));
    (void)tlpi_model_fingerprint(model);

    long live = atomic_load(&m.live);
    for (long at = 1; at > 0; at++) {
        tlp_plan_cost cost = { .struct_size = sizeof cost };
        tlp_prediction p = { .struct_size = sizeof p };

        m.fail_at = atomic_load(&m.calls) + at;
        tlp_status a = tlp_plan_get_cost(&cost, plan, 3);
        m.fail_at = atomic_load(&m.calls) + at;
        tlp_status b = tlp_plan_predict(&p, plan, &l, 3, 1, 0);
        m.fail_at = 0;
        cr_assert(a == TLP_OK || a == TLP_ENOMEM, "%s", tlp_last_error());
        cr_assert(b == TLP_OK || b == TLP_ENOMEM, "%s", tlp_last_error());
        cr_assert_eq(atomic_load(&m.live), live, "allocation %ld", at);
        n_failed++;
        if (a == TLP_OK && b == TLP_OK)
            break;
    }
    cr_assert_gt(n_failed, 50, "only %d allocations failed", n_failed);
    tlp_plan_free(plan);
    tlp_model_free(model);
    cr_assert_eq(atomic_load(&m.live), 0);
}
