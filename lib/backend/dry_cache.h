/*
 * dry_cache.h - caches of the backend that counts.
 */
#ifndef TLPI_DRY_CACHE_H
#define TLPI_DRY_CACHE_H

#include "backend/dry.h"

/* The address of every buffer; nothing is there. */
#define TLPI_DRY_NOWHERE ((void *)(uintptr_t)64)

const tlpi_dry_options *tlpi_dry_options_of(tlpi_backend *b);

/* As in backend.h. */
tlp_status tlpi_dry_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout);
void tlpi_dry_pages_free(tlpi_backend *b, tlpi_pages *pages);
size_t tlpi_dry_pages_bytes(const tlpi_pages *pages);
tlp_status tlpi_dry_pages_take(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_dry_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_dry_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src);
tlp_status tlpi_dry_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type);
void tlpi_dry_kv_free(tlpi_backend *b, tlpi_kv *kv);

#endif
