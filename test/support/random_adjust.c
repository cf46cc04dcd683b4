/*
 * random_adjust.c - see random_adjust.h.
 */
#include "support/random_adjust.h"

#include <stdlib.h>

#include "base/random.h"

/* Numbers are taken from the end of the block, in sequence. */
typedef struct random_source {
    float *at;
    uint64_t state;
    int64_t d;
} random_source;

/* n numbers within `width` of `about`. */
static float *take(random_source *s, int64_t n, double about, double width)
{
    float *x = s->at;

    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(about + width * (2 * tlpi_uniform(&s->state) - 1));
    s->at += n;
    return x;
}

static float gain(random_source *s)
{
    return (float)(1.05 + 0.1 * tlpi_uniform(&s->state));
}

static tlpi_fitted_lowrank lowrank(random_source *s, int rank)
{
    return (tlpi_fitted_lowrank){
        .rank = rank,
        .down = take(s, rank * s->d, 0, 0.1),
        .up = take(s, rank * s->d, 0, 0.1),
    };
}

/* Does track t of the stage have the norm of its half's output? */
static bool has_post(const tlp_plan *plan, int stage, int t, int apart)
{
    return tlpi_arch_get(&plan->model->hp)->post_norm &&
           (t == 0 || !tlpi_plan_has_tracks(plan, stage) ||
            plan->stage[stage].nosync & apart);
}

static tlpi_fitted_member member(random_source *s, const tlp_plan *plan,
                                 int stage, int j, int kinds, int rank)
{
    tlpi_fitted_member m = { .attn_gain = 1, .ffn_gain = 1 };
    bool norms = kinds & FITTED_NORMS;

    if (norms && !tlpi_arch_get(&plan->model->hp)->raw_input) {
        m.attn_norm = take(s, s->d, 1, 0.2);
        m.ffn_norm = take(s, s->d, 1, 0.2);
    }
    if (norms && has_post(plan, stage, j, TLP_NOSYNC_ATTN))
        m.attn_post = take(s, s->d, 1, 0.2);
    if (norms && has_post(plan, stage, j, TLP_NOSYNC_FFN))
        m.ffn_post = take(s, s->d, 1, 0.2);
    if (kinds & FITTED_GAINS) {
        m.attn_gain = gain(s);
        m.ffn_gain = gain(s);
    }
    if (kinds & FITTED_ATTN_IN)
        m.attn_in = lowrank(s, rank);
    if (kinds & FITTED_FFN_IN)
        m.ffn_in = lowrank(s, rank);
    if (kinds & FITTED_OUT)
        m.out_down = take(s, rank * s->d, 0, 0.1);
    return m;
}

static int count_members(const tlp_plan *plan, int stage)
{
    return tlpi_plan_has_tracks(plan, stage) ? plan->n_track
                                             : plan->stage[stage].n_member;
}

static size_t count_all(const tlp_plan *plan)
{
    size_t n = 0;

    for (int i = 0; i < plan->n_stage; i++)
        n += (size_t)count_members(plan, i);
    return n;
}

tlpi_fitted_stage *fitted_make(const tlp_plan *plan, int kinds, int rank,
                               uint64_t seed)
{
    size_t n_stage = (size_t)plan->n_stage, n_member = count_all(plan);
    size_t d = (size_t)plan->model->hp.n_embd;
    size_t n_float = n_member * (4 + 6 * (size_t)rank) * d;
    char *block = calloc(1, n_stage * sizeof(tlpi_fitted_stage) +
                                n_member * sizeof(tlpi_fitted_member) +
                                n_float * sizeof(float));

    if (!block)
        return NULL;
    tlpi_fitted_stage *stage = (void *)block;
    tlpi_fitted_member *m = (void *)(stage + n_stage);
    random_source s = { (void *)(m + n_member), seed, (int64_t)d };
    for (int i = 0; i < plan->n_stage; i++) {
        int n = count_members(plan, i);
        bool out = kinds & FITTED_OUT && !tlpi_plan_has_tracks(plan, i) &&
                   !tlpi_arch_get(&plan->model->hp)->post_norm;

        if (n < 2)
            continue;
        stage[i].member = m;
        for (int j = 0; j < n; j++)
            *m++ =
                member(&s, plan, i, j, out ? kinds : kinds & ~FITTED_OUT, rank);
        if (out) {
            stage[i].out_rank = rank;
            stage[i].out_up = take(&s, rank * s.d, 0, 0.1);
        }
    }
    return stage;
}

tlp_status fitted_plan(tlp_plan **out, const tlp_plan *plan, int kinds,
                       int rank, uint64_t seed)
{
    tlpi_fitted_stage *stage = fitted_make(plan, kinds, rank, seed);
    void *image;
    size_t n;

    *out = NULL;
    if (!stage)
        return tlpi_fail_nomem_for("adjustments");
    tlp_status st = tlpi_adjust_image(plan, stage, NULL, &image, &n);
    free(stage);
    return st == TLP_OK ? tlpi_plan_with_adjust(out, plan, image, n, "fitted")
                        : st;
}
