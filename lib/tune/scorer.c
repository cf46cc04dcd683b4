/*
 * scorer.c - a scorer's windows: cut from the text, and filled with what the
 * serial model and the base make of them.
 */
#include "tune/scorer.h"

#include <string.h>

#include "base/random.h"
#include "rank/forward.h"
#include "stats/stats.h"

static size_t n_embd(const tlpi_scorer *s)
{
    return (size_t)s->set.model->hp.n_embd;
}

static size_t n_vocab(const tlpi_scorer *s)
{
    return (size_t)s->set.model->hp.n_vocab;
}

static tlpi_step step_of(const tlpi_scorer *s, const tlpi_window *w)
{
    return (tlpi_step){ w->n, w->ids, s->seq, s->pos };
}

static float *stream_at(const tlpi_scorer *s, const tlpi_window *w, int stage)
{
    return w->stream + (size_t)stage * (size_t)w->n * n_embd(s);
}

static tlp_status run_variant(const tlpi_scorer *s, const char *variant,
                              tlpi_runner *out)
{
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(tlpi_variant_build(&plan, s->set.model, variant, NULL));
    st = tlpi_runner_create(out, plan, s->set.cfg);
done:
    tlp_plan_free(plan);
    return st;
}

/* ==== windows ============================================================ */

/* In the seed's order, a short one at the end last. */
static tlp_status cut_windows(tlpi_scorer *s)
{
    size_t ctx = (size_t)s->set.cfg->n_ctx, n_full = s->set.n / ctx;
    size_t rest = s->set.n % ctx;
    uint64_t seed = s->set.seed;

    s->n_window = (int)(n_full + (rest > 1));
    s->n_block = (int)((ctx - 1 + TLPI_SCORE_BLOCK - 1) / TLPI_SCORE_BLOCK);
    s->window = tlpi_calloc(s->env, (size_t)s->n_window, sizeof(*s->window));
    if (!s->window)
        return tlpi_fail_nomem();
    for (size_t i = 0; i < (size_t)s->n_window; i++)
        s->window[i] = (tlpi_window){ .ids = s->set.tokens + i * ctx,
                                      .n = (int)(i < n_full ? ctx : rest) };
    for (size_t i = n_full; i > 1; i--) {
        size_t j = (size_t)(tlpi_random(&seed) % i);
        tlpi_window w = s->window[i - 1];

        s->window[i - 1] = s->window[j];
        s->window[j] = w;
    }
    return TLP_OK;
}

/* Room for [rows][cols] floats, if the budget has it and there is memory. */
static float *spend(tlpi_scorer *s, size_t rows, size_t cols)
{
    size_t bytes = 0;

    if (!tlpi_mul(rows, cols, &bytes) ||
        !tlpi_mul(bytes, sizeof(float), &bytes) || bytes > s->set.budget)
        return NULL;
    float *x = tlpi_alloc(s->env, bytes);
    if (x)
        s->set.budget -= bytes;
    return x;
}

/* Streams first: they save more than the reference for the same memory. */
static tlp_status alloc_windows(tlpi_scorer *s)
{
    size_t stages = (size_t)s->set.model->hp.n_layer + 1;

    for (int i = 0; i < s->n_window; i++) {
        tlpi_window *w = &s->window[i];

        w->last =
            tlpi_alloc_array(s->env, (size_t)w->n * n_embd(s), sizeof(float));
        if (!w->last)
            return tlpi_fail_nomem();
        w->stream = spend(s, stages * (size_t)w->n, n_embd(s));
    }
    for (int i = 0; i < s->n_window; i++)
        s->window[i].reference =
            spend(s, (size_t)s->window[i].n - 1, n_vocab(s));
    return TLP_OK;
}

/* ==== the base =========================================================== */

