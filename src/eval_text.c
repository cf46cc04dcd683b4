/*
 * eval_text.c - perplexity over the windows of a text; with a reference, also
 * the distance between the two distributions at each prediction.
 *
 * Tokens of a window depend on each other, so windows are the units of all
 * intervals.
 */
#include <math.h>
#include <stdlib.h>

#include "eval.h"
#include "tlp_eval.h"

/* Sums over the predictions of each window. */
typedef struct windows {
    size_t n, n_prediction;
    double *count, *nll, *reference_nll, *gap; /* gap: nll - reference_nll */
    double *kl, *top1, *top5;
    double *each_kl; /* [n_prediction] */
    double *memory;
} windows;

typedef struct text_result {
    estimate nll, reference_nll, gap, kl, top1, top5;
    double kl_median, kl_p99;
    double seconds; /* of evaluation, wall clock */
    tlp_plan_cost cost;
} text_result;

/* ==== evaluation ========================================================= */

static int alloc_windows(windows *w, const corpus *text)
{
    w->n = text->n_window;
    w->n_prediction = 0;
    w->memory = calloc(7 * w->n + text->n, sizeof *w->memory);
    if (!w->memory)
        return cli_fail("out of memory");
    w->count = w->memory;
    w->nll = w->count + w->n;
    w->reference_nll = w->nll + w->n;
    w->gap = w->reference_nll + w->n;
    w->kl = w->gap + w->n;
    w->top1 = w->kl + w->n;
    w->top5 = w->top1 + w->n;
    w->each_kl = w->top5 + w->n;
    return CLI_OK;
}

/* One prediction: row i of both sessions, after the ids before the target. */
static tlp_status compare_row(const eval *v, size_t i, int32_t target,
                              windows *w, size_t at)
{
    tlp_divergence d = { .struct_size = sizeof d };
    const float *a, *b;
    tlp_status st = tlp_session_logits(&a, v->reference, i);

    if (st == TLP_OK)
        st = tlp_session_logits(&b, v->e.session, i);
    if (st == TLP_OK)
        st = tlp_logits_compare(&d, a, b, (size_t)v->e.info.n_vocab);
    if (st != TLP_OK)
        return st;
    w->nll[at] += d.lse - (double)b[target];
    w->reference_nll[at] += d.reference_lse - (double)a[target];
    w->kl[at] += d.kl;
    w->top1[at] += d.top1 == d.reference_top1;
    w->top5[at] += d.same_top5;
    w->each_kl[w->n_prediction++] = d.kl;
    return TLP_OK;
}

/* The last token of a window gives no prediction and is skipped. */
static tlp_status compare_window(const eval *v, const int32_t *ids, size_t n,
                                 windows *w, size_t at)
{
    tlp_status st = tlp_session_clear(v->e.session, 0);

    if (st == TLP_OK)
        st = tlp_session_clear(v->reference, 0);
    for (size_t t = 0; st == TLP_OK && t < n - 1; t += CORPUS_CHUNK) {
        size_t n_row = n - 1 - t < CORPUS_CHUNK ? n - 1 - t : CORPUS_CHUNK;

        st = corpus_rows(v->reference, ids + t, n_row);
        if (st == TLP_OK)
            st = corpus_rows(v->e.session, ids + t, n_row);
        for (size_t i = 0; st == TLP_OK && i < n_row; i++)
            st = compare_row(v, i, ids[t + i + 1], w, at);
    }
    return st;
}

static int eval_windows(eval *v, windows *w)
{
    cli_progress bar;
    float *logprob = malloc((size_t)v->text.ctx * sizeof *logprob);
    tlp_status st = TLP_OK;

    if (!logprob)
        return cli_fail("out of memory");
    cli_progress_start(&bar, "evaluating");
    for (size_t k = 0; st == TLP_OK && k < w->n; k++) {
        size_t n;
        const int32_t *ids = corpus_window(&v->text, k, &n);

        if (v->reference) {
            st = compare_window(v, ids, n, w, k);
        } else {
            st = corpus_score(v->e.session, ids, n, logprob, &w->nll[k]);
            w->n_prediction += n - 1;
        }
        w->count[k] = (double)(n - 1);
        w->gap[k] = w->nll[k] - w->reference_nll[k];
        cli_progress_step((double)(k + 1) / (double)w->n, &bar);
    }
    cli_progress_end(&bar);
    free(logprob);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

/* ==== summary ============================================================ */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Quantile by linear interpolation. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    double x = sorted[i], y = sorted[i + 1 < n ? i + 1 : i];

    return isfinite(y) ? x + (at - (double)i) * (y - x) : x;
}

