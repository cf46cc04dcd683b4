/*
 * gguf_layout.h - the parts of the header of a GGUF file (v3), as bytes; gguf.h
 * has the layout.
 */
#ifndef TLPI_GGUF_LAYOUT_H
#define TLPI_GGUF_LAYOUT_H

#include "file/gguf.h"

/* A multiple of the alignment, which is a power of two. */
static inline uint64_t tlpi_gguf_align(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

void tlpi_gguf_put_u32(tlpi_text *t, uint32_t x);
void tlpi_gguf_put_u64(tlpi_text *t, uint64_t x);
void tlpi_gguf_put_str(tlpi_text *t, const char *s, size_t n);

/* Magic, version and the two counts. */
void tlpi_gguf_put_start(tlpi_text *t, uint64_t n_tensor, uint64_t n_kv);
void tlpi_gguf_put_kv(tlpi_text *t, const tlpi_gguf_kv *kv);
/* Returns the bytes of all data, padding included. */
uint64_t tlpi_gguf_put_tensors(tlpi_text *t, const tlpi_tensor *tensor,
                               size_t n, uint64_t alignment);

#endif
