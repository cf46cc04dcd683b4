/*
 * gguf_build.h - build a GGUF file in memory from the files of another format.
 *
 * Keys and tensors are added one by one.  The header is laid out as in a file
 * and read by the reader of files, so that all its checks hold.  The data of
 * the tensors stay where they are: in the mapping of another file, or in memory
 * that the caller filled.
 */
#ifndef TLPI_GGUF_BUILD_H
#define TLPI_GGUF_BUILD_H

#include "file/gguf.h"

enum { TLPI_GGUF_MAX_NAME = 64 }; /* bytes of a tensor's name */

typedef struct tlpi_gguf_build {
    const tlpi_env *env;
    tlpi_text kv; /* the keys and values, as in a file */
    uint64_t n_kv;
    tlpi_tensor *tensor; /* [n_tensor] */
    char (*name)[TLPI_GGUF_MAX_NAME + 1];
    tlpi_gguf_source *source;
    size_t n_tensor, cap;
} tlpi_gguf_build;

void tlpi_build_u32(tlpi_gguf_build *b, const char *key, uint32_t x);
void tlpi_build_f32(tlpi_gguf_build *b, const char *key, float x);
void tlpi_build_bool(tlpi_gguf_build *b, const char *key, bool x);
void tlpi_build_str(tlpi_gguf_build *b, const char *key, const char *s,
                    size_t n);
/* n elements of n_bytes in the file's form; of strings the caller adds them to
 * b->kv by tlpi_gguf_put_str. */
void tlpi_build_array(tlpi_gguf_build *b, const char *key, tlpi_gguf_type type,
                      uint64_t n, const void *data, size_t n_bytes);

/* Room for n tensors in all; memory is the only reason to fail. */
tlp_status tlpi_build_reserve(tlpi_gguf_build *b, size_t n);
/* t->data is borrowed, and t->name copied.  There is room. */
void tlpi_build_tensor(tlpi_gguf_build *b, const tlpi_tensor *t,
                       tlpi_gguf_source source);

/*
 * Make the file.  `path` names it in errors.  map (or NULL) and made (or NULL,
 * from tlpi_alloc), where the tensors' data are, belong to the file after
 * success.
 */
tlp_status tlpi_build_finish(tlpi_gguf **out, tlpi_gguf_build *b,
                             const char *path, struct tlpi_map *map,
                             void *made);
void tlpi_build_end(tlpi_gguf_build *b); /* also without finish */

#endif
