/*
 * scorer.c - run variants over the windows, from the streams of the base.
 */
#include "tune/scorer.h"

#include <string.h>

#include "rank/forward.h"

static size_t n_embd(const tlpi_scorer *s)
{
    return (size_t)s->teacher->model->hp.n_embd;
}

static float *stream_at(const tlpi_scorer *s, int window, int stage)
{
    return s->stream[window] +
           (size_t)stage * (size_t)s->text->window[window].n * n_embd(s);
}

/* A plan cuts each layer into tracks in one way only. */
static tlp_status keep_weights(tlpi_scorer *s, const tlpi_runner *r)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < r->plan->n_stage && st == TLP_OK; i++) {
        int layer = r->plan->stage[i].layers[0];

        if (!tlpi_plan_has_tracks(r->plan, i) || s->is_kept[layer])
            continue;
        s->is_kept[layer] = true; /* or there is no memory for it */
        st = tlpi_store_keep(&r->rank->store, layer, &s->kept, &s->kept_budget);
    }
    return st;
}

static tlp_status create_runner(tlpi_scorer *s, const char *variant,
                                tlpi_runner *out)
{
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(tlpi_variant_build(&plan, s->teacher->model, variant, s->n_track,
                               NULL));
    TLP_TRY(tlpi_runner_create(out, plan, s->teacher->cfg));
    st = keep_weights(s, out);
done:
    tlp_plan_free(plan);
    return st;
}

/* ==== the base =========================================================== */

static void keep_stream(const tlpi_scorer *s, int stage, const tlpi_window *w,
                        const float *x)
{
    int i = (int)(w - s->text->window);

    if (s->stream[i])
        memcpy(stream_at(s, i, stage), x,
               (size_t)w->n * n_embd(s) * sizeof(*x));
}

static void see_stream(void *arg, int layer, const tlpi_window *w,
                       const float *x)
{
    keep_stream(arg, layer + 1, w, x);
}

/* The streams of the serial model, for which a stage is a layer. */
static tlp_status fill_serial(tlpi_scorer *s)
{
    const tlpi_teacher_hook hook = { .stream = see_stream, .arg = s };

    for (int i = 0; i < s->n_window; i++)
        keep_stream(s, 0, &s->text->window[i],
                    tlpi_teacher_stream(s->teacher, i));
    return tlpi_teacher_advance(s->teacher, s->teacher->model->hp.n_layer,
                                &hook);
}

/* The stream before each stage after `first` that all tracks begin with one
 * stream, and at the end. */
static tlp_status fill_stream(tlpi_scorer *s, const tlpi_runner *r, int window,
                              int first)
{
    tlpi_step step = tlpi_window_step(s->text, &s->text->window[window]);
    tlp_status st = TLP_OK;

    if (!s->stream[window])
        return TLP_OK;
    tlpi_forward_begin(r->rank, &step, stream_at(s, window, first));
    for (int end = first; end < r->plan->n_stage && st == TLP_OK;) {
        int begin = end++;

        while (tlpi_plan_is_open(r->plan, end))
            end++;
        st = tlpi_forward_stages(r->rank, r->rank->program, &step, begin, end);
        tlpi_forward_stream(r->rank, &step, stream_at(s, window, end));
    }
    return st;
}

tlp_status tlpi_scorer_rebase(tlpi_scorer *s, const char *variant)
{
    tlpi_runner r = { 0 };
    int first = tlpi_variant_first_change(s->base, variant);
    tlp_status st = TLP_OK;

    if (strcmp(s->base, variant) == 0)
        return TLP_OK;
    TLP_TRY(create_runner(s, variant, &r));
    for (int i = 0; i < s->n_window; i++) {
        TLP_TRY(fill_stream(s, &r, i, first));
        TLP_TRY(tlpi_tick_call(&s->teacher->tick));
    }
    memcpy(s->base, variant, strlen(variant));
done:
    tlpi_runner_free(&r);
    return st;
}

/* ==== a variant on a window ============================================== */

static void add_tokens(const tlpi_scorer *s, int window, tlpi_score *x)
{
    double *kl = x->kl + (size_t)window * (size_t)s->n_block;
    double *nll = x->nll + (size_t)window * (size_t)s->n_block;

    memset(kl, 0, (size_t)s->n_block * sizeof(*kl));
    memset(nll, 0, (size_t)s->n_block * sizeof(*nll));
    x->top1[window] = 0;
    for (int t = 0; t < s->text->window[window].n - 1; t++) {
        kl[t / TLPI_SCORE_BLOCK] += s->token[t].kl;
        nll[t / TLPI_SCORE_BLOCK] += s->token[t].nll;
        x->top1[window] += s->token[t].same_top1;
    }
}

