/*
 * test_plan_adjust.c - tlp_plan_adjust from end to end on small models: a model
 * whose adjustments are known, text that it has not seen, refusals.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/adjust.h"
#include "support/mem.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_eval.h"

enum { N_CTX = 32, N_TOKEN = 1024, N_UNSEEN = 256 };

static int32_t ids[N_TOKEN];

TestSuite(plan_adjust, .timeout = 300);

/* Where the options that a test makes point. */
static tlp_session_options session;

static tlp_plan_adjust_options options(int gains, int norms, int rank)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;

    o.gains = gains;
    o.norms = norms;
    o.rank = rank;
    session = plan_rig_session(N_CTX);
    o.session = &session;
    return o;
}

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, text));
    return plan;
}

/* Weights can be changed in place where the file was read, not mapped. */
static tlp_model *open_spec(const tiny_spec *spec)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    o.no_mmap = 1;
    CHECK_OK(tlp_model_open(&m, tiny_make(spec), &o));
    rig_tokens(ids, N_TOKEN, (size_t)spec->n_vocab, 5);
    return m;
}

static tlp_model *open_tiny(uint64_t seed)
{
    tiny_spec spec = tiny_default();

    spec.seed = seed;
    return open_spec(&spec);
}

/* Elements [row][col] from r0 and c0 on, times by. */
static void scale(const tlpi_tensor *t, int64_t r0, int64_t c0, float by)
{
    float *x = (float *)t->data;

    cr_assert_eq(t->type, TLPI_F32);
    for (int64_t r = r0; r < t->ne[1]; r++)
        for (int64_t c = c0; c < t->ne[0]; c++)
            x[r * t->ne[0] + c] *= by;
}

/* ==== KL by sessions ===================================================== */

/* Logits of windows of n tokens; free() them. */
static float *logits(tlp_plan *plan, const int32_t *tokens, int n)
{
    size_t v = (size_t)plan->model->hp.n_vocab;
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *s = NULL;
    float *all = malloc((size_t)n * v * sizeof *all), *to = all;
    uint8_t want[N_CTX];

    CHECK_OK(tlp_session_create(&s, plan, &o));
    memset(want, 1, sizeof want);
    for (int at = 0; at < n; at += N_CTX) {
        tlp_batch b = TLP_BATCH_INIT;

        b.n = N_CTX;
        b.tokens = tokens + at;
        b.want_logits = want;
        CHECK_OK(tlp_session_clear(s, 0));
        CHECK_OK(tlp_session_eval(s, &b));
        for (size_t i = 0; i < N_CTX; i++, to += v) {
            const float *row;

            CHECK_OK(tlp_session_logits(&row, s, i));
            memcpy(to, row, v * sizeof *to);
        }
    }
    tlp_session_free(s);
    return all;
}

/* Mean over the predictions of windows of n tokens. */
static double kl_of(tlp_plan *plan, const int32_t *tokens, int n)
{
    tlp_plan *serial = parse(plan->model, "serial");
    size_t v = (size_t)plan->model->hp.n_vocab;
    float *want = logits(serial, tokens, n), *mine = logits(plan, tokens, n);
    double sum = 0;
    int count = 0;

    for (int i = 0; i < n; i++) {
        tlp_divergence d = { .struct_size = sizeof d };
        size_t at = (size_t)i * v;

        if (i % N_CTX == N_CTX - 1)
            continue;
        CHECK_OK(tlp_logits_compare(&d, want + at, mine + at, v));
        sum += d.kl;
        count++;
    }
    free(want);
    free(mine);
    tlp_plan_free(serial);
    return sum / count;
}

static double unseen_kl(tlp_plan *plan)
{
    int32_t unseen[N_UNSEEN];

    rig_tokens(unseen, N_UNSEEN, (size_t)plan->model->hp.n_vocab, 77);
    return kl_of(plan, unseen, N_UNSEEN);
}

/* ==== a known solution =================================================== */

enum { LIVE = 8 }; /* columns that embeddings have */

/*
 * Embeddings are +-1 in the first columns and 0 in the others, to which layer 0
 * adds a constant: its attention's value is its bias.  Layer 1 reads the first
 * columns alone, and its attention is a plain mean.  What it misses when it
 * does not run behind layer 0 is then how the constant shrinks its normalised
 * input: by one factor, for all tokens.
 */
