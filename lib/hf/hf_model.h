/*
 * hf_model.h - inside the reader of Hugging Face folders: how it maps a model
 * to the keys and tensors of a GGUF file.
 *
 *   folder.c        the files of a folder, in order
 *   hf_arch.c       the architectures, one row each
 *   hf_config.c     config.json to general.* and ARCH.*
 *   hf_rope.c       positions: their keys, and rope_freqs
 *   hf_longrope.c   positions whose angles two tables divide
 *   hf_window.c     which layers have windows
 *   hf_experts.c    experts: their keys, and the names of their tensors
 *   hf_stacks.c     tensors stacked from the matrices of experts
 *   hf_slice.c      the matrix of one expert, as it stands in its file
 *   hf_names.c      names of tensors, and what changes in their data
 *   hf_shard.c      a file of tensors
 *   hf_index.c      which files of tensors a folder has
 *   hf_tokenizer.c  tokenizer.json: tokens, their types, and which tokenizer
 *   hf_pretok.c     which pre-tokenizer
 *   hf_merges.c     merges, and scores from merges
 *   hf_special.c    ids of special tokens, and ends
 *   hf_templates.c  chat templates
 */
#ifndef TLPI_HF_MODEL_H
#define TLPI_HF_MODEL_H

#include "file/gguf_build.h"
#include "hf/hf_json.h"

/* Names of the norms of a layer. */
typedef enum tlpi_hf_norms {
    TLPI_HF_NORMS_INPUT,  /* of the inputs of both halves */
    TLPI_HF_NORMS_BOTH,   /* of inputs and outputs */
    TLPI_HF_NORMS_OUTPUT, /* of the outputs of both halves */
    TLPI_HF_NORMS_LATE,   /* of the inputs of both halves; in GGUF the second
                             has the name of a norm of an output */
    TLPI_HF_NORMS_GLM     /* of inputs and outputs, by names of their own */
} tlpi_hf_norms;

/* Which projections of attention have biases. */
typedef enum tlpi_hf_bias {
    TLPI_HF_BIAS_KEY, /* all four, if attention_bias says so */
    TLPI_HF_BIAS_QKV, /* queries, keys and values */
    TLPI_HF_BIAS_NONE,
    TLPI_HF_BIAS_KEY_QKV /* queries, keys and values, if attention_bias says so
                          */
} tlpi_hf_bias;

/* What tells the layers with windows where layer_types is missing. */
typedef enum tlpi_hf_windows {
    TLPI_HF_WINDOWS_NONE,
    TLPI_HF_WINDOWS_ALL,    /* all layers, if sliding_window is not null */
    TLPI_HF_WINDOWS_SWITCH, /* none, unless use_sliding_window is true */
    TLPI_HF_WINDOWS_STEP    /* all but every window_step-th */
} tlpi_hf_windows;

/* Which names experts have.  A config.json of NONE has none of their keys. */
typedef enum tlpi_hf_experts {
    TLPI_HF_EXPERTS_NONE,
    TLPI_HF_EXPERTS_QWEN,
    TLPI_HF_EXPERTS_MIXTRAL,
    TLPI_HF_EXPERTS_GPT_OSS /* with biases, or as MXFP4 */
} tlpi_hf_experts;

/* An architecture.  Defaults are those that transformers gives to keys that
 * config.json lacks. */
typedef struct tlpi_hf_arch {
    const char *architecture, *model_type; /* in config.json */
    bool inner; /* model_type is that of text_config, in a model that reads
                   images too */
    const char *arch;          /* general.architecture */
    const char *act_key, *act; /* the activation that it must be */
    tlpi_hf_norms norms;
    tlpi_hf_bias bias;
    tlpi_hf_windows windows;
    bool permute;  /* rotation pairs of attn_q and attn_k become neighbours */
    bool plus_one; /* the weights of norms lack 1 */
    bool tied;     /* default of tie_word_embeddings */
    bool scales;   /* the four multipliers of granite */
    bool attn_cap, logit_cap; /* there may be soft caps */
    bool no_rope;             /* layers that do not rotate, by no_rope_layers */
    double attn_cap_usual, logit_cap_usual; /* defaults; 0: none */
    int n_head_kv; /* default of num_key_value_heads; 0: num_attention_heads */
    int head_dim;  /* default; 0: hidden_size / num_attention_heads */
    int n_window;  /* default of sliding_window */
    int window_step;
    bool window_key;  /* files have attention.sliding_window, also where no
                         layer has a window */
    bool window_list; /* files say which layers have a window, also where a step
                         tells them */
    double theta;
    double window_theta; /* 0: layers with windows rotate as all layers do */
    double query_scalar; /* default of query_pre_attn_scalar; 0: no such key */
    int n_layer_even;    /* the number of layers of the size whose
                            query_pre_attn_scalar is hidden_size /
                            num_attention_heads; 0: no such size */
    bool has_bias;       /* default of attention_bias */
    bool fused;       /* tensors of several matrices: qkv_proj, gate_up_proj */
    bool yarn_exact;  /* the ends of YaRN's ramp may lie between two pairs */
    bool query_scale; /* queries grow with their positions; YaRN is the only
                         type of scaling, and its gain has a divisor */
    bool longrope;    /* the only type of scaling; config.json has
                         original_max_position_embeddings */
    bool has_size;    /* converters write vocab_size */
    bool window_rope; /* with windows, layers without one do not rotate */
    double partial;   /* default of partial_rotary_factor; 0: no such key */
    tlpi_hf_experts experts;
    int n_expert, n_used; /* defaults of their numbers */
    int n_ff_expert; /* default of moe_intermediate_size; 0: intermediate_size
                      */
} tlpi_hf_arch;

