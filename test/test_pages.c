/*
 * test_pages.c - the pages of a session's cache: forks share them, sequences
 * give them back, windows free them, a budget limits them.
 */
#include <stdlib.h>
#include <string.h>

#include "support/counted.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(pages, .timeout = 240);

enum { PAGE = 256, N_CTX = 1400, N_SEQ = 4, WINDOW = 40 };

/* Layers of gemma3 see the latest 40 positions, all but every third. */
static const char *windowed(void)
{
    tiny_spec s = tiny_default();

    s.arch = "gemma3";
    s.window = WINDOW;
    return tiny_make(&s);
}

static const char *whole(void)
{
    tiny_spec s = tiny_default();

    return tiny_make(&s);
}

static tlp_session_options options(int n_rank)
{
    tlp_session_options o = rig_f32(n_rank, 1);

    o.n_ctx = N_CTX;
    o.n_seq = N_SEQ;
    o.n_batch = 64;
    return o;
}

static tlp_session_stats stats_of(const rig *r)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_session_get_stats(&s, r->session));
    return s;
}

/* Memory of the caches, in pages of models without windows. */
static double n_pages(const rig *r)
{
    tlp_session_stats s = stats_of(r);
    double all = N_SEQ * ((N_CTX + PAGE - 1) / PAGE);

    return (double)s.kv_bytes / ((double)s.kv_most_bytes / all);
}

static tlp_status extend(rig *r, int32_t seq, const int32_t *ids, int n)
{
    int32_t seqs[N_CTX];
    tlp_batch b = { sizeof b, (size_t)n, ids, seqs, NULL };

    for (int i = 0; i < n; i++)
        seqs[i] = seq;
    return tlp_session_eval(r->session, &b);
}

static void expect_row(rig *r, const float *want, const char *what)
{
    const float *row = NULL;

    CHECK_OK(tlp_session_logits(&row, r->session, 0));
    cr_assert_eq(memcmp(row, want, r->n_vocab * sizeof *row), 0,
                 "%s: other bits, off by %g", what,
                 rig_diff_f(row, want, r->n_vocab));
}

/* ==== sharing ============================================================ */

Test(pages, forks_share_them)
{
    tlp_session_options o = options(2);
    rig r = rig_open(whole(), "par:1-2", &o);
    int32_t ids[N_CTX];

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    cr_assert_eq(stats_of(&r).kv_bytes, 0);
    CHECK_OK(extend(&r, 0, ids, 600));
    cr_expect_eq(n_pages(&r), 3);
    for (int32_t i = 1; i < N_SEQ; i++)
        CHECK_OK(tlp_session_fork(r.session, i, 0));
    cr_expect_eq(n_pages(&r), 3);
    CHECK_OK(extend(&r, 1, ids, 1)); /* the last page is copied */
    cr_expect_eq(n_pages(&r), 4);
    CHECK_OK(extend(&r, 1, ids, 1));
    cr_expect_eq(n_pages(&r), 4);
    CHECK_OK(tlp_session_rewind(r.session, 2, 512)); /* whole pages */
    CHECK_OK(extend(&r, 2, ids, 1));
    cr_expect_eq(n_pages(&r), 5);
    CHECK_OK(tlp_session_clear(r.session, 0)); /* others have all of it */
    cr_expect_eq(n_pages(&r), 5);
    CHECK_OK(extend(&r, 3, ids, 1)); /* nobody else has its last page now */
    cr_expect_eq(n_pages(&r), 5);
    for (int32_t i = 0; i < N_SEQ; i++)
        CHECK_OK(tlp_session_clear(r.session, i));
    cr_expect_eq(stats_of(&r).kv_bytes, 0);
    rig_close(&r);
}

/* All sequences write to one page in one step: all but one copy it. */
Test(pages, one_writer_keeps_a_shared_page)
{
    tlp_session_options o = options(1);
    rig r = rig_open(whole(), "serial", &o);
    int32_t ids[N_CTX], seqs[N_SEQ] = { 2, 0, 3, 1 };
    tlp_batch b = { sizeof b, N_SEQ, ids, seqs, NULL };

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    CHECK_OK(extend(&r, 0, ids, 300));
    for (int32_t i = 1; i < N_SEQ; i++)
        CHECK_OK(tlp_session_fork(r.session, i, 0));
    CHECK_OK(tlp_session_eval(r.session, &b));
    cr_expect_eq(n_pages(&r), 1 + N_SEQ);
    rig_close(&r);
}

