/*
 * cpu_kv.c - the cache of keys and values: create, fill, copy.
 */
#include "backend/cpu_kv.h"

#include <string.h>

#include "backend/cpu_attn.h"
#include "backend/cpu_mm.h"

static int resolve_type(const tlpi_cpu *c, int kv_type)
{
    if (kv_type == TLP_KV_DEFAULT)
        return c->f32 ? TLP_KV_F32 : TLP_KV_F16;
    return kv_type;
}

/* All that depends on the sizes alone; kv->type is resolved. */
static void set_layout(tlpi_kv *kv, int n_seq, int n_ctx, int n_head_kv,
                       int head_dim)
{
    size_t h = (size_t)head_dim, pos = tlpi_padded(n_ctx);

    kv->n_seq = n_seq;
    kv->n_ctx = n_ctx;
    kv->n_head_kv = n_head_kv;
    kv->head_dim = head_dim;
    kv->size = tlpi_kv_size(kv->type);
    kv->hp = tlpi_padded(head_dim);
    kv->k_head = pos * h; /* both are ints: no overflow in 64 bits */
    kv->v_head = pos * kv->hp;
    if (kv->type == TLP_KV_Q8_0) {
        kv->n_block = (h + TLPI_KV_BLOCK - 1) / TLPI_KV_BLOCK;
        kv->n_pos = pos;
    }
}

static size_t head_count(const tlpi_kv *kv)
{
    return (size_t)kv->n_seq * (size_t)kv->n_head_kv;
}

static tlp_status alloc_heads(const tlpi_env *env, char **out,
                              const tlpi_kv *kv, size_t head)
{
    size_t n = 0;
    if (tlpi_mul(head_count(kv), head, &n))
        *out = tlpi_alloc_array(env, n, kv->size);
    return *out ? TLP_OK : tlpi_fail_nomem_for("the KV cache");
}

static tlp_status alloc_scales(const tlpi_env *env, tlpi_kv *kv)
{
    /* There are fewer scales than integers, whose number did not overflow. */
    size_t n = head_count(kv) * kv->n_block * kv->n_pos;
    kv->k_scale = tlpi_alloc_array(env, n, sizeof(float));
    kv->v_scale = tlpi_alloc_array(env, n, sizeof(float));
    return kv->k_scale && kv->v_scale ? TLP_OK
                                      : tlpi_fail_nomem_for("the KV cache");
}

tlp_status tlpi_cpu_kv_create(tlpi_backend *b, tlpi_kv **out, int n_seq,
                              int n_ctx, int n_head_kv, int head_dim,
                              int kv_type)
{
    tlp_status st = TLP_OK;
    tlpi_cpu *c = tlpi_cpu_of(b);

    *out = NULL;
    if (n_seq < 1 || n_ctx < 1 || n_head_kv < 1 || head_dim < 1 ||
        kv_type < TLP_KV_DEFAULT || kv_type > TLP_KV_Q8_0)
        return tlpi_fail(TLP_EINVAL,
                         "KV cache of %d sequences, %d positions, %d heads of "
                         "%d, type %d: at least 1 of each and a known type "
                         "expected",
                         n_seq, n_ctx, n_head_kv, head_dim, kv_type);

    tlpi_kv *kv = tlpi_calloc(b->env, 1, sizeof *kv);
    if (!kv)
        return tlpi_fail_nomem_for("the KV cache");
    kv->type = resolve_type(c, kv_type);
    set_layout(kv, n_seq, n_ctx, n_head_kv, head_dim);
    TLP_TRY(alloc_heads(b->env, &kv->k, kv, kv->k_head));
    TLP_TRY(alloc_heads(b->env, &kv->v, kv, kv->v_head));
    if (kv->type == TLP_KV_Q8_0)
        TLP_TRY(alloc_scales(b->env, kv));
    TLP_TRY(tlpi_attn_scratch_fit(c, n_ctx, head_dim));
    *out = kv;
    kv = NULL;
done:
    tlpi_cpu_kv_free(b, kv);
    return st;
}

void tlpi_cpu_kv_free(tlpi_backend *b, tlpi_kv *kv)
{
    if (!kv)
        return;
    tlpi_free(b->env, kv->v_scale);
    tlpi_free(b->env, kv->k_scale);
    tlpi_free(b->env, kv->v);
    tlpi_free(b->env, kv->k);
    tlpi_free(b->env, kv);
}

size_t tlpi_cpu_kv_bytes(const tlpi_kv *kv)
{
    size_t scales = 2 * kv->n_block * kv->n_pos * sizeof(float);
    return head_count(kv) * ((kv->k_head + kv->v_head) * kv->size + scales);
}

uint64_t tlpi_cpu_kv_size(int n_seq, int n_ctx, int n_head_kv, int head_dim,
                          int kv_type)
{
    tlpi_kv kv = { .type = kv_type };

    set_layout(&kv, n_seq, n_ctx, n_head_kv, head_dim);
    return tlpi_cpu_kv_bytes(&kv);
}

