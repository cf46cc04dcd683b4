/*
 * logits.c - collect the results of a step from the ranks: rows of logits,
 * candidates, log-probabilities.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "session/session.h"

/* ==== rows =============================================================== */

/* A row that is wholly on rank 0. */
static tlp_status check_logits(const tlp_session *s, size_t row, const float *x)
{
    size_t n = (size_t)s->plan->model->hp.n_vocab;
    bool possible = false;
    size_t i = tlpi_find_unsound(x, n, &possible);
    tlp_status st = TLP_OK;

    if (i < n)
        st = tlpi_fail_logit((int32_t)i, x[i]);
    else if (!possible)
        st = tlpi_fail(TLP_ERROR, "every logit is -inf");
    return st == TLP_OK ? st : tlpi_session_fail_at(s, row, st);
}

tlp_status tlpi_session_row(tlp_session *s, size_t row, const float **logits)
{
    tlpi_command cmd = { .op = TLPI_OP_ROW, .row = (int32_t)row };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_session_check_row(s, row));
    float *dst = s->row + row * (size_t)s->plan->model->hp.n_vocab;
    tlpi_results res = { .row = dst };
    tlpi_session_expect(s, 0);
    if (!s->row_here[row]) {
        TLP_TRY(tlpi_session_command(s, &cmd, &res));
        TLP_TRY(check_logits(s, row, dst));
    }
    s->row_here[row] = 1;
    *logits = dst;
done:
    return st;
}

tlp_status tlpi_session_logits(const float **logits, tlp_session *s, size_t row)
{
    if (logits)
        *logits = NULL;
    if (!s || !logits)
        return tlpi_fail(TLP_EINVAL, "session and logits are required");
    return tlpi_session_row(s, row, logits);
}

/* ==== candidates ========================================================= */

/* Does rank 0 hold k candidates of that row already? */
static bool have_top(const tlpi_top_rows *t, int row, int k)
{
    return row >= t->row && row < t->row + t->n_row && k <= t->k;
}

/* Is the id of a candidate in the vocabulary part of rank r? */
static bool is_of_rank(const tlp_session *s, int r, int32_t id)
{
    return id >= s->shards->vocab[r] && id < s->shards->vocab[r + 1];
}

/* The candidates that rank r has of a row. */
static const tlpi_candidate *top_of_rank(const tlpi_top_rows *t, int r, int row)
{
    return t->all + (size_t)(r * t->n_row + row - t->row) * (size_t)t->k;
}

/* NaN and +inf come first on their ranks. */
static bool is_sound(const tlp_session *s, int row)
{
    bool sound = true;

    for (int r = 0; r < s->cfg.n_rank; r++)
        sound = sound && top_of_rank(&s->top, r, row)->logit <= FLT_MAX;
    return sound;
}

/* The k best candidates of all ranks, from those of each. */
static void merge_top(const tlp_session *s, int row, int k, tlpi_candidate *out)
{
    int have = 0;

    for (int r = 0; r < s->cfg.n_rank; r++) {
        const tlpi_candidate *c = top_of_rank(&s->top, r, row);
        for (int i = 0; i < k; i++)
            if (is_of_rank(s, r, c[i].id) &&
                (have < k || tlpi_candidate_better(c[i], out[k - 1])))
                tlpi_candidate_insert(out, &have, k, c[i]);
    }
    for (; have < k; have++)
        out[have] = (tlpi_candidate){ -1, -INFINITY };
}

tlp_status tlpi_session_top(tlp_session *s, size_t row, int k,
                            tlpi_candidate *out)
{
    tlpi_command cmd = { .op = TLPI_OP_TOP, .row = (int32_t)row, .k = k };
    tlpi_top_rows *t = &s->top;
    tlpi_results res = { .top = t->all };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_session_check_row(s, row));
    tlpi_session_expect(s, k);
    if (!have_top(t, cmd.row, k)) {
        t->n_row = 0;
        TLP_TRY(tlpi_session_command(s, &cmd, &res));
        *t = (tlpi_top_rows){ t->hint, cmd.row, 1, k, t->all };
    }
    if (!is_sound(s, cmd.row)) {
        const float *logits = NULL;

        TLP_TRY(tlpi_session_row(s, row, &logits)); /* names the token */
        TLP_TRY(tlpi_fail(TLP_ECOMM, "row %zu: ranks disagree", row));
    }
    merge_top(s, cmd.row, k, out);
