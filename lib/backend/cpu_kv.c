/*
 * cpu_kv.c - a cache of keys and values in pages: its layout, and writing to
 * it.
 */
#include "backend/cpu_kv.h"

#include <string.h>

#include "backend/cpu_attn.h"
#include "backend/cpu_mm.h"

#define ALIGN 64 /* bytes, of the parts of a page */

static int resolve_type(const tlpi_cpu *c, int kv_type)
{
    if (kv_type == TLP_KV_DEFAULT)
        return c->f32 ? TLP_KV_F32 : TLP_KV_F16;
    return kv_type;
}

/* n bytes of a page behind *end, which moves behind them. */
static size_t place(size_t *end, size_t n)
{
    size_t at = *end;

    *end = at + (n + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

/* All that depends on the sizes alone; kv->type is resolved.  *end: bytes of a
 * page that other caches have, then with this one's. */
static void set_layout(tlpi_kv *kv, size_t *end, int n_pos, int n_head_kv,
                       int head_dim)
{
    size_t h = (size_t)head_dim, row;

    kv->n_head_kv = n_head_kv;
    kv->head_dim = head_dim;
    kv->size = tlpi_kv_size(kv->type);
    kv->hp = tlpi_padded(head_dim);
    kv->n_pos = (size_t)n_pos;
    if (kv->type == TLP_KV_Q8_0)
        kv->n_block = (h + TLPI_KV_BLOCK - 1) / TLPI_KV_BLOCK;
    row = kv->n_pos * (size_t)n_head_kv;
    kv->k = place(end, row * h * kv->size);
    kv->v = place(end, row * kv->hp * kv->size);
    kv->k_scale = place(end, row * kv->n_block * sizeof(float));
    kv->v_scale = place(end, row * kv->n_block * sizeof(float));
}

/* Bytes of a page stay far below SIZE_MAX. */
static bool fits(int n_head_kv, int head_dim)
{
    return (int64_t)n_head_kv * head_dim <= INT32_MAX;
}

tlp_status tlpi_cpu_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type)
{
    tlp_status st = TLP_OK;
    tlpi_cpu *c = tlpi_cpu_of(b);

    *out = NULL;
    if (n_head_kv < 1 || head_dim < 1 || !fits(n_head_kv, head_dim) ||
        kv_type < TLP_KV_DEFAULT || kv_type > TLP_KV_Q8_0)
        return tlpi_fail(TLP_EINVAL,
                         "KV cache of %d heads of %d, type %d: at least 1 of "
                         "each, at most %d columns and a known type expected",
                         n_head_kv, head_dim, kv_type, INT32_MAX);

    tlpi_kv *kv = tlpi_calloc(b->env, 1, sizeof *kv);
    if (!kv)
        return tlpi_fail_nomem_for("the KV cache");
    TLP_TRY(tlpi_attn_scratch_fit(c, pages->layout.n_index, head_dim));
    kv->pages = pages;
    kv->type = resolve_type(c, kv_type);
    set_layout(kv, &pages->bytes, pages->layout.n_pos, n_head_kv, head_dim);
    *out = kv;
    kv = NULL;
done:
    tlpi_cpu_kv_free(b, kv);
    return st;
}

void tlpi_cpu_kv_free(tlpi_backend *b, tlpi_kv *kv)
{
    tlpi_free(b->env, kv);
}

uint64_t tlpi_cpu_kv_size(int n_pos, int n_head_kv, int head_dim, int kv_type)
{
    tlpi_kv kv = { .type = kv_type };
    size_t bytes = 0;

    set_layout(&kv, &bytes, n_pos, n_head_kv, head_dim);
    return bytes;
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

/* k_scale, v_scale: of the position's first block. */
static void store_q8(const tlpi_kv *kv, const tlpi_cpu *c, float *k_scale,
                     float *v_scale, char *lane, char *row, const float *k,
                     const float *v)
{
    size_t h = (size_t)kv->head_dim;

    for (size_t d = 0; d < h; d += TLPI_KV_BLOCK) {
        size_t n = TLPI_MIN(h - d, (size_t)TLPI_KV_BLOCK);
        size_t at = d / TLPI_KV_BLOCK * kv->n_pos;
        int8_t piece[TLPI_KV_BLOCK];
        k_scale[at] = quantize(c, k + d, n, piece);
        scatter(lane + d * TLPI_PANEL, piece, n, 1);
        v_scale[at] = quantize(c, v + d, n, piece);
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
        store_q8(kv, c, tlpi_kv_scales(kv, kv->k_scale, seq, head, 0, pos),
                 tlpi_kv_scales(kv, kv->v_scale, seq, head, 0, pos), lane, row,
                 k, v);
    else
        store_floats(kv, c, lane, row, k, v);
    memset(row + h * kv->size, 0, (kv->hp - h) * kv->size);
}
