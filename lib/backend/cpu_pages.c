/*
 * cpu_pages.c - the memory of caches: a block for every page that is taken.
 */
#include <string.h>

#include "backend/cpu_kv.h"

tlp_status tlpi_cpu_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout)
{
    tlpi_pages *p = tlpi_calloc(b->env, 1, sizeof *p);

    *out = NULL;
    if (p)
        p->memory =
            tlpi_calloc(b->env, (size_t)layout->n_page, sizeof *p->memory);
    if (!p || !p->memory) {
        tlpi_free(b->env, p);
        return tlpi_fail_nomem_for("%d pages of the KV cache", layout->n_page);
    }
    p->layout = *layout;
    *out = p;
    return TLP_OK;
}

void tlpi_cpu_pages_free(tlpi_backend *b, tlpi_pages *pages)
{
    if (!pages)
        return;
    for (int i = 0; i < pages->layout.n_page; i++)
        tlpi_free(b->env, pages->memory[i]);
    tlpi_free(b->env, pages->memory);
    tlpi_free(b->env, pages);
}

size_t tlpi_cpu_pages_bytes(const tlpi_pages *pages)
{
    return pages->bytes;
}

tlp_status tlpi_cpu_pages_take(tlpi_backend *b, tlpi_pages *pages, int page)
{
    if (pages->memory[page])
        return TLP_OK;
    pages->memory[page] = tlpi_alloc(b->env, pages->bytes);
    return pages->memory[page] ? TLP_OK
                               : tlpi_fail_nomem_for("a page of the KV cache");
}

void tlpi_cpu_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page)
{
    tlpi_free(b->env, pages->memory[page]);
    pages->memory[page] = NULL;
}

void tlpi_cpu_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src)
{
    (void)b;
    if (dst != src)
        memcpy(pages->memory[dst], pages->memory[src], pages->bytes);
}