done:
    return st;
}

/* ==== scoring ============================================================ */

/* The logarithm of the sum of a row's exponentials is max + log_sum; target is
 * the logit of the token asked for. */
typedef struct row_sum {
    double max, log_sum;
    float target;
} row_sum;

/* Of row i, from the partial results of all ranks. */
static tlp_status combine(const tlp_session *s, int n_row, int i, row_sum *out)
{
    double max = -INFINITY, sum = 0;
    float target = -INFINITY;

    for (int r = 0; r < s->cfg.n_rank; r++) {
        const tlpi_row_score *p = &s->score[r * n_row + i];
        if (!(p->lse <= FLT_MAX)) /* ranks have the vocabulary in order */
            return tlpi_fail_logit(p->bad, p->target);
        max = fmax(max, p->lse);
        target = fmaxf(target, p->target);
    }
    if (max == -INFINITY)
        return tlpi_fail(TLP_ERROR, "every logit is -inf");
    for (int r = 0; r < s->cfg.n_rank; r++)
        sum += exp(s->score[r * n_row + i].lse - max);
    *out = (row_sum){ max, log(sum), target };
    return TLP_OK;
}

static float logprob_of(float logit, const row_sum *sum)
{
    return (float)(logit - sum->max - sum->log_sum);
}

/* ==== probabilities of a row ============================================= */

static tlp_status check_logprobs(const tlp_session *s, const tlp_logprob *top,
                                 size_t n_top, const float *logprob,
                                 int32_t token)
{
    if (!s || (!top && n_top > 0))
        return tlpi_fail(TLP_EINVAL, "session and top are required");
    if (n_top > TLPI_MAX_TOP)
        return tlpi_fail(TLP_EINVAL, "n_top %zu: at most %d expected", n_top,
                         TLPI_MAX_TOP);
    return logprob ? tlpi_session_check_ids(s, &token, 1) : TLP_OK;
}

tlp_status tlpi_session_logprobs(tlp_logprob *top, size_t n_top, float *logprob,
                                 tlp_session *s, size_t row, int32_t token)
{
    tlpi_candidate best[TLPI_MAX_TOP];
    row_sum sum;
    tlp_status st = TLP_OK;

    TLP_TRY(check_logprobs(s, top, n_top, logprob, token));
    TLP_TRY(tlpi_session_check_row(s, row));
    tlpi_top_rows *t = &s->top;
    tlpi_results res = { .top = t->all, .score = s->score };
    tlpi_command cmd = { .op = TLPI_OP_LOGPROB,
                         .row = (int32_t)row,
                         .token = logprob ? token : -1 };
    if (n_top > 0 && !have_top(t, cmd.row, (int)n_top)) {
        cmd.k = (int32_t)n_top;
        t->n_row = 0;
    }
    TLP_TRY(tlpi_session_command(s, &cmd, &res));
    if (cmd.k > 0)
        *t = (tlpi_top_rows){ t->hint, cmd.row, 1, cmd.k, t->all };
    st = combine(s, 1, 0, &sum);
    if (st != TLP_OK)
        return tlpi_session_fail_at(s, row, st);
    if (n_top > 0)
        merge_top(s, cmd.row, (int)n_top, best);
    for (size_t i = 0; i < n_top; i++)
        top[i] = (tlp_logprob){ best[i].id, logprob_of(best[i].logit, &sum) };
    if (logprob)
        *logprob = logprob_of(sum.target, &sum);
done:
    return st;
}

/* ==== texts ============================================================== */

/* A text to be scored.  A sequence that holds something begins again at its
 * last token, whose logits score the text's first. */
typedef struct text {
    int32_t seq;
    const int32_t *tokens;
    int64_t n;
    int64_t first; /* -1 if the last token before the text runs again, else 0 */
    float *logprob;
} text;

