/*
 * test_session.c - what a session reports and refuses: statistics, rows of
 * logits, scores, limits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(session, .timeout = 120);

static const char *model_path(void)
{
    tiny_spec s = tiny_default(); /* five layers */

    return tiny_make(&s);
}

static tlp_session_stats stats_of(const rig *r)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_session_get_stats(&s, r->session));
    return s;
}

/* ==== statistics ========================================================= */

/* Two ranks: counted from the equations, five layers. */
static const struct {
    const char *plan;
    int depth, allreduces, sends;
} costs[] = {
    { "serial", 5, 10, 0 },      { "lp:1-2", 4, 8, 0 },
    { "lp:0-1,2-3", 3, 6, 0 },   { "par:1-2", 4, 7, 0 },
    { "par:0-1,2-3", 3, 4, 0 },  { "asym:1-2", 4, 7, 1 },
    { "asym:0-1,3-4", 3, 4, 2 }, { "lp-code:1-2", 4, 8, 0 },
    { "merge:1-2", 4, 8, 0 },    { "drop:1,2", 3, 6, 0 },
};

Test(session, allreduces_of_two_ranks)
{
    const char *path = model_path();
    int32_t ids[16];

    for (int i = 0; i < COUNT(costs); i++) {
        tlp_session_options o = rig_f32(2, 1);
        tlp_plan_cost cost = { .struct_size = sizeof cost };
        rig r = rig_open(path, costs[i].plan, &o);
        uint64_t per_token = (uint64_t)costs[i].allreduces;

        CHECK_OK(tlp_plan_get_cost(&cost, r.plan, 2));
        cr_assert_eq(cost.effective_depth, costs[i].depth, "%s: depth %d",
                     costs[i].plan, cost.effective_depth);
        cr_assert_eq(cost.allreduces, costs[i].allreduces, "%s: %d all-reduces",
                     costs[i].plan, cost.allreduces);
        cr_assert_eq(cost.inner_allreduces, 0);
        cr_assert_eq(cost.sends, costs[i].sends, "%s: %d sends", costs[i].plan,
                     cost.sends);

        rig_tokens(ids, 16, r.n_vocab, 1);
        CHECK_OK(tlp_session_prefill(r.session, ids, 10));
        tlp_session_stats a = stats_of(&r);
        cr_assert_eq(a.allreduces, per_token, "%s: %llu in one step",
                     costs[i].plan, (unsigned long long)a.allreduces);
        for (int t = 0; t < 6; t++)
            CHECK_OK(tlp_session_decode(r.session, ids[t]));
        tlp_session_stats b = stats_of(&r);
        cr_assert_eq(b.allreduces - a.allreduces, 6 * per_token);
        cr_assert_eq(b.comm_bytes - a.comm_bytes, 6 * cost.comm_bytes,
                     "%s: %llu bytes, %llu a token expected", costs[i].plan,
                     (unsigned long long)(b.comm_bytes - a.comm_bytes),
                     (unsigned long long)cost.comm_bytes);
        cr_assert(b.comm_seconds > 0 && b.comm_seconds <= b.seconds);
        rig_close(&r);
    }
}

/* On three ranks a pair leaves a member on two ranks, on four both. */
Test(session, allreduces_inside_members)
{
    const char *path = model_path();
    int32_t ids[4];

    for (int ranks = 1; ranks <= 4; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        tlp_plan_cost cost = { .struct_size = sizeof cost };
        rig r = rig_open(path, "par:1-2,3-4", &o);

        CHECK_OK(tlp_plan_get_cost(&cost, r.plan, ranks));
        cr_assert_eq(cost.n_rank, ranks);
        cr_assert_eq(cost.allreduces, ranks == 1 ? 0 : 4);
        if (ranks < 3)
            cr_assert_eq(cost.inner_allreduces, 0);
        else
            cr_assert_geq(cost.inner_allreduces, 2);
        rig_tokens(ids, 4, r.n_vocab, 1);
        for (int t = 0; t < 4; t++)
            CHECK_OK(tlp_session_decode(r.session, ids[t]));
        tlp_session_stats s = stats_of(&r);
        /* rank 0 need not be inside any of the spans */
        uint64_t outer = 4 * (uint64_t)cost.allreduces;
        cr_assert(s.allreduces >= outer &&
                      s.allreduces <=
                          outer + 4 * (uint64_t)cost.inner_allreduces,
                  "%d ranks: %llu", ranks, (unsigned long long)s.allreduces);
        rig_close(&r);
    }
}

