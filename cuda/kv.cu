/*
 * kv.cu - the cache of keys and values, and the tables of rotation angles.
 */
#include "gpu.h"

#include <math.h>
#include <string.h>

/* ==== pages ============================================================== */

tlp_status tlpi_gpu_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    int kind = 0;

    *out = NULL;
    while (kind < TLPI_GPU_KINDS && g->pages[kind])
        kind++;
    if (kind == TLPI_GPU_KINDS || layout->n_index != g->n_index)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "%d pages for each sequence, %d expected; at most "
                             "%d kinds of pages",
                             layout->n_index, g->n_index, TLPI_GPU_KINDS);
    tlpi_pages *p = (tlpi_pages *)tlpi_gpu_alloc(b->env, sizeof *p);
    if (!p)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    p->layout = *layout;
    p->kind = kind;
    g->pages[kind] = p;
    *out = p;
    return TLP_OK;
}

void tlpi_gpu_pages_free(tlpi_backend *b, tlpi_pages *pages)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    if (!pages)
        return;
    tlpi_gpu_use(g);
    (void)cudaFree(pages->memory);
    g->pages[pages->kind] = NULL;
    tlpi_gpu_free(b->env, pages, sizeof *pages);
}

size_t tlpi_gpu_pages_bytes(const tlpi_pages *pages)
{
    return pages->bytes;
}

/* The first call allocates all pages: an allocation waits for the device, so
 * steps do without. */
tlp_status tlpi_gpu_pages_take(tlpi_backend *b, tlpi_pages *pages, int page)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    size_t n = (size_t)pages->layout.n_page * pages->bytes;

    (void)page;
    if (pages->memory || n == 0)
        return TLP_OK;
    tlpi_gpu_use(g);
    return tlpi_gpu_status(cudaMalloc(&pages->memory, n), "KV cache");
}

void tlpi_gpu_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page)
{
    (void)b;
    (void)pages;
    (void)page;
}

void tlpi_gpu_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    if (dst == src)
        return;
    tlpi_gpu_use(g);
    tlpi_gpu_keep_error(
        g,
        cudaMemcpyAsync(pages->memory + (size_t)dst * pages->bytes,
                        pages->memory + (size_t)src * pages->bytes,
                        pages->bytes, cudaMemcpyDeviceToDevice, g->stream),
        "copying a page");
}

/* ==== cache ============================================================== */

/* All that depends on the sizes alone; kv->type is resolved.  *end: bytes of a
 * page that other caches have, then with this one's. */
static void set_layout(tlpi_kv *kv, size_t *end, int n_pos, int n_head_kv,
                       int head_dim)
{
    kv->n_head_kv = n_head_kv;
    kv->head_dim = head_dim;
    kv->hp = (head_dim + 7) / 8 * 8;
    kv->size = kv->type == TLP_KV_F32 ? 4 : 2;
    size_t n = (size_t)n_head_kv * (size_t)n_pos * (size_t)kv->hp * kv->size;
    kv->k = *end;
    kv->v = *end + n;
    *end += 2 * n; /* rows are whole units of 16 bytes */
}

uint64_t tlpi_gpu_kv_size(int n_pos, int n_head_kv, int head_dim, int kv_type)
{
    tlpi_kv kv = {};
    size_t bytes = 0;

    kv.type = kv_type;
    set_layout(&kv, &bytes, n_pos, n_head_kv, head_dim);
    return bytes;
}

tlp_status tlpi_gpu_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    *out = NULL;
    if (n_head_kv < 1 || head_dim < 1 || head_dim > 256 ||
        kv_type < TLP_KV_DEFAULT || kv_type > TLP_KV_BF16)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "KV cache of %d heads of %d, type %d: at least 1 "
                             "of each, heads of at most 256 and a known type "
                             "expected",
                             n_head_kv, head_dim, kv_type);
    size_t shared = tlpi_gpu_prefill_shared((head_dim + 7) / 8 * 8);
    if (shared > g->max_shared)
        return tlpi_gpu_fail(TLP_ENOTSUP,
                             "heads of %d: attention needs %zu bytes of shared "
                             "memory, device %d has %zu for a block",
                             head_dim, shared, g->device, g->max_shared);
    tlpi_kv *kv = (tlpi_kv *)tlpi_gpu_alloc(b->env, sizeof *kv);
    if (!kv)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    kv->pages = pages;
    kv->type = kv_type != TLP_KV_DEFAULT ? kv_type
               : g->f32                  ? TLP_KV_F32
                                         : TLP_KV_F16;
    set_layout(kv, &pages->bytes, pages->layout.n_pos, n_head_kv, head_dim);
    *out = kv;
    return TLP_OK;
}

void tlpi_gpu_kv_free(tlpi_backend *b, tlpi_kv *kv)
{
    tlpi_gpu_free(b->env, kv, sizeof *kv);
}

/* ==== angles ============================================================= */

tlp_status tlpi_gpu_rope_create(tlpi_backend *b, tlpi_rope **out,
                                const double *inv_freq, double gain, int n_rot,
                                int n_ctx, bool neox, const float *q_gain)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    *out = NULL;
    if (n_rot < 0 || n_rot % 2 != 0 || n_ctx < 1)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "rotation of %d dimensions, %d positions: an even "
                             "number and at least 1 expected",
                             n_rot, n_ctx);
    size_t half = (size_t)n_rot / 2, n = (size_t)n_ctx * half;
    size_t n_gain = q_gain ? (size_t)n_ctx : 0;
    size_t bytes = (2 * n + n_gain) * sizeof(float);
    tlpi_rope *r = (tlpi_rope *)tlpi_gpu_alloc(b->env, sizeof *r);
    float *host = (float *)tlpi_gpu_alloc(b->env, bytes);
    tlp_status st = TLP_OK;

    if (!r || !host)
        TLP_TRY(tlpi_gpu_fail(TLP_ENOMEM, "out of memory"));
    tlpi_gpu_use(g);
    r->half = n_rot / 2;
    r->neox = neox;
    for (size_t i = 0; i < n; i++) {
        double angle = (double)(i / half) * inv_freq[i % half];
        host[i] = (float)(gain * cos(angle));
        host[n + i] = (float)(gain * sin(angle));
    }
    if (q_gain)
        memcpy(host + 2 * n, q_gain, n_gain * sizeof(float));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&r->cos, bytes ? bytes : 16),
                            "rotation angles"));
    r->sin = r->cos + n;
    r->q_gain = q_gain ? r->sin + n : NULL;
    TLP_TRY(tlpi_gpu_upload(g, r->cos, host, bytes, "rotation angles"));
    *out = r;
    r = NULL;
done:
    tlpi_gpu_free(b->env, host, bytes);
    tlpi_gpu_rope_free(b, r);
    return st;
}

void tlpi_gpu_rope_free(tlpi_backend *b, tlpi_rope *r)
{
    if (!r)
        return;
    tlpi_gpu_use(tlpi_gpu_of(b));
    (void)cudaFree(r->cos);
    tlpi_gpu_free(b->env, r, sizeof *r);
}