static tlp_model *open_known(double *factor)
{
    tiny_spec spec = tiny_default();

    spec.arch = "qwen2";
    spec.n_layer = 3;
    tlp_model *m = open_spec(&spec);
    const tlpi_layer *l = m->w.layer;
    float *embd = (float *)m->w.t[TLPI_TOKEN_EMBD]->data;
    int d = spec.n_embd, n_cols = spec.n_head * spec.head_dim;
    int group = spec.n_head / spec.n_head_kv * spec.head_dim;
    const float *wo = l[0].t[TLPI_ATTN_OUTPUT]->data,
                *bias = l[0].t[TLPI_ATTN_V_BIAS]->data;
    double square = 0;

    for (int i = 0; i < spec.n_vocab * d; i++)
        embd[i] = i % d < LIVE ? copysignf(1, embd[i]) : 0;
    scale(l[0].t[TLPI_ATTN_V], 0, 0, 0);
    for (int i = 0; i < LIVE * n_cols; i++)
        ((float *)l[0].t[TLPI_ATTN_OUTPUT]->data)[i] = 0;
    for (int i = LIVE; i < d; i++) {
        double sum = 0;

        for (int j = 0; j < n_cols; j++) {
            int kv = j / group * spec.head_dim + j % spec.head_dim;
            sum += (double)wo[i * n_cols + j] * (double)bias[kv];
        }
        square += sum * sum;
    }
    scale(l[1].t[TLPI_ATTN_NORM], 0, LIVE, 0);
    scale(l[1].t[TLPI_ATTN_Q], 0, 0, 0);
    scale(l[1].t[TLPI_ATTN_K], 0, 0, 0);
    scale(l[1].t[TLPI_ATTN_Q_BIAS], 0, 0, 0);
    scale(l[1].t[TLPI_ATTN_K_BIAS], 0, 0, 0);
    scale(l[1].t[TLPI_ATTN_V_BIAS], 0, 0, 0);
    scale(l[0].t[TLPI_FFN_DOWN], 0, 0, 0);
    scale(l[1].t[TLPI_FFN_DOWN], 0, 0, 0);
    *factor = sqrt(LIVE / (LIVE + square));
    return m;
}

typedef struct known_case {
    const char *plan;
    int gains, norms, rank;
} known_case;

/* lp has one gain for the attention of all members, which is not enough. */
static const known_case known[] = {
    { "par:0-1", 1, 0, 0 },    { "asym:0-1", 1, 0, 0 },
    { "par:0-1", 0, 1, 0 },    { "lp:0-1", 0, 1, 0 },
    { "asym:0-1", 0, 1, 0 },   { "par:0-1", 0, 0, 8 },
    { "lp:0-1", 0, 0, 8 },     { "asym:0-1", 0, 0, 32 },
    { "par:0-1", 1, 1, 32 },   { "nosync@2:0", 0, 1, 0 },
    { "nosync@2:0", 0, 0, 8 }, { "nosync@3:0", 1, 1, 32 },
};

static void check_known(const known_case *k, tlp_plan *adjusted, double factor)
{
    const tlpi_member_adjust *m = &adjusted->adjust->stage[0].member[1];
    const float *norm = adjusted->model->w.layer[1].t[TLPI_ATTN_NORM]->data;
    double within = 2e-3 * (1 - factor);

    if (adjusted->n_track) /* each track has a factor of its own */
        return;
    if (k->rank == 0 && k->gains)
        cr_expect_float_eq((double)m->attn_gain, factor, within, "%s: %g %g",
                           k->plan, (double)m->attn_gain, factor);
    for (int j = 0; k->norms && j < LIVE; j++) {
        double found = (double)((const float *)m->attn_norm->data)[j];
        cr_expect_float_eq(found / (double)norm[j], factor, within,
                           "%s: column %d: %g of %g", k->plan, j, found,
                           (double)norm[j]);
    }
    if (k->norms) /* nothing is left to correct */
        cr_expect_eq(m->attn_gain, 1);
}

