/*
 * corpus.c - a text to score, as token ids in windows.
 */
#include "corpus.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

#define DEFAULT_CTX 512

static int read_ids(corpus *c, const engine *e)
{
    char *text = NULL;
    size_t n_text = 0;

    if (c->id_path)
        return file_read_ids(c->id_path, &c->ids, &c->n);

    int rc = file_read(c->text_path, &text, &n_text);

    if (rc == CLI_OK)
        rc = engine_tokenize(e, text, n_text, 0, &c->ids, &c->n);
    free(text);
    return rc;
}

static void leave_out(corpus *c)
{
    size_t from = (size_t)c->from;

    if (from == 0)
        return;
    c->n = c->n > from ? c->n - from : 0;
    memmove(c->ids, c->ids + from, c->n * sizeof *c->ids);
}

/* Keep the first n ids, or n ids in windows at equal distances. */
static void keep(corpus *c, size_t n)
{
    size_t ctx = (size_t)c->ctx, n_window = (n + ctx - 1) / ctx;
    size_t n_gap = n_window - 1, space = c->n - n;

    for (size_t k = 1; c->spread && k < n_window; k++) {
        size_t at = k * ctx, length = n - at < ctx ? n - at : ctx;

        memmove(c->ids + at, c->ids + at + space * k / n_gap,
                length * sizeof *c->ids);
    }
    c->n = n;
}

int corpus_read(corpus *c, const engine *e)
{
    int rc = c->spread && !c->max_tokens
                 ? cli_usage("--spread needs --max-tokens")
                 : read_ids(c, e);

    if (rc != CLI_OK)
        return rc;
    leave_out(c);

    size_t n = c->n;

    if (c->max_tokens && (size_t)c->max_tokens < n)
        n = (size_t)c->max_tokens;
    if (n < 2)
        return cli_fail("%zu tokens%s, at least 2 expected", n,
                        c->from ? " after those of --from" : "");
    if (c->ctx == 0)
        c->ctx = DEFAULT_CTX;
    if ((size_t)c->ctx > n)
        c->ctx = (int)n;
    keep(c, n);

    size_t ctx = (size_t)c->ctx;

    /* A last window of one token gives no prediction. */
    c->n_window = c->n / ctx + (c->n % ctx > 1);
    return CLI_OK;
}

void corpus_free(corpus *c)
{
    free(c->ids);
    c->ids = NULL;
}

const int32_t *corpus_window(const corpus *c, size_t k, size_t *n)
{
    size_t ctx = (size_t)c->ctx, left = c->n - k * ctx;

    *n = left < ctx ? left : ctx;
    return c->ids + k * ctx;
}

tlp_status corpus_score(tlp_session *session, const int32_t *ids, size_t n,
                        float *logprob, double *nll)
{
    tlp_status st = tlp_session_clear(session, 0);

    *nll = 0;
    if (st == TLP_OK)
        st = tlp_session_score(logprob, session, 0, ids, n);
    for (size_t t = 1; st == TLP_OK && t < n; t++)
        *nll -= (double)logprob[t];
    return st;
}

tlp_status corpus_rows(tlp_session *session, const int32_t *ids, size_t n)
{
    uint8_t all[CORPUS_CHUNK];
    tlp_batch batch = TLP_BATCH_INIT;

    memset(all, 1, sizeof all);
    batch.n = n;
    batch.tokens = ids;
    batch.want_logits = all;
    return tlp_session_eval(session, &batch);
}
