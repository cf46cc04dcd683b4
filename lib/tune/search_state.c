/*
 * search_state.c - scores in JSON.  "draft" is a variant.
 *
 *   {"tlp_search": 1,
 *    "of": {"model": "sha256:...", "digest": "sha256:...",
 *           "tokens": "sha256:...", "n_ctx": 512, "n_track": 2, ...},
 *    "scores": [{"draft": "---p-----",
 *                "kl": [[sum of a block, ...], ...],       by window
 *                "nll": [[sum of a block, ...], ...],
 *                "top1": [sum, ...]}]}
 */
#include "tune/search_state.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json_text.h"
#include "base/sha256.h"
#include "base/subject.h"
#include "file/mapfile.h"
#include "model/digest.h"

#define STATE_VERSION 3
#define MAX_FILE_BYTES ((size_t)1 << 28)
#define MAX_DEPTH 8

/* A JSON object of all facts that a score depends on; json_decref it. */
static json_t *subject(const tlpi_scorer *s)
{
    const tlpi_session_config *cfg = s->teacher->cfg;
    tlpi_backend *b = s->teacher->serial.rank->b;
    char tokens[TLPI_HASH_TEXT], seed[24];
    const char *digest = "";

    if (tlpi_model_checked_digest(s->teacher->model, &digest) != TLP_OK)
        return NULL;
    tlpi_sha256_ids(s->text->ids, s->text->n_id, tokens);
    snprintf(seed, sizeof seed, "%" PRIu64, s->text->seed);
    /* s*: left out without a value */
    return json_pack("{s:s, s:s*, s:s, s:i, s:i, s:s, s:i, s:i, s:s}", "model",
                     tlpi_model_fingerprint(s->teacher->model), "digest",
                     *digest ? digest : NULL, "tokens", tokens, "n_ctx",
                     s->text->n_ctx, "n_track", s->n_track, "seed", seed,
                     "compute", cfg->compute, "kv_type", cfg->kv_type, "isa",
                     b->ops->isa(b));
}

/* ==== reading ============================================================ */

static tlp_status check_subject(const tlpi_scorer *s, const char *path,
                                json_t *root)
{
    json_t *version = json_object_get(root, "tlp_search");
    json_t *found = json_object_get(root, "of");

    if (!json_is_integer(version) ||
        json_integer_value(version) != STATE_VERSION)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"tlp_search\": version %d expected", path,
                         STATE_VERSION);
    json_t *expected = subject(s);
    if (!expected)
        return tlpi_fail_nomem_for("a search");
    if (!json_object_get(found, "digest"))
        json_object_del(expected, "digest"); /* as earlier versions wrote */
    tlp_status st =
        tlpi_subject_check(path, "the scores are of", found, expected);
    json_decref(expected);
    return st;
}

/* n finite numbers, none below 0. */
static bool read_sums(json_t *list, size_t n, double *out)
{
    if (!json_is_array(list) || json_array_size(list) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_array_get(list, i);

        out[i] = json_number_value(value);
        if (!json_is_number(value) || !isfinite(out[i]) || out[i] < 0)
            return false;
    }
    return true;
}

/* Sums of blocks, by window. */
static bool read_blocks(const tlpi_scorer *s, json_t *list, size_t n_window,
                        double *out)
{
    if (!json_is_array(list) || json_array_size(list) != n_window)
        return false;
    for (size_t w = 0; w < n_window; w++) {
        size_t blocks = (size_t)tlpi_score_blocks(&s->text->window[w]);

        if (!read_sums(json_array_get(list, w), blocks,
                       out + w * (size_t)s->n_block))
            return false;
    }
    return true;
}

static bool read_score(const tlpi_scorer *s, json_t *entry, tlpi_score *x)
{
    json_t *top1 = json_object_get(entry, "top1");
    size_t n = json_array_size(top1);

    if (n > (size_t)s->n_window || !read_sums(top1, n, x->top1) ||
        !read_blocks(s, json_object_get(entry, "kl"), n, x->kl) ||
        !read_blocks(s, json_object_get(entry, "nll"), n, x->nll))
        return false;
    x->n_done = (int)n;
    return true;
}