Test(plan_adjust, known_solutions_are_recovered)
{
    double factor;
    tlp_model *m = open_known(&factor);

    cr_assert_lt(factor, 0.9, "%g", factor);
    for (size_t i = 0; i < TLPI_COUNT(known); i++) {
        const known_case *k = &known[i];
        tlp_plan_adjust_options o = options(k->gains, k->norms, k->rank);
        tlp_plan_adjust_report r = { .struct_size = sizeof r };
        tlp_plan *plan = parse(m, k->plan), *adjusted = NULL;

        CHECK_OK(tlp_plan_adjust(&adjusted, &r, plan, ids, N_TOKEN, &o));
        cr_expect_lt(r.kl_after, 1e-4 * r.kl_before, "%s: %g of %g", k->plan,
                     r.kl_after, r.kl_before);
        double before = unseen_kl(plan), after = unseen_kl(adjusted);
        cr_expect_gt(before, 1e-4);
        cr_expect_lt(after, 1e-4 * before, "%s: %g of %g", k->plan, after,
                     before);
        check_known(k, adjusted, factor);
        tlp_plan_free(adjusted);
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

/* ==== any model ========================================================== */

static const char *const plans[] = { "par:1-2", "asym:1-3", "lp:1-2,3-4",
                                     "par:0-3" };

static void check_report(const tlp_plan_adjust_report *r, tlp_plan *adjusted)
{
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_plan_get_adjust(&info, adjusted));
    cr_expect_eq(r->n_gain, info.n_gain);
    cr_expect_eq(r->n_norm, info.n_norm);
    cr_expect_eq(r->n_low_rank, info.n_low_rank);
    cr_expect_eq(r->n_bytes, info.n_bytes);
    cr_expect_eq(r->n_window, N_TOKEN / N_CTX);
    cr_expect_eq(r->n_held_out, N_TOKEN / N_CTX / 4);
    cr_expect_lt(r->kl_after, r->kl_before);
}

/* Adjusted plans are nearer to the serial model on text that they were not
 * fitted to. */
static void check_unseen(tlp_model *m, const char *text, const int kind[3])
{
    tlp_plan_adjust_options o = options(kind[0], kind[1], kind[2]);
    tlp_plan_adjust_report r = { .struct_size = sizeof r };
    tlp_plan *plan = parse(m, text), *adjusted = NULL;

    CHECK_OK(tlp_plan_adjust(&adjusted, &r, plan, ids, N_TOKEN, &o));
    check_report(&r, adjusted);
    cr_expect(kind[0] || r.n_gain == 0);
    cr_expect(kind[1] || r.n_norm == 0);
    cr_expect(kind[2] || r.n_low_rank == 0);
    double before = unseen_kl(plan), after = unseen_kl(adjusted);
    cr_expect_lt(after, before,
                 "%s, gains %d, norms %d, rank %d: %g, %g "
                 "before",
                 text, kind[0], kind[1], kind[2], after, before);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
}

Test(plan_adjust, unseen_text)
{
    static const int kinds[][3] = {
        { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 8 }, { 1, 1, 16 }
    };
    tlp_model *m = open_tiny(4);

    size_t first = CHECK_SLOWDOWN > 1 ? TLPI_COUNT(kinds) - 1 : 0;

    for (size_t i = 0; i < TLPI_COUNT(plans); i++)
        for (size_t k = first; k < TLPI_COUNT(kinds); k++)
            check_unseen(m, plans[i], kinds[k]);
    tlp_model_free(m);
}

/* Tracks have no gains to fit. */
Test(plan_adjust, unseen_text_of_tracks)
{
    static const char *const tracks[] = { "nosync@2:1a", "nosync@2:1,2,3a",
                                          "nosync@3:0f;par:2-3" };
    static const int kinds[][3] = { { 0, 0, 8 }, { 0, 1, 96 } };
    tlp_model *m = open_tiny(4);

    for (size_t i = 0; i < TLPI_COUNT(tracks); i++)
        for (size_t k = 0; k < TLPI_COUNT(kinds); k++)
            check_unseen(m, tracks[i], kinds[k]);
    tlp_model_free(m);
}

/* Of two windows one is held out; the report tells its numbers. */
Test(plan_adjust, report_equals_sessions)
{
    tlp_model *m = open_tiny(9);
    tlp_plan_adjust_options o = options(0, 0, 8);
    tlp_plan_adjust_report r = { .struct_size = sizeof r };
    tlp_plan *plan = parse(m, "lp:1-2"), *adjusted = NULL;
    double kl[2] = { kl_of(plan, ids, N_CTX), kl_of(plan, ids + N_CTX, N_CTX) };

    tlp_status st = tlp_plan_adjust(&adjusted, &r, plan, ids, 2 * N_CTX, &o);
    cr_assert(st == TLP_OK || st == TLP_ENOGAIN, "%s", tlp_last_error());
    cr_expect_eq(r.n_window, 2);
    cr_expect_eq(r.n_held_out, 1);
    double off = fmin(fabs(r.kl_before - kl[0]), fabs(r.kl_before - kl[1]));
    cr_expect_lt(off, 1e-6 * r.kl_before, "%g, %g or %g by sessions",
                 r.kl_before, kl[0], kl[1]);
    cr_expect_gt(r.ppl_before, 1);
    cr_expect(r.top1_before >= 0 && r.top1_before <= 1);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void hash_of(tlp_plan *plan, const tlp_plan_adjust_options *o,
                    char out[80])
{
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    tlp_plan *adjusted = NULL;

    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, plan, ids, N_TOKEN, o));
    CHECK_OK(tlp_plan_get_adjust(&info, adjusted));
    strcpy(out, info.sha256);
    tlp_plan_free(adjusted);
}