/* The stream before every stage after `first`, and at the end. */
static tlp_status fill_stream(tlpi_scorer *s, const tlpi_runner *r,
                              tlpi_window *w, int first)
{
    tlpi_step step = step_of(s, w);
    tlp_status st = TLP_OK;

    if (!w->stream)
        return TLP_OK;
    tlpi_forward_begin(r->rank, &step, stream_at(s, w, first));
    for (int i = first; i < r->plan->n_stage && st == TLP_OK; i++) {
        st = tlpi_forward_stages(r->rank, &step, i, i + 1);
        tlpi_forward_stream(r->rank, &step, stream_at(s, w, i + 1));
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
    TLP_TRY(run_variant(s, variant, &r));
    for (int i = 0; i < s->n_window; i++) {
        TLP_TRY(fill_stream(s, &r, &s->window[i], first));
        TLP_TRY(s->set.tick(s->set.arg));
    }
    memcpy(s->base, variant, strlen(variant));
done:
    tlpi_runner_free(&r);
    return st;
}

/* ==== the serial model =================================================== */

/* The serial model on a window, as it is kept for reference. */
static tlp_status fill_reference(tlpi_scorer *s, tlpi_window *w)
{
    tlpi_rank *r = s->serial.rank;
    tlpi_step step = step_of(s, w);
    tlp_status st = TLP_OK;

    tlpi_forward_begin(r, &step, NULL);
    if (w->stream) {
        tlpi_forward_stream(r, &step, w->stream);
        TLP_TRY(fill_stream(s, &s->serial, w, 0));
    } else {
        TLP_TRY(tlpi_forward_stages(r, &step, 0, s->serial.plan->n_stage));
    }
    tlpi_forward_stream(r, &step, w->last);
    for (int at = 0; w->reference && at < w->n - 1; at += TLPI_LOGIT_CHUNK)
        tlpi_runner_rows(&s->serial, at,
                         TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - at),
                         w->reference + (size_t)at * n_vocab(s));
    st = s->set.tick(s->set.arg);
done:
    return st;
}

/* ==== a variant on a window ================================================
 */

/* Rows [at, at + n) of a window. */
static tlp_status compare_chunk(tlpi_scorer *s, const tlpi_runner *r,
                                const tlpi_window *w, int at, int n,
                                tlpi_row_comparison *c)
{
    float *rows = s->rows + TLPI_LOGIT_CHUNK * n_vocab(s);

    c->reference = s->rows;
    c->rows = rows;
    c->n_vocab = n_vocab(s);
    c->n = n;
    if (w->reference)
        c->reference = w->reference + (size_t)at * n_vocab(s);
    else
        tlpi_runner_rows(&s->serial, at, n, s->rows);
    tlpi_runner_rows(r, at, n, rows);
    return tlpi_rows_compare(s->pool, c);
}

static void add_rows(const tlpi_scorer *s, const tlpi_row_comparison *c,
                     const tlpi_window *w, int at, int index, tlpi_score *x)
{
    double *kl = x->kl + (size_t)index * (size_t)s->n_block;
    double *nll = x->nll + (size_t)index * (size_t)s->n_block;

    for (int i = 0; i < c->n; i++) {
        const tlp_divergence *d = &c->div[i];
        int32_t target = w->ids[at + i + 1];

        kl[(at + i) / TLPI_SCORE_BLOCK] += d->kl;
        nll[(at + i) / TLPI_SCORE_BLOCK] +=
            d->lse - (double)c->rows[(size_t)i * c->n_vocab + (size_t)target];
        x->top1[index] += d->top1 == d->reference_top1;
    }
}

