/*
 * gguf_writer.h - building GGUF files in memory, valid and invalid.
 *
 * Nothing is checked: keys may repeat, offsets may be wrong.  Running out of
 * memory ends the test program.
 */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file/gguf.h"

typedef struct gw_bytes {
    uint8_t *data;
    size_t n, cap;
} gw_bytes;

void gw_put(gw_bytes *b, const void *data, size_t n);
void gw_put_u32(gw_bytes *b, uint32_t x);
void gw_put_u64(gw_bytes *b, uint64_t x);
void gw_put_str(gw_bytes *b, const char *s); /* length and bytes */

typedef struct gw_file {
    uint32_t version;
    uint64_t alignment;
    gw_bytes kv, info, data; /* the three parts after the header */
    uint64_t n_kv, n_tensor;
} gw_file;

/* version 3, alignment 32 (written only if a key asks for it) */
void gw_init(gw_file *w);
void gw_free(gw_file *w);

void gw_kv(gw_file *w, const char *key, tlpi_gguf_type type, const void *value,
           size_t n);
void gw_kv_u32(gw_file *w, const char *key, uint32_t x);
void gw_kv_f32(gw_file *w, const char *key, float x);
void gw_kv_bool(gw_file *w, const char *key, bool x);
void gw_kv_str(gw_file *w, const char *key, const char *s);
/* n elements in n_bytes, in file format */
void gw_kv_array(gw_file *w, const char *key, tlpi_gguf_type type, uint64_t n,
                 const void *data, size_t n_bytes);
void gw_kv_strs(gw_file *w, const char *key, const char *const *s, size_t n);

/* Add a tensor with its data, placed after the earlier data. */
void gw_tensor(gw_file *w, const char *name, uint32_t type, int n_dim,
               const uint64_t *ne, const void *data, size_t n_bytes);
/* Add only the description of a tensor. */
void gw_tensor_at(gw_file *w, const char *name, uint32_t type, int n_dim,
                  const uint64_t *ne, uint64_t offset);

/* The whole file; the caller frees data. */
gw_bytes gw_finish(const gw_file *w);
bool gw_save(const gw_file *w, const char *path);

#endif
