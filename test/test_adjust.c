/*
 * test_adjust.c - adjusted stages against the equations, and what a probe sees
 * of them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rank/forward.h"
#include "session/session.h"
#include "support/random_adjust.h"
#include "support/mem.h"
#include "support/ref_adjust.h"
#include "support/rig.h"
#include "support/tiny.h"

#define N_TOKEN 13
#define TOLERANCE 3e-5 /* as in test_parity.c */

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

typedef struct adjusted_case {
    const char *plan, *stages; /* for the library, and for the reference */
} adjusted_case;

static const adjusted_case plans[] = {
    { "lp:1-2", "0 lp:1,2 3 4" },
    { "lp:0-2", "lp:0,1,2 3 4" },
    { "par:1-2,3-4", "0 par:1,2 par:3,4" },
    { "par:0-3", "par:0,1,2,3 4" },
    { "asym:0-1,3-4", "asym:0,1 2 asym:3,4" },
    { "asym:1-3", "0 asym:1,2,3 4" },
    { "lp-code:1-2", "0 lp-code:1,2 3 4" },
};

/* Tracks have no correction of their output. */
static const adjusted_case tracks[] = {
    { "nosync@2:1,2a", "@2 0 1af 2a 3 4" },
    { "nosync@2:0f;par:2-3", "@2 0f 1 par:2,3 4" },
    { "nosync@3:0a,2f,3", "@3 0a 1 2f 3af 4" },
};

static const int kinds[] = { FITTED_GAINS,  FITTED_NORMS, FITTED_ATTN_IN,
                             FITTED_FFN_IN, FITTED_OUT,   FITTED_ALL };

TestSuite(adjust, .timeout = 300);

/* ==== adjusted plans ===================================================== */

/* Members get corrections of different ranks, one of them none. */
static void make_uneven(const tlp_plan *plan, tlpi_fitted_stage *f)
{
    for (int i = 0; i < plan->n_stage; i++) {
        tlpi_fitted_member *m = f[i].member;

        if (m && m[0].attn_in.rank > 2)
            m[0].attn_in.rank -= 2;
        if (m)
            m[1].ffn_in.rank = 0;
    }
}

static tlp_plan *adjusted(tlp_model *model, const char *text, int kind,
                          int rank)
{
    tlp_plan *plain = NULL, *plan = NULL;
    void *image = NULL;
    size_t n_image = 0;

    CHECK_OK(tlp_plan_parse(&plain, model, text));
    tlpi_fitted_stage *f = fitted_make(plain, kind, rank, 7);
    cr_assert(f != NULL, "out of memory");
    make_uneven(plain, f);
    CHECK_OK(tlpi_adjust_image(plain, f, NULL, &image, &n_image));
    CHECK_OK(tlpi_plan_with_adjust(&plan, plain, image, n_image, "test"));
    free(f);
    tlp_plan_free(plain);
    return plan;
}

/* ==== a model, its reference, tokens ===================================== */

typedef struct adjusted_model {
    tlp_model *model;
    ref_model *ref;
    int32_t ids[N_TOKEN];
    size_t n_vocab, n; /* logits of all tokens */
} adjusted_model;

static adjusted_model subject_open(const tiny_spec *spec)
{
    const char *path = tiny_make(spec);
    adjusted_model s = { .ref = ref_open(path) };

    CHECK_OK(tlp_model_open(&s.model, path, NULL));
    s.n_vocab = (size_t)ref_n_vocab(s.ref);
    s.n = N_TOKEN * s.n_vocab;
    rig_tokens(s.ids, N_TOKEN, s.n_vocab, spec->seed);
    return s;
}

static void subject_close(adjusted_model *s)
{
    tlp_model_free(s->model);
    ref_close(s->ref);
}

static double *expected(const adjusted_model *s, const char *stages,
                        const tlp_plan *plan)
{
    ref_plan p = ref_adjusted(stages, plan);
    double *want = ref_logits(s->ref, &p, s->ids, N_TOKEN);

    ref_adjust_free(&p);
    return want;
}

