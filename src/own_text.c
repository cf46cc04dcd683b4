/*
 * own_text.c - see own_text.h.  Several windows are written at once, a sequence
 * each; results do not depend on how many.
 */
#include "own_text.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

#define N_SEQ 8

/* A window that is being written. */
typedef struct window {
    int32_t *ids; /* [cap] */
    size_t n, cap;
    tlp_sampler *sampler;
} window;

typedef struct writer {
    const own_text *o;
    const engine *e;
    size_t length;
    char *text;  /* of the prompts' file */
    char **line; /* [n_line] */
    size_t n_line;
    int32_t first; /* before a free window */
    tlp_plan *plan;
    tlp_session *session;
    window window[N_SEQ];
    int32_t *batch, *seq; /* [N_SEQ * (length + 1)] */
} writer;

/* ==== how windows begin ================================================== */

static int read_prompts(writer *w)
{
    size_t n = 0, n_cap = 0;
    int rc = file_read(w->o->prompt_path, &w->text, &n);

    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        n_cap += w->text[i] == '\n';
    if (rc != CLI_OK)
        return rc;
    if (memchr(w->text, 0, n))
        return cli_fail("%s: a zero byte", w->o->prompt_path);
    w->line = calloc(n_cap + 1, sizeof *w->line);
    if (!w->line)
        return cli_fail("out of memory");
    for (char *p = strtok(w->text, "\n"); p; p = strtok(NULL, "\n"))
        w->line[w->n_line++] = p;
    return w->n_line ? CLI_OK : cli_fail("%s: no line", w->o->prompt_path);
}

static int find_first(writer *w)
{
    const tlp_model_info *info = &w->e->info;

    w->first = info->bos >= 0 ? info->bos : info->eos;
    return w->first >= 0 ? CLI_OK
                         : cli_fail("--self: the model has neither BOS nor "
                                    "EOS: --self-prompts is required");
}

/* Begin window k with its prompt. */
static int put_prompt(const writer *w, window *at, size_t k)
{
    const char *line = w->line[k % w->n_line];
    size_t n = 0;
    int32_t *ids = NULL;
    int rc = engine_tokenize(w->e, line, strlen(line), 0, &ids, &n);

    if (rc == CLI_OK && n == 0)
        rc = cli_fail("%s: line %zu has no token", w->o->prompt_path,
                      k % w->n_line + 1);
    if (rc == CLI_OK) {
        at->n = n < at->cap ? n : at->cap;
        memcpy(at->ids, ids, at->n * sizeof *ids);
    }
    free(ids);
    return rc;
}

/* Add the opening of window k, in sequence s, to the batch of *n ids. */
static int begin(writer *w, int s, size_t k, size_t *n)
{
    window *at = &w->window[s];
    int rc = w->n_line ? put_prompt(w, at, k) : CLI_OK;
    const int32_t *ids = w->n_line ? at->ids : &w->first;
    size_t n_id = w->n_line ? at->n : 1;

    for (size_t i = 0; rc == CLI_OK && i < n_id; i++) {
        w->batch[*n] = ids[i];
        w->seq[(*n)++] = s;
    }
    return rc;
}

static int open_window(writer *w, int s, size_t k, int32_t *ids, size_t cap)
{
    tlp_sampler_options o = TLP_SAMPLER_OPTIONS_INIT;
    window *at = &w->window[s];

    o.temperature = 1;
    o.seed = w->o->seed + k;
    *at = (window){ .ids = ids, .cap = cap };
    tlp_status st = tlp_sampler_create(&at->sampler, w->e->model, &o);

    if (st == TLP_OK)
        st = tlp_session_clear(w->session, s);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

/* ==== writing ============================================================ */

static tlp_status evaluate(writer *w, size_t n)
{
    tlp_batch b = TLP_BATCH_INIT;

    b.n = n;
    b.tokens = w->batch;
    b.seqs = w->seq;
    return tlp_session_eval(w->session, &b);
}

/* The next id of every window that has room.  *n: ids of the next batch. */
static tlp_status draw(writer *w, int n_open, size_t *n)
{
    tlp_status st = TLP_OK;

    *n = 0;
    for (int s = 0; s < n_open && st == TLP_OK; s++) {
        window *at = &w->window[s];
        size_t row;

        if (at->n == at->cap)
            continue;
        st = tlp_session_find_row(&row, w->session, s);
        if (st == TLP_OK)
            st = tlp_session_sample(&at->ids[at->n], w->session, row,
                                    at->sampler);
        if (st == TLP_OK && ++at->n < at->cap) {
            w->batch[*n] = at->ids[at->n - 1];
            w->seq[(*n)++] = s;
        }
    }
    return st;
}

/* Windows k to k + n_open - 1. */
static int write_some(writer *w, size_t k, int n_open, int32_t *ids)
{
    size_t n = 0, all = (size_t)w->o->n;
    tlp_status st = TLP_OK;
    int rc = CLI_OK;

    for (int s = 0; rc == CLI_OK && s < n_open; s++) {
        size_t at = (k + (size_t)s) * w->length, left = all - at;

        rc = open_window(w, s, k + (size_t)s, ids + at,
                         left < w->length ? left : w->length);
        if (rc == CLI_OK)
            rc = begin(w, s, k + (size_t)s, &n);
    }
    while (rc == CLI_OK && st == TLP_OK && n > 0) {
        st = evaluate(w, n);
        if (st == TLP_OK)
            st = draw(w, n_open, &n);
    }
    for (int s = 0; s < N_SEQ; s++) {
        tlp_sampler_free(w->window[s].sampler);
        w->window[s].sampler = NULL;
    }
    return rc == CLI_OK && st != TLP_OK ? engine_fail(st) : rc;
}

static int write_all(writer *w, int32_t *ids)
{
    size_t n_window = ((size_t)w->o->n + w->length - 1) / w->length;
    cli_progress bar;
    int rc = CLI_OK;

    cli_progress_start(&bar, "writing text");
    for (size_t k = 0; rc == CLI_OK && k < n_window; k += N_SEQ) {
        size_t left = n_window - k;

        rc = write_some(w, k, left < N_SEQ ? (int)left : N_SEQ, ids);
        cli_progress_step((double)k / (double)n_window, &bar);
    }
    cli_progress_end(&bar);
    return rc;
}

static int open_session(writer *w)
{
    tlp_session_options o = engine_session_options(w->e, (int)w->length + 1);
    size_t n = N_SEQ * (w->length + 1);
    int rc = engine_parse_plan(w->e, w->o->plan_text, &w->plan);

    if (rc != CLI_OK)
        return rc;
    o.n_seq = N_SEQ;
    tlp_status st = tlp_session_create(&w->session, w->plan, &o);

    if (st != TLP_OK)
        return engine_fail(st);
    w->batch = malloc(n * sizeof *w->batch);
    w->seq = malloc(n * sizeof *w->seq);
    return w->batch && w->seq ? CLI_OK : cli_fail("out of memory");
}

int own_text_write(const own_text *o, const engine *e, size_t length,
                   int32_t *ids)
{
    writer w = { .o = o, .e = e, .length = length };
    int rc = o->prompt_path ? read_prompts(&w) : find_first(&w);

    if (rc == CLI_OK)
        rc = open_session(&w);
    if (rc == CLI_OK) {
        engine_watch(w.session);
        rc = write_all(&w, ids);
        engine_watch(NULL);
    }
    tlp_session_free(w.session);
    tlp_plan_free(w.plan);
    free(w.batch);
    free(w.seq);
    free(w.line);
    free(w.text);
    return rc;
}
