/*
 * tiny.h - small random models, which tests write as real GGUF files: any
 * architecture, shape and tensor type.
 */
#ifndef TINY_H
#define TINY_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

typedef struct tiny_spec {
    const char *arch; /* one of those of the library */
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
    int n_ctx;
    int n_expert, n_used; /* experts of n_ff hidden units, for llama, qwen3moe
                             and gpt-oss; 0: none, and 6 and 3 for the last
                             two */
    float expert_scale;   /* expert_weights_scale; 0: not written */
    bool raw_weights;     /* expert_weights_norm is false */
    tlpi_dtype type;      /* of the matrices; a matrix whose row length is not a
                             multiple of the block falls back to Q8_0, then F16 */
    bool tied;            /* no output.weight */
    bool rope_freqs;      /* write rope_freqs.weight (llama3 scaling) */
    bool out_bias;        /* write attn_output.bias */
    bool add_bos;         /* the file asks for BOS */
    bool fused;       /* write attn_qkv in place of attn_q, attn_k and attn_v;
                         not for split files */
    float rope_scale; /* linear rope scaling factor; 0 or 1 = none */
    float yarn;       /* factor of YaRN's scaling; 0: none */
    float yarn_gain;  /* written with yarn; 0: not written */
    float yarn_log;   /* written with yarn; 0: not written */
    float long_gain;  /* factor of longrope's scaling, with its tensors; 0: none
                       */
    int scale_ctx;    /* original context of YaRN and longrope */
    float embedding_scale, residual_scale, attention_scale,
        logit_scale; /* written for granite alone; 0: not written */
    float logit_cap; /* a soft cap of logits; 0: the form's */
    int window; /* positions that layers see, of gemma3 all but every third,
                   of olmo2 all but every fourth, of gpt-oss all but every
                   second, of phi3 all layers; 0: all */
    bool all_windows;    /* of llama: all layers have the window too */
    const char *windows; /* of olmo2: a digit for each layer, 1 if it has a
                            window; NULL: the key is not written */
    uint32_t version;    /* GGUF version; 0 = 3 */
    const char *note;    /* name of one more key, with a text; NULL: none */
    const char *tool_template; /* chat template for tools; NULL: none */
    int n_split;               /* files; 0 or 1 = single */
    uint64_t seed;
} tiny_spec;

/* A usable shape with odd head counts (6 query heads, 3 kv heads, 5 layers,
 * n_embd 96, n_ff 160, head_dim 16, 288 tokens); change fields as needed. */
tiny_spec tiny_default(void);

/* Write the model to `path`; split files get -00001-of-0000N in place of
 * ".gguf".  The vocabulary is byte-level BPE: byte tokens, a few merges, then
 * the control tokens <|im_start|>, <|im_end|>.  Returns false on failure,
 * after a message on stderr. */
bool tiny_write(const char *path, const tiny_spec *spec);

/* This process's temporary folder, removed at exit; jobs of Open MPI that it
 * starts from here on keep their own in it. */
const char *tiny_temp_dir(void);

/* A fresh path in that folder. */
const char *tiny_path(const char *name);

/* A copy of a path that stays until the process ends. */
const char *tiny_keep_path(const char *path);

/* tiny_write to a fresh path; returns the path (static storage). */
const char *tiny_make(const tiny_spec *spec);

#endif
