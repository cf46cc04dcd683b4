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
      "token ids to score, little-endian int32", 0, 0 }
/* clang-format on */

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
