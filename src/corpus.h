/*
 * corpus.h - a text to score: token ids in windows of ctx, each from position
 * 0, so that a window of n tokens gives n - 1 predictions.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include "engine.h"

/* Tokens that corpus_rows takes: what bounds the logits held in memory. */
#define CORPUS_CHUNK 64

typedef struct corpus {
    /* options */
    const char *text_path, *id_path; /* one of them */
    int ctx, max_tokens;             /* 0 = 512; 0 = all */
    int from;                        /* tokens left out at the beginning */
    bool spread;                     /* max_tokens from all over the text */
    /* what was read */
    int32_t *ids;
    size_t n, n_window;
} corpus;

/* Rows of an option table. */
/* clang-format off */
#define CORPUS_FILE_OPTIONS(c)                                                 \
    { CLI_TEXT, 0, "text", &(c).text_path, "FILE",                             \
      "text to score; no BOS is added", 0, 0 },                                \
    { CLI_TEXT, 0, "tokens", &(c).id_path, "FILE",                             \
      "token ids to score, little-endian int32", 0, 0 },                       \
    { CLI_INT, 0, "from", &(c).from, "N", "leave out the first N tokens", 0,   \
      INT32_MAX },                                                             \
    { CLI_FLAG, 0, "spread", &(c).spread, NULL,                                \
      "take the windows of --max-tokens from all over the text", 0,            \
      0 }
/* clang-format on */

/* Is only a part of the text asked for? */
static inline bool corpus_is_cut(const corpus *c)
{
    return c->max_tokens || c->from || c->spread;
}

/* Read the ids, or the text and tokenize it; ctx becomes at most n. */
int corpus_read(corpus *c, const engine *e);
void corpus_free(corpus *c);

/* The k-th window's ids, and their number. */
const int32_t *corpus_window(const corpus *c, size_t k, size_t *n);

/* Sum of -log p over the n - 1 predictions of a window; `logprob` has room for
 * n values. */
tlp_status corpus_score(tlp_session *session, const int32_t *ids, size_t n,
                        float *logprob, double *nll);

/* Extend sequence 0 by up to CORPUS_CHUNK ids, and keep all rows of logits. */
tlp_status corpus_rows(tlp_session *session, const int32_t *ids, size_t n);

#endif
