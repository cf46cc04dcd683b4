/*
 * place_measure.c - run the serial model half-layer by half-layer, and compute
 * at each place what a plan would compute there.
 */
#include <math.h>
#include <string.h>

#include "rank/forward.h"
#include "rank/half_layer.h"
#include "tune/linear.h"
#include "tune/place.h"

/* Streams that are kept: a pair needs those before both of its layers. */
enum { N_STREAM = 5 };

typedef struct place_meter {
    tlpi_place_study *s;
    int n_track, window, half;
    tlpi_step step;
    size_t d, n;             /* floats of a token and of the window */
    float *memory;           /* of all that follows */
    float *stream[N_STREAM]; /* h_k, before half-layer k, at k % N_STREAM */
    float *f; /* [n_track + 1][n] parts of half-layer half - 1, and the sum */
    float *g; /* [n_track + 1][n] parts of half-layer half, and the sum */
    float
        *have;  /* [n_track + 1][n] its parts from other streams, and the sum */
    float *own; /* [n_track][n] streams of the tracks */
    float *a, *b; /* [n] */
} place_meter;

/* ==== vectors ============================================================ */

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

/* y = a - b */
static void subtract(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] - b[i];
}

/* y = a + b */
static void sum_two(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

/* *sum += |a|² / |b|² of each token but the first. */
static void add_ratios(const place_meter *m, double *sum, const float *a,
                       const float *b)
{
    for (size_t t = m->d; t < m->n; t += m->d)
        *sum += tlpi_squares(a + t, m->d) / (tlpi_squares(b + t, m->d) + 1e-30);
}

/* *sum += |a - b|² / |c|² of each token; a is lost. */
static void add_errors(const place_meter *m, double *sum, float *a,
                       const float *b, const float *c)
{
    subtract(a, a, b, m->n);
    add_ratios(m, sum, a, c);
}

/* ==== half-layers ======================================================== */

/* Part t of parts; t = n_track: the sum. */
static float *part_of(const place_meter *m, float *parts, int t)
{
    return parts + (size_t)t * m->n;
}

static float *total(const place_meter *m, float *parts)
{
    return part_of(m, parts, m->n_track);
}

static float *stream_before(const place_meter *m, int half)
{
    return m->stream[half % N_STREAM];
}

/* x [n_tok][d] becomes its RMS norm times w and scale. */
static void normalise(const tlpi_place_study *s, const float *w, float scale,
                      int n_tok, float *x)
{
    size_t d = (size_t)s->model->hp.n_embd;

    for (int t = 0; t < n_tok; t++, x += d) {
        double mean = tlpi_squares(x, d) / (double)d;
        double by = (double)scale / sqrt(mean + (double)s->model->hp.norm_eps);

        for (size_t i = 0; i < d; i++)
            x[i] = (float)(by * (double)w[i] * (double)x[i]);
    }
}

/* What the tracks compute, and their sum, become what they give. */
static void give(const tlpi_place_study *s, int half, int n_tok, float *parts)
{
    size_t d = (size_t)s->model->hp.n_embd;
    const float *w = s->post + (size_t)half * d;
    float root = sqrtf((float)s->o.n_track);

    for (int t = 0; t <= s->o.n_track; t++)
        normalise(s, w, t < s->o.n_track ? 1 / root : 1, n_tok,
                  parts + (size_t)t * (size_t)n_tok * d);
}

/* What a half-layer gives from a stream for each track: of each track alone,
 * and of the tracks' sum. */
static tlp_status run_half(const tlpi_place_study *s, int half,
                           const tlpi_step *step, const float *const *x,
                           float *parts)
{
    tlpi_rank *r = s->tracks.rank;
    size_t n = tlpi_n_stream(r, step);
    float *sum = parts + (size_t)s->o.n_track * n;
    tlp_status st = tlpi_half_layer(r, r->program, half / 2,
                                    half % 2 ? TLP_NOSYNC_FFN : TLP_NOSYNC_ATTN,
                                    step, x, parts);

    if (st != TLP_OK)
        return st;
    memcpy(sum, parts, n * sizeof *sum);
    for (int t = 1; t < s->o.n_track; t++)
        add(sum, parts + (size_t)t * n, n);
    if (s->post)
        give(s, half, step->n_tok, parts);
    return TLP_OK;
}

tlp_status tlpi_place_half(const tlpi_place_study *s, int half,
                           const tlpi_step *step, const float *x, float *parts)
{
    const float *all[TLPI_MAX_TRACK];

    for (int t = 0; t < s->o.n_track; t++)
        all[t] = x;
    return run_half(s, half, step, all, parts);
}

/* ==== an exchange ======================================================== */

/* What the plan's stream has of half-layer m->half - 1, less what the serial
 * model's has: without norms of outputs the parts add up to the whole. */
static void add_first_error(const place_meter *m, float *error)
{
    for (int t = 0; m->s->post && t < m->n_track; t++)
        add(error, part_of(m, m->f, t), m->n);
    if (m->s->post)
        subtract(error, error, total(m, m->f), m->n);
}

/* have = the parts of m->half, which track t computes from x + f_t. */
static tlp_status run_tracks(const place_meter *m)
{
    const float *stream[TLPI_MAX_TRACK];

    for (int t = 0; t < m->n_track; t++) {
        float *own = part_of(m, m->own, t);

        sum_two(own, stream_before(m, m->half - 1), part_of(m, m->f, t), m->n);
        stream[t] = own;
    }
    return run_half(m->s, m->half, &m->step, stream, m->have);
}

/* The exchange before m->half: f = half-layer half - 1, g = half-layer half. */
static tlp_status measure_exchange(const place_meter *m)
{
    tlpi_place_sums *sums = &m->s->exchange[m->half - 1];
    const float *f = total(m, m->f), *g = total(m, m->g);
    double own = 0;
    tlp_status st = TLP_OK;

    add_ratios(m, &sums->step, f, stream_before(m, m->half));
    for (int t = 0; t < m->n_track; t++)
        add_ratios(m, &own, part_of(m, m->f, t), f);
    sums->own += own / m->n_track;
    TLP_TRY(tlpi_place_half(m->s, m->half, &m->step,
                            stream_before(m, m->half - 1), m->have));
    add_errors(m, &sums->change, total(m, m->have), g, g);
    TLP_TRY(run_tracks(m));
    add_first_error(m, total(m, m->have));
    add_errors(m, &sums->error, total(m, m->have), g,
               stream_before(m, m->half + 1));
done:
    return st;
}

/* ==== a pair ============================================================= */

/* y = A(x) + F(x + A(x)) of a layer; y is none of the meter's parts. */
static tlp_status run_layer(const place_meter *m, int layer, const float *x,
                            float *y)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_place_half(m->s, 2 * layer, &m->step, x, m->have));
    memcpy(y, total(m, m->have), m->n * sizeof *y);
    sum_two(m->own, x, y, m->n);
    TLP_TRY(tlpi_place_half(m->s, 2 * layer + 1, &m->step, m->own, m->have));
    add(y, total(m, m->have), m->n);
