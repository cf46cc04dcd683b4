/*
 * gguf_write.c - write a GGUF file (v3).
 */
#include "file/gguf_write.h"

#include <string.h>

static void put_u32(tlpi_text *t, uint32_t x)
{
    tlpi_text_add(t, (const char *)&x, sizeof x);
}

static void put_u64(tlpi_text *t, uint64_t x)
{
    tlpi_text_add(t, (const char *)&x, sizeof x);
}

static void put_str(tlpi_text *t, const char *s)
{
    put_u64(t, strlen(s));
    tlpi_text_add(t, s, strlen(s));
}

static void put_kv(tlpi_text *t, const tlpi_gguf_kv *kv)
{
    put_str(t, kv->key);
    if (kv->is_array)
        put_u32(t, TLPI_GGUF_ARRAY);
    put_u32(t, kv->type);
    if (kv->is_array)
        put_u64(t, kv->n);
    tlpi_text_add(t, (const char *)kv->data, kv->n_bytes);
}

static uint64_t align_up(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

/* Returns the bytes of all data, padding included. */
static uint64_t put_tensors(tlpi_text *t, const tlpi_tensor *tensor, size_t n,
                            uint64_t alignment)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < n; i++) {
        put_str(t, tensor[i].name);
        put_u32(t, (uint32_t)tensor[i].n_dim);
        for (int d = 0; d < tensor[i].n_dim; d++)
            put_u64(t, (uint64_t)tensor[i].ne[d]);
        put_u32(t, tensor[i].type);
        put_u64(t, offset);
        offset = align_up(offset + tensor[i].n_bytes, alignment);
    }
    return offset;
}

tlp_status tlpi_gguf_write_begin(tlpi_gguf_writer *w, const tlpi_env *env,
                                 const char *path, uint64_t alignment,
                                 const tlpi_gguf_kv *kv, size_t n_kv,
                                 const tlpi_tensor *tensor, size_t n_tensor)
{
    tlp_status st = TLP_OK;
    tlpi_text head = { .env = env };

    *w = (tlpi_gguf_writer){ .alignment = alignment, .file = { .fd = -1 } };
    tlpi_text_add(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, n_tensor);
    put_u64(&head, n_kv);
    for (size_t i = 0; i < n_kv; i++)
        put_kv(&head, &kv[i]);
    uint64_t n_data = put_tensors(&head, tensor, n_tensor, alignment);
    if (head.failed)
        TLP_TRY(tlpi_fail_nomem_for("writing a model file"));

    TLP_TRY(tlpi_replace_begin(&w->file, env, path,
                               align_up(head.len, alignment) + n_data));
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

    for (uint64_t n = align_up(w->at, w->alignment) - w->at; n > 0 && !st;) {
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