static void copy_scales(const tlpi_kv *kv, int dst_seq, int src_seq, int head,
                        size_t n_pos)
{
    for (size_t i = 0; i < kv->n_block; i++) {
        size_t dst = tlpi_kv_scale(kv, dst_seq, head, i, 0);
        size_t src = tlpi_kv_scale(kv, src_seq, head, i, 0);
        memcpy(kv->k_scale + dst, kv->k_scale + src, n_pos * sizeof(float));
        memcpy(kv->v_scale + dst, kv->v_scale + src, n_pos * sizeof(float));
    }
}

/* Copy the first n_pos positions; later positions of dst do not change. */
void tlpi_cpu_kv_copy(tlpi_backend *b, tlpi_kv *kv, int dst_seq, int src_seq,
                      int n_pos)
{
    (void)b;
    if (dst_seq == src_seq || n_pos <= 0)
        return;

    size_t panel = (size_t)kv->head_dim * TLPI_PANEL * kv->size;
    size_t whole = (size_t)(n_pos / TLPI_PANEL) * panel;
    size_t rest = (size_t)(n_pos % TLPI_PANEL) * kv->size;
    for (int i = 0; i < kv->n_head_kv; i++) {
        copy_scales(kv, dst_seq, src_seq, i, (size_t)n_pos);
        memcpy(tlpi_kv_v(kv, dst_seq, i, 0), tlpi_kv_v(kv, src_seq, i, 0),
               (size_t)n_pos * kv->hp * kv->size);

        char *dst = tlpi_kv_k(kv, dst_seq, i, 0);
        const char *src = tlpi_kv_k(kv, src_seq, i, 0);
        memcpy(dst, src, whole);
        if (rest > 0)
            for (int d = 0; d < kv->head_dim; d++) {
                size_t at = whole + (size_t)d * TLPI_PANEL * kv->size;
                memcpy(dst + at, src + at, rest);
            }
    }
}

/* Write one lane of a panel: n elements, 16 apart. */
static void scatter(void *dst, const void *src, size_t n, size_t size)
{
    if (size == sizeof(int8_t)) {
        int8_t *d = dst;
        const int8_t *s = src;
        for (size_t i = 0; i < n; i++)
            d[i * TLPI_PANEL] = s[i];
    } else if (size == sizeof(uint16_t)) {
        uint16_t *d = dst;
        const uint16_t *s = src;
        for (size_t i = 0; i < n; i++)
            d[i * TLPI_PANEL] = s[i];
    } else {
        float *d = dst;
        const float *s = src;
        for (size_t i = 0; i < n; i++)
            d[i * TLPI_PANEL] = s[i];
    }
}

/* Quantise n <= 32 floats; returns their scale. */
static float quantize(const tlpi_cpu *c, const float *x, size_t n, int8_t *q)
{
    float whole[TLPI_MM_BLOCK] = { 0 };
    tlpi_xq b;

    if (n < TLPI_MM_BLOCK)
        x = memcpy(whole, x, n * sizeof *x);
    c->mm->quantize(x, 1, &b, 1);
    memcpy(q, b.q, n);
    return b.d;
}

static void store_q8(const tlpi_kv *kv, const tlpi_cpu *c, size_t scale,
                     char *lane, char *row, const float *k, const float *v)
{
    size_t h = (size_t)kv->head_dim;

    for (size_t d = 0; d < h; d += TLPI_KV_BLOCK, scale += kv->n_pos) {
        size_t n = TLPI_MIN(h - d, (size_t)TLPI_KV_BLOCK);
        int8_t piece[TLPI_KV_BLOCK];
        kv->k_scale[scale] = quantize(c, k + d, n, piece);
        scatter(lane + d * TLPI_PANEL, piece, n, 1);
        kv->v_scale[scale] = quantize(c, v + d, n, piece);
        memcpy(row + d, piece, n);
    }
}

static void store_floats(const tlpi_kv *kv, const tlpi_cpu *c, char *lane,
                         char *row, const float *k, const float *v)
{
    size_t h = (size_t)kv->head_dim;
    tlpi_narrow_fn narrow = c->vec->narrow[kv->type];

    narrow(row, v, h);
    for (size_t d = 0; d < h; d += 64) {
        float piece[64];
        size_t n = TLPI_MIN(h - d, 64);
        narrow(piece, k + d, n);
        scatter(lane + d * TLPI_PANEL * kv->size, piece, n, kv->size);
    }
}

void tlpi_kv_store(const tlpi_kv *kv, const tlpi_cpu *c, int seq, int head,
                   int pos, const float *k, const float *v)
{
    size_t h = (size_t)kv->head_dim;
    char *row = tlpi_kv_v(kv, seq, head, pos);
    char *lane =
        tlpi_kv_k(kv, seq, head, pos) + (size_t)(pos % TLPI_PANEL) * kv->size;

    if (kv->type == TLP_KV_Q8_0)
        store_q8(kv, c, tlpi_kv_scale(kv, seq, head, 0, pos), lane, row, k, v);
    else
        store_floats(kv, c, lane, row, k, v);
    memset(row + h * kv->size, 0, (kv->hp - h) * kv->size);
}
