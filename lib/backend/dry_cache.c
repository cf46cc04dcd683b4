/*
 * dry_cache.c - caches of the backend that counts: the bytes of their pages.
 */
#include "backend/dry_cache.h"

/* Bytes of a head's keys, or values, of one position. */
static uint64_t head_bytes(int head_dim, int kv_type)
{
    uint64_t n = (uint64_t)head_dim;

    switch (kv_type) {
    case TLP_KV_F32:
        return 4 * n;
    case TLP_KV_Q8_0: /* a scale for every 32 columns */
        return n + (n + 31) / 32 * sizeof(float);
    default:
        return 2 * n;
    }
}

struct tlpi_pages {
    int n_pos;
    uint64_t bytes; /* of a page */
};

tlp_status tlpi_dry_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout)
{
    tlpi_pages *p = tlpi_calloc(b->env, 1, sizeof(*p));

    *out = p;
    if (!p)
        return tlpi_fail_nomem_for("a dry run");
    p->n_pos = layout->n_pos;
    return TLP_OK;
}

void tlpi_dry_pages_free(tlpi_backend *b, tlpi_pages *pages)
{
    tlpi_free(b->env, pages);
}

size_t tlpi_dry_pages_bytes(const tlpi_pages *pages)
{
    return pages->bytes;
}

tlp_status tlpi_dry_pages_take(tlpi_backend *b, tlpi_pages *pages, int page)
{
    (void)b;
    (void)pages;
    (void)page;
    return TLP_OK;
}

void tlpi_dry_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page)
{
    (void)b;
    (void)pages;
    (void)page;
}

void tlpi_dry_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src)
{
    (void)b;
    (void)pages;
    (void)dst;
    (void)src;
}

tlp_status tlpi_dry_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type)
{
    uint64_t (*size)(int, int, int, int) = tlpi_dry_options_of(b)->kv_size;

    *out = TLPI_DRY_NOWHERE;
    pages->bytes += size ? size(pages->n_pos, n_head_kv, head_dim, kv_type)
                         : 2 * head_bytes(head_dim, kv_type) *
                               (uint64_t)n_head_kv * (uint64_t)pages->n_pos;
    return TLP_OK;
}

void tlpi_dry_kv_free(tlpi_backend *b, tlpi_kv *kv)
{
    (void)b;
    (void)kv;
}