Test(plan_adjust, same_bits)
{
    tlp_model *m = open_tiny(4);
    tlp_plan *plan = parse(m, "par:1-3");
    tlp_plan_adjust_options o = options(1, 1, 8);
    char first[80], other[80];

    hash_of(plan, &o, first);
    for (session.n_thread = 1; session.n_thread <= 3; session.n_thread++) {
        hash_of(plan, &o, other);
        cr_expect_str_eq(other, first, "%d threads", session.n_thread);
    }
    o.seed = 1;
    hash_of(plan, &o, other);
    cr_expect_str_neq(other, first, "other windows are held out");
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Layers left out, short windows at the end, stages that stay as they are. */
Test(plan_adjust, other_stages)
{
    static const char *const text[] = { "drop:0,4;par:1-2", "merge:0-1;lp:2-3",
                                        "lp-code:0-1;asym:2-4" };
    tlp_model *m = open_tiny(4);
    tlp_plan_adjust_options o = options(1, 1, 8);

    for (size_t i = 0; i < TLPI_COUNT(text); i++) {
        tlp_plan *plan = parse(m, text[i]), *adjusted = NULL;
        tlp_plan_adjust_report r = { .struct_size = sizeof r };

        CHECK_OK(tlp_plan_adjust(&adjusted, &r, plan, ids, N_TOKEN - 9, &o));
        cr_expect_eq(r.n_window, N_TOKEN / N_CTX);
        cr_expect_lt(unseen_kl(adjusted), unseen_kl(plan), "%s", text[i]);
        tlp_plan_free(adjusted);
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

/* ==== refusals =========================================================== */

/* The second member does nothing: the group is the serial model already. */
Test(plan_adjust, nothing_helps)
{
    static const char *const text[] = { "par:1-2", "asym:1-2", "lp:1-2" };
    tlp_model *m = open_tiny(4);

    scale(m->w.layer[2].t[TLPI_ATTN_OUTPUT], 0, 0, 0);
    scale(m->w.layer[2].t[TLPI_FFN_DOWN], 0, 0, 0);
    for (size_t i = 0; i < TLPI_COUNT(text); i++) {
        tlp_plan_adjust_options o = options(1, 0, 0);
        tlp_plan_adjust_report r = { .struct_size = sizeof r };
        tlp_plan *plan = parse(m, text[i]), *adjusted = plan;

        CHECK_FAILS(TLP_ENOGAIN,
                    tlp_plan_adjust(&adjusted, &r, plan, ids, N_TOKEN, &o));
        cr_expect_null(adjusted);
        cr_expect_lt(r.kl_before, 1e-7, "%s: %g", text[i], r.kl_before);
        cr_expect_eq(r.n_window, N_TOKEN / N_CTX, "the report is filled in");
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

typedef struct brake {
    int left, n;
    double last;
} brake;

static int step(double done, void *data)
{
    brake *b = data;

    cr_expect(done >= b->last && done <= 1, "%g after %g", done, b->last);
    b->last = done;
    b->n++;
    return b->left > 0 && --b->left == 0;
}

Test(plan_adjust, progress_and_cancel)
{
    tlp_model *m = open_tiny(4);
    tlp_plan *plan = parse(m, "par:1-2"), *adjusted = NULL;
    tlp_plan_adjust_options o = options(1, 1, 8);
    brake b = { 0 };

    o.progress = step;
    o.progress_data = &b;
    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, plan, ids, N_TOKEN, &o));
    cr_expect_eq(b.last, 1);
    tlp_plan_free(adjusted);
    int n = b.n;
    for (int i = 1; i <= n; i += TLPI_MAX(1, n * CHECK_SLOWDOWN / 40)) {
        b = (brake){ .left = i };
        adjusted = plan;
        CHECK_FAILS(TLP_ECANCELED,
                    tlp_plan_adjust(&adjusted, NULL, plan, ids, N_TOKEN, &o));
        cr_expect_null(adjusted);
        cr_expect_eq(b.n, i, "nothing is called behind it");
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void refuse(const tlp_plan *plan, size_t n,
                   const tlp_plan_adjust_options *o, tlp_status st,
                   const char *word)
{
    tlp_plan *adjusted = (tlp_plan *)plan;

    CHECK_FAILS(st, tlp_plan_adjust(&adjusted, NULL, plan, ids, n, o));
    cr_expect_null(adjusted);
    cr_expect(strstr(tlp_last_error(), word), "%s: %s expected",
              tlp_last_error(), word);
}

Test(plan_adjust, refuses_options)
{
    static const struct {
        int gains, norms, rank, n_ctx;
        double held_out;
        const char *word;
    } bad[] = {
        { 0, 0, 0, 32, 0, "one of" },        { 2, 0, 0, 32, 0, "gains: 2" },
        { 0, -1, 0, 32, 0, "norms: -1" },    { 0, 0, 6, 32, 0, "rank 6" },
        { 0, 0, -4, 32, 0, "rank -4" },      { 0, 0, 100, 32, 0, "rank 100" },
        { 1, 0, 0, 1, 0, "n_ctx 1" },        { 1, 0, 0, 5000, 0, "n_ctx 5000" },
        { 1, 0, 0, -1, 0, "n_ctx -1" },      { 1, 0, 0, 32, 1, "held_out 1" },
        { 1, 0, 0, 32, -0.1, "held_out" },   { 1, 0, 0, 32, NAN, "held_out" },
        { 1, 0, 0, 1024, 0, "two windows" },
    };
    tlp_model *m = open_tiny(4);
    tlp_plan *plan = parse(m, "par:1-2");

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        tlp_plan_adjust_options o =
            options(bad[i].gains, bad[i].norms, bad[i].rank);

        session.n_ctx = bad[i].n_ctx;
        o.held_out = bad[i].held_out;
        refuse(plan, N_TOKEN, &o, TLP_EINVAL, bad[i].word);
    }
    tlp_plan_adjust_options o = options(1, 0, 0);
    session.n_thread = -1;
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "n_thread");
    o = options(1, 0, 0);
    session.struct_size = 3;
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "tlp_session_options");
    o = options(1, 0, 0);
    o.struct_size = 3;
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "struct_size");
    refuse(plan, N_TOKEN, NULL, TLP_EINVAL, "one of");
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_adjust, refuses_plans_and_tokens)
{
    tlp_model *m = open_tiny(4);
    tlp_plan_adjust_options o = options(1, 0, 0);
    tlp_plan *plan = parse(m, "serial"), *adjusted = NULL;

    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "no group");
    tlp_plan_free(plan);
    plan = parse(m, "merge:1-2");
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "no group");
    tlp_plan_free(plan);
    plan = parse(m, "order:0,2,1,3,4;par:3-4");
    refuse(plan, N_TOKEN, &o, TLP_ENOTSUP, "layer 1 behind layer 2");
    tlp_plan_free(plan);

    plan = parse(m, "par:1-2");
    refuse(plan, 1, &o, TLP_EINVAL, "1 tokens");
    refuse(plan, N_CTX + 1, &o, TLP_EINVAL, "two windows");
    ids[7] = 288;
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "token 7");
    ids[7] = -1;
    refuse(plan, N_TOKEN, &o, TLP_EINVAL, "token 7");
    ids[7] = 0;
    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, plan, ids, N_TOKEN, &o));
    refuse(adjusted, N_TOKEN, &o, TLP_EINVAL, "already");
    tlp_plan_free(adjusted);
    adjusted = plan;
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_adjust(NULL, NULL, plan, ids, N_TOKEN, &o));
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_adjust(&adjusted, NULL, plan, NULL, N_TOKEN, &o));
    cr_expect_null(adjusted);
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_adjust(&adjusted, NULL, NULL, ids, N_TOKEN, &o));
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== memory ============================================================= */

Test(plan_adjust, out_of_memory)
{
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_plan_adjust_options o = options(1, 1, 8);
    tlp_model *m = NULL;
    mem memory = { 0 };

    spec.n_layer = 2;
    mo.allocator = mem_hooks(&memory);
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &mo));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 5);
    tlp_plan *plan = parse(m, "par:0-1"), *adjusted = NULL;
    long before = memory.calls;
    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, plan, ids, 4 * N_CTX, &o));
    long n = memory.calls - before;
    tlp_plan_free(adjusted);
    for (long i = 1; i <= n; i += 1 + i / 40 * CHECK_SLOWDOWN) {
        long live = memory.live;

        memory.fail_at = memory.calls + i;
        adjusted = plan;
        CHECK_FAILS(TLP_ENOMEM,
                    tlp_plan_adjust(&adjusted, NULL, plan, ids, 4 * N_CTX, &o));
        cr_expect_null(adjusted);
        cr_expect_eq(memory.live, live, "allocation %ld of %ld", i, n);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}
