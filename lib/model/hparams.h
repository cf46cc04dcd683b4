/*
 * hparams.h - hyper-parameters of a model, and the two tables behind them: one
 * row for each hyper-parameter, one row for each architecture.
 *
 * Reading a file, the fingerprint and the comparison of two models loop over
 * the first table.  An architecture whose differences are data alone is one row
 * of the second table (arch.c).
 */
#ifndef TLPI_HPARAMS_H
#define TLPI_HPARAMS_H

#include "base/base.h"
#include "file/gguf.h"
#include "tensor/gate.h"

typedef enum tlpi_arch {
    TLPI_ARCH_LLAMA,
    TLPI_ARCH_QWEN2,
    TLPI_ARCH_QWEN3,
    TLPI_ARCH_GRANITE,
    TLPI_ARCH_SMOLLM3,
    TLPI_ARCH_GEMMA3,
    TLPI_ARCH_OLMO2,
    TLPI_ARCH_PHI3,
    TLPI_ARCH_GLM4,
    TLPI_ARCH_EXAONE4,
    TLPI_ARCH_QWEN3MOE,
    TLPI_ARCH_GPT_OSS,
    TLPI_ARCH_MISTRAL3,
    TLPI_ARCH_GEMMA2,
    TLPI_N_ARCH
} tlpi_arch;

/* RMS norms of queries and keys. */
typedef enum tlpi_qk_norm {
    TLPI_QK_NORM_NONE,
    TLPI_QK_NORM_HEADS, /* of each head */
    TLPI_QK_NORM_ROWS   /* of all query heads of a token together, and of all kv
                           heads */
} tlpi_qk_norm;

/* Feed-forward parts of several experts, of which each token reads a few. */
typedef enum tlpi_expert_use {
    TLPI_EXPERTS_NONE,
    TLPI_EXPERTS_MAYBE, /* the file says whether layers have experts */
    TLPI_EXPERTS_ALWAYS
} tlpi_expert_use;

/* Soft caps: x becomes c tanh(x / c). */
typedef enum tlpi_cap_use {
    TLPI_CAPS_NONE,
    TLPI_CAPS_LOGITS, /* the file says whether logits have one */
    TLPI_CAPS_ALWAYS  /* scores of attention and logits */
} tlpi_cap_use;

typedef struct tlpi_arch_info {
    const char *name; /* general.architecture */
    bool rope_neox;   /* rotation pairs (i, i + n_rot/2), else (2i, 2i+1) */
    tlpi_qk_norm qk_norm;
    bool raw_input;    /* attention and feed-forward read the residual stream
                          without a norm */
    bool scales;       /* the file may give the four scales of tlpi_hparams */
    bool rope_switch;  /* rope.scaling.finetuned false means no rotation */
    bool linear_only;  /* positions are scaled linearly or not at all */
    bool untyped_long; /* files give longrope's tensors without its type */
    bool yarn_exact;   /* the ends of YaRN's ramp may lie between two pairs */
    bool gate_up;      /* ffn_up holds the rows of ffn_gate and of ffn_up */
    int no_rope_step;  /* as in tlpi_hparams */
    bool post_norm; /* outputs of attention and feed-forward have RMS norms */
    bool late_norm; /* the norm of what the feed-forward part reads has the name
                       of a norm of what attention gives */
    bool sinks;     /* heads have a score more, without a value */
    tlpi_gate gate; /* of the feed-forward part's gate */
    bool embd_root; /* embeddings are multiplied by sqrt(n_embd) */
    bool windows;   /* layers may have windows; without, they are refused */
    bool window_needed; /* a file says how many positions a window has */
    int window_step;    /* as in tlpi_hparams */
    bool window_plain;  /* layers with a window do not scale positions */
    bool window_rope;   /* where layers have windows, layers without one do
                           not rotate */
    float window_theta; /* as in tlpi_hparams, without the key */
    tlpi_expert_use experts;
    bool expert_bias; /* routers and experts have biases */
    tlpi_cap_use caps;
    bool query_scale; /* queries may grow with their positions */
    int n_layer_even; /* number of layers of the size whose scores are scaled
                         by 1/sqrt(n_embd / n_head); 0: no such size */
} tlpi_arch_info;

