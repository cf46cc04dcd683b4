/*
 * calibration.c - windows, runners and their streams.
 */
#include "tune/calibration.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "rank/forward.h"
#include "stats/stats.h"

static tlpi_step step_of(const tlpi_calibration *c, const tlpi_cal_window *w)
{
    return (tlpi_step){ w->n, w->ids, c->seq, c->pos };
}

static size_t bytes_of(const tlpi_calibration *c, const tlpi_cal_window *w)
{
    return (size_t)w->n * c->d * sizeof(float);
}

/* ==== lifetime =========================================================== */

/* In the seed's order, a short one at the end last. */
static tlp_status cut_windows(tlpi_calibration *c, const int32_t *tokens,
                              size_t n)
{
    size_t ctx = (size_t)c->cfg.n_ctx, n_full = n / ctx, rest = n % ctx;
    uint64_t seed = c->o.seed;

    c->n_window = (int)(n_full + (rest > 1));
    if (c->n_window < 2)
        return tlpi_fail(TLP_EINVAL,
                         "%zu tokens in windows of %zu: two windows expected "
                         "at least",
                         n, ctx);
    c->n_held = (int)lround(c->o.held_out * c->n_window);
    c->n_held = TLPI_MIN(TLPI_MAX(1, c->n_held), c->n_window - 1);
    c->window = tlpi_calloc(c->env, (size_t)c->n_window, sizeof(*c->window));
    if (!c->window)
        return tlpi_fail_nomem();
    for (size_t i = 0; i < (size_t)c->n_window; i++)
        c->window[i] = (tlpi_cal_window){ .ids = tokens + i * ctx,
                                          .n = (int)(i < n_full ? ctx : rest) };
    for (size_t i = n_full; i > 1; i--) {
        size_t j = (size_t)(tlpi_random(&seed) % i);
        tlpi_cal_window w = c->window[i - 1];

        c->window[i - 1] = c->window[j];
        c->window[j] = w;
    }
    for (int i = 0; i < c->n_window; i++) {
        c->window[i].at = c->n_tok;
        c->n_tok += (size_t)c->window[i].n;
    }
    return TLP_OK;
}

static float *activations(const tlpi_calibration *c, int n)
{
    size_t size = 0;

    if (!tlpi_mul(c->n_tok * c->d, (size_t)n, &size))
        return NULL;
    return tlpi_alloc_array(c->env, size, sizeof(float));
}

static tlp_status alloc_activations(tlpi_calibration *c)
{
    size_t ctx = (size_t)c->cfg.n_ctx;
    size_t row = (size_t)c->model->hp.n_vocab;

    c->truth = activations(c, 1);
    c->stream = activations(c, 1);
    c->next = activations(c, 1);
    c->want = activations(c, 2 * c->max_member);
    c->seen = activations(c, 2 * c->max_member);
    c->weight = tlpi_alloc_array(c->env, c->n_tok, sizeof(float));
    c->rows =
        tlpi_alloc_array(c->env, 2 * TLPI_LOGIT_CHUNK * row, sizeof(float));
    c->seq = tlpi_calloc(c->env, ctx, sizeof(*c->seq));
    c->pos = tlpi_calloc(c->env, ctx, sizeof(*c->pos));
    if (!c->truth || !c->stream || !c->next || !c->want || !c->seen ||
        !c->weight || !c->rows || !c->seq || !c->pos)
        return tlpi_fail_nomem();
    for (size_t i = 0; i < ctx; i++)
        c->pos[i] = (int32_t)i;
    return TLP_OK;
}

static tlp_status alloc_stages(tlpi_calibration *c)
{
    size_t n = (size_t)c->plan->n_stage;

    c->fitted = tlpi_calloc(c->env, n, sizeof(*c->fitted));
    c->choice = tlpi_calloc(c->env, n, sizeof(*c->choice));
    if (!c->fitted || !c->choice)
        return tlpi_fail_nomem();
    for (size_t i = 0; i < n; i++) {
        tlpi_stage_choice *choice = &c->choice[i];
        size_t n_in = 2 * (size_t)c->plan->stage[i].n_member;

        choice->norm = tlpi_calloc(c->env, n_in, sizeof(*choice->norm));
        choice->in = tlpi_calloc(c->env, n_in, sizeof(*choice->in));
        if (!choice->norm || !choice->in)
            return tlpi_fail_nomem();
    }
    return TLP_OK;
}