static tlp_status run_window(tlpi_scorer *s, const tlpi_runner *r, int window,
                             tlpi_score *x)
{
    tlpi_step step = tlpi_window_step(s->text, &s->text->window[window]);
    bool kept = s->stream[window] != NULL;
    int first = kept ? tlpi_variant_first_change(s->base, x->variant) : 0;
    tlp_status st;

    tlpi_forward_begin(r->rank, &step,
                       kept ? stream_at(s, window, first) : NULL);
    TLP_TRY(tlpi_forward_stages(r->rank, r->rank->program, &step, first,
                                r->plan->n_stage));
    TLP_TRY(tlpi_teacher_score(s->teacher, r, window, s->token));
    add_tokens(s, window, x);
    x->n_done = window + 1;
    st = tlpi_tick_call(&s->teacher->tick);
done:
    return st;
}

tlp_status tlpi_scorer_run(tlpi_scorer *s, const char *variant, int n_window,
                           const tlpi_score **out)
{
    tlpi_runner r = { 0 };
    tlpi_score *x = NULL;
    tlp_status st;

    TLP_TRY(tlpi_score_find(s, variant, &x));
    if (x->n_done < n_window)
        TLP_TRY(create_runner(s, variant, &r));
    while (x->n_done < n_window)
        TLP_TRY(run_window(s, &r, x->n_done, x));
done:
    *out = x;
    tlpi_runner_free(&r);
    return st;
}

/* ==== lifetime =========================================================== */

/* Bytes of the packed weights of all layers. */
static size_t layer_bytes(const tlpi_teacher *t)
{
    const tlpi_store *store = &t->serial.rank->store;

    return (size_t)(store->bytes.weights -
                    store->b->ops->weight_bytes(store->head));
}

static tlp_status alloc(tlpi_scorer *s, int n_stream, size_t *budget)
{
    size_t n_layer = (size_t)s->teacher->model->hp.n_layer;
    size_t n_place = tlpi_variant_length((int)n_layer);

    s->base = tlpi_calloc(s->env, n_place + 1, 1);
    s->stream = tlpi_calloc(s->env, (size_t)s->n_window, sizeof(*s->stream));
    s->token =
        tlpi_alloc_array(s->env, (size_t)s->text->n_ctx, sizeof(*s->token));
    s->is_kept = tlpi_calloc(s->env, n_layer, sizeof(*s->is_kept));
    if (!s->base || !s->stream || !s->token || !s->is_kept)
        return tlpi_fail_nomem_for("a search");
    memset(s->base, TLPI_VARIANT_SERIAL, n_place);
    for (int i = 0; i < n_stream; i++)
        s->stream[i] = tlpi_budget_alloc(
            s->env, budget, (n_layer + 1) * (size_t)s->text->window[i].n,
            n_embd(s));
    return TLP_OK;
}

tlp_status tlpi_scorer_create(tlpi_scorer **out, const tlpi_scorer_setup *setup)
{
    tlpi_teacher *teacher = setup->teacher;
    size_t budget = setup->budget;
    const tlpi_env *env = &teacher->model->env;
    tlpi_scorer *s = tlpi_calloc(env, 1, sizeof(*s));
    tlp_status st;

    *out = NULL;
    if (!s)
        return tlpi_fail_nomem_for("a search");
    s->env = env;
    s->teacher = teacher;
    s->text = teacher->text;
    s->objective = setup->objective;
    s->n_track = setup->n_track;
    s->n_window = s->text->n;
    s->n_block = (s->text->n_ctx - 1 + TLPI_SCORE_BLOCK - 1) / TLPI_SCORE_BLOCK;
    /* Weights come first, then streams: for equal memory they save more time
     * than logits.  Packed parts of layers take the bytes of whole layers. */
    if (setup->nosync) {
        s->kept_budget = TLPI_MIN(budget, layer_bytes(teacher));
        budget -= s->kept_budget;
    }
    TLP_TRY(alloc(s, TLPI_MIN(setup->n_stream, s->n_window), &budget));
    TLP_TRY(fill_serial(s));
    TLP_TRY(tlpi_teacher_keep_logits(teacher, &budget));
    *out = s;
    s = NULL;
done:
    tlpi_scorer_free(s);
    return st;
}

void tlpi_scorer_free(tlpi_scorer *s)
{
    if (!s)
        return;
    for (int i = 0; s->stream && i < s->n_window; i++)
        tlpi_free(s->env, s->stream[i]);
    for (size_t i = 0; i < s->n_score; i++)
        tlpi_score_free(s->env, s->score[i]);
    tlpi_kept_weights_free(s->teacher->model, &s->kept);
    tlpi_free(s->env, s->is_kept);
    tlpi_free(s->env, s->score);
    tlpi_free(s->env, s->stream);
    tlpi_free(s->env, s->token);
    tlpi_free(s->env, s->base);
    tlpi_free(s->env, s);
}