/* ==== memory ============================================================= */

Test(pages, memory_goes_back)
{
    tlp_session_options o = options(2);
    mem m = { 0 };
    rig r;
    int32_t ids[N_CTX];

    r = counted_open(&m, whole(), "par:1-2", &o);
    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    size_t before = counted_bytes(&r, &m);
    CHECK_OK(extend(&r, 0, ids, 600));
    size_t three = counted_bytes(&r, &m) - before;
    cr_expect_geq(three, stats_of(&r).kv_bytes);
    cr_expect_lt(three, stats_of(&r).kv_bytes + 4096);
    CHECK_OK(tlp_session_rewind(r.session, 0, 257));
    cr_expect_eq((counted_bytes(&r, &m) - before) * 3, three * 2);
    CHECK_OK(tlp_session_clear(r.session, 0));
    cr_expect_eq(counted_bytes(&r, &m), before);
    rig_close(&r);
}

/* A session that has all its memory allocates nothing in its calls. */
Test(pages, ahead_of_use)
{
    tlp_session_options o = options(2);
    mem m = { 0 };
    rig r;
    int32_t ids[N_CTX];

    o.kv_alloc = TLP_KV_AHEAD;
    r = counted_open(&m, whole(), "par:1-2", &o);
    cr_expect_eq(stats_of(&r).kv_bytes, stats_of(&r).kv_most_bytes);
    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    m.fail_at = 1;
    m.fail_after = true;
    CHECK_OK(extend(&r, 0, ids, N_CTX));
    for (int32_t i = 1; i < N_SEQ; i++) {
        CHECK_OK(tlp_session_fork(r.session, i, 0));
        CHECK_OK(tlp_session_rewind(r.session, i, 100 * i));
        CHECK_OK(extend(&r, i, ids, 900));
    }
    m.fail_at = 0;
    rig_close(&r);
}

/* Any allocation of any rank fails: nothing has changed on either rank, and the
 * next call succeeds with equal bits. */
Test(pages, out_of_memory)
{
    tlp_session_options o = options(2);
    mem m = { 0 };
    rig r, other;
    int32_t ids[N_CTX];
    long i = 1;

    r = counted_open(&m, windowed(), "par:1-2", &o);
    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    CHECK_OK(extend(&r, 0, ids, 250));
    CHECK_OK(tlp_session_fork(r.session, 1, 0));
    size_t before = counted_bytes(&r, &m);
    for (;; i++) { /* a copied page and two new ones, of either kind */
        m.fail_at = atomic_load(&m.calls) + i;
        tlp_status st = extend(&r, 1, ids + 250, 400);
        bool failed = atomic_load(&m.calls) >= m.fail_at;
        m.fail_at = 0;
        if (!failed)
            break;
        cr_assert_eq(st, TLP_ENOMEM, "allocation %ld: status %d", i, st);
        cr_assert(strstr(tlp_last_error(), "out of memory"), "%s",
                  tlp_last_error());
        cr_assert_eq(tlp_session_pos(r.session, 1), 250);
        cr_assert_eq(counted_bytes(&r, &m), before, "allocation %ld", i);
    }
    cr_assert_eq(i, 2 * 2 * 3 + 1); /* ranks, kinds, pages */
    other = rig_open(windowed(), "par:1-2", &o);
    CHECK_OK(extend(&other, 0, ids, 650));
    const float *want = NULL;
    CHECK_OK(tlp_session_logits(&want, other.session, 0));
    expect_row(&r, want, "after failures");
    rig_close(&other);
    rig_close(&r);
}

/* ==== a budget =========================================================== */

