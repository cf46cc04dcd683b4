/*
 * kv.cu - the cache of keys and values, and the tables of rotation angles.
 */
#include "gpu.h"

#include <math.h>

/* ==== cache ============================================================== */

static size_t head_bytes(const tlpi_kv *kv)
{
    return (size_t)kv->n_ctx * (size_t)kv->hp * kv->size;
}

size_t tlpi_gpu_kv_bytes(const tlpi_kv *kv)
{
    return 2 * (size_t)kv->n_seq * (size_t)kv->n_head_kv * head_bytes(kv);
}

tlp_status tlpi_gpu_kv_create(tlpi_backend *b, tlpi_kv **out, int n_seq,
                              int n_ctx, int n_head_kv, int head_dim,
                              int kv_type)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    *out = NULL;
    if (n_seq < 1 || n_ctx < 1 || n_head_kv < 1 || head_dim < 1 ||
        head_dim > 256 || kv_type < TLP_KV_DEFAULT || kv_type > TLP_KV_BF16)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "KV cache of %d sequences, %d positions, %d heads "
                             "of %d, type %d: at least 1 of each, heads of at "
                             "most 256 and a known type expected",
                             n_seq, n_ctx, n_head_kv, head_dim, kv_type);
    int hp = (head_dim + 7) / 8 * 8;
    size_t shared = tlpi_gpu_prefill_shared(hp);
    if (shared > g->max_shared)
        return tlpi_gpu_fail(TLP_ENOTSUP,
                             "heads of %d: attention needs %zu bytes of shared "
                             "memory, device %d has %zu for a block",
                             head_dim, shared, g->device, g->max_shared);
    tlpi_kv *kv = (tlpi_kv *)tlpi_gpu_alloc(b->env, sizeof *kv);
    if (!kv)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlpi_gpu_use(g);
    kv->n_seq = n_seq;
    kv->n_ctx = n_ctx;
    kv->n_head_kv = n_head_kv;
    kv->head_dim = head_dim;
    kv->hp = hp;
    kv->type = kv_type != TLP_KV_DEFAULT ? kv_type
               : g->f32                  ? TLP_KV_F32
                                         : TLP_KV_F16;
    kv->size = kv->type == TLP_KV_F32 ? 4 : 2;
    tlp_status st =
        tlpi_gpu_status(cudaMalloc(&kv->k, tlpi_gpu_kv_bytes(kv)), "KV cache");
    if (st != TLP_OK) {
        tlpi_gpu_free(b->env, kv, sizeof *kv);
        return st;
    }
    kv->v = kv->k + tlpi_gpu_kv_bytes(kv) / 2;
    *out = kv;
    return TLP_OK;
}

void tlpi_gpu_kv_free(tlpi_backend *b, tlpi_kv *kv)
{
    if (!kv)
        return;
    tlpi_gpu_use(tlpi_gpu_of(b));
    (void)cudaFree(kv->k);
    tlpi_gpu_free(b->env, kv, sizeof *kv);
}

/* Copy the first n_pos positions of every head: a rectangle of bytes. */
void tlpi_gpu_kv_copy(tlpi_backend *b, tlpi_kv *kv, int dst_seq, int src_seq,
                      int n_pos)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    size_t head = head_bytes(kv), seq = (size_t)kv->n_head_kv * head;
    size_t width = (size_t)n_pos * (size_t)kv->hp * kv->size;
    uint8_t *half[2] = { kv->k, kv->v };

    if (dst_seq == src_seq || n_pos <= 0)
        return;
    tlpi_gpu_use(g);
    for (int i = 0; i < 2; i++)
        tlpi_gpu_keep_error(
            g,
            cudaMemcpy2DAsync(half[i] + seq * (size_t)dst_seq, head,
                              half[i] + seq * (size_t)src_seq, head, width,
                              (size_t)kv->n_head_kv, cudaMemcpyDeviceToDevice,
                              g->stream),
            "copying a sequence");
}

/* ==== angles ============================================================= */

tlp_status tlpi_gpu_rope_create(tlpi_backend *b, tlpi_rope **out,
                                const double *inv_freq, double gain, int n_rot,
                                int n_ctx, bool neox)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    *out = NULL;
    if (n_rot < 0 || n_rot % 2 != 0 || n_ctx < 1)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "rotation of %d dimensions, %d positions: an even "
                             "number and at least 1 expected",
                             n_rot, n_ctx);
    size_t half = (size_t)n_rot / 2, n = (size_t)n_ctx * half;
    size_t bytes = 2 * n * sizeof(float);
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
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&r->cos, bytes ? bytes : 16),
                            "rotation angles"));
    r->sin = r->cos + n;
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
