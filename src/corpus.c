/*
 * corpus.c - a text to score, as token ids in windows.
 */
#include "corpus.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

#define DEFAULT_CTX 512

/* NULL: the options name no file. */
static const char *file_of(const corpus *c)
{
    return c->text_path ? c->text_path : c->id_path;
}

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

int corpus_bos(const corpus *c, const engine *e, bool text, int32_t *id)
{
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_status st = tlp_model_get_info(&info, e->model);
    int32_t *ids = NULL;
    size_t n = 0;
    int rc = st == TLP_OK ? CLI_OK : engine_fail(st);

    *id = -1;
    if (rc == CLI_OK && c->bos && c->no_bos)
        rc = cli_usage("--bos and --no-bos exclude each other");
    if (rc != CLI_OK || c->no_bos || !(c->bos || text))
        return rc;
    if (c->bos && info.bos < 0)
        return cli_fail("--bos: the model has no BOS");
    /* an empty text begins with BOS if the file says so */
    if (!c->bos)
        rc = engine_tokenize(e, "", 0, TLP_TOKENIZE_BOS, &ids, &n);
    if (rc == CLI_OK && (c->bos || (n > 0 && ids[0] == info.bos)))
        *id = info.bos;
    free(ids);
    return rc;
}

/* Put BOS before every `length` ids. */
static int insert_bos(corpus *c, int32_t bos, size_t length)
{
    size_t n_bos = (c->n + length - 1) / length, at = 0;
    int32_t *all = malloc((c->n + n_bos) * sizeof *all);

    if (!all)
        return cli_fail("out of memory");
    for (size_t i = 0; i < c->n; i++) {
        if (i % length == 0)
            all[at++] = bos;
        all[at++] = c->ids[i];
    }
    free(c->ids);
    c->ids = all;
    c->n = at;
    c->n_bos = n_bos;
    return CLI_OK;
}

static void leave_out(corpus *c)
{
    size_t from = (size_t)c->from;

    if (from == 0)
        return;
    c->n = c->n > from ? c->n - from : 0;
    memmove(c->ids, c->ids + from, c->n * sizeof *c->ids);
}

/* Keep the first n ids, or n ids in windows of ctx at equal distances. */
static void keep(corpus *c, size_t n, size_t ctx)
{
    size_t n_window = (n + ctx - 1) / ctx;
    size_t n_gap = n_window - 1, space = c->n - n;

    for (size_t k = 1; c->spread && k < n_window; k++) {
        size_t at = k * ctx, length = n - at < ctx ? n - at : ctx;

        memmove(c->ids + at, c->ids + at + space * k / n_gap,
                length * sizeof *c->ids);
    }
    c->n = n;
}

/* Put windows of the model's own text evenly between those of the file, which
 * is cut to whole windows. */
static int mix(corpus *c, const engine *e, size_t length)
{
    size_t n_own = (size_t)c->own.n, n_file = c->n / length * length;
    size_t n = n_file + n_own, from_own = 0, from_file = 0;
    int32_t *own = malloc(n_own * sizeof *own);
    int32_t *all = malloc(n * sizeof *all);
    int rc = own && all ? own_text_write(&c->own, e, length, own)
                        : cli_fail("out of memory");

    if (rc == CLI_OK && c->n > 0 && n_file == 0)
        rc =
            cli_fail("%s: %zu tokens, at least a window of %zu expected beside "
                     "--self",
                     file_of(c), c->n, length);
    for (size_t at = 0; rc == CLI_OK && at < n;) {
        /* the source whose share lags behind; a short window comes last */
        bool is_file =
            from_file < n_file &&
            (from_own + length > n_own || (double)from_file / (double)n_file <=
                                              (double)from_own / (double)n_own);
        size_t left = n - at, k = left < length ? left : length;
        size_t *from = is_file ? &from_file : &from_own;

        memcpy(all + at, (is_file ? c->ids : own) + *from, k * sizeof *all);
        *from += k;
        at += k;
    }
    free(own);
    if (rc == CLI_OK) {
        free(c->ids);
        c->ids = all;
        c->n = n;
    } else {
        free(all);
    }
    return rc;
}

int corpus_check(const corpus *c)
{
    if ((c->text_path && c->id_path) || (!file_of(c) && !c->own.n))
        return cli_usage("one of --text and --tokens is required, or --self");
    if (!c->own.n && own_text_is_shaped(&c->own))
        return cli_usage(
            "--self-plan, --self-prompts and --self-seed need --self");
    if (!file_of(c) && corpus_is_cut(c))
        return cli_usage("--max-tokens, --from and --spread need --text or "
                         "--tokens");
    return CLI_OK;
}

/* Read the file, if there is one, without BOS; set ctx.  add: BOS in a window.
 */
static int read_file(corpus *c, const engine *e, size_t add)
{
    int rc = file_of(c) ? read_ids(c, e) : CLI_OK;

    if (rc != CLI_OK)
        return rc;
    leave_out(c);

    size_t n = c->n;

    if (c->max_tokens && (size_t)c->max_tokens < n)
        n = (size_t)c->max_tokens;
    if (file_of(c) && n + add < 2)
        return cli_fail("%s: %zu token%s%s, at least %d expected", file_of(c),
                        n, n == 1 ? "" : "s",
                        c->from ? " after those of --from" : "", add ? 1 : 2);

    size_t room = n + (size_t)c->own.n + add;

    if (c->ctx == 0)
        c->ctx = DEFAULT_CTX;
    if ((size_t)c->ctx > room)
        c->ctx = (int)room;
    keep(c, n, (size_t)c->ctx - add);
    return CLI_OK;
}

int corpus_read(corpus *c, const engine *e)
{
    int32_t bos = -1;
    int rc = c->spread && !c->max_tokens
                 ? cli_usage("--spread needs --max-tokens")
                 : corpus_bos(c, e, c->id_path == NULL, &bos);
    size_t add = bos >= 0;

    if (rc == CLI_OK)
        rc = read_file(c, e, add);
    if (rc != CLI_OK)
        return rc;

    size_t ctx = (size_t)c->ctx;

    if (c->own.n)
        rc = mix(c, e, ctx - add);
    if (rc == CLI_OK && add)
        rc = insert_bos(c, bos, ctx - add);
    if (rc != CLI_OK)
        return rc;

    /* A last window of one token gives no prediction. */
    c->n_window = c->n / ctx + (c->n % ctx > 1);
    return CLI_OK;
}

int corpus_prepend(corpus *c, const corpus *first)
{
    size_t n = first->n + c->n;
    int32_t *all = malloc(n * sizeof *all);

    if (!all)
        return cli_fail("out of memory");
    memcpy(all, first->ids, first->n * sizeof *all);
    memcpy(all + first->n, c->ids, c->n * sizeof *all);
    free(c->ids);
    c->ids = all;
    c->n = n;
    c->n_bos += first->n_bos;
    c->n_window += first->n_window;
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