static rig session_of(const adjusted_model *s, tlp_plan *plan,
                      const tlp_session_options *o)
{
    rig r = { .model = s->model, .plan = plan, .n_vocab = s->n_vocab };

    CHECK_OK(tlp_session_create(&r.session, plan, o));
    return r;
}

static float *run(const adjusted_model *s, tlp_plan *plan,
                  const tlp_session_options *o)
{
    rig r = session_of(s, plan, o);
    float *got = rig_eval(&r, 0, s->ids, N_TOKEN);

    tlp_session_free(r.session);
    return got;
}

static void expect_close(const adjusted_model *s, tlp_plan *plan,
                         const double *want, const tlp_session_options *o,
                         const char *what)
{
    float *got = run(s, plan, o);
    double d = rig_diff(got, want, s->n);

    cr_assert(d <= TOLERANCE, "%s, %d ranks of %d, %s: off by %g of %g", what,
              o->n_rank, o->n_thread, rig_isa_name(o->isa), d,
              rig_scale(want, s->n));
    free(got);
}

/* ==== against the equations ============================================== */

/* What is compared has to depend on the adjustments. */
static void expect_effect(const adjusted_model *s, const adjusted_case *c,
                          const double *want)
{
    ref_plan plain = ref_parse(c->stages);
    double *without = ref_logits(s->ref, &plain, s->ids, N_TOKEN), most = 0;

    for (size_t i = 0; i < s->n; i++)
        most = fmax(most, fabs(want[i] - without[i]));
    cr_assert(most > 300 * TOLERANCE, "%s: %g from the plain plan", c->plan,
              most);
    free(without);
}

static void expect_kind(const adjusted_model *s, const adjusted_case *c,
                        int kind, int n_rank)
{
    tlp_plan *plan = adjusted(s->model, c->plan, kind, 5);
    double *want = expected(s, c->stages, plan);
    char what[64];

    snprintf(what, sizeof what, "%s, kinds %d", c->plan, kind);
    expect_effect(s, c, want);
    for (int ranks = 1; ranks <= n_rank; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1 + ranks % 2);

        expect_close(s, plan, want, &o, what);
    }
    free(want);
    tlp_plan_free(plan);
}

static tiny_spec spec_of(const char *arch)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    spec.type = TLPI_F32;
    return spec;
}

/* On one rank, a rank for each track, and two. */
static void expect_tracks(const adjusted_model *s, const adjusted_case *c,
                          int kind)
{
    tlp_plan *plan = adjusted(s->model, c->plan, kind, 5);
    double *want = expected(s, c->stages, plan);

    expect_effect(s, c, want);
    for (int i = 0; i < 3; i++) {
        tlp_session_options o = rig_f32(i ? i * plan->n_track : 1, 1 + i % 2);

        expect_close(s, plan, want, &o, c->plan);
    }
    free(want);
    tlp_plan_free(plan);
}

static void every_kind_of_tracks(const tiny_spec *spec)
{
    static const int track_kinds[] = { FITTED_GAINS, FITTED_NORMS,
                                       FITTED_ATTN_IN, FITTED_FFN_IN,
                                       FITTED_ALL };
    adjusted_model s = subject_open(spec);

    for (int c = 0; c < COUNT(tracks); c++)
        for (int k = 0; k < COUNT(track_kinds); k++)
            expect_tracks(&s, &tracks[c], track_kinds[k]);
    subject_close(&s);
}

Test(adjust, tracks)
{
    tiny_spec spec = spec_of("llama");

    every_kind_of_tracks(&spec);
}

Test(adjust, tracks_with_output_biases)
{
    tiny_spec spec = spec_of("qwen2");

    spec.out_bias = true;
    every_kind_of_tracks(&spec);
}

Test(adjust, every_kind_in_every_mode)
{
    tiny_spec spec = spec_of("llama");
    adjusted_model s = subject_open(&spec);

    for (int c = 0; c < COUNT(plans); c++)
        for (int k = 0; k < COUNT(kinds); k++)
            expect_kind(&s, &plans[c], kinds[k], 4);
    subject_close(&s);
}

/* Gains hold for the biases of output projections too, and multiply a model's
 * residual_scale. */
