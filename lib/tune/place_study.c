/*
 * place_study.c - tlp_model_study: options, the measures of all places, the KL
 * divergence of each.
 */
#include <math.h>
#include <string.h>

#include "tune/place.h"

#define DEFAULT_TRACK 2
#define DEFAULT_BYTES ((uint64_t)768 << 20)

/* ==== progress =========================================================== */

static tlp_status say(const tlpi_place_study *s, double done)
{
    if (s->o.progress && s->o.progress(fmin(1, done), s->o.progress_data))
        return tlpi_fail(TLP_ECANCELED, "the study was canceled");
    return TLP_OK;
}

static tlp_status tick(void *arg)
{
    tlpi_place_study *s = arg;

    s->done++;
    return say(s, s->done / s->total);
}

/* Two runs of the serial model with its logits; noise behind each half-layer
 * but the first; each exchange and each pair. */
static double count_runs(const tlpi_place_study *s)
{
    int n_layer = s->model->hp.n_layer;

    return (double)s->text.n * (2 + 2 * (2 * n_layer - 1) + n_layer - 1);
}

/* ==== setting up ========================================================= */

static tlp_status check_tracks(const tlpi_place_study *s)
{
    int max = tlpi_plan_max_track(s->model);

    if (s->o.n_track >= 2 && s->o.n_track <= max)
        return TLP_OK;
    if (max < 2)
        return tlpi_fail(TLP_EINVAL,
                         "%s has one query head, which cannot be cut into "
                         "tracks",
                         s->model->path);
    return tlpi_fail(TLP_EINVAL, "n_track %d: 2 to %d expected", s->o.n_track,
                     max);
}

static tlp_status read_options(tlpi_place_study *s,
                               const tlp_study_options *opts, size_t n)
{
    tlp_study_options *o = &s->o;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof *o, opts, "tlp_study_options"));
    TLP_TRY(tlpi_windows_session(&s->session, o->session, n));
    o->session = &s->session;
    if (o->n_track == 0)
        o->n_track = DEFAULT_TRACK;
    if (o->max_bytes == 0)
        o->max_bytes = DEFAULT_BYTES;
    st = check_tracks(s);
done:
    return st;
}

/* A plan that makes no exchange but the last, so that each half-layer is cut
 * into tracks. */
static tlp_status open_tracks(tlpi_place_study *s)
{
    tlp_plan *plan = NULL;
    tlp_status st;

    memset(s->variant, TLPI_VARIANT_NOSYNC, strlen(s->variant));
    TLP_TRY(
        tlpi_variant_build(&plan, s->model, s->variant, s->o.n_track, NULL));
    st = tlpi_runner_create(&s->tracks, plan, &s->cfg);
done:
    tlp_plan_free(plan);
    return st;
}

static tlp_status alloc(tlpi_place_study *s)
{
    size_t n_layer = (size_t)s->model->hp.n_layer;

    s->exchange = tlpi_calloc(s->env, 2 * n_layer, sizeof *s->exchange);
    s->pair = tlpi_calloc(s->env, n_layer, sizeof *s->pair);
    s->noise = tlpi_calloc(s->env, 2 * n_layer, sizeof *s->noise);
    s->variant = tlpi_strndup(s->env, s->scorer->base,
                              tlpi_variant_length((int)n_layer));
    return s->exchange && s->pair && s->noise && s->variant
               ? TLP_OK
               : tlpi_fail_nomem_for("a study");
}

/* The norms of outputs, if the model has them. */
static tlp_status load_posts(tlpi_place_study *s)
{
    size_t d = (size_t)s->model->hp.n_embd;
    int n_half = 2 * s->model->hp.n_layer;

    if (!tlpi_arch_get(&s->model->hp)->post_norm)
        return TLP_OK;
    s->post = tlpi_alloc_array(s->env, (size_t)n_half * d, sizeof *s->post);
    if (!s->post)
        return tlpi_fail_nomem_for("a study");
    for (int i = 0; i < n_half; i++) {
        const tlpi_tensor *t =
            s->model->w.layer[i / 2]
                .t[i % 2 ? TLPI_FFN_POST_NORM : TLPI_ATTN_POST_NORM];

        tlpi_dequantize(t->type, t->data, s->post + (size_t)i * d, t->ne[0]);
    }
    return TLP_OK;
}

