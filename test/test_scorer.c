/*
 * test_scorer.c - variants scored on a text: what the scorer keeps between
 * them.
 */
#include <string.h>

#include "backend/weight_key.h"
#include "rank/forward.h"
#include "support/teacher_rig.h"
#include "tune/scorer.h"

enum { N_LAYER = 4, N_CTX = 16, N_TOKEN = 3 * N_CTX };

static int32_t ids[N_TOKEN];

TestSuite(scorer, .timeout = 60);

typedef struct scorer_bench {
    teacher_rig rig;
    tlpi_scorer *scorer;
} scorer_bench;

static void set_up(scorer_bench *b, size_t budget)
{
    const teacher_shape shape = { N_LAYER, N_TOKEN, N_CTX, 1, NULL };
    const tlpi_scorer_setup setup = { .teacher = &b->rig.teacher,
                                      .n_track = 2,
                                      .nosync = true,
                                      .budget = budget };

    teacher_rig_open(&b->rig, ids, &shape, (tlpi_tick){ NULL, NULL });
    CHECK_OK(tlpi_scorer_create(&b->scorer, &setup));
}

static void tear_down(scorer_bench *b)
{
    tlpi_scorer_free(b->scorer);
    teacher_rig_close(&b->rig);
}

/* Is the first half of a layer's ffn_up packed? */
static bool is_packed(const scorer_bench *b, int layer)
{
    const tlpi_tensor *t = b->rig.model->w.layer[layer].t[TLPI_FFN_UP];
    tlpi_weight_cache_key key = tlpi_weight_key(
        b->rig.teacher.serial.rank->b->layout, t, 0, t->ne[1] / 2, 0, t->ne[0]);

    return tlpi_weight_cache_has(b->rig.model->weight_cache, &key);
}

static double score(scorer_bench *b, const char *variant)
{
    const tlpi_score *x;

    CHECK_OK(tlpi_scorer_run(b->scorer, variant, b->rig.text.n, &x));
    return tlpi_score_kl(b->scorer, x, b->rig.text.n);
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