static void expect_gains(const char *arch)
{
    tiny_spec spec = spec_of(arch);

    spec.out_bias = true;
    adjusted_model s = subject_open(&spec);
    for (int c = 0; c < COUNT(plans); c++)
        expect_kind(&s, &plans[c], c % 2 ? FITTED_GAINS : FITTED_ALL, 3);
    subject_close(&s);
}

Test(adjust, output_biases)
{
    expect_gains("qwen2");
}

Test(adjust, granite)
{
    expect_gains("granite");
}

static void expect_all(const char *arch)
{
    tiny_spec spec = spec_of(arch);
    adjusted_model s = subject_open(&spec);

    for (int c = 0; c < COUNT(plans); c++)
        expect_kind(&s, &plans[c], FITTED_ALL, 2);
    subject_close(&s);
}

Test(adjust, smollm3)
{
    expect_all("smollm3");
}

/* Gains hold for the biases of experts, too. */
Test(adjust, gpt_oss)
{
    tiny_spec spec = spec_of("gpt-oss");
    adjusted_model s = subject_open(&spec);

    expect_gains("gpt-oss");
    for (int c = 0; c < COUNT(tracks); c++)
        expect_tracks(&s, &tracks[c], FITTED_ALL);
    subject_close(&s);
}

/* Norms of outputs: gains follow them, or weigh tracks in front of the norm of
 * their sum. */
static void expect_posts(const char *arch)
{
    tiny_spec spec = spec_of(arch);
    adjusted_model s = subject_open(&spec);

    for (int c = 0; c < COUNT(plans); c++)
        for (int k = 0; k < COUNT(kinds); k++)
            if (kinds[k] != FITTED_OUT)
                expect_kind(&s, &plans[c], kinds[k], 4);
    subject_close(&s);
    every_kind_of_tracks(&spec);
}

Test(adjust, gemma3)
{
    expect_posts("gemma3");
}

Test(adjust, olmo2)
{
    expect_posts("olmo2");
}

/* Ranks that are no multiple of anything, on every instruction set. */
Test(adjust, odd_ranks)
{
    static const int ranks[] = { 1, 3, 16, 33, 48 };
    tiny_spec spec = spec_of("qwen3");

    spec.type = TLPI_Q8_0;
    adjusted_model s = subject_open(&spec);
    for (int i = 0; i < COUNT(ranks); i++) {
        const adjusted_case *c = &plans[i % 2 ? 5 : 2];
        tlp_plan *plan = adjusted(s.model, c->plan, FITTED_ALL, ranks[i]);
        double *want = expected(&s, c->stages, plan);

        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
            tlp_session_options o = rig_f32(1 + i % 3, 1);

            o.isa = isa;
            if (rig_has_isa(isa))
                expect_close(&s, plan, want, &o, c->plan);
        }
        free(want);
        tlp_plan_free(plan);
    }
    subject_close(&s);
}

/* ==== bits =============================================================== */

/* Neither threads nor what else is in a step change a token's bits. */
Test(adjust, threads_and_batches)
{
    tiny_spec spec = spec_of("llama");

    spec.type = TLPI_Q8_0;
    adjusted_model s = subject_open(&spec);
    for (int c = 0; c < COUNT(plans); c++) {
        tlp_plan *plan = adjusted(s.model, plans[c].plan, FITTED_ALL, 7);
        tlp_session_options o = rig_f32(1 + c % 3, 1);

        o.compute = TLP_COMPUTE_DEFAULT;
        float *want = run(&s, plan, &o);
        for (int i = 1; i < 5; i++) {
            o.n_thread = i;
            o.n_batch = 1 + 3 * (i - 1);
            float *got = run(&s, plan, &o);
            cr_assert_eq(memcmp(got, want, s.n * sizeof *got), 0,
                         "%s: other bits with %d threads and steps of %d",
                         plans[c].plan, o.n_thread, o.n_batch);
            free(got);
        }
        free(want);
        tlp_plan_free(plan);
    }
    subject_close(&s);
}

/* ==== a stage that is adjusted while it is there ========================= */

static float *plain_logits(const adjusted_model *s, const char *text,
                           const tlp_session_options *o)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, s->model, text));
    float *all = run(s, plan, o);
    tlp_plan_free(plan);
    return all;
}

