/*
 * test_tracks.c - plans that leave out exchanges: their logits against the
 * equations, on every number of ranks, and the text and JSON forms.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/ref.h"
#include "support/rig.h"
#include "support/tiny.h"

#define N_TOKEN 13
#define TOLERANCE 3e-5 /* as in test_parity.c */
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

typedef struct track_case {
    int n_track;
    const char *plan;   /* for the library's parser */
    const char *stages; /* for the reference */
} track_case;

/* Five layers. */
static const track_case cases[] = {
    { 2, "nosync:1a", "@2 0 1a 2 3 4" },
    { 2, "nosync@2:1f", "@2 0 1f 2 3 4" },
    { 2, "nosync:1", "@2 0 1af 2 3 4" },
    { 2, "nosync:0,1,2,3,4a", "@2 0af 1af 2af 3af 4a" },
    { 2, "nosync:0f,2a,2f", "@2 0f 1 2af 3 4" },
    { 2, "par:0-1;nosync:3a", "@2 par:0,1 2 3a 4" },
    { 2, "nosync:0;asym:2-3", "@2 0af 1 asym:2,3 4" },
    { 2, "lp:2-3;nosync@2:0a,4a", "@2 0a 1 lp:2,3 4a" },
    { 2, "nosync:3f;drop:1;order:0,3,2,4", "@2 0 3f 2 4" },
    { 3, "nosync@3:1,2a,3f", "@3 0 1af 2a 3f 4" },
    { 3, "par:2-3;nosync@3:0f", "@3 0f 1 par:2,3 4" },
    { 4, "nosync@4:1a,2,3", "@4 0 1a 2af 3af 4" },
};

static const int rank_counts[] = { 1, 2, 3, 4, 6 };

static const char *const archs[] = {
    "llama", "qwen2", "qwen3",   "granite",  "smollm3", "gemma3",   "olmo2",
    "phi3",  "glm4",  "exaone4", "qwen3moe", "gpt-oss", "mistral3", "gemma2"
};

/* ==== equations ========================================================== */

static void expect_close(const char *path, const ref_model *ref,
                         const track_case *c, int ranks, const int32_t *ids,
                         const double *want)
{
    size_t n = (size_t)(N_TOKEN * ref_n_vocab(ref));
    tlp_session_options o = rig_f32(ranks, 1 + ranks % 2);
    float *got = rig_run(path, c->plan, &o, ids, N_TOKEN);
    double d = rig_diff(got, want, n);

    cr_assert(d <= TOLERANCE, "%s on %d ranks: off by %g where logits reach %g",
              c->plan, ranks, d, rig_scale(want, n));
    free(got);
}

static void all_cases(const tiny_spec *spec)
{
    const char *path = tiny_make(spec);
    ref_model *ref = ref_open(path);
    int32_t ids[N_TOKEN];

    rig_tokens(ids, N_TOKEN, (size_t)ref_n_vocab(ref), spec->seed);
    for (int i = 0; i < COUNT(cases); i++) {
        ref_plan p = ref_parse(cases[i].stages);
        double *want = ref_logits(ref, &p, ids, N_TOKEN);

        for (int j = 0; j < COUNT(rank_counts); j++)
            if (rank_counts[j] == 1 || rank_counts[j] % cases[i].n_track == 0)
                expect_close(path, ref, &cases[i], rank_counts[j], ids, want);
        free(want);
    }
    ref_close(ref);
}

TestSuite(tracks, .timeout = 300);

Test(tracks, every_architecture)
{
    for (int i = 0; i < COUNT(archs); i++) {
        tiny_spec spec = tiny_default();

        spec.arch = archs[i];
        spec.type = TLPI_F32;
        spec.out_bias = i == 0; /* once, by the track with head 0 */
        all_cases(&spec);
    }
}

/* Heads that no number of tracks divides; tracks that share a kv head; ranks
 * without a part of their track. */
Test(tracks, uneven_cuts)
{
    static const struct {
        int n_embd, n_ff, n_head, n_head_kv, head_dim;
    } shapes[] = {
        { 144, 96, 9, 3, 16 },
        { 112, 72, 7, 7, 16 },
        { 80, 200, 5, 1, 16 },
        { 64, 48, 4, 2, 40 },
    };

    for (int i = 0; i < COUNT(shapes); i++) {
        tiny_spec s = tiny_default();

        s.type = TLPI_F32;
        s.n_embd = shapes[i].n_embd;
        s.n_ff = shapes[i].n_ff;
        s.n_head = shapes[i].n_head;
        s.n_head_kv = shapes[i].n_head_kv;
        s.head_dim = shapes[i].head_dim;
        all_cases(&s);
        s.arch = "olmo2"; /* counts a shared kv head once in a row */
        all_cases(&s);
    }
}

/* An exchange that is left out changes the logits, and so does the number of
 * tracks: else the tables above would prove little. */
