/*
 * test_scorer.c - variants scored on a text: what the scorer keeps between
 * them.
 */
#include <string.h>

#include "backend/weight_key.h"
#include "rank/forward.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tune/scorer.h"

enum { N_LAYER = 4, N_CTX = 16, N_TOKEN = 3 * N_CTX };

static int32_t ids[N_TOKEN];

TestSuite(scorer, .timeout = 60);

static tlp_status go_on(void *arg)
{
    (void)arg;
    return TLP_OK;
}

typedef struct scorer_bench {
    tlp_model *model;
    tlpi_session_config cfg;
    tlpi_windows text;
    tlpi_teacher teacher;
    tlpi_scorer *scorer;
} scorer_bench;

static void set_up(scorer_bench *b, size_t budget)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tiny_spec spec = tiny_default();

    spec.n_layer = N_LAYER;
    *b = (scorer_bench){ 0 };
    o.n_ctx = N_CTX;
    o.n_thread = 1;
    CHECK_OK(tlp_model_open(&b->model, tiny_make(&spec), NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 3);
    CHECK_OK(tlpi_runner_config(&b->cfg, b->model, &o));
    CHECK_OK(
        tlpi_windows_cut(&b->text, &b->model->env, ids, N_TOKEN, N_CTX, 7));
    CHECK_OK(tlpi_teacher_create(&b->teacher, b->model, &b->cfg, &b->text,
                                 (tlpi_tick){ go_on, NULL }));
    const tlpi_scorer_setup setup = {
        .teacher = &b->teacher, .n_track = 2, .nosync = true, .budget = budget
    };
    CHECK_OK(tlpi_scorer_create(&b->scorer, &setup));
}

static void tear_down(scorer_bench *b)
{
    tlpi_scorer_free(b->scorer);
    tlpi_teacher_free(&b->teacher);
    tlpi_windows_free(&b->text);
    tlp_model_free(b->model);
}

/* Is the first half of a layer's ffn_up packed? */
static bool is_packed(const scorer_bench *b, int layer)
{
    const tlpi_tensor *t = b->model->w.layer[layer].t[TLPI_FFN_UP];
    tlpi_weight_cache_key key = tlpi_weight_key(
        b->teacher.serial.rank->b->layout, t, 0, t->ne[1] / 2, 0, t->ne[0]);

    return tlpi_weight_cache_has(b->model->weight_cache, &key);
}

static double score(scorer_bench *b, const char *variant)
{
    const tlpi_score *x;

    CHECK_OK(tlpi_scorer_run(b->scorer, variant, b->text.n, &x));
    return tlpi_score_kl(b->scorer, x, b->text.n);
}

/* Layers 1 and 2 are cut into tracks; later variants cut one of them again. */
Test(scorer, keeps_the_packed_weights_of_layers_in_tracks)
{
    scorer_bench b;

    set_up(&b, (size_t)1 << 24);
    score(&b, "--..---");
    for (int l = 0; l < N_LAYER; l++)
        cr_expect_eq(is_packed(&b, l), l == 1 || l == 2, "layer %d", l);
    int n = b.scorer->kept.n;
    score(&b, "--.----");
    cr_expect_eq(b.scorer->kept.n, n, "layer 1 is kept once");
    CHECK_OK(tlpi_scorer_rebase(b.scorer, "------."));
    cr_expect(is_packed(&b, 3));
    tear_down(&b);
}

/* What is kept changes no score and stays within the budget. */
Test(scorer, keeps_weights_within_the_budget)
{
    scorer_bench all, some, none;

    set_up(&all, (size_t)1 << 24);
    size_t before = all.scorer->kept_budget;
    double want = score(&all, "..-.-..");
    size_t layer = (before - all.scorer->kept_budget) / N_LAYER;
    int n = all.scorer->kept.n;
    tear_down(&all);

    set_up(&some, 2 * layer);
    cr_expect_eq(score(&some, "..-.-.."), want);
    cr_expect_gt(some.scorer->kept.n, 0);
    cr_expect_lt(some.scorer->kept.n, n);
    tear_down(&some);

    set_up(&none, 1);
    cr_expect_eq(score(&none, "..-.-.."), want);
    cr_expect_eq(none.scorer->kept.n, 0);
    tear_down(&none);
}
