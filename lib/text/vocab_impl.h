/*
 * vocab_impl.h - inside the vocabulary: tables, and the steps of tokenizing.
 *
 *   vocab.c        read and check tokenizer.* keys
 *   vocab_keys.c   refuse tokenizer.* keys that nothing reads
 *   vocab_special.c, vocab_control.c
 *                  special tokens by ids and texts, ends of generations
 *   vocab_index.c  token text -> id
 *   piece_trie.c   the bytes of all tokens, for grammars
 *   special.c      find special tokens in a text
 *   pretok.c       cut a text into pre-tokens (BPE)
 *   bpe.c, spm.c   a stretch of text without special tokens -> ids
 *   merger.c       the merging loop of both
 *   tokenize.c     special tokens, then BPE or SPM
 */
#ifndef TLPI_VOCAB_IMPL_H
#define TLPI_VOCAB_IMPL_H

#include "text/vocab.h"

/* A string's arguments for "%.*s". */
#define TLPI_STR(str) (int)TLPI_MIN((str).n, (size_t)64), (str).s

typedef enum tlpi_tokenizer {
    TLPI_BPE, /* "gpt2" */
    TLPI_SPM  /* "llama" */
} tlpi_tokenizer;

/* ==== token text -> id (vocab_index.c) =================================== */

typedef struct tlpi_index_slot {
    uint32_t hash;
    int32_t id; /* -1 = free */
} tlpi_index_slot;

typedef struct tlpi_index {
    tlpi_index_slot *slot;
    size_t mask; /* slots - 1 */
    uint64_t seed;
} tlpi_index;

/* Build the index of v->text.  TLP_EFORMAT for two tokens with one text. Tokens
 * with an empty text are left out. */
tlp_status tlpi_index_create(tlpi_vocab *v);
/* The id of the text `a` followed by `b`, -1 if there is none. */
int32_t tlpi_index_find(const tlpi_vocab *v, tlpi_str a, tlpi_str b);
int32_t tlpi_index_find1(const tlpi_vocab *v, const char *s, size_t n);

/* ==== special tokens (special.c) ========================================= */

#define TLPI_SPECIAL_MAX 256 /* bytes of a special token's text */

/* A trie as first child / next sibling; 0 is no node. */
typedef struct tlpi_trie_node {
    uint32_t child, sibling;
    int32_t id; /* the token whose text ends here, or -1 */
    uint8_t byte;
} tlpi_trie_node;

typedef struct tlpi_trie {
    tlpi_trie_node *node;
    uint32_t n_node;
    uint32_t root[256];
    bool any_user; /* user-defined tokens exist */
} tlpi_trie;

tlp_status tlpi_trie_create(tlpi_vocab *v);
/* The first special token in text[from..n), and of the tokens that begin there
 * the longest; -1 if there is none.  all: find control tokens too, and not only
 * user-defined tokens.  A control token has no byte that data marks (data may
 * be NULL). */
int32_t tlpi_trie_find(const tlpi_vocab *v, const char *text,
                       const uint8_t *data, size_t from, size_t n, bool all,
                       size_t *at);

/* ==== bytes of all tokens (piece_trie.c) ================================= */

typedef struct tlpi_pieces tlpi_pieces;

/* Make and free v->pieces, which holds the trie once it was asked for. */
tlp_status tlpi_pieces_create(tlpi_vocab *v);
void tlpi_pieces_free(tlpi_vocab *v);

/* ==== pre-tokens (pretok.c) ============================================== */

typedef struct tlpi_pretok tlpi_pretok;

/* Rules that a value of tokenizer.ggml.pre implies besides patterns. */
typedef struct tlpi_pretok_rules {
    bool add_bos;       /* default, if the file has no key */
    bool ignore_merges; /* a pre-token that is a token is not merged */
} tlpi_pretok_rules;

tlp_status tlpi_pretok_create(tlpi_pretok **out, const tlpi_env *env,
                              const char *path, tlpi_str pre,
                              tlpi_pretok_rules *rules);
void tlpi_pretok_free(tlpi_pretok *p); /* NULL is fine */

typedef tlp_status (*tlpi_word_fn)(void *arg, const char *s, size_t n);

/* Call fn for each pre-token in order; they cover the text without gaps. */
tlp_status tlpi_pretok_split(const tlpi_pretok *p, const char *text, size_t n,
                             tlpi_word_fn fn, void *arg);

/* ==== merging (merger.c) ================================================= */