typedef struct tlpi_hf_model {
    const tlpi_env *env;
    const char *folder;
    tlpi_hf_file config;
    tlpi_hf_at text; /* what config.json says of the model of texts */
    const tlpi_hf_arch *arch;
    tlpi_gguf_build keys;
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab, n_ctx;
    bool tied;
    bool tie_open; /* config.json says both, and the tensors decide */
    bool packed;   /* experts come as MXFP4 */
    bool fp8;      /* matrices may come as 8-bit floating-point numbers */
    int fp8_rows, fp8_cols; /* that have a scale; 0: all of a matrix */
    int n_bias;             /* projections of a layer with biases: 0, 3 or 4 */
    int n_rot;              /* numbers of a head that rotate */
    int n_expert;           /* 0: none */
    int n_ff_expert;
    const char *expert_key; /* the key that gave n_expert */
    float *rope; /* [n_rope][n_rot / 2] divisors of angles, or NULL */
    int n_rope;  /* 1: rope_freqs; 2: rope_factors_long, rope_factors_short */
} tlpi_hf_model;

/* A key of the architecture: "llama." + suffix. */
typedef struct tlpi_hf_key {
    char name[64];
} tlpi_hf_key;
tlpi_hf_key tlpi_hf_key_of(const tlpi_hf_model *m, const char *suffix);

/* hf_arch.c: the row that config.json names, and the object with the model's
 * keys. */
tlp_status tlpi_hf_arch_find(const tlpi_hf_arch **out, tlpi_hf_at *text,
                             const tlpi_hf_at *root);

/* hf_config.c: read config.json, and add its keys to m->keys. */
tlp_status tlpi_hf_config_read(tlpi_hf_model *m);
tlp_status tlpi_hf_rope_read(tlpi_hf_model *m, const tlpi_hf_at *at);
tlp_status tlpi_hf_window_read(tlpi_hf_model *m, const tlpi_hf_at *at);
tlp_status tlpi_hf_experts_read(tlpi_hf_model *m, const tlpi_hf_at *at);

/* hf_fp8.c: the quantization of an architecture whose experts have none. */
tlp_status tlpi_hf_fp8_read(tlpi_hf_model *m, const tlpi_hf_at *text);

/* Room for n tables of divisors in m->rope. */
tlp_status tlpi_hf_rope_tables(tlpi_hf_model *m, int n);
/* m->n_rot; `rope` is the object of scaling, or has no object. */
tlp_status tlpi_hf_partial_read(tlpi_hf_model *m, const tlpi_hf_at *root,
                                const tlpi_hf_at *rope);
/* The scaling of an architecture with `longrope`. */
tlp_status tlpi_hf_longrope_read(tlpi_hf_model *m, const tlpi_hf_at *root,
                                 const tlpi_hf_at *rope, const char *type);

/* ==== text =============================================================== */

/* hf_tokenizer.c: read the tokenizer, and add its keys to m->keys. */
tlp_status tlpi_hf_tokenizer_read(tlpi_hf_model *m);

typedef struct tlpi_hf_vocab {
    tlpi_hf_model *m;
    tlpi_hf_file file; /* tokenizer.json */
    tlpi_hf_at model;  /* its "model" */
    json_t *vocab;     /* text -> id, of the model; borrowed */
    json_t *added;     /* added tokens: an array, or NULL; borrowed */
    const char **text; /* [m->n_vocab] or NULL for a hole */
    uint8_t *type;     /* [m->n_vocab] tokenizer.ggml.token_type */
    bool is_bytes;     /* byte-level BPE; else blanks are U+2581 */
    bool ignore_merges;
    const char *unk; /* text of the unknown token, or NULL */
    int n_skipped;   /* added tokens beyond the embedding */
} tlpi_hf_vocab;

/* hf_pretok.c: choose v->is_bytes, and add tokenizer.ggml.model, .pre and the
 * keys of blanks. */
tlp_status tlpi_hf_pretok_read(tlpi_hf_vocab *v);

/* hf_merges.c: add tokenizer.ggml.merges or .scores. */
tlp_status tlpi_hf_merges_read(tlpi_hf_vocab *v);

/* hf_special.c: add ids of special tokens, ends and templates. */
tlp_status tlpi_hf_special_read(tlpi_hf_vocab *v);

/* hf_templates.c: add the chat templates; `config` is tokenizer_config.json. */
tlp_status tlpi_hf_templates_read(tlpi_hf_vocab *v, const tlpi_hf_file *config);

/* The id of an added token, or -1. */
int tlpi_hf_added_id(const tlpi_hf_vocab *v, const char *text);

#endif