static void again(rig *r, const adjusted_model *s, const float *want,
                  const char *what)
{
    CHECK_OK(tlp_session_clear(r->session, 0));
    float *got = rig_eval(r, 0, s->ids, N_TOKEN);
    cr_assert_eq(memcmp(got, want, s->n * sizeof *got), 0, "%s: other bits",
                 what);
    free(got);
}

static void put_stages(tlpi_rank *r, const tlp_plan *from)
{
    for (int i = 0; i < from->n_stage; i++)
        CHECK_OK(
            tlpi_program_adjust_stage(r->program, i, &from->adjust->stage[i]));
}

/* A plan's adjustments on a rank that was built without, and back; the memory
 * they stood in may go. */
static void change_and_back(const adjusted_model *s, const char *text,
                            const int kind[2], int isa)
{
    tlp_session_options o = rig_f32(1, 1);
    tlp_plan *plain = NULL;

    o.isa = isa;
    CHECK_OK(tlp_plan_parse(&plain, s->model, text));
    tlp_plan *one = adjusted(s->model, text, kind[0], 5);
    tlp_plan *two = adjusted(s->model, text, kind[1], 9);
    float *bits0 = plain_logits(s, text, &o);
    float *bits1 = run(s, one, &o), *bits2 = run(s, two, &o);
    rig r = session_of(s, plain, &o);
    tlpi_rank_sizes before = tlpi_rank_bytes(r.session->rank0);

    put_stages(r.session->rank0, one);
    tlp_plan_free(one);
    again(&r, s, bits1, text);
    put_stages(r.session->rank0, two);
    tlp_plan_free(two);
    again(&r, s, bits2, text);
    for (int i = 0; i < plain->n_stage; i++)
        CHECK_OK(tlpi_program_adjust_stage(r.session->rank0->program, i, NULL));
    again(&r, s, bits0, text);
    cr_assert_eq(tlpi_rank_bytes(r.session->rank0).weights, before.weights);
    tlp_session_free(r.session);
    tlp_plan_free(plain);
    free(bits0), free(bits1), free(bits2);
}

Test(adjust, stages_change_and_change_back)
{
    static const int of_groups[] = { FITTED_ALL, FITTED_OUT };
    static const int of_tracks[] = { FITTED_ALL, FITTED_ATTN_IN };
    tiny_spec spec = spec_of("qwen2");

    spec.out_bias = true;
    adjusted_model s = subject_open(&spec);
    for (int isa = TLP_ISA_AUTO; isa <= TLP_ISA_SCALAR; isa++) {
        for (int c = 0; c < COUNT(plans); c++)
            change_and_back(&s, plans[c].plan, of_groups, isa);
        for (int c = 0; c < COUNT(tracks); c++)
            change_and_back(&s, tracks[c].plan, of_tracks, isa);
    }
    subject_close(&s);
}

/* F32 corrections, which an image has where F16 is too small. */
Test(adjust, corrections_in_f32)
{
    tiny_spec spec = spec_of("llama");
    adjusted_model s = subject_open(&spec);
    const adjusted_case *c = &plans[2];
    tlp_session_options o = rig_f32(1, 1);
    tlp_plan *plan = adjusted(s.model, c->plan, FITTED_ATTN_IN, 6);
    double *want = expected(&s, c->stages, plan);
    rig r = session_of(&s, plan, &o);

    for (int i = 0; i < plan->n_stage; i++) {
        tlpi_stage_adjust st = plan->adjust->stage[i];
        tlpi_member_adjust member[2];
        float *wide[4] = { NULL };

        for (int j = 0; st.member && j < 4; j++) {
            if (j == 0)
                memcpy(member, st.member, sizeof member);
            tlpi_lowrank *l = &member[j / 2].attn_in;
            tlpi_tensor *t = j % 2 ? &l->up : &l->down;
            int64_t n = t->ne[0] * t->ne[1];
            wide[j] = malloc((size_t)n * sizeof(float));
            cr_assert(wide[j] && t->type == TLPI_F16);
            tlpi_dequantize(t->type, t->data, wide[j], n);
            t->type = TLPI_F32;
            t->data = wide[j];
            t->n_bytes = (size_t)n * sizeof(float);
        }
        if (st.member)
            st.member = member;
        CHECK_OK(tlpi_program_adjust_stage(r.session->rank0->program, i, &st));
        for (int j = 0; j < 4; j++)
            free(wide[j]);
    }
    float *got = rig_eval(&r, 0, s.ids, N_TOKEN);
    double d = rig_diff(got, want, s.n);
    cr_assert(d <= TOLERANCE, "off by %g", d);
    free(got);
    free(want);
    tlp_session_free(r.session);
    tlp_plan_free(plan);
    subject_close(&s);
}