Test(session, counts_tokens)
{
    tlp_session_options o = rig_f32(1, 2);
    int32_t ids[12], seqs[4] = { 0, 1, 2, 1 };
    float lp[12];

    o.n_seq = 3;
    o.n_batch = 5;
    rig r = rig_open(model_path(), "serial", &o);
    rig_tokens(ids, 12, r.n_vocab, 1);
    CHECK_OK(tlp_session_prefill(r.session, ids, 12));
    tlp_session_stats s = stats_of(&r);
    cr_assert_eq(s.n_prefill, 12);
    cr_assert_eq(s.n_decode, 0);
    cr_assert_eq(s.n_step, 3); /* 5 + 5 + 2 */
    cr_assert_eq(s.n_rank, 1);
    cr_assert_eq(s.n_thread, 2);
    cr_assert_eq(s.allreduces, 0);
    cr_assert(s.seconds > 0 && s.kv_bytes > 0 && s.buffer_bytes > 0);
    int best = TLP_ISA_AMX;
    while (!rig_has_isa(best))
        best--;
    cr_assert_str_eq(s.isa, rig_isa_name(best));
    CHECK_OK(tlp_session_decode(r.session, ids[0]));
    tlp_batch b = { sizeof b, 3, ids, seqs, NULL };
    CHECK_OK(tlp_session_eval(r.session, &b)); /* one for each sequence */
    s = stats_of(&r);
    cr_assert_eq(s.n_prefill, 12);
    cr_assert_eq(s.n_decode, 4);
    cr_assert_eq(s.n_step, 5);
    b.n = 4; /* two of sequence 1 */
    CHECK_OK(tlp_session_eval(r.session, &b));
    s = stats_of(&r);
    cr_assert_eq(s.n_prefill + s.n_decode, 20);
    CHECK_OK(tlp_session_score(lp, r.session, 2, ids, 4));
    s = stats_of(&r);
    cr_assert_eq(s.n_prefill + s.n_decode, 24);

    uint64_t kv = s.kv_bytes;
    tlp_session_reset_stats(r.session);
    s = stats_of(&r);
    cr_assert_eq(s.n_prefill + s.n_decode + s.n_step + s.allreduces, 0);
    cr_assert(s.seconds == 0 && s.comm_seconds == 0 && s.comm_bytes == 0);
    cr_assert_eq(s.kv_bytes, kv);
    rig_close(&r);
}

/* 5 layers x 2 (K, V) x kv heads x 16 x positions x bytes; room for alignment.
 * 6 query heads on two ranks split in the middle of a kv head's, which both
 * then hold. */
Test(session, cache_size)
{
    static const unsigned n_kv[] = { 0, 3, 4, 3 };

    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        uint64_t need = 5 * 2 * n_kv[ranks] * 16 * 64 * 2 * sizeof(float);

        o.n_seq = 2;
        rig r = rig_open(model_path(), "serial", &o);
        tlp_session_stats s = stats_of(&r);
        cr_assert(s.kv_most_bytes >= need && s.kv_most_bytes <= need + need / 8,
                  "%d ranks: %llu bytes, %llu expected", ranks,
                  (unsigned long long)s.kv_most_bytes,
                  (unsigned long long)need);
        rig_close(&r);
    }
}

/* ==== rows of logits ===================================================== */

/* Rows of logits are held twice, where they are made and collected; there is
 * room for 32 and for 1 (one sequence) from the beginning. */
Test(session, buffers_grow_by_the_rows_kept)
{
    for (int ranks = 1; ranks <= 2; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        rig r = rig_open(model_path(), "par:1-2", &o);
        uint64_t before = stats_of(&r).buffer_bytes;
        int32_t ids[50];

        rig_tokens(ids, 50, r.n_vocab, 1);
        free(rig_eval(&r, 0, ids, 50));
        cr_assert_eq(stats_of(&r).buffer_bytes - before,
                     (50 - 32 + 50 - 1) * r.n_vocab * sizeof(float));
        rig_close(&r);
    }
}

