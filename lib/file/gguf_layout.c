/*
 * gguf_layout.c - see gguf_layout.h.
 */
#include "file/gguf_layout.h"

#include <string.h>

void tlpi_gguf_put_u32(tlpi_text *t, uint32_t x)
{
    tlpi_text_add(t, (const char *)&x, sizeof x);
}

void tlpi_gguf_put_u64(tlpi_text *t, uint64_t x)
{
    tlpi_text_add(t, (const char *)&x, sizeof x);
}

void tlpi_gguf_put_str(tlpi_text *t, const char *s, size_t n)
{
    tlpi_gguf_put_u64(t, n);
    tlpi_text_add(t, s, n);
}

void tlpi_gguf_put_start(tlpi_text *t, uint64_t n_tensor, uint64_t n_kv)
{
    tlpi_text_add(t, "GGUF", 4);
    tlpi_gguf_put_u32(t, 3);
    tlpi_gguf_put_u64(t, n_tensor);
    tlpi_gguf_put_u64(t, n_kv);
}

void tlpi_gguf_put_kv(tlpi_text *t, const tlpi_gguf_kv *kv)
{
    tlpi_gguf_put_str(t, kv->key, strlen(kv->key));
    if (kv->is_array)
        tlpi_gguf_put_u32(t, TLPI_GGUF_ARRAY);
    tlpi_gguf_put_u32(t, kv->type);
    if (kv->is_array)
        tlpi_gguf_put_u64(t, kv->n);
    tlpi_text_add(t, (const char *)kv->data, kv->n_bytes);
}

uint64_t tlpi_gguf_put_tensors(tlpi_text *t, const tlpi_tensor *tensor,
                               size_t n, uint64_t alignment)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < n; i++) {
        tlpi_gguf_put_str(t, tensor[i].name, strlen(tensor[i].name));
        tlpi_gguf_put_u32(t, (uint32_t)tensor[i].n_dim);
        for (int d = 0; d < tensor[i].n_dim; d++)
            tlpi_gguf_put_u64(t, (uint64_t)tensor[i].ne[d]);
        tlpi_gguf_put_u32(t, tensor[i].type);
        tlpi_gguf_put_u64(t, offset);
        offset = tlpi_gguf_align(offset + tensor[i].n_bytes, alignment);
    }
    return offset;
}