Test(adjust, a_merged_stage_is_refused)
{
    tiny_spec spec = spec_of("llama");
    adjusted_model s = subject_open(&spec);
    tlp_session_options o = rig_f32(2, 1);
    tlp_session *session = NULL;
    tlp_plan *plan = adjusted(s.model, "merge:1-2", FITTED_GAINS, 0);

    CHECK_FAILS(TLP_ENOTSUP, tlp_session_create(&session, plan, &o));
    cr_assert_not_null(strstr(tlp_last_error(), "stage 1"));
    tlp_plan_free(plan);
    subject_close(&s);
}

/* Memory runs out at every allocation: the stage is then as it was. */
Test(adjust, out_of_memory)
{
    tiny_spec spec = spec_of("llama");
    mem heap = { 0 };
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options o = rig_f32(1, 1);
    adjusted_model s = subject_open(&spec);
    tlp_plan *plain = NULL;
    long n = 0;

    tlp_model_free(s.model);
    mo.allocator = mem_hooks(&heap);
    CHECK_OK(tlp_model_open(&s.model, tiny_make(&spec), &mo));
    tlp_plan *plan = adjusted(s.model, "par:1-2", FITTED_ALL, 5);
    float *bits = plain_logits(&s, "par:1-2", &o);
    CHECK_OK(tlp_plan_parse(&plain, s.model, "par:1-2"));
    rig r = session_of(&s, plain, &o);
    tlp_status st;
    do {
        heap.calls = 0;
        heap.fail_at = ++n;
        st = tlpi_program_adjust_stage(r.session->rank0->program, 1,
                                       &plan->adjust->stage[1]);
        heap.fail_at = 0;
        if (st != TLP_OK) {
            cr_assert_eq(st, TLP_ENOMEM);
            again(&r, &s, bits, "out of memory");
        }
    } while (st != TLP_OK);
    cr_assert_gt(n, 10, "%ld allocations", n);
    for (n = 1; n < 400; n++) { /* building a session, likewise */
        tlp_session *session = NULL;
        heap.calls = 0;
        heap.fail_at = n;
        st = tlp_session_create(&session, plan, &o);
        heap.fail_at = 0;
        cr_assert(st == TLP_OK || (st == TLP_ENOMEM && !session));
        tlp_session_free(session);
        if (st == TLP_OK)
            break;
    }
    cr_assert_eq(st, TLP_OK);
    free(bits);
    tlp_session_free(r.session);
    tlp_plan_free(plain);
    tlp_plan_free(plan);
    subject_close(&s);
    cr_assert_eq(heap.live, 0);
}

/* ==== probes ============================================================= */

enum { MAX_MEMBER = 4, N_AT = TLPI_PROBE_FFN + 1 };

typedef struct sight {
    size_t n; /* floats of a call */
    int calls[N_AT], order, fail_at;
    float *x[N_AT][MAX_MEMBER];
} sight;

static tlp_status see(void *arg, tlpi_probe_at at, int member, const float *x)
{
    sight *s = arg;

    cr_assert(member >= 0 && member < MAX_MEMBER && (int)at >= s->order);
    s->order = (int)at;
    s->calls[at]++;
    free(s->x[at][member]);
    s->x[at][member] = malloc(s->n * sizeof *x);
    cr_assert_not_null(s->x[at][member]);
    memcpy(s->x[at][member], x, s->n * sizeof *x);
    if (s->fail_at && --s->fail_at == 0)
        return tlpi_fail(TLP_ECANCELED, "seen enough");
    return TLP_OK;
}