Test(tracks, plans_differ)
{
    tiny_spec spec = tiny_default();
    ref_model *ref = ref_open(tiny_make(&spec));
    size_t n = (size_t)(N_TOKEN * ref_n_vocab(ref));
    const char *const stages[] = { "0 1 2 3 4", "@2 0 1a 2 3 4",
                                   "@2 0 1f 2 3 4", "@2 0 1af 2 3 4",
                                   "@3 0 1af 2 3 4" };
    double *want[COUNT(stages)];
    int32_t ids[N_TOKEN];

    rig_tokens(ids, N_TOKEN, (size_t)ref_n_vocab(ref), 1);
    for (int i = 0; i < COUNT(stages); i++) {
        ref_plan p = ref_parse(stages[i]);

        want[i] = ref_logits(ref, &p, ids, N_TOKEN);
        for (int j = 0; j < i; j++) {
            double best = 0;

            for (size_t k = 0; k < n; k++)
                best = fmax(best, fabs(want[i][k] - want[j][k]));
            cr_assert(best > 1000 * TOLERANCE, "%s and %s: only %g apart",
                      stages[i], stages[j], best);
        }
    }
    for (int i = 0; i < COUNT(stages); i++)
        free(want[i]);
    ref_close(ref);
}

/* ==== sessions =========================================================== */

/* One token at a time, beside another sequence, and after a fork: bits of the
 * whole text at once. */
Test(tracks, cache_of_each_track)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    int32_t ids[N_TOKEN], other[N_TOKEN];

    for (int ranks = 1; ranks <= 4; ranks *= 2) {
        tlp_session_options o = rig_f32(ranks, 1);
        o.n_seq = 3;
        rig r = rig_open(path, "nosync@2:0f,1,3a", &o);
        size_t n = (size_t)N_TOKEN * r.n_vocab;

        rig_tokens(ids, N_TOKEN, r.n_vocab, 1);
        rig_tokens(other, N_TOKEN, r.n_vocab, 2);
        float *want = rig_eval(&r, 0, ids, N_TOKEN);
        for (int i = 0; i < N_TOKEN; i++) {
            float *got = rig_eval(&r, 1, ids + i, 1);

            cr_assert_eq(
                rig_diff_f(got, want + (size_t)i * r.n_vocab, r.n_vocab), 0,
                "%d ranks, token %d", ranks, i);
            free(got);
            free(rig_eval(&r, 2, other + i, 1));
        }
        CHECK_OK(tlp_session_fork(r.session, 2, 0));
        CHECK_OK(tlp_session_rewind(r.session, 2, 5));
        float *got = rig_eval(&r, 2, ids + 5, N_TOKEN - 5);
        cr_assert_eq(rig_diff_f(got, want + 5 * r.n_vocab, n - 5 * r.n_vocab),
                     0);
        free(got);
        free(want);
        rig_close(&r);
    }
}

/* Two exchanges a layer less the left-out ones; shares of a track are summed by
 * its ranks. */
Test(tracks, exchanges_are_counted)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *p = NULL;
    tlp_plan_cost c = { .struct_size = sizeof c };

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&p, m, "nosync@2:0f,1,3a"));
    CHECK_OK(tlp_plan_get_cost(&c, p, 2));
    cr_expect_eq(c.allreduces, 2 * spec.n_layer - 4);
    cr_expect_eq(c.inner_allreduces, 0);
    cr_expect_eq(c.exchanges, 2 * spec.n_layer - 4);
    CHECK_OK(tlp_plan_get_cost(&c, p, 4));
    cr_expect_eq(c.allreduces, 2 * spec.n_layer - 4);
    cr_expect_eq(c.inner_allreduces, 2 * 4);
    cr_expect_eq(c.exchanges, 2 * spec.n_layer - 4 + 4); /* two at a time */
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(&c, p, 3));
    cr_expect(strstr(tlp_last_error(), "2 tracks"), "%s", tlp_last_error());
    tlp_plan_free(p);
    tlp_model_free(m);
}

Test(tracks, other_numbers_of_ranks_are_refused)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *p = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&p, m, "nosync@4:1"));
    for (int ranks = 2; ranks <= 6; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        tlp_session *s = NULL;

        if (ranks == 4)
            continue;
        CHECK_FAILS(TLP_EINVAL, tlp_session_create(&s, p, &o));
        cr_expect(strstr(tlp_last_error(), "4 tracks"), "%s", tlp_last_error());
        cr_expect_null(s);
    }
    tlp_plan_free(p);
    tlp_model_free(m);
}

/* ==== forms ============================================================== */

static void expect_form(tlp_model *m, const char *text, const char *want)
{
    tlp_plan *p = NULL, *again = NULL;
    char a[4096], b[4096];
    size_t n = 0;

    CHECK_OK(tlp_plan_parse(&p, m, text));
    CHECK_OK(tlp_plan_format(a, sizeof a, &n, p, TLP_PLAN_TEXT));
    cr_expect_str_eq(a, want);
    CHECK_OK(tlp_plan_format(a, sizeof a, &n, p, TLP_PLAN_JSON));
    CHECK_OK(tlp_plan_parse(&again, m, a));
    CHECK_OK(tlp_plan_format(b, sizeof b, &n, again, TLP_PLAN_JSON));
    cr_expect_str_eq(a, b);
    CHECK_OK(tlp_plan_format(b, sizeof b, &n, again, TLP_PLAN_TEXT));
    cr_expect_str_eq(b, want);
    tlp_plan_free(again);
    tlp_plan_free(p);
}

