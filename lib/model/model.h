/*
 * model.h - a model in memory: hyper-parameters, weights by their GGUF names,
 * vocabulary.  Immutable once open; reference-counted.
 */
#ifndef TLPI_MODEL_H
#define TLPI_MODEL_H

#include <stdatomic.h>

#include "base/base.h"
#include "file/gguf.h"
#include "model/layer.h"

struct tlpi_digest;
struct tlpi_fingerprint;
struct tlpi_weight_cache;
struct tlpi_vocab;

typedef struct tlpi_weights {
    /* Shapes stand in tlpi_model_table.  TLPI_OUTPUT is token_embd when tied;
     * TLPI_ROPE_FREQS may be NULL, or TLPI_ROPE_LONG and TLPI_ROPE_SHORT. */
    const tlpi_tensor *t[TLPI_N_MODEL_TENSOR];
    tlpi_layer *layer; /* [n_layer] */
    /* [n_layer][TLPI_N_LAYER_TENSOR] parts of fused tensors, at the places of
     * their rows; NULL: the files have no fused tensor. */
    tlpi_tensor *view;
} tlpi_weights;

struct tlp_model {
    _Atomic int refs;
    tlpi_env env;
    char *path; /* as given to tlp_model_open */
    /* split files in order; metadata is in file[0].  Of a folder, file[0] has
     * no map, and the files of tensors follow. */
    tlpi_gguf **file;
    size_t n_file;
    tlpi_hparams hp;
    tlpi_weights w; /* all NULL with vocab_only */
    bool vocab_only, trust_sample;
    struct tlpi_vocab *vocab;
    struct tlpi_weight_cache
        *weight_cache; /* weights already in a backend's layout */
    struct tlpi_fingerprint *fingerprint;
    struct tlpi_digest *digest;
};

/* weights.c: bind tensors by name over all files; every shape is checked. */
tlp_status tlpi_weights_bind(tlp_model *m);
/* Split "blk.12.attn_q.weight" into 12 and the rest; false for other names. */
bool tlpi_layer_name(const char *name, int *layer, const char **rest);
/* The files' tensor of that name, or NULL. */
const tlpi_tensor *tlpi_model_tensor(const tlp_model *m, const char *name);

/* keys.c: TLP_ENOTSUP for a metadata key that may change results in a way that
 * the library does not know; warnings for notes of other programs. */
tlp_status tlpi_model_check_keys(const tlp_model *m);

/* fingerprint.c, over a sample of the bytes (all bytes: digest.h): "sha256:" +
 * hex, made on first use; "" with vocab_only. */
const char *tlpi_model_fingerprint(const tlp_model *m);
tlp_status tlpi_fingerprint_create(struct tlpi_fingerprint **out,
                                   const tlpi_env *env);
void tlpi_fingerprint_free(const tlpi_env *env, struct tlpi_fingerprint *f);

/*
 * split.c: open the file or folder at m->path, and the other parts of its set
 * unless m->vocab_only; fills m->file and m->n_file, which stay valid for
 * tlp_model_free on failure.
 */
tlp_status tlpi_model_open_files(tlp_model *m, const tlp_model_options *opts);

/* rope.c: the tensor of the file that divides the angles of a session of n_ctx
 * positions, or NULL. */
const tlpi_tensor *tlpi_rope_divisors(const tlp_model *m, int n_ctx);

/* Radians that each pair of a head turns from a position to the next,
 * [n_rot / 2], the caller's to free.  Linear scaling divides all of them, YaRN
 * those of slow pairs, and `divisors` (or NULL) each; none changes
 * TLPI_ROPE_WINDOW. */
tlp_status tlpi_rope_inv_freq(double **out, const tlpi_env *env,
                              const tlpi_hparams *hp, tlpi_rope_kind kind,
                              const tlpi_tensor *divisors);

/* The factor of what the rotation gives. */
double tlpi_rope_gain(const tlpi_hparams *hp, tlpi_rope_kind kind);

/* Factors of the rotated queries at the positions below n_ctx, an array of the
 * caller's; NULL if all are 1. */
tlp_status tlpi_rope_query_gains(float **out, const tlpi_env *env,
                                 const tlpi_hparams *hp, int n_ctx);

/* meta.c: TLP_ENOTSUP, "WHERE: WHAT NAME models", for models whose layers have
 * norms of their outputs; no norms of their inputs; norms of whole rows of
 * queries and keys; experts; soft caps of scores or logits. */
tlp_status tlpi_model_check_post(const tlp_model *m, const char *where,
                                 const char *what);
tlp_status tlpi_model_check_inputs(const tlp_model *m, const char *where,
                                   const char *what);
tlp_status tlpi_model_check_rows(const tlp_model *m, const char *where,
                                 const char *what);
tlp_status tlpi_model_check_experts(const tlp_model *m, const char *where,
                                    const char *what);

/* Values of the key ARCH.pooling_type that files may have, by llama.cpp's
 * numbers. */
enum {
    TLPI_GGUF_POOLING_NONE = 0,
    TLPI_GGUF_POOLING_MEAN = 1,
    TLPI_GGUF_POOLING_LAST = 3
};

/* meta.c: how the file wants the states of a text to become one vector, an enum
 * tlp_pooling; TLP_POOLING_LAST where it does not say. */
int32_t tlpi_model_pooling(const tlp_model *m);

tlp_model *tlpi_model_retain(tlp_model *m);

/* Open a file with the options of `m`.  quiet: without warnings. */
tlp_status tlpi_model_open_like(tlp_model **out, const tlp_model *m,
                                const char *path, bool quiet);

/* convert.c: a path to write to must not be one of the model's own files. */
tlp_status tlpi_model_check_path(const tlp_model *m, const char *path);

/* Tell the system that the pages of a tensor's data will not be read soon. */
void tlpi_model_drop_pages(const tlp_model *m, const tlpi_tensor *t);

#endif