Test(pages, a_budget)
{
    tlp_session_options o = options(2);
    tlp_need need = { .struct_size = sizeof need };
    int32_t ids[N_CTX];
    float logprob[N_CTX];

    rig whole_size = rig_open(whole(), "par:1-2", &o);
    uint64_t page = stats_of(&whole_size).kv_most_bytes / (N_SEQ * 6);
    o.kv_bytes = 4 * page + page - 1;
    CHECK_OK(tlp_session_need(&need, whole_size.plan, &o, -1));
    cr_assert_eq(need.kv_bytes, 4 * page);
    rig_close(&whole_size);

    rig r = rig_open(whole(), "par:1-2", &o);
    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    cr_assert_eq(stats_of(&r).kv_most_bytes, 4 * page);
    CHECK_OK(extend(&r, 0, ids, 600));
    CHECK_OK(extend(&r, 1, ids, 256));
    uint64_t n_step = stats_of(&r).n_step;
    CHECK_FAILS(TLP_EFULL, extend(&r, 1, ids, 1));
    cr_assert_str_eq(tlp_last_error(),
                     "KV cache: 1 more pages of 256 positions "
                     "are needed, 0 of 4 are free");
    CHECK_FAILS(TLP_EFULL, extend(&r, 0, ids, 800));
    CHECK_FAILS(TLP_EFULL, tlp_session_score(logprob, r.session, 2, ids, 10));
    cr_assert_eq(stats_of(&r).n_step, n_step);
    cr_assert_eq(tlp_session_pos(r.session, 0), 600);
    CHECK_OK(extend(&r, 0, ids, 168)); /* to the end of its page */
    CHECK_OK(tlp_session_fork(r.session, 2, 0));
    CHECK_OK(tlp_session_rewind(r.session, 2, 700));
    CHECK_FAILS(TLP_EFULL, extend(&r, 2, ids, 1)); /* no page for a copy */
    CHECK_OK(tlp_session_clear(r.session, 1));
    CHECK_OK(extend(&r, 2, ids, 1));
    rig_close(&r);

    o.kv_bytes = page - 1;
    tlp_plan *plan = NULL;
    tlp_model *model = NULL;
    CHECK_OK(tlp_model_open(&model, whole(), NULL));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2"));
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(&r.session, plan, &o));
    cr_assert(strstr(tlp_last_error(), "a page of 256 positions takes"), "%s",
              tlp_last_error());
    tlp_plan_free(plan);
    tlp_model_free(model);
}

/* ==== windows ============================================================ */

/* Bytes of a cache with N_CTX positions, where windows free pages in steps of
 * n_batch. */
static uint64_t held(int n_batch, int n, uint64_t *most)
{
    tlp_session_options o = options(1);
    int32_t ids[N_CTX];

    o.n_batch = n_batch;
    o.n_seq = 1;
    rig r = rig_open(windowed(), "serial", &o);
    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    CHECK_OK(extend(&r, 0, ids, n));
    tlp_session_stats s = stats_of(&r);
    rig_close(&r);
    *most = s.kv_most_bytes;
    return s.kv_bytes;
}

/* Of 5 layers one, the third, sees all 6 pages; windows of 40 positions and
 * steps of 64 touch 2 pages at most. */
Test(pages, windows_free_them)
{
    uint64_t most, all, page = held(N_CTX, 1, &all) / 5;

    cr_assert_eq(all, 5 * 6 * page);
    cr_assert_eq(held(64, N_CTX, &most), (6 + 4) * page);
    cr_assert_eq(most, (6 + 4 * 2) * page);
    cr_assert_eq(held(64, 5 * PAGE + 50, &most), (6 + 4 * 2) * page);
}

/* Scoring evaluates the last token again.  Its window begins on a page that was
 * freed, the window of the next token does not. */
Test(pages, windows_of_scored_tokens)
{
    enum { FAR = PAGE + WINDOW + 64, BACK = PAGE + WINDOW - 1, N = 5 };
    tlp_session_options o = options(1);
    rig r = rig_open(windowed(), "serial", &o),
        fresh = rig_open(windowed(), "serial", &o);
    int32_t ids[N_CTX];
    float got[N], want[N];

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    CHECK_OK(extend(&fresh, 0, ids, BACK));
    CHECK_OK(tlp_session_score(want, fresh.session, 0, ids, N));
    CHECK_OK(extend(&r, 0, ids, FAR));
    CHECK_OK(tlp_session_rewind(r.session, 0, BACK));
    CHECK_OK(tlp_session_score(got, r.session, 0, ids, N));
    cr_assert_eq(memcmp(got, want, sizeof got), 0);
    rig_close(&r);
    rig_close(&fresh);
}

/* ==== anything, in any order ============================================= */

typedef struct tale {
    rig r, fresh;
    int32_t ids[N_SEQ][N_CTX];
    int n[N_SEQ];
    uint64_t state;
} tale;

static int draw(tale *t, int n)
{
    t->state = t->state * 6364136223846793005u + 1442695040888963407u;
    return (int)((t->state >> 33) % (uint64_t)n);
}

/* The last token's row is that of a session that evaluates all of it. */
static void expect_fresh(tale *t, int seq, const char *what)
{
    const float *want = NULL;

    CHECK_OK(tlp_session_clear(t->fresh.session, 0));
    CHECK_OK(extend(&t->fresh, 0, t->ids[seq], t->n[seq]));
    CHECK_OK(tlp_session_logits(&want, t->fresh.session, 0));
    expect_row(&t->r, want, what);
}