/* One step: tokens [at, at + n) of the text; the logits of each token score the
 * next token, so the last token of the text needs no logits. */
static tlp_status score_step(tlp_session *s, const text *x, int64_t at, int n)
{
    tlpi_step_arrays *a = &s->rank0->scratch.step;
    tlpi_results res = { .score = s->score };
    tlpi_command cmd = { .op = TLPI_OP_SCORE, .n_tok = n };
    int32_t *history = tlpi_session_history(s, x->seq), pos = s->pos[x->seq];

    for (int i = 0; i < n; i++) {
        int64_t t = at + i;

        a->pos[i] = pos + (int32_t)t;
        if (t >= 0)
            history[a->pos[i]] = x->tokens[t];
        a->id[i] = history[a->pos[i]];
        a->seq[i] = x->seq;
        if (t + 1 < x->n) {
            a->row[cmd.n_row] = i;
            a->target[cmd.n_row++] = x->tokens[t + 1];
        }
    }
    tlpi_cache_plan(s);
    tlpi_cache_write(s, x->seq, a->pos[0], a->pos[n - 1] + 1);
    tlp_status st = tlpi_cache_fit(s);
    if (st == TLP_OK)
        st = tlpi_session_command(s, &cmd, &res);
    if (st != TLP_OK)
        return st;
    for (int i = 0; i < cmd.n_row && st == TLP_OK; i++) {
        row_sum sum;
        st = combine(s, cmd.n_row, i, &sum);
        if (st == TLP_OK)
            x->logprob[at + i + 1] = logprob_of(sum.target, &sum);
        else
            st = tlpi_fail_prefix(st, "sequence %d, position %d: ", x->seq,
                                  a->pos[a->row[i]]);
    }
    return st;
}

/* TLP_EFULL if there are too few pages for the text. */
static tlp_status check_pages(tlp_session *s, const text *x)
{
    int32_t pos = s->pos[x->seq];

    tlpi_cache_plan(s);
    tlpi_cache_write(s, x->seq,
                     s->cache.seq[x->seq].lost ? 0 : pos + (int32_t)x->first,
                     pos + (int32_t)x->n);
    return tlpi_cache_check(s);
}

static tlp_status run_text(tlp_session *s, const text *x)
{
    int n_batch = s->cfg.n_batch;
    tlp_status st = TLP_OK;

    if (s->cache.seq[x->seq].lost)
        st = tlpi_session_recompute(s, x->seq);

    for (int64_t at = x->first; at < x->n && st == TLP_OK; at += n_batch) {
        st = score_step(s, x, at, (int)TLPI_MIN(n_batch, x->n - at));
        s->stats.n_step++;
    }
    return st;
}

tlp_status tlpi_session_score(float *logprob, tlp_session *s, int32_t seq,
                              const int32_t *tokens, size_t n)
{
    tlp_status st = tlpi_session_check_seq(s, seq);

    if (st != TLP_OK)
        return st;
    if (n == 0 || !tokens || !logprob)
        return tlpi_fail(TLP_EINVAL, "tokens and logprob are required");
    if (n > (size_t)(s->cfg.n_ctx - s->pos[seq]))
        return tlpi_fail(TLP_EFULL,
                         "sequence %d: %zu tokens after %d do not fit in "
                         "n_ctx %d",
                         seq, n, s->pos[seq], s->cfg.n_ctx);
    TLP_TRY(tlpi_session_check_ids(s, tokens, n));
    text x = { seq, tokens, (int64_t)n, s->pos[seq] > 0 ? -1 : 0, logprob };
    TLP_TRY(check_pages(s, &x));
    tlpi_session_clock clock = tlpi_session_clock_start(s);
    logprob[0] = 0;
    tlpi_session_drop_rows(s);
    st = run_text(s, &x);
    tlpi_session_clock_stop(s, &clock);
    if (st != TLP_OK) {
        if (!s->broken)
            (void)tlpi_cache_settle(s);
        goto done;
    }
    s->pos[seq] += (int32_t)n;
    s->stats.n_prefill += n;
done:
    return st;
}