Test(session, wanted_rows_come_in_batch_order)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        int32_t ids[6], seqs[6] = { 1, 0, 0, 1, 0, 1 };
        uint8_t want[6] = { 0, 1, 0, 1, 0, 0 };
        const float *row = NULL;

        o.n_seq = 2;
        rig r = rig_open(model_path(), "par:1-2", &o);
        rig_tokens(ids, 6, r.n_vocab, 3);
        tlp_batch b = { sizeof b, 6, ids, seqs, NULL };
        tlp_batch all = b;
        uint8_t ones[6] = { 1, 1, 1, 1, 1, 1 };
        all.want_logits = ones;
        CHECK_OK(tlp_session_eval(r.session, &all));
        float *full = rig_logits(&r, NULL);
        static const int picked[3][2] = { { 1, 3 }, { 4, 5 }, { -1, -1 } };
        for (int i = 0; i < 3; i++) {
            CHECK_OK(tlp_session_clear(r.session, 0));
            CHECK_OK(tlp_session_clear(r.session, 1));
            b.want_logits = i == 0 ? want : NULL; /* NULL: the last of each */
            if (i == 2)
                b.want_logits = memset(want, 0, sizeof want);
            CHECK_OK(tlp_session_eval(r.session, &b));
            size_t n = tlp_session_n_logits(r.session);
            cr_assert_eq(n, i == 2 ? 0 : 2, "case %d: %zu rows", i, n);
            for (size_t j = 0; j < n; j++) {
                CHECK_OK(tlp_session_logits(&row, r.session, j));
                double d = rig_diff_f(
                    row, full + (size_t)picked[i][j] * r.n_vocab, r.n_vocab);
                cr_assert(d < 1e-5, "case %d, row %zu: off by %g", i, j, d);
            }
            if (n)
                CHECK_FAILS(TLP_EINVAL, tlp_session_logits(&row, r.session, n));
            else
                CHECK_FAILS(TLP_ESTATE, tlp_session_logits(&row, r.session, 0));
            cr_assert_null(row);
        }
        free(full);
        rig_close(&r);
    }
}

/* ==== scores ============================================================= */

static double log_softmax(const float *row, size_t n, int32_t id)
{
    double best = -INFINITY, sum = 0;

    for (size_t i = 0; i < n; i++)
        best = fmax(best, (double)row[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)row[i] - best);
    return (double)row[id] - best - log(sum);
}

Test(session, scores_are_log_softmax)
{
    static const char *const plans[] = { "serial", "par:1-2,3-4", "lp:0-2" };
    const char *path = model_path();

    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        int32_t ids[40];
        float got[40], parts[40];

        o.n_seq = 2;
        o.n_batch = 16;
        rig r = rig_open(path, plans[ranks - 1], &o);
        rig_tokens(ids, 40, r.n_vocab, 4);
        float *rows = rig_eval(&r, 0, ids, 40);
        CHECK_OK(tlp_session_score(got, r.session, 1, ids, 40));
        cr_assert_eq(tlp_session_pos(r.session, 1), 40);
        cr_assert_eq(tlp_session_pos(r.session, 0), 40);
        cr_assert_eq(tlp_session_n_logits(r.session), 0);
        cr_assert(got[0] == 0, "the first token has score %g", (double)got[0]);
        for (int t = 1; t < 40; t++) {
            double want = log_softmax(rows + (size_t)(t - 1) * r.n_vocab,
                                      r.n_vocab, ids[t]);

            cr_assert_float_eq((double)got[t], want, 1e-4,
                               "%d ranks, token %d: %g, %g expected", ranks, t,
                               (double)got[t], want);
        }
        /* in pieces: the first token of a piece has something before it */
        CHECK_OK(tlp_session_clear(r.session, 1));
        for (size_t at = 0; at < 40; at += 10)
            CHECK_OK(tlp_session_score(parts + at, r.session, 1, ids + at, 10));
        for (int t = 0; t < 40; t++)
            cr_assert_float_eq((double)parts[t], (double)got[t], 1e-4,
                               "%d ranks, piece token %d: %g, %g expected",
                               ranks, t, (double)parts[t], (double)got[t]);
        free(rows);
        rig_close(&r);
    }
}

/* Scoring leaves the sequence as evaluating does, and the others alone. */
Test(session, decode_after_score)
{
    tlp_session_options o = rig_f32(2, 1);
    int32_t ids[10];
    float lp[10];
    const float *row = NULL;

    o.n_seq = 2;
    rig r = rig_open(model_path(), "par:1-2", &o);
    rig_tokens(ids, 10, r.n_vocab, 4);
    float *rows = rig_eval(&r, 1, ids, 10);
    CHECK_OK(tlp_session_score(lp, r.session, 0, ids, 9));
    CHECK_OK(tlp_session_decode(r.session, ids[9]));
    CHECK_OK(tlp_session_logits(&row, r.session, 0));
    cr_assert(rig_diff_f(row, rows + 9 * r.n_vocab, r.n_vocab) < 1e-4);
    free(rows);
    rig_close(&r);
}

/* ==== what is refused changes nothing ==================================== */

typedef struct snapshot {
    float *rows;
    size_t n_row;
    int32_t pos[2];
    uint64_t n_step;
} snapshot;

static snapshot take(rig *r)
{
    snapshot s = { 0 };

    s.rows = rig_logits(r, &s.n_row);
    s.pos[0] = tlp_session_pos(r->session, 0);
    s.pos[1] = tlp_session_pos(r->session, 1);
    s.n_step = stats_of(r).n_step;
    return s;
}