static tlp_status set_up(tlpi_place_study *s, const int32_t *tokens, size_t n)
{
    const tlpi_scorer_setup scorer = {
        .teacher = &s->teacher,
        .objective = TLP_OBJECTIVE_KL,
        .n_track = s->o.n_track,
        .n_stream = INT32_MAX,
        .budget = (size_t)TLPI_MIN(s->o.max_bytes, SIZE_MAX),
    };
    tlp_status st;

    TLP_TRY(tlpi_model_check_rows(s->model, "study",
                                  "its places are not studied for"));
    TLP_TRY(tlpi_windows_cut(&s->text, s->env, tokens, n, s->session.n_ctx,
                             s->o.seed));
    s->total = count_runs(s);
    TLP_TRY(tlpi_teacher_create(&s->teacher, s->model, &s->cfg, &s->text,
                                (tlpi_tick){ tick, s }));
    TLP_TRY(tlpi_scorer_create(&s->scorer, &scorer));
    TLP_TRY(alloc(s));
    TLP_TRY(load_posts(s));
    TLP_TRY(tlpi_runner_create(&s->serial, s->teacher.serial.plan, &s->cfg));
    TLP_TRY(open_tracks(s));
done:
    return st;
}

static void clear(tlpi_place_study *s)
{
    tlpi_runner_free(&s->tracks);
    tlpi_runner_free(&s->serial);
    tlpi_scorer_free(s->scorer);
    tlpi_teacher_free(&s->teacher);
    tlpi_windows_free(&s->text);
    tlpi_free(s->env, s->variant);
    tlpi_free(s->env, s->post);
    tlpi_free(s->env, s->exchange);
    tlpi_free(s->env, s->pair);
    tlpi_free(s->env, s->noise);
}

/* ==== results ============================================================ */

/* Tokens with a prediction, and tokens that are not the first of a window. */
static double n_counted(const tlpi_place_study *s)
{
    return (double)s->text.n_tok - s->text.n;
}

static double root_mean(const tlpi_place_study *s, double sum)
{
    return sqrt(sum / n_counted(s));
}

/* The KL divergence with noise behind a half-layer, for each unit of the square
 * of the noise. */
static double sensitivity(const tlpi_place_study *s, int half)
{
    return s->noise[half] / n_counted(s) /
           (TLPI_PLACE_NOISE * TLPI_PLACE_NOISE);
}

/* Measure and show the variant with one letter; `half` is the half-layer behind
 * which the plan is one stream again. */
static tlp_status show(tlpi_place_study *s, tlp_study_place *place, int at,
                       char letter, const tlpi_place_sums *sums, int half)
{
    const tlpi_score *x;
    tlp_plan *plan = NULL;
    tlp_status st;

    memset(s->variant, TLPI_VARIANT_SERIAL, strlen(s->variant));
    s->variant[at] = letter;
    TLP_TRY(tlpi_scorer_run(s->scorer, s->variant, s->text.n, &x));
    TLP_TRY(
        tlpi_variant_build(&plan, s->model, s->variant, s->o.n_track, NULL));
    place->struct_size = sizeof *place;
    place->plan = plan;
    place->step = root_mean(s, sums->step);
    place->own = root_mean(s, sums->own);
    place->change = root_mean(s, sums->change);
    place->error = root_mean(s, sums->error);
    place->sensitivity = sensitivity(s, half);
    place->kl = tlpi_score_kl(s->scorer, x, s->text.n);
    s->o.place(place, s->o.place_data);
done:
    tlp_plan_free(plan);
    return st;
}

static tlp_status show_all(tlpi_place_study *s)
{
    int n_place = (int)strlen(s->variant);
    tlp_status st = TLP_OK;

    for (int at = 0; at < n_place; at++) {
        tlp_study_place place = {
            .kind = TLP_PLACE_EXCHANGE,
            .layer = at / 2,
            .half = at % 2 ? TLP_NOSYNC_FFN : TLP_NOSYNC_ATTN,
            .n_track = s->o.n_track,
        };
        TLP_TRY(
            show(s, &place, at, TLPI_VARIANT_NOSYNC, &s->exchange[at], at + 1));
    }
    for (int at = 1; at < n_place; at += 2) {
        tlp_study_place place = { .kind = TLP_PLACE_PAIR, .layer = at / 2 };

        TLP_TRY(show(s, &place, at, tlpi_variant_letter(TLP_MODE_PAR),
                     &s->pair[at / 2], at + 2));
    }
    st = say(s, 1);
done:
    return st;
}

tlp_status tlp_model_study(tlp_model *model, const int32_t *tokens, size_t n,
                           const tlp_study_options *opts)
{
    tlpi_place_study s = { .model = model };
    tlp_status st;

    if (!model || !tokens)
        return tlpi_fail(TLP_EINVAL, "model and tokens are required");
    s.env = &model->env;
    if (model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, a study needs its "
                         "layers",
                         model->path);
    TLP_TRY(read_options(&s, opts, n));
    if (!s.o.place)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "study option place is required"));
    TLP_TRY(tlpi_windows_check(model, tokens, n, s.session.n_ctx));
    TLP_TRY(tlpi_runner_config(&s.cfg, model, &s.session));
    TLP_TRY(set_up(&s, tokens, n));
    TLP_TRY(tlpi_place_measure(&s));
    TLP_TRY(show_all(&s));
done:
    clear(&s);
    return st;
}
