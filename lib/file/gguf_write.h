/*
 * gguf_write.h - write a GGUF file (v3): the header, then the tensors' data in
 * order and in pieces; gguf.h has the layout.  The file gets its name only
 * after it is complete.
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
 * Write the header.  Uses names, shapes, types and sizes of the tensors; their
 * data follows by later calls.  The key general.alignment, if present in kv,
 * sets the alignment.  Call tlpi_gguf_write_end afterwards, also on failure.
 */
tlp_status tlpi_gguf_write_begin(tlpi_gguf_writer *w, const tlpi_env *env,
                                 const char *path, uint64_t alignment,
                                 const tlpi_gguf_kv *kv, size_t n_kv,
                                 const tlpi_tensor *tensor, size_t n_tensor);
/* Write the next n bytes of the current tensor. */
tlp_status tlpi_gguf_write_data(tlpi_gguf_writer *w, const void *data,
                                size_t n);
/* The current tensor is complete; continue with the next. */
tlp_status tlpi_gguf_write_next(tlpi_gguf_writer *w);
/* After the last tensor: the file is on the disk under a temporary name,
 * w->file.temp.  tlpi_gguf_write_commit alone does this too. */
tlp_status tlpi_gguf_write_sync(tlpi_gguf_writer *w);
tlp_status tlpi_gguf_write_commit(tlpi_gguf_writer *w);
void tlpi_gguf_write_end(tlpi_gguf_writer *w);

#endif
