/*
 * model.h - a model in memory: hyper-parameters, weights by their GGUF names,
 * vocabulary.  Immutable once open; reference-counted.
 */
#ifndef TLPI_MODEL_H
#define TLPI_MODEL_H

#include <stdatomic.h>

#include "base/base.h"
#include "file/gguf.h"
#include "tensor/tensor.h"

struct tlpi_fingerprint;
struct tlpi_weight_cache;
struct tlpi_vocab;

typedef enum tlpi_arch {
    TLPI_ARCH_LLAMA,
    TLPI_ARCH_QWEN2,
    TLPI_ARCH_QWEN3,
    TLPI_N_ARCH
} tlpi_arch;

typedef enum tlpi_rope_scaling {
    TLPI_ROPE_NONE,
    TLPI_ROPE_LINEAR /* positions divided by rope_scale; llama3's scaling comes
                        as the tensor rope_freqs.weight */
} tlpi_rope_scaling;

typedef struct tlpi_hparams {
    tlpi_arch arch;
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
    int n_ctx_train;
    int n_rot;        /* dimensions of a head that rotate, even, <= head_dim */
    bool rope_neox;   /* pairs (i, i + n_rot/2) instead of (2i, 2i+1) */
    float rope_theta; /* rope.freq_base */
    tlpi_rope_scaling rope_scaling;
    float rope_scale; /* factor of linear scaling; 1 */
    float norm_eps;
} tlpi_hparams;

/* Weights of layer l.  Matrices are [rows][cols]; biases and QK norms are NULL
 * where the architecture has none.  d = n_embd, h = head_dim. */
typedef struct tlpi_layer {
    const tlpi_tensor *attn_norm;   /* [d] */
    const tlpi_tensor *attn_q;      /* [n_head*h][d] */
    const tlpi_tensor *attn_k;      /* [n_head_kv*h][d] */
    const tlpi_tensor *attn_v;      /* [n_head_kv*h][d] */
    const tlpi_tensor *attn_output; /* [d][n_head*h] */
    const tlpi_tensor *attn_q_bias, *attn_k_bias, *attn_v_bias; /* or NULL */
    const tlpi_tensor *attn_output_bias;                        /* or NULL */
    const tlpi_tensor *attn_q_norm, *attn_k_norm; /* [h] or NULL */
    const tlpi_tensor *ffn_norm;                  /* [d] */
    const tlpi_tensor *ffn_gate;                  /* [n_ff][d] */
    const tlpi_tensor *ffn_up;                    /* [n_ff][d] */
    const tlpi_tensor *ffn_down;                  /* [d][n_ff] */
} tlpi_layer;

typedef struct tlpi_weights {
    const tlpi_tensor *token_embd;  /* [n_vocab][d] */
    const tlpi_tensor *output_norm; /* [d] */
    const tlpi_tensor *output;      /* [n_vocab][d]; token_embd when tied */
    const tlpi_tensor *rope_freqs;  /* [n_rot/2] divisors, or NULL */
    tlpi_layer *layer;              /* [n_layer] */
} tlpi_weights;

struct tlp_model {
    _Atomic int refs;
    tlpi_env env;
    char *path;       /* as given to tlp_model_open */
    tlpi_gguf **file; /* split files in order; metadata is in file[0] */
    size_t n_file;
    tlpi_hparams hp;
    tlpi_weights w; /* all NULL with vocab_only */
    bool vocab_only;
    struct tlpi_vocab *vocab;
    struct tlpi_weight_cache
        *weight_cache; /* weights already in a backend's layout */
    struct tlpi_fingerprint *fingerprint;
};

/* hparams.c: metadata to hyper-parameters; every value is checked. */
tlp_status tlpi_hparams_read(tlpi_hparams *hp, const tlpi_gguf *g);
const char *tlpi_arch_name(tlpi_arch arch);

/* weights.c: bind tensors by name over all files; every shape is checked. */
tlp_status tlpi_weights_bind(tlp_model *m);
/* The files' tensor of that name, or NULL. */
const tlpi_tensor *tlpi_model_tensor(const tlp_model *m, const char *name);

/* fingerprint.c: "sha256:" + hex, made on first use; "" with vocab_only. */
const char *tlpi_model_fingerprint(const tlp_model *m);
tlp_status tlpi_fingerprint_create(struct tlpi_fingerprint **out,
                                   const tlpi_env *env);
void tlpi_fingerprint_free(const tlpi_env *env, struct tlpi_fingerprint *f);

/*
 * split.c: open the file at m->path, and the other parts of its set unless
 * m->vocab_only; fills m->file and m->n_file, which stay valid for
 * tlp_model_free on failure.
 */
tlp_status tlpi_model_open_files(tlp_model *m, const tlp_model_options *opts);

tlp_model *tlpi_model_retain(tlp_model *m);

/* The pages of this tensor's data will not be read again soon. */
void tlpi_model_drop_pages(const tlp_model *m, const tlpi_tensor *t);

#endif