static void forget(sight *s)
{
    for (int i = 0; i < N_AT; i++)
        for (int m = 0; m < MAX_MEMBER; m++)
            free(s->x[i][m]);
    memset(s, 0, sizeof *s);
}

/* The stream after a stage, from the one before it. */
static tlp_status run_stage(tlpi_rank *r, const tlpi_step *step, int stage,
                            const float *x, float *z)
{
    tlpi_forward_begin(r, step, x);
    tlp_status st = tlpi_forward_stages(r, r->program, step, stage, stage + 1);
    tlpi_forward_stream(r, step, z);
    return st;
}

/* y += up (down x) for one token */
static void correct(const tlpi_tensor *down, const tlpi_tensor *up,
                    const double *x, double *y)
{
    double *a = ref_doubles(down), *b = ref_doubles(up);
    int64_t d = down->ne[0], rank = down->ne[1];

    for (int64_t k = 0; k < rank; k++) {
        double t = 0;

        for (int64_t i = 0; i < d; i++)
            t += a[k * d + i] * x[i];
        for (int64_t i = 0; i < d; i++)
            y[i] += b[i * rank + k] * t;
    }
    free(a), free(b);
}

/* What a probe of one stage has seen adds up to what the stage did. */
static void expect_sum(const sight *s, const tlp_plan *plan, int stage,
                       const float *x, const float *z, int n_tok, int d)
{
    const tlpi_stage *p = &plan->stage[stage];
    const tlpi_stage_adjust *a = &plan->adjust->stage[stage];
    double *delta = calloc((size_t)d, sizeof *delta);
    double *sum = calloc((size_t)d, sizeof *sum);

    cr_assert(delta && sum);
    for (int t = 0; t < n_tok; t++) {
        size_t at = (size_t)t * (size_t)d;
        for (int i = 0; i < d; i++)
            sum[i] = (double)x[at + (size_t)i];
        for (int m = 0; m < p->n_member; m++) {
            const float *attn = s->x[TLPI_PROBE_ATTN][m];
            const float *ffn = s->x[TLPI_PROBE_FFN][m];
            bool counts = p->mode != TLP_MODE_ASYM || m == p->n_member - 1;

            for (int i = 0; i < d; i++) {
                size_t j = at + (size_t)i;
                double v = attn ? (double)attn[j] : 0;
                delta[i] = v + (double)ffn[j];
                sum[i] += (counts ? v : 0) + (double)ffn[j];
            }
            correct(&a->member[m].out_down, &a->out_up, delta, sum);
        }
        for (int i = 0; i < d; i++)
            cr_assert_float_eq(sum[i], (double)z[at + (size_t)i], 1e-4,
                               "token %d, %d: %g, %g expected", t, i,
                               (double)z[at + (size_t)i], sum[i]);
    }
    free(delta), free(sum);
}

/* With and without a correction, the inputs differ by it. */
static void expect_correction(const float *with, const float *without,
                              const tlpi_lowrank *l, int n_tok, int d)
{
    double *x = malloc((size_t)d * sizeof *x),
           *y = malloc((size_t)d * sizeof *y);

    cr_assert(x && y && l->rank > 0);
    for (int t = 0; t < n_tok; t++) {
        for (int i = 0; i < d; i++)
            x[i] = y[i] = (double)without[t * d + i];
        correct(&l->down, &l->up, x, y);
        for (int i = 0; i < d; i++)
            cr_assert_float_eq(y[i], (double)with[t * d + i], 1e-4);
    }
    free(x), free(y);
}

