/*
 * corpus.h - a text to score, as token ids in windows of ctx.  Each window
 * starts at position 0, so a window of n tokens gives n - 1 predictions.  Where
 * the model wants BOS it is the first token of every window.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include "engine.h"
#include "own_text.h"

/* Most tokens of corpus_rows; bounds the logits in memory. */
#define CORPUS_CHUNK 64

typedef struct corpus {
    /* options */
    const char *text_path, *id_path; /* one is set, or neither with own.n */
    int ctx, max_tokens;             /* 0 = 512; 0 = all */
    int from;                        /* tokens to skip at the beginning */
    bool spread;      /* take max_tokens from windows all over the text */
    bool bos, no_bos; /* neither: as the model's file says, for a text */
    own_text own;     /* windows between those of the file, or alone */
    /* data that was read */
    int32_t *ids;
    size_t n, n_window, n_bos; /* n counts the n_bos BOS too */
} corpus;

/* Rows of an option table. */
/* clang-format off */
#define CORPUS_FILE_OPTIONS(c)                                                 \
    { CLI_TEXT, 0, "text", &(c).text_path, "FILE",                             \
      "text to score", 0, 0 },                                                 \
    { CLI_TEXT, 0, "tokens", &(c).id_path, "FILE",                             \
      "token ids to score, little-endian int32", 0, 0 },                       \
    { CLI_INT, 0, "from", &(c).from, "N", "skip the first N tokens", 0,   \
      INT32_MAX },                                                             \
    { CLI_FLAG, 0, "spread", &(c).spread, NULL,                                \
      "take the windows of --max-tokens from all over the text", 0, 0 },       \
    { CLI_FLAG, 0, "bos", &(c).bos, NULL,                                      \
      "begin each window with BOS (for texts: if the file says so)", 0, 0 },   \
    { CLI_FLAG, 0, "no-bos", &(c).no_bos, NULL, "add no BOS", 0, 0 },          \
    OWN_TEXT_OPTIONS((c).own)
#define CORPUS_MAX_OPTION(c)                                                   \
    { CLI_INT, 0, "max-tokens", &(c).max_tokens, "N",                          \
      "use the first N tokens only (0: all)", 0, INT32_MAX }
#define CORPUS_CTX_OPTION(c)                                                   \
    { CLI_INT, 'c', "ctx", &(c).ctx, "N", "tokens in a window (512)", 2, 4096 }
/* clang-format on */

/* Whether only a part of the text is used. */
static inline bool corpus_is_cut(const corpus *c)
{
    return c->max_tokens || c->from || c->spread;
}

/* Whether the options name a text: one of --text and --tokens, --self, or both;
 * else a message. */
int corpus_check(const corpus *c);

/* BOS, if it is to be added, else -1.  `text`: what is scored is a text, for
 * which the file's word counts. */
int corpus_bos(const corpus *c, const engine *e, bool text, int32_t *id);

/* Read the ids, or read the text and tokenize it; limits ctx to n. */
int corpus_read(corpus *c, const engine *e);
void corpus_free(corpus *c);

/* Put the ids of another text before those of c. */
int corpus_prepend(corpus *c, const corpus *first);

/* The ids of the k-th window, and their number. */
const int32_t *corpus_window(const corpus *c, size_t k, size_t *n);

/* Sum of -log p over the n - 1 predictions of a window; `logprob` has room for
 * n values. */
tlp_status corpus_score(tlp_session *session, const int32_t *ids, size_t n,
                        float *logprob, double *nll);

/* Extend sequence 0 by up to CORPUS_CHUNK ids, and keep all rows of logits. */
tlp_status corpus_rows(tlp_session *session, const int32_t *ids, size_t n);

#endif
