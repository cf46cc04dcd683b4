/*
 * tiny_meta.h - forms of architectures, and the metadata of a random model.
 */
#ifndef TINY_META_H
#define TINY_META_H

#include "gguf_writer.h"
#include "tiny.h"
#include "tiny_vocab.h"

/* What an architecture has beside, or in place of, what llama has. */
typedef struct tiny_form {
    const char *arch;
    bool raw; /* no norms of inputs */
    bool biases, head_norms, row_norms, post_norms;
    bool qkv, gate_up; /* fused tensors */
    bool windows;
    bool sinks;        /* and what else gpt-oss has */
    bool experts;      /* in every layer */
    int window_step;   /* written with a window; 0: the key is not written */
    float theta;       /* 0: 1e4 */
    float rotates;     /* part of a head that rotates; 0: all of it */
    bool untyped;      /* longrope without its type */
    float query_scale; /* factors of queries, over query_ctx positions or those
                          of YaRN; 0: none */
    int query_ctx;
    float attn_cap, logit_cap; /* soft caps; 0: not written */
} tiny_form;

/* An architecture that is not listed has the form of llama. */
const tiny_form *tiny_form_of(const tiny_spec *s);

/* Dimensions of a head that rotate. */
int tiny_rotating(const tiny_spec *s);

/* All keys but those of split files, and the vocabulary. */
void tiny_write_meta(gw_file *w, const tiny_spec *s);

#endif
