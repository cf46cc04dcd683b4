/*
 * gguf_writer.c - appending the parts of a GGUF file.
 */
#include "gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gw_put(gw_bytes *b, const void *data, size_t n)
{
    if (n == 0)
        return;
    if (b->n + n > b->cap) {
        b->cap = b->cap + b->cap / 2 + n + 256;
        b->data = realloc(b->data, b->cap);
        if (!b->data) {
            fputs("gguf_writer: out of memory\n", stderr);
            exit(1);
        }
    }
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

void gw_put_u32(gw_bytes *b, uint32_t x)
{
    gw_put(b, &x, sizeof x);
}

void gw_put_u64(gw_bytes *b, uint64_t x)
{
    gw_put(b, &x, sizeof x);
}

void gw_put_str(gw_bytes *b, const char *s)
{
    gw_put_u64(b, strlen(s));
    gw_put(b, s, strlen(s));
}

static void pad(gw_bytes *b, uint64_t alignment)
{
    while (b->n % alignment != 0)
        gw_put(b, "", 1);
}

void gw_init(gw_file *w)
{
    *w = (gw_file){ .version = 3, .alignment = 32 };
}

void gw_free(gw_file *w)
{
    free(w->kv.data);
    free(w->info.data);
    free(w->data.data);
    gw_init(w);
}

void gw_kv(gw_file *w, const char *key, tlpi_gguf_type type, const void *value,
           size_t n)
{
    gw_put_str(&w->kv, key);
    gw_put_u32(&w->kv, type);
    gw_put(&w->kv, value, n);
    w->n_kv++;
}

void gw_kv_u32(gw_file *w, const char *key, uint32_t x)
{
    gw_kv(w, key, TLPI_GGUF_U32, &x, sizeof x);
}

void gw_kv_f32(gw_file *w, const char *key, float x)
{
    gw_kv(w, key, TLPI_GGUF_F32, &x, sizeof x);
}

void gw_kv_bool(gw_file *w, const char *key, bool x)
{
    gw_kv(w, key, TLPI_GGUF_BOOL, x ? "\1" : "\0", 1);
}

void gw_kv_str(gw_file *w, const char *key, const char *s)
{
    gw_kv(w, key, TLPI_GGUF_STRING, NULL, 0);
    gw_put_str(&w->kv, s);
}

void gw_kv_array(gw_file *w, const char *key, tlpi_gguf_type type, uint64_t n,
                 const void *data, size_t n_bytes)
{
    gw_kv(w, key, TLPI_GGUF_ARRAY, NULL, 0);
    gw_put_u32(&w->kv, type);
    gw_put_u64(&w->kv, n);
    gw_put(&w->kv, data, n_bytes);
}

void gw_kv_strs(gw_file *w, const char *key, const char *const *s, size_t n)
{
    gw_kv_array(w, key, TLPI_GGUF_STRING, n, NULL, 0);
    for (size_t i = 0; i < n; i++)
        gw_put_str(&w->kv, s[i]);
}

void gw_tensor_at(gw_file *w, const char *name, uint32_t type, int n_dim,
                  const uint64_t *ne, uint64_t offset)
{
    gw_put_str(&w->info, name);
    gw_put_u32(&w->info, (uint32_t)n_dim);
    for (int i = 0; i < n_dim; i++)
        gw_put_u64(&w->info, ne[i]);
    gw_put_u32(&w->info, type);
    gw_put_u64(&w->info, offset);
    w->n_tensor++;
}

void gw_tensor(gw_file *w, const char *name, uint32_t type, int n_dim,
               const uint64_t *ne, const void *data, size_t n_bytes)
{
    pad(&w->data, w->alignment);
    gw_tensor_at(w, name, type, n_dim, ne, w->data.n);
    gw_put(&w->data, data, n_bytes);
}

gw_bytes gw_finish(const gw_file *w)
{
    gw_bytes out = { 0 };

    gw_put(&out, "GGUF", 4);
    gw_put_u32(&out, w->version);
    gw_put_u64(&out, w->n_tensor);
    gw_put_u64(&out, w->n_kv);
    gw_put(&out, w->kv.data, w->kv.n);
    gw_put(&out, w->info.data, w->info.n);
    if (w->data.n > 0)
        pad(&out, w->alignment);
    gw_put(&out, w->data.data, w->data.n);
    return out;
}

bool gw_save(const gw_file *w, const char *path)
{
    gw_bytes out = gw_finish(w);
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(out.data, 1, out.n, f) == out.n;

    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        perror(path);
    free(out.data);
    return ok;
}
