/*
 * place_noise.c - how much the model minds an error of the residual stream: the
 * KL divergence that noise on the stream costs.
 *
 * The noise of a token is TLPI_PLACE_NOISE times as large as the token's
 * stream. It points along what the half-layer added at another token, or
 * against it, so that it has a direction in which errors of this half-layer can
 * point.  The first token of a window gets no noise (place.h).
 */
#include <math.h>

#include "base/random.h"
#include "rank/forward.h"
#include "tune/linear.h"
#include "tune/place.h"

static double length(const float *x, size_t n)
{
    return sqrt(tlpi_squares(x, n));
}

/* x [n_tok][d] += noise along g [n_tok][d], except for the first token */
static void add_noise(float *x, const float *g, int n_tok, size_t d,
                      uint64_t seed)
{
    for (size_t t = 1; t < (size_t)n_tok; t++) {
        uint64_t drawn = tlpi_random(&seed);
        const float *from = g + (1 + (drawn >> 1) % (uint64_t)(n_tok - 1)) * d;
        float *to = x + t * d;
        double size = TLPI_PLACE_NOISE * length(to, d);
        double scale = size / (length(from, d) + 1e-30);

        for (size_t i = 0; i < d; i++)
            to[i] += (float)((drawn & 1 ? scale : -scale) * (double)from[i]);
    }
}

/* Run the serial model from the stream x behind a half-layer to its end. */
static tlp_status run_rest(const tlpi_place_study *s, const tlpi_step *step,
                           int half, const float *x)
{
    tlpi_rank *r = s->serial.rank;

    tlpi_forward_begin(r, step, x);
    return tlpi_forward_stages(r, r->program, step, half / 2 + 1,
                               s->serial.plan->n_stage);
}

/* x += the feed-forward part of a layer whose attention is in x. */
static tlp_status finish_layer(const tlpi_place_study *s, const tlpi_step *step,
                               int half, float *x, float *parts)
{
    size_t n = tlpi_n_stream(s->tracks.rank, step);
    const float *sum = parts + (size_t)s->o.n_track * n;
    tlp_status st = tlpi_place_half(s, half, step, x, parts);

    for (size_t i = 0; i < n && st == TLP_OK; i++)
        x[i] += sum[i];
    return st;
}

tlp_status tlpi_place_disturb(tlpi_place_study *s, int window, int half,
                              float *x, const float *g, float *parts)
{
    const tlpi_window *w = &s->text.window[window];
    tlpi_step step = tlpi_window_step(&s->text, w);
    uint64_t seed = s->o.seed + (uint64_t)w->at * 1024 + (uint64_t)half;
    tlp_status st = TLP_OK;

    add_noise(x, g, w->n, (size_t)s->model->hp.n_embd, tlpi_random(&seed));
    if (half % 2 == 0)
        TLP_TRY(finish_layer(s, &step, half + 1, x, parts));
    TLP_TRY(run_rest(s, &step, half, x));
    TLP_TRY(
        tlpi_teacher_score(&s->teacher, &s->serial, window, s->scorer->token));
    for (int t = 0; t < w->n - 1; t++)
        s->noise[half] += s->scorer->token[t].kl;
    st = tlpi_tick_call(&s->teacher.tick);
done:
    return st;
}