static tlp_status see_serial(void *arg, tlpi_probe_at at, int member,
                             const float *x)
{
    tlpi_calibration *c = arg;
    int half = at == TLPI_PROBE_FFN_IN ? c->slot + c->max_member : c->slot;

    (void)member;
    if (c->slot >= 0 && (at == TLPI_PROBE_ATTN_IN || at == TLPI_PROBE_FFN_IN))
        memcpy(tlpi_cal_slot(c, c->want, half) + c->at->at * c->d, x,
               bytes_of(c, c->at));
    return TLP_OK;
}

static tlp_status see_plan(void *arg, tlpi_probe_at at, int member,
                           const float *x)
{
    tlpi_calibration *c = arg;
    bool ffn = at == TLPI_PROBE_FFN_IN || at == TLPI_PROBE_FFN;
    int slot = ffn ? member + c->max_member : member;

    if (c->keep >> at & 1)
        memcpy(tlpi_cal_slot(c, c->seen, slot) + c->at->at * c->d, x,
               bytes_of(c, c->at));
    return c->keep >> at == 1 && member == c->last ? TLP_ECANCELED : TLP_OK;
}

static tlp_status create_runners(tlpi_calibration *c)
{
    tlpi_pool_options threads = { .n_thread = c->cfg.n_thread,
                                  .n_machine = c->cfg.n_machine };
    tlp_plan *serial = NULL;
    tlp_status st;

    TLP_TRY(tlp_plan_parse(&serial, c->model, "serial"));
    TLP_TRY(tlpi_runner_create(&c->serial, serial, &c->cfg));
    TLP_TRY(tlpi_runner_create(&c->runner, c->plan, &c->cfg));
    TLP_TRY(tlpi_pool_create(&c->pool, c->env, &threads));
    c->fitter.pool = c->pool;
done:
    tlp_plan_free(serial);
    return st;
}

tlp_status tlpi_calibration_create(tlpi_calibration *c, const tlp_plan *plan,
                                   const int32_t *tokens, size_t n)
{
    tlp_status st;

    TLP_TRY(cut_windows(c, tokens, n));
    TLP_TRY(tlpi_plan_build(&c->plan, plan->model, plan->stage, plan->n_stage,
                            plan->made, "plan"));
    c->d = (size_t)c->model->hp.n_embd;
    for (int i = 0; i < plan->n_stage; i++)
        c->max_member = TLPI_MAX(c->max_member, plan->stage[i].n_member);
    TLP_TRY(alloc_activations(c));
    TLP_TRY(alloc_stages(c));
    TLP_TRY(create_runners(c));
done:
    return st;
}

void tlpi_calibration_free(tlpi_calibration *c)
{
    void *all[] = { c->truth,  c->stream, c->next, c->want, c->seen,
                    c->weight, c->rows,   c->seq,  c->pos,  c->window };

    for (int i = 0; c->plan && i < c->plan->n_stage; i++) {
        if (c->fitted)
            tlpi_fitted_clear(c->env, &c->fitted[i],
                              c->plan->stage[i].n_member);
        if (c->choice) {
            tlpi_free(c->env, c->choice[i].norm);
            tlpi_free(c->env, c->choice[i].in);
        }
    }
    tlpi_free(c->env, c->fitted);
    tlpi_free(c->env, c->choice);
    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(c->env, all[i]);
    tlpi_pool_free(c->pool);
    tlpi_runner_free(&c->runner);
    tlpi_runner_free(&c->serial);
    tlp_plan_free(c->plan);
}

/* ==== streams ============================================================ */

void tlpi_calibration_begin(tlpi_calibration *c)
{
    for (int i = 0; i < c->n_window; i++) {
        const tlpi_cal_window *w = &c->window[i];
        tlpi_step step = step_of(c, w);
        float *x = c->stream + w->at * c->d;

        tlpi_forward_begin(c->serial.rank, &step, NULL);
        tlpi_forward_stream(c->serial.rank, &step, x);
        memcpy(c->truth + w->at * c->d, x, bytes_of(c, w));
    }
    c->layer = 0;
}

static int find_member(const tlpi_stage *s, int layer)
{
    for (int m = 0; s && m < s->n_member; m++)
        if (s->layers[m] == layer)
            return m;
    return -1;
}

