/*
 * vocab.h - vocabulary and tokenizers of a GGUF file.
 *
 * tokenizer.ggml.model "gpt2" is byte-level BPE: merges, and a pre-tokenizer
 * that tokenizer.ggml.pre chooses from a list in pretok.c.  "llama" is the
 * SentencePiece style: scores, and bytes for unknown characters.  Both merge
 * with a heap over a linked list: n log n time and constant stack for any
 * input.
 */
#ifndef TLPI_VOCAB_H
#define TLPI_VOCAB_H

#include "base/base.h"
#include "file/gguf.h"

/* tokenizer.ggml.token_type */
typedef enum tlpi_token_type {
    TLPI_TOKEN_NORMAL = 1,
    TLPI_TOKEN_UNKNOWN = 2,
    TLPI_TOKEN_CONTROL = 3,
    TLPI_TOKEN_USER_DEFINED = 4,
    TLPI_TOKEN_UNUSED = 5,
    TLPI_TOKEN_BYTE = 6,
    TLPI_TOKEN_PADDING = 7 /* a row of the embedding without a token */
} tlpi_token_type;

typedef struct tlpi_vocab tlpi_vocab;

/* Read and check tokenizer.* keys.  n_vocab is the number of rows of the
 * embedding; 0: the length of the token list.  The vocabulary points into g. */
tlp_status tlpi_vocab_create(tlpi_vocab **out, const tlpi_env *env,
                             const tlpi_gguf *g, int n_vocab);
void tlpi_vocab_free(tlpi_vocab *v); /* NULL is fine */

/* TLP_ENOTSUP for a key "tokenizer." + name that may change tokens in a way
 * that the library does not know. */
tlp_status tlpi_vocab_check_key(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                                const char *name);

int tlpi_vocab_size(const tlpi_vocab *v);

/* Ids of special tokens, -1 where the file has none. */
typedef struct tlpi_special {
    int32_t bos, eos, eot, eom, unk, pad;
    bool add_bos, add_eos;
} tlpi_special;
const tlpi_special *tlpi_vocab_special(const tlpi_vocab *v);
bool tlpi_vocab_is_end(const tlpi_vocab *v, int32_t id);

/* Grown by the tokenizer; free data with tlpi_free. */
typedef struct tlpi_ids {
    const tlpi_env *env;
    int32_t *data;
    size_t n, cap;
    size_t n_lost; /* bytes of texts that have no token */
} tlpi_ids;

/* Copy all ids out, by the (ids, cap, count) convention of tlp.h. */
tlp_status tlpi_ids_copy_out(const tlpi_ids *from, int32_t *ids, size_t cap,
                             size_t *count);

/* Bytes without a token are left out, with a warning. */
tlp_status tlpi_vocab_tokenize(const tlpi_vocab *v, const char *text, size_t n,
                               uint32_t flags, tlpi_ids *out);
/* data: n marks, or NULL.  No byte with a mark other than 0 is part of a
 * control token, or of a user-defined token that ends a text or is spelt
 * <|...|>, whatever the flags. */
tlp_status tlpi_vocab_tokenize_marked(const tlpi_vocab *v, const char *text,
                                      const uint8_t *data, size_t n,
                                      uint32_t flags, tlpi_ids *out);

tlpi_token_type tlpi_vocab_type(const tlpi_vocab *v, int32_t id);
/* Control, unknown and unused tokens: not part of the text. */
bool tlpi_vocab_is_control(const tlpi_vocab *v, int32_t id);

/*
 * Bytes of one token inside a text.  SentencePiece's leading blank is kept; the
 * caller drops the first blank of a text.  Control tokens are empty unless
 * flags have TLP_DETOKENIZE_SPECIAL.  id must be in range.
 */
tlpi_str tlpi_vocab_piece(const tlpi_vocab *v, int32_t id, uint32_t flags);
/* Does the tokenizer put a blank before a text? */
bool tlpi_vocab_adds_space(const tlpi_vocab *v);
/* Bytes of the longest piece. */
size_t tlpi_vocab_max_piece(const tlpi_vocab *v);

/* A token as the file spells it; empty for id -1 and padding. */
tlpi_str tlpi_vocab_text(const tlpi_vocab *v, int32_t id);

/* The file that the vocabulary points into. */
const tlpi_gguf *tlpi_vocab_file(const tlpi_vocab *v);

#endif