static int summarise(eval *v, windows *w, text_result *r)
{
    const struct {
        const double *sum;
        estimate *out;
    } parts[] = {
        { w->nll, &r->nll },   { w->reference_nll, &r->reference_nll },
        { w->gap, &r->gap },   { w->kl, &r->kl },
        { w->top1, &r->top1 }, { w->top5, &r->top5 }
    };
    size_t n = v->reference ? sizeof parts / sizeof *parts : 1;
    int rc = CLI_OK;

    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        rc = eval_estimate(v, parts[i].sum, w->count, w->n, parts[i].out);
    qsort(w->each_kl, w->n_prediction, sizeof *w->each_kl, by_value);
    r->kl_median = quantile(w->each_kl, w->n_prediction, 0.5);
    r->kl_p99 = quantile(w->each_kl, w->n_prediction, 0.99);
    return rc == CLI_OK ? engine_plan_cost(&v->e, v->e.plan, &r->cost) : rc;
}

/* ==== reports ============================================================ */

static void print_reference(const eval *v, const text_result *r)
{
    estimate ppl = eval_exp(&r->reference_nll), ratio = eval_exp(&r->gap);

    eval_print_against(v);
    eval_print("  its perplexity", &ppl, "");
    printf(", nll %.5f\n", r->reference_nll.mean);
    eval_print("  perplexity ratio", &ratio, "");
    putchar('\n');
    eval_print("  KL divergence", &r->kl, " nats");
    printf(", median %.4f, 99%% %.4f\n", r->kl_median, r->kl_p99);
    eval_print_share("  top-1 agreement", &r->top1);
    eval_print_share("  same top 5", &r->top5);
}

static void print_text(const eval *v, size_t n, const windows *w,
                       const text_result *r)
{
    estimate ppl = eval_exp(&r->nll);

    printf("%zu token%s, %zu prediction%s in %zu window%s%s, %.2f s\n", n,
           n == 1 ? "" : "s", w->n_prediction, w->n_prediction == 1 ? "" : "s",
           w->n, w->n == 1 ? "" : "s", v->text.n_bos ? ", BOS in each" : "",
           r->seconds);
    eval_print("perplexity", &ppl, "");
    printf(", nll %.5f\n", r->nll.mean);
    printf("effective depth %d, %d exchanges per token on %d ranks\n",
           r->cost.effective_depth, r->cost.exchanges, r->cost.n_rank);
    if (v->reference)
        print_reference(v, r);
    eval_print_unit(&ppl, "windows");
}

static void json_reference(json *j, const eval *v, const text_result *r)
{
    estimate ppl = eval_exp(&r->reference_nll), ratio = eval_exp(&r->gap);

    eval_json_against(j, v);
    json_number(j, "reference_nll", r->reference_nll.mean);
    eval_json(j, "reference_ppl", &ppl);
    eval_json(j, "ppl_ratio", &ratio);
    json_number(j, "kl_mean", r->kl.mean);
    eval_json_interval(j, "kl_ci", &r->kl);
    json_number(j, "kl_median", r->kl_median);
    json_number(j, "kl_p99", r->kl_p99);
    eval_json(j, "top1_agreement", &r->top1);
    eval_json(j, "same_top5", &r->top5);
}

static void print_json(const eval *v, size_t n, const windows *w,
                       const text_result *r)
{
    estimate ppl = eval_exp(&r->nll);
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    json_int(&j, "tokens", (int64_t)n);
    json_int(&j, "predictions", (int64_t)w->n_prediction);
    json_int(&j, "windows", (int64_t)w->n);
    json_int(&j, "bos", v->text.n_bos > 0);
    json_number(&j, "nll", r->nll.mean);
    eval_json(&j, "ppl", &ppl);
    json_int(&j, "effective_depth", r->cost.effective_depth);
    json_int(&j, "allreduces_per_token", engine_allreduces(&r->cost));
    json_int(&j, "exchanges_per_token", r->cost.exchanges);
    if (v->reference)
        json_reference(&j, v, r);
    json_number(&j, "seconds", r->seconds);
    json_close(&j, '}');
    putchar('\n');
}

/* ========================================================================= */

static int measure(eval *v)
{
    windows w = { 0 };
    text_result r = { 0 };
    int rc = alloc_windows(&w, &v->text);
    double start = cli_now();

    if (rc == CLI_OK)
        rc = eval_windows(v, &w);
    r.seconds = cli_now() - start;
    if (rc == CLI_OK)
        rc = summarise(v, &w, &r);
    if (rc == CLI_OK)
        (v->as_json ? print_json : print_text)(v, v->text.n - v->text.n_bos, &w,
                                               &r);
    free(w.memory);
    return rc;
}

int eval_text(eval *v)
{
    int rc = corpus_read(&v->text, &v->e);

    if (rc == CLI_OK)
        rc = eval_open_sessions(v, v->text.ctx);
    return rc == CLI_OK ? measure(v) : rc;
}
