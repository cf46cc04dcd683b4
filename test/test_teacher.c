/*
 * test_teacher.c - a calibration text in windows, and the serial model on them:
 * streams, inputs, logits that are kept or not.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rank/forward.h"
#include "support/teacher_rig.h"
#include "support/tiny.h"
#include "tune/teacher.h"

enum { N_CTX = 16, N_TOKEN = 4 * N_CTX + 6 };

static int32_t ids[N_TOKEN];

TestSuite(teacher, .timeout = 60);

static tlp_status count(void *arg)
{
    int *left = arg;

    return (*left)-- > 0 ? TLP_OK : TLP_ECANCELED;
}

typedef struct bench {
    teacher_rig rig;
    int left; /* calls of tick until it ends the work */
} bench;

static void set_up(bench *b)
{
    const teacher_shape shape = { 0, N_TOKEN, N_CTX, 2, NULL };

    b->left = INT32_MAX;
    teacher_rig_open(&b->rig, ids, &shape, (tlpi_tick){ count, &b->left });
}

static void tear_down(bench *b)
{
    teacher_rig_close(&b->rig);
}

/* ==== windows ============================================================ */

static tlpi_windows cut(const tlp_model *m, size_t n, uint64_t seed)
{
    tlpi_windows t;

    CHECK_OK(tlpi_windows_cut(&t, &m->env, ids, n, N_CTX, seed));
    return t;
}

Test(teacher, windows_cover_the_text_once_in_an_order_of_the_seed)
{
    bench b;
    bool seen[5] = { false }, moved = false;

    set_up(&b);
    cr_assert_eq(b.rig.text.n, 5);
    cr_assert_eq(b.rig.text.n_tok, N_TOKEN);
    for (int i = 0; i < b.rig.text.n; i++) {
        const tlpi_window *w = &b.rig.text.window[i];
        int place = (int)(w->ids - ids) / N_CTX;

        cr_assert_eq((w->ids - ids) % N_CTX, 0);
        cr_assert_not(seen[place]);
        cr_assert_eq(w->n, i < 4 ? N_CTX : 6);
        cr_assert_eq(w->at, (size_t)i * N_CTX);
        seen[place] = true;
        moved |= place != i;
    }
    cr_assert(moved);
    tlpi_windows again = cut(b.rig.model, N_TOKEN, 7);
    tlpi_windows other = cut(b.rig.model, N_TOKEN, 8);
    size_t n = (size_t)b.rig.text.n * sizeof(tlpi_window);
    cr_assert_eq(memcmp(again.window, b.rig.text.window, n), 0);
    cr_assert_neq(memcmp(other.window, b.rig.text.window, n), 0);
    tlpi_windows_free(&other);
    tlpi_windows_free(&again);
    tear_down(&b);
}

Test(teacher, a_token_that_gives_no_prediction_is_left_out)
{
    bench b;

    set_up(&b);
    tlpi_windows t = cut(b.rig.model, 2 * N_CTX + 1, 1);
    cr_assert_eq(t.n, 2);
    cr_assert_eq(t.n_tok, 2 * N_CTX);
    cr_assert_eq(t.n_id, 2 * N_CTX + 1);
    tlpi_windows_free(&t);
    tear_down(&b);
}

Test(teacher, some_windows_are_held_out_and_some_are_left)
{
    static const struct {
        double share;
        int held;
    } cases[] = { { 0.25, 1 }, { 0.5, 3 }, { 0.01, 1 }, { 0.99, 4 } };
    bench b;

    set_up(&b);
    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        CHECK_OK(tlpi_windows_hold_out(&b.rig.text, cases[i].share));
        cr_assert_eq(b.rig.text.n_held, cases[i].held, "%g: %d", cases[i].share,
                     b.rig.text.n_held);
    }
    tlpi_windows one = cut(b.rig.model, N_CTX, 1);
    CHECK_FAILS(TLP_EINVAL, tlpi_windows_hold_out(&one, 0.5));
    tlpi_windows_free(&one);
    tear_down(&b);
}

Test(teacher, text_and_size_of_windows_are_checked)
{
    bench b;

    set_up(&b);
    CHECK_OK(tlpi_windows_check(b.rig.model, ids, N_TOKEN, N_CTX));
    CHECK_FAILS(TLP_EINVAL, tlpi_windows_check(b.rig.model, ids, 1, N_CTX));
    CHECK_FAILS(TLP_EINVAL, tlpi_windows_check(b.rig.model, ids, N_TOKEN, 1));
    CHECK_FAILS(TLP_EINVAL, tlpi_windows_check(b.rig.model, ids, N_TOKEN,
                                               TLPI_MAX_WINDOW + 1));
    ids[5] = b.rig.model->hp.n_vocab;
    CHECK_FAILS(TLP_EINVAL,
                tlpi_windows_check(b.rig.model, ids, N_TOKEN, N_CTX));
    tear_down(&b);
}

/* ==== layers ============================================================= */

/* Sums of the inputs that were shown, by layer and half. */
typedef struct shown {
    double sum[8][2];
    int n[8][2], n_stream[8];
} shown;

static void see(void *arg, int layer, tlpi_probe_at at, const tlpi_window *w,
                const float *x)
{
    shown *s = arg;
    int half = at == TLPI_PROBE_FFN_IN;

    for (int i = 0; i < w->n * tiny_default().n_embd; i++)
        s->sum[layer][half] += (double)x[i] * (double)x[i];
    s->n[layer][half]++;
}

