/*
 * hf_tensors.h - inside the reader of Hugging Face folders: tensors by name,
 * and the files that have them.
 */
#ifndef TLPI_HF_TENSORS_H
#define TLPI_HF_TENSORS_H

#include "hf/hf_model.h"

typedef enum tlpi_hf_change {
    TLPI_HF_KEEP,
    TLPI_HF_PERMUTE_Q, /* n_head heads */
    TLPI_HF_PERMUTE_K, /* n_head_kv heads */
    TLPI_HF_ADD_ONE,
    TLPI_HF_WIDEN /* to F32 */
} tlpi_hf_change;

/* What a tensor has of the stacks of a layer's experts. */
typedef enum tlpi_hf_part {
    TLPI_HF_NO_PART,
    TLPI_HF_GATE, /* of one expert */
    TLPI_HF_UP,
    TLPI_HF_DOWN,
    TLPI_HF_GATE_UP /* of all experts: of each one its gate, then its up */
} tlpi_hf_part;

typedef struct tlpi_hf_tensor {
    char name[TLPI_GGUF_MAX_NAME + 1]; /* in GGUF; "": left out */
    tlpi_hf_change change;
    bool is_bias;
    tlpi_hf_part part; /* with it the name is "" */
    int layer, expert;
} tlpi_hf_tensor;

static inline int64_t tlpi_hf_count(const tlpi_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

/* hf_names.c: TLP_ENOTSUP for a tensor that no model of the architecture has;
 * `where` names the file. */
tlp_status tlpi_hf_name(tlpi_hf_tensor *out, const tlpi_hf_model *m,
                        const char *name, const char *where);

/* hf_experts.c: a tensor of a layer's experts, by its name without
 * "model.layers.N."; false for another name.  Sets out's name or its part. */
bool tlpi_hf_expert_name(tlpi_hf_tensor *out, const tlpi_hf_model *m, int layer,
                         const char *rest);

/* The tensors that become parts of stacks, over all files. */
typedef struct tlpi_hf_stacks {
    const tlpi_env *env;
    struct tlpi_hf_slice *slice; /* [n] */
    size_t n, cap;
} tlpi_hf_stacks;

/* A tensor of file `file` of the folder, whose map stays open. */
tlp_status tlpi_hf_stacks_add(tlpi_hf_stacks *s, const tlpi_hf_model *m,
                              const tlpi_hf_tensor *to, const tlpi_tensor *t,
                              const char *where, const struct tlpi_map *map);
/* Copy all slices into the tensors of one more file; *out is NULL if there are
 * none. */
tlp_status tlpi_hf_stacks_make(tlpi_gguf **out, tlpi_hf_stacks *s,
                               const tlpi_hf_model *m);
void tlpi_hf_stacks_free(tlpi_hf_stacks *s);

/* hf_index.c */
typedef struct tlpi_hf_index {
    const tlpi_env *env;
    tlpi_hf_file file; /* root NULL: model.safetensors is the only file */
    json_t *map;       /* tensor -> name of its file, of `file`; or NULL */
    json_t *count;     /* name of each file -> number of its tensors; owned */
    const char **name; /* [n_name] files, sorted */
    size_t n_name;
} tlpi_hf_index;

tlp_status tlpi_hf_index_read(tlpi_hf_index *x, const tlpi_hf_model *m);
void tlpi_hf_index_free(tlpi_hf_index *x);

/* hf_shard.c: open one file of tensors.  *n_bias is raised by its biases, and
 * its parts of stacks are added to *stacks. */
tlp_status tlpi_hf_shard_open(tlpi_gguf **out, const tlpi_hf_model *m,
                              const tlpi_hf_index *index, const char *name,
                              bool no_mmap, int *n_bias,
                              tlpi_hf_stacks *stacks);

#endif
