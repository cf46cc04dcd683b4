/*
 * hf_source.h - inside hf_folder: the GGUF file that becomes a folder.
 */
#ifndef HF_SOURCE_H
#define HF_SOURCE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/gguf.h"
#include "file/safetensors.h"
#include "hf_folder.h"

#define NEED(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "hf_folder: %s\n", #x);                            \
            abort();                                                           \
        }                                                                      \
    } while (0)

typedef struct hf_source {
    const hf_spec *spec;
    const char *folder;
    tlpi_gguf *g;
    char arch[32];
} hf_source;

static inline bool hf_is(const hf_source *s, const char *arch)
{
    return strcmp(s->arch, arch) == 0;
}

/* A number of the architecture's keys. */
long hf_number(const hf_source *s, const char *suffix, long usual);

static inline bool hf_is_mixtral(const hf_source *s)
{
    return hf_is(s, "llama") && hf_number(s, "expert_count", 0) > 0;
}

/* How a tensor of the folder has the numbers of stacks of the file. */
typedef enum hf_kind {
    HF_ROWS,    /* as the file has them */
    HF_COLUMNS, /* transposed, those of gates and ups in turns */
    HF_CODES,   /* of MXFP4, those of gates and ups in turns */
    HF_SCALES,
    HF_BIASES /* those of gates and ups in turns */
} hf_kind;

/* A tensor of the folder: a tensor of the file, an expert of a stack, or the
 * gates and ups of all experts. */
typedef struct hf_item {
    const tlpi_tensor *t, *up; /* up: or NULL */
    int expert;                /* of t; -1: all of it */
    hf_kind kind;
} hf_item;

/* hf_tensors.c */
void hf_write_tensors(const hf_source *s);

/* hf_turns.c: the tensors of gpt-oss's experts. */
size_t hf_list_turns(const hf_source *s, const tlpi_tensor *t,
                     const tlpi_tensor *up, hf_item *out);
/* Behind "model.layers.N.mlp.experts." */
void hf_name_turns(const hf_item *x, char *out, size_t cap);
void hf_shape_turns(const hf_source *s, const hf_item *x,
                    tlpi_safetensors_part *p);
void hf_copy_turns(const hf_item *x, const tlpi_safetensors_part *p);

#endif
