/*
 * hf_folder.h - folders of Hugging Face that tests write: from a GGUF file, the
 * other way round than the library reads them.
 */
#ifndef HF_FOLDER_H
#define HF_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "tensor/tensor.h"

typedef struct hf_spec {
    const char *gguf;  /* matrices of block types become F32 */
    bool older;        /* as before transformers 5: rope_theta, rope_scaling,
                          merges as texts, the template in
                          tokenizer_config.json */
    tlpi_dtype vector; /* of vectors and routers */
    bool fused;        /* tensors of all experts, as newer programs write */
    bool packed;       /* of gpt-oss in MXFP4: experts stay so */
    bool images;       /* of mistral3: the model reads images too */
    int n_shard;       /* files of tensors with an index; 0: one without */
} hf_spec;

/* Write the folder; returns its path (static storage).  A failure ends the
 * program. */
const char *hf_make(const hf_spec *spec);

/* Paths of files in a folder, and their texts. */
const char *hf_file(const char *folder, const char *name);
json_t *hf_load(const char *folder, const char *name);
void hf_save(const char *folder, const char *name, const json_t *root);
void hf_write(const char *folder, const char *name, const void *data, size_t n);

#endif