static void expect_unchanged(rig *r, const snapshot *s)
{
    snapshot now = take(r);

    cr_assert_eq(now.n_row, s->n_row);
    cr_assert_eq(
        memcmp(now.rows, s->rows, s->n_row * r->n_vocab * sizeof *s->rows), 0);
    cr_assert_eq(now.pos[0], s->pos[0]);
    cr_assert_eq(now.pos[1], s->pos[1]);
    cr_assert_eq(now.n_step, s->n_step);
    free(now.rows);
}

static void refused(int ranks)
{
    tlp_session_options o = rig_f32(ranks, 1);
    int32_t ids[80], bad[3] = { 1, -1, 2 }, seqs[4] = { 0, 1, 2, 0 };
    int32_t many[50];
    float lp[80];

    o.n_seq = 2;
    o.n_batch = 8;
    rig r = rig_open(model_path(), "par:1-2,3-4", &o);
    rig_tokens(ids, 80, r.n_vocab, 4);
    CHECK_OK(tlp_session_prefill(r.session, ids, 40));
    snapshot s = take(&r);

    /* 64 positions: 40 are held */
    CHECK_FAILS(TLP_EFULL, tlp_session_prefill(r.session, ids, 25));
    CHECK_FAILS(TLP_EFULL, tlp_session_score(lp, r.session, 0, ids, 25));
    CHECK_FAILS(TLP_EFULL, tlp_session_score(lp, r.session, 1, ids, 65));
    expect_unchanged(&r, &s);
    CHECK_FAILS(TLP_EINVAL, tlp_session_prefill(r.session, bad, 3));
    CHECK_FAILS(TLP_EINVAL, tlp_session_decode(r.session, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_decode(r.session, (int32_t)r.n_vocab));
    CHECK_FAILS(TLP_EINVAL, tlp_session_decode(r.session, INT32_MAX));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(lp, r.session, 0, bad, 3));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(lp, r.session, 2, ids, 3));
    expect_unchanged(&r, &s);

    tlp_batch b = { sizeof b, 4, ids, seqs, NULL };
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(r.session, &b)); /* seq 2 */
    for (int i = 0; i < 50; i++) /* 25 each: fits in 1, not in 0 */
        many[i] = i % 2;
    b = (tlp_batch){ sizeof b, 50, ids, many, NULL };
    CHECK_FAILS(TLP_EFULL, tlp_session_eval(r.session, &b));
    b.n = 20;
    many[19] = -1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(r.session, &b));
    expect_unchanged(&r, &s);

    CHECK_FAILS(TLP_EINVAL, tlp_session_rewind(r.session, 0, 41));
    CHECK_FAILS(TLP_EINVAL, tlp_session_rewind(r.session, 0, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_rewind(r.session, 2, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_fork(r.session, 0, 2));
    CHECK_FAILS(TLP_EINVAL, tlp_session_fork(r.session, -1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_clear(r.session, -1));
    cr_assert_eq(tlp_session_pos(r.session, 2), -1);
    cr_assert_eq(tlp_session_pos(r.session, -1), -1);
    expect_unchanged(&r, &s);

    /* and it still gives what it should */
    CHECK_OK(tlp_session_prefill(r.session, ids + 40, 24));
    cr_assert_eq(tlp_session_pos(r.session, 0), 64);
    CHECK_FAILS(TLP_EFULL, tlp_session_decode(r.session, ids[0]));
    float *got = rig_logits(&r, NULL);
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_prefill(r.session, ids, 40));
    CHECK_OK(tlp_session_prefill(r.session, ids + 40, 24));
    float *want = rig_logits(&r, NULL);
    cr_assert_eq(memcmp(got, want, r.n_vocab * sizeof *got), 0);
    free(got);
    free(want);
    free(s.rows);
    rig_close(&r);
}

Test(session, refused_calls_change_nothing)
{
    refused(1);
}
Test(session, refused_calls_change_nothing_on_ranks)
{
    refused(3);
}

/* Defaults: the model's own context length, one sequence, one rank. */
Test(session, defaults)
{
    tiny_spec spec = tiny_default();
    rig r = rig_open(tiny_make(&spec), "serial", NULL);
    tlp_session_stats s = stats_of(&r);

    cr_assert_eq(s.n_rank, 1);
    cr_assert_geq(s.n_thread, 1);
    cr_assert_eq(tlp_session_pos(r.session, 0), 0);
    cr_assert_eq(tlp_session_pos(r.session, 1), -1);
    int32_t *ids = malloc((size_t)(spec.n_ctx + 1) * sizeof *ids);
    rig_tokens(ids, spec.n_ctx + 1, r.n_vocab, 1);
    CHECK_FAILS(TLP_EFULL,
                tlp_session_prefill(r.session, ids, (size_t)spec.n_ctx + 1));
    CHECK_OK(tlp_session_prefill(r.session, ids, (size_t)spec.n_ctx));
    free(ids);
    rig_close(&r);
}
