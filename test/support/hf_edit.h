/*
 * hf_edit.h - folders of Hugging Face with one thing wrong, and the errors that
 * opening them must give.
 */
#ifndef HF_EDIT_H
#define HF_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "tlp.h"

/* A folder of a tiny model of two layers, in F32. */
const char *hf_small(const char *arch, int n_shard, bool tied);

/* Put a JSON value at a path of keys and indices, "model/merges/0", of a file;
 * NULL deletes the key. */
void hf_edit(const char *folder, const char *file, const char *path,
             const char *value);

/* Replace a text in the header of model.safetensors by one of equal length. */
void hf_patch(const char *folder, const char *from, const char *to);

/* Opening gives this status, and one line that begins with the folder and has
 * this text. */
void hf_expect_fails(const char *folder, tlp_status want, const char *text);

typedef struct hf_bad {
    const char *arch, *file, *path, *value;
    tlp_status status;
    const char *text;
} hf_bad;

/* A key of config.json; the text begins with its path. */
#define HF_CONFIG(arch, path, value, status, text)                             \
    {                                                                          \
        arch, "config.json", path, value, status, "/config.json: key " text    \
    }

/* Each edit alone. */
void hf_try(const hf_bad *e, size_t n);

#endif
