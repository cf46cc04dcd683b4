/*
 * gguf_build.c - see gguf_build.h.
 */
#include "file/gguf_build.h"

#include <stdio.h>
#include <string.h>

#include "file/gguf_layout.h"
#include "file/gguf_parse.h"

/* ==== keys =============================================================== */

static void put_key(tlpi_gguf_build *b, const char *key, tlpi_gguf_type type)
{
    b->n_kv++;
    tlpi_gguf_put_str(&b->kv, key, strlen(key));
    tlpi_gguf_put_u32(&b->kv, type);
}

void tlpi_build_u32(tlpi_gguf_build *b, const char *key, uint32_t x)
{
    put_key(b, key, TLPI_GGUF_U32);
    tlpi_gguf_put_u32(&b->kv, x);
}

void tlpi_build_f32(tlpi_gguf_build *b, const char *key, float x)
{
    put_key(b, key, TLPI_GGUF_F32);
    tlpi_text_add(&b->kv, (const char *)&x, sizeof x);
}

void tlpi_build_bool(tlpi_gguf_build *b, const char *key, bool x)
{
    put_key(b, key, TLPI_GGUF_BOOL);
    tlpi_text_add(&b->kv, x ? "\1" : "\0", 1);
}

void tlpi_build_str(tlpi_gguf_build *b, const char *key, const char *s,
                    size_t n)
{
    put_key(b, key, TLPI_GGUF_STRING);
    tlpi_gguf_put_str(&b->kv, s, n);
}

void tlpi_build_array(tlpi_gguf_build *b, const char *key, tlpi_gguf_type type,
                      uint64_t n, const void *data, size_t n_bytes)
{
    put_key(b, key, TLPI_GGUF_ARRAY);
    tlpi_gguf_put_u32(&b->kv, type);
    tlpi_gguf_put_u64(&b->kv, n);
    tlpi_text_add(&b->kv, data, n_bytes);
}

/* ==== tensors ============================================================ */

tlp_status tlpi_build_reserve(tlpi_gguf_build *b, size_t n)
{
    b->tensor = tlpi_alloc_array(b->env, n, sizeof *b->tensor);
    b->name = tlpi_alloc_array(b->env, n, sizeof *b->name);
    b->source = tlpi_alloc_array(b->env, n, sizeof *b->source);
    b->cap = n;
    return b->tensor && b->name && b->source
               ? TLP_OK
               : tlpi_fail_nomem_for("the tensors of a model file");
}

void tlpi_build_tensor(tlpi_gguf_build *b, const tlpi_tensor *t,
                       tlpi_gguf_source source)
{
    size_t i = b->n_tensor++;

    b->tensor[i] = *t;
    snprintf(b->name[i], sizeof b->name[i], "%s", t->name);
    b->tensor[i].name = b->name[i];
    b->source[i] = source;
}

/* ==== the file =========================================================== */

static tlp_status lay_out(tlpi_text *head, const tlpi_gguf_build *b)
{
    tlpi_gguf_put_start(head, b->n_tensor, b->n_kv);
    tlpi_text_add(head, b->kv.data ? b->kv.data : "", b->kv.len);
    (void)tlpi_gguf_put_tensors(head, b->tensor, b->n_tensor, 32);
    return head->failed || b->kv.failed
               ? tlpi_fail_nomem_for("the metadata of a model file")
               : TLP_OK;
}

tlp_status tlpi_build_finish(tlpi_gguf **out, tlpi_gguf_build *b,
                             const char *path, struct tlpi_map *map, void *made)
{
    tlpi_text head = { .env = b->env };
    tlpi_gguf *g = NULL;
    tlp_status st;

    *out = NULL;
    TLP_TRY(lay_out(&head, b));
    TLP_TRY(tlpi_gguf_open_bytes(&g, b->env, path, head.data, head.len, true));
    for (size_t i = 0; i < g->n_tensor; i++)
        g->tensor[i].data = b->tensor[i].data;
    g->image = head.data;
    g->source = b->source;
    g->map = map;
    g->made = made;
    head.data = NULL;
    b->source = NULL;
    *out = g;
done:
    tlpi_text_free(&head);
    return st;
}

void tlpi_build_end(tlpi_gguf_build *b)
{
    tlpi_text_free(&b->kv);
    tlpi_free(b->env, b->source);
    tlpi_free(b->env, b->name);
    tlpi_free(b->env, b->tensor);
    *b = (tlpi_gguf_build){ .env = b->env };
}
