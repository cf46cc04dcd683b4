/*
 * folder.h - a model folder of Hugging Face, opened as the GGUF files that
 * llama.cpp's converter would make of it.
 *
 *   config.json                    general.* and ARCH.*
 *   generation_config.json         tokens that end a generation
 *   tokenizer.json, tokenizer_config.json, chat_template.jinja
 *                                  tokenizer.*
 *   model.safetensors, or model.safetensors.index.json and its files
 *                                  tensors: F32, F16 or BF16; experts of
 *                                  gpt-oss also in MXFP4
 *
 * The first file has the keys, and the tensor rope_freqs if the model needs it;
 * its path is the folder's.  Each file of tensors follows as a file without
 * keys.  Matrices stay in the mapping, apart from those of queries and keys
 * whose rows change places, and of experts, which are copied.  Vectors are
 * copied to F32.
 *
 * Names in the index are plain names of files: they cannot leave the folder.
 * The files may be links, as they are in caches of downloads.
 */
#ifndef TLPI_FOLDER_H
#define TLPI_FOLDER_H

#include "file/gguf.h"

typedef struct tlpi_folder {
    tlpi_gguf **file; /* the caller's to close and free, also after a failure */
    size_t n_file;
} tlpi_folder;

typedef struct tlpi_folder_options {
    bool no_mmap;
    bool vocab_only; /* no file of tensors is opened */
    /* Files that are open, of all; a failure ends the opening.  NULL: nobody
     * asks. */
    tlp_status (*opened)(void *arg, int n, int n_all);
    void *arg;
} tlpi_folder_options;

/* Is there a folder of that path? */
bool tlpi_folder_is(const char *path);

tlp_status tlpi_folder_open(tlpi_folder *out, const tlpi_env *env,
                            const char *path, const tlpi_folder_options *opts);

#endif