static tlp_status read_scores(tlpi_scorer *s, const char *path, json_t *list)
{
    size_t i;
    json_t *entry;

    if (!json_is_array(list))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"scores\": an array expected",
                         path);
    json_array_foreach(list, i, entry)
    {
        const char *variant =
            json_string_value(json_object_get(entry, "draft"));
        tlpi_score *x = NULL;
        tlp_status st = TLP_OK;

        if (!variant ||
            !tlpi_variant_valid(variant, s->teacher->model->hp.n_layer))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: scores[%zu]: key \"draft\": not a plan of "
                             "%d layers",
                             path, i, s->teacher->model->hp.n_layer);
        st = tlpi_score_find(s, variant, &x);
        if (st != TLP_OK)
            return st;
        if (x->n_done > 0 || !read_score(s, entry, x))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: scores[%zu]: sums of %d windows at most "
                             "expected, of each variant once",
                             path, i, s->n_window);
    }
    return TLP_OK;
}

tlp_status tlpi_state_load(tlpi_scorer *s, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t error;
    json_t *root = NULL;
    tlp_status st;

    if (access(path, F_OK) != 0 && errno == ENOENT)
        return TLP_OK;
    TLP_TRY(tlpi_file_read(s->env, path, MAX_FILE_BYTES, &text, &n));
    TLP_TRY(tlpi_json_check_depth(path, text, n, MAX_DEPTH));
    root = tlpi_json_load(text, n, 0, &error);
    if (!root)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: line %d, column %d: %s", path,
                          error.line, error.column, error.text));
    TLP_TRY(check_subject(s, path, root));
    TLP_TRY(read_scores(s, path, json_object_get(root, "scores")));
done:
    json_decref(root);
    tlpi_free(s->env, text);
    return st;
}

/* ==== writing ============================================================ */

/* 17 digits give back the bits of a double. */
static void write_sums(tlpi_text *out, const double *x, int n)
{
    tlpi_text_printf(out, "[");
    for (int i = 0; i < n; i++)
        tlpi_text_printf(out, "%s%.17g", i > 0 ? "," : "", x[i]);
    tlpi_text_printf(out, "]");
}

static void write_blocks(const tlpi_scorer *s, const double *x, int n_window,
                         tlpi_text *out)
{
    for (int w = 0; w < n_window; w++) {
        tlpi_text_printf(out, "%s", w > 0 ? ", " : "[");
        write_sums(out, x + w * s->n_block,
                   tlpi_score_blocks(&s->text->window[w]));
    }
    tlpi_text_printf(out, "]");
}

static void write_score(const tlpi_scorer *s, const tlpi_score *x,
                        tlpi_text *out)
{
    tlpi_text_printf(out, "{\"draft\": \"%s\", \"kl\": ", x->variant);
    write_blocks(s, x->kl, x->n_done, out);
    tlpi_text_printf(out, ", \"nll\": ");
    write_blocks(s, x->nll, x->n_done, out);
    tlpi_text_printf(out, ", \"top1\": ");
    write_sums(out, x->top1, x->n_done);
    tlpi_text_printf(out, "}");
}

tlp_status tlpi_state_save(const tlpi_scorer *s, const char *path)
{
    tlpi_text text = { .env = s->env };
    json_t *of = subject(s);
    char *of_text = of ? tlpi_json_dump(of, 0) : NULL;
    bool any = false;
    tlp_status st;

    tlpi_text_printf(&text, "{\"tlp_search\": %d,\n\"of\": %s,\n\"scores\": [",
                     STATE_VERSION, of_text ? of_text : "");
    for (size_t i = 0; i < s->n_score; i++) {
        if (s->score[i]->n_done == 0)
            continue;
        tlpi_text_printf(&text, any ? ",\n" : "\n");
        write_score(s, s->score[i], &text);
        any = true;
    }
    tlpi_text_printf(&text, "\n]}\n");
    if (!of_text || text.failed)
        st = tlpi_fail_nomem_for("a search");
    else
        st = tlpi_file_replace(s->env, path, text.data, text.len);
    tlpi_text_free(&text);
    free(of_text);
    json_decref(of);
    return st;
}
