/*
 * vocab_seen.h - a vocabulary that a test writes, opened with its warnings
 * kept.
 */
#ifndef VOCAB_SEEN_H
#define VOCAB_SEEN_H

#include <stdbool.h>
#include <stddef.h>

#include "support/log_lines.h"
#include "support/vocab_file.h"

#define TYPES "tokenizer.ggml.token_type"

typedef struct vocab_seen {
    gw_file file;  /* the next file */
    log_lines log; /* warnings of the file opened last */
} vocab_seen;

extern vocab_seen seen;

/* Before and after each test. */
void seen_set_up(void);
void seen_tear_down(void);

/* Add a vocabulary with these tokens behind the bytes: BPE with `pre`, else
 * SentencePiece, with the ids of <s> and </s>. */
void seen_write(const char *pre, const vf_token *token, size_t n);

/* Open the file; the next one starts empty. */
tlp_status seen_try(tlp_model **m);
tlp_model *seen_open(void);

void seen_expect_warning(const char *part);

/* ids as "1 2 3" */
void seen_expect_ids(const tlp_model *m, const char *text, uint32_t flags,
                     const char *want);
void seen_expect_text(const tlp_model *m, int32_t id, const char *want);

#endif