static void tell_extend(tale *t, int seq)
{
    int n = 1 + draw(t, draw(t, 2) ? 3 : 250);
    int32_t *at = t->ids[seq] + t->n[seq];

    if (t->n[seq] + n > N_CTX)
        return;
    for (int i = 0; i < n; i++)
        at[i] = draw(t, 288);
    CHECK_OK(extend(&t->r, seq, at, n));
    t->n[seq] += n;
    expect_fresh(t, seq, "extended");
}

static void tell_score(tale *t, int seq)
{
    float got[60], want[60];
    int32_t *at = t->ids[seq] + t->n[seq];
    int n = 1 + draw(t, 60);

    if (t->n[seq] + n > N_CTX)
        return;
    for (int i = 0; i < n; i++)
        at[i] = draw(t, 288);
    CHECK_OK(tlp_session_clear(t->fresh.session, 0));
    if (t->n[seq])
        CHECK_OK(extend(&t->fresh, 0, t->ids[seq], t->n[seq]));
    CHECK_OK(tlp_session_score(want, t->fresh.session, 0, at, (size_t)n));
    CHECK_OK(tlp_session_score(got, t->r.session, seq, at, (size_t)n));
    cr_assert_eq(memcmp(got, want, (size_t)n * sizeof *got), 0, "scored");
    t->n[seq] += n;
}

/* A token for each sequence, in one step. */
static void tell_step(tale *t)
{
    int32_t ids[N_SEQ], seqs[N_SEQ];
    tlp_batch b = { sizeof b, N_SEQ, ids, seqs, NULL };

    for (int i = 0; i < N_SEQ; i++) {
        if (t->n[i] == N_CTX)
            return;
        seqs[i] = i;
        ids[i] = t->ids[i][t->n[i]] = draw(t, 288);
    }
    CHECK_OK(tlp_session_eval(t->r.session, &b));
    for (int i = 0; i < N_SEQ; i++)
        t->n[i]++;
    expect_fresh(t, 0, "a step of all sequences");
}

static void tell(tale *t, int n_op)
{
    for (int i = 0; i < n_op; i++) {
        int seq = draw(t, N_SEQ), src = draw(t, N_SEQ), op = draw(t, 10);

        if (op < 4) {
            tell_extend(t, seq);
        } else if (op == 4) {
            tell_score(t, seq);
        } else if (op == 5) {
            tell_step(t);
        } else if (op < 8) {
            memcpy(t->ids[seq], t->ids[src], sizeof t->ids[seq]);
            t->n[seq] = t->n[src];
            CHECK_OK(tlp_session_fork(t->r.session, seq, src));
        } else {
            t->n[seq] = op == 8 ? draw(t, t->n[seq] + 1)
                                : t->n[seq] - draw(t, t->n[seq] / 8 + 1);
            CHECK_OK(tlp_session_rewind(t->r.session, seq, t->n[seq]));
        }
    }
    for (int i = 0; i < N_SEQ; i++)
        CHECK_OK(tlp_session_clear(t->r.session, i));
}

static void check_tale(const char *path, int n_rank, int kv_type, int kv_alloc,
                       uint64_t seed)
{
    static tale t;
    tlp_session_options o = options(n_rank);

    t = (tale){ .state = seed };
    o.kv_type = kv_type;
    o.kv_alloc = kv_alloc;
    t.r = rig_open(path, "par:1-2", &o);
    o.n_batch = N_CTX; /* nothing is freed */
    t.fresh = rig_open(path, "par:1-2", &o);
    tell(&t, 120 / CHECK_SLOWDOWN);
    if (kv_alloc != TLP_KV_AHEAD)
        cr_expect_eq(stats_of(&t.r).kv_bytes, 0);
    rig_close(&t.r);
    rig_close(&t.fresh);
}

Test(pages, any_order_of_calls)
{
    check_tale(windowed(), 1, TLP_KV_F32, TLP_KV_AS_USED, 1);
    check_tale(windowed(), 2, TLP_KV_F16, TLP_KV_AHEAD, 2);
    check_tale(windowed(), 2, TLP_KV_Q8_0, TLP_KV_AS_USED, 3);
    check_tale(whole(), 2, TLP_KV_BF16, TLP_KV_AS_USED, 4);
}
