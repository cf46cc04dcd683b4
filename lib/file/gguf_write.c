/*
 * gguf_write.c - write a GGUF file (v3).
 */
#include "file/gguf_write.h"

#include <string.h>

#include "file/gguf_layout.h"

tlp_status tlpi_gguf_write_begin(tlpi_gguf_writer *w, const tlpi_env *env,
                                 const char *path, uint64_t alignment,
                                 const tlpi_gguf_kv *kv, size_t n_kv,
                                 const tlpi_tensor *tensor, size_t n_tensor)
{
    tlp_status st = TLP_OK;
    tlpi_text head = { .env = env };

    *w = (tlpi_gguf_writer){ .alignment = alignment, .file = { .fd = -1 } };
    tlpi_gguf_put_start(&head, n_tensor, n_kv);
    for (size_t i = 0; i < n_kv; i++)
        tlpi_gguf_put_kv(&head, &kv[i]);
    uint64_t n_data = tlpi_gguf_put_tensors(&head, tensor, n_tensor, alignment);
    if (head.failed)
        TLP_TRY(tlpi_fail_nomem_for("writing a model file"));

    TLP_TRY(tlpi_replace_begin(&w->file, env, path,
                               tlpi_gguf_align(head.len, alignment) + n_data));
    TLP_TRY(tlpi_gguf_write_data(w, head.data, head.len));
    TLP_TRY(tlpi_gguf_write_next(w));
done:
    tlpi_text_free(&head);
    return st;
}

tlp_status tlpi_gguf_write_data(tlpi_gguf_writer *w, const void *data, size_t n)
{
    w->at += n;
    return tlpi_replace_write(&w->file, data, n);
}

tlp_status tlpi_gguf_write_next(tlpi_gguf_writer *w)
{
    static const char zeros[64];
    tlp_status st = TLP_OK;

    for (uint64_t n = tlpi_gguf_align(w->at, w->alignment) - w->at;
         n > 0 && !st;) {
        size_t piece = (size_t)TLPI_MIN(n, sizeof zeros);
        st = tlpi_gguf_write_data(w, zeros, piece);
        n -= piece;
    }
    return st;
}

tlp_status tlpi_gguf_write_sync(tlpi_gguf_writer *w)
{
    return tlpi_replace_sync(&w->file);
}

tlp_status tlpi_gguf_write_commit(tlpi_gguf_writer *w)
{
    return tlpi_replace_commit(&w->file);
}

void tlpi_gguf_write_end(tlpi_gguf_writer *w)
{
    tlpi_replace_end(&w->file);
}