static tlp_status run_window(tlpi_scorer *s, const tlpi_runner *r, int index,
                             tlpi_score *x)
{
    const tlpi_window *w = &s->window[index];
    tlpi_step step = step_of(s, w);
    int first = w->stream ? tlpi_variant_first_change(s->base, x->variant) : 0;
    tlp_divergence div[TLPI_LOGIT_CHUNK];
    tlpi_row_comparison c = { .div = div };
    tlp_status st;

    tlpi_forward_begin(r->rank, &step,
                       w->stream ? stream_at(s, w, first) : NULL);
    TLP_TRY(tlpi_forward_stages(r->rank, &step, first, r->plan->n_stage));
    if (!w->reference)
        tlpi_forward_begin(s->serial.rank, &step, w->last);
    x->top1[index] = 0;
    memset(x->kl + (size_t)index * (size_t)s->n_block, 0,
           (size_t)s->n_block * sizeof(*x->kl));
    memset(x->nll + (size_t)index * (size_t)s->n_block, 0,
           (size_t)s->n_block * sizeof(*x->nll));
    for (int at = 0; at < w->n - 1; at += TLPI_LOGIT_CHUNK) {
        TLP_TRY(compare_chunk(s, r, w, at,
                              TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - at), &c));
        add_rows(s, &c, w, at, index, x);
    }
    x->n_done = index + 1;
    s->n_run++;
    st = s->set.tick(s->set.arg);
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
        TLP_TRY(run_variant(s, variant, &r));
    while (x->n_done < n_window)
        TLP_TRY(run_window(s, &r, x->n_done, x));
done:
    *out = x;
    tlpi_runner_free(&r);
    return st;
}

/* ==== lifetime =========================================================== */

static tlp_status alloc_tables(tlpi_scorer *s)
{
    size_t ctx = (size_t)s->set.cfg->n_ctx;
    size_t places = (size_t)s->set.model->hp.n_layer - 1;

    s->rows = tlpi_alloc_array(s->env, 2 * TLPI_LOGIT_CHUNK * n_vocab(s),
                               sizeof(float));
    s->seq = tlpi_calloc(s->env, ctx, sizeof(*s->seq));
    s->pos = tlpi_calloc(s->env, ctx, sizeof(*s->pos));
    s->base = tlpi_calloc(s->env, places + 1, 1);
    if (!s->rows || !s->seq || !s->pos || !s->base)
        return tlpi_fail_nomem();
    for (size_t i = 0; i < ctx; i++)
        s->pos[i] = (int32_t)i;
    memset(s->base, TLPI_VARIANT_SERIAL, places);
    return TLP_OK;
}

tlp_status tlpi_scorer_create(tlpi_scorer **out, const tlpi_scorer_setup *set)
{
    const tlpi_env *env = &set->model->env;
    tlpi_scorer *s = tlpi_calloc(env, 1, sizeof(*s));
    tlpi_pool_options threads = { .n_thread = set->cfg->n_thread,
                                  .n_machine = set->cfg->n_machine };
    tlp_status st;

    *out = NULL;
    if (!s)
        return tlpi_fail_nomem();
    s->set = *set;
    s->env = env;
    TLP_TRY(cut_windows(s));
    TLP_TRY(alloc_tables(s));
    TLP_TRY(alloc_windows(s));
    TLP_TRY(tlpi_pool_create(&s->pool, env, &threads));
    TLP_TRY(run_variant(s, s->base, &s->serial));
    for (int i = 0; i < s->n_window; i++)
        TLP_TRY(fill_reference(s, &s->window[i]));
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
    tlpi_runner_free(&s->serial);
    tlpi_pool_free(s->pool);
    for (int i = 0; s->window && i < s->n_window; i++) {
        tlpi_free(s->env, s->window[i].last);
        tlpi_free(s->env, s->window[i].reference);
        tlpi_free(s->env, s->window[i].stream);
    }
    for (size_t i = 0; i < s->n_score; i++)
        tlpi_score_free(s->env, s->score[i]);
    tlpi_free(s->env, s->score);
    tlpi_free(s->env, s->window);
    tlpi_free(s->env, s->rows);
    tlpi_free(s->env, s->seq);
    tlpi_free(s->env, s->pos);
    tlpi_free(s->env, s->base);
    tlpi_free(s->env, s);
}
