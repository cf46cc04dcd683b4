/*
 * teacher.c - run the serial model over the windows, layer by layer, and
 * compare logits with its logits.
 */
#include "tune/teacher.h"

#include "rank/forward.h"
#include "stats/stats.h"

static size_t n_vocab(const tlpi_teacher *t)
{
    return (size_t)t->model->hp.n_vocab;
}

float *tlpi_budget_alloc(const tlpi_env *env, size_t *budget, size_t rows,
                         size_t cols)
{
    size_t bytes = 0;

    if (!tlpi_mul(rows, cols, &bytes) ||
        !tlpi_mul(bytes, sizeof(float), &bytes) || bytes > *budget)
        return NULL;
    float *x = tlpi_alloc(env, bytes);
    if (x)
        *budget -= bytes;
    else
        (void)tlpi_alloc_take_missing();
    return x;
}

/* ==== lifetime =========================================================== */

static tlp_status alloc(tlpi_teacher *t)
{
    const tlpi_env *env = &t->model->env;
    size_t n_embd = (size_t)t->model->hp.n_embd, size;

    if (!tlpi_mul(t->text->n_tok, n_embd, &size))
        return tlpi_fail_nomem_for("the windows of a text");
    t->stream = tlpi_alloc_array(env, size, sizeof(float));
    t->logits = tlpi_calloc(env, (size_t)t->text->n, sizeof(*t->logits));
    t->rows =
        tlpi_alloc_array(env, 2 * TLPI_LOGIT_CHUNK * n_vocab(t), sizeof(float));
    return t->stream && t->logits && t->rows
               ? TLP_OK
               : tlpi_fail_nomem_for("the windows of a text");
}

tlp_status tlpi_teacher_create(tlpi_teacher *t, tlp_model *model,
                               const tlpi_session_config *cfg,
                               const tlpi_windows *text, tlpi_tick tick)
{
    tlp_plan *serial = NULL;
    tlp_status st;

    *t = (tlpi_teacher){
        .text = text, .cfg = cfg, .model = model, .tick = tick
    };
    TLP_TRY(alloc(t));
    TLP_TRY(tlpi_runner_pool(&t->pool, &model->env, cfg, cfg->n_thread));
    TLP_TRY(tlp_plan_parse(&serial, model, "serial"));
    TLP_TRY(tlpi_runner_create(&t->serial, serial, cfg));
    tlpi_teacher_begin(t, text->n);
done:
    tlp_plan_free(serial);
    return st;
}

void tlpi_teacher_free(tlpi_teacher *t)
{
    if (!t->model)
        return;
    for (int i = 0; t->logits && i < t->text->n; i++)
        tlpi_free(&t->model->env, t->logits[i]);
    tlpi_free(&t->model->env, t->logits);
    tlpi_free(&t->model->env, t->stream);
    tlpi_free(&t->model->env, t->rows);
    tlpi_runner_free(&t->serial);
    tlpi_pool_free(t->pool);
    *t = (tlpi_teacher){ 0 };
}

/* ==== layers ============================================================= */

tlp_status tlpi_teacher_check_order(const tlp_plan *p, const char *what)
{
    int last = -1;

    for (int i = 0; i < p->n_stage; i++)
        for (int m = 0; m < p->stage[i].n_member; m++) {
            int layer = p->stage[i].layers[m];

            if (layer < last)
                return tlpi_fail(TLP_ENOTSUP,
                                 "plan: layer %d behind layer %d: %s for "
                                 "layers in their order",
                                 layer, last, what);
            last = layer;
        }
    return TLP_OK;
}

void tlpi_teacher_begin(tlpi_teacher *t, int n_window)
{
    for (int i = 0; i < n_window; i++) {
        tlpi_step step = tlpi_window_step(t->text, &t->text->window[i]);

        tlpi_forward_begin(t->serial.rank, &step, NULL);
        tlpi_forward_stream(t->serial.rank, &step, tlpi_teacher_stream(t, i));
    }
    t->n_window = n_window;
    t->layer = 0;
}

/* What a probe of the rank knows of the step it looks into. */
typedef struct layer_view {
    const tlpi_teacher_hook *hook;
    const tlpi_window *window;
    int layer;
} layer_view;

static tlp_status show(void *arg, tlpi_probe_at at, int member, const float *x)
{
    const layer_view *v = arg;

    (void)member; /* a stage of the serial plan has one */
    if (at == TLPI_PROBE_ATTN_IN || at == TLPI_PROBE_FFN_IN)
        v->hook->input(v->hook->arg, v->layer, at, v->window, x);
    return TLP_OK;
}