done:
    return st;
}

/* The layer whose feed-forward part is m->half, and the layer before. */
static tlp_status measure_pair(const place_meter *m)
{
    int layer = m->half / 2;
    tlpi_place_sums *sums = &m->s->pair[layer - 1];
    const float *x = stream_before(m, 2 * layer - 2);
    const float *y = stream_before(m, 2 * layer);
    const float *z = stream_before(m, 2 * layer + 2);
    float *f = m->a, *g = m->b, *other = m->own, *both = m->have;
    double own = 0;
    tlp_status st = run_layer(m, layer, x, m->a);

    if (st != TLP_OK)
        return st;
    memcpy(other, m->a, m->n * sizeof *other);
    subtract(f, y, x, m->n);
    subtract(g, z, y, m->n);
    subtract(both, z, x, m->n);
    add_ratios(m, &sums->step, f, y);
    add_ratios(m, &own, f, both);
    add_ratios(m, &own, g, both);
    sums->own += own / 2;
    add_errors(m, &sums->change, other, g, g);
    add_ratios(m, &sums->error, other, z);
    return TLP_OK;
}

/* ==== a window =========================================================== */

static tlp_status run_place(place_meter *m)
{
    float *next = stream_before(m, m->half + 1);
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_place_half(m->s, m->half, &m->step, stream_before(m, m->half),
                            m->g));
    sum_two(next, stream_before(m, m->half), total(m, m->g), m->n);
    if (m->half > 0) {
        TLP_TRY(measure_exchange(m));
        if (m->half % 2 && m->half > 1)
            TLP_TRY(measure_pair(m));
        memcpy(m->a, next, m->n * sizeof *next);
        TLP_TRY(tlpi_place_disturb(m->s, m->window, m->half, m->a,
                                   total(m, m->g), m->have));
    }
    float *f = m->f;
    m->f = m->g;
    m->g = f;
done:
    return st;
}

static tlp_status measure_window(place_meter *m, int window)
{
    const tlpi_place_study *s = m->s;
    tlp_status st = TLP_OK;

    m->window = window;
    m->step = tlpi_window_step(&s->text, &s->text.window[window]);
    m->n = tlpi_n_stream(s->tracks.rank, &m->step);
    tlpi_forward_begin(s->tracks.rank, &m->step, NULL);
    tlpi_forward_stream(s->tracks.rank, &m->step, m->stream[0]);
    for (m->half = 0; m->half < 2 * s->model->hp.n_layer; m->half++)
        TLP_TRY(run_place(m));
done:
    return st;
}

/* ==== all windows ======================================================== */

static tlp_status create(place_meter *m)
{
    size_t n = (size_t)m->s->text.n_ctx * m->d, n_track = (size_t)m->n_track;
    size_t n_vector = N_STREAM + 3 * (n_track + 1) + n_track + 2;
    float *at = tlpi_alloc_array(m->s->env, n_vector * n, sizeof *at);

    if (!at)
        return tlpi_fail_nomem_for("a study");
    m->memory = at;
    for (int i = 0; i < N_STREAM; i++, at += n)
        m->stream[i] = at;
    m->f = at;
    m->g = m->f + (n_track + 1) * n;
    m->have = m->g + (n_track + 1) * n;
    m->own = m->have + (n_track + 1) * n;
    m->a = m->own + n_track * n;
    m->b = m->a + n;
    return TLP_OK;
}

tlp_status tlpi_place_measure(tlpi_place_study *s)
{
    place_meter m = { .s = s,
                      .n_track = s->o.n_track,
                      .d = (size_t)s->model->hp.n_embd };
    tlp_status st;

    TLP_TRY(create(&m));
    for (int i = 0; i < s->text.n; i++)
        TLP_TRY(measure_window(&m, i));
done:
    tlpi_free(s->env, m.memory);
    return st;
}
