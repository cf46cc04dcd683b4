/*
 * study_score.c - score a cell: its plan, or the mean over its plans, on all
 * windows of the text.
 *
 * The serial session stays open, so that the sessions of other plans share its
 * packed weights.  For the KL divergence the serial logits are kept.  They
 * take n_vocab * 4 bytes for each prediction and save a serial run for each
 * cell.
 */
#include <stdlib.h>
#include <string.h>

#include "study.h"
#include "tlp_eval.h"

static size_t n_prediction(const study *s)
{
    size_t n = 0, len;

    for (size_t k = 0; k < s->text.n_window; k++) {
        corpus_window(&s->text, k, &len);
        n += len - 1;
    }
    return n;
}

/* ==== one session ======================================================== */

/* Compare row i of the last evaluation with the serial model's row, which the
 * serial (first) cell stores. */
static tlp_status compare_row(const study *s, tlp_session *session, size_t i,
                              float *reference, int32_t target, cell *sum)
{
    size_t n_vocab = (size_t)s->e.info.n_vocab;
    tlp_divergence d = { .struct_size = sizeof d };
    const float *row;
    tlp_status st = tlp_session_logits(&row, session, i);

    if (st == TLP_OK && session == s->e.session)
        memcpy(reference, row, n_vocab * sizeof *row);
    if (st == TLP_OK)
        st = tlp_logits_compare(&d, reference, row, n_vocab);
    if (st == TLP_OK) {
        sum->nll += d.lse - (double)row[target];
        sum->kl += d.kl;
    }
    return st;
}

/* The first prediction of the window uses row `at` of the reference. */
static tlp_status compare_window(study *s, tlp_session *session, size_t k,
                                 size_t at, cell *sum)
{
    size_t n, n_vocab = (size_t)s->e.info.n_vocab;
    const int32_t *ids = corpus_window(&s->text, k, &n);
    float *reference = s->reference + at * n_vocab;
    tlp_status st = tlp_session_clear(session, 0);

    for (size_t t = 0; st == TLP_OK && t < n - 1; t += CORPUS_CHUNK) {
        size_t n_row = n - 1 - t < CORPUS_CHUNK ? n - 1 - t : CORPUS_CHUNK;

        st = corpus_rows(session, ids + t, n_row);
        for (size_t i = 0; st == TLP_OK && i < n_row; i++)
            st = compare_row(s, session, i, reference + (t + i) * n_vocab,
                             ids[t + i + 1], sum);
    }
    return st;
}

/* Add to nll and kl of `out`, per prediction. */
static int score_session(study *s, tlp_session *session, cell *out)
{
    cell sum = { 0 };
    size_t n_done = 0, n;
    tlp_status st = TLP_OK;

    for (size_t k = 0; st == TLP_OK && k < s->text.n_window; k++) {
        const int32_t *ids = corpus_window(&s->text, k, &n);
        double nll = 0;

        if (s->reference)
            st = compare_window(s, session, k, n_done, &sum);
        else
            st = corpus_score(session, ids, n, s->logprob, &nll);
        sum.nll += nll;
        n_done += n - 1;
    }
    out->nll += sum.nll / (double)n_done;
    out->kl += sum.kl / (double)n_done;
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

/* ==== cells ============================================================== */

static int score_plan(study *s, const char *text, cell *out)
{
    tlp_plan_cost cost;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    int rc = engine_parse_plan(&s->e, text, &plan);

    if (rc == CLI_OK)
        rc = engine_plan_cost(&s->e, plan, &cost);
    if (rc == CLI_OK)
        out->depth = cost.effective_depth;
    if (rc == CLI_OK)
        rc = engine_create_session(&s->e, plan, s->text.ctx, &session);
    if (rc == CLI_OK)
        rc = score_session(s, session, out);
    tlp_session_free(session);
    tlp_plan_free(plan);
    return rc;
}

static int score_serial(study *s, cell *out)
{
    tlp_plan_cost cost;
    int rc = engine_plan_cost(&s->e, s->e.plan, &cost);

    if (rc == CLI_OK)
        out->depth = cost.effective_depth;
    return rc == CLI_OK ? score_session(s, s->e.session, out) : rc;
}

int study_score(study *s, cell *c)
{
    int n_draw = study_n_draw(s, c), rc = CLI_OK;
    cell sum = { 0 };

    if (c->kind == STUDY_SERIAL)
        rc = score_serial(s, &sum);
    for (int i = 0; c->kind != STUDY_SERIAL && rc == CLI_OK && i < n_draw;
         i++) {
        char *text = NULL;

        rc = study_plan_text(s, c, i, &text);
        if (rc == CLI_OK)
            rc = score_plan(s, text, &sum);
        free(text);
    }
    if (rc != CLI_OK)
        return rc;
    c->depth = sum.depth;
    c->nll = sum.nll / n_draw;
    c->kl = sum.kl / n_draw;
    c->done = true;
    return CLI_OK;
}

int study_open(study *s)
{
    size_t n_vocab = (size_t)s->e.info.n_vocab, n = n_prediction(s);
    int rc = engine_parse_plan(&s->e, NULL, &s->e.plan);

    if (rc == CLI_OK)
        rc =
            engine_create_session(&s->e, s->e.plan, s->text.ctx, &s->e.session);
    if (rc != CLI_OK)
        return rc;
    s->logprob = malloc((size_t)s->text.ctx * sizeof *s->logprob);
    if (s->with_kl && n <= SIZE_MAX / sizeof(float) / n_vocab)
        s->reference = malloc(n * n_vocab * sizeof *s->reference);
    if (!s->logprob || (s->with_kl && !s->reference))
        return cli_fail("out of memory for the logits of %zu tokens",
                        s->text.n);
    /* A resumed study has the serial model's numbers, but must compute its
     * logits again. */
    return s->reference && s->cell[0].done ? study_score(s, &s->cell[0])
                                           : CLI_OK;
}

void study_close(study *s)
{
    free(s->logprob);
    free(s->reference);
    free(s->cell);
    corpus_free(&s->text);
    engine_close(&s->e);
}