static void see_stream(void *arg, int layer, const tlpi_window *w,
                       const float *x)
{
    shown *s = arg;

    (void)w;
    s->n_stream[layer] += isfinite(x[0]);
}

Test(teacher, bits_do_not_depend_on_where_the_teacher_pauses)
{
    bench b;
    shown whole = { 0 }, steps = { 0 };
    const tlpi_teacher_hook to_whole = { see, NULL, &whole },
                            to_steps = { see, see_stream, &steps };

    set_up(&b);
    int n_layer = b.rig.model->hp.n_layer;
    size_t bytes =
        b.rig.text.n_tok * (size_t)b.rig.model->hp.n_embd * sizeof(float);
    float *end = malloc(bytes);
    CHECK_OK(tlpi_teacher_advance(&b.rig.teacher, n_layer, &to_whole));
    memcpy(end, b.rig.teacher.stream, bytes);
    tlpi_teacher_begin(&b.rig.teacher, b.rig.text.n);
    cr_assert_neq(memcmp(end, b.rig.teacher.stream, bytes), 0);
    for (int l = 0; l < n_layer; l++)
        CHECK_OK(tlpi_teacher_advance(&b.rig.teacher, l + 1, &to_steps));
    cr_assert_eq(b.rig.teacher.layer, n_layer);
    cr_assert_eq(memcmp(end, b.rig.teacher.stream, bytes), 0);
    for (int l = 0; l < n_layer; l++) {
        cr_assert_eq(steps.n_stream[l], b.rig.text.n);
        for (int half = 0; half < 2; half++) {
            cr_assert_eq(whole.n[l][half], b.rig.text.n);
            cr_assert_gt(whole.sum[l][half], 0);
            cr_assert_eq(whole.sum[l][half], steps.sum[l][half]);
        }
    }
    free(end);
    tear_down(&b);
}

Test(teacher, a_tick_ends_the_work)
{
    bench b;

    set_up(&b);
    b.left = 2;
    cr_assert_eq(tlpi_teacher_advance(&b.rig.teacher, 1, NULL), TLP_ECANCELED);
    tear_down(&b);
}

/* ==== scores ============================================================= */

/* Run a plan over a window, and score it. */
static void score(bench *b, const char *text, int window, tlpi_token_score *out)
{
    const tlpi_window *w = &b->rig.text.window[window];
    tlpi_step step = tlpi_window_step(&b->rig.text, w);
    tlp_plan *plan = NULL;
    tlpi_runner r;

    CHECK_OK(tlp_plan_parse(&plan, b->rig.model, text));
    CHECK_OK(tlpi_runner_create(&r, plan, &b->rig.cfg));
    tlpi_forward_begin(r.rank, &step, NULL);
    CHECK_OK(
        tlpi_forward_stages(r.rank, r.rank->program, &step, 0, plan->n_stage));
    CHECK_OK(tlpi_teacher_score(&b->rig.teacher, &r, window, out));
    tlpi_runner_free(&r);
    tlp_plan_free(plan);
}

Test(teacher, the_serial_plan_has_no_distance_and_another_one_has)
{
    bench b;
    tlpi_token_score same[N_CTX], other[N_CTX];

    set_up(&b);
    CHECK_OK(
        tlpi_teacher_advance(&b.rig.teacher, b.rig.model->hp.n_layer, NULL));
    for (int i = 0; i < b.rig.text.n; i++) {
        score(&b, "serial", i, same);
        score(&b, "lp:1-3", i, other);
        for (int t = 0; t < b.rig.text.window[i].n - 1; t++) {
            cr_assert_leq(same[t].kl, 1e-12);
            cr_assert(same[t].same_top1);
            cr_assert_gt(other[t].kl, 1e-9);
            cr_assert_gt(other[t].nll, 0);
        }
    }
    tear_down(&b);
}

Test(teacher, kept_logits_score_as_computed_ones_do)
{
    bench b;
    tlpi_token_score computed[5][N_CTX], kept[N_CTX];

    set_up(&b);
    CHECK_OK(
        tlpi_teacher_advance(&b.rig.teacher, b.rig.model->hp.n_layer, NULL));
    for (int i = 0; i < b.rig.text.n; i++)
        score(&b, "lp:1-3", i, computed[i]);
    size_t row = (size_t)b.rig.model->hp.n_vocab * sizeof(float);
    size_t budget = (2 * (N_CTX - 1) + 7) * row; /* and the short window */
    CHECK_OK(tlpi_teacher_keep_logits(&b.rig.teacher, &budget));
    for (int i = 0; i < b.rig.text.n; i++) {
        score(&b, "lp:1-3", i, kept);
        for (int t = 0; t < b.rig.text.window[i].n - 1; t++) {
            cr_assert_eq(kept[t].kl, computed[i][t].kl);
            cr_assert_eq(kept[t].nll, computed[i][t].nll);
            cr_assert_eq(kept[t].same_top1, computed[i][t].same_top1);
        }
    }
    cr_assert(b.rig.teacher.logits[0] && b.rig.teacher.logits[1]);
    cr_assert(!b.rig.teacher.logits[2] && !b.rig.teacher.logits[3]);
    cr_assert_not_null(b.rig.teacher.logits[4]);
    cr_assert_eq(budget, 2 * row);
    tear_down(&b);
}