Test(tracks, forms_are_written_back)
{
    static const char *const texts[][2] = {
        { "nosync:1f", "nosync@2:1f" },
        { " nosync @ 3 : 2 , 0 f ", "nosync@3:0f,2" },
        { "nosync:2a,2f", "nosync@2:2" },
        { "nosync:0-1,2-3a", "nosync@2:0,1,2a,3a" },
        { "nosync:3a;par:0-1", "par:0-1;nosync@2:3a" },
        { "nosync:4a;drop:1", "nosync@2:4a;drop:1" },
    };
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (int i = 0; i < COUNT(texts); i++)
        expect_form(m, texts[i][0], texts[i][1]);
    tlp_model_free(m);
}

Test(tracks, stages_tell_of_their_tracks)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *p = NULL;
    static const int nosync[] = { 0, TLP_NOSYNC_FFN, TLP_NOSYNC_ATTN, 0, 0 };
    static const int n_track[] = { 0, 3, 3, 0, 0 };

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&p, m, "nosync@3:1f,2a"));
    for (size_t i = 0; i < COUNT(nosync); i++) {
        tlp_stage_info s = { .struct_size = sizeof s };

        CHECK_OK(tlp_plan_get_stage(&s, p, i));
        cr_expect_eq(s.nosync, nosync[i], "stage %zu", i);
        cr_expect_eq(s.n_track, n_track[i], "stage %zu", i);
    }
    tlp_plan_free(p);
    tlp_model_free(m);
}

Test(tracks, bad_forms_are_refused)
{
    static const struct {
        const char *text;
        tlp_status status;
        const char *word;
    } bad[] = {
        { "nosync:4f", TLP_EINVAL, "4f" }, /* the last half-layer */
        { "nosync:4", TLP_EINVAL, "4f" },
        { "nosync:5", TLP_EINVAL, "5" },
        { "nosync:1,1f", TLP_EINVAL, "1f" },
        { "nosync:1a;nosync:2a", TLP_EINVAL, "twice" },
        { "nosync@1:1a", TLP_EINVAL, "1 tracks" },
        { "nosync@7:1a", TLP_EINVAL, "7 tracks" }, /* 6 heads */
        { "nosync@99:1a", TLP_EINVAL, "99 tracks" },
        { "nosync:1a;drop:1", TLP_EINVAL, "layer 1 is dropped" },
        { "nosync:1a;par:1-2", TLP_EINVAL, "layer 1" },
        { "nosync:0f;par:1-2", TLP_EINVAL, "0f" }, /* a group reads it */
        { "nosync:2a;merge:2-3", TLP_EINVAL, "layer 2" },
        { "nosync:", TLP_EFORMAT, "number" },
        { "nosync", TLP_EFORMAT, "\":\"" },
        { "nosync@:1a", TLP_EFORMAT, "number" },
        { "nosync:1b", TLP_EFORMAT, "1b" },
        { "nosync:a1", TLP_EFORMAT, "number" },
        { "serial;nosync:1a", TLP_EINVAL, "alone" },
        { "{\"tlp_plan\": 1, \"stages\": [], \"nosync\": 3}", TLP_EFORMAT, "" },
    };
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *p = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (int i = 0; i < COUNT(bad); i++) {
        tlp_status st = tlp_plan_parse(&p, m, bad[i].text);

        cr_expect(st == bad[i].status || !*bad[i].word, "%s: %s", bad[i].text,
                  tlp_last_error());
        cr_expect(st != TLP_OK && !p, "%s", bad[i].text);
        cr_expect(strstr(tlp_last_error(), bad[i].word), "%s: %s", bad[i].text,
                  tlp_last_error());
    }
    tlp_model_free(m);
}

static const char *const bad_json[] = {
    "{\"tracks\": 2, \"after\": [\"1\"], \"more\": 1}",
    "{\"tracks\": \"2\", \"after\": [\"1\"]}",
    "{\"tracks\": 2, \"after\": [1]}",
    "{\"tracks\": 2, \"after\": [\"1x\"]}",
    "{\"tracks\": 2, \"after\": [\"1,2\"]}",
    "{\"tracks\": 2, \"cut\": \"other\", \"after\": [\"1\"]}",
    "{\"tracks\": 2}",
    "[]",
};

Test(tracks, bad_json_is_refused)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *p = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    for (int i = 0; i < COUNT(bad_json); i++) {
        char text[512];

        snprintf(text, sizeof text,
                 "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}, "
                 "{\"layers\": [1]}, {\"layers\": [2]}, {\"layers\": [3]}, "
                 "{\"layers\": [4]}], \"nosync\": %s}",
                 bad_json[i]);
        cr_expect_lt(tlp_plan_parse(&p, m, text), 0, "%s", bad_json[i]);
        cr_expect(strstr(tlp_last_error(), "nosync") ||
                      strstr(tlp_last_error(), "1"),
                  "%s", tlp_last_error());
    }
    tlp_model_free(m);
}