#define TLPI_NO_SYMBOL UINT32_MAX
#define TLPI_NO_RANK UINT32_MAX

/* A piece of a word; neighbours are indices into its array. */
typedef struct tlpi_symbol {
    uint32_t prev;  /* TLPI_NO_SYMBOL for the first */
    uint32_t next;  /* n for the last */
    uint32_t value; /* BPE: token id; SPM: where its text begins */
    uint32_t rank;  /* of joining it with the next; TLPI_NO_RANK: never */
} tlpi_symbol;

typedef struct tlpi_merger {
    const tlpi_env *env;
    tlpi_symbol *sym; /* [n + 1]; sym[n] closes the list */
    uint32_t n;
    size_t cap_sym;
    uint64_t *heap; /* rank << 32 | symbol: lowest rank first, then leftmost */
    size_t n_heap, cap_heap;
} tlpi_merger;

/* Can `left` and `right` be joined?  Then *rank is the rank of the pair (lowest
 * first) and *value the value of the joined symbol. */
typedef bool (*tlpi_join_fn)(const void *arg, const tlpi_symbol *sym,
                             uint32_t left, uint32_t right, uint32_t *rank,
                             uint32_t *value);

/* Room for n symbols, linked in order; values are the caller's. */
tlp_status tlpi_merger_begin(tlpi_merger *m, size_t n);
tlp_status tlpi_merger_run(tlpi_merger *m, tlpi_join_fn join, const void *arg);
void tlpi_merger_free(tlpi_merger *m);

/* ==== tokenizers ========================================================= */

typedef struct tlpi_pair {
    uint32_t left, right; /* ids; left UINT32_MAX = free slot */
    uint32_t rank;
    int32_t id; /* of the joined token */
} tlpi_pair;

struct tlpi_vocab {
    const tlpi_env *env;
    const tlpi_gguf *g;
    tlpi_tokenizer kind;
    int n_vocab;     /* rows of the embedding: the list and padding */
    int n_token;     /* entries of the list */
    tlpi_str *text;  /* [n_token] as in the file, inside its mapping */
    tlpi_str *piece; /* [n_token] the bytes it stands for */
    char *bytes;     /* storage of pieces that differ from their text */
    size_t max_piece;
    uint8_t *type;        /* [n_token] tlpi_token_type */
    int32_t byte_id[256]; /* token of a single byte, -1 = none */
    tlpi_index index;
    tlpi_trie trie;
    tlpi_pieces *pieces;
    tlpi_special special;
    uint8_t *is_end; /* [n_vocab] tokens that end a generation */
    /* BPE */
    tlpi_pretok *pretok;
    tlpi_pretok_rules rules;
    uint8_t *made;   /* [n_token] tokens that a merge makes; SPM: NULL */
    tlpi_pair *pair; /* hash table */
    size_t pair_mask;
    uint32_t touch[256][8]; /* bit b of row a: some merge joins ..a and b.. */
    /* SPM */
    uint32_t *rank;    /* [n_token] lower joins first: scores, turned round */
    bool space_prefix; /* a blank is put before a text */
    bool legacy;       /* a blank is also put behind special tokens */
    bool by_words;     /* no token reaches over the start of a blank run */
};

/* Text without special tokens to ids.  prefix: put a blank before it. */
tlp_status tlpi_bpe_encode(const tlpi_vocab *v, const char *s, size_t n,
                           tlpi_ids *out);
tlp_status tlpi_spm_encode(const tlpi_vocab *v, const char *s, size_t n,
                           bool prefix, tlpi_ids *out);
tlp_status tlpi_ids_push(tlpi_ids *ids, int32_t id);

/* Make control tokens of tokens that look like control tokens, with a
 * warning. */
void tlpi_vocab_mend_types(tlpi_vocab *v);
/* Read the ids of special tokens, and find the tokens that end a generation. */
tlp_status tlpi_vocab_load_special(tlpi_vocab *v);
tlp_status tlpi_vocab_find_ends(tlpi_vocab *v);

/* Read merges (BPE) or scores (SPM), and set pieces and byte tokens. */
tlp_status tlpi_bpe_load(tlpi_vocab *v);
tlp_status tlpi_spm_load(tlpi_vocab *v);

/* A key that must be an array of n (0 = any number) elements of a type class;
 * *kv NULL if the key is missing and not needed. */
tlp_status tlpi_vocab_array(const tlpi_vocab *v, const char *key, bool strings,
                            uint64_t n, bool need, const tlpi_gguf_kv **kv);

#endif
