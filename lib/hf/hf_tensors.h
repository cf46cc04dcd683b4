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
    TLPI_HF_GATE_UP, /* of all experts: gates and ups */
    TLPI_HF_GATE_BIAS,
    TLPI_HF_UP_BIAS,
    TLPI_HF_GATE_UP_BIAS
} tlpi_hf_part;

/* How a matrix of an expert stands in its tensor. */
typedef enum tlpi_hf_layout {
    TLPI_HF_ROWS,    /* rows one behind the other, those of the gate first */
    TLPI_HF_COLUMNS, /* columns one behind the other; those of gate and up are
                        one, in which numbers of both alternate */
    TLPI_HF_CODES,   /* rows of MXFP4's codes; those of gate and up alternate */
    TLPI_HF_SCALES   /* rows of the exponents that belong to the codes */
} tlpi_hf_layout;

typedef struct tlpi_hf_tensor {
    char name[TLPI_GGUF_MAX_NAME + 1]; /* in GGUF; "": left out */
    tlpi_hf_change change;
    bool is_bias;
    bool is_out;              /* of a part that the model lacks: images */
    const tlpi_tensor *scale; /* of F8_E4M3, in the same file */
    tlpi_hf_part part;        /* with it the name is "" */
    tlpi_hf_layout layout;
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

/* hf_fp8.c: what a tensor beside one of 8-bit numbers is. */
typedef enum tlpi_hf_fp8_part {
    TLPI_HF_FP8_NONE,
    TLPI_HF_FP8_SCALE, /* of a matrix */
    TLPI_HF_FP8_OTHER  /* scales of activations */
} tlpi_hf_fp8_part;
tlpi_hf_fp8_part tlpi_hf_fp8_name(const tlpi_hf_model *m, const char *name);
/* Find the scales of a file's matrices; `where` names the file. */
struct tlpi_safetensors;
tlp_status tlpi_hf_fp8_pair(const tlpi_hf_model *m,
                            const struct tlpi_safetensors *file,
                            tlpi_hf_tensor *to, const char *where);
/* What the 8-bit numbers stand for. */
void tlpi_hf_fp8_values(float value[256]);
/* A row in BF16; false: a number in it is not finite. */
bool tlpi_hf_fp8_row(const tlpi_hf_model *m, const float value[256],
                     const tlpi_tensor *t, const tlpi_tensor *scale,
                     int64_t row, uint16_t *out);

/* hf_experts.c: a tensor of a layer's experts, by its name without
 * "model.layers.N."; false for another name.  Sets out's name, or its part and
 * layout. */
bool tlpi_hf_expert_name(tlpi_hf_tensor *out, const tlpi_hf_model *m, int layer,
                         const char *rest);

/* A matrix of one expert, where it stands in its file. */
typedef struct tlpi_hf_slice {
    int layer, expert;
    tlpi_hf_part part;
    tlpi_hf_layout layout;
    tlpi_dtype type;     /* in the folder */
    int step;            /* of rows, or of numbers of a column: 2 where those of
                            gate and up alternate */
    const uint8_t *data; /* the first number */
    const struct tlpi_map *map; /* of the file */
} tlpi_hf_slice;

/* hf_experts.c: the name in the folder of a part of one expert, or of all. */
void tlpi_hf_expert_source(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                           int expert, char *out, size_t cap);

/* hf_slice.c: rows and columns of a part. */
int64_t tlpi_hf_slice_rows(const tlpi_hf_model *m, tlpi_hf_part part);
int64_t tlpi_hf_slice_cols(const tlpi_hf_model *m, tlpi_hf_part part);
/* Its type in the stack. */
tlpi_dtype tlpi_hf_slice_type(const tlpi_hf_slice *s);
/* TLP_EFORMAT for a tensor whose shape is not that of a part in a layout. */
tlp_status tlpi_hf_slice_check(const tlpi_hf_model *m, const tlpi_hf_tensor *to,
                               const tlpi_tensor *t, const char *where);
/* The slice of one expert in a tensor of this shape.  part: GATE or UP where
 * the tensor has both. */
tlpi_hf_slice tlpi_hf_slice_of(const tlpi_hf_model *m, const tlpi_hf_tensor *to,
                               const tlpi_tensor *t, tlpi_hf_part part,
                               int expert);
/* The rows of GGUF; scales: of codes, else NULL. */
void tlpi_hf_slice_copy(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                        const tlpi_hf_slice *scales, uint8_t *out);

/* The tensors that become parts of stacks, over all files. */
typedef struct tlpi_hf_stacks {
    const tlpi_env *env;
    tlpi_hf_slice *slice; /* [n] */
    size_t n, cap;
} tlpi_hf_stacks;

/* A tensor of a file of the folder, whose map stays open. */
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