tlp_status tlpi_calibration_advance(tlpi_calibration *c, int end,
                                    const tlpi_stage *stage)
{
    const tlpi_probe probe = { see_serial, c };
    tlpi_rank *r = c->serial.rank;
    int first = c->layer;
    tlp_status st = TLP_OK;

    r->probe = stage ? &probe : NULL;
    for (int i = 0; i < c->n_window; i++) {
        tlpi_step step = step_of(c, &c->window[i]);
        float *x = c->truth + c->window[i].at * c->d;

        c->at = &c->window[i];
        tlpi_forward_begin(r, &step, x);
        for (int layer = first; layer < end; layer++) {
            c->slot = find_member(stage, layer);
            TLP_TRY(tlpi_forward_stages(r, &step, layer, layer + 1));
        }
        tlpi_forward_stream(r, &step, x);
        TLP_TRY(c->fitter.tick(c->fitter.arg));
    }
    c->layer = TLPI_MAX(first, end);
done:
    r->probe = NULL;
    return st;
}

tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage, uint32_t keep)
{
    const tlpi_probe probe = { see_plan, c };
    const uint32_t whole = 1u << TLPI_PROBE_FFN;
    tlpi_rank *r = c->runner.rank;
    tlp_status st = TLP_OK;

    r->probe = keep ? &probe : NULL;
    c->keep = keep;
    c->last = keep & whole ? -1 : c->plan->stage[stage].n_member - 1;
    if (keep) /* not every member has an attention sum */
        memset(c->seen, 0,
               2 * (size_t)c->max_member * c->n_tok * c->d * sizeof(*c->seen));
    for (int i = 0; i < c->n_window; i++) {
        tlpi_step step = step_of(c, &c->window[i]);
        size_t at = c->window[i].at * c->d;

        c->at = &c->window[i];
        tlpi_forward_begin(r, &step, c->stream + at);
        st = tlpi_forward_stages(r, &step, stage, stage + 1);
        if (st == TLP_OK)
            tlpi_forward_stream(r, &step, c->next + at);
        else if (st != TLP_ECANCELED)
            goto done;
        TLP_TRY(c->fitter.tick(c->fitter.arg));
    }
done:
    r->probe = NULL;
    return st;
}

void tlpi_calibration_take(tlpi_calibration *c)
{
    float *x = c->stream;

    c->stream = c->next;
    c->next = x;
}

/* ==== logits ============================================================= */

static tlp_status score_rows(tlpi_calibration *c, const tlpi_cal_window *w,
                             int at, int n, tlpi_cal_score *sum)
{
    size_t v = (size_t)c->model->hp.n_vocab;
    float *mine = c->rows + TLPI_LOGIT_CHUNK * v;
    tlp_divergence div[TLPI_LOGIT_CHUNK];
    const tlpi_row_comparison x = {
        .reference = c->rows, .rows = mine, .n_vocab = v, .n = n, .div = div
    };

    tlpi_runner_rows(&c->serial, at, n, c->rows);
    tlpi_runner_rows(&c->runner, at, n, mine);
    tlp_status st = tlpi_rows_compare(c->pool, &x);
    for (int i = 0; i < n && st == TLP_OK; i++) {
        const tlp_divergence *d = &div[i];

        sum->kl += d->kl;
        sum->nll +=
            d->lse - (double)mine[(size_t)i * v + (size_t)w->ids[at + i + 1]];
        sum->top1 += d->top1 == d->reference_top1;
    }
    return st;
}

static tlp_status go_to_end(const tlpi_runner *r, const tlpi_step *step,
                            const float *x)
{
    tlpi_forward_begin(r->rank, step, x);
    return x ? TLP_OK : tlpi_forward_stages(r->rank, step, 0, r->plan->n_stage);
}

tlp_status tlpi_calibration_score(tlpi_calibration *c, bool run,
                                  tlpi_cal_score *out)
{
    tlpi_cal_score sum = { 0 };
    int n = 0;
    tlp_status st = TLP_OK;

    for (int i = 0; i < c->n_held; i++) {
        const tlpi_cal_window *w = &c->window[i];
        tlpi_step step = step_of(c, w);
        size_t at = w->at * c->d;

        TLP_TRY(go_to_end(&c->serial, &step, run ? NULL : c->truth + at));
        TLP_TRY(go_to_end(&c->runner, &step, run ? NULL : c->stream + at));
        for (int t = 0; t < w->n - 1; t += TLPI_LOGIT_CHUNK)
            TLP_TRY(score_rows(c, w, t,
                               TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - t), &sum));
        n += w->n - 1;
        TLP_TRY(c->fitter.tick(c->fitter.arg));
    }
    *out = (tlpi_cal_score){ sum.kl / n, sum.nll / n, sum.top1 / n };
done:
    return st;
}
