/*
 * test_embed.c - embeddings of texts, beside those of the reference's states:
 * plans, ranks, steps, context, and what is refused.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/ref.h"
#include "support/rig.h"
#include "support/tiny.h"

enum { N = 40, D = 96 };

TestSuite(embed, .timeout = 120);

static tlp_embed_options how(int pooling, int no_normalize)
{
    tlp_embed_options o = TLP_EMBED_OPTIONS_INIT;

    o.pooling = pooling;
    o.no_normalize = no_normalize;
    return o;
}

/* ==== values ============================================================= */

/* The vector that states [from, to) must give. */
static void pool(double *out, const double *state, int from, int to,
                 const tlp_embed_options *o)
{
    double squares = 0;

    if (o->pooling != TLP_POOLING_MEAN)
        from = to - 1;
    for (int i = 0; i < D; i++) {
        out[i] = 0;
        for (int t = from; t < to; t++)
            out[i] += state[t * D + i] / (to - from);
        squares += out[i] * out[i];
    }
    for (int i = 0; i < D && !o->no_normalize; i++)
        out[i] /= sqrt(squares);
}

static void expect_vector(const float *got, const double *state, int from,
                          int to, const tlp_embed_options *o, const char *what)
{
    double want[D];

    pool(want, state, from, to, o);
    double diff = rig_diff(got, want, D), scale = rig_scale(want, D);
    cr_expect(diff < 2e-4 * scale, "%s, pooling %d: off by %g of %g", what,
              o->pooling, diff, scale);
}

typedef struct embed_case {
    const char *arch, *plan, *stages;
} embed_case;

/* Whole texts, and texts behind others, on several ranks. */
static void run_case(const embed_case *c)
{
    tiny_spec spec = tiny_default();
    int32_t ids[N];
    float got[D];

    spec.arch = c->arch;
    spec.logit_scale = strcmp(c->arch, "granite") == 0 ? 8 : 0;
    const char *path = tiny_make(&spec);
    ref_model *ref = ref_open(path);
    ref_plan plan = ref_parse(c->stages);

    rig_tokens(ids, N, 288, 7);
    double *state = ref_states(ref, &plan, ids, N);
    for (int i = 0; i < 12; i++) {
        static const int ranks[3] = { 1, 2, 4 }; /* of two tracks too */
        int n_rank = ranks[i % 3], cut = i < 6 ? 0 : 11;
        tlp_session_options o = rig_f32(n_rank, 1);
        tlp_embed_options e = how(1 + i / 3 % 2, i % 2);

        o.n_seq = 2;
        o.n_batch = 16;
        rig r = rig_open(path, c->plan, &o);
        if (cut)
            CHECK_OK(
                tlp_session_embed(got, r.session, 1, ids, (size_t)cut, NULL));
        CHECK_OK(tlp_session_embed(got, r.session, 1, ids + cut,
                                   (size_t)(N - cut), &e));
        expect_vector(got, state, cut, N, &e, c->plan);
        cr_expect_eq(tlp_session_pos(r.session, 1), N);
        cr_expect_eq(tlp_session_n_logits(r.session), 0);
        rig_close(&r);
    }
    free(state);
    ref_close(ref);
}

Test(embed, states_of_plans_and_architectures)
{
    static const embed_case cases[] = {
        { "llama", "serial", "0 1 2 3 4" },
        { "granite", "par:1-2", "0 par:1,2 3 4" },
        { "gemma3", "lp:1-2", "0 lp:1,2 3 4" },
        { "olmo2", "nosync@2:1,3f", "@2 0 1af 2 3f 4" },
        { "qwen3", "asym:2-4", "0 1 asym:2,3,4" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i]);
}

/* Steps and ranks in threads do not change a bit; the default is the last
 * token, normalised. */
Test(embed, equal_bits)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    int32_t ids[N];
    float first[2][D];

    rig_tokens(ids, N, 288, 3);
    for (int i = 0; i < 6; i++) {
        static const int batch[3] = { 64, 7, 1 };
        tlp_session_options o = rig_f32(1, 1 + i % 2);
        tlp_embed_options e = how(i % 2 ? TLP_POOLING_MEAN : 0, 0);
        float got[D];

        o.n_batch = batch[i / 2];
        rig r = rig_open(path, "par:1-2", &o);
        CHECK_OK(
            tlp_session_embed(got, r.session, 0, ids, N, i % 2 ? &e : NULL));
        if (i < 2)
            memcpy(first[i], got, sizeof got);
        cr_expect(memcmp(first[i % 2], got, sizeof got) == 0, "case %d", i);
        rig_close(&r);
    }
}

/* ==== sequences ========================================================== */

Test(embed, the_sequence_goes_on_and_others_stay)
{
    tlp_session_options o = rig_f32(2, 1);
    tiny_spec spec = tiny_default();
    int32_t ids[N];
    float v[D];
    const float *row = NULL;

    o.n_seq = 3;
    o.n_batch = 8;
    rig r = rig_open(tiny_make(&spec), "par:1-2", &o);
    rig_tokens(ids, N, r.n_vocab, 4);
    float *rows = rig_eval(&r, 1, ids, N);
    CHECK_OK(tlp_session_fork(r.session, 2, 1));
    CHECK_OK(tlp_session_embed(v, r.session, 2, ids, 5, NULL));
    cr_expect_eq(tlp_session_pos(r.session, 1), N);
    CHECK_OK(tlp_session_embed(v, r.session, 0, ids, N - 1, NULL));
    CHECK_OK(tlp_session_decode(r.session, ids[N - 1]));
    CHECK_OK(tlp_session_logits(&row, r.session, 0));
    cr_expect(rig_diff_f(row, rows + (N - 1) * r.n_vocab, r.n_vocab) < 1e-4);
    CHECK_OK(tlp_session_rewind(r.session, 1, N - 1));
    CHECK_OK(tlp_session_eval(r.session,
                              &(tlp_batch){ sizeof(tlp_batch), 1, ids + N - 1,
                                            &(int32_t){ 1 }, NULL }));
    CHECK_OK(tlp_session_logits(&row, r.session, 0));
    cr_expect(rig_diff_f(row, rows + (N - 1) * r.n_vocab, r.n_vocab) < 1e-4);
    free(rows);
    rig_close(&r);
}

