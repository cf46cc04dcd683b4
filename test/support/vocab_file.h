/*
 * vocab_file.h - GGUF files with a vocabulary that a test chooses, and the few
 * other keys that a model needs.
 */
#ifndef VOCAB_FILE_H
#define VOCAB_FILE_H

#include <stddef.h>

#include "gguf_writer.h"
#include "tlp.h"

typedef struct vf_token {
    const char *text;
    int32_t type;
    float score; /* "llama" only */
} vf_token;

/*
 * With pre: byte-level BPE ("gpt2"), ids 0..255 are the bytes in order, then
 * the given tokens.  Without: "llama", <unk>, <s>, </s>, the byte tokens as
 * ids 3..258, then the given tokens.
 */
typedef struct vf_spec {
    const char *pre;
    const vf_token *token;
    size_t n_token;
    const char *const *merge;
    size_t n_merge;
    const char *chat; /* template; NULL = none */
    int32_t bos, eos; /* BPE; 0 = none */
} vf_spec;

/* Write the keys outside tokenizer.*, or all keys; the test may add keys. */
void vf_write_general(gw_file *w);
void vf_write(gw_file *w, const vf_spec *spec);

/* Save the file and open it without weights; ends the program on failure. */
tlp_model *vf_open(const gw_file *w);
tlp_model *vf_make(const vf_spec *spec);

#endif