typedef struct tlpi_hparams {
    tlpi_arch arch;
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
    int n_ctx_train;
    int n_rot;        /* dimensions of a head that rotate, even, <= head_dim */
    int no_rope_step; /* layer l does not rotate if it divides l + 1; 0: all
                         layers rotate */
    int n_window;     /* latest positions that a token sees in layers with a
                         window, its own among them; 0: no layer has one */
    int window_step;  /* with n_window: layer l has no window if it divides
                         l + 1; 0: all layers have one */
    float rope_theta; /* rope.freq_base */
    float window_theta; /* base in layers with a window, whose positions are not
                           scaled; 0: rope_theta and rope_scale there too */
    float rope_scale;  /* factor of linear scaling: positions are divided by it;
                          1 for none.  llama3's scaling comes as the tensor
                          rope_freqs.weight */
    float yarn_factor; /* of YaRN, which scales positions by pairs; 0: none */
    int yarn_ctx; /* with yarn_factor: positions of the training before YaRN */
    /* with yarn_factor: turns in yarn_ctx positions of a pair that keeps its
     * angle, and of one whose angle is divided by the factor */
    float yarn_beta_fast, yarn_beta_slow;
    float rope_gain; /* factor of what is rotated, besides YaRN's own */
    int long_ctx; /* of longrope: the longest session whose angles are divided
                     by rope_factors_short, longer ones by rope_factors_long;
                     0: no such tensors */
    int n_expert; /* experts of each layer, of n_ff hidden units each; 0: a
                     layer has one feed-forward part and no router */
    int n_expert_used;  /* with n_expert: experts that a token reads */
    int expert_norm;    /* with n_expert: 1 if the weights of a token's experts
                           sum to 1, before expert_scale */
    float expert_scale; /* factor of these weights */
    float query_scale;  /* queries at position p are multiplied by
                           1 + query_scale ln(1 + floor(p / query_ctx)) */
    int query_ctx;      /* 0: by 1 */
    float attn_cap, logit_cap; /* soft caps c of scores, which are scaled
                                  before, and of logits; 0: none */
    float norm_eps;
    float embedding_scale; /* factor of embeddings */
    float residual_scale;  /* factor of the outputs of attention and
                              feed-forward, which the residual stream adds */
    float attention_scale; /* factor of scores; 0 means 1/sqrt(head_dim) */
    float logit_scale;     /* divisor of logits */
} tlpi_hparams;

typedef enum tlpi_identity {
    TLPI_SAME_MODEL,   /* other values do not make another model */
    TLPI_OTHER_MODEL,  /* every fingerprint includes the value */
    TLPI_OTHER_IF_USED /* a fingerprint includes name and value where the value
                          is not neutral: rows that a later version of the
                          library adds leave fingerprints of older files as
                          they are */
} tlpi_identity;

/* One hyper-parameter.  Rows stand in the order in which they are read and
 * enter the fingerprint. */
typedef struct tlpi_hparam {
    const char *key;  /* behind "llama."; NULL: hparams.c sets the value */
    const char *name; /* of the field */
    size_t at;        /* offset of the field */
    bool is_float;
    bool need;       /* the file must have the key */
    bool is_bounded; /* `usual` is also the largest value */
    bool is_scale;   /* architectures without scales keep the neutral value, and
                        accept a key with this value or that of `same` */
    tlpi_identity identity;
    double lo, hi;  /* ints: [lo, hi], floats: (lo, hi] */
    double neutral; /* value without the key; allowed outside the range too */
    /* The value without the key, computed from earlier rows.  If it is 0, the
     * file must have the key. */
    int (*usual)(const tlpi_hparams *hp);
    /* The value that means what `neutral` means; NULL: `neutral` alone. */
    double (*same)(const tlpi_hparams *hp);
} tlpi_hparam;

enum { TLPI_N_HPARAM = 34 };
extern const tlpi_hparam tlpi_hparam_table[TLPI_N_HPARAM];

/* arch.c */
extern const tlpi_arch_info tlpi_arch_table[TLPI_N_ARCH];

static inline const tlpi_arch_info *tlpi_arch_get(const tlpi_hparams *hp)
{
    return &tlpi_arch_table[hp->arch];
}

/* Rows of hidden units that a token has in a feed-forward part: one for each
 * expert that it reads. */
static inline int tlpi_n_used(const tlpi_hparams *hp)
{
    return hp->n_expert ? hp->n_expert_used : 1;
}

/* The value of a row's field. */
double tlpi_hparam_value(const tlpi_hparams *hp, const tlpi_hparam *row);

/* Metadata to hyper-parameters; every value is checked. */
tlp_status tlpi_hparams_read(tlpi_hparams *hp, const tlpi_gguf *g);

#endif