/* A sequence that went back behind its windows is evaluated again first, which
 * adds no states. */
Test(embed, after_a_long_way_back)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    tlp_embed_options mean = how(TLP_POOLING_MEAN, 0);
    enum { LONG = 700, CUT = 40 };
    static int32_t ids[LONG];
    float want[D], got[D];

    spec.arch = "gemma3";
    spec.window = 8;
    spec.n_ctx = 1024;
    o.n_ctx = 1024;
    o.n_batch = 16;
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    rig_tokens(ids, LONG, r.n_vocab, 6);
    CHECK_OK(tlp_session_prefill(r.session, ids, CUT));
    CHECK_OK(tlp_session_embed(want, r.session, 0, ids + CUT, 10, &mean));
    CHECK_OK(tlp_session_prefill(r.session, ids, LONG));
    CHECK_OK(tlp_session_rewind(r.session, 0, CUT));
    CHECK_OK(tlp_session_embed(got, r.session, 0, ids + CUT, 10, &mean));
    cr_expect(memcmp(want, got, sizeof want) == 0);
    rig_close(&r);
}

/* ==== failures =========================================================== */

Test(embed, what_is_refused_changes_nothing)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    int32_t ids[65] = { 1, 2, 3, 4 }, beyond = 288, below = -1;
    tlp_embed_options bad = TLP_EMBED_OPTIONS_INIT;
    float v[D] = { 7 };
    tlp_session *s;

    o.n_seq = 2;
    rig r = rig_open(tiny_make(&spec), "serial", &o);
    s = r.session;
    CHECK_OK(tlp_session_prefill(s, ids, 4));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(NULL, s, 0, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, NULL, 0, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, NULL, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, ids, 0, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 2, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, -1, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, &beyond, 1, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, &below, 1, NULL));
    CHECK_FAILS(TLP_EFULL, tlp_session_embed(v, s, 1, ids, 65, NULL));
    CHECK_FAILS(TLP_EFULL, tlp_session_embed(v, s, 0, ids, 61, NULL));
    CHECK_FAILS(TLP_EFULL, tlp_session_embed(v, s, 0, ids, SIZE_MAX, NULL));
    bad.pooling = 3;
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, ids, 2, &bad));
    bad.pooling = -1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, ids, 2, &bad));
    bad = how(0, 2);
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, ids, 2, &bad));
    bad.struct_size = 3;
    CHECK_FAILS(TLP_EINVAL, tlp_session_embed(v, s, 0, ids, 2, &bad));
    tlp_session_abort(s);
    CHECK_FAILS(TLP_ECANCELED, tlp_session_embed(v, s, 0, ids, 2, NULL));
    cr_expect_eq(tlp_session_pos(s, 0), 4);
    cr_expect_eq(tlp_session_pos(s, 1), 0);
    cr_expect_eq(v[0], 7);
    CHECK_OK(tlp_session_embed(v, s, 0, ids, 60, NULL));
    rig_close(&r);
}

/* The state of one token becomes infinite. */
Test(embed, states_that_are_no_numbers)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    const int32_t ids[4] = { 97, 98, 99, 100 };
    tlp_embed_options e = how(TLP_POOLING_MEAN, 0);
    float v[D];

    spec.type = TLPI_F32;
    rig r = { .model = rig_open_changeable(tiny_make(&spec)) };
    ((float *)(uintptr_t)r.model->w.t[TLPI_OUTPUT_NORM]->data)[5] = INFINITY;
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    CHECK_FAILS(TLP_ERROR, tlp_session_embed(v, r.session, 0, ids, 4, &e));
    cr_expect(strstr(tlp_last_error(), "sequence 0, position 0: the state"),
              "%s", tlp_last_error());
    CHECK_FAILS(TLP_ERROR, tlp_session_embed(v, r.session, 0, ids, 3, NULL));
    cr_expect(strstr(tlp_last_error(), "sequence 0, position 6: the state"),
              "%s", tlp_last_error());
    cr_expect_eq(tlp_session_pos(r.session, 0), 7);
    rig_close(&r);
}

/* A state of zeros has no direction. */
Test(embed, a_vector_of_zeros_stays)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(1, 1);
    const int32_t id = 97;
    float v[D];

    spec.type = TLPI_F32;
    rig r = { .model = rig_open_changeable(tiny_make(&spec)) };
    memset((float *)(uintptr_t)r.model->w.t[TLPI_OUTPUT_NORM]->data, 0,
           D * sizeof(float));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    CHECK_OK(tlp_session_embed(v, r.session, 0, &id, 1, NULL));
    for (int i = 0; i < D; i++)
        cr_expect_eq(v[i], 0);
    rig_close(&r);
}