static tlp_status advance_window(tlpi_teacher *t, int i, int end, layer_view *v)
{
    tlpi_rank *r = t->serial.rank;
    tlpi_step step = tlpi_window_step(t->text, &t->text->window[i]);
    float *x = tlpi_teacher_stream(t, i);
    tlp_status st = TLP_OK;

    v->window = &t->text->window[i];
    tlpi_forward_begin(r, &step, x);
    for (v->layer = t->layer; v->layer < end; v->layer++) {
        TLP_TRY(
            tlpi_forward_stages(r, r->program, &step, v->layer, v->layer + 1));
        if (!v->hook || !v->hook->stream)
            continue;
        tlpi_forward_stream(r, &step, x);
        v->hook->stream(v->hook->arg, v->layer, v->window, x);
    }
    tlpi_forward_stream(r, &step, x);
done:
    return st;
}

tlp_status tlpi_teacher_advance(tlpi_teacher *t, int end,
                                const tlpi_teacher_hook *hook)
{
    layer_view v = { .hook = hook };
    const tlpi_probe probe = { show, &v };
    tlp_status st = TLP_OK;

    t->serial.rank->probe = hook && hook->input ? &probe : NULL;
    for (int i = 0; i < t->n_window; i++) {
        TLP_TRY(advance_window(t, i, end, &v));
        TLP_TRY(tlpi_tick_call(&t->tick));
    }
    t->layer = TLPI_MAX(t->layer, end);
done:
    t->serial.rank->probe = NULL;
    return st;
}

/* ==== logits ============================================================= */

tlp_status tlpi_teacher_keep_logits(tlpi_teacher *t, size_t *budget)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < t->n_window && st == TLP_OK; i++) {
        const tlpi_window *w = &t->text->window[i];
        tlpi_step step = tlpi_window_step(t->text, w);
        float *x = tlpi_budget_alloc(&t->model->env, budget, (size_t)w->n - 1,
                                     n_vocab(t));

        t->logits[i] = x;
        if (!x)
            continue;
        tlpi_forward_begin(t->serial.rank, &step, tlpi_teacher_stream(t, i));
        for (int at = 0; at < w->n - 1; at += TLPI_LOGIT_CHUNK)
            tlpi_runner_rows(&t->serial, at,
                             TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - at),
                             x + (size_t)at * n_vocab(t));
        st = tlpi_tick_call(&t->tick);
    }
    return st;
}

/* Predictions [at, at + n) of a window; out: of the first of them. */
static tlp_status score_chunk(tlpi_teacher *t, const tlpi_runner *student,
                              int window, int at, int n, tlpi_token_score *out)
{
    const tlpi_window *w = &t->text->window[window];
    const float *kept = t->logits[window];
    float *mine = t->rows + TLPI_LOGIT_CHUNK * n_vocab(t);
    tlp_divergence div[TLPI_LOGIT_CHUNK];
    tlpi_row_comparison c = {
        .rows = mine, .n_vocab = n_vocab(t), .n = n, .at = at, .div = div
    };

    c.reference = kept ? kept + (size_t)at * n_vocab(t) : t->rows;
    if (!kept)
        tlpi_runner_rows(&t->serial, at, n, t->rows);
    tlpi_runner_rows(student, at, n, mine);
    tlp_status st = tlpi_rows_compare(t->pool, &c);
    for (int i = 0; i < n && st == TLP_OK; i++) {
        const float *row = mine + (size_t)i * n_vocab(t);

        out[i] = (tlpi_token_score){
            .kl = div[i].kl,
            .nll = div[i].lse - (double)row[w->ids[at + i + 1]],
            .same_top1 = div[i].top1 == div[i].reference_top1
        };
    }
    return st;
}

tlp_status tlpi_teacher_score(tlpi_teacher *t, const tlpi_runner *student,
                              int window, tlpi_token_score *out)
{
    const tlpi_window *w = &t->text->window[window];
    tlpi_step step = tlpi_window_step(t->text, w);
    tlp_status st = TLP_OK;

    if (!t->logits[window])
        tlpi_forward_begin(t->serial.rank, &step,
                           tlpi_teacher_stream(t, window));
    for (int at = 0; at < w->n - 1 && st == TLP_OK; at += TLPI_LOGIT_CHUNK)
        st = score_chunk(t, student, window, at,
                         TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - at), out + at);
    if (st != TLP_OK)
        st = tlpi_fail_prefix(st, "window at token %td of the text, ",
                              w->ids - t->text->ids);
    return st;
}