static void probe_case(const adjusted_model *s, const char *text)
{
    tlp_plan *plan = adjusted(s->model, text, FITTED_ALL, 6), *plain = NULL;
    tlp_session_options o = rig_f32(1, 2);
    int32_t seq[N_TOKEN] = { 0 }, pos[N_TOKEN];
    tlpi_step step = { N_TOKEN, s->ids, seq, pos };
    int d = s->model->hp.n_embd, n_member = plan->stage[1].n_member;
    size_t n = (size_t)(N_TOKEN * d);
    float *x = malloc(n * sizeof *x), *z = malloc(n * sizeof *z);
    float *seen = malloc(n * sizeof *seen);
    sight one = { .n = n }, two = { .n = n };
    tlpi_probe probe = { see, &one };

    cr_assert(x && z && seen);
    for (int i = 0; i < N_TOKEN; i++)
        pos[i] = i;
    CHECK_OK(tlp_plan_parse(&plain, s->model, text));
    rig r = session_of(s, plan, &o), bare = session_of(s, plain, &o);
    tlpi_rank *rank = r.session->rank0;
    /* The sequence gets the pages of its cache. */
    CHECK_OK(tlp_session_prefill(r.session, s->ids, N_TOKEN));
    CHECK_OK(tlp_session_prefill(bare.session, s->ids, N_TOKEN));
    tlpi_forward_begin(rank, &step, NULL);
    CHECK_OK(tlpi_forward_stages(rank, rank->program, &step, 0, 1));
    tlpi_forward_stream(rank, &step, x);
    CHECK_OK(run_stage(rank, &step, 1, x, z));
    rank->probe = &probe;
    CHECK_OK(run_stage(rank, &step, 1, x, seen));
    cr_assert_eq(memcmp(z, seen, n * sizeof *z), 0, "%s: probed, other bits",
                 text);
    cr_assert_eq(one.calls[TLPI_PROBE_ATTN_IN], n_member);
    cr_assert_eq(one.calls[TLPI_PROBE_FFN_IN], n_member);
    cr_assert_eq(one.calls[TLPI_PROBE_FFN], n_member);
    cr_assert_eq(one.calls[TLPI_PROBE_ATTN],
                 strncmp(text, "lp", 2) == 0 ? 1 : n_member);
    expect_sum(&one, plan, 1, x, z, N_TOKEN, d);

    /* Norms as they are in the adjusted plan, nothing of low rank. */
    tlpi_probe other = { see, &two };
    tlpi_stage_adjust norms = plan->adjust->stage[1];
    tlpi_member_adjust member[MAX_MEMBER];
    memcpy(member, norms.member, (size_t)n_member * sizeof *member);
    for (int m = 0; m < n_member; m++)
        member[m].attn_in.rank = member[m].ffn_in.rank = 0;
    norms.member = member;
    norms.out_rank = 0;
    CHECK_OK(
        tlpi_program_adjust_stage(bare.session->rank0->program, 1, &norms));
    bare.session->rank0->probe = &other;
    CHECK_OK(run_stage(bare.session->rank0, &step, 1, x, seen));
    for (int m = 0; m < n_member; m++)
        expect_correction(
            one.x[TLPI_PROBE_ATTN_IN][m], two.x[TLPI_PROBE_ATTN_IN][m],
            &plan->adjust->stage[1].member[m].attn_in, N_TOKEN, d);

    forget(&one);
    one = (sight){ .n = n, .fail_at = 3 };
    CHECK_FAILS(TLP_ECANCELED, run_stage(rank, &step, 1, x, seen));
    rank->probe = NULL;
    CHECK_OK(run_stage(rank, &step, 1, x, seen));
    cr_assert_eq(memcmp(z, seen, n * sizeof *z), 0);
    forget(&one), forget(&two);
    free(x), free(z), free(seen);
    tlp_session_free(bare.session);
    tlp_session_free(r.session);
    tlp_plan_free(plain);
    tlp_plan_free(plan);
}

static void probe_arch(const char *arch)
{
    tiny_spec spec = spec_of(arch);
    adjusted_model s = subject_open(&spec);

    probe_case(&s, "lp:1-2");
    probe_case(&s, "par:1-2");
    probe_case(&s, "par:1-3");
    probe_case(&s, "asym:1-2");
    probe_case(&s, "asym:1-3");
    probe_case(&s, "lp-code:1-2");
    subject_close(&s);
}

Test(adjust, a_probe_sees_what_a_stage_adds)
{
    probe_arch("llama");
    probe_arch("gemma3");
    probe_arch("olmo2");
    probe_arch("gpt-oss");
}
