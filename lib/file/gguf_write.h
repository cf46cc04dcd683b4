/*
 * gguf_write.h - write a GGUF file (v3): header first, then the tensors' data
 * in order, piece by piece; see gguf.h for the layout.  The file appears under
 * its name when it is whole.
 */
#ifndef TLPI_GGUF_WRITE_H
#define TLPI_GGUF_WRITE_H

#include "file/gguf.h"
#include "file/replace.h"

typedef struct tlpi_gguf_writer {
    tlpi_replace file;
    uint64_t alignment;
    uint64_t at; /* bytes written */
} tlpi_gguf_writer;

/*
 * Begin with the header.  Of the tensors, names, shapes, types and sizes count;
 * their data comes later.  The alignment is the key's, if it is among kv.
 * Follow with tlpi_gguf_write_end also on failure.
 */
tlp_status tlpi_gguf_write_begin(tlpi_gguf_writer *w, const tlpi_env *env,
                                 const char *path, uint64_t alignment,
                                 const tlpi_gguf_kv *kv, size_t n_kv,
                                 const tlpi_tensor *tensor, size_t n_tensor);
/* The next n bytes of the present tensor. */
tlp_status tlpi_gguf_write_data(tlpi_gguf_writer *w, const void *data,
                                size_t n);
/* The present tensor is whole; go on to the next. */
tlp_status tlpi_gguf_write_next(tlpi_gguf_writer *w);
tlp_status tlpi_gguf_write_commit(tlpi_gguf_writer *w);
void tlpi_gguf_write_end(tlpi_gguf_writer *w);

#endif
